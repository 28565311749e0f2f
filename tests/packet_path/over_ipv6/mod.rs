// SPDX-License-Identifier: MIT
//! Tunnels over IPv6, beside those over IPv4. What is expected is built by etherparse.

mod arriving;
mod discovery;
mod fits;

use std::collections::BTreeSet;

use etherparse::{Ethernet2Header, Ipv6Header, UdpHeader};
use vswitch::counters::DropReason;
use vswitch::io::memory::MemoryFrame;
use vswitch::tables::{PortId, Tunnel};

use crate::ecn::{DECAPSULATION, packets};
use crate::lab::*;
use crate::mss::{SYN, tcp};
use crate::tunnel::tagged;
use crate::{A, switched};

/// What differs between outer headers.
#[derive(Clone, Copy)]
struct Outer {
    label: u32,
    sport: u16,
    class: u8,
    /// The UDP checksum is made.
    sealed: bool,
}

/// As the peer sends them.
const PEERS: Outer = Outer {
    label: 0x1_2345,
    sport: 50_000,
    class: 0,
    sealed: false,
};

type End = ([u8; 6], [u8; 16]);

/// The VXLAN packet over IPv6 that carries `inner`.
fn vxlan6(src: End, dst: End, outer: Outer, vni: u32, inner: &[u8]) -> Vec<u8> {
    let payload = [&[8, 0, 0, 0], &(vni << 8).to_be_bytes()[..], inner].concat();
    let ip = Ipv6Header {
        traffic_class: outer.class,
        flow_label: outer.label.try_into().unwrap(),
        payload_length: (8 + payload.len()) as u16,
        next_header: etherparse::IpNumber::UDP,
        hop_limit: 64,
        source: src.1,
        destination: dst.1,
    };
    let mut udp = UdpHeader {
        source_port: outer.sport,
        destination_port: 4789,
        length: (8 + payload.len()) as u16,
        checksum: 0,
    };
    if outer.sealed {
        udp.checksum = udp.calc_checksum_ipv6_raw(src.1, dst.1, &payload).unwrap();
    }
    let ethernet = Ethernet2Header {
        source: src.0,
        destination: dst.0,
        ether_type: etherparse::EtherType::IPV6,
    };
    let headers = [&ethernet.to_bytes()[..], &ip.to_bytes(), &udp.to_bytes()];
    [headers.concat(), payload].concat()
}

fn label(sent: &[u8]) -> u32 {
    u32::from_be_bytes([0, sent[15] & 15, sent[16], sent[17]])
}

/// What this host sends to the peer. Flow label and source port are its own choice, of which `sent` is an example.
fn to_peer6(sent: &[u8], class: u8, sealed: bool, inner: &[u8]) -> Vec<u8> {
    let outer = Outer {
        label: label(sent),
        sport: u16::from_be_bytes([sent[54], sent[55]]),
        class,
        sealed,
    };
    assert!(outer.sport >= 49152 && outer.label != 0);
    vxlan6((UPLINK_MAC, VTEP6), (PEER_MAC, PEER6), outer, 7, inner)
}

fn from_peer6(outer: Outer, inner: &[u8]) -> Vec<u8> {
    vxlan6((PEER_MAC, PEER6), (UPLINK_MAC, VTEP6), outer, 7, inner)
}

/// Guest 1 at A; guest 9 on the peer host over IPv6, guest 8 there over IPv4.
fn lab_with(host_port: Option<PortId>, tunnel: Tunnel, mtu: u16) -> (Lab, Subnet) {
    let mut lab = Lab::dual(host_port, tunnel);
    let mut subnet = Subnet::new(7, 1, 1, 0);
    router(&mut [&mut subnet], &[]);
    lab.mtu = mtu;
    lab.worker.limits_mut().set_mtu(UPLINK, mtu);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.remote6(9, &subnet);
    lab.remote(8, &subnet);
    lab.commit();
    (lab, subnet)
}

fn lab(tunnel: Tunnel) -> (Lab, Subnet) {
    lab_with(Some(HOST), tunnel, u16::MAX)
}

fn sealing() -> Tunnel {
    Tunnel {
        udp6_checksum: true,
        ..Tunnel::default()
    }
}

/// What guest 1's frame leaves as.
fn sent(lab: &mut Lab, frame: &[u8]) -> Vec<u8> {
    lab.inject(A, frame);
    let mut out = lab.out(UPLINK);
    assert_eq!(out.len(), 1);
    lab.silent();
    out.remove(0)
}

#[test]
fn a_frame_to_a_host_of_ipv6_is_carried_over_it_and_label_and_port_tell_the_flow() {
    let (mut lab, subnet) = lab(Tunnel::default());
    let frame = switched(&subnet, 1, 9);
    let first = sent(&mut lab, &frame);
    assert_eq!(first, to_peer6(&first, 0, false, &frame));
    assert_eq!(sent(&mut lab, &frame), first);
    let (mut labels, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for port in 0..200u16 {
        let mut other = frame.clone();
        other[36..38].copy_from_slice(&port.to_be_bytes());
        other[40..42].fill(0);
        let out = sent(&mut lab, &other);
        assert_eq!(out, to_peer6(&out, 0, false, &other));
        labels.insert(label(&out));
        ports.insert([out[54], out[55]]);
    }
    assert!(labels.len() > 195 && ports.len() > 195);
    assert!(labels.iter().any(|label| label >> 19 == 1), "of 20 bits");
    // What is not IP is one flow.
    let mut other = frame;
    other[12..14].copy_from_slice(&[0x88, 0xb5]);
    let out = sent(&mut lab, &other);
    assert_eq!(out, to_peer6(&out, 0, false, &other));
}

#[test]
fn a_routed_packet_is_carried_over_ipv6_with_a_hop_less() {
    let (mut lab, subnet) = lab(Tunnel::default());
    let macs = (guest_mac(7, 1), gateway_mac(7, 0));
    let frame = udp_with(macs.0, macs.1, subnet.ip(1), subnet.ip(9), 64, 0xb8);
    let routed = udp_with(DVR, guest_mac(7, 9), subnet.ip(1), subnet.ip(9), 63, 0xb8);
    let out = sent(&mut lab, &frame);
    assert_eq!(out, to_peer6(&out, 0xb8, false, &routed));
}

#[test]
fn hosts_of_both_families_are_reached_in_one_burst() {
    let (mut lab, subnet) = lab(Tunnel::default());
    let frames = [9, 8, 9, 8, 8, 9].map(|n| switched(&subnet, 1, n));
    frames.iter().for_each(|frame| lab.inject(A, frame));
    let out = lab.out(UPLINK);
    assert_eq!(out.len(), frames.len());
    for (out, frame) in out.iter().zip(&frames) {
        let expected = match frame[5] {
            9 => to_peer6(out, 0, false, frame),
            _ => to_peer(source_port(out), 7, 0, frame),
        };
        assert_eq!(*out, expected);
    }
    lab.silent();
    let back = switched(&subnet, 9, 1);
    lab.expect(UPLINK, &from_peer6(PEERS, &back), A, &back);
    lab.expect(UPLINK, &from_peer(7, 0, &back), A, &back);
}

#[test]
fn a_udp_checksum_that_is_wanted_covers_all_segments() {
    let (mut lab, subnet) = lab(sealing());
    let mut frame = switched(&subnet, 1, 9);
    for extra in 0..4 {
        frame.resize(frame.len() + extra, 0xab);
        for cut in [frame.len(), 60, 61, 54] {
            let chained = MemoryFrame::chained(&frame[..cut], &frame[cut..]);
            lab.rx[A.index()].push(chained).unwrap();
            let out = lab.out(UPLINK);
            assert_eq!(out, [to_peer6(&out[0], 0, true, &frame)]);
        }
    }
    // Over IPv4 there is none.
    let frame = switched(&subnet, 1, 8);
    let out = sent(&mut lab, &frame);
    assert_eq!(out, to_peer(source_port(&out), 7, 0, &frame));
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_sent_as_ones() {
    let (mut lab, subnet) = lab(sealing());
    let mut frame = switched(&subnet, 1, 9);
    // What is not IP is one flow, and its last two bytes make the sum what they like.
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame.resize(62, 0);
    frame[60] = 0;
    let sum = |sent: &[u8]| u16::from_be_bytes([sent[60], sent[61]]);
    let without = sum(&sent(&mut lab, &frame));
    frame[60..].copy_from_slice(&without.to_be_bytes());
    let out = sent(&mut lab, &frame);
    assert_eq!(sum(&out), 0xffff);
    let back = switched(&subnet, 9, 1);
    // As what arrives it is right.
    let mut arrives = from_peer6(PEERS, &back);
    arrives[60..62].fill(0xff);
    lab.expect_drop(UPLINK, &arrives, DropReason::BadChecksum);
}

#[test]
fn congestion_is_told_through_ipv6_as_through_ipv4() {
    let (mut lab, subnet) = lab(Tunnel::default());
    for (guest, underlay) in [(0, 0), (0x2a << 2, 0x04 << 2)] {
        for (inner, outer, goes_on) in DECAPSULATION {
            let arriving = packets(&subnet, 9, 1, guest | inner);
            for (family, frame) in arriving.iter().enumerate() {
                let class = underlay | outer;
                let packet = from_peer6(Outer { class, ..PEERS }, frame);
                match goes_on.map(|ecn| packets(&subnet, 9, 1, guest | ecn)) {
                    Some(expected) => lab.expect(UPLINK, &packet, A, &expected[family]),
                    None => lab.expect_drop(UPLINK, &packet, DropReason::EcnIllegal),
                }
            }
        }
    }
    for own in [None, Some(0), Some(46), Some(63)] {
        let tunnel = Tunnel {
            dscp: own,
            ..Tunnel::default()
        };
        let (mut lab, subnet) = self::lab(tunnel);
        for tos in 0..=255 {
            for frame in packets(&subnet, 1, 9, tos) {
                let out = sent(&mut lab, &frame);
                let class = own.map_or(tos, |dscp| dscp << 2 | tos & 3);
                assert_eq!(out, to_peer6(&out, class, false, &frame));
            }
        }
    }
}

#[test]
fn port_and_vlan_that_are_set_are_those_of_ipv6_too() {
    let tunnel = Tunnel {
        udp_port: 0x1234,
        vlan: Some(100),
        ..Tunnel::default()
    };
    let (mut lab, subnet) = lab(tunnel);
    let to_port = |mut packet: Vec<u8>| {
        packet[56..58].copy_from_slice(&[0x12, 0x34]);
        packet
    };
    let frame = switched(&subnet, 1, 9);
    let out = sent(&mut lab, &frame);
    let untagged = [&out[..12], &out[16..]].concat();
    let expected = to_port(to_peer6(&untagged, 0, false, &frame));
    assert_eq!(out, tagged(0x8100, 100, &expected));
    let back = switched(&subnet, 9, 1);
    let arrives = from_peer6(PEERS, &back);
    let ours = tagged(0x8100, 100, &to_port(arrives.clone()));
    lab.expect(UPLINK, &ours, A, &back);
    lab.expect(UPLINK, &tagged(0x8100, 100, &arrives), HOST, &arrives);
    lab.expect_drop(UPLINK, &to_port(arrives), DropReason::Untagged);
}
