// SPDX-License-Identifier: MIT
//! Tables that are outgrown while something is on its way out of them.

use super::tests::{domain, local, mac, neighbor};
use super::*;

#[test]
fn a_growing_table_is_published_with_the_commit_and_removals_wait_for_that() {
    let (mut writer, registrar) = tables(None, 10_000);
    let mut reader = registrar.reader("worker 0").unwrap();
    for n in 0..100 {
        writer
            .upsert_mac(domain(1), mac(n), neighbor(n, 1, local(0)))
            .unwrap();
    }
    let first = writer.commit();
    assert_eq!((writer.settled(&first), writer.publications()), (true, 0));
    // The removal is not done yet when the table grows: the worker still has the old snapshot.
    let guard = reader.pin();
    writer.remove_mac(domain(1), mac(0));
    let removal = writer.commit();
    for n in 100..5000 {
        writer
            .upsert_mac(domain(1), mac(n), neighbor(n, 1, local(0)))
            .unwrap();
    }
    drop(guard);
    assert!(!writer.settled(&removal));
    assert_eq!(reader.pin().neighbors.find_mac(domain(1), mac(4999)), None);
    let growth = writer.commit();
    assert_eq!(writer.publications(), 1);
    while !writer.settled(&growth) {
        drop(reader.pin());
    }
    assert!(writer.settled(&removal));
    let guard = reader.pin();
    assert_eq!(guard.neighbors.find_mac(domain(1), mac(0)), None);
    for n in 1..5000 {
        assert!(guard.neighbors.find_mac(domain(1), mac(n)).is_some());
    }
}

/// What a change leaves behind in a table that is then outgrown is never taken out of it.
#[test]
fn a_change_is_settled_only_when_every_reader_let_go_of_the_table_that_was_outgrown_meanwhile() {
    let (mut writer, registrar) = tables(None, 10_000);
    let mut reader = registrar.reader("worker 0").unwrap();
    let upsert = |writer: &mut Writer, n, host| {
        let changed = neighbor(host, 1, local(0));
        writer.upsert_mac(domain(1), mac(n), changed).unwrap();
    };
    (0..100).for_each(|n| upsert(&mut writer, n, n));
    let first = writer.commit();
    assert!(writer.settled(&first));
    drop(reader.pin());
    upsert(&mut writer, 0, 7);
    let change = writer.commit();
    // It lets go of what it saw before the change, and has the table in sight again.
    drop(reader.pin());
    let guard = reader.pin();
    (100..5000).for_each(|n| upsert(&mut writer, n, n));
    let growth = writer.commit();
    assert_eq!(writer.publications(), 1);
    assert!(!writer.settled(&change), "it may still find the old entry");
    drop(guard);
    while !writer.settled(&growth) {
        drop(reader.pin());
    }
    assert!(writer.settled(&change));
}
