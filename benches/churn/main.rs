// SPDX-License-Identifier: MIT
//! What updates cost forwarding: `make churn`.
//!
//! A worker on core 1 forwards frames that its ports make as fast as it takes them, while core 0 changes neighbors,
//! routes, ports and VPCs through the tables' writer. All packets are recorded, and so are all updates with the time
//! before their edit and the time when every worker saw them. Afterwards each packet's treatment must be that of a
//! version of its destination that may have been in force between its arrival and its departure.
//!
//! Phases with and without updates alternate; figures are medians. Packets are also counted by the time that the worker
//! had its core, which it may have to share with other programs; the slow-down is of these. *Lost* is a packet that did
//! not come out though all versions that may have been in force say where to. *Effective blocked time* is what CSIT
//! calls so: packets lost, divided by the rate at which they were offered. A paced port offers packets at a steady rate and has a ring like a
//! device's: it also loses packets when the worker stands still. What it loses without updates, the machine lost.
#![allow(clippy::unwrap_used, clippy::panic)] // a benchmark ends where it fails

mod network;
mod ports;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use vswitch::counters::WorkerCounters;
use vswitch::stage::transmit::Link;
use vswitch::tables::PortId;
use vswitch::tables::snapshot::{Registrar, tables};
use vswitch::worker::Worker;

use network::{GUESTS, NEIGHBORS, Network, ROUTES, THINGS};
use ports::{Line, Shared, Sink, Source};

/// Rounds of all phases.
const ROUNDS: usize = 5;
const PHASE: Duration = Duration::from_millis(400);

/// Most packets that a phase records.
const ROOM: usize = 12_000_000;

/// Updates per second that the bench asks for, where it does not ask for all that go.
const RATE: f64 = 1e6;

/// Updates of one commit: neighbors, routes, and one guest.
const NEIGHBOR_UPDATES: u32 = 490;
const ROUTE_UPDATES: u32 = 9;

/// Share of the rate without updates that paced ports offer.
const LOAD: f64 = 0.8;

/// Most neighbors; far more than there are, so that the tables are as they would be in use.
const CAPACITY: usize = 1 << 16;

const WORKER_CORE: usize = 1;
const CONTROL_CORE: usize = 0;

/// Who makes updates, and how fast.
#[derive(Clone, Copy, PartialEq)]
enum Churn {
    None,
    At(f64),
    Most,
}

/// What one phase showed.
struct Phase {
    updates_per_second: f64,
    packets_per_second: f64,
    /// By the time that the worker had its core, which it may have to share with other programs.
    packets_per_cpu_second: f64,
    lost: u64,
    unexplained: u64,
    overflowed: u64,
}

/// Updates of one phase, by thing.
struct Log {
    /// Each thing's version when the phase began.
    first: Vec<u32>,
    /// Before the edit, and when the worker had seen it: nanoseconds.
    changes: Vec<Vec<(u64, u64)>>,
}

impl Log {
    fn new() -> Self {
        Self {
            first: vec![0; THINGS as usize],
            changes: vec![Vec::new(); THINGS as usize],
        }
    }

    /// Begins a phase with the versions that the last one ended with.
    fn begin(&mut self) {
        for (first, changes) in self.first.iter_mut().zip(&mut self.changes) {
            *first += changes.len() as u32;
            changes.clear();
        }
    }
}

struct Bench {
    clock: Instant,
    line: Shared,
    network: Network,
    worker: Running,
    log: Log,
    random: u32,
}

impl Bench {
    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    fn phase(&mut self, churn: Churn, gap: Option<f64>) -> Phase {
        self.log.begin();
        let worked = self.worker.cpu_seconds();
        let begun = self.now();
        self.line.lock().unwrap().clear(gap);
        let updates = match churn {
            Churn::None => {
                // Not asleep: or other programs would use this core instead of the worker's.
                while self.now() - begun < PHASE.as_nanos() as u64 {
                    std::hint::spin_loop();
                }
                0
            }
            Churn::At(rate) => self.churn(begun, rate),
            Churn::Most => self.churn(begun, f64::INFINITY),
        };
        let elapsed = (self.now() - begun) as f64 / 1e9;
        let worked = (self.worker.cpu_seconds() - worked).max(1e-3);
        self.stop_traffic();
        let line = self.line.lock().unwrap();
        assert!(
            line.packets.len() < ROOM,
            "more packets than there is room for"
        );
        let (lost, unexplained) = judge(&line, &self.log);
        Phase {
            updates_per_second: updates as f64 / elapsed,
            packets_per_second: line.packets.len() as f64 / elapsed,
            packets_per_cpu_second: line.packets.len() as f64 / worked,
            lost,
            unexplained: unexplained + line.strange,
            overflowed: line.overflowed,
        }
    }

    /// No new packets, and those on their way are out: each port was polled twice.
    fn stop_traffic(&self) {
        let mut line = self.line.lock().unwrap();
        line.gap = Some(f64::INFINITY);
        let enough = line.polls + 4;
        while line.polls < enough {
            drop(line);
            thread::sleep(Duration::from_millis(1));
            line = self.line.lock().unwrap();
        }
    }

    /// Makes updates, `rate` a second at most, until the phase is over.
    fn churn(&mut self, phase: u64, rate: f64) -> u64 {
        let mut changed = Vec::new();
        let mut updates = 0;
        loop {
            let begun = self.now();
            if begun - phase >= PHASE.as_nanos() as u64 {
                return updates;
            }
            if updates as f64 > rate * (begun - phase) as f64 / 1e9 {
                std::hint::spin_loop();
                continue;
            }
            for _ in 0..NEIGHBOR_UPDATES {
                changed.push(self.below(NEIGHBORS));
            }
            for _ in 0..ROUTE_UPDATES {
                changed.push(NEIGHBORS + self.below(ROUTES));
            }
            let guest = NEIGHBORS + ROUTES + self.below(GUESTS);
            changed.push(guest);
            for thing in &changed {
                self.network.change(*thing);
            }
            self.network.program_routes();
            self.network.settle();
            self.network.move_guest(guest);
            self.network.settle();
            let done = self.now();
            updates += changed.len() as u64;
            for thing in changed.drain(..) {
                self.log.changes[thing as usize].push((begun, done));
            }
        }
    }

    /// A number that looks random (xorshift).
    fn below(&mut self, n: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random % n
    }

    /// Updates while another worker stands still: their rate, and what is kept for that worker.
    fn stall(&mut self, registrar: &Registrar) {
        let mut stalled = registrar.reader("stalled").unwrap();
        let guard = stalled.pin();
        let (begun, mut updates, mut most) = (Instant::now(), 0, (0, 0));
        let before = resident();
        while begun.elapsed() < 4 * PHASE {
            for _ in 0..ROUTE_UPDATES {
                let route = NEIGHBORS + self.below(ROUTES);
                self.network.change(route);
            }
            self.network.program_routes();
            most = self.network.commit();
            updates += u64::from(ROUTE_UPDATES);
        }
        println!(
            "a worker that stands still for {:.1} s: {:.0} updates/s go on, {} snapshots and {:.1} MiB wait for it \
             (resident memory grew by {:.1} MiB)",
            begun.elapsed().as_secs_f64(),
            updates as f64 / begun.elapsed().as_secs_f64(),
            most.1,
            most.0 as f64 / MIB,
            (resident() - before) / MIB,
        );
        drop(guard);
        stalled.offline();
        self.network.settle();
        println!(
            "when it goes on, {} bytes are left",
            self.network.commit().0
        );
    }
}

const MIB: f64 = 1048576.0;

/// Bytes of resident memory of this process.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}

/// Packets that are lost, and packets that came out in a way that no version explains.
fn judge(line: &Line, log: &Log) -> (u64, u64) {
    let (mut lost, mut unexplained) = (0, 0);
    // By thing: how many changes of the phase were seen by the worker before the packets we are at.
    let mut settled = vec![0; THINGS as usize];
    let ends = line.batches.iter().skip(1).map(|batch| batch.first);
    let ends = ends.chain([line.packets.len()]);
    for (batch, end) in line.batches.iter().zip(ends) {
        let (from, to) = batch.between;
        for (thing, seen) in &line.packets[batch.first..end] {
            let (changes, thing_index) = (&log.changes[*thing as usize], *thing as usize);
            let settled = &mut settled[thing_index];
            while changes.get(*settled).is_some_and(|(_, done)| *done < from) {
                *settled += 1;
            }
            let begun = changes[*settled..]
                .iter()
                .take_while(|(begun, _)| *begun <= to);
            let most = *settled + begun.count();
            let mut versions = (*settled..=most).map(|n| log.first[thing_index] + n as u32);
            let explained = |version| network::expected(*thing, version) == *seen;
            if !versions.clone().any(explained) {
                let drops = versions.any(|version| network::expected(*thing, version) == 0);
                lost += u64::from(*seen == 0 && !drops);
                unexplained += u64::from(*seen != 0);
            }
        }
    }
    (lost, unexplained)
}

fn pin(core: usize) {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        println!("cannot run on core {core}: figures are not to be trusted");
    }
}

fn median(phases: &[Phase], of: impl Fn(&Phase) -> f64) -> f64 {
    let mut values: Vec<f64> = phases.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The worker's thread.
struct Running {
    until: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
    /// What the kernel says of its time.
    schedstat: PathBuf,
}

impl Running {
    /// How long it has had a core.
    fn cpu_seconds(&self) -> f64 {
        let text = std::fs::read_to_string(&self.schedstat).unwrap();
        let nanoseconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
        nanoseconds / 1e9
    }

    fn end(self) {
        self.until.store(false, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn start(registrar: &Registrar, line: &Shared) -> Running {
    let reader = registrar.reader("worker").unwrap();
    let mut worker = Worker::new(reader, Arc::new(WorkerCounters::default()), 32);
    let source = |first: u32, end: u32, every| Source {
        line: Arc::clone(line),
        first,
        frames: (first..end).map(network::frame).collect(),
        next: 0,
        every,
        polls: 0,
    };
    let guests = NEIGHBORS + ROUTES;
    let mut sources = vec![source(guests, THINGS, 8), source(0, guests, 1)];
    for port in (0..2 + 2 * GUESTS as u16).rev() {
        let link = Link::Own(Sink {
            line: Arc::clone(line),
            port,
        });
        let queues = if port < 2 { sources.pop() } else { None };
        worker.add_port(
            PortId::new(port).unwrap(),
            queues.into_iter().collect(),
            Some(link),
        );
    }
    let until = Arc::new(AtomicBool::new(true));
    let running = Arc::clone(&until);
    let (tell, place) = mpsc::channel();
    let thread = thread::spawn(move || {
        pin(WORKER_CORE);
        tell.send(std::fs::read_link("/proc/thread-self").unwrap())
            .unwrap();
        worker.run(&running);
    });
    let schedstat = Path::new("/proc")
        .join(place.recv().unwrap())
        .join("schedstat");
    Running {
        until,
        thread,
        schedstat,
    }
}

fn main() {
    let clock = Instant::now();
    let line = Arc::new(Mutex::new(Line::new(clock, ROOM)));
    line.lock().unwrap().clear(Some(f64::INFINITY));
    let (writer, registrar) = tables(Some(network::underlay()), CAPACITY);
    let worker = start(&registrar, &line);
    pin(CONTROL_CORE);
    let mut bench = Bench {
        clock,
        line,
        network: Network::new(writer),
        worker,
        log: Log::new(),
        random: 0x9e37_79b9,
    };
    bench.phase(Churn::None, None); // touches all memory
    println!("{NEIGHBORS} neighbors, {ROUTES} routes, {GUESTS} guests in VPCs of their own");
    let mut right = true;
    let mut quiet_rate = 0.0;
    for paced in [false, true] {
        let gap = paced.then_some(1e9 / (quiet_rate * LOAD));
        let churns = [Churn::None, Churn::At(RATE), Churn::Most];
        let mut phases = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (phases, churn) in phases.iter_mut().zip(churns) {
                phases.push(bench.phase(churn, gap));
            }
        }
        let quiet_cpu_rate = median(&phases[0], |phase| phase.packets_per_cpu_second);
        for (phases, churn) in phases.iter().zip(churns) {
            right &= report(phases, churn, paced, quiet_cpu_rate);
        }
        quiet_rate = median(&phases[0], |phase| phase.packets_per_second);
    }
    bench.stall(&registrar);
    bench.worker.end();
    if !right {
        println!("WRONG: packets are lost or unexplained");
        std::process::exit(1);
    }
}

/// Prints a line; false if packets were lost, or treated in a way that nothing explains.
fn report(phases: &[Phase], churn: Churn, paced: bool, quiet: f64) -> bool {
    let sum = |of: fn(&Phase) -> u64| phases.iter().map(of).sum::<u64>();
    let updates = median(phases, |phase| phase.updates_per_second);
    let packets = median(phases, |phase| phase.packets_per_second);
    let cpu = median(phases, |phase| phase.packets_per_cpu_second);
    let (lost, unexplained) = (sum(|phase| phase.lost), sum(|phase| phase.unexplained));
    let overflowed = sum(|phase| phase.overflowed);
    let what = match churn {
        Churn::None => "no updates",
        Churn::At(_) => "updates at a rate",
        Churn::Most => "as many as go",
    };
    println!(
        "{} {what:<17}: {updates:>8.0} updates/s, {:.2} Mpps, {:.2} per CPU second ({:+.1} %), {lost} lost, effective blocked time {:.1} us, \
         {unexplained} unexplained{}",
        if paced { "paced    " } else { "full rate" },
        packets / 1e6,
        cpu / 1e6,
        (cpu / quiet - 1.0) * 100.0,
        lost as f64 / packets * 1e6,
        if paced {
            format!(", {overflowed} overflowed the ring")
        } else {
            String::new()
        },
    );
    lost + unexplained == 0
}
