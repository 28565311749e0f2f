// SPDX-License-Identifier: MIT
//! What random packets are said to become is what they become.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use proptest::prelude::*;
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

use super::super::goal::{State, dual_stack, grouped, neighbor, vpc, zeta};
use super::super::world::{PORT_A, PORT_B, SECOND, UPLINK, World, two_uplinks};
use super::arrivals::{Damage, PORTS, arrival};
use super::dhcp::answer;
use super::{populated, told, world};
use crate::explain::{ExplainError, Links, Outcome, Packet};
use crate::proto::schema::NeighborType::L2;

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
            (None, None) if since.to_replicas == 1 => Outcome::Copied,
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

/// `asks`: the controller is asked for what is unknown. `uplinks`: those that are live, in turns. How often it was what.
fn is_explained_as_it_is_forwarded(
    world: World,
    asks: bool,
    uplinks: &[&[PortId]],
) -> BTreeMap<String, u32> {
    let live = world.core.live();
    let forwarding = RefCell::new(Forwarding::new(&world, asks));
    let outcomes = RefCell::new(BTreeMap::new());
    let turn = Cell::new(0);
    let config = Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let ran = runner.run(&arrival(), |(port, packet, Damage { changes, cut })| {
        if let Some(uplinks) = uplinks.get(turn.get() % uplinks.len().max(1)) {
            live.set(uplinks);
        }
        turn.set(turn.get() + 1);
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
        if sent.iter().any(|(port, _)| *port == SECOND) {
            let kind = "by the second uplink".to_owned();
            *outcomes.borrow_mut().entry(kind).or_insert(0) += 1;
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
        if told.contains("for everybody: copied to ") {
            let receivers = told.matches("host 192.0.2.").count() + told.matches("port ").count();
            prop_assert!(sent.len() <= receivers, "{told}");
            let kind = format!("copied from {}", port.get());
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
    let seen = |kind: &str| often(&outcomes, kind);
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
    outcomes
}

/// With guests of both versions of IP.
fn dual(mut world: World) -> World {
    world.succeed(dual_stack());
    world
}

/// More than by chance.
fn often(outcomes: &BTreeMap<String, u32>, kind: &str) -> bool {
    outcomes.get(kind).copied().unwrap_or(0) > 5
}

#[test]
fn ten_thousand_random_packets_become_what_is_explained() {
    let outcomes = is_explained_as_it_is_forwarded(dual(world(false)), false, &[]);
    for kind in ["left to a gateway", "by the second uplink"] {
        assert!(!outcomes.contains_key(kind), "{outcomes:?}");
    }
}

#[test]
fn so_they_do_when_the_controller_is_asked() {
    is_explained_as_it_is_forwarded(dual(world(true)), true, &[]);
}

#[test]
fn so_they_do_when_a_gateway_knows_what_is_unknown() {
    let mut world = dual(world(false));
    world.put([
        grouped(vpc("vpc", 7), &["zeta"]),
        zeta("zeta", &[50, 51, 52]),
    ]);
    let outcomes = is_explained_as_it_is_forwarded(world, false, &[]);
    assert!(often(&outcomes, "left to a gateway"), "{outcomes:?}");
}

#[test]
fn so_they_do_when_broadcasts_are_copied_to_all() {
    let mut world = dual(world(false));
    world.replicate(None, Some(1_000_000));
    let outcomes = is_explained_as_it_is_forwarded(world, false, &[]);
    for from in ["copied from 0", "copied from 1", "copied from 2"] {
        assert!(often(&outcomes, from), "{from}: {outcomes:?}");
    }
}

/// Any of two uplinks has a link, or all have.
const IN_TURNS: &[&[PortId]] = &[&[UPLINK, SECOND], &[UPLINK], &[SECOND]];

#[test]
fn so_they_do_with_two_uplinks_that_lose_their_links_in_turns() {
    let world = dual(populated(World::at(two_uplinks(false), 1 << 16), false));
    let outcomes = is_explained_as_it_is_forwarded(world, false, IN_TURNS);
    assert!(often(&outcomes, "by the second uplink"), "{outcomes:?}");
}

#[test]
fn so_they_do_with_an_uplink_of_each_version_of_ip() {
    let mut world = dual(populated(World::at(two_uplinks(true), 1 << 16), false));
    let mut far = neighbor("n6", L2, "02:00:00:00:01:99", "blue", "10.7.1.200", 9);
    if let State::Neighbor(state) = &mut far {
        let configuration = state.configuration.as_mut().unwrap();
        configuration.host_ip_address = "2001:db8:ff::9".into();
    }
    world.succeed([far]);
    let outcomes = is_explained_as_it_is_forwarded(world, false, IN_TURNS);
    assert!(often(&outcomes, "by the second uplink"), "{outcomes:?}");
}
