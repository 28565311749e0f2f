// SPDX-License-Identifier: MIT
//! What arrives over IPv6: sound or not, ours or not.

use proptest::prelude::*;
use vswitch::counters::DropReason;
use vswitch::io::memory::MemoryFrame;
use vswitch::tables::Tunnel;

use super::*;

#[test]
fn what_arrives_over_ipv6_reaches_the_guest_with_a_right_checksum_or_none() {
    let (mut lab, subnet) = lab(Tunnel::default());
    let odd = [&switched(&subnet, 9, 1)[..], &[7]].concat();
    for frame in [switched(&subnet, 9, 1), odd] {
        for sealed in [false, true] {
            let outer = Outer { sealed, ..PEERS };
            let arrives = from_peer6(outer, &frame);
            lab.expect(UPLINK, &arrives, A, &frame);
            let padded = [&arrives[..], &[0xee; 5]].concat();
            lab.expect(UPLINK, &padded, A, &frame);
            for cut in [112, 113, 115] {
                let chained = MemoryFrame::chained(&arrives[..cut], &arrives[cut..]);
                lab.rx[UPLINK.index()].push(chained).unwrap();
                assert_eq!(lab.out(A), [&frame[..]]);
            }
        }
        let good = from_peer6(
            Outer {
                sealed: true,
                ..PEERS
            },
            &frame,
        );
        // Whatever the checksum covers, a byte at a time: addresses that are not ours are the host's.
        for at in (22..38).chain(54..56).chain(60..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            lab.expect_drop(UPLINK, &bad, DropReason::BadChecksum);
        }
    }
}

#[test]
fn what_is_wrong_with_an_outer_header_of_ipv6_is_counted() {
    let (mut lab, subnet) = lab(Tunnel::default());
    let good = from_peer6(PEERS, &switched(&subnet, 9, 1));
    for ((at, value), reason) in [
        ((14, 0x40), DropReason::Malformed),
        ((59, good[59] + 1), DropReason::Malformed),
        ((59, 0), DropReason::Malformed),
        ((19, good[19] - 1), DropReason::Malformed),
        ((19, good[19] + 1), DropReason::Truncated),
        ((60, 1), DropReason::BadChecksum),
        ((62, 0), DropReason::NoVni),
        ((68, 9), DropReason::UnknownVni),
        ((70, 0xff), DropReason::NotFlooded),
        ((75, 0xfe), DropReason::UnknownMac),
    ] {
        let mut bad = good.clone();
        assert_ne!(bad[at], value);
        bad[at] = value;
        lab.expect_drop(UPLINK, &bad, reason);
    }
    for len in 0..good.len() {
        lab.expect_drop(UPLINK, &good[..len], DropReason::Truncated);
    }
    let inner = switched(&subnet, 9, 1);
    for len in 0..inner.len() {
        let cut = from_peer6(PEERS, &inner[..len]);
        lab.expect_drop(UPLINK, &cut, DropReason::Truncated);
    }
}

/// The packet with an extension header of 8 bytes, of which this is the number.
fn extended(number: u8, extension: [u8; 8], packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet.splice(54..54, extension);
    packet[20] = number;
    packet[19] += 8;
    packet
}

#[test]
fn fragments_are_counted_and_what_is_not_plainly_ours_is_the_hosts() {
    let (mut lab, subnet) = lab(Tunnel::default());
    let good = from_peer6(PEERS, &switched(&subnet, 9, 1));
    for more in [0, 1] {
        let first = extended(44, [17, 0, 0, more, 1, 2, 3, 4], &good);
        lab.expect_drop(UPLINK, &first, DropReason::OuterFragment);
        let later = extended(44, [17, 0, 1, more, 1, 2, 3, 4], &good);
        lab.expect(UPLINK, &later, HOST, &later);
    }
    let mut others: Vec<_> = [0, 43, 60, 50, 51, 58, 59, 6]
        .map(|number| extended(number, [17, 0, 0, 0, 0, 0, 0, 0], &good))
        .into();
    // Another address, another port, another protocol.
    for at in [38, 53, 56, 57, 20] {
        let mut other = good.clone();
        other[at] ^= 4;
        others.push(other);
    }
    let mut other_port = extended(44, [17, 0, 0, 1, 0, 0, 0, 1], &good);
    other_port[64] ^= 1;
    others.push(other_port);
    for other in &others {
        lab.expect(UPLINK, other, HOST, other);
    }
    let (mut lab, _) = lab_with(None, Tunnel::default(), 1500);
    for other in &others {
        lab.expect_drop(UPLINK, other, DropReason::NotForUs);
    }
}

#[test]
fn without_a_vtep_of_ipv6_all_of_it_is_the_hosts() {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.commit();
    let good = from_peer6(PEERS, &switched(&subnet, 9, 1));
    lab.expect(UPLINK, &good, HOST, &good);
    lab.expect(UPLINK, &good[..20], HOST, &good[..20]);
    let only6 = vswitch::tables::Underlay {
        vtep: None,
        vtep6: Some(VTEP6.into()),
        uplink: UPLINK,
        second: None,
        host_port: Some(HOST),
        tunnel: Tunnel::default(),
    };
    let mut lab = Lab::with(Some(only6));
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.commit();
    let frame = switched(&subnet, 9, 1);
    lab.expect(UPLINK, &good, A, &frame);
    // And the other way round, whatever address that is.
    for vtep in [VTEP, [0; 4], [0xff; 4]] {
        let ends = ((PEER_MAC, PEER), (UPLINK_MAC, vtep));
        let other = vxlan(ends.0, ends.1, 50_000, 7, 0, &frame);
        lab.expect(UPLINK, &other, HOST, &other);
    }
}

proptest! {
    #[test]
    fn no_outer_header_of_ipv6_does_harm(
        changes in prop::collection::vec((12..80usize, any::<u8>()), 0..6),
        sealed: bool,
        len in 0..200usize,
        cut in 0..200usize,
        vlan: bool,
    ) {
        let tunnel = Tunnel { vlan: vlan.then_some(100), ..Tunnel::default() };
        let (mut lab, subnet) = lab(tunnel);
        let mut frame = from_peer6(Outer { sealed, ..PEERS }, &switched(&subnet, 9, 1));
        changes.iter().for_each(|(at, value)| frame[*at] = *value);
        frame.resize(len, 0x11);
        if vlan {
            frame = tagged(0x8100, 100, &[&frame[..], &[0; 12]].concat());
        }
        let cut = cut.min(frame.len());
        let chained = MemoryFrame::chained(&frame[..cut], &frame[cut..]);
        lab.rx[UPLINK.index()].push(chained).unwrap();
        while lab.worker.poll() != 0 {}
        lab.balanced();
    }
}
