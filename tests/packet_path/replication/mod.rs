// SPDX-License-Identifier: MIT
//! Head-end replication: broadcast and multicast leave once for each receiver, where the operator wants it.

mod bounds;

use std::net::Ipv4Addr;
use std::sync::Arc;

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use vswitch::counters::DropReason;
use vswitch::tables::{AddressPair, Guard, Hop, HopId, PortId, Replication, Role, TenantPort};
use vswitch::wire::Mac;

use crate::lab::*;
use crate::{A, B};

const C: PortId = port(4);
const ELSEWHERE: PortId = port(5);
const OTHER: ([u8; 6], [u8; 4]) = ([0x02, 0xaa, 0, 0, 0, 3], [192, 0, 2, 3]);
const ALL: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 18];

fn remote(hop: Hop) -> HopId {
    match hop {
        Hop::Remote(hop) => hop,
        Hop::Local(_) => panic!("a hop is remote"),
    }
}

fn to(rate: u32, hosts: &[Hop]) -> Option<Replication> {
    let hosts = hosts.iter().copied().map(remote).collect();
    Some(Replication { rate, hosts })
}

/// Guests 1, 2 and 3 at A, B and C, in VNI 7, with guests on the peer host and another; guest 4 in VNI 8. Both have it on.
fn lab() -> (Lab, Subnet) {
    let mut lab = Lab::new();
    let (mut subnet, mut elsewhere) = (Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 1, 1));
    let hosts = [lab.hop(PEER, PEER_MAC), lab.hop(OTHER.1, OTHER.0)];
    subnet.replication = to(100, &hosts);
    elsewhere.replication = to(100, &hosts);
    for (at, n) in [(A, 1), (B, 2), (C, 3)] {
        lab.guest(at, n, std::slice::from_ref(&subnet));
    }
    lab.guest(ELSEWHERE, 4, &[elsewhere]);
    lab.commit();
    (lab, subnet)
}

/// Guest `n` to all, or to a group.
fn flood(subnet: &Subnet, n: u8, dst: [u8; 6]) -> Vec<u8> {
    let to = if dst == ALL {
        subnet.ip(255)
    } else {
        [224, 0, 0, 18].into()
    };
    udp(guest_mac(subnet.vni, n), dst, subnet.ip(n), to)
}

fn arp(operation: ArpOperation, n: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mac = guest_mac(7, n);
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &mac,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    );
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(mac, ALL);
    builder.arp(packet.unwrap()).write(&mut bytes).unwrap();
    bytes
}

/// ICMPv6 of guest 1 to all nodes, or to the group of some; its checksum is of no interest here.
fn icmpv6(kind: u8, dst: [u8; 6]) -> Vec<u8> {
    let from = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1];
    let to = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 9];
    let builder = PacketBuilder::ethernet2(guest_mac(7, 1), dst).ipv6(from, to, 255);
    let mut target = [0; 16];
    (target[0], target[1], target[15]) = (0x20, 1, 9);
    let kind = etherparse::Icmpv6Type::Unknown {
        type_u8: kind,
        code_u8: 0,
        bytes5to8: [0; 4],
    };
    let mut bytes = Vec::new();
    builder.icmpv6(kind).write(&mut bytes, &target).unwrap();
    bytes
}

/// What leaves for the two hosts.
fn to_hosts(sport: u16, inner: &[u8]) -> [Vec<u8>; 2] {
    let to = |host| vxlan((UPLINK_MAC, VTEP), host, sport, 7, 0, inner);
    [to((PEER_MAC, PEER)), to(OTHER)]
}

/// Guest 1 sends it, and all get it, byte by byte.
#[track_caller]
fn expect_copies(lab: &mut Lab, frame: &[u8]) {
    let before = lab.totals(A);
    lab.inject(A, frame);
    let out = lab.out(UPLINK);
    assert_eq!(out.len(), 2, "{:?}", lab.totals(A));
    assert_eq!(out, to_hosts(source_port(&out[0]), frame));
    assert_eq!([lab.out(B), lab.out(C)], [[frame], [frame]]);
    lab.silent();
    let since = lab.totals(A).since(&before);
    assert_eq!((since.rx, since.answered, since.to_replicas), (1, 1, 1));
}

#[test]
fn each_other_guest_here_and_each_host_gets_one_copy() {
    let (mut lab, subnet) = lab();
    let announcement = arp(ArpOperation::REQUEST, 1, subnet.ip(1), subnet.ip(1));
    let reply = arp(ArpOperation::REPLY, 1, subnet.ip(1), subnet.ip(9));
    let mut no_ip = flood(&subnet, 1, ALL);
    no_ip[12..14].copy_from_slice(&[0x88, 0xb5]);
    let frames = [
        flood(&subnet, 1, ALL),
        flood(&subnet, 1, GROUP),
        icmpv6(136, [0x33, 0x33, 0, 0, 0, 1]),
        icmpv6(143, [0x33, 0x33, 0, 0, 0, 22]),
        announcement,
        reply,
        no_ip,
    ];
    for frame in &frames {
        expect_copies(&mut lab, frame);
    }
    let (sent, own) = (lab.totals(UPLINK).tx, lab.totals(UPLINK).own);
    assert_eq!((sent, own), (14, 14));
    assert_eq!((lab.totals(B).own, lab.totals(C).own), (7, 7));
}

#[test]
fn a_burst_keeps_its_order_and_what_is_for_all_leaves_behind_the_rest() {
    let (mut lab, subnet) = lab();
    let to_b = crate::switched(&subnet, 1, 2);
    let frames = [
        flood(&subnet, 1, ALL),
        to_b.clone(),
        flood(&subnet, 1, GROUP),
        to_b.clone(),
    ];
    frames.iter().for_each(|frame| lab.inject(A, frame));
    let expected = [&to_b, &to_b, &frames[0], &frames[2]];
    assert!(lab.out(B).iter().eq(expected));
    assert!(lab.out(C).iter().eq([&frames[0], &frames[2]]));
    assert_eq!(lab.out(UPLINK).len(), 4);
    lab.silent();
}

#[test]
fn what_is_answered_or_asked_is_not_copied() {
    let (mut lab, subnet) = lab();
    let ask = |target| arp(ArpOperation::REQUEST, 1, subnet.ip(1), target);
    lab.inject(A, &ask(subnet.ip(2)));
    assert_eq!(lab.out(A).len(), 1, "the switch answers");
    lab.inject(A, &ask(subnet.gateway()));
    assert_eq!(lab.out(A).len(), 1);
    lab.silent();
    assert_eq!(lab.totals(A).answered, 2);
    let probe = arp(
        ArpOperation::REQUEST,
        1,
        Ipv4Addr::UNSPECIFIED,
        subnet.ip(77),
    );
    for frame in [ask(subnet.ip(77)), probe] {
        lab.expect_drop(A, &frame, DropReason::NotFlooded);
    }
    let mut solicitation = icmpv6(135, [0x33, 0x33, 0xff, 0, 0, 9]);
    lab.expect_drop(A, &solicitation, DropReason::NotFlooded);
    solicitation[56] ^= 1; // its checksum
    lab.expect_drop(A, &solicitation, DropReason::BadNd);
    let discover = {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ethernet2(guest_mac(7, 1), ALL).ipv4([0; 4], [255; 4], 64);
        builder.udp(68, 67).write(&mut bytes, &[0; 300]).unwrap();
        bytes
    };
    lab.expect_drop(A, &discover, DropReason::NoLease);
    assert_eq!(lab.totals(A).to_replicas, 0);
}

#[test]
fn what_is_for_bridges_goes_no_further() {
    let (mut lab, subnet) = lab();
    let to = |last| [0x01, 0x80, 0xc2, 0, 0, last];
    for last in [0, 0x0f] {
        let [here, there] = [1, 9].map(|n| flood(&subnet, n, to(last)));
        lab.expect_drop(A, &here, DropReason::NotFlooded);
        lab.expect_drop(UPLINK, &from_peer(7, 0, &there), DropReason::NotFlooded);
    }
    let frame = flood(&subnet, 1, to(0x10));
    lab.inject(A, &frame);
    assert_eq!(lab.out(B), [frame], "a group like any other");
}

#[test]
fn a_subnet_that_has_it_off_floods_nothing_and_gets_nothing_of_others_in_its_vni() {
    let mut lab = Lab::new();
    let (mut on, off) = (Subnet::new(7, 1, 1, 0), Subnet::new(7, 1, 1, 1));
    let hosts = [lab.hop(PEER, PEER_MAC)];
    on.replication = to(100, &hosts);
    lab.guest(A, 1, std::slice::from_ref(&on));
    lab.guest(B, 2, std::slice::from_ref(&off));
    lab.guest(C, 3, &[off.clone(), on.clone()]);
    lab.commit();
    lab.expect_drop(B, &flood(&off, 2, ALL), DropReason::NotFlooded);
    let frame = flood(&on, 1, ALL);
    lab.inject(A, &frame);
    assert_eq!((lab.out(UPLINK).len(), lab.out(C)), (1, vec![frame]));
    lab.silent();
    // Guest 3 speaks in either, as its source address says.
    lab.expect_drop(C, &flood(&off, 3, ALL), DropReason::NotFlooded);
    let frame = flood(&on, 3, ALL);
    lab.inject(C, &frame);
    assert_eq!((lab.out(UPLINK).len(), lab.out(A)), (1, vec![frame]));
    lab.silent();
}

#[test]
fn what_another_host_sends_goes_to_guests_and_never_back_to_hosts() {
    let (mut lab, subnet) = lab();
    for dst in [ALL, GROUP] {
        let frame = flood(&subnet, 9, dst);
        lab.inject(UPLINK, &from_peer(7, 0, &frame));
        for at in [A, B, C] {
            assert_eq!(lab.out(at), std::slice::from_ref(&frame));
        }
        lab.silent();
    }
    let totals = lab.totals(UPLINK);
    assert_eq!((totals.answered, totals.to_replicas, totals.tx), (2, 2, 0));
    let ask = arp(ArpOperation::REQUEST, 9, subnet.ip(9), subnet.ip(1));
    lab.inject(UPLINK, &from_peer(7, 0, &ask));
    assert_eq!(lab.out(B), [ask], "whoever asked there is to know");
}

#[test]
fn what_another_host_sends_is_looked_at_as_any_of_its_frames() {
    let (mut lab, subnet) = lab();
    let frame = flood(&subnet, 9, ALL);
    lab.expect_drop(UPLINK, &from_peer(9, 0, &frame), DropReason::UnknownVni);
    lab.expect_drop(UPLINK, &from_peer(7, 3, &frame), DropReason::EcnIllegal);
    let short = &frame[..30];
    lab.expect_drop(UPLINK, &from_peer(7, 0, short), DropReason::Truncated);
    let mut from_all = frame.clone();
    from_all[6..12].copy_from_slice(&ALL);
    lab.expect_drop(
        UPLINK,
        &from_peer(7, 0, &from_all),
        DropReason::BadSourceMac,
    );
    // Congestion is told to each (RFC 6040).
    let mut capable = udp_with(guest_mac(7, 9), ALL, subnet.ip(9), subnet.ip(255), 64, 2);
    lab.inject(UPLINK, &from_peer(7, 3, &capable));
    let out = [A, B, C].map(|at| lab.out(at));
    capable[15] = 3;
    let ip = etherparse::Ipv4Header::from_slice(&capable[14..])
        .unwrap()
        .0;
    capable[24..26].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
    assert_eq!(out, [[&capable[..]]; 3]);
    lab.silent();
}

#[test]
fn what_another_host_sends_into_a_subnet_that_has_it_off_is_dropped() {
    let (mut lab, subnet) = crate::one_subnet();
    let frame = flood(&subnet, 9, ALL);
    lab.expect_drop(UPLINK, &from_peer(7, 0, &frame), DropReason::NotFlooded);
}

#[test]
fn nobody_to_get_it_is_a_drop() {
    let mut lab = Lab::new();
    let mut subnet = Subnet::new(7, 1, 1, 0);
    subnet.replication = to(100, &[]);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    let down = TenantPort {
        admin_up: false,
        attachments: [subnet.attachment()].into_iter().collect(),
        ..TenantPort::default()
    };
    lab.writer.set_role(B, Role::Tenant(Arc::new(down)));
    lab.commit();
    lab.expect_drop(A, &flood(&subnet, 1, ALL), DropReason::NoReceivers);
    lab.expect_drop(B, &flood(&subnet, 2, ALL), DropReason::PortDown);
    lab.writer.set_role(A, Role::Unbound);
    lab.commit();
    let frame = from_peer(7, 0, &flood(&subnet, 9, ALL));
    lab.expect_drop(UPLINK, &frame, DropReason::NoReceivers);
}

#[test]
fn a_guest_that_is_held_to_its_addresses_floods_from_no_others() {
    let (mut lab, subnet) = lab();
    let own = AddressPair {
        mac: Mac::new(guest_mac(7, 1)),
        prefix: std::net::IpAddr::from(subnet.ip(1)).into(),
    };
    let guarded = TenantPort {
        mac: own.mac,
        admin_up: true,
        guard: Some(Guard::new(&[own])),
        attachments: [subnet.attachment()].into_iter().collect(),
        ..TenantPort::default()
    };
    lab.writer.set_role(A, Role::Tenant(Arc::new(guarded)));
    lab.commit();
    expect_copies(&mut lab, &flood(&subnet, 1, ALL));
    lab.expect_drop(A, &flood(&subnet, 2, ALL), DropReason::SpoofedMac);
    let mut other = flood(&subnet, 1, ALL);
    other[26..30].copy_from_slice(&subnet.ip(2).octets());
    other[24..26].copy_from_slice(&[0, 0]);
    lab.expect_drop(A, &other, DropReason::SpoofedIp);
    let forged = arp(ArpOperation::REPLY, 1, subnet.ip(2), subnet.ip(3));
    lab.expect_drop(A, &forged, DropReason::SpoofedArp);
}
