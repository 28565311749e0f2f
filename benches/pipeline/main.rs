// SPDX-License-Identifier: MIT
//! Measures the packet path alone: a worker, its stages and its tables, between ports without devices.
//!
//! | `cargo bench --bench pipeline --` | prints |
//! |---|---|
//! | cases, or none for all | cycles per packet (TSC; nanoseconds where there is none), median and minimum over short runs that take turns, and beside them the floor: what receiving and sending cost without a switch |
//! | `--workers` | the rate of two workers by that of one: on common tables, and, for what the machine has to give, on tables of their own |
//! | `--memory` | bytes per neighbor, route, VNI and port |
//! | `--list` | the cases |
//! | `--once CASE FLOWS BURSTS` | nothing: forwards so many bursts, for a profiler or `benches/instructions` |

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench stops at what should not be"
)]

mod lane;
mod memory;
mod port;
mod scene;

use std::sync::Barrier;
use std::thread;

use vswitch::io::{Frames, RxQueue, TxQueue};

use lane::Lane;
use port::{Sink, Source};
use scene::{BURST, Case, Over, Scene};

/// The program's, which has the kernel map large tables by huge pages: of a million neighbors each look-up is faster by it.
#[cfg(feature = "program")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
        [workers] if workers == "--workers" => scaling(),
        [memory] if memory == "--memory" => memory::print(),
        [] => table(&Case::ALL.map(|(name, _)| name)),
        names => table(names),
    }
}

fn case(name: &str) -> Case {
    let found = Case::ALL.iter().find(|(of, _)| *of == name);
    found.unwrap_or_else(|| panic!("no case {name}")).1
}

fn forward(name: &str, flows: u32, bursts: usize) {
    let case = case(name);
    let mut lane = Lane::new(&Scene::new(flows, case.over()), case, flows);
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
        "{:24} {:>8}  {:>7} {:>7}  {:>7} {:>7}  {:>6}",
        "", "flows", "median", "min", "floor", "min", "net"
    );
    for (flows, over) in FLOWS
        .into_iter()
        .flat_map(|flows| Over::ALL.map(|over| (flows, over)))
    {
        let of_it = |name: &&S| case(name.as_ref()).over() == over;
        let mut names = names.iter().filter(of_it).peekable();
        if names.peek().is_some() {
            let scene = Scene::new(flows, over);
            names.for_each(|name| row(&scene, name.as_ref(), flows));
        }
    }
}

fn row(scene: &Scene, name: &str, flows: u32) {
    let case = case(name);
    if flows > 100_000 && !case.has_neighbor_per_flow() {
        return;
    }
    let mut lane = Lane::new(scene, case, flows);
    let (frame, fields) = case.frame(flows);
    let (mut source, mut burst) = (Source::new(frame, fields, flows), Frames::new());
    let mut bare = || {
        let received = source.rx_burst(&mut burst, BURST);
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
        "{name:24} {flows:8}  {:7.1} {:7.1}  {:7.1} {:7.1}  {:6.1}",
        ours[RUNS / 2],
        ours[0],
        floor[RUNS / 2],
        floor[0],
        ours[RUNS / 2] - floor[RUNS / 2]
    );
}

/// Runs of [`scaling`], and polls of each: 20 milliseconds, so that starting threads does not count.
const ROUNDS: usize = 15;
const LONG: usize = 40_000;

fn scaling() {
    const FLOWS: u32 = 1_000;
    let [here, there] = [(); 2].map(|()| Scene::new(FLOWS, Over::Ipv4));
    println!(
        "{:16} two workers on common tables, on their own; by one worker",
        ""
    );
    for (name, case) in &Case::ALL[..4] {
        let lane = |scene| Lane::new(scene, *case, FLOWS);
        let mut one = [lane(&here)];
        let mut common = [lane(&here), lane(&here)];
        let mut own = [lane(&here), lane(&there)];
        let [mut by_common, mut by_own] = [(); 2].map(|()| Vec::new());
        for _ in 0..ROUNDS {
            let single = rate(&mut one);
            by_common.push(rate(&mut common) / single);
            by_own.push(rate(&mut own) / single);
        }
        let [common, own] = [by_common, by_own].map(|mut ratios| {
            ratios.sort_by(f64::total_cmp);
            ratios[ROUNDS / 2]
        });
        println!("{name:16} {common:.2} {own:.2}");
    }
}

/// Packets per tick of workers that run at the same time.
fn rate(lanes: &mut [Lane]) -> f64 {
    let start = Barrier::new(lanes.len());
    thread::scope(|scope| {
        let run = |lane| {
            let start = &start;
            scope.spawn(move || {
                let lane: &mut Lane = lane;
                start.wait();
                let begun = ticks();
                let packets = measured(|| lane.worker.poll(), LONG);
                packets as f64 / (ticks() - begun) as f64
            })
        };
        let running: Vec<_> = lanes.iter_mut().map(run).collect();
        running.into_iter().map(|run| run.join().unwrap()).sum()
    })
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
