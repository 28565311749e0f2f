// SPDX-License-Identifier: MIT
//! [`Leaving`]: what is on its way out of the neighbor tables, from the edit that removes it to its slot's
//! next use.
//!
//! ```text
//! edit -> staged -- commit --> waiting -- the commit's grace period --> limbo -- another --> slot is free
//!                     \-> queued, while another batch is waiting -/
//! ```
//!
//! Batches that pile up behind a reader that does not let go are joined, so that they cost memory by the
//! entries that leave and not by the commits that were made. What waits is not joined with: it would never
//! be done if commits came faster than grace periods end.

use std::collections::VecDeque;

use hashbrown::HashSet;

use crate::tables::Tables;
use crate::tables::neighbors::{Editor, Place};
use crate::tables::rcu::{self, Ticket};
use crate::tables::sync::{Fault, fault};

/// What leaves one table.
#[derive(Default)]
struct Batch {
    /// Keys to remove.
    keys: HashSet<u64>,
    /// Old copies of changed entries to remove.
    copies: Vec<Place>,
}

/// What a commit takes out of both tables once every reader sees its snapshot.
struct Committed {
    /// The number of the (last) commit.
    commit: u64,
    /// Passes when every reader sees its snapshot.
    ticket: Ticket,
    tables: [Batch; 2],
}

/// Slots that were taken out of readers' sight.
struct Limbo {
    /// The number of the (last) commit: it is settled when these are free.
    commit: u64,
    /// Passes when no reader looks at them any more.
    ticket: Ticket,
    places: [Vec<Place>; 2],
}

/// What leaves the two neighbor tables.
#[derive(Default)]
pub(super) struct Leaving {
    /// With the next commit.
    staged: [Batch; 2],
    waiting: Option<Committed>,
    queued: Option<Committed>,
    /// Oldest first.
    limbo: VecDeque<Limbo>,
    /// All commits up to this number are settled.
    settled: u64,
}

impl Leaving {
    /// All commits up to this number are settled.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// True without anything that leaves with the next commit.
    pub(super) fn nothing_staged(&self) -> bool {
        self.staged
            .iter()
            .all(|batch| batch.keys.is_empty() && batch.copies.is_empty())
    }

    /// A key that is in the table leaves with the next commit, unless it is leaving already.
    pub(super) fn stage_key(&mut self, table: usize, key: u64) {
        let mut committed = self.waiting.iter().chain(&self.queued);
        if !committed.any(|batch| batch.tables[table].keys.contains(&key)) {
            self.staged[table].keys.insert(key);
        }
    }

    /// The old copy of a changed entry leaves with the next commit.
    pub(super) fn stage_copy(&mut self, table: usize, copy: Place) {
        self.staged[table].copies.push(copy);
    }

    /// A key stays, if its removal is not done yet.
    pub(super) fn keep(&mut self, table: usize, key: u64) {
        for batch in self.batches(table).filter(|batch| !batch.keys.is_empty()) {
            batch.keys.remove(&key);
        }
    }

    /// A table's entries are in a new one: what was leaving the old one is not in it, but for keys whose
    /// removal is not done yet.
    pub(super) fn forget_places(&mut self, table: usize) {
        self.batches(table).for_each(|batch| batch.copies.clear());
        self.limbo
            .iter_mut()
            .for_each(|limbo| limbo.places[table].clear());
    }

    /// What is staged leaves with this commit, whose snapshot every reader sees when `ticket` has passed.
    pub(super) fn commit(&mut self, commit: u64, ticket: Ticket) {
        let tables = std::mem::take(&mut self.staged);
        let committed = Committed {
            commit,
            ticket,
            tables,
        };
        match (&mut self.waiting, &mut self.queued) {
            (waiting @ None, _) => *waiting = Some(committed),
            (_, queued @ None) => *queued = Some(committed),
            (_, Some(queued)) => queued.join(committed),
        }
    }

    /// Does what grace periods have passed for. Never waits.
    pub(super) fn advance(&mut self, rcu: &mut rcu::Writer<Tables>, editors: &mut [Editor; 2]) {
        // Readers would not see what is removed from a table that is not theirs yet.
        let published = editors.iter().all(Editor::is_published);
        loop {
            self.free(rcu, editors);
            let Some(batch) = self
                .waiting
                .take_if(|batch| published && rcu.passed(batch.ticket))
            else {
                return;
            };
            self.limbo.push_back(batch.retire(rcu, editors));
            self.waiting = self.queued.take();
        }
    }

    /// Frees the slots that no reader looks at any more.
    fn free(&mut self, rcu: &mut rcu::Writer<Tables>, editors: &mut [Editor; 2]) {
        let passed = |limbo: &mut Limbo| rcu.passed(limbo.ticket) || fault(Fault::ReuseAtOnce);
        let mut passed = passed;
        while let Some(limbo) = self.limbo.pop_front_if(&mut passed) {
            for (editor, places) in editors.iter_mut().zip(limbo.places) {
                places.into_iter().for_each(|place| editor.free(place));
            }
            self.settled = limbo.commit;
        }
    }

    /// What has still to be taken out of readers' sight.
    fn batches(&mut self, table: usize) -> impl Iterator<Item = &mut Batch> {
        let committed = self.waiting.iter_mut().chain(&mut self.queued);
        let committed = committed.map(move |committed| &mut committed.tables[table]);
        committed.chain([&mut self.staged[table]])
    }
}

impl Committed {
    /// Adds what a later commit takes out.
    fn join(&mut self, later: Self) {
        (self.commit, self.ticket) = (later.commit, later.ticket);
        for (batch, later) in self.tables.iter_mut().zip(later.tables) {
            batch.keys.extend(later.keys);
            batch.copies.extend(later.copies);
        }
    }

    /// Takes all of it out of readers' sight.
    fn retire(self, rcu: &mut rcu::Writer<Tables>, editors: &mut [Editor; 2]) -> Limbo {
        let mut places = [Vec::new(), Vec::new()];
        for ((editor, batch), places) in editors.iter_mut().zip(self.tables).zip(&mut places) {
            batch.copies.iter().for_each(|copy| editor.retire(*copy));
            *places = batch.copies;
            places.extend(batch.keys.iter().filter_map(|key| editor.remove(*key)));
        }
        // Without anything to wait for, the commit is settled as soon as those before it.
        let nothing = places.iter().all(Vec::is_empty);
        let ticket = if nothing { self.ticket } else { rcu.ticket() };
        Limbo {
            commit: self.commit,
            ticket,
            places,
        }
    }
}
