// SPDX-License-Identifier: MIT
//! Readers that come and go, and who drops what when; the interleavings are in `loom_tests`.

use std::sync::mpsc;
use std::thread::{self, ThreadId};

use super::*;

/// Says when and where it is dropped.
struct Told(u32, mpsc::Sender<(u32, ThreadId)>);

impl Drop for Told {
    fn drop(&mut self) {
        self.1.send((self.0, thread::current().id())).unwrap();
    }
}

#[test]
fn a_replaced_value_is_dropped_by_the_writer_when_the_last_reader_let_go() {
    let (tell, dropped) = mpsc::channel();
    let (mut writer, registry) = new(Told(1, tell.clone()));
    let (mut one, mut other) = (
        registry.reader("one").unwrap(),
        registry.reader("other").unwrap(),
    );
    let (first, second) = (one.pin(), other.pin());
    let ticket = writer.publish(Told(2, tell), 100);
    assert_eq!((first.0, second.0), (1, 1));
    assert_eq!(
        writer.reclaim(),
        Pinned {
            values: 1,
            bytes: 100
        }
    );
    drop(first);
    assert_eq!((writer.reclaim().values, writer.passed(ticket)), (1, false));
    drop(second);
    assert!(writer.passed(ticket));
    assert_eq!(dropped.try_recv().ok(), None);
    assert_eq!(writer.reclaim(), Pinned::default());
    assert_eq!(dropped.try_recv(), Ok((1, thread::current().id())));
    assert_eq!(one.pin().0, 2);
}

#[test]
fn a_reader_that_sleeps_or_never_began_holds_back_nothing() {
    let (mut writer, registry) = new(1);
    let _never = registry.reader("never").unwrap();
    let mut sleeper = registry.reader("sleeper").unwrap();
    assert_eq!(*sleeper.pin(), 1);
    let ticket = writer.ticket();
    assert!(!writer.passed(ticket));
    let lagging = writer.lagging();
    assert_eq!((&*lagging[0].name, lagging[0].behind), ("sleeper", 1));
    let _ = writer.ticket();
    let later = &writer.lagging()[0];
    assert_eq!(
        (later.behind, later.at),
        (2, lagging[0].at),
        "it stood still"
    );
    sleeper.offline();
    assert!(writer.passed(ticket) && writer.lagging().is_empty());
    writer.publish(2, 0);
    assert_eq!((writer.reclaim().values, *sleeper.pin()), (0, 2));
}

#[test]
fn the_places_of_readers_are_limited_and_used_again() {
    let (writer, registry) = new(1);
    let mut readers: Vec<_> = (0..MAX_READERS)
        .map(|n| registry.reader(&n.to_string()).unwrap())
        .collect();
    assert!(matches!(registry.reader("one more"), Err(TooManyReaders)));
    readers.remove(5);
    let mut last = registry.clone().reader("last").unwrap();
    drop(writer);
    assert_eq!(*last.pin(), 1);
}

#[test]
fn what_readers_see_outlives_the_writer_and_is_dropped_with_the_last_of_them() {
    let (tell, dropped) = mpsc::channel();
    let (mut writer, registry) = new(Told(1, tell.clone()));
    let mut reader = registry.reader("reader").unwrap();
    let guard = reader.pin();
    writer.publish(Told(2, tell), 0);
    drop((writer, registry));
    assert_eq!(guard.0, 1);
    drop(guard);
    assert_eq!(dropped.try_recv().ok(), None);
    drop(reader);
    let mut numbers: Vec<_> = dropped.into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn readers_and_the_writer_go_to_their_threads_and_guards_stay() {
    fn can_be_sent<T: Send>() {}
    can_be_sent::<Reader<u32>>();
    can_be_sent::<Registry<u32>>();
    can_be_sent::<Writer<u32>>();
    // Each of these types says no for a value that cannot be shared: the impl below would be a second one.
    trait Says<X> {
        fn says() {}
    }
    impl<T: ?Sized> Says<()> for T {}
    struct Sendable;
    impl<T: ?Sized + Send> Says<Sendable> for T {}
    <Reader<std::cell::Cell<u32>> as Says<_>>::says();
    <Registry<std::cell::Cell<u32>> as Says<_>>::says();
    <Writer<std::rc::Rc<u32>> as Says<_>>::says();
    <Guard<'static, u32> as Says<_>>::says();
}
