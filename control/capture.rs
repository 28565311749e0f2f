// SPDX-License-Identifier: MIT
//! Copies of frames from the workers, for one client at a time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::time::SystemTime;

use vswitch::counters::WorkerCounters;
use vswitch::counters::capture::{Seen, Wanted};
use vswitch::tables::PortId;

/// What a port is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PortName {
    /// Its number.
    pub(crate) port: PortId,
    /// Its device.
    pub(crate) device: String,
    /// The controller's port that it is bound to; empty if to none.
    pub(crate) binding: String,
    /// When the number became this device's, as [`now_ns`] has it.
    pub(crate) attached_ns: u64,
}

/// The time as [`Seen`] has it: nanoseconds since 1970.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Whether one is under way, and how many there were.
#[derive(Default)]
pub(crate) struct Captures {
    under_way: AtomicBool,
    begun: AtomicU32,
}

/// A capture. It ends when this is dropped.
pub(crate) struct Session {
    captures: Arc<Captures>,
    /// Of all who may see frames.
    counters: Vec<Arc<WorkerCounters>>,
    number: u32,
    /// What had been missed before, by port.
    before: Vec<u64>,
}

impl Session {
    /// Has those who count here copy frames from now on. `None`: another client has them do so.
    pub(crate) fn begin(
        captures: &Arc<Captures>,
        counters: Vec<Arc<WorkerCounters>>,
        wanted: &Wanted,
    ) -> Option<Self> {
        if captures.under_way.swap(true, AcqRel) {
            return None;
        }
        let number = captures.begun.fetch_add(1, Relaxed);
        let before = PortId::all().map(|port| missed(&counters, port)).collect();
        for counters in &counters {
            counters.capture.start(number, wanted);
        }
        Some(Self {
            captures: Arc::clone(captures),
            counters,
            number,
            before,
        })
    }

    /// Takes frames that were copied, in the order of their times as far as these are together: of each worker as many as have
    /// `most` bytes in all, and one more. Empty: there are none now.
    pub(crate) fn take(&self, most: usize) -> Vec<Seen> {
        let mut all = Vec::new();
        for counters in &self.counters {
            let mut bytes = 0;
            while bytes < most
                && let Some(seen) = counters.capture.next(self.number)
            {
                bytes += seen.bytes.len() + size_of::<Seen>();
                all.push(seen);
            }
        }
        all.sort_by_key(|seen| seen.time_ns);
        all
    }

    /// Frames that were wanted and not copied, since this began, of the ports that have any.
    pub(crate) fn missed(&self) -> impl Iterator<Item = (PortId, u64)> + '_ {
        let ports = PortId::all().zip(&self.before);
        let missed = ports.map(|(port, before)| (port, missed(&self.counters, port) - before));
        missed.filter(|(_, missed)| *missed != 0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.counters.iter().for_each(|it| it.capture.stop());
        self.captures.under_way.store(false, Release);
    }
}

fn missed(counters: &[Arc<WorkerCounters>], port: PortId) -> u64 {
    counters.iter().map(|it| it.capture.missed(port)).sum()
}

#[cfg(test)]
mod tests {
    use vswitch::counters::DropReason;
    use vswitch::counters::capture::Event;
    use vswitch::io::memory::MemoryFrame;

    use super::*;

    fn workers() -> Vec<Arc<WorkerCounters>> {
        vec![Arc::default(), Arc::default()]
    }

    #[test]
    fn one_client_at_a_time_captures_and_the_next_one_sees_nothing_of_it() {
        let (captures, workers) = (Arc::default(), workers());
        let port = PortId::new(3).unwrap();
        let frame = MemoryFrame::new(&[1; 60]);
        let first = Session::begin(&captures, workers.clone(), &Wanted::ALL).unwrap();
        assert!(Session::begin(&captures, workers.clone(), &Wanted::ALL).is_none());
        workers[0].count_drop(port, DropReason::NoRoute, &frame);
        drop(first);
        assert!(!workers[0].capture.wants_dropped() && !workers[1].capture.wants_sent());
        let second = Session::begin(&captures, workers.clone(), &Wanted::ALL).unwrap();
        assert_eq!(second.take(1000), []);
        workers[1].count_drop(port, DropReason::TxFull, &frame);
        workers[0].count_drop(port, DropReason::NoRoute, &frame);
        let seen = second.take(1000);
        let events: Vec<_> = seen.iter().map(|seen| seen.event).collect();
        let expected = [DropReason::TxFull, DropReason::NoRoute].map(Event::Dropped);
        assert_eq!(events, expected); // by time, not by worker
        assert_eq!(second.missed().count(), 0);
    }

    #[test]
    fn what_another_client_missed_is_not_told_again() {
        let (captures, workers) = (Arc::default(), workers());
        let port = PortId::new(3).unwrap();
        let frame = MemoryFrame::new(&[1; 2000]);
        let first = Session::begin(&captures, workers.clone(), &Wanted::ALL).unwrap();
        let drop_one = || workers[0].count_drop(port, DropReason::NoRoute, &frame);
        while first.missed().next().is_none() {
            drop_one();
        }
        drop_one();
        assert_eq!(first.missed().collect::<Vec<_>>(), [(port, 2)]);
        drop(first);
        let second = Session::begin(&captures, workers.clone(), &Wanted::ALL).unwrap();
        assert_eq!(second.missed().count(), 0);
        drop_one();
        assert_eq!(second.take(1).len(), 1);
    }
}
