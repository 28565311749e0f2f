// SPDX-License-Identifier: MIT
//! Everything has a limit, and whatever happens, each frame comes out.

use proptest::prelude::*;

use super::*;

#[test]
fn so_many_frames_wait_and_the_first_ones_are_kept() {
    let mut bench = Bench::new(LIMITS);
    for mark in 0..=MAX_PER_DESTINATION as u8 {
        bench.miss(miss(9, mark));
    }
    let full = |mark| (mark, DropReason::OnDemandFull);
    let last = MAX_PER_DESTINATION as u8;
    assert_eq!(bench.after(0), (vec![], vec![full(last)]));
    // All in all, over destinations.
    for n in 10..LIMITS.frames as u16 {
        bench.miss(miss(n, 1));
    }
    assert_eq!(bench.engine.figures().held, LIMITS.frames);
    let over = LIMITS.frames - 10 + MAX_PER_DESTINATION - LIMITS.frames;
    assert_eq!(bench.after(0).1, vec![full(1); over]);
    assert_eq!(bench.engine.figures().full, 1 + over as u64);
    bench.push(9);
    assert_eq!(bench.after(0).0.len(), MAX_PER_DESTINATION);
    assert_eq!(
        bench.engine.figures().held,
        LIMITS.frames - MAX_PER_DESTINATION
    );
}

#[test]
fn one_port_takes_no_more_than_its_share_of_frames_and_of_destinations() {
    let mut bench = Bench::new(LIMITS);
    let share = LIMITS.frames as u16 / 4;
    for n in 0..=share {
        bench.miss(miss_of(1, n, 1));
    }
    assert_eq!(bench.after(0).1, [(1, DropReason::OnDemandFull)]);
    bench.miss(miss_of(1, 0, 2));
    assert_eq!(bench.after(0).1, [(2, DropReason::OnDemandFull)]);
    bench.miss(miss_of(2, 0, 3));
    bench.miss(miss_of(2, 1000, 4));
    assert_eq!(bench.after(0), (vec![], vec![]), "others have theirs");
    bench.push(0);
    assert_eq!(bench.after(0).0, [1, 3]);
    bench.miss(miss_of(1, share, 5));
    assert_eq!(bench.after(0).1, [], "there is room again");
}

#[test]
fn a_frame_in_many_buffers_takes_as_much_of_its_ports_share() {
    let mut bench = Bench::new(LIMITS);
    let large = |n, mark| {
        let mut miss = miss_of(1, n, mark);
        let mut bytes = miss.frame.to_vec();
        bytes.resize(40_000, mark);
        miss.frame = MemoryFrame::new(&bytes);
        miss
    };
    bench.miss(large(0, 1)); // 20 of 25
    bench.miss(large(1, 2));
    assert_eq!(bench.after(0).1, [(2, DropReason::OnDemandFull)]);
    for n in 2..7 {
        bench.miss(miss_of(1, n, 3));
    }
    assert_eq!(bench.after(0).1, []);
    bench.push(0);
    assert_eq!(bench.after(0).0, [1]);
    bench.miss(large(1, 4));
    assert_eq!(bench.after(0).1, [], "there is room again");
}

#[test]
fn destinations_wait_for_their_turn_as_the_rate_says() {
    let mut bench = Bench::new(Limits { rate: 50, ..LIMITS });
    for n in 0..8 {
        bench.miss(miss(n, n as u8));
    }
    assert_eq!(bench.engine.figures().rate_limited, 3);
    assert_eq!(bench.asks().1, [0, 1, 2, 3, 4]);
    assert!(bench.call().is_none());
    bench.after(20);
    assert_eq!(bench.asks().1, [5]);
    bench.push(6); // came without being asked for
    assert_eq!(bench.after(20).0, [6]);
    assert_eq!(bench.asks().1, [7], "and is not asked for any more");
    assert_eq!(bench.engine.figures().requests, 7);
}

#[test]
fn so_many_calls_of_so_many_questions_are_under_way() {
    let mut bench = Bench::new(Limits {
        rate: 1_000_000,
        frames: 10_000,
        ..LIMITS
    });
    let all = (MAX_BATCH * MAX_CALLS) as u16;
    for n in 0..all + 7 {
        bench.miss(miss(n, 0));
    }
    let firsts: Vec<_> = std::iter::from_fn(|| bench.call())
        .map(|call| call.first)
        .collect();
    assert_eq!(firsts.len(), MAX_CALLS);
    assert!(
        firsts
            .windows(2)
            .all(|pair| pair[1] - pair[0] == MAX_BATCH as u64)
    );
    bench.reply(firsts[3], Ok(Vec::new()));
    assert_eq!(bench.asks().1, (all..all + 7).collect::<Vec<_>>());
    bench.reply(12_345_678, Ok(Vec::new())); // nobody asked
}

#[test]
fn no_more_destinations_are_waited_for_than_there_is_room_for() {
    let mut bench = Bench::new(Limits {
        rate: 1,
        frames: 1 << 16,
        ..LIMITS
    });
    for n in 0..=MAX_DESTINATIONS as u16 {
        bench.miss(miss(n, 0));
    }
    let drops = bench.after(0).1;
    assert_eq!(bench.engine.figures().waiting, MAX_DESTINATIONS);
    assert_eq!(drops.last().unwrap().1, DropReason::OnDemandFull);
    assert_eq!(drops.len(), 1);
    for _ in 0..3 {
        bench.after(2_000);
        bench.miss(miss(1, 0));
    }
    assert_eq!(
        bench.engine.queue.len(),
        1,
        "what nobody waits for is forgotten"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: each frame comes out once, and with time all do.
    #[test]
    fn every_frame_comes_out_once(steps in proptest::collection::vec((0..7u8, 0..6u16), 0..200)) {
        let limits = Limits { rate: 20, frames: 20, ..LIMITS };
        let (mut bench, mut calls) = (Bench::new(limits), Vec::new());
        let (mut in_, mut out) = (0, 0);
        for (step, n) in steps {
            match step {
                0 | 1 => { bench.miss(miss(n, 0)); in_ += 1; }
                2 => calls.extend(bench.call()),
                3 => bench.push(n),
                4 => { bench.tables.remove(&to(n)); }
                5 => if let Some(call) = calls.pop() {
                    let ids = call.first..call.first + call.questions.len() as u64;
                    let statuses = ids.map(|id| (id, n % 2 == 0)).collect();
                    bench.reply(call.first, if n == 5 { Err(Failed::Unavailable) } else { Ok(statuses) });
                },
                _ => bench.ms += 1 + u64::from(n) * 300,
            }
            let (releases, drops) = bench.after(0);
            out += releases.len() + drops.len();
            let figures = bench.engine.figures();
            prop_assert_eq!(in_ - out, figures.held);
            prop_assert!(figures.held <= limits.frames && figures.in_flight <= MAX_CALLS);
        }
        let (releases, drops) = bench.after(2_100);
        prop_assert_eq!(out + releases.len() + drops.len(), in_);
        for call in calls {
            bench.reply(call.first, Ok(Vec::new()));
        }
        bench.after(5_000);
        prop_assert_eq!(bench.engine.figures().waiting, 0);
    }
}
