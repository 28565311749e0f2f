// SPDX-License-Identifier: MIT
//! What operators set of the outer header.

use crossbeam_queue::ArrayQueue;
use vswitch::counters::DropReason;
use vswitch::io::Frame;
use vswitch::io::memory::MemoryFrame;
use vswitch::stage::link::Hearing;
use vswitch::tables::{Tunnel, Underlay};

use crate::lab::*;
use crate::{A, one_subnet_of, switched};

fn lab(tunnel: Tunnel, host_port: Option<vswitch::tables::PortId>) -> (Lab, Subnet) {
    one_subnet_of(Lab::with(Some(Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: None,
        host_port,
        tunnel,
    })))
}

/// The VXLAN packet to another UDP port: its checksum is none, and stays so.
fn to_port(port: u16, mut vxlan: Vec<u8>) -> Vec<u8> {
    vxlan[36..38].copy_from_slice(&port.to_be_bytes());
    vxlan
}

#[test]
fn vxlan_goes_to_the_port_that_is_set_and_is_taken_at_it_only() {
    for port in [1, 4788, 4790, 8472, u16::MAX] {
        let tunnel = Tunnel {
            udp_port: port,
            ..Tunnel::default()
        };
        let (mut lab, subnet) = lab(tunnel, Some(HOST));
        let frame = switched(&subnet, 1, 9);
        lab.inject(A, &frame);
        let out = lab.out(UPLINK);
        let expected = to_peer(source_port(&out[0]), 7, 0, &frame);
        assert_eq!(out, [to_port(port, expected)]);
        let back = switched(&subnet, 9, 1);
        let arrives = from_peer(7, 0, &back);
        lab.expect(UPLINK, &to_port(port, arrives.clone()), A, &back);
        // By IANA's port, or the bytes the other way round, it is the host's.
        lab.expect(UPLINK, &arrives, HOST, &arrives);
        let swapped = to_port(port.swap_bytes(), arrives.clone());
        if port != port.swap_bytes() {
            lab.expect(UPLINK, &swapped, HOST, &swapped);
        }
    }
}

#[test]
fn outer_options_do_not_hide_the_port() {
    let tunnel = Tunnel {
        udp_port: 8472,
        ..Tunnel::default()
    };
    let (mut lab, subnet) = lab(tunnel, None);
    let back = switched(&subnet, 9, 1);
    let plain = from_peer(7, 0, &back);
    let with_options = |port| {
        let mut frame = to_port(port, plain.clone());
        // One word of no-operations (RFC 791 section 3.1).
        frame.splice(34..34, [1; 4]);
        let length = u16::from_be_bytes([frame[16], frame[17]]) + 4;
        frame[14] = 0x46;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[24..26].fill(0);
        let checksum = !vswitch::wire::ipv4::sum(&frame[14..38]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame
    };
    lab.expect(UPLINK, &with_options(8472), A, &back);
    lab.expect_drop(UPLINK, &with_options(4789), DropReason::NotForUs);
}

#[test]
fn a_dscp_that_is_set_is_that_of_what_is_not_ip_too_and_no_guest_sees_it() {
    for dscp in [0, 10, 46, 63] {
        let tunnel = Tunnel {
            dscp: Some(dscp),
            ..Tunnel::default()
        };
        let (mut lab, subnet) = lab(tunnel, None);
        // What is not IP asks for nothing.
        let mut other = switched(&subnet, 1, 9);
        other[12..14].copy_from_slice(&[0x88, 0xb5]);
        lab.inject(A, &other);
        let out = lab.out(UPLINK);
        assert_eq!(out, [to_peer(source_port(&out[0]), 7, dscp << 2, &other)]);
        // In, the guest's is its sender's.
        for (outer, inner) in [(0, 0xff), (0xfc, 0x01), (dscp << 2, 0x28)] {
            let (src, dst) = (guest_mac(7, 9), guest_mac(7, 1));
            let back = udp_with(src, dst, subnet.ip(9), subnet.ip(1), 64, inner);
            lab.expect(UPLINK, &from_peer(7, outer, &back), A, &back);
        }
    }
}

/// The frame with an IEEE 802.1Q or 802.1ad tag.
pub(crate) fn tagged(kind: u16, tag: u16, frame: &[u8]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &kind.to_be_bytes(), &tag.to_be_bytes(), rest].concat()
}

/// Of an underlay in VLAN 100.
fn in_vlan(host_port: Option<vswitch::tables::PortId>) -> (Lab, Subnet) {
    let tunnel = Tunnel {
        vlan: Some(100),
        ..Tunnel::default()
    };
    lab(tunnel, host_port)
}

#[test]
fn the_underlays_tag_goes_on_what_leaves_and_comes_off_what_arrives() {
    let (mut lab, subnet) = in_vlan(Some(HOST));
    let frame = switched(&subnet, 1, 9);
    lab.inject(A, &frame);
    let out = lab.out(UPLINK);
    let sport = u16::from_be_bytes([out[0][38], out[0][39]]);
    let expected = tagged(0x8100, 100, &to_peer(sport, 7, 0, &frame));
    assert_eq!(out, std::slice::from_ref(&expected));
    assert_eq!(lab.totals(UPLINK).tx_bytes, expected.len() as u64);
    let back = switched(&subnet, 9, 1);
    let arrives = from_peer(7, 0, &back);
    // Whatever its priority and drop eligibility.
    for tag in [100, 0xe000 | 100, 0xf000 | 100] {
        lab.expect(UPLINK, &tagged(0x8100, tag, &arrives), A, &back);
    }
    // Behind another tag, or another kind of tag, is no VXLAN for this host.
    for (kind, tag) in [
        (0x8100, 101),
        (0x8100, 0),
        (0x8100, 0x100 | 100),
        (0x88a8, 100),
    ] {
        let other = tagged(kind, tag, &arrives);
        lab.expect(UPLINK, &other, HOST, &other);
    }
    let twice = tagged(0x8100, 7, &arrives);
    lab.expect(UPLINK, &tagged(0x8100, 100, &twice), HOST, &twice);
    lab.expect_drop(UPLINK, &arrives, DropReason::Untagged);
    let short = &tagged(0x8100, 100, &arrives)[..15];
    lab.expect_drop(UPLINK, short, DropReason::Truncated);
    lab.expect_drop(UPLINK, &short[..11], DropReason::Truncated);
    lab.expect_drop(
        UPLINK,
        &tagged(0x8100, 100, &[0; 12]),
        DropReason::Truncated,
    );
}

#[test]
fn without_a_host_port_what_has_another_tag_has_nowhere_to_go() {
    let (mut lab, subnet) = in_vlan(None);
    let arrives = from_peer(7, 0, &switched(&subnet, 9, 1));
    lab.expect_drop(UPLINK, &tagged(0x8100, 101, &arrives), DropReason::NotForUs);
    lab.expect_drop(UPLINK, &arrives, DropReason::Untagged);
    let told = Hearing::new(ArrayQueue::new(4));
    lab.worker.tell(Hearing::clone(&told));
    // The peer asks by ARP who has the VTEP's address (RFC 826).
    let mut asks = [&[0xff; 6], &PEER_MAC[..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    asks.extend([&PEER_MAC[..], &PEER, &[0; 6], &VTEP].concat());
    for tag in [101, 100] {
        lab.inject(UPLINK, &tagged(0x8100, tag, &asks));
    }
    lab.silent();
    let heard: Vec<_> = std::iter::from_fn(|| told.pop())
        .map(|it| it.asks)
        .collect();
    assert_eq!(heard, [Some(VTEP.into())]);
    assert_eq!(lab.totals(UPLINK).answered, 1);
}

#[test]
fn the_hosts_own_frames_are_tagged_unless_they_are() {
    let (mut lab, _) = in_vlan(Some(HOST));
    let ssh = udp(UPLINK_MAC, PEER_MAC, VTEP.into(), PEER.into());
    lab.expect(HOST, &ssh, UPLINK, &tagged(0x8100, 100, &ssh));
    for (kind, tag) in [(0x8100, 101), (0x8100, 100), (0x88a8, 7)] {
        let own = tagged(kind, tag, &ssh);
        lab.expect(HOST, &own, UPLINK, &own);
    }
    let back = udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into());
    lab.expect(UPLINK, &tagged(0x8100, 100, &back), HOST, &back);
    lab.expect_drop(UPLINK, &back, DropReason::Untagged);
    // The tag is beyond what the MTU counts.
    lab.worker
        .limits_mut()
        .set_mtu(UPLINK, (ssh.len() - 14) as u16);
    lab.expect(HOST, &ssh, UPLINK, &tagged(0x8100, 100, &ssh));
}

/// A frame of these bytes that has used up `N` of its 128 bytes of headroom.
fn with_used<const N: usize>(bytes: &[u8]) -> MemoryFrame {
    let mut frame = MemoryFrame::new(&bytes[N..]);
    *frame.prepend().unwrap() = *bytes.first_chunk::<N>().unwrap();
    frame
}

#[test]
fn a_buffer_without_room_for_the_tag_is_dropped_and_the_others_of_its_burst_leave() {
    let (mut lab, subnet) = in_vlan(None);
    let mut bytes = switched(&subnet, 1, 9);
    bytes.resize(200, 0);
    // The outer header takes 50, the tag 4.
    for frame in [
        with_used::<74>(&bytes),
        with_used::<75>(&bytes),
        with_used::<78>(&bytes),
        MemoryFrame::new(&bytes),
    ] {
        lab.rx[A.index()].push(frame).unwrap();
    }
    let out = lab.out(UPLINK);
    assert!(out.len() == 2 && out.iter().all(|frame| frame[12..16] == [0x81, 0, 0, 100]));
    assert_eq!(lab.totals(A).drops_for(DropReason::NoHeadroom), 2);
    lab.balanced();
}
