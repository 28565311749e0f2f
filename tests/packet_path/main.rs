// SPDX-License-Identifier: MIT
//! The whole packet path over ports in memory: bytes in, bytes out, counters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test ends where it fails

mod capture;
mod dhcp;
mod dhcp6;
mod ecn;
mod edge;
mod fragments;
mod group;
mod guard;
mod icmp;
mod ipv6;
mod lab;
mod mss;
mod mtu;
mod on_demand;
mod over_ipv6;
mod queues;
mod replication;
mod routing;
mod tags;
mod trunk;
mod tunnel;
mod underlay;
mod unfinished;
mod uplinks;
mod vxlan;

use lab::*;
use vswitch::counters::DropReason;
use vswitch::io::Frame;
use vswitch::io::memory::MemoryFrame;
use vswitch::tables::Role;

const A: vswitch::tables::PortId = port(2);
const B: vswitch::tables::PortId = port(3);

/// One subnet, guest 1 at A; guest 9 on the peer host.
fn one_subnet() -> (Lab, Subnet) {
    one_subnet_of(Lab::new())
}

fn one_subnet_of(mut lab: Lab) -> (Lab, Subnet) {
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.remote(9, &subnet);
    lab.commit();
    (lab, subnet)
}

/// Guest `from` to guest `to` of one subnet.
fn switched(subnet: &Subnet, from: u8, to: u8) -> Vec<u8> {
    udp(
        guest_mac(subnet.vni, from),
        guest_mac(subnet.vni, to),
        subnet.ip(from),
        subnet.ip(to),
    )
}

#[test]
fn guests_of_one_host_and_subnet_reach_each_other_unchanged() {
    let (mut lab, subnet) = one_subnet();
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let frame = switched(&subnet, 1, 2);
    lab.expect(A, &frame, B, &frame);
    let own = switched(&subnet, 1, 1);
    lab.expect_drop(A, &own, DropReason::SamePort);
}

#[test]
fn a_frame_to_another_host_is_carried_in_vxlan_and_its_source_port_tells_the_flow() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 1, 9);
    lab.inject(A, &frame);
    lab.inject(A, &frame);
    let out = lab.out(UPLINK);
    let sport = source_port(&out[0]);
    assert!(sport >= 49152);
    assert_eq!(
        out,
        [to_peer(sport, 7, 0, &frame), to_peer(sport, 7, 0, &frame)]
    );
    lab.balanced();
}

#[test]
fn vpcs_with_the_same_addresses_never_leak_into_each_other() {
    let mut lab = Lab::new();
    // Same MACs and IPs everywhere: only VNI, domain and VPC differ. Guest 1 here, guest 9 on the peer.
    let tenants: Vec<_> = (0..3u16)
        .map(|i| {
            (
                Subnet::new(7, i + 1, i + 1, 0),
                0x0a_0000 + u32::from(i),
                port(2 + i),
            )
        })
        .collect();
    for (subnet, vni, at) in &tenants {
        let mut attachment = subnet.attachment();
        attachment.vni = vswitch::wire::Vni::new(*vni).unwrap();
        let hop = lab.hop(PEER, PEER_MAC);
        for (n, hop) in [(1, vswitch::tables::Hop::Local(*at)), (9, hop)] {
            let mac = vswitch::wire::Mac::new(guest_mac(7, n));
            let neighbor = vswitch::tables::Neighbor {
                mac,
                vni: attachment.vni,
                hop,
            };
            lab.writer
                .upsert_mac(attachment.domain, mac, neighbor)
                .unwrap();
            lab.writer
                .upsert_ip(attachment.vpc, subnet.ip(n).into(), neighbor)
                .unwrap();
        }
        let mac = vswitch::wire::Mac::new(guest_mac(7, 1));
        let tenant = vswitch::tables::TenantPort {
            mac,
            admin_up: true,
            takes_tags: false,
            guard: None,
            lease: None,
            lease6: None,
            attachments: [attachment].into_iter().collect(),
        };
        lab.writer.set_role(*at, Role::Tenant(tenant.into()));
    }
    lab.commit();
    for (subnet, vni, at) in &tenants {
        let out = switched(subnet, 1, 9);
        lab.inject(*at, &out);
        let sent = lab.out(UPLINK);
        assert_eq!(sent, [to_peer(source_port(&sent[0]), *vni, 0, &out)]);
        let back = switched(subnet, 9, 1);
        lab.expect(UPLINK, &from_peer(*vni, 0, &back), *at, &back);
    }
}

#[test]
fn a_stale_neighbor_is_not_relayed() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 1, 9);
    lab.expect_drop(UPLINK, &from_peer(7, 0, &frame), DropReason::NotLocal);
}

#[test]
fn ports_that_are_unbound_or_down_are_silent_in_both_directions() {
    let (mut lab, subnet) = one_subnet();
    let to_b = switched(&subnet, 1, 2);
    lab.expect_drop(B, &to_b, DropReason::PortUnbound);
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    lab.expect(A, &to_b, B, &to_b);

    let down = |n| {
        let mac = vswitch::wire::Mac::new(guest_mac(7, n));
        let attachments = [subnet.attachment()].into_iter().collect();
        Role::Tenant(
            vswitch::tables::TenantPort {
                mac,
                admin_up: false,
                takes_tags: false,
                guard: None,
                lease: None,
                lease6: None,
                attachments,
            }
            .into(),
        )
    };
    lab.writer.set_role(B, down(2));
    lab.commit();
    lab.expect_drop(A, &to_b, DropReason::PortDown);
    lab.expect_drop(B, &switched(&subnet, 2, 1), DropReason::PortDown);

    lab.writer.set_role(B, Role::Unbound);
    lab.commit();
    lab.expect_drop(A, &to_b, DropReason::PortUnbound);
}

#[test]
fn neighbors_come_go_and_come_back() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 1, 9);
    for _ in 0..3 {
        lab.inject(A, &frame);
        assert_eq!(lab.out(UPLINK).len(), 1);
        lab.writer
            .remove_mac(domain(1), vswitch::wire::Mac::new(guest_mac(7, 9)));
        lab.commit();
        lab.expect_drop(A, &frame, DropReason::UnknownMac);
        lab.remote(9, &subnet);
        lab.commit();
    }
}

#[test]
fn a_full_port_drops_what_it_cannot_take_and_counts_it() {
    let (mut lab, subnet) = one_subnet();
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let frame = switched(&subnet, 1, 2);
    for _ in 0..2 {
        for _ in 0..300 {
            lab.inject(A, &frame);
        }
        while lab.worker.poll() != 0 {}
    }
    assert_eq!(lab.tx[B.index()].len(), 512);
    assert_eq!(lab.totals(A).drops_for(DropReason::TxFull), 88);
    assert_eq!(lab.totals(B).tx, 512);
    lab.balanced();
}

#[test]
fn a_burst_for_many_ports_arrives_in_order_at_each() {
    let (mut lab, subnet) = one_subnet();
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let numbered = |to, i: u16| {
        let mut frame = switched(&subnet, 1, to);
        frame[18..20].copy_from_slice(&i.to_be_bytes());
        frame
    };
    for i in 0..100 {
        lab.inject(A, &numbered([2, 9, 77][usize::from(i % 3)], i));
    }
    let ids = |frames: Vec<Vec<u8>>, offset: usize| -> Vec<u16> {
        frames
            .iter()
            .map(|frame| u16::from_be_bytes([frame[offset], frame[offset + 1]]))
            .collect()
    };
    assert_eq!(ids(lab.out(B), 18), (0..100).step_by(3).collect::<Vec<_>>());
    assert_eq!(
        ids(lab.out(UPLINK), 68),
        (1..100).step_by(3).collect::<Vec<_>>()
    );
    assert_eq!(lab.totals(A).drops_for(DropReason::UnknownMac), 33);
    lab.balanced();
}

#[test]
fn a_frame_that_no_outer_packet_can_hold_is_too_big() {
    let (mut lab, subnet) = one_subnet();
    let mut frame = switched(&subnet, 1, 9);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]); // no IPv4 packet: nobody can be told of it
    let mut outer = |len: usize| {
        frame.resize(len, 0);
        lab.inject(A, &frame);
        lab.out(UPLINK).pop()
    };
    // 65,535 bytes of IPv4: 36 of them are the outer IPv4, UDP and VXLAN headers.
    let longest = outer(65_499).unwrap();
    assert_eq!(longest.len(), 14 + 65_535);
    assert_eq!(longest[16..18], [0xff, 0xff]);
    assert_eq!(outer(65_500), None);
    assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), 1);
    lab.balanced();
}

#[test]
fn a_buffer_without_room_for_the_outer_header_is_dropped_and_one_with_just_enough_is_not() {
    let (mut lab, subnet) = one_subnet();
    let mut bytes = switched(&subnet, 1, 9);
    bytes.resize(200, 0);
    let mut send = |front: &mut dyn FnMut(&mut MemoryFrame), back: usize| {
        let mut frame = MemoryFrame::new(&bytes[back..]);
        front(&mut frame);
        assert_eq!(frame.head(), bytes);
        lab.rx[A.index()].push(frame).unwrap();
        lab.out(UPLINK).len()
    };
    // A fresh frame has 128 bytes of headroom, the outer header takes 50.
    let mut enough =
        |frame: &mut MemoryFrame| *frame.prepend().unwrap() = *bytes.first_chunk::<78>().unwrap();
    assert_eq!(send(&mut enough, 78), 1);
    let mut too_little =
        |frame: &mut MemoryFrame| *frame.prepend().unwrap() = *bytes.first_chunk::<79>().unwrap();
    assert_eq!(send(&mut too_little, 79), 0);
    assert_eq!(lab.totals(A).drops_for(DropReason::NoHeadroom), 1);
    lab.balanced();
}
