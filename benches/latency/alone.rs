// SPDX-License-Identifier: MIT
//! Frames that come one by one: what it costs them that a worker sleeps while nothing arrives (`set poll adaptive`), and what of its
//! core that saves.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use core_affinity::CoreId;
use nix::sys::prctl::set_timerslack;
use vswitch::dpdk::{Eal, PortRx, PortTx, tsc};
use vswitch::io::{Frames, RxQueue, TxQueue};
use vswitch::worker::Worker;

use super::{Traffic, stamp, taken_back};

/// The longest sleep, in microseconds; 0: none.
const SLEEPS: [u32; 4] = [0, 10, 50, 500];
/// Between two frames, in microseconds.
const PAUSES: [u64; 3] = [100, 1_000, 10_000];
/// For each pause.
const SECONDS: f64 = 2.0;

pub(crate) fn measure(
    mut worker: Worker<PortRx, PortTx>,
    traffic: &mut Traffic,
    eal: &Eal,
    hz: f64,
) {
    println!("\nframes that come alone; microseconds, and the worker's CPU time\n");
    println!(
        "{:>9} {:>7} {:>8} {:>8} {:>8} {:>7}",
        "max-sleep", "pause", "p50", "p99", "max", "core"
    );
    for sleep in SLEEPS {
        worker.sleep_at_most(sleep);
        for pause in PAUSES {
            let running = AtomicBool::new(true);
            let (back, mut ticks, core) = thread::scope(|scope| {
                let polling = scope.spawn(|| {
                    core_affinity::set_for_current(CoreId { id: 1 });
                    let _lcore = eal.register_thread().unwrap();
                    set_timerslack(1).unwrap();
                    let (begun, worked) = (tsc(), cpu_time());
                    let worker = worker.run(&running);
                    let spent = (cpu_time() - worked) as f64 / 1e9;
                    (worker, spent / ((tsc() - begun) as f64 / hz))
                });
                let ticks = one_by_one(traffic, pause, hz);
                running.store(false, Relaxed);
                let (worker, core) = polling.join().unwrap();
                (worker, ticks, core)
            });
            worker = back;
            ticks.sort_unstable();
            let micros = |part: f64| {
                let at = ((ticks.len() as f64 * part) as usize).min(ticks.len() - 1);
                ticks[at] as f64 / hz * 1e6
            };
            let core = core * 100.0;
            println!(
                "{sleep:>9} {pause:>7} {:8.2} {:8.2} {:8.2} {core:6.1}%",
                micros(0.5),
                micros(0.99),
                micros(1.0)
            );
        }
    }
}

/// The calling thread's, in nanoseconds.
fn cpu_time() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// Sends a frame, takes it back, waits: how many ticks each was under way.
fn one_by_one(traffic: &mut Traffic, pause: u64, hz: f64) -> Vec<u64> {
    let pause = (pause as f64 * hz / 1e6) as u64;
    let end = tsc() + (SECONDS * hz) as u64;
    let mut ticks = Vec::new();
    while tsc() < end {
        let next = tsc() + pause;
        while tsc() < next {
            std::hint::spin_loop();
        }
        let mut frames = Frames::new();
        frames.extend(traffic.idle.pop());
        stamp(&mut frames[0]);
        assert_eq!(traffic.tx.tx_burst(&mut frames), 1);
        while traffic.rx.rx_burst(&mut frames, 1) == 0 {}
        let received = tsc();
        let frame = frames.pop().unwrap();
        let (sent, frame) = taken_back(frame);
        ticks.push(received - sent);
        traffic.idle.push(frame);
    }
    ticks
}
