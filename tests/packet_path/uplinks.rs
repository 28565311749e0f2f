// SPDX-License-Identifier: MIT
//! Two uplinks with a VTEP each: flows are spread over those that are live, and what arrives by either is ours.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use vswitch::counters::DropReason;
use vswitch::stage::link::{Heard, Hearing, Weight};
use vswitch::tables::{
    Endpoints, Hop, NextHop, PortId, Replication, Role, Tunnel, Underlay, Uplink, Ways,
};
use vswitch::wire::Mac;

use crate::lab::*;
use crate::{A, one_subnet_of, switched};

const SECOND: PortId = port(6);
const SECOND_MAC: [u8; 6] = [0x02, 0xaa, 0, 0, 1, 1];
const SECOND_VTEP: [u8; 4] = [198, 51, 100, 1];
const SECOND_VTEP6: [u8; 16] = underlay6(0x51);
/// The way to the peer by the second uplink.
const ROUTER_MAC: [u8; 6] = [0x02, 0xaa, 0, 0, 1, 0xfe];

fn underlay(host_port: Option<PortId>, tunnel: Tunnel) -> Underlay {
    Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: Some(Uplink {
            port: SECOND,
            vtep: Some(SECOND_VTEP.into()),
            vtep6: Some(SECOND_VTEP6.into()),
        }),
        host_port,
        tunnel,
    }
}

/// Guest 1 at A, guest 9 on the peer, by both uplinks; guest 8 there too, by the second only; guest 7 over IPv6.
fn lab_of(tunnel: Tunnel) -> (Lab, Subnet) {
    let (mut lab, subnet) = one_subnet_of(Lab::with(Some(underlay(None, tunnel))));
    lab.writer.set_role(SECOND, Role::Uplink);
    let [first, second] = ways(lab.mtu);
    let (src, dst) = (SECOND_VTEP6.into(), PEER6.into());
    let over_ipv6 = Endpoints::V6 { src, dst };
    let six = |way| NextHop {
        endpoints: over_ipv6,
        ..way
    };
    for (n, ways) in [
        (9, [first, second]),
        (8, [second, second]),
        (7, [six(first), six(second)]),
    ] {
        reach(&mut lab, &subnet, n, ways);
    }
    (lab, subnet)
}

fn lab() -> (Lab, Subnet) {
    lab_of(Tunnel::default())
}

fn ways(mtu: u16) -> Ways {
    let way = |port, src: [u8; 4], src_mac, dst_mac| NextHop {
        port,
        endpoints: Endpoints::V4 {
            src: src.into(),
            dst: PEER.into(),
        },
        src_mac: Mac::new(src_mac),
        dst_mac: Mac::new(dst_mac),
        mtu,
    };
    [
        way(UPLINK, VTEP, UPLINK_MAC, PEER_MAC),
        way(SECOND, SECOND_VTEP, SECOND_MAC, ROUTER_MAC),
    ]
}

fn reach(lab: &mut Lab, subnet: &Subnet, n: u8, ways: Ways) {
    let hop = Hop::Remote(lab.writer.acquire_ways(ways).unwrap());
    lab.neighbor(subnet, n, Mac::new(guest_mac(7, n)), hop);
    lab.commit();
}

/// A packet of flow `flow` from guest 1.
fn of_flow(flow: u16, mut frame: Vec<u8>) -> Vec<u8> {
    frame[34..36].copy_from_slice(&flow.to_be_bytes());
    frame
}

/// Which uplink it leaves by, asserted to be as it should there.
fn sent(lab: &mut Lab, frame: &[u8], inner: &[u8]) -> PortId {
    lab.inject(A, frame);
    let (first, second) = (lab.out(UPLINK), lab.out(SECOND));
    lab.balanced();
    match (&first[..], &second[..]) {
        ([out], []) => {
            assert_eq!(*out, to_peer(source_port(out), 7, 0, inner));
            UPLINK
        }
        ([], [out]) => {
            let (src, dst) = ((SECOND_MAC, SECOND_VTEP), (ROUTER_MAC, PEER));
            assert_eq!(*out, vxlan(src, dst, source_port(out), 7, 0, inner));
            SECOND
        }
        other => panic!("{other:x?}"),
    }
}

fn set_live(lab: &Lab, live: &[PortId]) {
    lab.writer.live().set(live);
}

#[test]
fn flows_are_spread_over_both_and_each_stays_on_one() {
    let (mut lab, subnet) = lab();
    let mut by_first = 0;
    for flow in 0..400 {
        let frame = of_flow(flow, switched(&subnet, 1, 9));
        let uplink = sent(&mut lab, &frame, &frame);
        assert_eq!(sent(&mut lab, &frame, &frame), uplink);
        by_first += u32::from(uplink == UPLINK);
    }
    assert!((140..260).contains(&by_first), "{by_first} of 400");
}

#[test]
fn what_is_routed_is_spread_too() {
    let (mut lab, mut subnet) = lab();
    router(&mut [&mut subnet], &[]);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.commit();
    let mut used = [false; 2];
    for flow in 0..64 {
        let (guest, gateway) = (guest_mac(7, 1), gateway_mac(7, 0));
        let frame = |src, dst, ttl| {
            let frame = udp_with(src, dst, subnet.ip(1), subnet.ip(9), ttl, 0);
            of_flow(flow, frame)
        };
        let expected = frame(DVR, guest_mac(7, 9), 63);
        let uplink = sent(&mut lab, &frame(guest, gateway, 64), &expected);
        used[usize::from(uplink == SECOND)] = true;
    }
    assert_eq!(used, [true; 2]);
}

#[test]
fn a_burst_of_many_flows_leaves_by_both_in_order() {
    let (mut lab, subnet) = lab();
    let frames: Vec<_> = (0..32)
        .map(|flow| of_flow(flow, switched(&subnet, 1, 9)))
        .collect();
    frames.iter().for_each(|frame| lab.inject(A, frame));
    let inner = |out: Vec<Vec<u8>>| out.into_iter().map(|frame| frame[50..].to_vec());
    let (first, second): (Vec<_>, Vec<_>) = (
        inner(lab.out(UPLINK)).collect(),
        inner(lab.out(SECOND)).collect(),
    );
    lab.balanced();
    assert!(first.len() > 4 && second.len() > 4);
    let (mut first, mut second) = (first.iter().peekable(), second.iter().peekable());
    for frame in &frames {
        let next = first.next_if(|it| *it == frame);
        assert!(next.or_else(|| second.next_if(|it| *it == frame)).is_some());
    }
}

#[test]
fn a_lost_link_moves_all_flows_without_a_commit_or_a_worker_that_stands_still() {
    let (mut lab, subnet) = lab();
    let mut stuck = lab.registrar.reader("stuck").unwrap();
    let _held = stuck.pin();
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    let commit = lab.writer.commit();
    let uplinks = |lab: &mut Lab| -> Vec<PortId> {
        let flows = (0..64).map(|flow| of_flow(flow, switched(&subnet, 1, 9)));
        flows.map(|frame| sent(lab, &frame, &frame)).collect()
    };
    let before = uplinks(&mut lab);
    for uplink in [SECOND, UPLINK] {
        set_live(&lab, &[uplink, A]);
        assert_eq!(uplinks(&mut lab), [uplink; 64]);
    }
    assert!(!lab.writer.settled(&commit), "it still stands");
    // Without any it is as with all.
    for live in [&[SECOND, UPLINK][..], &[], &[A]] {
        set_live(&lab, live);
        assert_eq!(uplinks(&mut lab), before);
        set_live(&lab, &[SECOND]);
    }
}

#[test]
fn who_is_live_survives_growing_tables() {
    let (mut lab, subnet) = lab();
    set_live(&lab, &[SECOND]);
    for n in 10..250 {
        reach(&mut lab, &subnet, n, ways(u16::MAX));
    }
    for flow in 0..16 {
        let frame = of_flow(flow, switched(&subnet, 1, 9));
        assert_eq!(sent(&mut lab, &frame, &frame), SECOND);
    }
    set_live(&lab, &[UPLINK]);
    let frame = switched(&subnet, 1, 200);
    assert_eq!(sent(&mut lab, &frame, &frame), UPLINK);
}

#[test]
fn who_is_reached_by_one_uplink_only_is_by_all_flows() {
    let (mut lab, subnet) = lab();
    for live in [&[][..], &[UPLINK], &[SECOND]] {
        set_live(&lab, live);
        for flow in 0..32 {
            let frame = of_flow(flow, switched(&subnet, 1, 8));
            assert_eq!(sent(&mut lab, &frame, &frame), SECOND);
        }
    }
}

#[test]
fn over_ipv6_flows_are_spread_too() {
    let (mut lab, subnet) = lab();
    let mut used = [0; 2];
    for flow in 0..64 {
        lab.inject(A, &of_flow(flow, switched(&subnet, 1, 7)));
        for (uplink, used) in [UPLINK, SECOND].into_iter().zip(&mut used) {
            for out in lab.out(uplink) {
                assert_eq!(
                    (&out[12..14], &out[38..54]),
                    (&[0x86, 0xdd][..], &PEER6[..])
                );
                let macs = match uplink {
                    UPLINK => [PEER_MAC, UPLINK_MAC],
                    _ => [ROUTER_MAC, SECOND_MAC],
                };
                assert_eq!(out[..12], macs.concat());
                *used += 1;
            }
        }
        lab.balanced();
    }
    assert!(used.iter().all(|used| *used > 10) && used[0] + used[1] == 64);
}

#[test]
fn all_fragments_of_a_packet_take_the_way_of_its_flow() {
    let (mut lab, subnet) = lab();
    lab.worker.limits_mut().fragment = true;
    reach(&mut lab, &subnet, 6, ways(600));
    let mut used = [false; 2];
    for id in 0..32 {
        let src = (guest_mac(7, 1), subnet.ip(1));
        let builder = etherparse::PacketBuilder::ethernet2(src.0, guest_mac(7, 6));
        let builder = builder.ipv4(src.1.octets(), subnet.ip(6).octets(), 64);
        let mut frame = Vec::new();
        let builder = builder.udp(id, 5678);
        builder.write(&mut frame, &[7; 1000]).unwrap();
        frame[20] = 0; // may be fragmented
        frame[24..26].fill(0);
        let checksum = !vswitch::wire::ipv4::sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        lab.inject(A, &frame);
        let (first, second) = (lab.out(UPLINK), lab.out(SECOND));
        assert!(matches!((first.len(), second.len()), (2, 0) | (0, 2)));
        for out in &second {
            assert_eq!(out[26..30], SECOND_VTEP);
        }
        used[usize::from(first.is_empty())] = true;
        lab.balanced();
    }
    assert_eq!(used, [true; 2]);
}

#[test]
fn what_is_for_either_vtep_is_ours_on_either_uplink() {
    let (mut lab, subnet) = lab();
    let back = switched(&subnet, 9, 1);
    for uplink in [UPLINK, SECOND] {
        for vtep in [VTEP, SECOND_VTEP] {
            let (src, dst) = ((PEER_MAC, PEER), (UPLINK_MAC, vtep));
            let mut frame = vxlan(src, dst, 50_000, 7, 0, &back);
            lab.expect(uplink, &frame, A, &back);
            frame[24] ^= 1;
            lab.expect_drop(uplink, &frame, DropReason::BadChecksum);
        }
        let payload = [&[8, 0, 0, 0, 0, 0, 7, 0], &back[..]].concat();
        let mut six = Vec::new();
        let builder = etherparse::PacketBuilder::ethernet2(PEER_MAC, SECOND_MAC);
        let builder = builder.ipv6(PEER6, SECOND_VTEP6, 64).udp(50_000, 4789);
        builder.write(&mut six, &payload).unwrap();
        lab.expect(uplink, &six, A, &back);
        six[53] ^= 1;
        lab.expect_drop(uplink, &six, DropReason::NotForUs);
        let (src, dst) = ((PEER_MAC, PEER), (UPLINK_MAC, [192, 0, 2, 3]));
        let stranger = vxlan(src, dst, 50_000, 7, 0, &back);
        lab.expect_drop(uplink, &stranger, DropReason::NotForUs);
    }
}

#[test]
fn both_uplinks_are_in_the_vlan() {
    let tunnel = Tunnel {
        vlan: Some(100),
        ..Tunnel::default()
    };
    let (mut lab, subnet) = lab_of(tunnel);
    for uplink in [UPLINK, SECOND] {
        set_live(&lab, &[uplink]);
        lab.inject(A, &switched(&subnet, 1, 9));
        let out = lab.out(uplink);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0][12..18], [0x81, 0, 0, 100, 8, 0]);
    }
}

#[test]
fn who_is_heard_is_told_with_the_uplink() {
    let (mut lab, _) = lab();
    let told = Hearing::new(ArrayQueue::new(2));
    lab.worker.tell(Arc::clone(&told));
    for uplink in [UPLINK, SECOND] {
        for vtep in [VTEP, SECOND_VTEP] {
            let mut frame = [[0xff; 6], PEER_MAC].concat();
            frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend([&PEER_MAC[..], &PEER, &[0; 6], &vtep].concat());
            lab.inject(uplink, &frame);
            lab.silent();
            let heard = Heard {
                uplink,
                ip: PEER.into(),
                mac: Mac::new(PEER_MAC),
                asks: Some(vtep.into()),
                weight: Weight::Overrides,
            };
            assert_eq!(told.pop(), Some(heard));
        }
    }
}

#[test]
fn each_host_gets_one_copy_by_the_uplink_of_the_flow_that_leads_there() {
    let (mut lab, mut subnet) = lab();
    let [first, second] = ways(lab.mtu);
    let hops = [[first, second], [second, second]].map(|it| lab.writer.acquire_ways(it).unwrap());
    let (rate, hosts) = (1000, hops.as_slice().into());
    subnet.replication = Some(Replication { rate, hosts });
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.commit();
    let mut by_first = 0;
    for flow in 0..100 {
        let to_all = udp(guest_mac(7, 1), [0xff; 6], subnet.ip(1), subnet.ip(255));
        lab.inject(A, &of_flow(flow, to_all));
        let (one, other) = (lab.out(UPLINK).len(), lab.out(SECOND).len());
        assert!([(0, 2), (1, 1)].contains(&(one, other)), "{one}, {other}");
        by_first += one;
        lab.silent();
    }
    assert!((30..70).contains(&by_first), "{by_first}");
    set_live(&lab, &[SECOND]);
    let to_all = udp(guest_mac(7, 1), [0xff; 6], subnet.ip(1), subnet.ip(255));
    for flow in 0..20 {
        lab.inject(A, &of_flow(flow, to_all.clone()));
        assert_eq!((lab.out(UPLINK).len(), lab.out(SECOND).len()), (0, 2));
    }
}
