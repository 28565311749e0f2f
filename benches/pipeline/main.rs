// SPDX-License-Identifier: MIT
//! Measures the packet path alone: a worker, its stages and its tables, between ports without devices.
//!
//! `cargo bench --bench pipeline` prints cycles per packet (TSC; nanoseconds where there is none), median and minimum
//! over short runs that take turns, of the cases that are named or all, and beside them the floor: what receiving and sending cost without a switch.
//! `-- --once CASE FLOWS BURSTS` forwards so many bursts and prints nothing, for a profiler or an instruction counter
//! (`benches/instructions`); `-- --list` names the cases.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench stops at what should not be"
)]

mod port;
mod scene;

use vswitch::io::{Frames, RxQueue, TxQueue};

use port::{Sink, Source};
use scene::{Case, Scene};

const FLOWS: [u32; 5] = [1, 1_000, 10_000, 100_000, 1_000_000];
/// Polls of one run: half a millisecond, shorter than a scheduler's turn.
const POLLS: usize = 1_000;
const RUNS: usize = 400;
/// Flows beyond this are all touched by the warm-up, so that the tables' pages are there.
const WARM_UP: usize = 60_000;

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    match args.as_slice() {
        [list] if list == "--list" => Case::ALL.iter().for_each(|(name, _)| println!("{name}")),
        [once, name, flows, bursts] if once == "--once" => {
            forward(name, flows.parse().unwrap(), bursts.parse().unwrap());
        }
        [] => table(&Case::ALL.map(|(name, _)| name)),
        names => table(names),
    }
}

fn case(name: &str) -> Case {
    let found = Case::ALL.iter().find(|(of, _)| *of == name);
    found.unwrap_or_else(|| panic!("no case {name}")).1
}

fn forward(name: &str, flows: u32, bursts: usize) {
    let mut lane = Scene::new(flows).lane(case(name), flows);
    measured(|| lane.worker.poll(), bursts);
    lane.forwarded();
}

/// What an instruction counter counts.
#[inline(never)]
fn measured(mut poll: impl FnMut() -> usize, polls: usize) -> usize {
    (0..polls).map(|_| poll()).sum()
}

fn table<S: AsRef<str>>(names: &[S]) {
    println!(
        "{:16} {:>8}  {:>7} {:>7}  {:>7} {:>7}  {:>6}",
        "", "flows", "median", "min", "floor", "min", "net"
    );
    for flows in FLOWS {
        let scene = Scene::new(flows);
        for name in names {
            let case = case(name.as_ref());
            if flows > 100_000 && !case.has_neighbor_per_flow() {
                continue;
            }
            let mut lane = scene.lane(case, flows);
            let (frame, fields) = case.frame(flows);
            let (mut source, mut burst) = (Source::new(frame, fields, flows), Frames::new());
            let mut bare = || {
                let received = source.rx_burst(&mut burst, 32);
                Sink.tx_burst(&mut burst);
                received
            };
            measured(|| lane.worker.poll(), WARM_UP);
            let (mut ours, mut floor) = (Vec::new(), Vec::new());
            for _ in 0..RUNS {
                ours.push(timed(|| lane.worker.poll()));
                floor.push(timed(&mut bare));
            }
            lane.forwarded();
            ours.sort_by(f64::total_cmp);
            floor.sort_by(f64::total_cmp);
            println!(
                "{:16} {flows:8}  {:7.1} {:7.1}  {:7.1} {:7.1}  {:6.1}",
                name.as_ref(),
                ours[RUNS / 2],
                ours[0],
                floor[RUNS / 2],
                floor[0],
                ours[RUNS / 2] - floor[RUNS / 2]
            );
        }
    }
}

/// Ticks per packet of one run.
fn timed(poll: impl FnMut() -> usize) -> f64 {
    let begun = ticks();
    let packets = measured(poll, POLLS);
    (ticks() - begun) as f64 / packets as f64
}

#[cfg(target_arch = "x86_64")]
fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    static BEGUN: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    BEGUN.elapsed().as_nanos() as u64
}
