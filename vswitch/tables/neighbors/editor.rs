// SPDX-License-Identifier: MIT
//! [`Editor`]: changes a [`NeighborTable`] that workers read. The writer's side of `table`.
//!
//! It knows what one step does to the table; when a step may be taken (which grace period has passed) is
//! the business of the [`Writer`](crate::tables::snapshot::Writer).

use std::alloc::{Layout, handle_alloc_error};
use std::sync::{Arc, Weak};

use super::bucket::{Bucket, Key};
use super::entry::Entry;
use super::narrow::Narrow;
use super::table::NeighborTable;
use crate::tables::sync::{Fault, fault};
use crate::tables::{Full, TableFull};

/// Buckets of a new table: one page. Few under loom, so that its models fill them.
const INITIAL_BUCKETS: usize = if cfg!(vswitch_loom) { 3 } else { 64 };

/// A table of as many buckets is a large one: 4 MiB, beyond what a core's own cache holds. A small table
/// is filled to 60 % and doubles, which keeps nearly all keys in their home bucket. A large one is filled
/// to 80 % and grows by a half, which bounds the memory per neighbor; smaller steps would bound it better,
/// but the memory that all tables on the way need takes more time than filling them.
const LARGE: usize = 1 << 16;

/// Bits that say which slot of a bucket.
const SLOT_BITS: u32 = 2;

/// A slot of one table: bucket and slot in one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::tables) struct Place(u32);

impl Place {
    fn new(bucket: usize, slot: usize) -> Self {
        Self((bucket << SLOT_BITS | slot) as u32)
    }

    fn bucket(self) -> usize {
        self.0 as usize >> SLOT_BITS
    }

    fn slot(self) -> usize {
        self.0 as usize & ((1 << SLOT_BITS) - 1)
    }
}

/// What an [`Editor::upsert`] did to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tables) enum Changed {
    /// Nothing: it was so.
    Nothing,
    /// Readers see the new entry, or the new hop, from now on.
    InPlace,
    /// Readers see one of two copies from now on. The old one must be [retired](Editor::retire) after a
    /// grace period.
    Copied(Place),
}

/// What an [`Editor::upsert`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tables) struct Upserted {
    /// To the entry.
    pub(in crate::tables) changed: Changed,
    /// All entries are in a new table. [`Place`]s from before are of no use; what was leaving is gone.
    pub(in crate::tables) rebuilt: bool,
}

/// Changes one neighbor table.
pub(in crate::tables) struct Editor<B: Bucket = Narrow> {
    /// The newest table.
    table: Arc<NeighborTable<B>>,
    /// Readers see `table`. False from a growth until the next publication.
    published: bool,
    /// What `table` took the place of, and what that did, as long as readers may see it.
    replaced: Vec<Weak<NeighborTable<B>>>,
    which: Full,
    capacity: usize,
    /// Keys.
    live: usize,
    /// Slots that are not EMPTY: keys, old copies, retired.
    used: usize,
}

impl<B: Bucket> Editor<B> {
    /// An editor of a new table for at most `capacity` keys. Aborts without memory, like any small allocation.
    pub(in crate::tables) fn new(which: Full, capacity: usize, seed: (u64, u64)) -> Self {
        let table = NeighborTable::new(INITIAL_BUCKETS, (seed.0, seed.1 | 1));
        let table = Arc::new(
            table.unwrap_or_else(|| handle_alloc_error(Layout::new::<[B; INITIAL_BUCKETS]>())),
        );
        Self {
            table,
            published: true,
            replaced: Vec::new(),
            which,
            capacity,
            live: 0,
            used: 0,
        }
    }

    /// The table as it is to be published.
    pub(in crate::tables) fn table(&self) -> &Arc<NeighborTable<B>> {
        &self.table
    }

    /// True when readers see [`Editor::table`].
    pub(in crate::tables) fn is_published(&self) -> bool {
        self.published
    }

    /// The snapshot that readers get from now on has [`Editor::table`].
    pub(in crate::tables) fn set_published(&mut self) {
        self.published = true;
    }

    /// Keys in the table.
    pub(in crate::tables) fn live(&self) -> usize {
        self.live
    }

    /// Slots taken by what was removed or changed and that readers may still see.
    pub(in crate::tables) fn leaving(&self) -> usize {
        self.used - self.live
    }

    /// Bytes of the tables that [`Editor::table`] took the place of and that readers may still see.
    pub(in crate::tables) fn outgrown(&self) -> usize {
        let tables = self.replaced.iter().filter_map(Weak::upgrade);
        tables.map(|table| table.memory()).sum()
    }

    /// Most keys.
    pub(in crate::tables) fn capacity(&self) -> usize {
        self.capacity
    }

    /// True for a key that was added and not removed.
    pub(in crate::tables) fn contains(&self, key: B::Key) -> bool {
        self.find(key).is_some()
    }

    /// Adds `key`, or gives it a new value. Nothing has changed on an error.
    pub(in crate::tables) fn upsert(
        &mut self,
        key: B::Key,
        value: Entry,
    ) -> Result<Upserted, TableFull> {
        if !key.is_valid() {
            return Err(self.full());
        }
        let mut old = self.find(key);
        if let Some(changed) = old.and_then(|old| self.change_in_place(old, value)) {
            return Ok(Upserted {
                changed,
                rebuilt: false,
            });
        }
        if old.is_none() && self.live >= self.capacity {
            return Err(self.full());
        }
        let rebuilt = self.make_room()?;
        if rebuilt {
            old = self.find(key);
            if let Some(changed) = old.and_then(|old| self.change_in_place(old, value)) {
                return Ok(Upserted { changed, rebuilt });
            }
        }
        place(&self.table, key, value);
        self.used += 1;
        let Some(old) = old else {
            self.live += 1;
            return Ok(Upserted {
                changed: Changed::InPlace,
                rebuilt,
            });
        };
        self.table
            .bucket(old.bucket())
            .set_hop(old.slot(), self.value(old).stale());
        Ok(Upserted {
            changed: Changed::Copied(old),
            rebuilt,
        })
    }

    /// Changes what is in a place if that takes no second copy.
    fn change_in_place(&mut self, at: Place, value: Entry) -> Option<Changed> {
        let (present, bucket) = (self.value(at), self.table.bucket(at.bucket()));
        if present == value {
            return Some(Changed::Nothing);
        }
        if present.differs_only_in_hop(value) {
            bucket.set_hop(at.slot(), value);
            return Some(Changed::InPlace);
        }
        // What no reader sees yet is simply written.
        if !self.published || fault(Fault::OverwriteInPlace) {
            bucket.overwrite(at.slot(), value);
            return Some(Changed::InPlace);
        }
        None
    }

    /// Takes a key out of readers' sight; its place, to be [freed](Editor::free) after a grace period.
    pub(in crate::tables) fn remove(&mut self, key: B::Key) -> Option<Place> {
        let place = self.find(key)?;
        self.retire(place);
        self.live -= 1;
        Some(place)
    }

    /// Takes what is in a place out of readers' sight, to be [freed](Editor::free) after a grace period.
    pub(in crate::tables) fn retire(&mut self, place: Place) {
        let bucket = self.table.bucket(place.bucket());
        let Some(key) = bucket.key(place.slot()) else {
            return;
        };
        bucket.retire(place.slot());
        let passed = self.table.walk(key);
        for index in passed.take_while(|index| *index != place.bucket()) {
            self.table.bucket(index).pull_back();
        }
    }

    /// Makes a retired place usable again.
    pub(in crate::tables) fn free(&mut self, place: Place) {
        self.table.bucket(place.bucket()).free(place.slot());
        self.used -= 1;
    }

    /// The newest copy of a key.
    fn find(&self, key: B::Key) -> Option<Place> {
        for index in self.table.walk(key) {
            let bucket = self.table.bucket(index);
            for slot in 0..B::SLOTS {
                if bucket.key(slot) == Some(key) && !bucket.value(slot).is_stale() {
                    return Some(Place::new(index, slot));
                }
            }
            if !bucket.overflowed() {
                return None;
            }
        }
        None
    }

    fn value(&self, place: Place) -> Entry {
        self.table.bucket(place.bucket()).value(place.slot())
    }

    /// Takes the memory of so many keys, at most the capacity, now instead of when they come. A table that is not empty stays
    /// as it is, and so does one for which there is no more memory.
    pub(in crate::tables) fn reserve(&mut self, keys: usize) {
        let buckets = most_buckets::<B>(keys.min(self.capacity));
        if self.used == 0
            && buckets > self.table.len()
            && let Some(table) = NeighborTable::new(buckets, self.table.seed())
        {
            table.touch();
            self.rebuild(table);
        }
    }

    /// Sees to it that there is a place for one more entry. True: in a new table, not published yet.
    fn make_room(&mut self) -> Result<bool, TableFull> {
        let (buckets, most) = (self.table.len(), most_buckets::<B>(self.capacity));
        // A table that cannot grow is filled further: what is above its capacity is only leaving.
        let tenths = match buckets {
            _ if buckets >= most => 9,
            LARGE.. => 8,
            _ => 6,
        };
        if self.used < buckets * B::SLOTS * tenths / 10 {
            return Ok(false);
        }
        // A table of the same size does when much of this one is leaving. One such at a time, or a reader
        // that does not let go would make the writer hoard tables.
        let crowded_by_leaving = self.leaving() >= buckets * B::SLOTS / 8;
        let next = if crowded_by_leaving && self.outgrown() == 0 {
            buckets
        } else if buckets < most {
            let grown = if buckets < LARGE {
                buckets * 2
            } else {
                buckets + buckets / 2
            };
            grown.min(most)
        } else {
            return Err(self.full());
        };
        let table = NeighborTable::new(next, self.table.seed()).ok_or_else(|| self.full())?;
        self.rebuild(table);
        Ok(true)
    }

    fn rebuild(&mut self, table: NeighborTable<B>) {
        for bucket in self.table.buckets() {
            for slot in 0..B::SLOTS {
                let value = bucket.value(slot);
                if let Some(key) = bucket.key(slot).filter(|_| !value.is_stale()) {
                    place(&table, key, value);
                }
            }
        }
        let old = std::mem::replace(&mut self.table, Arc::new(table));
        // A table that was never published is gone with `old`.
        if self.published {
            self.replaced.retain(|table| table.strong_count() > 0);
            self.replaced.push(Arc::downgrade(&old));
        }
        self.published = false;
        self.used = self.live;
    }

    fn full(&self) -> TableFull {
        TableFull {
            table: self.which,
            capacity: self.capacity,
            leaving: self.leaving(),
        }
    }
}

/// Most buckets of a table for `capacity` keys: filled to 70 %, which leaves room for what is leaving.
fn most_buckets<B: Bucket>(capacity: usize) -> usize {
    (capacity * 10).div_ceil(B::SLOTS * 7).max(INITIAL_BUCKETS)
}

/// Puts a key that is not in the table into the first bucket with room. There is room.
fn place<B: Bucket>(table: &NeighborTable<B>, key: B::Key, value: Entry) {
    let free_slot = |index: &usize| (0..B::SLOTS).find(|slot| table.bucket(*index).is_empty(*slot));
    let Some((index, slot)) = table
        .walk(key)
        .find_map(|index| Some((index, free_slot(&index)?)))
    else {
        debug_assert!(false, "a table is never filled to the last slot");
        return;
    };
    for passed in table.walk(key).take_while(|passed| *passed != index) {
        table.bucket(passed).push_past();
    }
    table.bucket(index).fill(slot, key, value);
}
