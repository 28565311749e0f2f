// SPDX-License-Identifier: MIT
//! Subports: VLANs of a guest's port that are ports of their own. Tags are put on and looked for by hand.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use vswitch::counters::{DropReason, WorkerCounters, total};
use vswitch::io::Frame;
use vswitch::io::memory::{MemoryFrame, MemoryRx, MemoryTx};
use vswitch::stage::transmit::{HANDOFF_CAPACITY, Handoff, Link};
use vswitch::stage::trunk::Subport;
use vswitch::tables::{AddressPair, Guard, PortId, Role, TenantPort};
use vswitch::wire::Mac;
use vswitch::worker::Worker;

use crate::lab::*;
use crate::tunnel::tagged;
use crate::{A, B, switched};

/// VLAN 101 of A, in the red subnet.
const RED: PortId = port(4);
/// VLAN 4094 of A, in the red subnet too.
const ALSO_RED: PortId = port(6);
/// VLAN 303 of A, in its own, blue subnet.
const BLUE: PortId = port(7);
const SUBPORTS: [(PortId, u16); 3] = [(RED, 101), (ALSO_RED, 4094), (BLUE, 303)];

fn add_subports(worker: &mut Worker<MemoryRx, MemoryTx>) {
    for (at, vlan) in SUBPORTS {
        worker.remove_port(at);
        worker.add_subport(at, Subport { parent: A, vlan });
    }
}

/// Blue: guest 1 at A, guest 2 at B, guest 3 at a subport, guest 9 on the peer host. Red, another VPC: guests 1 and 4 at
/// subports, guest 5 at a port of its own, guest 9 on the peer host.
fn lab() -> (Lab, Subnet, Subnet) {
    let mut lab = Lab::new();
    let (mut blue, mut red) = (Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 2, 0));
    router(&mut [&mut blue], &[]);
    router(&mut [&mut red], &[]);
    for (at, n, subnet) in [
        (A, 1, &blue),
        (B, 2, &blue),
        (BLUE, 3, &blue),
        (RED, 1, &red),
        (ALSO_RED, 4, &red),
        (port(5), 5, &red),
    ] {
        lab.guest(at, n, std::slice::from_ref(subnet));
    }
    lab.remote(9, &blue);
    lab.remote(9, &red);
    lab.commit();
    add_subports(&mut lab.worker);
    (lab, blue, red)
}

/// In this VLAN, with priority 0.
fn vlan(number: u16, frame: &[u8]) -> Vec<u8> {
    tagged(0x8100, number, frame)
}

#[test]
fn a_vlan_of_a_port_is_a_port_in_another_network() {
    let (mut lab, blue, red) = lab();
    // To another host and back; the untagged network of the same guest beside it.
    for (at, subnet, vni, tag) in [(A, &blue, 7, None), (RED, &red, 8, Some(101))] {
        let on_wire = |frame: &[u8]| tag.map_or(frame.to_vec(), |tag| vlan(tag, frame));
        let (out, back) = (switched(subnet, 1, 9), switched(subnet, 9, 1));
        lab.inject(A, &on_wire(&out));
        let sent = lab.out(UPLINK);
        assert_eq!(sent, [to_peer(source_port(&sent[0]), vni, 0, &out)]);
        lab.expect(UPLINK, &from_peer(vni, 0, &back), A, &on_wire(&back));
        let totals = lab.totals(at);
        let bytes = on_wire(&out).len() as u64;
        assert_eq!(
            (totals.rx, totals.rx_bytes, totals.forwarded),
            (1, bytes, 1)
        );
        assert_eq!((totals.tx, totals.tx_bytes), (1, bytes));
    }
    // On this host.
    let (out, back) = (switched(&red, 1, 5), switched(&red, 5, 1));
    lab.expect(A, &vlan(101, &out), port(5), &out);
    lab.expect(port(5), &back, A, &vlan(101, &back));
    // The same MACs and addresses, and never in the other network.
    lab.expect_drop(A, &switched(&red, 1, 5), DropReason::UnknownMac);
    assert_eq!(lab.totals(RED).dropped(), 0);
    lab.inject(A, &vlan(101, &switched(&blue, 1, 2)));
    lab.silent();
    assert_eq!(lab.totals(RED).drops_for(DropReason::UnknownMac), 1);
}

#[test]
fn vlans_of_one_port_reach_each_other_and_their_parent_by_the_switch() {
    let (mut lab, blue, red) = lab();
    let pairs = [
        (switched(&red, 1, 4), 101, 4094),
        (switched(&red, 4, 1), 4094, 101),
    ];
    for (frame, from, to) in pairs {
        lab.expect(A, &vlan(from, &frame), A, &vlan(to, &frame));
    }
    let (out, back) = (switched(&blue, 1, 3), switched(&blue, 3, 1));
    lab.expect(A, &out, A, &vlan(303, &out));
    lab.expect(A, &vlan(303, &back), A, &back);
    let own = switched(&red, 1, 1);
    lab.inject(A, &vlan(101, &own));
    lab.silent();
    assert_eq!(lab.totals(RED).drops_for(DropReason::SamePort), 1);
}

#[test]
fn a_tags_priority_is_not_looked_at_and_leaves_as_zero() {
    let (mut lab, _, red) = lab();
    let frame = switched(&red, 1, 4);
    for bits in [0x1000, 0xe000, 0xf000] {
        lab.expect(A, &vlan(bits | 101, &frame), A, &vlan(4094, &frame));
    }
}

#[test]
fn other_tags_are_the_parents_as_without_subports() {
    let (mut lab, blue, _) = lab();
    let frame = switched(&blue, 1, 2);
    let others = [
        vlan(102, &frame),
        vlan(0, &frame),
        vlan(0xe000, &frame),
        tagged(0x88a8, 101, &frame),
        tagged(0x88a8, 7, &vlan(101, &frame)),
    ];
    for frame in &others {
        lab.expect_drop(A, frame, DropReason::VlanTagged);
    }
    lab.takes_tags = true;
    lab.guest(A, 1, std::slice::from_ref(&blue));
    lab.guest(B, 2, std::slice::from_ref(&blue));
    lab.commit();
    for frame in &others {
        lab.expect(A, frame, B, frame);
    }
    // Nobody gets into a subport's network by the parent's.
    let back = switched(&blue, 2, 1);
    lab.expect(B, &vlan(102, &back), A, &vlan(102, &back));
    lab.expect(B, &vlan(0, &back), A, &vlan(0, &back));
    lab.expect_drop(B, &vlan(0x2065, &back), DropReason::VlanTagged);
    let hidden = vlan(101, &back);
    let twice = tagged(0x88a8, 0, &vlan(0xe000, &hidden));
    for hidden in [vlan(0, &hidden), tagged(0x88a8, 0, &hidden), twice] {
        lab.expect_drop(B, &hidden, DropReason::VlanTagged);
    }
    let nothing_in_it = vlan(0, &tagged(0x88a8, 101, &back));
    lab.expect(B, &nothing_in_it, A, &nothing_in_it);
    let remote = vlan(101, &switched(&blue, 9, 1));
    lab.expect_drop(UPLINK, &from_peer(7, 0, &remote), DropReason::VlanTagged);
}

#[test]
fn behind_its_tag_a_subport_has_its_own_rule_for_tags() {
    let (mut lab, _, red) = lab();
    let frame = vlan(55, &switched(&red, 1, 5));
    lab.inject(A, &vlan(101, &frame));
    lab.silent();
    assert_eq!(lab.totals(RED).drops_for(DropReason::VlanTagged), 1);
    lab.takes_tags = true;
    for (at, n) in [(RED, 1), (port(5), 5)] {
        lab.guest(at, n, std::slice::from_ref(&red));
    }
    lab.commit();
    lab.expect(A, &vlan(101, &frame), port(5), &frame);
    let back = vlan(101, &switched(&red, 5, 1));
    lab.expect(port(5), &back, A, &vlan(101, &back));
}

#[test]
fn anti_spoofing_is_a_subports_own() {
    let (mut lab, blue, red) = lab();
    let mac = Mac::new(guest_mac(8, 1));
    let pair = AddressPair {
        mac,
        prefix: std::net::IpAddr::from(red.ip(1)).into(),
    };
    let guarded = TenantPort {
        mac,
        admin_up: true,
        guard: Some(Guard::new(&[pair])),
        attachments: [red.attachment()].into_iter().collect(),
        ..TenantPort::default()
    };
    lab.writer.set_role(RED, Role::Tenant(Arc::new(guarded)));
    lab.commit();
    let honest = switched(&red, 1, 5);
    lab.expect(A, &vlan(101, &honest), port(5), &honest);
    let lies = [
        udp(guest_mac(8, 2), guest_mac(8, 5), red.ip(1), red.ip(5)),
        udp(guest_mac(8, 1), guest_mac(8, 5), red.ip(2), red.ip(5)),
    ];
    lies.iter().for_each(|lie| lab.inject(A, &vlan(101, lie)));
    lab.silent();
    let totals = lab.totals(RED);
    assert_eq!(totals.drops_for(DropReason::SpoofedMac), 1);
    assert_eq!(totals.drops_for(DropReason::SpoofedIp), 1);
    // The parent has none.
    let other = udp(guest_mac(7, 77), guest_mac(7, 2), blue.ip(77), blue.ip(2));
    lab.expect(A, &other, B, &other);
}

/// ARP, by etherparse.
fn arp(
    operation: ArpOperation,
    macs: [[u8; 6]; 2],
    sender: ([u8; 6], std::net::Ipv4Addr),
    target: ([u8; 6], std::net::Ipv4Addr),
) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &sender.0,
        &sender.1.octets(),
        &target.0,
        &target.1.octets(),
    );
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(macs[0], macs[1]).arp(packet.unwrap());
    builder.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_first_hops_answers_leave_tagged() {
    let (mut lab, _, red) = lab();
    let (guest, gateway) = (guest_mac(8, 1), gateway_mac(8, 0));
    let (own, router) = ((guest, red.ip(1)), (gateway, red.gateway()));
    let asks = arp(
        ArpOperation::REQUEST,
        [guest, [0xff; 6]],
        own,
        ([0; 6], red.gateway()),
    );
    let told = arp(ArpOperation::REPLY, [gateway, guest], router, own);
    lab.expect(A, &vlan(101, &asks), A, &vlan(101, &told));
    assert_eq!((lab.totals(RED).answered, lab.totals(RED).own), (1, 1));
    // Its packet's time to live ends: it is told, tagged.
    let ends = udp_with(guest, gateway, red.ip(1), red.ip(9), 1, 0);
    lab.inject(A, &vlan(101, &ends));
    let [told] = lab.out(A).try_into().unwrap();
    assert_eq!(told[..12], [guest, gateway].concat());
    assert_eq!(told[12..18], [0x81, 0, 0, 101, 8, 0]);
    assert_eq!((told[27], told[38]), (1, 11)); // ICMP, time exceeded
    assert_eq!(lab.totals(RED).drops_for(DropReason::TtlExpired), 1);
    lab.silent();
}

#[test]
fn frames_of_a_burst_keep_their_order_and_count_for_their_ports() {
    let (mut lab, blue, red) = lab();
    let numbered = |mut frame: Vec<u8>, i: u16| {
        frame[18..20].copy_from_slice(&i.to_be_bytes());
        frame
    };
    for i in 0..90 {
        lab.inject(
            A,
            &match i % 3 {
                0 => numbered(switched(&blue, 1, 2), i),
                1 => vlan(101, &numbered(switched(&red, 1, 5), i)),
                _ => vlan(4094, &numbered(switched(&red, 4, 5), i)),
            },
        );
    }
    let ids = |frames: Vec<Vec<u8>>| -> Vec<u16> {
        let id = |frame: &Vec<u8>| u16::from_be_bytes([frame[18], frame[19]]);
        frames.iter().map(id).collect()
    };
    assert_eq!(ids(lab.out(B)), (0..90).step_by(3).collect::<Vec<_>>());
    let red_ids = ids(lab.out(port(5)));
    for first in [1, 2] {
        let of_one: Vec<_> = (red_ids.iter().copied())
            .filter(|id| id % 3 == first)
            .collect();
        assert_eq!(of_one, (first..90).step_by(3).collect::<Vec<_>>());
    }
    let len = switched(&blue, 1, 2).len() as u64;
    for (at, bytes) in [(A, len), (RED, len + 4), (ALSO_RED, len + 4)] {
        let totals = lab.totals(at);
        assert_eq!((totals.rx, totals.rx_bytes), (30, 30 * bytes), "{at:?}");
        assert_eq!(totals.forwarded, 30);
    }
    lab.balanced();
}

#[test]
fn a_subport_that_is_not_bound_or_not_there_takes_and_gets_nothing() {
    let (mut lab, _, red) = lab();
    let (out, back) = (switched(&red, 1, 5), switched(&red, 5, 1));
    lab.worker.remove_port(RED);
    lab.expect_drop(A, &vlan(101, &out), DropReason::VlanTagged);
    lab.expect_drop(port(5), &back, DropReason::TxFull);
    add_subports(&mut lab.worker);
    lab.expect(port(5), &back, A, &vlan(101, &back));
    lab.worker.remove_port(A);
    lab.expect_drop(port(5), &back, DropReason::TxFull);
    lab.writer.set_role(RED, Role::Unbound);
    lab.commit();
    lab.expect_drop(port(5), &back, DropReason::PortUnbound);
    let queue = MemoryRx(Arc::clone(&lab.rx[A.index()]));
    lab.worker.add_port(A, vec![queue], None);
    lab.inject(A, &vlan(101, &out));
    lab.silent();
    assert_eq!(lab.totals(RED).drops_for(DropReason::PortUnbound), 1);
}

#[test]
fn a_subports_mtu_does_not_count_its_tag() {
    let (mut lab, _, red) = lab();
    lab.worker.limits_mut().set_mtu(RED, 200);
    lab.worker.limits_mut().fragment = true;
    let sized = |len: usize| {
        let mut frame = switched(&red, 5, 1);
        frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        frame.resize(14 + len, 7);
        frame
    };
    lab.expect(port(5), &sized(200), A, &vlan(101, &sized(200)));
    lab.expect_drop(port(5), &sized(201), DropReason::TooBig);
    // What may be cut leaves in fragments, each with the tag.
    let builder = PacketBuilder::ethernet2(guest_mac(8, 5), guest_mac(8, 1))
        .ipv4(red.ip(5).octets(), red.ip(1).octets(), 64)
        .udp(1, 2);
    let mut long = Vec::new();
    builder.write(&mut long, &[7; 300]).unwrap();
    long[20..22].copy_from_slice(&[0, 0]); // may be fragmented
    long[24..26].copy_from_slice(&[0, 0]);
    let sum = etherparse::Ipv4HeaderSlice::from_slice(&long[14..34]).unwrap();
    let sum = sum.to_header().calc_header_checksum();
    long[24..26].copy_from_slice(&sum.to_be_bytes());
    lab.inject(port(5), &long);
    let fragments = lab.out(A);
    assert_eq!(fragments.len(), 2);
    for fragment in &fragments {
        assert_eq!(fragment[12..18], [0x81, 0, 0, 101, 8, 0]);
        assert!(fragment.len() <= 18 + 200);
    }
    lab.balanced();
}

#[test]
fn a_buffer_without_room_for_a_subports_tag_is_dropped_and_the_others_leave() {
    let (mut lab, _, red) = lab();
    let mut bytes = switched(&red, 5, 1);
    bytes.resize(200, 0);
    // A fresh frame has 128 bytes of headroom, the tag takes 4.
    for used in [0, 124, 125] {
        let mut frame = MemoryFrame::new(&bytes[used..]);
        for byte in bytes[..used].iter().rev() {
            *frame.prepend().unwrap() = [*byte];
        }
        lab.rx[5].push(frame).unwrap();
    }
    assert_eq!(lab.out(A).len(), 2);
    assert_eq!(lab.totals(port(5)).drops_for(DropReason::NoHeadroom), 1);
    lab.balanced();
}

#[test]
fn a_worker_without_the_parents_tx_queue_hands_tagged_frames_over() {
    let (lab, blue, red) = lab();
    let handoff: Handoff<MemoryFrame> = Arc::new(ArrayQueue::new(HANDOFF_CAPACITY));
    let counters = [(); 2].map(|()| Arc::new(WorkerCounters::default()));
    let [mut first, mut second] = [0, 1].map(|n| {
        let reader = lab.registrar.reader("pair").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(&counters[n]), 32);
        for i in 0..PORTS {
            // The first polls A and has its only tx queue, the second polls the others.
            let tx = MemoryTx(Arc::clone(&lab.tx[usize::from(i)]));
            let link = match (port(i) == A, n) {
                (true, 0) => Link::Shared(tx, Arc::clone(&handoff)),
                (true, _) => Link::Borrowed(Arc::clone(&handoff)),
                _ => Link::Own(tx),
            };
            let polls = (port(i) == A) == (n == 0);
            let queue = polls.then(|| MemoryRx(Arc::clone(&lab.rx[usize::from(i)])));
            worker.add_port(port(i), queue.into_iter().collect(), Some(link));
        }
        add_subports(&mut worker);
        worker
    });
    // Of two networks, from three ports, in turn; one port's go to two subports.
    let (to_red, to_also) = (switched(&red, 5, 1), switched(&red, 5, 4));
    let (to_blue, remote) = (switched(&blue, 2, 1), switched(&red, 9, 4));
    for _ in 0..3 {
        lab.inject(port(5), &to_red);
        lab.inject(port(5), &to_also);
        lab.inject(B, &to_blue);
        lab.inject(UPLINK, &from_peer(8, 0, &remote));
        second.poll();
    }
    assert_eq!((handoff.len(), lab.tx[A.index()].len()), (12, 0));
    first.poll();
    let mut sent: Vec<_> = std::iter::from_fn(|| lab.tx[A.index()].pop())
        .map(|frame| frame.to_vec())
        .collect();
    sent.sort();
    let kinds = [
        vlan(101, &to_red),
        vlan(4094, &to_also),
        vlan(4094, &remote),
        to_blue,
    ];
    let mut expected = kinds.map(|frame| vec![frame; 3]).concat();
    expected.sort();
    assert_eq!(sent, expected);
    let totals = |at| total(&counters, at);
    let len = to_red.len() as u64;
    for (at, count, bytes) in [(A, 3, len), (RED, 3, len + 4), (ALSO_RED, 6, len + 4)] {
        let tx = (totals(at).tx, totals(at).tx_bytes);
        assert_eq!(tx, (count, count * bytes), "{at:?}");
    }
    let all: Vec<_> = (0..PORTS).map(|i| totals(port(i))).collect();
    assert!(all.iter().all(|at| at.is_balanced()));
    let sum = |what: fn(&vswitch::counters::PortTotals) -> u64| all.iter().map(what).sum::<u64>();
    assert_eq!(sum(|at| at.tx), sum(|at| at.forwarded + at.own));
    // A full queue is the subport's sender's loss.
    for _ in 0..HANDOFF_CAPACITY + 1 {
        lab.inject(port(5), &to_red);
        second.poll();
    }
    assert_eq!(totals(port(5)).drops_for(DropReason::TxFull), 1);
}
