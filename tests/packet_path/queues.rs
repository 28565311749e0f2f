// SPDX-License-Identifier: MIT
//! Rx queues that go from worker to worker, what is counted of them, and workers that sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use vswitch::counters::{QueueLoad, ROUNDS_PER_TIMED, WorkerCounters, total};
use vswitch::io::memory::{MemoryFrame, MemoryRx, MemoryTx, wire};
use vswitch::io::{Frames, TxQueue};
use vswitch::stage::transmit::{HANDOFF_CAPACITY, Link};
use vswitch::worker::{Polled, Worker};

use crate::lab::*;
use crate::{A, B, one_subnet, switched};

type MemoryWorker = Worker<MemoryRx, MemoryTx>;

/// A lab with guest 1 at A and guest 2 at B, and `count` more workers, which have B's tx queue and no rx queue. A's rx queue is
/// with nobody.
fn lab_with(
    count: usize,
) -> (
    Lab,
    Vec<MemoryWorker>,
    Vec<Arc<WorkerCounters>>,
    Polled<MemoryRx>,
) {
    let (mut lab, subnet) = one_subnet();
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    lab.worker.remove_port(A);
    let counters: Vec<_> = (0..count).map(|_| Arc::default()).collect();
    let worker = |counters| {
        let reader = lab.registrar.reader("another").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(counters), 32);
        let link = Link::Own(MemoryTx(Arc::clone(&lab.tx[B.index()])));
        worker.add_port(B, Vec::new(), Some(link));
        worker
    };
    let workers = counters.iter().map(worker).collect();
    let queue = Polled::new(A, MemoryRx(Arc::clone(&lab.rx[A.index()])));
    (lab, workers, counters, queue)
}

#[test]
fn a_queue_moves_between_workers_while_packets_come_and_each_leaves_once_in_order() {
    const COUNT: u32 = 10_000;
    /// Packets between two moves, at least.
    const TURN: u64 = 250;
    let (lab, mut workers, counters, queue) = lab_with(2);
    let load = Arc::clone(&queue.load);
    let subnet = Subnet::new(7, 1, 1, 0);
    let frame = switched(&subnet, 1, 2);
    let (first, second) = workers.split_at_mut(1);
    let (mut first, mut second) = (&mut first[0], &mut second[0]);
    first.add_queue(queue);
    let (running, taken) = (AtomicBool::new(true), AtomicU32::new(0));
    let moves = AtomicU32::new(0);
    let mut came = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                // Neither wire is ever full, and nobody gets all packets between two moves.
                let most = || (moves.load(Relaxed) + 1) * (COUNT / 8);
                while n - taken.load(Relaxed) >= 256 || n >= most() {
                    std::thread::yield_now();
                }
                let numbered = MemoryFrame::new(&[&frame[..], &n.to_be_bytes()].concat());
                lab.rx[A.index()].push(numbered).unwrap();
            }
        });
        let taker = scope.spawn(|| {
            let mut came = Vec::new();
            while came.len() < COUNT as usize {
                match lab.tx[B.index()].pop() {
                    Some(frame) => {
                        came.push(frame.to_vec());
                        taken.fetch_add(1, Relaxed);
                    }
                    None => std::thread::yield_now(),
                }
            }
            came
        });
        while load.packets() < COUNT.into() {
            running.store(true, Relaxed);
            // No more than may be under way: what one hands over to the other leaves only when that has its turn.
            let enough = load.packets() + TURN;
            // The worker polls on a thread of its own; then its queue goes to the other one.
            std::thread::scope(|turn| {
                turn.spawn(|| {
                    while running.load(Relaxed) {
                        first.poll();
                    }
                });
                while load.packets() < enough.min(COUNT.into()) {
                    std::thread::yield_now();
                }
                running.store(false, Relaxed);
            });
            let queue = first.take_queue(&load).unwrap();
            assert!(first.take_queue(&load).is_none(), "there is one of it");
            second.add_queue(queue);
            std::mem::swap(&mut first, &mut second);
            moves.fetch_add(1, Relaxed);
        }
        came = taker.join().unwrap();
    });
    assert!(moves.load(Relaxed) >= 7);
    let numbers = came
        .iter()
        .map(|frame| u32::from_be_bytes(*frame.last_chunk().unwrap()));
    assert!(numbers.eq(0..COUNT));
    assert_eq!(load.packets(), COUNT.into());
    let totals = total(&counters, A);
    assert_eq!((totals.rx, totals.forwarded), (COUNT.into(), COUNT.into()));
}

/// A tx queue that its peer takes from at times.
struct Door(MemoryTx, Arc<AtomicBool>);

impl TxQueue for Door {
    type Frame = MemoryFrame;

    fn tx_burst(&mut self, frames: &mut Frames<MemoryFrame>) -> usize {
        assert!(self.is_open());
        self.0.tx_burst(frames)
    }

    fn is_open(&self) -> bool {
        self.1.load(Relaxed)
    }
}

#[test]
fn what_a_peer_does_not_take_from_a_workers_queue_leaves_by_the_first_workers() {
    let (lab, mut workers, mut counters, queue) = lab_with(1);
    let (handoff, open) = (Arc::new(ArrayQueue::new(HANDOFF_CAPACITY)), Arc::default());
    let own = wire(8);
    counters.push(Arc::default());
    let reader = lab.registrar.reader("second").unwrap();
    let mut second = Worker::new(reader, Arc::clone(&counters[1]), 32);
    let door = Door(MemoryTx(Arc::clone(&own)), Arc::clone(&open));
    second.add_port(B, Vec::new(), Some(Link::Spare(door, Arc::clone(&handoff))));
    second.add_queue(queue);
    let first = &mut workers[0];
    let link = Link::Shared(
        MemoryTx(Arc::clone(&lab.tx[B.index()])),
        Arc::clone(&handoff),
    );
    first.add_port(B, Vec::new(), Some(link));
    let frame = switched(&Subnet::new(7, 1, 1, 0), 1, 2);
    for is_open in [false, true, false] {
        open.store(is_open, Relaxed);
        lab.inject(A, &frame);
        second.poll();
        assert_eq!(
            (own.len(), handoff.len()),
            (is_open.into(), (!is_open).into())
        );
        first.poll();
        let wire = if is_open { &own } else { &lab.tx[B.index()] };
        assert_eq!(wire.pop().unwrap().to_vec(), frame);
    }
    let (from, to) = (total(&counters, A), total(&counters, B));
    assert_eq!((from.rx, from.forwarded, to.tx), (3, 3, 3));
}

/// A clock that goes on by ten ticks each time.
fn ticking() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(10, Relaxed)
}

#[test]
fn a_queue_that_brings_something_is_charged_for_one_round_of_many() {
    let (lab, mut workers, _, queue) = lab_with(1);
    let (idle, busy) = (Polled::new(B, MemoryRx(wire(1))), Arc::clone(&queue.load));
    let nothing: Arc<QueueLoad> = Arc::clone(&idle.load);
    let worker = &mut workers[0];
    worker.time_by(ticking);
    worker.add_queue(idle);
    worker.add_queue(queue);
    let frame = switched(&Subnet::new(7, 1, 1, 0), 1, 2);
    for _ in 0..3 * ROUNDS_PER_TIMED {
        lab.inject(A, &frame);
        assert_eq!(worker.poll(), 1);
        lab.tx[B.index()].pop().unwrap();
    }
    assert_eq!((nothing.packets(), nothing.ticks()), (0, 0));
    assert_eq!(busy.packets(), 3 * ROUNDS_PER_TIMED);
    // Ten for each timed round, ten more where the worker turned busy.
    assert_eq!(busy.ticks(), 40 * ROUNDS_PER_TIMED);
}

/// Another one, since it counts for all who use it.
fn steady() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(10, Relaxed)
}

#[test]
fn a_worker_that_sleeps_holds_nobody_up_and_wakes_for_what_arrives() {
    let (mut lab, mut workers, counters, queue) = lab_with(1);
    let mut worker = workers.pop().unwrap();
    worker.add_queue(queue);
    worker.time_by(steady);
    worker.sleep_at_most(500);
    let frame = switched(&Subnet::new(7, 1, 1, 0), 1, 2);
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| worker.run(&running));
        let until = |what: &str, done: &mut dyn FnMut() -> bool| {
            let end = Instant::now() + Duration::from_secs(10);
            while !done() {
                if Instant::now() > end {
                    running.store(false, Relaxed);
                    panic!("still not: {what}");
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        };
        for _ in 0..20 {
            let asleep = counters[0].load.asleep();
            until("it sleeps", &mut || counters[0].load.asleep() > asleep);
            // The tables change, and nobody waits for it.
            lab.guest(port(4), 3, &[Subnet::new(7, 1, 1, 0)]);
            let commit = lab.writer.commit();
            until("the change is seen", &mut || {
                lab.worker.poll();
                lab.writer.settled(&commit)
            });
            lab.inject(A, &frame);
            until("the packet is there", &mut || {
                lab.tx[B.index()].pop().is_some()
            });
        }
        running.store(false, Relaxed);
    });
    let (busy, idle) = counters[0].load.times(steady());
    assert!(busy > 0 && counters[0].load.asleep() <= idle);
}
