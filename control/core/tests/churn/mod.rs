// SPDX-License-Identifier: MIT
//! Forwarding goes on, with no packet lost and none misdelivered, while everything changes at full speed.
//!
//! A real worker forwards between ports in memory; a controller changes neighbors, routes, ports and a VPC by gRPC as fast as
//! it is answered. Afterwards each packet's fate must be explained by a state of its destination that may have been in
//! force between its way in and its way out: the old one or the new one, and only the new one after the reply.

mod controller;
mod frames;
mod history;
mod scene;
mod traffic;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hashbrown::HashMap;
use ipnet::IpNet;
use tokio::net::TcpListener;
use vswitch::counters::{WorkerCounters, total};
use vswitch::io::memory::{MemoryRx, MemoryTx, Wire, wire};
use vswitch::stage::transmit::Link;
use vswitch::tables::snapshot::tables;
use vswitch::tables::{PortId, Tunnel, Underlay};
use vswitch::wire::Mac;
use vswitch::worker::Worker;

use super::grpc::Client;
use crate::core::{self, Core, CoreHandle, Replicated, Site, Uplink, channel};
use crate::families::Families;
use crate::server;
use crate::southbound::service;
use controller::{Controller, STREAMS, Said};
use frames::{UPLINK, UPLINK_MAC, VTEP};
use history::{Clock, History, Place};
use traffic::{Record, Traffic};

/// How long it goes on. `ALKAID_CHURN_SECONDS` says otherwise, for a night.
const SECONDS: u64 = 10;

const PORTS: u16 = 6;

/// Numbers that look random, the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
}

fn port(n: u16) -> PortId {
    PortId::new(n).unwrap()
}

/// A switch whose ports are in memory, with its threads.
struct Switch {
    core: CoreHandle,
    rx: Vec<Wire>,
    tx: Vec<Wire>,
    counters: Arc<WorkerCounters>,
    running: Arc<AtomicBool>,
    worker: thread::JoinHandle<()>,
}

impl Switch {
    fn start() -> Self {
        let (vtep, uplink) = (Ipv4Addr::from(VTEP), port(UPLINK.into()));
        let underlay = Underlay {
            vtep: Some(vtep),
            vtep6: None,
            uplink,
            second: None,
            host_port: None,
            tunnel: Tunnel::default(),
        };
        let (writer, registrar) = tables(Some(underlay), 1 << 16);
        let rx: Vec<_> = (0..PORTS).map(|_| wire(4096)).collect();
        let tx: Vec<_> = (0..PORTS).map(|_| wire(4096)).collect();
        let counters = Arc::new(WorkerCounters::default());
        let reader = registrar.reader("worker").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(&counters), 32);
        for (n, (rx, tx)) in (0..).zip(rx.iter().zip(&tx)) {
            let link = Link::Own(MemoryTx(Arc::clone(tx)));
            worker.add_port(port(n), vec![MemoryRx(Arc::clone(rx))], Some(link));
        }
        let running = Arc::new(AtomicBool::new(true));
        let until = Arc::clone(&running);
        let worker = thread::spawn(move || {
            while until.load(Ordering::Relaxed) {
                if worker.poll() == 0 {
                    thread::yield_now(); // it has no core of its own here
                }
            }
        });
        let link = core::Link {
            vtep: IpNet::new(IpAddr::V4(vtep), 24).unwrap(),
            gateway: None,
        };
        let uplink = Uplink {
            links: Families {
                v4: Some(link),
                v6: None,
            },
            port: uplink,
            mac: Mac::new(UPLINK_MAC),
            mtu: 1600,
            neighbors: HashMap::new(),
            learned: HashMap::new(),
        };
        let site = Site {
            uplinks: vec![uplink],
            host_port: None,
            anti_spoofing: true,
            rules: HashMap::new(),
            replicated: Replicated {
                others: Some(100),
                ..Replicated::default()
            },
        };
        let (core, requests) = channel();
        let mut program = Core::new(site, writer);
        program.set_out();
        thread::spawn(move || program.run(requests));
        Self {
            core,
            rx,
            tx,
            counters,
            running,
            worker,
        }
    }
}

/// What the packets of a run say.
#[derive(Default)]
struct Verdict {
    /// Packets that only one state allowed.
    certain: usize,
    dropped: usize,
    delivered: usize,
    tunnelled: usize,
    /// Packets whose fate nothing explains, by destination: how many, and one of them.
    failures: BTreeMap<usize, (usize, String)>,
}

fn judge(records: &[Record], flows: &[frames::Flow], said: &[History]) -> Verdict {
    let mut verdict = Verdict::default();
    for record in records {
        match record.fate.map(|at| at.place) {
            None => verdict.dropped += 1,
            Some(Place::Port(_)) => verdict.delivered += 1,
            Some(Place::Host(_)) => verdict.tunnelled += 1,
        }
        let flow = &flows[usize::from(record.flow)];
        let history = &said[flow.to];
        let allowed = || history.between(record.injected, record.decided);
        verdict.certain += usize::from(allowed().count() == 1);
        let explained = allowed().any(|state| {
            let output = state.filter(|at| flow.output(*at).is_some());
            output == record.fate
        });
        if !explained {
            let failures = verdict.failures.entry(flow.to).or_default();
            failures.0 += 1;
            failures.1 = format!(
                "such as {record:?} of {flow:?}: allowed was {:?}",
                allowed().collect::<Vec<_>>()
            );
        }
    }
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn no_packet_is_lost_or_misdelivered_while_everything_changes() {
    let seconds = std::env::var("ALKAID_CHURN_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SECONDS);
    let (switch, clock) = (Switch::start(), Clock::start());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(server::serve(
        service::routes(switch.core.clone()),
        listener,
        None,
        std::future::pending(),
    ));
    let controller = Arc::new(Controller {
        clock,
        core: switch.core.clone(),
        enough: AtomicBool::new(false),
        messages: AtomicU64::new(0),
        resources: AtomicU64::new(0),
    });
    for guest in [scene::SENDER, scene::STAYS, scene::HAS_A_VPC] {
        switch
            .core
            .bind(port(guest.into()), scene::port_id(guest))
            .await
            .unwrap()
            .unwrap();
    }
    let mut client = Client::connect(address.clone()).await.unwrap();
    controller.say(&mut client, scene::beginning()).await;

    let (flows, probes) = scene::flows();
    let traffic = Traffic::new(
        clock,
        switch.rx.clone(),
        switch.tx.clone(),
        flows.clone(),
        probes.into(),
    );
    let traffic = {
        let controller = Arc::clone(&controller);
        let stop = move || controller.enough.load(Ordering::Relaxed);
        thread::spawn(move || traffic.run(stop, &mut Random(99)))
    };
    let parts = (0..STREAMS + 5).map(|part| {
        let (controller, address) = (Arc::clone(&controller), address.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(address).await.unwrap();
            let random = Random(part as u64);
            match part.checked_sub(STREAMS) {
                None => controller.move_neighbors(&mut client, part, random).await,
                Some(0) => controller.flip_routes(&mut client, random).await,
                Some(1) => controller.migrate(&mut client, random).await,
                Some(2) => controller.come_and_go(&mut client, random).await,
                Some(3) => controller.whole_vpc(&mut client, random).await,
                Some(_) => controller.crowd(&mut client, random).await,
            }
        })
    });
    let parts: Vec<_> = parts.collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    controller.enough.store(true, Ordering::Relaxed);
    let mut said = scene::destinations();
    for part in parts {
        let changed: Said = part.await.unwrap();
        changed
            .into_iter()
            .for_each(|(destination, history)| said[destination] = history);
    }
    let (records, failures) = tokio::task::spawn_blocking(|| traffic.join().unwrap())
        .await
        .unwrap();
    switch.running.store(false, Ordering::Relaxed);
    switch.worker.join().unwrap();

    let verdict = judge(&records, &flows, &said);
    let (messages, resources) = (
        controller.messages.load(Ordering::Relaxed),
        controller.resources.load(Ordering::Relaxed),
    );
    println!(
        "{} messages/s, {} resources/s, {} packets/s",
        messages / seconds,
        resources / seconds,
        records.len() as u64 / seconds
    );
    println!(
        "{} had one state to go by; {} dropped, {} delivered, {} tunnelled",
        verdict.certain, verdict.dropped, verdict.delivered, verdict.tunnelled
    );
    assert_eq!(failures, Vec::<String>::new());
    assert!(verdict.failures.is_empty(), "{:#?}", verdict.failures);
    for totals in (0..PORTS).map(|n| total(&[Arc::clone(&switch.counters)], port(n))) {
        assert!(totals.is_balanced(), "{totals:?}");
    }
    // Not idle: what follows is far below what any machine does.
    assert!(
        messages > 500 && resources > 5000,
        "{messages} messages, {resources} resources"
    );
    assert!(
        verdict.certain > 1000
            && verdict.dropped > 100
            && verdict.delivered > 100
            && verdict.tunnelled > 100
    );
}
