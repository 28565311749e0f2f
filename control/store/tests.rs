// SPDX-License-Identifier: MIT
//! What is said of what was given to the store, when the disk does not do as it should.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::{Entry, Journal, Store};
use crate::southbound::decode::{Encoded, Form};
use crate::state::Revisions;
use crate::state::age::Ages;

/// Bytes that may wait.
const ROOM: u64 = 1000;

fn goal(length: usize) -> Entry {
    let (form, bytes) = (Form::V2, vec![7; length].into());
    let goal = Encoded { form, bytes };
    let revisions = Revisions::Check;
    Entry::said(goal, revisions)
}

fn part(length: usize) -> Entry {
    let (clock, of_each) = (0, Vec::new());
    Entry {
        ages: Some(Ages { clock, of_each }),
        ..goal(length)
    }
}

/// A store with a disk that hangs when it is told to.
struct Lab {
    store: Store,
    thread: JoinHandle<()>,
    woken: Receiver<()>,
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("store")).unwrap();
        let (wake, woken) = channel();
        let (store, thread) =
            Store::with_room(journal, move || wake.send(()).unwrap(), ROOM).unwrap();
        Self {
            store,
            thread,
            woken,
            folder,
        }
    }

    /// Nothing is written until the sender is dropped.
    fn hang(&self) -> Sender<()> {
        let (begun, hangs) = channel();
        let (gate, closed) = channel::<()>();
        self.store.then(0, move |_| {
            begun.send(()).unwrap();
            let _ = closed.recv();
        });
        hangs.recv().unwrap();
        gate
    }

    /// What is going to be said of all that was given so far.
    fn kept(&self) -> Receiver<bool> {
        let (say, said) = channel();
        self.store.then(0, move |kept| say.send(kept).unwrap());
        said
    }

    /// Ends the store; lengths of the goal states that it has.
    fn lengths(self) -> Vec<usize> {
        drop(self.store);
        self.thread.join().unwrap();
        let mut journal = Journal::open(&self.folder.path().join("store")).unwrap();
        let mut lengths = Vec::new();
        let result = journal.read(|entry| {
            lengths.push(entry.goal.bytes.len());
            Ok(())
        });
        result.unwrap();
        lengths
    }
}

#[test]
fn a_disk_that_hangs_costs_bounded_memory_and_then_all_is_written_anew() {
    let lab = Lab::new();
    lab.store.record(goal(100));
    assert!(lab.kept().recv().unwrap());
    let gate = lab.hang();
    lab.store.record(goal(ROOM as usize - 1));
    assert!(!lab.store.is_behind());
    let first = lab.kept();
    lab.store.record(goal(1));
    lab.store.record(goal(2));
    assert!(lab.store.is_behind(), "nothing is written out meanwhile");
    assert!(!lab.kept().try_recv().unwrap(), "said at once");
    assert!(first.try_recv().is_err(), "waits for the disk");
    drop(gate);
    assert!(!first.recv().unwrap());
    lab.woken.recv().unwrap();
    assert!(lab.store.wants_compaction() && !lab.store.is_behind());
    assert!(!lab.kept().recv().unwrap(), "there is a gap");
    lab.store.begin_compaction();
    lab.store.compact(part(3));
    lab.store.record(goal(4));
    lab.store.end_compaction();
    assert!(lab.kept().recv().unwrap());
    assert!(!lab.store.wants_compaction());
    assert_eq!(lab.lengths(), [3, 4]);
}

#[test]
fn one_goal_state_may_be_larger_than_what_may_wait() {
    let lab = Lab::new();
    let gate = lab.hang();
    lab.store.record(goal(1));
    lab.store.record(goal(5 * ROOM as usize));
    drop(gate);
    assert!(lab.kept().recv().unwrap());
    assert_eq!(lab.lengths(), [1, 5 * ROOM as usize]);
}

#[test]
fn a_compaction_during_which_something_was_lost_replaces_nothing() {
    let lab = Lab::new();
    lab.store.record(goal(100));
    lab.store.begin_compaction();
    lab.store.compact(part(3));
    assert!(lab.kept().recv().unwrap());
    let gate = lab.hang();
    lab.store.record(goal(ROOM as usize));
    lab.store.record(goal(1));
    drop(gate);
    lab.woken.recv().unwrap();
    lab.store.end_compaction();
    assert!(!lab.kept().recv().unwrap());
    assert_eq!(lab.lengths(), [100, ROOM as usize]);
}

#[test]
fn replies_that_wait_count_too() {
    let lab = Lab::new();
    let gate = lab.hang();
    lab.store.then(ROOM, |_| {});
    lab.store.record(goal(1));
    assert!(lab.store.is_behind());
    drop(gate);
}
