// SPDX-License-Identifier: MIT
//! The whole way: a worker, the thread that asks, gRPC to a controller in this process, its push, and back. Checks that
//! nothing is lost, and prints how long it takes; `make ondemand` lets it run for longer.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, thread};

use crossbeam_queue::ArrayQueue;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use vswitch::counters::{DropReason, PortTotals, WorkerCounters, total};
use vswitch::io::memory::{MemoryFrame, MemoryRx, Wire, wire};
use vswitch::io::{Frames, TxQueue};
use vswitch::stage::punt::PuntQueues;
use vswitch::stage::transmit::Link;
use vswitch::tables::PortId;
use vswitch::worker::Worker;

use super::super::goal::*;
use super::super::world::{PORT_A, PORT_B, UPLINK, World};
use super::ncm::{self, Ncm, Times, mac};
use crate::core::channel;
use crate::ondemand::client::{self, Ncm as Address};
use crate::ondemand::desk::{Desk, Shared};
use crate::ondemand::engine::{Limits, MAX_CALLS};
use crate::server;
use crate::southbound::service;
use crate::switch::cores;

/// Questions to ask, unless `ALKAID_ONDEMAND_REQUESTS` says otherwise; one first packet is timed for each hundred.
const REQUESTS: u64 = 5_000;

/// Far longer than anything takes.
const LIMIT: Duration = Duration::from_secs(60);

const GUESTS: [PortId; 2] = [PORT_A, PORT_B];

fn requests() -> u64 {
    let text = env::var("ALKAID_ONDEMAND_REQUESTS").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(REQUESTS)
}

/// An uplink that says when each frame left.
struct Stamps(Arc<ArrayQueue<Instant>>);

impl TxQueue for Stamps {
    type Frame = MemoryFrame;

    fn tx_burst(&mut self, frames: &mut Frames<MemoryFrame>) -> usize {
        let sent = frames.drain(..).map(|_| self.0.push(Instant::now()));
        sent.filter(|pushed| pushed.is_ok()).count()
    }
}

/// A switch that asks, with a worker on a thread of its own.
struct Switch {
    shared: Arc<Shared<MemoryFrame>>,
    rx: [Wire; 2],
    out: Arc<ArrayQueue<Instant>>,
    counters: [Arc<WorkerCounters>; 2],
    running: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Switch {
    /// Starts it, with its worker on a core, and a controller; with `knows`, that one knows everybody.
    async fn start(knows: bool, core: usize) -> (Self, Ncm) {
        let mut world = World::new();
        let guest = |id, n| {
            let (mac, ip) = (format!("02:00:00:00:00:{n:02x}"), format!("10.7.1.{n}"));
            port(id, &mac, &[("s", &ip)])
        };
        world.succeed([vpc("v", 7), subnet("s", "v", "10.7.1.0/24", 0, 1)]);
        world.succeed([guest("port-a", 10), guest("port-b", 11)]);
        let queues = Arc::<PuntQueues<MemoryFrame>>::default();
        let counters = [(); 2].map(|()| Arc::new(WorkerCounters::default()));
        let reader = world.registrar.reader("worker").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(&counters[0]), 32);
        worker.punt_to(Arc::clone(&queues));
        let (rx, out) = ([wire(1024), wire(1024)], Arc::new(ArrayQueue::new(4096)));
        for (port, rx) in GUESTS.into_iter().zip(&rx) {
            worker.add_port(port, vec![MemoryRx(Arc::clone(rx))], None);
        }
        let link = Link::Own(Stamps(Arc::clone(&out)));
        worker.add_port(UPLINK, Vec::new(), Some(link));

        let (handle, goals) = channel();
        let limits = Limits {
            hold: LIMIT,
            rate: 10_000_000,
            negative: LIMIT,
            frames: 1 << 16,
        };
        let (sender, calls) = mpsc::channel(MAX_CALLS);
        let (idle, to_workers) = (Duration::from_secs(60), vec![queues]);
        let tables = world.registrar.reader("on-demand").unwrap();
        let own = Arc::clone(&counters[1]);
        let desk = Desk::new(
            limits,
            idle,
            to_workers,
            tables,
            own,
            sender,
            handle.clone(),
        );
        let shared = desk.shared();
        let told = Arc::clone(&shared);
        world.core.on_commit(move || told.tables_changed());
        world.core.set_out();
        let running = Arc::new(AtomicBool::new(true));
        let until = Arc::clone(&running);
        let threads = vec![
            thread::spawn(move || world.core.run(goals)),
            thread::spawn(move || desk.run()),
            thread::spawn(move || {
                cores::pin(core);
                while until.load(Relaxed) {
                    if worker.poll() == 0 {
                        thread::yield_now(); // where there is one core only
                    }
                }
            }),
        ];
        let ncm = Self::controller(knows, handle).await;
        let source = "127.0.0.1".parse().unwrap();
        let address = ncm.clone().serve().await;
        let outcomes = Arc::clone(&shared);
        tokio::spawn(async move {
            client::run(Address { address, source }, None, calls, |outcome| {
                outcomes.outcome(outcome)
            })
            .await
        });
        let switch = Self {
            shared,
            rx,
            out,
            counters,
            running,
            threads,
        };
        (switch, ncm)
    }

    async fn controller(knows: bool, core: crate::core::CoreHandle) -> Ncm {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let routes = service::routes(core);
        tokio::spawn(server::serve(
            routes,
            listener,
            None,
            std::future::pending(),
        ));
        let switch = if knows {
            Some(ncm::Switch::connect(to).await)
        } else {
            None
        };
        Ncm {
            switch,
            times: Times::default(),
            answered: Arc::default(),
        }
    }

    fn totals(&self) -> [PortTotals; 2] {
        GUESTS.map(|port| total(&self.counters, port))
    }

    /// Waits until nothing is held, and everything is accounted for.
    fn settled(&self, what: &str) -> [PortTotals; 2] {
        let begun = Instant::now();
        loop {
            let totals = self.totals();
            let through = |at: &PortTotals| at.is_balanced() && at.held == 0;
            let empty = self.rx.iter().all(|rx| rx.is_empty());
            if empty && self.shared.figures().held == 0 && totals.iter().all(through) {
                return totals;
            }
            let figures = self.shared.figures();
            assert!(begun.elapsed() < LIMIT, "{what}: {totals:?} {figures:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the threads but the control thread, which ends when the servers do.
    fn end(self) {
        self.shared.end();
        self.running.store(false, Relaxed);
        for thread in self.threads.into_iter().skip(1) {
            thread.join().unwrap();
        }
    }
}

/// A packet of a guest to an address, switched.
fn packet(guest: usize, ip: Ipv4Addr) -> MemoryFrame {
    let source = 10 + guest as u8;
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, source], mac(ip))
        .ipv4([10, 7, 1, source], ip.octets(), 64)
        .udp(1000, 53)
        .write(&mut bytes, b"first")
        .unwrap();
    MemoryFrame::new(&bytes)
}

/// Runs a test as the program runs: nothing but the worker is on the worker's core, the last.
fn with_a_core_for_the_worker<F: Future<Output = ()>>(test: impl FnOnce(usize) -> F + Send) {
    let body = || {
        let core = cores::choose(1, None).unwrap()[0];
        cores::leave_to_workers(&[core]);
        let runtime = tokio::runtime::Runtime::new().unwrap(); // its threads are where this one is
        runtime.block_on(test(core));
    };
    thread::scope(|scope| scope.spawn(body).join().unwrap());
}

#[test]
fn every_destination_is_asked_for_and_every_packet_accounted_for() {
    with_a_core_for_the_worker(ask_for_many);
}

async fn ask_for_many(core: usize) {
    let (switch, ncm) = Switch::start(false, core).await;
    let (count, base, answered) = (requests(), 0x0a07_8000u32, Arc::clone(&ncm.answered));
    let begun = Instant::now();
    let switch = tokio::task::spawn_blocking(move || {
        let mut next = 0;
        while answered.load(Relaxed) < count {
            let room = (0..2).all(|n| switch.rx[n].is_empty());
            let full = switch.totals().iter().map(|at| at.held).sum::<u64>() > 4096;
            if !room || full {
                thread::yield_now();
                continue;
            }
            for n in 0..128 {
                let guest = (n % 2) as usize;
                let ip = Ipv4Addr::from(base + (next + n) as u32);
                switch.rx[guest].push(packet(guest, ip)).unwrap();
            }
            next += 128;
        }
        let totals = switch.settled("all are answered");
        let sum = |reason| totals.iter().map(|at| at.drops_for(reason)).sum::<u64>();
        let full = sum(DropReason::OnDemandFull);
        assert_eq!(sum(DropReason::OnDemandUnknown) + full, next);
        assert_eq!(switch.shared.figures().requests, next - full);
        switch
    })
    .await
    .unwrap();
    let answered = ncm.answered.load(Relaxed);
    let rate = answered as f64 / begun.elapsed().as_secs_f64();
    let figures = switch.shared.figures();
    assert_eq!((figures.requests, figures.failed_calls), (answered, 0));
    println!(
        "on-demand: requests={answered} calls={} requests_per_s={rate:.0}",
        figures.calls
    );
    switch.end();
}

#[test]
fn the_first_packet_goes_on_when_its_answer_is_here() {
    with_a_core_for_the_worker(time_first_packets);
}

async fn time_first_packets(core: usize) {
    let (switch, ncm) = Switch::start(true, core).await;
    let count = (requests() / 100).clamp(20, 2_000);
    let switch = tokio::task::spawn_blocking(move || {
        let mut sent = 0_u32;
        for (quiet, awake) in [(false, false), (true, false), (true, true)] {
            let count = if quiet { count.min(200) } else { count };
            let awake = awake.then(keep_awake);
            if let Some(None) = awake {
                continue; // only root may
            }
            let mut times = Vec::new();
            for _ in 0..count {
                if quiet {
                    thread::sleep(Duration::from_millis(30)); // the thread sleeps for longer then
                }
                times.push(time(&switch, &ncm, Ipv4Addr::from(0x0a07_8000 + sent)));
                sent += 1;
            }
            times.sort();
            let percentile = |p: usize| times[times.len() * p / 100].as_micros();
            println!(
                "on-demand: first_packets={count} after_a_pause={quiet} processor_kept_awake={} overhead_p50_us={} overhead_p99_us={}",
                awake.is_some(),
                percentile(50),
                percentile(99)
            );
        }
        let totals = switch.settled("all are through");
        let forwarded: u64 = totals.iter().map(|at| at.forwarded).sum();
        assert_eq!(forwarded, u64::from(sent));
        switch
    })
    .await
    .unwrap();
    switch.end();
}

/// Keeps idle processors from sleeping while it is open (Documentation/power/pm_qos_interface.rst of the kernel).
fn keep_awake() -> Option<File> {
    let mut file = File::options()
        .write(true)
        .open("/dev/cpu_dma_latency")
        .ok()?;
    file.write_all(&0_i32.to_ne_bytes()).ok()?;
    Some(file)
}

/// Sends one packet to an address that nobody knows yet and waits until it leaves; how long that took, without the
/// controller's own part.
fn time(switch: &Switch, ncm: &Ncm, ip: Ipv4Addr) -> Duration {
    let begun = Instant::now();
    switch.rx[0].push(packet(0, ip)).unwrap();
    let left = loop {
        match switch.out.pop() {
            Some(at) => break at,
            None => thread::sleep(Duration::from_micros(200)), // the others need the processor
        }
        assert!(begun.elapsed() < LIMIT, "{:?}", switch.shared.figures());
    };
    // The controller notes them when it knows of the reply.
    let [received, pushed] = loop {
        match ncm.times.lock().unwrap().get(&ip) {
            Some(times) => break *times,
            None => thread::sleep(Duration::from_micros(200)),
        }
        assert!(begun.elapsed() < LIMIT, "no reply to the push");
    };
    (left - begun) - (pushed - received)
}
