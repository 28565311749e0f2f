// SPDX-License-Identifier: MIT
//! The state machine with a clock, a controller and tables that are the test's own.

mod limits;

use std::net::IpAddr;
use std::num::NonZeroU16;

use etherparse::PacketBuilder;
use vswitch::io::memory::MemoryFrame;
use vswitch::tables::VpcId;
use vswitch::wire::{Mac, Vni};

use super::*;

const LIMITS: Limits = Limits {
    hold: Duration::from_secs(2),
    rate: 1000,
    negative: Duration::from_secs(10),
    frames: 100,
};

/// The engine, the time in milliseconds, and what the tables have.
struct Bench {
    engine: Engine<MemoryFrame>,
    begun: Instant,
    ms: u64,
    tables: HashSet<Destination>,
}

/// The `n`-th address of a subnet; odd ones are of IPv6.
fn to(n: u16) -> Destination {
    let ip = match n % 2 {
        0 => IpAddr::from((0x0a07_0000 + u32::from(n)).to_be_bytes()),
        _ => IpAddr::from([0x2001, 0xdb8, 7, 0, 0, 0, 0, n]),
    };
    Destination {
        vni: Vni::new(7).unwrap(),
        ip,
        sought: Sought::Ip(VpcId(NonZeroU16::MIN), ip),
    }
}

fn miss(n: u16, mark: u8) -> Miss<MemoryFrame> {
    miss_of(n % 8, n, mark)
}

fn miss_of(port: u16, n: u16, mark: u8) -> Miss<MemoryFrame> {
    let (destination, n) = (to(n), n.to_be_bytes());
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 7, 0, 1], [10, 7, n[0], n[1]], 64)
        .udp(1, 2)
        .write(&mut bytes, &[mark])
        .unwrap();
    Miss {
        frame: MemoryFrame::new(&bytes),
        from: PortId::new(port).unwrap(),
        guest: Mac::new([4; 6]),
        destination,
    }
}

fn arp(n: u16) -> Miss<MemoryFrame> {
    let mut miss = miss(n, 0);
    let mut bytes = miss.frame.head().to_vec();
    bytes[12..14].copy_from_slice(&[8, 6]);
    miss.frame = MemoryFrame::new(&bytes);
    miss
}

/// The mark of a frame.
fn mark(held: &Held<MemoryFrame>) -> u8 {
    *held.miss.frame.head().last().unwrap()
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let begun = Instant::now();
        let mut bench = Self {
            engine: Engine::new(limits, begun),
            begun,
            ms: 0,
            tables: HashSet::new(),
        };
        let started = bench.call().unwrap();
        assert_eq!(started.questions, []);
        bench.reply(started.first, Ok(vec![(started.first, true)]));
        bench
    }

    fn now(&self) -> Instant {
        self.begun + Duration::from_millis(self.ms)
    }

    fn miss(&mut self, miss: Miss<MemoryFrame>) {
        let found = self.tables.contains(&miss.destination);
        self.engine.miss(self.now(), 0, miss, found);
    }

    fn call(&mut self) -> Option<Call> {
        self.engine.next_call(self.now())
    }

    /// A call, and the addresses that it asks for.
    fn asks(&mut self) -> (u64, Vec<u16>) {
        let call = self.call().expect("a call");
        let low = |question: &Question| match question.destination {
            IpAddr::V4(ip) => ip.to_bits() as u16,
            IpAddr::V6(ip) => ip.to_bits() as u16,
        };
        (call.first, call.questions.iter().map(low).collect())
    }

    fn reply(&mut self, first: u64, outcome: Result<Vec<(u64, bool)>, Failed>) {
        let (now, tables) = (self.now(), &self.tables);
        self.engine
            .replied(now, first, outcome, |to| tables.contains(to));
    }

    /// The controller's goal state for an address is visible.
    fn push(&mut self, n: u16) {
        self.tables.insert(to(n));
        let (now, tables) = (self.now(), &self.tables);
        self.engine.recheck(now, |to| tables.contains(to));
    }

    /// Time passes; marks of what is released, and of what is dropped with the reasons.
    fn after(&mut self, ms: u64) -> (Vec<u8>, Vec<(u8, DropReason)>) {
        self.ms += ms;
        self.engine.sweep(self.now());
        let todo = self.engine.todo();
        for held in &todo.releases {
            self.engine.let_go(held.miss.from, held.buffers());
        }
        let drops = todo
            .drops
            .iter()
            .map(|(held, reason)| (mark(held), *reason));
        (todo.releases.iter().map(mark).collect(), drops.collect())
    }
}

#[test]
fn frames_to_one_destination_are_asked_for_once_and_go_on_in_order() {
    let mut bench = Bench::new(LIMITS);
    for mark in 0..5 {
        bench.miss(miss(9, mark));
    }
    let (first, asked) = bench.asks();
    assert_eq!(asked, [9]);
    assert!(bench.call().is_none());
    bench.miss(miss(9, 5));
    assert!(bench.call().is_none(), "a call is under way");
    assert_eq!(bench.after(30), (vec![], vec![]));
    bench.push(9);
    assert_eq!(bench.after(0), ((0..6).collect(), vec![]));
    bench.reply(first, Ok(vec![(first, true)]));
    let figures = bench.engine.figures();
    assert_eq!((figures.misses, figures.dedups), (6, 5));
    assert_eq!((figures.requests, figures.answers, figures.held), (1, 1, 0));
    assert_eq!(figures.percentile(50), Some(30_000));
    assert_eq!((figures.waiting, figures.in_flight), (0, 0));
}

#[test]
fn what_a_call_came_to_is_told_for_each_of_its_questions() {
    let mut bench = Bench::new(LIMITS);
    bench.engine.todo();
    for n in [7, 8, 9] {
        bench.miss(miss(n, 0));
    }
    let (first, _) = bench.asks();
    assert_eq!(bench.engine.todo().closed, []);
    bench.reply(first, Ok(vec![(first, true), (first + 1, false)])); // the third one is left out
    let closed = [(to(7), true), (to(8), false), (to(9), true)];
    assert_eq!(bench.engine.todo().closed, closed);
    bench.miss(miss(10, 0));
    let (first, _) = bench.asks();
    bench.reply(first, Err(Failed::Unavailable));
    assert_eq!(bench.engine.todo().closed, [(to(10), false)]);
}

#[test]
fn an_answer_is_enough_when_the_tables_have_it_and_what_comes_later_goes_on_at_once() {
    let mut bench = Bench::new(LIMITS);
    bench.miss(miss(9, 1));
    let (first, _) = bench.asks();
    bench.tables.insert(to(9)); // and nobody said so
    bench.miss(miss(9, 2));
    assert_eq!(bench.after(0), (vec![1, 2], vec![]));
    bench.reply(first, Ok(vec![(first, false)]));
    bench.miss(miss(9, 3));
    assert_eq!(bench.after(0), (vec![3], vec![]));
    assert!(bench.call().is_none());
}

#[test]
fn the_push_may_come_after_the_answer_and_when_it_does_not_the_destination_is_unknown() {
    let mut bench = Bench::new(LIMITS);
    for n in [8, 9] {
        bench.miss(miss(n, n as u8));
    }
    let (first, asked) = bench.asks();
    assert_eq!(asked, [8, 9], "in one call");
    bench.reply(first, Ok(vec![(first, true)])); // the second one is left out
    assert_eq!(bench.after(900), (vec![], vec![]));
    bench.push(8);
    assert_eq!(
        bench.after(150),
        (vec![8], vec![(9, DropReason::OnDemandUnknown)])
    );
    assert_eq!(bench.engine.figures().unknown, 1);
}

#[test]
fn what_the_controller_does_not_know_is_not_asked_for_again_for_a_while() {
    let mut bench = Bench::new(LIMITS);
    bench.miss(miss(9, 1));
    let (first, _) = bench.asks();
    bench.reply(first, Ok(vec![(first, false)]));
    let unknown = |mark| (vec![], vec![(mark, DropReason::OnDemandUnknown)]);
    assert_eq!(bench.after(0), unknown(1));
    bench.miss(miss(9, 2));
    assert_eq!(bench.after(9_900), unknown(2));
    assert_eq!(bench.engine.figures().negative, 1);
    assert!(bench.call().is_none());
    bench.after(200);
    bench.miss(miss(9, 3));
    assert_eq!(bench.asks().1, [9]);
    assert_eq!(bench.engine.figures().negative, 0);
}

#[test]
fn a_frame_waits_no_longer_than_it_may_and_its_destination_is_still_waited_for() {
    let mut bench = Bench::new(LIMITS);
    bench.miss(miss(9, 1));
    let (first, _) = bench.asks();
    assert_eq!(bench.after(1_500), (vec![], vec![]));
    bench.miss(miss(9, 2));
    let expired = |mark| (vec![], vec![(mark, DropReason::OnDemandExpired)]);
    assert_eq!(bench.after(500), expired(1));
    assert_eq!(bench.after(1_500), expired(2));
    bench.miss(miss(9, 3));
    assert!(bench.call().is_none(), "the call is still under way");
    bench.push(9);
    assert_eq!(bench.after(0), (vec![3], vec![]));
    bench.reply(first, Ok(Vec::new()));
    assert_eq!(bench.engine.figures().expired, 2);
}

#[test]
fn a_failed_call_is_made_again_ever_more_slowly_while_somebody_waits() {
    let mut bench = Bench::new(LIMITS);
    bench.miss(miss(9, 1));
    for pause in [100, 200, 400, 800] {
        let (first, asked) = bench.asks();
        assert_eq!(asked, [9]);
        bench.reply(first, Err(Failed::Unavailable));
        assert!(bench.call().is_none());
        assert_eq!(bench.after(pause - 1), (vec![], vec![]));
        assert!(bench.call().is_none(), "{pause} ms have not passed");
        bench.after(1);
    }
    let (first, _) = bench.asks();
    assert_eq!(
        bench.after(500),
        (vec![], vec![(1, DropReason::OnDemandExpired)])
    );
    bench.reply(first, Err(Failed::Refused));
    bench.after(10);
    let figures = bench.engine.figures();
    assert_eq!((figures.waiting, figures.failed_calls), (0, 5));
    bench.after(5_000);
    assert!(bench.call().is_none(), "nobody waits");

    bench.miss(miss(9, 2));
    let (first, _) = bench.asks();
    bench.reply(first, Ok(Vec::new()));
    bench.miss(miss(10, 3));
    let (first, _) = bench.asks();
    bench.reply(first, Err(Failed::Unavailable));
    bench.after(100);
    assert_eq!(
        bench.asks().1,
        [10],
        "a success makes the pause short again"
    );
}

#[test]
fn the_controller_is_told_of_the_start_until_it_hears_it() {
    let begun = Instant::now();
    let mut engine = Engine::<MemoryFrame>::new(LIMITS, begun);
    let first = engine.next_call(begun).unwrap();
    assert!(engine.next_call(begun).is_none(), "it is being told");
    engine.replied(begun, first.first, Err(Failed::Unavailable), |_| false);
    assert!(engine.next_call(begun).is_none());
    let later = begun + Duration::from_millis(100);
    let second = engine.next_call(later).unwrap();
    assert!(second.questions.is_empty() && second.first > first.first);
    // Somebody who cannot make anything of it has heard it.
    engine.replied(later, second.first, Err(Failed::Refused), |_| false);
    assert!(engine.next_call(later + BACK_OFF.1).is_none());
}

#[test]
fn an_arp_request_waits_like_any_frame_and_goes_back_to_be_answered() {
    let mut bench = Bench::new(LIMITS);
    bench.miss(arp(9));
    bench.miss(miss(9, 4));
    assert_eq!(bench.asks().1, [9]);
    assert_eq!(bench.engine.figures().dedups, 1);
    bench.push(9);
    assert_eq!(bench.after(0).0.len(), 2);
    bench.miss(arp(9));
    assert_eq!(bench.after(0).0.len(), 1);
}

#[test]
fn an_idle_entry_is_put_back_without_asking_and_asked_for_when_that_does_not_help() {
    let mut bench = Bench::new(LIMITS);
    bench.engine.set_idle(
        &[to(8).sought, to(9).sought, to(10).sought],
        &[to(10).sought],
    );
    for n in [8, 9] {
        bench.miss(miss(n, n as u8));
    }
    assert_eq!(bench.engine.todo().wakes, [to(8).sought, to(9).sought]);
    assert!(bench.call().is_none());
    bench.push(8);
    assert_eq!(bench.after(500), (vec![8], vec![]));
    bench.after(500);
    assert_eq!(bench.asks().1, [9]);
    bench.miss(miss(10, 1));
    assert_eq!(bench.asks().1, [10], "it is gone");
}

#[test]
fn what_waits_is_freed_in_the_end() {
    let mut bench = Bench::new(LIMITS);
    bench.miss(miss(9, 1));
    assert!(bench.engine.is_busy());
    bench.engine.clear();
    assert!(!bench.engine.is_busy());
}
