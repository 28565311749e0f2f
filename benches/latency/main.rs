// SPDX-License-Identifier: MIT
//! Measures how long a frame is on its way through the switch: into a net_ring port, through a worker on a core of its
//! own that encapsulates it, out of another net_ring port. Frames carry the time stamp counter of when they were sent.
//!
//! First the highest rate at which nothing is lost is looked for, then latencies at 10, 50 and 90 % of it are measured.
//! The machine may take the CPU away from either thread (another process, the hypervisor); both note when that
//! happened. Frames that were on their way then, or behind the queue that it left, are counted and shown apart.
//!
//! Then frames that come one by one, with workers that sleep and with one that does not.
//!
//! `cargo bench --bench latency`; needs root, and cores 0 and 1.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench stops at what should not be"
)]

mod alone;
#[path = "../pipeline/scene.rs"]
#[allow(dead_code, reason = "the other benchmark uses all of it")]
mod scene;
mod track;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use core_affinity::CoreId;
use vswitch::counters::WorkerCounters;
use vswitch::dpdk::{Eal, Mbuf, Mempool, Port, PortConfig, PortRx, PortTx, tsc, tsc_hz};
use vswitch::io::{Frame, Frames, MAX_BURST, RxQueue, TxQueue};
use vswitch::stage::encap::OUTER_LEN;
use vswitch::stage::transmit::Link;
use vswitch::worker::Worker;

use scene::{BURST, Case, GUEST, Over, Scene, UPLINK};
use track::{Gap, Gaps, Sample, report};

const CASE: Case = Case::EncapSwitched;
/// Where the stamp is: behind the UDP header.
const STAMP: usize = 42;
/// Frames under way at most: a ring of the driver holds 1023.
const FRAMES: usize = 1_000;
/// Seconds of a run.
const SECONDS: f64 = 0.2;
const RUNS: usize = 15;
const LOADS: [f64; 3] = [0.1, 0.5, 0.9];
const HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

fn main() {
    let before = fs::read_to_string(HUGEPAGES).unwrap();
    let pages = before.trim().parse::<u32>().unwrap().max(128);
    fs::write(HUGEPAGES, pages.to_string()).unwrap();
    // On a thread of its own: DPDK keeps the one that starts it.
    let measured = thread::spawn(measure).join();
    fs::write(HUGEPAGES, before).unwrap();
    measured.unwrap();
}

fn measure() {
    let prefix = format!("--file-prefix=alkaid-latency-{}", std::process::id());
    let args = [
        "-l",
        "0",
        "--in-memory",
        "-m",
        "64",
        "--no-pci",
        "--no-telemetry",
        &prefix,
    ];
    let eal = Eal::init(&args.map(str::to_owned)).unwrap();
    let hz = tsc_hz(&eal) as f64;
    let pool = Mempool::new(&eal, "latency", 2047, 32, 2048 + 128, None).unwrap();
    let attach = |devargs| {
        let mut port = Port::attach(&eal, devargs).unwrap().remove(0);
        port.configure(&PortConfig::default(), &pool).unwrap();
        port.start().unwrap();
        port
    };
    let (mut guest, mut uplink) = (attach("net_ring_guest"), attach("net_ring_uplink"));
    let scene = Scene::new(1, Over::Ipv4);
    let reader = scene.registrar.reader("latency").unwrap();
    let mut worker = Worker::new(reader, Arc::new(WorkerCounters::default()), BURST);
    worker.add_port(GUEST, vec![guest.take_rx(0).unwrap()], None);
    worker.add_port(
        UPLINK,
        Vec::new(),
        Some(Link::Own(uplink.take_tx(0).unwrap())),
    );
    let mut traffic = Traffic {
        tx: guest.take_tx(0).unwrap(),
        rx: uplink.take_rx(0).unwrap(),
        idle: (0..FRAMES).map(|_| frame(&pool)).collect(),
    };
    let stop = AtomicBool::new(false);
    let (gaps, eal) = (Gaps::default(), &eal);
    let worker = thread::scope(|scope| {
        let polling = scope.spawn(|| {
            core_affinity::set_for_current(CoreId { id: 1 });
            let _lcore = eal.register_thread().unwrap();
            while !stop.load(Relaxed) {
                worker.poll();
                gaps.look(tsc());
            }
            worker
        });
        traffic.measure(&gaps, hz);
        stop.store(true, Relaxed);
        polling.join().unwrap()
    });
    alone::measure(worker, &mut traffic, eal, hz);
    drop((traffic, guest, uplink));
}

fn frame(pool: &Mempool) -> Mbuf {
    let mut frame = pool.alloc().unwrap();
    assert!(frame.append(&CASE.frame(1).0));
    frame
}

fn stamp(frame: &mut Mbuf) {
    frame.head_mut()[STAMP..STAMP + 8].copy_from_slice(&tsc().to_ne_bytes());
}

/// A frame that came through, as it was before, and when it was sent.
fn taken_back(mut frame: Mbuf) -> (u64, Mbuf) {
    assert!(frame.trim_front(OUTER_LEN));
    let stamp = frame.head()[STAMP..].first_chunk().unwrap();
    (u64::from_ne_bytes(*stamp), frame)
}

/// The guest and the underlay in one: sends frames, takes them back on the other side, and sends them again.
struct Traffic {
    tx: PortTx,
    rx: PortRx,
    idle: Vec<Mbuf>,
}

impl Traffic {
    fn measure(&mut self, worker: &Gaps, hz: f64) {
        let rate = (0..RUNS).map(|_| self.highest_rate(hz)).fold(0.0, f64::max);
        println!(
            "highest rate {:.1} Mpps; microseconds; `apart`: frames that a lack of CPU held up\n",
            rate / 1e6
        );
        println!(
            "{:>5} {:>7} {:>8} {:>8} {:>8} {:>8}  {:>8} {:>9}",
            "load", "Mpps", "p50", "p99", "p99.9", "max", "apart", "their max"
        );
        for load in LOADS {
            let mut samples = Vec::new();
            let mut all_gaps = Vec::new();
            for _ in 0..RUNS {
                worker.clear();
                let own = Gaps::default();
                samples.extend(self.run(rate * load / hz, hz, &own));
                let gaps = [own.take(), worker.take()].concat();
                all_gaps.extend(gaps.iter().map(|gap| gap.with_backlog(load)));
            }
            report(load, samples, all_gaps, hz, RUNS as f64 * SECONDS);
        }
    }

    /// Sends as fast as frames come back: packets per second.
    fn highest_rate(&mut self, hz: f64) -> f64 {
        let begun = tsc();
        let samples = self.run(f64::INFINITY, hz, &Gaps::default());
        samples.len() as f64 / ((tsc() - begun) as f64 / hz)
    }

    /// Sends `per_tick` frames per tick of the time stamp counter and returns when each was sent and taken back.
    fn run(&mut self, per_tick: f64, hz: f64, gaps: &Gaps) -> Vec<Sample> {
        let mut samples = Vec::with_capacity((40e6 * SECONDS) as usize);
        let (mut outgoing, mut incoming) = (Frames::new(), Frames::new());
        let begun = tsc();
        let end = begun + (SECONDS * hz) as u64;
        let (mut sent, mut now) = (0_u64, begun);
        while now < end || self.idle.len() < FRAMES {
            now = tsc();
            gaps.look(now);
            let due = ((now - begun) as f64 * per_tick).min(u64::MAX as f64) as u64;
            let wanted = due.saturating_sub(sent).min(BURST as u64) as usize;
            if now < end && wanted > 0 {
                let first = self.idle.len() - wanted.min(self.idle.len());
                outgoing.extend(self.idle.drain(first..));
                outgoing.iter_mut().for_each(stamp);
                sent += self.tx.tx_burst(&mut outgoing) as u64;
                assert!(outgoing.is_empty(), "the ring has room for all frames");
            }
            if self.rx.rx_burst(&mut incoming, MAX_BURST) > 0 {
                let received = tsc();
                for frame in incoming.drain(..) {
                    let (sent, frame) = taken_back(frame);
                    samples.push(Sample { sent, received });
                    self.idle.push(frame);
                }
            }
        }
        samples
    }
}

impl Gap {
    /// With the time that it takes to work off what has queued up meanwhile.
    fn with_backlog(self, load: f64) -> Self {
        let length = (self.end - self.start) as f64;
        let end = self.end + (length * load / (1.0 - load)) as u64;
        Self { end, ..self }
    }
}
