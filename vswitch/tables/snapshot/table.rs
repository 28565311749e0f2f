// SPDX-License-Identifier: MIT
//! [`Table`]: one neighbor table as the writer has it, its editor and what is on its way out of it. When that may go on
//! is the business of [`Leaving`](super::leaving::Leaving).

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashSet;

use super::Usage;
use crate::tables::neighbors::{
    Bucket, Changed, Editor, Entry, Narrow, NeighborTable, Neighbors, NextHops, Place, Upserted,
    Wide,
};
use crate::tables::sync::{Fault, fault};
use crate::tables::{Full, Live, Neighbor, TableFull};

/// What leaves with one commit.
struct Batch<K> {
    /// Keys to remove.
    keys: HashSet<K>,
    /// Old copies of changed entries to remove.
    copies: Vec<Place>,
}

impl<K> Default for Batch<K> {
    fn default() -> Self {
        Self {
            keys: HashSet::default(),
            copies: Vec::new(),
        }
    }
}

/// One neighbor table and what leaves it.
pub(super) struct Table<B: Bucket> {
    editor: Editor<B>,
    which: Full,
    /// With the next commit.
    staged: Batch<B::Key>,
    /// With the commit that waits, see [`Leaving`](super::leaving::Leaving); with those behind it; and what was taken out
    /// of readers' sight.
    waiting: Batch<B::Key>,
    queued: Batch<B::Key>,
    limbo: VecDeque<Vec<Place>>,
}

impl<B: Bucket> Table<B> {
    fn new(which: Full, capacity: usize, seed: (u64, u64)) -> Self {
        Self {
            editor: Editor::new(which, capacity, seed),
            which,
            staged: Batch::default(),
            waiting: Batch::default(),
            queued: Batch::default(),
            limbo: VecDeque::new(),
        }
    }

    /// The newest table.
    pub(super) fn newest(&self) -> &Arc<NeighborTable<B>> {
        self.editor.table()
    }

    /// Adds a neighbor or changes it; false: it was so. Nothing changes on an error.
    pub(super) fn upsert(&mut self, key: B::Key, neighbor: Neighbor) -> Result<bool, TableFull> {
        let Upserted { changed, rebuilt } = self.editor.upsert(key, Entry::from(neighbor))?;
        if rebuilt {
            self.forget_places();
        }
        match changed {
            Changed::Copied(old) if fault(Fault::CopyGoesAtOnce) => {
                self.editor.retire(old);
                self.editor.free(old);
            }
            Changed::Copied(old) => self.staged.copies.push(old),
            Changed::Nothing | Changed::InPlace => {}
        }
        // It stays, if its removal is not done yet.
        let batches = [&mut self.waiting, &mut self.queued, &mut self.staged];
        for batch in batches.into_iter().filter(|batch| !batch.keys.is_empty()) {
            batch.keys.remove(&key);
        }
        Ok(changed != Changed::Nothing)
    }

    /// A key that is in the table leaves with the next commit, unless it is leaving already.
    pub(super) fn remove(&mut self, key: B::Key) {
        let leaving = self.waiting.keys.contains(&key) || self.queued.keys.contains(&key);
        if !leaving && self.editor.contains(key) {
            self.staged.keys.insert(key);
        }
    }

    /// The entries are in a new table: what was leaving the old one is not in it, but for keys whose removal is not done
    /// yet.
    fn forget_places(&mut self) {
        for batch in [&mut self.waiting, &mut self.queued, &mut self.staged] {
            batch.copies.clear();
        }
        self.limbo.iter_mut().for_each(Vec::clear);
    }
}

/// What is done with all tables alike.
pub(super) trait AnyTable {
    /// True when readers see the newest table.
    fn is_published(&self) -> bool;

    /// Readers see the newest table from now on.
    fn set_published(&mut self);

    /// Takes the memory of so many neighbors, if there is none yet.
    fn reserve(&mut self, neighbors: usize);

    /// True without anything that leaves with the next commit.
    fn nothing_staged(&self) -> bool;

    /// What is staged waits from now on; `behind` what waits already, if anything does.
    fn commit(&mut self, behind: bool);

    /// Takes what waits out of readers' sight, and has wait what was behind it. False: that was nothing.
    fn retire(&mut self) -> bool;

    /// Frees the slots that were longest out of readers' sight.
    fn free(&mut self);

    /// How full it is.
    fn usage(&self) -> Usage;

    /// Bytes of smaller tables that readers may still see.
    fn outgrown(&self) -> usize;
}

impl<B: Bucket> AnyTable for Table<B> {
    fn is_published(&self) -> bool {
        self.editor.is_published()
    }

    fn set_published(&mut self) {
        self.editor.set_published();
    }

    fn reserve(&mut self, neighbors: usize) {
        self.editor.reserve(neighbors);
    }

    fn nothing_staged(&self) -> bool {
        self.staged.keys.is_empty() && self.staged.copies.is_empty()
    }

    fn commit(&mut self, behind: bool) {
        let staged = std::mem::take(&mut self.staged);
        if behind {
            self.queued.keys.extend(staged.keys);
            self.queued.copies.extend(staged.copies);
        } else {
            self.waiting = staged;
        }
    }

    fn retire(&mut self) -> bool {
        let next = std::mem::take(&mut self.queued);
        let batch = std::mem::replace(&mut self.waiting, next);
        batch
            .copies
            .iter()
            .for_each(|copy| self.editor.retire(*copy));
        let mut places = batch.copies;
        let removed = batch.keys.iter();
        places.extend(removed.filter_map(|key| self.editor.remove(*key)));
        let any = !places.is_empty();
        self.limbo.push_back(places);
        any
    }

    fn free(&mut self) {
        for place in self.limbo.pop_front().into_iter().flatten() {
            self.editor.free(place);
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            table: self.which,
            entries: self.editor.live(),
            leaving: self.editor.leaving(),
            capacity: self.editor.capacity(),
            bytes: self.editor.table().memory(),
        }
    }

    fn outgrown(&self) -> usize {
        self.editor.outgrown()
    }
}

/// All neighbor tables.
pub(super) struct All {
    pub(super) by_mac: Table<Narrow>,
    pub(super) by_ip: Table<Narrow>,
    pub(super) by_ip6: Table<Wide>,
}

impl All {
    /// Empty tables, each for at most `capacity` neighbors.
    pub(super) fn new(capacity: usize, seed: (u64, u64)) -> Self {
        Self {
            by_mac: Table::new(Full::NeighborsByMac, capacity, seed),
            by_ip: Table::new(Full::NeighborsByIp, capacity, seed),
            by_ip6: Table::new(Full::NeighborsByIp6, capacity, seed),
        }
    }

    /// Each of them.
    pub(super) fn each(&self) -> [&dyn AnyTable; 3] {
        [&self.by_mac, &self.by_ip, &self.by_ip6]
    }

    /// Each of them, to change.
    pub(super) fn each_mut(&mut self) -> [&mut dyn AnyTable; 3] {
        [&mut self.by_mac, &mut self.by_ip, &mut self.by_ip6]
    }

    /// True when readers see the newest of all.
    pub(super) fn are_published(&self) -> bool {
        self.each().iter().all(|table| table.is_published())
    }

    /// True without anything that leaves with the next commit.
    pub(super) fn nothing_staged(&self) -> bool {
        self.each().iter().all(|table| table.nothing_staged())
    }

    /// As they are to be published, with the next hops by each uplink.
    pub(super) fn snapshot(&self, hops: &[Arc<NextHops>], live: &Arc<Live>) -> Arc<Neighbors> {
        Arc::new(Neighbors {
            by_mac: Arc::clone(self.by_mac.newest()),
            by_ip: Arc::clone(self.by_ip.newest()),
            by_ip6: Arc::clone(self.by_ip6.newest()),
            hops: Arc::clone(&hops[0]),
            other_hops: hops.get(1).cloned(),
            live: Arc::clone(live),
        })
    }
}
