// SPDX-License-Identifier: MIT
//! Every interleaving of one reader and the writer, those of two readers up to a number of preemptions, and the faults
//! that must be found.

use loom::cell::UnsafeCell;
use loom::thread;

use super::*;
use crate::tables::sync::model::{check, check_up_to, fails, fails_up_to};

/// A value whose end loom compares with the looks at it.
struct Watched(UnsafeCell<u32>);

// SAFETY: shared, it is only read; loom checks that it is written (in `drop`) when it is not shared.
unsafe impl Sync for Watched {}

impl Watched {
    fn new(value: u32) -> Self {
        Self(UnsafeCell::new(value))
    }

    fn get(&self) -> u32 {
        // SAFETY: loom reports a write at the same time.
        self.0.with(|value| unsafe { *value })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: loom reports a read at the same time.
        self.0.with_mut(|value| unsafe { *value = 0 });
    }
}

/// Of the models with two readers.
const PREEMPTIONS: usize = 3;

/// Readers pin twice each while the writer publishes and drops, as often as there are `values`.
fn publish_and_reclaim<const READERS: usize>(values: u32) {
    let (mut writer, registry) = new(Watched::new(1));
    let reading = ["one", "other"][..READERS].iter().map(|name| {
        let mut reader = registry.reader(name).unwrap();
        thread::spawn(move || {
            let first = reader.pin().get();
            let second = reader.pin().get();
            assert!((1..=1 + values).contains(&first));
            assert!((first..=1 + values).contains(&second));
        })
    });
    let reading: Vec<_> = reading.collect();
    for value in 1..=values {
        writer.publish(Watched::new(1 + value), 0);
        writer.reclaim();
    }
    writer.reclaim();
    for reading in reading {
        reading.join().unwrap();
    }
    assert_eq!(writer.reclaim(), Pinned::default());
}

/// Readers go offline and come back while the writer publishes and drops.
fn sleep_and_wake<const READERS: usize>() {
    let (mut writer, registry) = new(Watched::new(1));
    let reading = ["one", "other"][..READERS].iter().map(|name| {
        let mut reader = registry.reader(name).unwrap();
        thread::spawn(move || {
            let first = reader.pin().get();
            reader.offline();
            let second = reader.pin().get();
            assert!(first >= 1 && second >= first);
        })
    });
    let reading: Vec<_> = reading.collect();
    writer.publish(Watched::new(2), 0);
    writer.reclaim();
    writer.reclaim();
    for reading in reading {
        reading.join().unwrap();
    }
}

/// The writer ends, then the readers; one of them begins meanwhile.
fn come_and_go() {
    let (mut writer, registry) = new(Watched::new(1));
    let reading = thread::spawn(move || {
        let mut reader = registry.reader("reader").unwrap();
        drop(registry);
        let value = reader.pin().get();
        assert!(value == 1 || value == 2);
    });
    writer.publish(Watched::new(2), 0);
    drop(writer);
    reading.join().unwrap();
}

#[test]
fn loom_no_value_is_dropped_under_a_reader() {
    check(None, || publish_and_reclaim::<1>(2));
}

#[test]
fn loom_no_value_is_dropped_under_either_of_two_readers() {
    check_up_to(PREEMPTIONS, || publish_and_reclaim::<2>(1));
}

#[test]
fn loom_a_reader_that_sleeps_and_wakes_sees_no_dropped_value() {
    check(None, sleep_and_wake::<1>);
}

#[test]
fn loom_two_readers_that_sleep_and_wake_see_no_dropped_value() {
    check_up_to(PREEMPTIONS, sleep_and_wake::<2>);
}

#[test]
fn loom_readers_and_writer_end_in_any_order() {
    check(None, come_and_go);
}

const OF_A_PIN: [Fault; 5] = [
    Fault::AnnounceEarly,
    Fault::AnnounceRelaxed,
    Fault::EpochRelaxed,
    Fault::ScanRelaxed,
    Fault::PassedEarly,
];

const OF_WAKING_UP: [Fault; 3] = [
    Fault::OnlineWithoutFence,
    Fault::TicketWithoutFence,
    Fault::OnlineRelaxed,
];

#[test]
fn loom_finds_each_fault_of_a_pin() {
    for fault in OF_A_PIN {
        assert!(fails(fault, || publish_and_reclaim::<1>(2)), "{fault:?}");
        let found = fails_up_to(PREEMPTIONS, fault, || publish_and_reclaim::<2>(1));
        assert!(found, "{fault:?} with two readers");
    }
}

#[test]
fn loom_finds_each_fault_of_waking_up() {
    for fault in OF_WAKING_UP {
        assert!(fails(fault, sleep_and_wake::<1>), "{fault:?}");
        let found = fails_up_to(PREEMPTIONS, fault, sleep_and_wake::<2>);
        assert!(found, "{fault:?} with two readers");
    }
}
