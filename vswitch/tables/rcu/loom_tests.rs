// SPDX-License-Identifier: MIT
//! Every interleaving of one reader and the writer, some of two readers, and the faults that must be found.

use loom::cell::UnsafeCell;
use loom::thread;

use super::*;
use crate::tables::sync::model::{check, check_up_to, fails};

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

/// A reader pins twice while the writer publishes and drops twice.
fn publish_and_reclaim() {
    let (mut writer, registry) = new(Watched::new(1));
    let mut reader = registry.reader("reader").unwrap();
    let reading = thread::spawn(move || {
        let first = reader.pin().get();
        let second = reader.pin().get();
        assert!((1..=3).contains(&first) && (first..=3).contains(&second));
    });
    for value in [2, 3] {
        writer.publish(Watched::new(value));
        writer.reclaim();
    }
    writer.reclaim();
    reading.join().unwrap();
    assert_eq!(writer.reclaim(), 0);
}

/// Two readers pin while the writer publishes and drops.
fn two_readers() {
    let (mut writer, registry) = new(Watched::new(1));
    let reading = ["one", "other"].map(|name| {
        let mut reader = registry.reader(name).unwrap();
        thread::spawn(move || {
            let value = reader.pin().get();
            assert!(value == 1 || value == 2);
        })
    });
    writer.publish(Watched::new(2));
    writer.reclaim();
    for reading in reading {
        reading.join().unwrap();
    }
    assert_eq!(writer.reclaim(), 0);
}

/// A reader goes offline and comes back while the writer publishes and drops.
fn sleep_and_wake() {
    let (mut writer, registry) = new(Watched::new(1));
    let mut reader = registry.reader("reader").unwrap();
    let reading = thread::spawn(move || {
        let first = reader.pin().get();
        reader.offline();
        let second = reader.pin().get();
        assert!(first >= 1 && second >= first);
    });
    writer.publish(Watched::new(2));
    writer.reclaim();
    writer.reclaim();
    reading.join().unwrap();
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
    writer.publish(Watched::new(2));
    drop(writer);
    reading.join().unwrap();
}

#[test]
fn loom_no_value_is_dropped_under_a_reader() {
    check(None, publish_and_reclaim);
}

#[test]
fn loom_no_value_is_dropped_under_either_of_two_readers() {
    check_up_to(3, two_readers);
}

#[test]
fn loom_a_reader_that_sleeps_and_wakes_sees_no_dropped_value() {
    check(None, sleep_and_wake);
}

#[test]
fn loom_readers_and_writer_end_in_any_order() {
    check(None, come_and_go);
}

#[test]
fn loom_finds_each_fault_of_a_pin() {
    let faults = [
        Fault::AnnounceEarly,
        Fault::AnnounceRelaxed,
        Fault::EpochRelaxed,
        Fault::ScanRelaxed,
        Fault::PassedEarly,
    ];
    for fault in faults {
        assert!(fails(fault, publish_and_reclaim), "{fault:?}");
    }
}

#[test]
fn loom_finds_each_fault_of_waking_up() {
    for fault in [
        Fault::OnlineWithoutFence,
        Fault::TicketWithoutFence,
        Fault::OnlineRelaxed,
    ] {
        assert!(fails(fault, sleep_and_wake), "{fault:?}");
    }
}
