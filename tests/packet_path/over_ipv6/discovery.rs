// SPDX-License-Identifier: MIT
//! Neighbor discovery on the uplink: what concerns this host is told, and nothing else.

use std::net::{IpAddr, Ipv6Addr};

use crossbeam_queue::ArrayQueue;
use vswitch::stage::link::{Heard, Hearing, Weight};
use vswitch::wire::{Mac, nd};

use super::*;
use crate::ipv6::net::{ICMP, message, packet};
use crate::underlay::expect_heard;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// A message about `target`, from this address of the peer, with these options and flags.
fn discovery(kind: u8, from: Ipv6Addr, target: [u8; 16], flags: u8, options: &[u8]) -> Vec<u8> {
    discovery_to(VTEP6.into(), kind, from, target, flags, options)
}

/// The same to any address.
fn discovery_to(
    to: Ipv6Addr,
    kind: u8,
    from: Ipv6Addr,
    target: [u8; 16],
    flags: u8,
    options: &[u8],
) -> Vec<u8> {
    let ips = [from, to];
    let body = [&target[..], options].concat();
    let message = message(ips, kind, 0, [flags, 0, 0, 0], &body);
    packet([PEER_MAC, UPLINK_MAC], ips, ICMP, 255, &message)
}

fn option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1], &mac[..]].concat()
}

#[test]
fn what_is_said_by_neighbor_discovery_of_this_host_is_told_and_nothing_else_is() {
    let (peer, other) = (Ipv6Addr::from(PEER6), [2, 0xbb, 0, 0, 0, 9]);
    let heard = |ip: Ipv6Addr, mac, asks: bool, weight| {
        Some(Heard {
            uplink: UPLINK,
            ip: IpAddr::V6(ip),
            mac: Mac::new(mac),
            asks: asks.then_some(IpAddr::from(VTEP6)),
            weight,
        })
    };
    let asks = discovery(SOLICITATION, peer, VTEP6, 0, &option(1, other));
    let says = discovery(ADVERTISEMENT, peer, PEER6, 0x60, &option(2, other));
    let changed = |at: usize, value: u8| {
        let mut frame = asks.clone();
        frame[at] = value;
        frame
    };
    let unspecified = Ipv6Addr::UNSPECIFIED;
    let (group, all_nodes) = (nd::solicited_node(VTEP6.into()), nd::ALL_NODES);
    let cases = [
        (asks.clone(), heard(peer, other, true, Weight::Overrides)),
        (
            discovery(SOLICITATION, peer, VTEP6, 0, &[]),
            heard(peer, PEER_MAC, true, Weight::Silent),
        ),
        (
            discovery_to(group, SOLICITATION, unspecified, VTEP6, 0, &[]),
            heard(unspecified, PEER_MAC, true, Weight::Silent),
        ),
        (
            discovery_to(
                all_nodes,
                ADVERTISEMENT,
                peer,
                PEER6,
                0x20,
                &option(2, other),
            ),
            heard(peer, other, false, Weight::Overrides),
        ),
        (says.clone(), heard(peer, other, false, Weight::Overrides)),
        (
            discovery(ADVERTISEMENT, peer, PEER6, 0x40, &option(2, other)),
            heard(peer, other, false, Weight::New),
        ),
        // Without its MAC: of use to who knows it, if it answers.
        (
            discovery(ADVERTISEMENT, peer, PEER6, 0x60, &[]),
            heard(peer, PEER_MAC, false, Weight::Silent),
        ),
        (
            discovery_to(all_nodes, ADVERTISEMENT, peer, PEER6, 0x20, &[]),
            None,
        ),
        // To others than it has to be for.
        (discovery(SOLICITATION, unspecified, VTEP6, 0, &[]), None),
        (
            discovery_to(all_nodes, ADVERTISEMENT, peer, PEER6, 0x60, &[]),
            None,
        ),
        // For somebody else, from somebody without an address who has one, of another kind.
        (
            discovery(SOLICITATION, peer, PEER6, 0, &option(1, other)),
            None,
        ),
        (
            discovery_to(
                group,
                SOLICITATION,
                unspecified,
                VTEP6,
                0,
                &option(1, other),
            ),
            None,
        ),
        (discovery(133, peer, VTEP6, 0, &[]), None),
        // Another hop limit, checksum, length of an option, length.
        (changed(21, 254), None),
        (changed(57, asks[57] ^ 1), None),
        (changed(79, 0), None),
        (asks[..asks.len() - 1].to_vec(), None),
        (says[..60].to_vec(), None),
    ];
    let told = Hearing::new(ArrayQueue::new(2));
    for host_port in [Some(HOST), None] {
        let mut lab = Lab::dual(host_port, Tunnel::default());
        expect_heard(&mut lab, &told, host_port, &cases);
    }
    // Without a VTEP of IPv6 nobody is spoken of.
    let mut lab = Lab::new();
    lab.worker.tell(Hearing::clone(&told));
    lab.expect(UPLINK, &asks, HOST, &asks);
    assert_eq!(told.pop(), None);
}
