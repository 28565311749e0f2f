// SPDX-License-Identifier: MIT
//! What is on its way out of the neighbor tables, from the edit that removes it to its slot's next use.
//!
//! ```text
//! edit -> staged -- commit --> waiting -- the snapshot's grace period --> limbo -- another --> slot is free
//!                    \-> queued, while another batch is waiting -/
//! ```
//!
//! Batches that pile up behind a reader that does not let go are joined, so that they cost memory by the
//! entries that leave and not by the commits that were made.

use hashbrown::HashSet;

use crate::tables::neighbors::Place;
use crate::tables::rcu::Ticket;

/// What leaves one table.
#[derive(Default)]
pub(super) struct Leaving {
    /// Keys to remove.
    pub(super) keys: HashSet<u64>,
    /// Old copies of changed entries to remove.
    pub(super) copies: Vec<Place>,
}

/// What leaves both tables.
pub(super) type Both = [Leaving; 2];

/// What a commit takes out of the tables once every reader sees its snapshot.
pub(super) struct Batch {
    /// The number of the (last) commit.
    pub(super) commit: u64,
    /// Passes when every reader sees its snapshot.
    pub(super) ticket: Ticket,
    pub(super) tables: Both,
}

/// Slots that were taken out of readers' sight.
pub(super) struct Limbo {
    /// The number of the (last) commit: it is settled when these are free.
    pub(super) commit: u64,
    /// Passes when no reader looks at them any more.
    pub(super) ticket: Ticket,
    pub(super) places: [Vec<Place>; 2],
}

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.copies.is_empty()
    }

    fn join(&mut self, later: Self) {
        self.keys.extend(later.keys);
        self.copies.extend(later.copies);
    }
}

impl Batch {
    /// Adds a later batch.
    pub(super) fn join(&mut self, later: Self) {
        (self.commit, self.ticket) = (later.commit, later.ticket);
        for (table, later) in self.tables.iter_mut().zip(later.tables) {
            table.join(later);
        }
    }
}
