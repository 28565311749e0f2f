// SPDX-License-Identifier: MIT
//! [`Leaving`]: when what is on its way out of the neighbor tables goes on, from the edit that removes it to its slot's
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

use super::table::All;
use crate::tables::Tables;
use crate::tables::rcu::{self, Ticket};
use crate::tables::sync::{Fault, fault};

/// What each [`Table`](super::table::Table) has a batch for.
struct Step {
    /// The number of the (last) commit.
    commit: u64,
    /// Passes when every reader sees its snapshot; in limbo, when no reader looks at its entries any more.
    ticket: Ticket,
}

/// When what leaves the neighbor tables goes on.
#[derive(Default)]
pub(super) struct Leaving {
    waiting: Option<Step>,
    queued: Option<Step>,
    /// Oldest first. A commit is settled when its slots are free.
    limbo: VecDeque<Step>,
    /// All commits up to this number are settled.
    settled: u64,
}

impl Leaving {
    /// All commits up to this number are settled.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// What is staged leaves with this commit, whose snapshot every reader sees when `ticket` has passed. `grown`: a table is
    /// another with it, and what waited to leave its predecessor has left when that is out of sight.
    pub(super) fn commit(&mut self, commit: u64, ticket: Ticket, grown: bool, tables: &mut All) {
        if grown {
            let before = [&mut self.waiting, &mut self.queued];
            before
                .into_iter()
                .flatten()
                .for_each(|step| step.ticket = ticket);
        }
        let behind = self.waiting.is_some();
        let step = Some(Step { commit, ticket });
        match behind {
            false => self.waiting = step,
            true => self.queued = step,
        }
        for table in tables.each_mut() {
            table.commit(behind);
        }
    }

    /// Does what grace periods have passed for. Never waits.
    pub(super) fn advance(&mut self, rcu: &mut rcu::Writer<Tables>, tables: &mut All) {
        // Readers would not see what is removed from a table that is not theirs yet.
        let published = tables.are_published();
        loop {
            self.free(rcu, tables);
            let Some(Step { commit, ticket }) = self
                .waiting
                .take_if(|step| published && rcu.passed(step.ticket))
            else {
                return;
            };
            let mut any = false;
            for table in tables.each_mut() {
                any |= table.retire();
            }
            // Without anything to wait for, the commit is settled as soon as those before it.
            let ticket = if any { rcu.ticket() } else { ticket };
            self.limbo.push_back(Step { commit, ticket });
            self.waiting = self.queued.take();
        }
    }

    /// Frees the slots that no reader looks at any more.
    fn free(&mut self, rcu: &mut rcu::Writer<Tables>, tables: &mut All) {
        let passed = |step: &mut Step| rcu.passed(step.ticket) || fault(Fault::ReuseAtOnce);
        let mut passed = passed;
        while let Some(step) = self.limbo.pop_front_if(&mut passed) {
            for table in tables.each_mut() {
                table.free();
            }
            self.settled = step.commit;
        }
    }
}
