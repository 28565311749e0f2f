// SPDX-License-Identifier: MIT
//! Frames of guests with VLAN tags (IEEE 802.1Q): dropped, or carried as they are from and to guests that take them.

use vswitch::counters::DropReason;

use crate::lab::*;
use crate::tunnel::tagged;
use crate::{A, B, switched};

/// Guest 1 at A and guest 2 at B, who take tags or not; guest 9 on the peer host.
fn lab(first: bool, second: bool) -> (Lab, Subnet) {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.takes_tags = first;
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.takes_tags = second;
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.remote(9, &subnet);
    lab.commit();
    (lab, subnet)
}

/// The frame in VLANs of all kinds: priority tags, priorities, both EtherTypes, two tags.
fn in_vlans(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = [0, 1, 5, 4094, 0xe005, 0xffff]
        .into_iter()
        .flat_map(|tag| [tagged(0x8100, tag, frame), tagged(0x88a8, tag, frame)])
        .collect();
    all.push(tagged(0x88a8, 7, &tagged(0x8100, 5, frame)));
    all
}

#[test]
fn a_tagged_frame_needs_a_sender_and_a_receiver_that_take_tags() {
    for (first, second) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut lab, subnet) = lab(first, second);
        for frame in in_vlans(&switched(&subnet, 1, 2)) {
            match first && second {
                true => lab.expect(A, &frame, B, &frame),
                false => lab.expect_drop(A, &frame, DropReason::VlanTagged),
            }
        }
        for frame in in_vlans(&switched(&subnet, 9, 1)) {
            let arrives = from_peer(7, 0, &frame);
            match first {
                true => lab.expect(UPLINK, &arrives, A, &frame),
                false => lab.expect_drop(UPLINK, &arrives, DropReason::VlanTagged),
            }
        }
        for frame in in_vlans(&switched(&subnet, 1, 9)) {
            if !first {
                lab.expect_drop(A, &frame, DropReason::VlanTagged);
                continue;
            }
            lab.inject(A, &frame);
            let out = lab.out(UPLINK);
            assert_eq!(out, [to_peer(source_port(&out[0]), 7, 0, &frame)]);
        }
        lab.balanced();
    }
}

#[test]
fn of_a_burst_what_has_no_tag_goes_on() {
    let (mut lab, subnet) = lab(true, false);
    let plain = [switched(&subnet, 1, 2), switched(&subnet, 1, 9)];
    for frame in &plain {
        lab.inject(A, &tagged(0x8100, 5, frame));
        lab.inject(A, frame);
    }
    assert_eq!(lab.out(B), [&plain[0][..]]);
    let sent: Vec<_> = lab
        .out(UPLINK)
        .iter()
        .map(|out| out[50..].to_vec())
        .collect();
    assert_eq!(sent, [tagged(0x8100, 5, &plain[1]), plain[1].clone()]);
    assert_eq!(lab.totals(A).drops_for(DropReason::VlanTagged), 1);
    lab.balanced();
}

#[test]
fn the_flow_behind_a_tag_is_found_and_its_dscp_and_ecn_stay_inside() {
    let (mut lab, subnet) = lab(true, true);
    let (src, dst) = (guest_mac(7, 1), guest_mac(7, 9));
    let mut ports = Vec::new();
    for n in 0..32 {
        let mut frame = udp_with(src, dst, subnet.ip(1), subnet.ip(9), 64, 0xb9);
        frame[35] = n; // the guest's source port
        for frame in [frame.clone(), tagged(0x8100, 5, &frame)] {
            lab.inject(A, &frame);
            let out = lab.out(UPLINK);
            let tos = if frame[12] == 8 { 0xb9 } else { 0 };
            let port = source_port(&out[0]);
            assert_eq!(out, [to_peer(port, 7, tos, &frame)]);
            ports.push(port);
        }
    }
    assert!(ports.chunks(2).all(|flow| flow[0] == flow[1]));
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() > 28, "{ports:?}");
    // The underlay's congestion finds no header to be told in.
    let frame = tagged(0x8100, 5, &switched(&subnet, 9, 1));
    for outer in 0..4 {
        lab.expect(UPLINK, &from_peer(7, outer, &frame), A, &frame);
    }
}

#[test]
fn lengths_behind_a_tag_are_checked() {
    let (mut lab, subnet) = lab(true, true);
    let whole = tagged(0x8100, 5, &switched(&subnet, 1, 2));
    for len in 0..whole.len() {
        lab.expect_drop(A, &whole[..len], DropReason::Truncated);
        let cut = tagged(0x8100, 5, &switched(&subnet, 9, 1));
        lab.expect_drop(UPLINK, &from_peer(7, 0, &cut[..len]), DropReason::Truncated);
    }
    for (offset, value) in [(18, 0x44), (18, 0x65), (21, 19)] {
        let mut bad = whole.clone();
        bad[offset] = value;
        lab.expect_drop(A, &bad, DropReason::Malformed);
    }
}

#[test]
fn an_mtu_counts_the_tag() {
    let (mut lab, subnet) = lab(true, true);
    lab.worker.limits_mut().set_mtu(B, 200);
    lab.worker.limits_mut().fragment = true;
    lab.mtu = 250;
    lab.remote(9, &subnet);
    lab.commit();
    let of = |len: usize, to| {
        let mut frame = switched(&subnet, 1, to);
        frame.resize(14 + len, 0);
        tagged(0x8100, 5, &frame)
    };
    lab.expect(A, &of(196, 2), B, &of(196, 2));
    lab.inject(A, &of(196, 9));
    assert_eq!(lab.out(UPLINK).len(), 1);
    // And nobody is told, nor is it cut.
    lab.expect_drop(A, &of(197, 2), DropReason::TooBig);
    lab.expect_drop(A, &of(197, 9), DropReason::TooBig);
    let back = of(197, 2);
    lab.expect_drop(UPLINK, &from_peer(7, 0, &back), DropReason::TooBig);
}

#[test]
fn the_switch_serves_nothing_behind_a_tag() {
    let (mut lab, subnet) = lab(true, true);
    let mut asks = [
        &[0xff; 6],
        &guest_mac(7, 1)[..],
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
    ]
    .concat();
    let (own, other) = (subnet.ip(1).octets(), subnet.ip(2).octets());
    asks.extend([&guest_mac(7, 1)[..], &own, &[0; 6], &other].concat());
    let arp = tagged(0x8100, 5, &asks);
    lab.expect_drop(A, &arp, DropReason::NotFlooded);
    let everybody = [0xff; 6];
    let nobody = std::net::Ipv4Addr::UNSPECIFIED;
    let dhcp = udp(
        guest_mac(7, 1),
        everybody,
        nobody,
        std::net::Ipv4Addr::BROADCAST,
    );
    lab.expect_drop(A, &tagged(0x8100, 5, &dhcp), DropReason::NotFlooded);
    let routed = udp(
        guest_mac(7, 1),
        gateway_mac(7, 0),
        subnet.ip(1),
        subnet.gateway(),
    );
    lab.expect_drop(A, &tagged(0x8100, 5, &routed), DropReason::NotRoutable);
    let unknown = tagged(0x8100, 5, &switched(&subnet, 1, 77));
    lab.expect_drop(A, &unknown, DropReason::UnknownMac);
}
