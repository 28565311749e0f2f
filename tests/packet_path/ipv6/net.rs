// SPDX-License-Identifier: MIT
//! IPv6 subnets, guests in them, and their packets, which etherparse builds.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use etherparse::{IpNumber, Ipv6FlowLabel, Ipv6Header};
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{Attachment, Hop, Neighbor, PortId, Role, RouteTable, TenantPort};
use vswitch::wire::{Mac, Vni};

use crate::lab::*;

pub(crate) const ICMP: IpNumber = IpNumber::IPV6_ICMP;

/// The twin of a subnet: `2001:db8:<vni>:<number>::/64`, with the same gateway.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) narrow: Subnet,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) gateways: Vec<IpAddr>,
}

impl Net {
    pub(crate) fn new(vni: u32, domain: u16, vpc: u16, number: u8) -> Self {
        let mut net = Self {
            narrow: Subnet::new(vni, domain, vpc, number),
            routes: Arc::default(),
            gateways: Vec::new(),
        };
        net.gateways.push(net.ip(0xfe).into());
        net
    }

    pub(crate) fn ip(&self, n: u16) -> Ipv6Addr {
        let (vni, number) = (self.narrow.vni as u16, self.narrow.number.into());
        Ipv6Addr::new(0x2001, 0xdb8, vni, number, 0, 0, 0, n)
    }

    pub(crate) fn gateway(&self) -> Ipv6Addr {
        self.ip(0xfe)
    }

    pub(crate) fn gateway_mac(&self) -> [u8; 6] {
        gateway_mac(self.narrow.vni, self.narrow.number)
    }

    pub(crate) fn mac(&self, n: u8) -> [u8; 6] {
        guest_mac(self.narrow.vni, n)
    }

    pub(crate) fn prefix(&self) -> ipnet::IpNet {
        ipnet::Ipv6Net::new(self.ip(0), 64).unwrap().into()
    }

    pub(crate) fn connected(&self) -> Route {
        Route {
            prefix: self.prefix(),
            priority: 0,
            target: Target::Connected(vpc(self.narrow.vpc)),
        }
    }

    pub(crate) fn attachment(&self) -> Attachment {
        Attachment {
            cidr: self.prefix(),
            gateway_ip: Some(self.gateway().into()),
            gateways: self.gateways.as_slice().into(),
            routes: Arc::clone(&self.routes),
            ..self.narrow.attachment()
        }
    }
}

/// Connects the subnets and their twins as one router does, with further routes.
pub(crate) fn connect(nets: &mut [&mut Net], further: &[Route]) {
    let connected = nets
        .iter()
        .flat_map(|net| [net.connected(), net.narrow.connected()]);
    let mut routes: Vec<_> = connected.collect();
    routes.extend_from_slice(further);
    let table = Arc::new(RouteTable::build(&mut routes));
    let six = nets.iter().map(|net| IpAddr::from(net.gateway()));
    let four = nets.iter().map(|net| IpAddr::from(net.narrow.gateway()));
    let mut gateways: Vec<_> = four.chain(six).collect();
    gateways.sort_unstable();
    for net in nets {
        net.routes = Arc::clone(&table);
        net.narrow.routes = Arc::clone(&table);
        net.gateways.clone_from(&gateways);
        net.narrow.gateways.clone_from(&gateways);
    }
}

/// A port with these attachments.
pub(crate) fn tenant(lab: &mut Lab, at: PortId, mac: [u8; 6], attachments: Vec<Attachment>) {
    let guest = TenantPort {
        mac: Mac::new(mac),
        admin_up: true,
        attachments: attachments.into_iter().collect(),
        ..TenantPort::default()
    };
    lab.writer.set_role(at, Role::Tenant(Arc::new(guest)));
}

/// Guest `n` with an address in the subnet only by IPv6.
pub(crate) fn guest(lab: &mut Lab, at: PortId, n: u8, net: &Net) {
    tenant(lab, at, net.mac(n), vec![net.attachment()]);
    neighbor(lab, net, n, Hop::Local(at));
}

/// Guest `n` on the peer host.
pub(crate) fn remote(lab: &mut Lab, n: u8, net: &Net) {
    let hop = lab.hop(PEER, PEER_MAC);
    neighbor(lab, net, n, hop);
}

pub(crate) fn neighbor(lab: &mut Lab, net: &Net, n: u8, hop: Hop) {
    let neighbor = Neighbor {
        mac: Mac::new(net.mac(n)),
        vni: Vni::new(net.narrow.vni).unwrap(),
        hop,
    };
    let (domain, vpc) = (domain(net.narrow.domain), vpc(net.narrow.vpc));
    lab.writer
        .upsert_mac(domain, neighbor.mac, neighbor)
        .unwrap();
    lab.writer
        .upsert_ip(vpc, net.ip(n.into()).into(), neighbor)
        .unwrap();
}

/// A packet between these MACs and addresses.
pub(crate) fn packet(
    [src, dst]: [[u8; 6]; 2],
    [from, to]: [Ipv6Addr; 2],
    next_header: IpNumber,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let ip = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: payload.len() as u16,
        next_header,
        hop_limit,
        source: from.octets(),
        destination: to.octets(),
    };
    [&dst[..], &src, &[0x86, 0xdd], &ip.to_bytes(), payload].concat()
}

/// A UDP datagram with its checksum.
pub(crate) fn datagram(ips: [Ipv6Addr; 2], data: &[u8]) -> Vec<u8> {
    let ip = Ipv6Header {
        source: ips[0].octets(),
        destination: ips[1].octets(),
        ..Default::default()
    };
    let udp = etherparse::UdpHeader::with_ipv6_checksum(1234, 5678, &ip, data).unwrap();
    [&udp.to_bytes()[..], data].concat()
}

pub(crate) fn udp6(macs: [[u8; 6]; 2], ips: [Ipv6Addr; 2], hop_limit: u8) -> Vec<u8> {
    let payload = datagram(ips, b"from guest to guest");
    packet(macs, ips, IpNumber::UDP, hop_limit, &payload)
}

/// An ICMPv6 message of this type, code and second word, with its checksum.
pub(crate) fn message(
    ips: [Ipv6Addr; 2],
    kind: u8,
    code: u8,
    word: [u8; 4],
    body: &[u8],
) -> Vec<u8> {
    let kind = etherparse::Icmpv6Type::Unknown {
        type_u8: kind,
        code_u8: code,
        bytes5to8: word,
    };
    let [from, to] = ips.map(|ip| ip.octets());
    let header = etherparse::Icmpv6Header::with_checksum(kind, from, to, body).unwrap();
    [&header.to_bytes()[..], body].concat()
}

/// The link-local address that is made of a MAC (RFC 4291 appendix A).
pub(crate) fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    let [head, tail] = [[a ^ 2, b, c, 0xff], [0xfe, d, e, f]];
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..12].copy_from_slice(&head);
    octets[12..].copy_from_slice(&tail);
    octets.into()
}
