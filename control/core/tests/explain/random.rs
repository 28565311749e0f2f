// SPDX-License-Identifier: MIT
//! What random packets are said to become is what they become.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use etherparse::PacketBuilder;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use vswitch::counters::{DropReason, WorkerCounters, total};
use vswitch::io::Frame;
use vswitch::io::memory::{MemoryFrame, MemoryRx, MemoryTx, Wire, wire};
use vswitch::stage::limits::Limits;
use vswitch::stage::link::Hearing;
use vswitch::stage::punt::PuntQueues;
use vswitch::stage::transmit::Link;
use vswitch::tables::PortId;
use vswitch::wire::nd;
use vswitch::worker::Worker;

use super::super::goal::{dual_stack, grouped, vpc, zeta};
use super::super::world::{PORT_A, PORT_B, UPLINK, World};
use super::dhcp::{Question, answer};
use super::{told, world};
use crate::explain::{ExplainError, Links, Outcome, Packet};

/// Where packets of the property arrive: an uplink, two guests, nobody.
const PORTS: [PortId; 4] = [UPLINK, PORT_A, PORT_B, PortId::new(3).unwrap()];

const MACS: [&str; 12] = [
    "02:00:00:00:00:0a",
    "02:00:00:00:00:0b",
    "02:00:00:00:01:01",
    "02:00:00:00:01:02",
    "02:00:00:00:01:03",
    "02:00:00:00:01:99",
    "00:00:5e:00:01:01",
    "00:00:5e:00:01:02",
    "00:00:5e:00:01:03",
    "fe:16:11:00:00:00",
    "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:01",
];

const GATEWAYS: &[&str] = &["00:00:5e:00:01:01", "00:00:5e:00:01:02"];

const ADDRESSES: [&str; 16] = [
    "10.7.1.10",
    "10.7.1.11",
    "10.7.2.11",
    "10.7.2.12",
    "10.7.1.1",
    "10.7.2.1",
    "10.8.3.1",
    "10.7.1.101",
    "10.7.2.102",
    "10.8.3.103",
    "10.8.3.104",
    "10.7.1.200",
    "203.0.113.5",
    "8.8.8.8",
    "10.7.1.255",
    "0.0.0.0",
];

const ADDRESSES6: [&str; 12] = [
    "2001:db8:7:1::10",
    "2001:db8:7:1::1",
    "2001:db8:8:3::1",
    "2001:db8:7:1::101",
    "2001:db8:8:3::103",
    "2001:db8:7:1::200",
    "2001:db8:203::5",
    "2001:4860::8",
    "fe80::200:5eff:fe00:101",
    "fe80::ff:fe00:a",
    "ff02::1",
    "::",
];

/// The same of IPv6; only the guest at the first port has such an address.
fn inner6(honest: bool) -> impl Strategy<Value = String> {
    let from = move |address: &str| match honest {
        true => String::new(),
        false => format!("src={address} "),
    };
    let carried = select(vec!["udp", "tcp", "icmp", "icmp", "len=20"]);
    let ttl = prop_oneof![4 => Just(64), 1 => 0..4_u8];
    let addresses = (select(&ADDRESSES6), select(&ADDRESSES6));
    let ip = (addresses.clone(), ttl, any::<u8>(), carried, 0..1600_u16);
    let ip = ip.prop_map(move |((src, dst), ttl, tos, carried, len)| {
        let len = match carried {
            "len=20" => String::new(),
            _ => format!(" / len={len}"),
        };
        let from = from(src);
        format!("ip {from}dst={dst} ttl={ttl} tos={tos} / {carried}{len}")
    });
    let nd = (addresses, any::<bool>()).prop_map(move |((src, dst), router)| match router {
        true => format!("nd {}", from(src)),
        false => format!("nd {}dst={dst}", from(src)),
    });
    let dst = prop_oneof![
        1 => select(&MACS).prop_map(|mac| format!("dst={mac} ")),
        2 => select(GATEWAYS).prop_map(|mac| format!("dst={mac} ")),
    ];
    let ip = (select(&MACS), dst, ip)
        .prop_map(move |(src, dst, ip)| format!("eth {}{dst}/ {ip}", from(src)));
    let nd = (select(&MACS), nd).prop_map(move |(src, nd)| format!("eth {}/ {nd}", from(src)));
    prop_oneof![4 => ip, 1 => nd]
}

/// A packet in words, between some of these; `honest`: from whoever is at the port.
fn inner(honest: bool) -> impl Strategy<Value = String> {
    let from = move |address: &str| match honest {
        true => String::new(),
        false => format!("src={address} "),
    };
    let carried = select(vec![
        "udp",
        "tcp",
        "icmp",
        "udp sport=68 dport=67",
        "len=20",
    ]);
    let ttl = prop_oneof![4 => Just(64), 1 => 0..4_u8];
    let ip = (
        select(&ADDRESSES),
        select(&ADDRESSES),
        ttl,
        any::<u8>(),
        carried,
        0..1600_u16,
    );
    let ip = ip.prop_map(move |(src, dst, ttl, tos, carried, len)| {
        let len = match carried {
            "len=20" => String::new(),
            _ => format!(" / len={len}"),
        };
        format!(
            "ip {}dst={dst} ttl={ttl} tos={tos} / {carried}{len}",
            from(src)
        )
    });
    let arp = (select(&ADDRESSES), select(&ADDRESSES));
    let arp = arp.prop_map(move |(src, dst)| format!("arp {}dst={dst}", from(src)));
    let packet = prop_oneof![6 => ip, 1 => arp];
    let dst = prop_oneof![1 => select(&MACS), 1 => select(GATEWAYS)];
    (select(&MACS), dst, packet)
        .prop_map(move |(src, dst, packet)| format!("eth {}dst={dst} / {packet}", from(src)))
}

/// One from another host, or of the underlay.
fn outer() -> impl Strategy<Value = String> {
    let vni = select(vec![7, 7, 7, 8, 9]);
    let to = prop_oneof![9 => Just("192.0.2.1"), 1 => Just("192.0.2.7")];
    let inner = || prop_oneof![2 => inner(false), 1 => inner6(false)];
    let tunnel = (vni, to, 0..4_u8, inner()).prop_map(|(vni, to, ecn, inner)| {
        format!(
            "eth src=02:aa:00:00:00:09 dst=02:aa:00:00:00:01 / ip src=192.0.2.9 dst={to} tos={ecn} / vxlan vni={vni} / {inner}"
        )
    });
    prop_oneof![9 => tunnel, 1 => inner()]
}

/// What a guest asks by DHCP: also nonsense.
fn question(mac: u8, own: &'static str) -> impl Strategy<Value = Packet> {
    let address = move || select(vec![own, "10.7.1.99"]).prop_map(|it| it.parse().unwrap());
    let has = prop_oneof![3 => Just(Ipv4Addr::UNSPECIFIED), 1 => address()];
    let server = select(vec!["10.7.1.1", "10.7.1.5"]).prop_map(|it| it.parse().unwrap());
    let fields = (
        select(vec![1, 3, 3, 3, 4, 7, 8, 5]),
        has,
        prop::option::of(address()),
        prop::option::weighted(0.3, server),
        prop::collection::vec(any::<u8>(), 0..6),
        any::<bool>(),
    );
    fields.prop_map(move |(kind, has, wants, server, asks, to_gateway)| {
        let question = Question {
            kind,
            mac,
            has,
            wants,
            server,
            asks,
            to_gateway,
        };
        Packet::Bytes(question.frame())
    })
}

/// What befalls a frame: bytes that change, and where it is cut off.
#[derive(Clone, Debug)]
struct Damage {
    changes: Vec<(usize, u8)>,
    cut: usize,
}

/// A port, and a frame for it: one that makes sense, sometimes with a few bytes changed, or cut.
fn arrival() -> impl Strategy<Value = (PortId, Packet, Damage)> {
    let ipv6 = any::<(u8, u8)>().prop_map(|(mac, hops)| {
        let mut frame = Vec::new();
        let (src, dst) = ([2, 0, 0, 0, 0, 0x0a], [2, 0, 0, 0, 1, mac % 4]);
        PacketBuilder::ethernet2(src, dst)
            .ipv6([0xfe; 16], [0xfd; 16], hops)
            .udp(1, 2)
            .write(&mut frame, &[0; 9])
            .unwrap();
        Packet::Bytes(frame)
    });
    let guest = || select(vec![PORT_A, PORT_B]);
    let arrival = prop_oneof![
        10 => (guest(), inner(true).prop_map(Packet::Words)),
        3 => (Just(PORT_A), question(0x0a, "10.7.1.10")),
        1 => (Just(PORT_B), question(0x0b, "10.7.1.11")),
        1 => (guest(), inner(false).prop_map(Packet::Words)),
        4 => (Just(PORT_A), inner6(true).prop_map(Packet::Words)),
        1 => (guest(), inner6(false).prop_map(Packet::Words)),
        1 => (guest(), ipv6),
        1 => (Just(PORTS[3]), inner(false).prop_map(Packet::Words)),
        3 => (Just(UPLINK), outer().prop_map(Packet::Words)),
    ];
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((0..80_usize, any::<u8>()), 1..4),
    ];
    let cut = prop_oneof![9 => Just(usize::MAX), 1 => 0..80_usize];
    let damage = (changes, cut).prop_map(|(changes, cut)| Damage { changes, cut });
    (arrival, damage).prop_map(|((port, packet), damage)| (port, packet, damage))
}

/// How long frames may be: some are too long. In one case of two these are cut, and a guest's port is stopped.
fn links(asks: bool) -> Links {
    let mut limits = Limits::NONE;
    (limits.fragment, limits.clamp_mss) = (asks, true);
    limits.set_mtu(PORT_B, 600);
    limits.set_mtu(PORT_A, 1000);
    let started = PORTS.into_iter().filter(|port| !asks || *port != PORT_B);
    let started = started.collect();
    Links {
        limits,
        started,
        subports: Vec::new(),
    }
}

/// A worker like those that forward.
struct Forwarding {
    worker: Worker<MemoryRx, MemoryTx>,
    wires: Vec<(Wire, Wire)>,
    counters: Arc<WorkerCounters>,
    held: Arc<PuntQueues<MemoryFrame>>,
}

impl Forwarding {
    fn new(world: &World, asks: bool) -> Self {
        let counters = Arc::new(WorkerCounters::default());
        let reader = world.registrar.reader("forwarding").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(&counters), 32);
        let Links {
            limits, started, ..
        } = links(asks);
        *worker.limits_mut() = limits;
        worker.tell(Hearing::new(ArrayQueue::new(1 << 15)));
        let held = Arc::new(PuntQueues::default());
        if asks {
            worker.punt_to(Arc::clone(&held));
        }
        let wires: Vec<_> = PORTS.iter().map(|_| (wire(64), wire(64))).collect();
        for (port, (rx, tx)) in PORTS.into_iter().zip(&wires) {
            let link = Link::Own(MemoryTx(Arc::clone(tx)));
            if started.contains(&port) {
                worker.add_port(port, vec![MemoryRx(Arc::clone(rx))], Some(link));
            }
        }
        Self {
            worker,
            wires,
            counters,
            held,
        }
    }

    /// What becomes of a frame, and what leaves.
    fn forward(&mut self, from: PortId, frame: &[u8]) -> (Outcome, Vec<(PortId, Vec<u8>)>) {
        let counters = [Arc::clone(&self.counters)];
        let before = total(&counters, from);
        let arriving = &self.wires[from.index()].0;
        arriving.push(MemoryFrame::new(frame)).unwrap();
        self.worker.poll();
        let since = total(&counters, from).since(&before);
        let mut dropped = DropReason::ALL
            .iter()
            .filter(|reason| since.drops_for(**reason) != 0);
        let outcome = match (dropped.next(), self.held.next_miss()) {
            (Some(reason), None) => Outcome::Dropped(*reason),
            (None, Some(miss)) => Outcome::Held(miss.destination),
            (None, None) if since.answered == 1 => Outcome::Answered,
            (None, None) if since.forwarded != 0 => Outcome::Forwarded,
            other => panic!("{other:?}: {since:?}"),
        };
        let mut sent = Vec::new();
        for (port, (_, tx)) in PORTS.into_iter().zip(&self.wires) {
            let frames = std::iter::from_fn(|| tx.pop());
            sent.extend(frames.map(|frame| (port, frame.head().to_vec())));
        }
        (outcome, sent)
    }
}

/// What leaves, but for the router's advertisement that follows an answer only from time to time.
fn at_once(mut sent: Vec<(PortId, Vec<u8>)>) -> Vec<(PortId, Vec<u8>)> {
    const ICMP_TYPE: usize = 54;
    let advertises = |frame: &[u8]| {
        frame.get(12..14) == Some(&[0x86, 0xdd])
            && frame.get(ICMP_TYPE) == Some(&nd::ROUTER_ADVERTISEMENT)
    };
    if sent.len() > 1 {
        sent.retain(|(_, frame)| !advertises(frame));
    }
    sent
}

/// `asks`: the controller is asked for what is unknown. `gateways`: they know it.
fn is_explained_as_it_is_forwarded(asks: bool, gateways: &[u8]) {
    let mut world = world(asks);
    world.succeed(dual_stack());
    if !gateways.is_empty() {
        world.put([grouped(vpc("vpc", 7), &["zeta"]), zeta("zeta", gateways)]);
    }
    let forwarding = RefCell::new(Forwarding::new(&world, asks));
    let outcomes = RefCell::new(std::collections::BTreeMap::new());
    let config = Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let ran = runner.run(&arrival(), |(port, packet, Damage { changes, cut })| {
        let core = &world.core;
        let frame = match packet {
            Packet::Words(words) => core.program.packet(&core.wanted, port, &words),
            Packet::Bytes(frame) => Ok(frame),
        };
        let mut frame = frame.unwrap();
        for (at, to) in changes {
            frame.get_mut(at).into_iter().for_each(|byte| *byte = to);
        }
        frame.truncate(cut);
        let explained = core.explain(port, &Packet::Bytes(frame.clone()), links(asks));
        if !links(asks).started.contains(&port) {
            prop_assert_eq!(explained.unwrap_err(), ExplainError::Stopped(port.get()));
            return Ok(());
        }
        let explained = explained.unwrap();
        let (outcome, sent) = forwarding.borrow_mut().forward(port, &frame);
        prop_assert_eq!(explained.outcome, outcome);
        // Of too many errors guests are not told. An explanation is for one packet.
        if !(matches!(outcome, Outcome::Dropped(_)) && sent.is_empty()) {
            prop_assert_eq!(&at_once(explained.sent.clone()), &at_once(sent.clone()));
        }
        let kind = match sent.first().and_then(|(_, frame)| answer(frame)) {
            None => format!("{outcome:?}"),
            Some(kind) => format!("DHCP {kind}"),
        };
        if kind.starts_with("DHCP ") {
            prop_assert!(told(&explained).contains(&kind), "{}", told(&explained));
        }
        let told = told(&explained);
        if let Some((_, gateway)) = told.split_once("left to the gateway at 192.0.2.") {
            const OUTER_DESTINATION: usize = 33;
            let gateway: u8 = gateway.split(',').next().unwrap().parse().unwrap();
            for (port, frame) in &sent {
                let left = *port == UPLINK && frame[OUTER_DESTINATION] == gateway;
                prop_assert!(left || outcome != Outcome::Forwarded, "{told}");
            }
            let kind = "left to a gateway".to_owned();
            *outcomes.borrow_mut().entry(kind).or_insert(0) += 1;
        }
        let kind = kind.split(" {").next().unwrap_or_default().to_owned();
        if frame.get(12..14) == Some(&[0x86, 0xdd]) {
            let kind = format!("IPv6 {kind}");
            *outcomes.borrow_mut().entry(kind).or_insert(0) += 1;
        }
        *outcomes.borrow_mut().entry(kind).or_insert(0) += 1;
        Ok(())
    });
    ran.unwrap();
    let outcomes = outcomes.into_inner();
    let seen = |kind: &str| outcomes.get(kind).copied().unwrap_or(0) > 20;
    let expected = [
        "Forwarded",
        "Answered",
        "Dropped(NoRoute)",
        "Dropped(SpoofedIp)",
        "DHCP OFFER",
        "DHCP ACK",
        "DHCP NAK",
        "Dropped(BadDhcp)",
        "Dropped(DhcpQuiet)",
        "Dropped(DhcpDeclined)",
        "IPv6 Forwarded",
        "IPv6 Answered",
        "IPv6 Dropped(NoRoute)",
        "IPv6 Dropped(SpoofedIp)",
    ];
    assert!(expected.into_iter().all(seen), "{outcomes:?}");
    assert_eq!(
        !gateways.is_empty(),
        seen("left to a gateway"),
        "{outcomes:?}"
    );
    // What is too long is cut where it may be, and nothing is refused by ports that are all started. The guest without a
    // lease is at the one that is not.
    let others: &[_] = if asks {
        &["Dropped(TxFull)"]
    } else {
        &["Dropped(TooBig)", "Dropped(NoLease)"]
    };
    assert!(others.iter().copied().all(seen), "{outcomes:?}");
    assert_eq!(
        asks,
        outcomes.keys().any(|kind| kind.starts_with("Held")),
        "{outcomes:?}"
    );
}

#[test]
fn ten_thousand_random_packets_become_what_is_explained() {
    is_explained_as_it_is_forwarded(false, &[]);
}

#[test]
fn so_they_do_when_the_controller_is_asked() {
    is_explained_as_it_is_forwarded(true, &[]);
}

#[test]
fn so_they_do_when_a_gateway_knows_what_is_unknown() {
    is_explained_as_it_is_forwarded(false, &[50, 51, 52]);
}
