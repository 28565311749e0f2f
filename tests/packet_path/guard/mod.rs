// SPDX-License-Identifier: MIT
//! Anti-spoofing: who a guest may say it is (`matrix`), and what it may not pretend to serve (`servers`).

mod matrix;
mod servers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use vswitch::counters::DropReason;
use vswitch::tables::{AddressPair, Guard, Role, TenantPort};
use vswitch::wire::Mac;

use crate::lab::*;
use crate::tunnel::tagged;
use crate::{A, B};

const OWN: [u8; 6] = [2, 0, 0, 7, 0, 1];
const ALLOWED: [u8; 6] = [2, 0, 0, 7, 0, 0x11];
const NOBODYS: [u8; 6] = [2, 0, 0, 7, 0, 0x66];
const TO: [u8; 6] = [2, 0, 0, 7, 0, 2];

/// What guest 1 may send from, its own addresses first.
const PAIRS: [([u8; 6], &str); 8] = [
    (OWN, "10.7.0.1/32"),
    (OWN, "2001:db8::1/128"),
    (OWN, "10.9.0.0/16"),
    (OWN, "2001:db8:1::/64"),
    (ALLOWED, "10.7.0.77/32"),
    (ALLOWED, "2001:db8:2::77/128"),
    (ALLOWED, "10.11.4.0/22"),
    (ALLOWED, "2001:db8:3::/48"),
];

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Guest 1 at A is held to [`PAIRS`]. Guest 2 at B may do what it likes.
fn lab() -> (Lab, Subnet) {
    let mut lab = Lab::new();
    lab.takes_tags = true;
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    let pairs = PAIRS.map(|(mac, prefix)| AddressPair {
        mac: Mac::new(mac),
        prefix: prefix.parse().unwrap(),
    });
    let guarded = TenantPort {
        mac: Mac::new(OWN),
        admin_up: true,
        takes_tags: true,
        guard: Some(Guard::new(&pairs)),
        lease: None,
        lease6: None,
        attachments: [subnet.attachment()].into_iter().collect(),
    };
    lab.writer.set_role(A, Role::Tenant(Arc::new(guarded)));
    lab.commit();
    (lab, subnet)
}

impl Lab {
    /// Guest 1 sends it, and guest 2 gets it unless it is to be dropped, for this reason and counted once. The same behind a
    /// VLAN tag.
    #[track_caller]
    fn try_it(&mut self, what: &str, frame: &[u8], dropped: Option<DropReason>) {
        self.try_one(what, frame, dropped);
        for kind in [0x8100, 0x88a8] {
            let what = format!("{what}, behind tag {kind:x}");
            self.try_one(&what, &tagged(kind, 0x2005, frame), dropped);
        }
    }

    #[track_caller]
    fn try_one(&mut self, what: &str, frame: &[u8], dropped: Option<DropReason>) {
        let before = self.totals(A);
        self.inject(A, frame);
        let out = self.out(B);
        match dropped {
            None => assert_eq!(out, [frame], "{what}"),
            Some(_) => assert_eq!(out, Vec::<Vec<u8>>::new(), "{what}"),
        }
        let since = self.totals(A).since(&before);
        let counted = DropReason::ALL.iter().copied();
        let counted = counted.filter(|reason| since.drops_for(*reason) != 0);
        assert_eq!(
            (since.rx, since.dropped(), counted.collect::<Vec<_>>()),
            (1, dropped.iter().count() as u64, Vec::from_iter(dropped)),
            "{what}"
        );
        self.silent();
    }
}

/// The same to the limited broadcast address; its checksums are not looked at.
fn to_all(mut frame: Vec<u8>) -> Vec<u8> {
    frame[30..34].fill(255);
    frame
}

fn udp_from(mac: [u8; 6], ip: IpAddr, ports: (u16, u16)) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(mac, TO);
    let ip = match ip {
        IpAddr::V4(ip) => ethernet.ipv4(ip.octets(), [10, 7, 0, 2], 64),
        IpAddr::V6(ip) => ethernet.ipv6(ip.octets(), [9; 16], 64),
    };
    let mut bytes = Vec::new();
    ip.udp(ports.0, ports.1)
        .write(&mut bytes, b"hello")
        .unwrap();
    bytes
}

fn tcp_from(mac: [u8; 6], ip: IpAddr) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(mac, TO);
    let ip = match ip {
        IpAddr::V4(ip) => ethernet.ipv4(ip.octets(), [10, 7, 0, 2], 64),
        IpAddr::V6(ip) => ethernet.ipv6(ip.octets(), [9; 16], 64),
    };
    let mut bytes = Vec::new();
    ip.tcp(1, 2, 3, 4).write(&mut bytes, b"hello").unwrap();
    bytes
}

/// An ICMP message over IPv4.
fn icmpv4(mac: [u8; 6], source: Ipv4Addr, message: &[u8; 8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(mac, TO)
        .ipv4(source.octets(), [10, 7, 0, 2], 64)
        .icmpv4_raw(message[0], message[1], [0; 4])
        .write(&mut bytes, &[0; 8])
        .unwrap();
    bytes[34..42].copy_from_slice(message);
    bytes
}

/// Unicast, so that nobody answers it: `mac` says that `sender` is at `ip`.
fn arp(
    mac: [u8; 6],
    sender: [u8; 6],
    ip: Ipv4Addr,
    operation: ArpOperation,
    target: Ipv4Addr,
) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &sender,
        &ip.octets(),
        &[0; 6],
        &target.octets(),
    );
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(mac, TO).arp(packet.unwrap());
    builder.write(&mut bytes).unwrap();
    bytes
}

/// IPv6 with a payload that begins with header number `next`.
fn ipv6(mac: [u8; 6], source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [&TO[..], &mac, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, 255]);
    bytes.extend(source.octets());
    bytes.extend([9; 16]);
    bytes.extend(payload);
    bytes
}

/// The same with an ICMPv6 message.
fn icmpv6(mac: [u8; 6], source: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    ipv6(mac, source, 58, message)
}

/// Neighbor solicitation (135) or advertisement (136) about `target`, with a link-layer address option (RFC 4861).
fn nd(kind: u8, target: Ipv6Addr, option: Option<[u8; 6]>) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(target.octets());
    if let Some(mac) = option {
        bytes.extend([kind - 134, 1]);
        bytes.extend(mac);
    }
    bytes
}

/// The address that every machine gives itself by its MAC (RFC 4291 appendix A).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let id = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(u64::from_be_bytes(id)))
}
