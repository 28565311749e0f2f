// SPDX-License-Identifier: MIT
//! Congestion is told through the tunnel by RFC 6040: all cells of its two tables, for both kinds of inner packets.

use std::net::Ipv6Addr;

use etherparse::PacketBuilder;
use vswitch::counters::DropReason;
use vswitch::tables::{Tunnel, Underlay};

use crate::lab::*;
use crate::{A, one_subnet_of};

/// Code points (RFC 3168 section 5).
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// Figure 4 of section 4.2: inner, outer, and what goes on; `None`: dropped. Of the cells that it calls currently unused,
/// and marks "(!)" or "(!!!)", the one that is dropped is counted, since nothing else tells of it.
pub(crate) const DECAPSULATION: [(u8, u8, Option<u8>); 16] = [
    (NOT_ECT, NOT_ECT, Some(NOT_ECT)),
    (NOT_ECT, ECT_0, Some(NOT_ECT)), // (!!!)
    (NOT_ECT, ECT_1, Some(NOT_ECT)), // (!!!)
    (NOT_ECT, CE, None),             // (!!!)
    (ECT_0, NOT_ECT, Some(ECT_0)),
    (ECT_0, ECT_0, Some(ECT_0)),
    (ECT_0, ECT_1, Some(ECT_1)),
    (ECT_0, CE, Some(CE)),
    (ECT_1, NOT_ECT, Some(ECT_1)),
    (ECT_1, ECT_0, Some(ECT_1)), // (!)
    (ECT_1, ECT_1, Some(ECT_1)),
    (ECT_1, CE, Some(CE)),
    (CE, NOT_ECT, Some(CE)),
    (CE, ECT_0, Some(CE)),
    (CE, ECT_1, Some(CE)), // (!!!)
    (CE, CE, Some(CE)),
];

/// Figure 3 of section 4.1, normal mode: inner, and what the outer header gets.
const ENCAPSULATION: [(u8, u8); 4] = [(NOT_ECT, NOT_ECT), (ECT_0, ECT_0), (ECT_1, ECT_1), (CE, CE)];

fn lab(dscp: Option<u8>) -> (Lab, Subnet) {
    let tunnel = Tunnel {
        dscp,
        ..Tunnel::default()
    };
    one_subnet_of(Lab::with(Some(Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: None,
        host_port: None,
        tunnel,
    })))
}

/// A packet of guest `from` to guest `to`, IPv4 and IPv6, with this type of service or traffic class.
pub(crate) fn packets(subnet: &Subnet, from: u8, to: u8, tos: u8) -> [Vec<u8>; 2] {
    let (src, dst) = (guest_mac(7, from), guest_mac(7, to));
    let v6 = |n: u8| Ipv6Addr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]);
    let mut ipv6 = Vec::new();
    PacketBuilder::ethernet2(src, dst)
        .ipv6(v6(from).octets(), v6(to).octets(), 64)
        .udp(1234, 5678)
        .write(&mut ipv6, b"from guest to guest")
        .unwrap();
    // Version 6, traffic class, flow label 0 (RFC 8200 section 3).
    ipv6[14..18].copy_from_slice(&(6 << 28 | u32::from(tos) << 20).to_be_bytes());
    let ipv4 = udp_with(src, dst, subnet.ip(from), subnet.ip(to), 64, tos);
    [ipv4, ipv6]
}

#[test]
fn what_arrives_combines_inner_and_outer_congestion() {
    let (mut lab, subnet) = lab(None);
    // Neither the guest's DSCP nor the underlay's changes anything, or is changed.
    for (guest, underlay) in [(0, 0), (0x2a << 2, 0x04 << 2), (0x3f << 2, 0x3f << 2)] {
        for (inner, outer, goes_on) in DECAPSULATION {
            let arriving = packets(&subnet, 9, 1, guest | inner);
            let expected = goes_on.map(|ecn| packets(&subnet, 9, 1, guest | ecn));
            for (family, frame) in arriving.iter().enumerate() {
                let packet = from_peer(7, underlay | outer, frame);
                match &expected {
                    Some(expected) => lab.expect(UPLINK, &packet, A, &expected[family]),
                    None => lab.expect_drop(UPLINK, &packet, DropReason::EcnIllegal),
                }
            }
        }
    }
    // Four values of the two codes, twice: of each family one in sixteen is lost.
    let totals = lab.totals(UPLINK);
    assert_eq!((totals.rx, totals.dropped()), (96, 6));
}

#[test]
fn what_is_not_ip_has_no_congestion_to_tell() {
    let (mut lab, subnet) = lab(None);
    let [mut other, _] = packets(&subnet, 9, 1, 0);
    other[12..14].copy_from_slice(&[0x88, 0xb5]);
    for outer in [NOT_ECT, ECT_1, ECT_0, CE] {
        lab.expect(UPLINK, &from_peer(7, outer, &other), A, &other);
    }
}

#[test]
fn what_leaves_has_the_inner_congestion_outside_whatever_its_dscp() {
    for own in [None, Some(0), Some(10), Some(46), Some(63)] {
        let (mut lab, subnet) = lab(own);
        for dscp in 0..64 {
            for (inner, outer) in ENCAPSULATION {
                for frame in packets(&subnet, 1, 9, dscp << 2 | inner) {
                    lab.inject(A, &frame);
                    let out = lab.out(UPLINK);
                    let tos = own.unwrap_or(dscp) << 2 | outer;
                    assert_eq!(out, [to_peer(source_port(&out[0]), 7, tos, &frame)]);
                }
            }
        }
        lab.balanced();
    }
}
