// SPDX-License-Identifier: MIT
//! Packets by flow, and what has to come out of the switch for each state of the flow's destination. Built by
//! etherparse, never by the switch's own wire code.

use std::net::Ipv4Addr;

use etherparse::{Ethernet2Header, IpNumber, Ipv4Header, PacketBuilder, UdpHeader};

use super::history::{At, Place};

pub(super) const UPLINK: u8 = 0;
pub(super) const VTEP: [u8; 4] = [192, 0, 2, 1];
pub(super) const UPLINK_MAC: [u8; 6] = [2, 0xaa, 0, 0, 0, 1];
const DVR: [u8; 6] = [0xfe, 0x16, 0x11, 0, 0, 0];

/// The packet's number stands in its last bytes.
const NUMBER: usize = 8;

/// Bytes in front of the inner frame.
const OUTER: usize = 50;

/// How a packet of a flow gets to its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// From a guest, by the MAC that the guest knows.
    Switched([u8; 6]),
    /// From a guest to its gateway, which knows the MAC.
    Routed,
    /// From another host, by the MAC that the host knows.
    FromUnderlay([u8; 6]),
}

/// Packets with equal headers.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) way: Way,
    /// Number of its destination.
    pub(super) to: usize,
    /// Inner source.
    pub(super) from: ([u8; 6], Ipv4Addr),
    /// Inner destination.
    pub(super) ip: Ipv4Addr,
    /// MAC of the sender's gateway.
    pub(super) gateway: [u8; 6],
    /// The destination's VNI, and the MAC of the gateway of its subnet.
    pub(super) there: (u32, [u8; 6]),
    /// Inner UDP source port: tells the flows apart.
    pub(super) sport: u16,
}

impl Flow {
    /// The packet as it is sent in, with number 0.
    pub(super) fn input(&self) -> Vec<u8> {
        match self.way {
            Way::Switched(mac) => self.inner(self.from.0, mac, 64),
            Way::Routed => self.inner(self.from.0, self.gateway, 64),
            Way::FromUnderlay(mac) => {
                let peer = (host_mac(250), [192, 0, 2, 250]);
                let inner = self.inner(self.from.0, mac, 64);
                vxlan(peer, (UPLINK_MAC, VTEP), self.there.0, &inner)
            }
        }
    }

    /// The packet as it has to come out, with number 0 and outer source port 0, and by which port. `None`: it is dropped.
    pub(super) fn output(&self, at: At) -> Option<(u8, Vec<u8>)> {
        let inner = match (self.way, at.place) {
            (Way::Switched(mac) | Way::FromUnderlay(mac), _) if mac != at.mac => return None,
            (Way::FromUnderlay(_), Place::Host(_)) => return None,
            (Way::Switched(mac) | Way::FromUnderlay(mac), _) => self.inner(self.from.0, mac, 64),
            (Way::Routed, Place::Port(_)) => self.inner(self.there.1, at.mac, 63),
            (Way::Routed, Place::Host(_)) => self.inner(DVR, at.mac, 63),
        };
        Some(match at.place {
            Place::Port(port) => (port, inner),
            Place::Host(host) => {
                let outer = (host_mac(host), [192, 0, 2, host]);
                (
                    UPLINK,
                    vxlan((UPLINK_MAC, VTEP), outer, self.there.0, &inner),
                )
            }
        })
    }

    fn inner(&self, src: [u8; 6], dst: [u8; 6], ttl: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2(src, dst)
            .ipv4(self.from.1.octets(), self.ip.octets(), ttl)
            .udp(self.sport, 5678)
            .write(&mut bytes, &[0; 32])
            .unwrap();
        // Without a UDP checksum, so that the number can be written over.
        bytes[40..42].fill(0);
        bytes
    }
}

pub(super) fn host_mac(host: u8) -> [u8; 6] {
    [2, 0xaa, 0, 0, 0, host]
}

fn vxlan(src: ([u8; 6], [u8; 4]), dst: ([u8; 6], [u8; 4]), vni: u32, inner: &[u8]) -> Vec<u8> {
    let length = (UdpHeader::LEN + 8 + inner.len()) as u16;
    let mut ip = Ipv4Header::new(length, 64, IpNumber::UDP, src.1, dst.1).unwrap();
    ip.dont_fragment = true;
    ip.header_checksum = ip.calc_header_checksum();
    let ethernet = Ethernet2Header {
        source: src.0,
        destination: dst.0,
        ether_type: etherparse::EtherType::IPV4,
    };
    let mut udp = [0; 8];
    udp[2..4].copy_from_slice(&4789u16.to_be_bytes());
    udp[4..6].copy_from_slice(&length.to_be_bytes());
    let vni = (vni << 8).to_be_bytes();
    [
        &ethernet.to_bytes()[..],
        &ip.to_bytes(),
        &udp,
        &[8, 0, 0, 0],
        &vni,
        inner,
    ]
    .concat()
}

/// Writes a packet's number.
pub(super) fn set_number(bytes: &mut [u8], number: u64) {
    let at = bytes.len() - NUMBER;
    bytes[at..].copy_from_slice(&number.to_be_bytes());
}

/// A packet's number; `None` if it is too short to have one.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.last_chunk().map(|number| u64::from_be_bytes(*number))
}

/// True for what a guest is told of a packet of its own that was dropped: ICMP, which no flow is.
pub(super) fn tells_of_a_drop(port: u8, bytes: &[u8]) -> bool {
    port != UPLINK && bytes.get(23) == Some(&etherparse::IpNumber::ICMP.0)
}

/// Where a packet that came out by `port` is going, by its outer and inner destination.
pub(super) fn destination(port: u8, bytes: &[u8]) -> Option<At> {
    let (place, inner) = match port {
        UPLINK => (Place::Host(*bytes.get(33)?), OUTER),
        port => (Place::Port(port), 0),
    };
    let mac = *bytes.get(inner..)?.first_chunk()?;
    Some(At { mac, place })
}

/// True if a packet that came out by `port` is `expected`, but for its number and the outer source port, which has to
/// be a dynamic one.
pub(super) fn is(port: u8, mut bytes: Vec<u8>, expected: &(u8, Vec<u8>)) -> bool {
    set_number(&mut bytes, 0);
    if port == UPLINK {
        let sport = &mut bytes[34..36];
        if sport[0] < 0xc0 {
            return false;
        }
        sport.fill(0);
    }
    (port, bytes) == *expected
}
