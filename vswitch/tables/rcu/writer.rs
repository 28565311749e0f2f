// SPDX-License-Identifier: MIT
//! [`Writer`]: publishes, and finds out when no reader can see what was before. Why it is sound stands in
//! [`rcu`](super).

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::PoisonError;

use super::{OFFLINE, Retired, Shared};
use crate::tables::sync::{Arc, Fault, Ordering, fault, fence, unless};
use Ordering::{Acquire, Relaxed, Release, SeqCst};

/// A point in the writer's time, see [`Writer::passed`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

impl Ticket {
    /// One that has always passed.
    pub(super) const PASSED: Self = Self(0);
}

/// A reader that has not let go since some ticket was issued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lagging {
    /// The reader's name.
    pub name: String,
    /// Tickets issued since it last let go.
    pub behind: u64,
    /// The last ticket when it last let go: as long as this stays, the reader stands still.
    pub at: Ticket,
}

/// Replaced values that readers may still look at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Pinned {
    /// How many.
    pub values: usize,
    /// Bytes of memory that go with them.
    pub bytes: usize,
}

/// The one that publishes.
pub struct Writer<T> {
    shared: Arc<Shared<T>>,
    /// Oldest first.
    retired: VecDeque<Retired<T>>,
    /// Bytes of all of them.
    retired_bytes: usize,
    /// All tickets up to this one have passed.
    passed: u64,
}

impl<T> Writer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        // The epoch that `shared` starts with: no ticket has been issued.
        let passed = shared.head.epoch.load(Relaxed);
        Self {
            shared,
            retired: VecDeque::new(),
            retired_bytes: 0,
            passed,
        }
    }

    /// The current value.
    pub fn current(&self) -> &T {
        let current = self.shared.head.current.load(Relaxed);
        // SAFETY: it came from `Box::into_raw`. Only this writer replaces and drops values, and it does so by
        // `&mut self`, or with `Shared`, which it holds.
        unsafe { &*current }
    }

    /// Replaces the current value, with which so many `bytes` of memory will be free. The ticket is of the
    /// moment after.
    pub fn publish(&mut self, value: T, bytes: usize) -> Ticket {
        let current = &self.shared.head.current;
        let old = current.load(Relaxed);
        current.store(Box::into_raw(Box::new(value)), Release);
        let ticket = self.ticket();
        if let Some(value) = NonNull::new(old) {
            self.retired_bytes += bytes;
            self.retired.push_back(Retired {
                ticket,
                value,
                bytes,
            });
        }
        ticket
    }

    /// A ticket that passes when every reader has let go of all that it may have seen until now, and sees
    /// all that the writer has done until now.
    pub fn ticket(&mut self) -> Ticket {
        let epoch = &self.shared.head.epoch;
        let ticket = epoch.load(Relaxed) + 1;
        epoch.store(ticket, Release);
        if !fault(Fault::TicketWithoutFence) {
            fence(SeqCst);
        }
        Ticket(ticket)
    }

    /// True once every reader has let go since the ticket was issued. Never waits; looks at each reader's
    /// slot once, and at none for a ticket that is known to have passed.
    pub fn passed(&mut self, ticket: Ticket) -> bool {
        if ticket.0 > self.passed {
            let announced = self
                .shared
                .slots
                .iter()
                .map(|slot| slot.load(unless(Fault::ScanRelaxed, Acquire)))
                .min();
            let issued = self.shared.head.epoch.load(Relaxed);
            self.passed = announced.unwrap_or(OFFLINE).min(issued).max(self.passed);
        }
        ticket.0 <= self.passed + u64::from(fault(Fault::PassedEarly))
    }

    /// Drops replaced values that no reader can see any more; what remains.
    pub fn reclaim(&mut self) -> Pinned {
        while let Some(ticket) = self.retired.front().map(|oldest| oldest.ticket) {
            if !self.passed(ticket) {
                break;
            }
            let dropped = self.retired.pop_front();
            self.retired_bytes -= dropped.map_or(0, |dropped| dropped.bytes);
        }
        Pinned {
            values: self.retired.len(),
            bytes: self.retired_bytes,
        }
    }

    /// Readers that hold back a ticket now, with their names. A healthy one is here for some microseconds.
    pub fn lagging(&self) -> Vec<Lagging> {
        let issued = self.shared.head.epoch.load(Relaxed);
        let names = self.shared.names();
        let slots = self.shared.slots.iter().map(|slot| slot.load(Relaxed));
        let behind = names.iter().zip(slots).filter(|(_, seen)| *seen < issued);
        behind
            .filter_map(|(name, seen)| {
                Some(Lagging {
                    name: name.clone()?,
                    behind: issued - seen,
                    at: Ticket(seen),
                })
            })
            .collect()
    }
}

impl<T> Drop for Writer<T> {
    /// Never waits: what readers may still see is left to the last of them.
    fn drop(&mut self) {
        self.reclaim();
        let mut orphans = self
            .shared
            .orphans
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        orphans.extend(self.retired.drain(..));
    }
}
