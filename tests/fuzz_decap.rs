// SPDX-License-Identifier: MIT
//! The fuzz target `decap` as an ordinary test: what it begins with, and what once failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test ends where it fails

#[path = "../fuzz/decap.rs"]
mod decap;
#[allow(dead_code, reason = "the packet path's tests use the rest of it")]
#[path = "packet_path/lab.rs"]
mod lab;
#[allow(dead_code, reason = "the packet path's tests use the rest of it")]
#[path = "packet_path/ipv6/net.rs"]
mod net;
#[path = "../fuzz/replay.rs"]
mod replay;

use std::net::Ipv4Addr;

use lab::*;
use net::{ICMP, Net, link_local, message, packet, udp6};

/// One frame of each kind, each as an input; the first byte says where it arrives, and 0x80 that its checksum is to be
/// put right.
fn seeds() -> Vec<Vec<u8>> {
    let (blue, green) = (Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 1, 2));
    let switched = |from, to| {
        udp(
            guest_mac(7, from),
            guest_mac(7, to),
            blue.ip(from),
            blue.ip(to),
        )
    };
    let routed = |to| udp(guest_mac(7, 1), gateway_mac(7, 0), blue.ip(1), to);
    let mut ipv6 = Vec::new();
    etherparse::PacketBuilder::ethernet2(guest_mac(7, 1), guest_mac(7, 9))
        .ipv6([1; 16], [2; 16], 9)
        .udp(1, 2)
        .write(&mut ipv6, b"x")
        .unwrap();
    let mut options = from_peer(7, 0, &switched(9, 1));
    options.splice(34..34, [1, 1, 1, 1]);
    (options[14], options[17]) = (0x46, options[17] + 4);
    let frames = [
        (1, discover()),
        (1, discover_ipv6(1, &[])),
        (1, discover_ipv6(4, &[])),
        (1, discover_ipv6(5, &[0, 2, 0, 10, 0, 3, 0, 1])),
        (1, arp(blue.gateway())),
        (1, routed([8, 8, 8, 8].into())),
        (1, switched(1, 9)),
        (1, switched(1, 2)),
        (1, routed(green.ip(3))),
        (1, routed(green.ip(9))),
        (1, routed([198, 51, 100, 5].into())),
        (1, ipv6),
        (3, discovery("ff02::2", 133, &[])),
        (
            3,
            discovery("ff02::1:ff00:fe", 135, &wide().gateway().octets()),
        ),
        (3, discovery("ff02::1:ff00:9", 135, &wide().ip(9).octets())),
        (3, echo_ipv6()),
        (3, udp6(wide_macs(), [wide().ip(3), wide().ip(9)], 64)),
        (3, udp6(wide_macs(), [wide().ip(3), wide().ip(9)], 1)),
        (3, udp6(wide_macs(), [wide().ip(3), wide().ip(8)], 9)),
        (0, from_peer(7, 0, &switched(9, 1))),
        (0x80, from_peer(7, 3, &switched(9, 1))),
        (0x80, options),
        (1, switched(1, 6)),
        (1, routed(blue.ip(6))),
        (0, over_ipv6(&switched(9, 1), false)),
        (0, over_ipv6(&switched(9, 1), true)),
        (0, udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into())),
        (4, udp(UPLINK_MAC, PEER_MAC, VTEP.into(), PEER.into())),
    ];
    let input = |(control, frame): &(u8, Vec<u8>)| {
        [&[*control], &(frame.len() as u16).to_be_bytes()[..], frame].concat()
    };
    frames.iter().map(input).collect()
}

/// The subnet in which guest 3 has an IPv6 address.
fn wide() -> Net {
    Net::new(8, 2, 1, 2)
}

/// From guest 3 to its gateway.
fn wide_macs() -> [[u8; 6]; 2] {
    [guest_mac(8, 3), wide().gateway_mac()]
}

/// A message of neighbor discovery of guest 3.
fn discovery(group: &str, kind: u8, body: &[u8]) -> Vec<u8> {
    let ips = [link_local(guest_mac(8, 3)), group.parse().unwrap()];
    let [.., a, b, c, d] = ips[1].octets();
    let message = message(ips, kind, 0, [0; 4], body);
    let macs = [guest_mac(8, 3), [0x33, 0x33, a, b, c, d]];
    packet(macs, ips, ICMP, 255, &message)
}

fn echo_ipv6() -> Vec<u8> {
    let ips = [wide().ip(3), wide().gateway()];
    let echo = message(ips, 128, 0, [0, 1, 0, 2], b"data");
    packet(wide_macs(), ips, ICMP, 64, &echo)
}

/// What the peer sends over IPv6. `sealed`: with a UDP checksum.
fn over_ipv6(inner: &[u8], sealed: bool) -> Vec<u8> {
    let payload = [&[8, 0, 0, 0, 0, 0, 7, 0], inner].concat();
    let mut frame = Vec::new();
    let builder = etherparse::PacketBuilder::ethernet2(PEER_MAC, UPLINK_MAC);
    let builder = builder.ipv6(PEER6, VTEP6, 64).udp(50_000, 4789);
    builder.write(&mut frame, &payload).unwrap();
    if !sealed {
        frame[60..62].fill(0);
    }
    frame
}

/// Asks the switch for an address.
fn discover() -> Vec<u8> {
    let mut message = [0; 244];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[28..34].copy_from_slice(&guest_mac(7, 1));
    message[236..].copy_from_slice(&[99, 130, 83, 99, 53, 1, 1, 255]);
    let builder = etherparse::PacketBuilder::ethernet2(guest_mac(7, 1), [0xff; 6]);
    let builder = builder.ipv4([0; 4], [255; 4], 64).udp(68, 67);
    let mut frame = Vec::new();
    builder.write(&mut frame, &message).unwrap();
    frame
}

/// The same by IPv6, in a message of this kind; `server`: the option up to a MAC that says whom it asks.
fn discover_ipv6(kind: u8, server: &[u8]) -> Vec<u8> {
    let to: std::net::Ipv6Addr = "ff02::1:2".parse().unwrap();
    let mut message = vec![kind, 1, 2, 3, 0, 1, 0, 3, 9, 9, 9, 0, 6, 0, 2, 0, 23];
    if !server.is_empty() {
        message.extend(server);
        message.extend(gateway_mac(7, 0));
    }
    message.extend([0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24]);
    message.extend(wide().ip(1).octets());
    message.extend([0; 8]);
    message.extend([0, 25, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(guest_mac(7, 1), [0x33, 0x33, 0, 1, 0, 2])
        .ipv6(link_local(guest_mac(7, 1)).octets(), to.octets(), 1)
        .udp(546, 547)
        .write(&mut frame, &message)
        .unwrap();
    frame
}

/// Asks the switch for a MAC.
fn arp(of: Ipv4Addr) -> Vec<u8> {
    let from = Subnet::new(7, 1, 1, 0).ip(1);
    let mut frame = [
        &[0xff; 6][..],
        &guest_mac(7, 1),
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
    ]
    .concat();
    frame.extend(guest_mac(7, 1));
    frame.extend(from.octets());
    frame.extend([0; 6]);
    frame.extend(of.octets());
    frame
}

#[test]
fn frames_of_each_kind_and_inputs_that_once_failed_pass() {
    let seeds = seeds();
    let all = seeds.concat();
    replay::replay("decap", &[seeds, vec![all]].concat(), decap::run);
}
