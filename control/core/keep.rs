// SPDX-License-Identifier: MIT
//! The control thread and the store: what was kept is applied at start, what is applied is kept, and what nobody said again
//! is deleted.

use std::time::Instant;

use super::applied::MAX_LOGGED;
use super::request::Goal;
use super::watchdog::GRACE;
use super::{Core, PATIENCE};
use crate::audit::part::Refused;
use crate::southbound::decode::{self, Encoded};
use crate::state::parts::{Position, Which};
use crate::store::{Entry, Journal, Store, StoreError};

impl Core {
    /// Takes what a store has kept, before anything else is applied, each goal state under the mode of revisions that it
    /// was taken under. Returns how many resources that are; all are stale from then on.
    ///
    /// # Errors
    /// The store cannot be read, or holds what is no goal state.
    pub(crate) fn restore(&mut self, journal: &mut Journal) -> Result<usize, StoreError> {
        let configured = self.wanted.revisions();
        let mut all_lost = 0;
        journal.read(
            |Entry {
                 goal,
                 revisions,
                 ages,
             }| {
                let resources = decode::resources(&goal)?;
                let replaces = ages.is_some();
                self.wanted.set_revisions(revisions);
                ages.into_iter()
                    .for_each(|ages| self.wanted.begin_part(ages));
                let applied = self.begin_goal("the store".to_owned(), Instant::now(), resources);
                // Of what came from elsewhere that was said at the time.
                let lost = if replaces { applied.refused() } else { Vec::new() };
                for Refused { kind, id, reason } in lost {
                    all_lost += 1;
                    if all_lost <= MAX_LOGGED {
                        tracing::error!(kind = kind.as_str_name(), %id, "the store's own words are refused: {}", reason.1);
                    }
                }
                self.wanted.end_part();
                self.make_visible(GRACE);
                self.wanted.sweep();
                Ok(())
            },
        )?;
        if all_lost > MAX_LOGGED {
            tracing::error!(
                more = all_lost - MAX_LOGGED,
                "further words of the store's own are refused"
            );
        }
        self.wanted.set_revisions(configured);
        Ok(self.wanted.expect_again())
    }

    /// Keeps what is applied from now on. Replies wait until it is kept.
    pub(crate) fn keep_in(&mut self, store: Store) {
        self.store = Some(store);
    }

    pub(super) fn store_is_behind(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_behind)
    }

    /// Gives the store the next part of what replaces the goal states that it has, if they have become too many.
    pub(super) fn write_out(&mut self) {
        let Some(store) = &self.store else { return };
        if store.is_behind() {
            return;
        }
        if self.written.is_none() && store.wants_compaction() {
            store.begin_compaction();
            self.written = Some(Position::default());
        }
        if let Some(position) = &mut self.written {
            match self.wanted.part(position, Which::All) {
                Some(part) => store.compact(Entry::part(part)),
                None => {
                    store.end_compaction();
                    self.written = None;
                }
            }
        }
    }

    /// Deletes the next part of what is stale, as if the controller had said so, if it is time.
    pub(super) fn sweep_stale(&mut self) {
        let Some(position) = &mut self.swept else {
            return;
        };
        let Some((goal, _)) = self.wanted.part(position, Which::Stale) else {
            tracing::info!("what the controller has not sent again is deleted");
            self.wanted.expect_nothing();
            self.swept = None;
            return;
        };
        let goal = Encoded::from(&Goal::V2(goal));
        match decode::resources(&goal) {
            Ok(resources) if resources.is_empty() => {}
            Ok(resources) => {
                self.record(goal);
                self.begin_goal(
                    "the end of the resync".to_owned(),
                    Instant::now(),
                    resources,
                );
                // This may be what earlier replies wait for, too.
                self.settle(PATIENCE);
            }
            Err(error) => tracing::error!("stale resources stay: {error}"),
        }
    }

    /// Keeps a goal state, if there is a store.
    pub(super) fn record(&self, goal: Encoded) {
        if let Some(store) = &self.store {
            store.record(Entry::said(goal, self.wanted.revisions()));
        }
    }
}
