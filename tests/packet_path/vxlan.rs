// SPDX-License-Identifier: MIT
//! The outer header by RFC 7348, field by field: what a sender writes, and what a receiver takes, ignores and refuses.

use vswitch::counters::DropReason;

use crate::lab::*;
use crate::{A, one_subnet, switched};

/// Where fields of a VXLAN packet begin: Ethernet 14 bytes, IPv4 20, UDP 8, VXLAN 8.
const IP: usize = 14;
const TOTAL_LEN: usize = IP + 2;
const FLAGS: usize = IP + 6;
const TTL: usize = IP + 8;
const IP_CHECKSUM: usize = IP + 10;
const UDP: usize = 34;
const UDP_LEN: usize = UDP + 4;
const UDP_CHECKSUM: usize = UDP + 6;
const VXLAN: usize = 42;
const VNI: usize = VXLAN + 4;

/// The packet with these bytes at `offset`, and the IPv4 header's checksum put right (RFC 1071).
fn with(packet: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[offset..][..bytes.len()].copy_from_slice(bytes);
    let end = IP + 4 * usize::from(packet[IP] & 0xf);
    packet[IP_CHECKSUM..][..2].fill(0);
    let words = packet[IP..end]
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[IP_CHECKSUM..][..2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    packet
}

fn with_u16(packet: &[u8], offset: usize, value: u16) -> Vec<u8> {
    with(packet, offset, &value.to_be_bytes())
}

#[test]
fn what_is_sent_has_the_i_flag_the_vni_and_nothing_else() {
    for vni in [1, 7, 256, 65_536, 0xff_ffff] {
        let mut lab = Lab::new();
        let subnet = Subnet {
            vni,
            ..Subnet::new(vni, 1, 1, 0)
        };
        lab.guest(A, 1, std::slice::from_ref(&subnet));
        lab.remote(9, &subnet);
        lab.commit();
        lab.inject(A, &switched(&subnet, 1, 9));
        let out = lab.out(UPLINK).remove(0);
        let [.., high, mid, low] = vni.to_be_bytes();
        assert_eq!(out[VXLAN..50], [8, 0, 0, 0, high, mid, low, 0]);
        // DF, no fragment; the TTL that RFC 1700 recommends; no UDP checksum.
        assert_eq!((&out[FLAGS..TTL], out[TTL]), (&[0x40, 0][..], 64));
        assert_eq!(out[UDP_CHECKSUM..VXLAN], [0, 0]);
    }
}

#[test]
fn the_i_flag_decides_and_every_reserved_bit_is_ignored() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    let good = from_peer(7, 0, &frame);
    for flags in 0..=255 {
        let packet = with(&good, VXLAN, &[flags]);
        match flags & 8 {
            0 => lab.expect_drop(UPLINK, &packet, DropReason::NoVni),
            _ => lab.expect(UPLINK, &packet, A, &frame),
        }
    }
    for (offset, bit) in [1, 2, 3, 7]
        .into_iter()
        .flat_map(|byte| (0..8).map(move |bit| (byte, bit)))
    {
        let packet = with(&good, VXLAN + offset, &[1 << bit]);
        lab.expect(UPLINK, &packet, A, &frame);
    }
    // The VNI of a packet without a valid one is not looked at.
    let packet = with(&good, VXLAN, &[0xf7, 0xff, 0xff, 0xff, 0, 0, 9]);
    lab.expect_drop(UPLINK, &packet, DropReason::NoVni);
}

#[test]
fn a_vni_that_differs_in_any_bit_is_another_network() {
    let (mut lab, subnet) = one_subnet();
    let good = from_peer(7, 0, &switched(&subnet, 9, 1));
    for bit in 0..24 {
        let [_, vni @ ..] = (7u32 ^ 1 << bit).to_be_bytes();
        lab.expect_drop(UPLINK, &with(&good, VNI, &vni), DropReason::UnknownVni);
    }
    for vni in [[0; 3], [0xff; 3], [7, 0, 0]] {
        lab.expect_drop(UPLINK, &with(&good, VNI, &vni), DropReason::UnknownVni);
    }
}

#[test]
fn what_is_for_another_port_protocol_or_address_is_the_hosts() {
    let (mut lab, subnet) = one_subnet();
    let good = from_peer(7, 0, &switched(&subnet, 9, 1));
    for stranger in [
        with_u16(&good, UDP + 2, 4790),
        with_u16(&good, UDP + 2, 4789_u16.swap_bytes()),
        with(&good, IP + 9, &[6]),
        with(&good, IP + 9, &[136]),
        with(&good, IP + 16, &[192, 0, 2, 3]),
        with(&good, IP + 16, &[255; 4]),
        with(&good, IP + 16, &[224, 0, 0, 1]),
    ] {
        lab.expect(UPLINK, &stranger, HOST, &stranger);
    }
    // Source port and address are the sender's to choose.
    let frame = switched(&subnet, 9, 1);
    for ours in [
        with_u16(&good, UDP, 0),
        with_u16(&good, UDP, 4789),
        with(&good, IP + 12, &[198, 51, 100, 7]),
    ] {
        lab.expect(UPLINK, &ours, A, &frame);
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    let good = from_peer(7, 0, &frame);
    let total = (good.len() - IP) as u16;
    let udp = total - 20;
    for len in (0..udp).chain(udp + 1..udp + 9).chain([u16::MAX]) {
        let lies = with_u16(&good, UDP_LEN, len);
        lab.expect_drop(UPLINK, &lies, DropReason::Malformed);
    }
    for len in (total + 1..total + 9).chain([u16::MAX]) {
        let lies = with_u16(&good, TOTAL_LEN, len);
        lab.expect_drop(UPLINK, &lies, DropReason::Truncated);
    }
    for len in 0..total {
        let lies = with_u16(&good, TOTAL_LEN, len);
        lab.expect_drop(UPLINK, &lies, DropReason::Malformed);
    }
    // Both say the same, and leave out the end of the inner packet: that is cut there, as padding is.
    let shorter = with_u16(&with_u16(&good, UDP_LEN, udp - 1), TOTAL_LEN, total - 1);
    lab.expect_drop(UPLINK, &shorter, DropReason::Truncated);
}

#[test]
fn a_udp_checksum_may_be_there_and_is_not_verified() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    let good = from_peer(7, 0, &frame);
    // Sum over the pseudo header and the datagram (RFC 768).
    let datagram = &good[UDP..];
    let pseudo = [
        &PEER[..],
        &VTEP,
        &[0, 17],
        &(datagram.len() as u16).to_be_bytes(),
    ]
    .concat();
    let words = [&pseudo[..], datagram, &[0][..datagram.len() % 2]].concat();
    let sum = words
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let right = !((sum & 0xffff) + (sum >> 16)) as u16;
    for checksum in [0, right, right ^ 1, 1, u16::MAX] {
        let packet = with_u16(&good, UDP_CHECKSUM, checksum);
        lab.expect(UPLINK, &packet, A, &frame);
    }
}

#[test]
fn outer_fragments_are_not_put_together() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    let good = from_peer(7, 0, &frame);
    // More fragments: the first of several. What is behind it has no ports, so nobody can tell that it is VXLAN.
    for flags in [0x2000, 0x6000] {
        let first = with_u16(&good, FLAGS, flags);
        lab.expect_drop(UPLINK, &first, DropReason::OuterFragment);
    }
    for flags in [0x0001, 0x2001, 0x1fff] {
        let later = with_u16(&good, FLAGS, flags);
        lab.expect(UPLINK, &later, HOST, &later);
    }
    for flags in [0, 0x4000, 0x8000] {
        let whole = with_u16(&good, FLAGS, flags);
        lab.expect(UPLINK, &whole, A, &frame);
    }
}

#[test]
fn the_outer_ttl_ends_at_this_host_and_the_inner_one_is_the_guests() {
    let (mut lab, subnet) = one_subnet();
    for (outer, inner) in [(0, 64), (1, 64), (64, 1), (255, 0), (255, 255)] {
        let (src, dst) = (guest_mac(7, 9), guest_mac(7, 1));
        let frame = udp_with(src, dst, subnet.ip(9), subnet.ip(1), inner, 0);
        let packet = with(&from_peer(7, 0, &frame), TTL, &[outer]);
        lab.expect(UPLINK, &packet, A, &frame);
        let back = udp_with(dst, src, subnet.ip(1), subnet.ip(9), inner, 0);
        lab.inject(A, &back);
        let out = lab.out(UPLINK);
        assert_eq!(out, [to_peer(source_port(&out[0]), 7, 0, &back)]);
    }
}

#[test]
fn a_packet_with_options_cut_at_any_byte_is_truncated() {
    let (mut lab, subnet) = one_subnet();
    let mut packet = from_peer(7, 0, &switched(&subnet, 9, 1));
    packet.splice(UDP..UDP, [1; 40]); // as many no-operations as there can be (RFC 791 section 3.1)
    let total = (packet.len() - IP) as u16;
    let packet = with_u16(&with(&packet, IP, &[0x4f]), TOTAL_LEN, total);
    lab.expect(UPLINK, &packet, A, &switched(&subnet, 9, 1));
    for len in 0..packet.len() {
        lab.expect_drop(UPLINK, &packet[..len], DropReason::Truncated);
    }
}
