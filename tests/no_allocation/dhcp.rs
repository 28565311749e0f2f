// SPDX-License-Identifier: MIT
//! What guests are told by DHCP and DHCPv6, and how they ask.

use std::net::Ipv4Addr;

use vswitch::tables::{Lease, Lease6, LeaseOptions};
use vswitch::wire::Mac;

use super::lab::*;
use super::net::{Net, link_local};

/// What guest 1 is told by DHCP: more than fits into a request.
pub(crate) fn lease(blue: &Subnet) -> Lease {
    let text = [&[15, 250][..], &[b'x'; 250]].concat();
    Lease {
        mac: Mac::new(guest_mac(7, 1)),
        address: ipnet::Ipv4Net::new(blue.ip(1), 24).unwrap(),
        server: blue.gateway(),
        server_mac: Mac::new(gateway_mac(7, 0)),
        seconds: 600,
        mtu: 1450,
        boot: (blue.ip(9), (*b"boot").into(), (*b"file").into()),
        options: LeaseOptions::new([(15, &text[..])]),
    }
}

/// A DHCP message of guest `n`, which says with option 54 whom it asks.
pub(crate) fn dhcp(n: u8, kind: u8, server: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[28..34].copy_from_slice(&guest_mac(7, n));
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message.extend([53, 1, kind, 61, 2, 0, n, 54, 4]);
    message.extend(server.octets());
    message.push(255);
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(guest_mac(7, n), [0xff; 6])
        .ipv4([0; 4], [255; 4], 64)
        .udp(68, 67)
        .write(&mut frame, &message)
        .unwrap();
    frame
}

/// What guest 3 is told by DHCPv6.
pub(crate) fn lease6(six: &Net) -> Lease6 {
    let dns = [&[0, 23, 0, 16][..], &six.ip(9).octets()].concat();
    Lease6 {
        mac: Mac::new(guest_mac(8, 3)),
        addresses: [six.ip(3)].into(),
        subnet: ipnet::Ipv6Net::new(six.ip(0), 64).unwrap(),
        server_mac: Mac::new(six.gateway_mac()),
        seconds: 600,
        options: [(23, dns.into())].into(),
    }
}

/// A DHCPv6 message of guest 3, with an association of addresses, and with options more.
pub(crate) fn dhcp6(kind: u8, options: &[u8]) -> Vec<u8> {
    let (mac, to) = (guest_mac(8, 3), "ff02::1:2".parse::<std::net::Ipv6Addr>());
    let mut message = vec![kind, 1, 2, 3, 0, 1, 0, 3, 9, 9, 9];
    message.extend([0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(options);
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(mac, [0x33, 0x33, 0, 1, 0, 2])
        .ipv6(link_local(mac).octets(), to.unwrap().octets(), 1)
        .udp(546, 547)
        .write(&mut frame, &message)
        .unwrap();
    frame
}
