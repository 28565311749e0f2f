// SPDX-License-Identifier: MIT
//! What operators set of the outer header.

use vswitch::counters::DropReason;
use vswitch::tables::{Tunnel, Underlay};

use crate::lab::*;
use crate::{A, one_subnet_of, switched};

fn lab(tunnel: Tunnel, host_port: Option<vswitch::tables::PortId>) -> (Lab, Subnet) {
    one_subnet_of(Lab::with(Some(Underlay {
        vtep: VTEP.into(),
        uplink: UPLINK,
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
fn a_dscp_that_is_set_is_all_outer_headers_and_ecn_is_the_guests() {
    for dscp in [0, 10, 46, 63] {
        let tunnel = Tunnel {
            dscp: Some(dscp),
            ..Tunnel::default()
        };
        let (mut lab, subnet) = lab(tunnel, None);
        for tos in 0..=255 {
            let (src, dst) = (guest_mac(7, 1), guest_mac(7, 9));
            let frame = udp_with(src, dst, subnet.ip(1), subnet.ip(9), 64, tos);
            lab.inject(A, &frame);
            let out = lab.out(UPLINK);
            let outer = dscp << 2 | tos & 3;
            assert_eq!(out, [to_peer(source_port(&out[0]), 7, outer, &frame)]);
        }
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
