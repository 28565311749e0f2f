// SPDX-License-Identifier: MIT
//! What lacks a neighbor goes to a gateway of the VPC, as the guest sent it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use vswitch::counters::DropReason;
use vswitch::io::memory::MemoryFrame;
use vswitch::stage::punt::PuntQueues;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{GatewayGroup, Hop, Tunnel};

use crate::lab::*;
use crate::{A, B, switched};

/// A gateway's addresses in the underlay.
fn machine(n: u8) -> ([u8; 6], [u8; 4]) {
    ([0x02, 0xaa, 0, 0, 1, n], [192, 0, 2, n])
}

/// The group of these gateways.
pub(crate) fn group(lab: &mut Lab, machines: &[u8]) -> Option<Arc<GatewayGroup>> {
    let members: Vec<_> = machines
        .iter()
        .map(|n| {
            let (mac, ip) = machine(*n);
            let Hop::Remote(hop) = lab.hop(ip, mac) else {
                panic!("a hop is remote");
            };
            (IpAddr::from(ip), hop)
        })
        .collect();
    GatewayGroup::new(&members).map(Arc::new)
}

/// Guest 1 at A and guest 2 at B, in one subnet; guest 9 on the peer host; another subnet of the VPC, and one of VPC 2, on the
/// same router, which leads to 203.0.113.0/24 by guest 8 and to 198.18.0.0/15 nowhere. Gateways 50 to 53.
fn lab() -> (Lab, Subnet, Subnet, Subnet) {
    let mut lab = Lab::new();
    let mut here = Subnet::new(7, 1, 1, 0);
    let (mut there, mut other) = (Subnet::new(8, 2, 1, 1), Subnet::new(9, 3, 2, 0));
    here.group = group(&mut lab, &[50, 51, 52, 53]);
    let by = |prefix: &str, target| Route {
        prefix: prefix.parse().unwrap(),
        priority: 0,
        target,
    };
    let via = Target::Via(vpc(1), here.ip(8).into());
    let rules = [
        by("203.0.113.0/24", via),
        by("198.18.0.0/15", Target::Blackhole),
    ];
    router(&mut [&mut here, &mut there, &mut other], &rules);
    lab.guest(A, 1, std::slice::from_ref(&here));
    lab.guest(B, 2, std::slice::from_ref(&here));
    lab.remote(9, &here);
    lab.commit();
    (lab, here, there, other)
}

/// Which gateway a VXLAN packet is for; asserts that it is `inner` in this VNI, byte by byte.
#[track_caller]
pub(crate) fn gateway_of(out: &[u8], vni: u32, inner: &[u8]) -> u8 {
    let to = machine(out[33]);
    assert!((50..54).contains(&out[33]), "{out:?}");
    let expected = vxlan((UPLINK_MAC, VTEP), to, source_port(out), vni, 0, inner);
    assert_eq!(out, expected);
    out[33]
}

/// Guest 1 asks for the MAC of an address.
fn who_has(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &guest_mac(7, 1),
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    );
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(guest_mac(7, 1), [0xff; 6]);
    builder.arp(packet.unwrap()).write(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_lacks_a_neighbor_goes_to_a_gateway_as_it_was_sent() {
    let (mut lab, here, there, _) = lab();
    let routed = |to| udp_with(guest_mac(7, 1), gateway_mac(7, 0), here.ip(1), to, 2, 0);
    for (what, frame) in [
        ("unknown MAC", switched(&here, 1, 77)),
        ("routed, in its own subnet", routed(here.ip(77))),
        ("routed to another subnet", routed(there.ip(5))),
        ("who has", who_has(here.ip(1), here.ip(77))),
    ] {
        lab.inject(A, &frame);
        let out = lab.out(UPLINK);
        assert_eq!(out.len(), 1, "{what}: {:?}", lab.totals(A));
        gateway_of(&out[0], 7, &frame);
        lab.silent();
    }
    assert_eq!((lab.totals(A).to_gateway, lab.totals(A).forwarded), (4, 4));
    let known = switched(&here, 1, 9);
    lab.inject(A, &known);
    let out = lab.out(UPLINK);
    assert_eq!(out, [to_peer(source_port(&out[0]), 7, 0, &known)]);
    assert_eq!(lab.totals(A).to_gateway, 4);
}

#[test]
fn a_burst_keeps_its_order_and_each_of_it_goes_its_way() {
    let (mut lab, here, there, _) = lab();
    let far = udp(guest_mac(7, 1), gateway_mac(7, 0), here.ip(1), there.ip(5));
    let frames = [
        switched(&here, 1, 9),
        switched(&here, 1, 77),
        far,
        who_has(here.ip(1), here.ip(78)),
        switched(&here, 1, 9),
        switched(&here, 1, 2),
    ];
    frames.iter().for_each(|frame| lab.inject(A, frame));
    let out = lab.out(UPLINK);
    let inner: Vec<_> = out.iter().map(|out| &out[50..]).collect();
    assert_eq!(inner, frames[..5]);
    assert_eq!((out[0][33], out[4][33]), (PEER[3], PEER[3]));
    for at in [1, 2, 3] {
        gateway_of(&out[at], 7, &frames[at]);
    }
    assert_eq!(lab.out(B), [frames[5].clone()]);
    lab.silent();
}

#[test]
fn a_gateway_may_be_reached_over_ipv6() {
    let mut lab = Lab::dual(Some(HOST), Tunnel::default());
    let mut here = Subnet::new(7, 1, 1, 0);
    let Hop::Remote(hop) = lab.hop6(PEER6, PEER_MAC) else {
        panic!("a hop is remote");
    };
    here.group = GatewayGroup::new(&[(IpAddr::from(PEER6), hop)]).map(Arc::new);
    router(&mut [&mut here], &[]);
    lab.guest(A, 1, std::slice::from_ref(&here));
    lab.commit();
    let unknown = switched(&here, 1, 77);
    lab.inject(A, &unknown);
    let out = lab.out(UPLINK);
    assert_eq!((out.len(), lab.totals(A).to_gateway), (1, 1));
    assert_eq!(out[0][12..14], [0x86, 0xdd]);
    assert_eq!(out[0][38..54], PEER6);
    assert_eq!(out[0][66..69], [0, 0, 7]);
    assert_eq!(out[0][70..], unknown);
    lab.silent();
}

#[test]
fn what_no_gateway_knows_is_refused_as_ever() {
    let (mut lab, here, _, other) = lab();
    let routed = |to: Ipv4Addr| udp_with(guest_mac(7, 1), gateway_mac(7, 0), here.ip(1), to, 64, 0);
    let mut reply = who_has(here.ip(1), here.ip(77));
    reply[21] = 2;
    for (what, frame, reason) in [
        ("a reply", reply, DropReason::NotFlooded),
        (
            "an announcement",
            who_has(here.ip(1), here.ip(1)),
            DropReason::NotFlooded,
        ),
        (
            "a probe",
            who_has(Ipv4Addr::UNSPECIFIED, here.ip(77)),
            DropReason::NotFlooded,
        ),
        (
            "of no subnet",
            who_has(here.ip(1), other.ip(7)),
            DropReason::NotFlooded,
        ),
        (
            "broadcast",
            udp(guest_mac(7, 1), [0xff; 6], here.ip(1), here.ip(255)),
            DropReason::NotFlooded,
        ),
        (
            "multicast",
            udp(
                guest_mac(7, 1),
                [1, 0, 0x5e, 0, 0, 1],
                here.ip(1),
                [224, 0, 0, 1].into(),
            ),
            DropReason::NotFlooded,
        ),
    ] {
        lab.expect_drop(A, &frame, reason);
        assert_eq!(lab.totals(A).to_gateway, 0, "{what}");
    }
    for (what, to, reason) in [
        (
            "by way of a machine",
            [203, 0, 113, 5].into(),
            DropReason::UnknownNeighbor,
        ),
        ("another VPC's", other.ip(7), DropReason::UnknownNeighbor),
        (
            "a whole subnet's",
            here.ip(255),
            DropReason::UnknownNeighbor,
        ),
        ("no route", [100, 64, 0, 1].into(), DropReason::NoRoute),
        ("blackhole", [198, 18, 0, 1].into(), DropReason::Blackhole),
    ] {
        let before = lab.totals(A);
        lab.inject(A, &routed(to));
        assert!(lab.out(UPLINK).is_empty(), "{what}");
        lab.out(A); // its sender is told
        let since = lab.totals(A).since(&before);
        assert_eq!(
            (since.drops_for(reason), since.to_gateway),
            (1, 0),
            "{what}"
        );
    }
    let spent = udp_with(
        guest_mac(7, 1),
        gateway_mac(7, 0),
        here.ip(1),
        here.ip(77),
        1,
        0,
    );
    lab.inject(A, &spent);
    assert!(lab.out(UPLINK).is_empty());
    assert_eq!(lab.totals(A).drops_for(DropReason::TtlExpired), 1);
    lab.out(A); // likewise
    let from_underlay = from_peer(7, 0, &switched(&here, 9, 77));
    lab.expect_drop(UPLINK, &from_underlay, DropReason::UnknownMac);
}

#[test]
fn each_flow_stays_on_one_gateway_and_those_of_one_that_leaves_move_alone() {
    let (mut lab, mut here, _, _) = lab();
    let frames: Vec<_> = (0..64)
        .map(|n| {
            udp(
                guest_mac(7, 1),
                guest_mac(7, 77),
                [10, 7, 0, 1].into(),
                [10, 7, 3, n].into(),
            )
        })
        .collect();
    let ways = |lab: &mut Lab| -> BTreeMap<usize, u8> {
        let mut ways = BTreeMap::new();
        for (n, frame) in frames.iter().enumerate() {
            lab.inject(A, frame);
            lab.inject(A, frame);
            let out = lab.out(UPLINK);
            assert_eq!((out.len(), &out[0]), (2, &out[1]));
            ways.insert(n, gateway_of(&out[0], 7, frame));
        }
        ways
    };
    let before = ways(&mut lab);
    assert_eq!(
        before.values().collect::<BTreeSet<_>>().len(),
        4,
        "all are used"
    );
    here.group = group(&mut lab, &[53, 50, 52]);
    lab.guest(A, 1, std::slice::from_ref(&here));
    lab.commit();
    for (n, way) in ways(&mut lab) {
        assert!(way != 51 && (before[&n] == 51 || way == before[&n]), "{n}");
    }
}

#[test]
fn what_the_gateway_sends_back_reaches_the_guest() {
    let (mut lab, here, _, _) = lab();
    let reply = switched(&here, 77, 1);
    let (from, to) = (machine(51), (UPLINK_MAC, VTEP));
    lab.expect(UPLINK, &vxlan(from, to, 50000, 7, 0, &reply), A, &reply);
}

#[test]
fn the_controller_is_not_asked_where_a_gateway_knows() {
    let (mut lab, here, _, _) = lab();
    let queues = Arc::new(PuntQueues::<MemoryFrame>::default());
    lab.worker.punt_to(Arc::clone(&queues));
    for frame in [switched(&here, 1, 77), who_has(here.ip(1), here.ip(77))] {
        lab.inject(A, &frame);
        gateway_of(&lab.out(UPLINK)[0], 7, &frame);
        assert!(queues.next_miss().is_none());
    }
    let by_machine = udp(
        guest_mac(7, 1),
        gateway_mac(7, 0),
        here.ip(1),
        [203, 0, 113, 5].into(),
    );
    lab.inject(A, &by_machine);
    assert!(lab.out(UPLINK).is_empty());
    assert!(queues.next_miss().is_some(), "no gateway knows the rule");
}

#[test]
fn a_guest_in_several_subnets_asks_the_gateways_of_the_one_that_it_speaks_in() {
    let (mut lab, here, there, mut other) = lab();
    other.group = group(&mut lab, &[50]);
    lab.guest(A, 1, &[there.clone(), here.clone(), other.clone()]);
    lab.commit();
    let to = guest_mac(7, 77);
    for (subnet, vni) in [(&here, 7), (&other, 9)] {
        let frame = udp(guest_mac(8, 1), to, subnet.ip(1), subnet.ip(77));
        lab.inject(A, &frame);
        gateway_of(&lab.out(UPLINK)[0], vni, &frame);
        let mut asks = who_has(subnet.ip(1), subnet.ip(77));
        for at in [6, 22] {
            asks[at..at + 6].copy_from_slice(&guest_mac(8, 1));
        }
        lab.inject(A, &asks);
        gateway_of(&lab.out(UPLINK)[0], vni, &asks);
    }
    let frame = udp(guest_mac(8, 1), to, there.ip(1), there.ip(77));
    lab.expect_drop(A, &frame, DropReason::UnknownMac);
}

#[test]
fn what_is_too_long_for_the_way_to_the_gateway_is_told_so() {
    let (mut lab, mut here, _, _) = lab();
    lab.mtu = 100;
    here.group = group(&mut lab, &[50]);
    lab.guest(A, 1, std::slice::from_ref(&here));
    lab.commit();
    let frame = switched(&here, 1, 77); // 61 bytes, of which 47 are the packet; 50 fit
    lab.inject(A, &frame);
    gateway_of(&lab.out(UPLINK)[0], 7, &frame);
    let mut long = Vec::new();
    let (from, to) = (here.ip(1).octets(), here.ip(77).octets());
    let builder = PacketBuilder::ethernet2(guest_mac(7, 1), guest_mac(7, 77));
    builder
        .ipv4(from, to, 64)
        .udp(1, 2)
        .write(&mut long, &[0; 60])
        .unwrap();
    lab.inject(A, &long);
    assert!(lab.out(UPLINK).is_empty());
    assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), 1);
    let told = lab.out(A);
    assert_eq!(told[0][34..36], [3, 4], "fragmentation needed");
    assert_eq!(told[0][40..42], 50u16.to_be_bytes());
}
