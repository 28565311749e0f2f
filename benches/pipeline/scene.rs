// SPDX-License-Identifier: MIT
//! What is measured: tables as a controller fills them, and the frames of each case.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use etherparse::PacketBuilder;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::snapshot::{Registrar, Writer, tables};
use vswitch::tables::{
    Attachment, DomainId, Endpoints, Hop, Neighbor, NextHop, PortId, Role, RouteTable, TenantPort,
    Tunnel, Underlay, VpcId,
};
use vswitch::wire::{Mac, Vni};

pub(crate) const BURST: usize = 32;
/// Routes beside the connected ones.
const ROUTES: u16 = 256;
/// Remote hosts that the neighbors are spread over.
const HOSTS: u32 = 256;

pub(crate) const UPLINK: PortId = PortId::new(0).unwrap();
pub(crate) const GUEST: PortId = PortId::new(1).unwrap();
pub(crate) const OTHER_GUEST: PortId = PortId::new(2).unwrap();

const VTEP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const VTEP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 1, 0, 0);
const GUEST_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const UPLINK_MAC: [u8; 6] = [2, 0xaa, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0xaa, 0, 0, 0, 2];
const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const GATEWAY_MAC: [u8; 6] = [2, 0xff, 0, 0, 0, 1];
const DVR_MAC: [u8; 6] = [0xfe, 0x16, 0x11, 0, 0, 0];
/// The first remote neighbor; neighbor `n` has an address and a MAC `n` higher.
const FIRST_IP: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
/// The destinations of the routes, [`ROUTES`] times a thousand.
const FIRST_ROUTE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 0);
const ROUTED: u32 = 1 << 18;
const FIRST_MAC: [u8; 6] = [2, 1, 0, 0, 0, 0];

/// What distinguishes one flow's frames from another's: bytes of the frame, made of the flow's number.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    /// Where in the frame.
    pub(crate) offset: usize,
    /// What flow 0 has there, in network order.
    pub(crate) first: u32,
    /// How much more each further flow has.
    pub(crate) step: u32,
}

/// One kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Case {
    EncapSwitched,
    EncapRouted,
    DecapSwitched,
    DecapRouted,
    LocalSwitched,
    LocalRouted,
    /// As `EncapRouted`, with each packet by another of the table's routes.
    EncapManyRoutes,
    /// As `EncapSwitched`, of IPv6.
    EncapIpv6,
    /// As `EncapRouted`, of IPv6.
    EncapRoutedIpv6,
    /// As `DecapRouted`, of IPv6.
    DecapRoutedIpv6,
    /// As `EncapSwitched`, to hosts that are reached over IPv6.
    EncapOverIpv6,
    /// The same with a UDP checksum.
    EncapOverIpv6Checksum,
    /// As `DecapSwitched`, over IPv6.
    DecapOverIpv6,
    /// The same with a UDP checksum.
    DecapOverIpv6Checksum,
}

/// What an underlay is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    Ipv4,
    Ipv6,
    /// With UDP checksums.
    Ipv6Checksum,
}

impl Over {
    pub(crate) const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Ipv6Checksum];
}

impl Case {
    pub(crate) const ALL: [(&str, Self); 14] = [
        ("encap_switched", Self::EncapSwitched),
        ("encap_routed", Self::EncapRouted),
        ("decap_switched", Self::DecapSwitched),
        ("decap_routed", Self::DecapRouted),
        ("local_switched", Self::LocalSwitched),
        ("local_routed", Self::LocalRouted),
        ("encap_many_routes", Self::EncapManyRoutes),
        ("encap_ipv6", Self::EncapIpv6),
        ("encap_routed_ipv6", Self::EncapRoutedIpv6),
        ("decap_routed_ipv6", Self::DecapRoutedIpv6),
        ("encap_over_ipv6", Self::EncapOverIpv6),
        ("encap_over_ipv6_checksum", Self::EncapOverIpv6Checksum),
        ("decap_over_ipv6", Self::DecapOverIpv6),
        ("decap_over_ipv6_checksum", Self::DecapOverIpv6Checksum),
    ];

    /// What its scene's underlay is of.
    pub(crate) fn over(self) -> Over {
        match self {
            Self::EncapOverIpv6 | Self::DecapOverIpv6 => Over::Ipv6,
            Self::EncapOverIpv6Checksum | Self::DecapOverIpv6Checksum => Over::Ipv6Checksum,
            _ => Over::Ipv4,
        }
    }

    pub(crate) fn has_neighbor_per_flow(self) -> bool {
        !matches!(
            self,
            Self::LocalSwitched | Self::LocalRouted | Self::EncapManyRoutes
        )
    }

    pub(crate) fn arrives_at(self) -> PortId {
        match self {
            Self::DecapSwitched
            | Self::DecapRouted
            | Self::DecapRoutedIpv6
            | Self::DecapOverIpv6
            | Self::DecapOverIpv6Checksum => UPLINK,
            _ => GUEST,
        }
    }

    /// Flow 0's frame, and where the others of so many flows differ.
    pub(crate) fn frame(self, flows: u32) -> (Vec<u8>, Vec<Field>) {
        let [.., a, b, c, d] = FIRST_MAC;
        let (ip, mac) = (u32::from(FIRST_IP), u32::from_be_bytes([a, b, c, d]));
        let at = |offset, first| Field {
            offset,
            first,
            step: 1,
        };
        match self {
            Self::EncapSwitched | Self::EncapOverIpv6 | Self::EncapOverIpv6Checksum => (
                udp(GUEST_MAC, FIRST_MAC, GUEST_IP, FIRST_IP),
                vec![at(2, mac), at(30, ip)],
            ),
            Self::EncapRouted => (
                udp(GUEST_MAC, GATEWAY_MAC, GUEST_IP, FIRST_IP),
                vec![at(30, ip)],
            ),
            Self::DecapSwitched => (
                vxlan(&udp(FIRST_MAC, GUEST_MAC, FIRST_IP, GUEST_IP)),
                vec![at(50 + 8, mac), at(50 + 26, ip)],
            ),
            Self::DecapOverIpv6 => (
                vxlan6(&udp(FIRST_MAC, GUEST_MAC, FIRST_IP, GUEST_IP), false),
                vec![at(70 + 8, mac)],
            ),
            // All flows have one frame: the checksum is of its bytes.
            Self::DecapOverIpv6Checksum => (
                vxlan6(&udp(FIRST_MAC, GUEST_MAC, FIRST_IP, GUEST_IP), true),
                vec![],
            ),
            Self::DecapRouted => (
                vxlan(&udp(DVR_MAC, GUEST_MAC, FIRST_IP, GUEST_IP)),
                vec![at(50 + 26, ip)],
            ),
            Self::EncapManyRoutes => (
                udp(GUEST_MAC, GATEWAY_MAC, GUEST_IP, FIRST_ROUTE),
                vec![Field {
                    offset: 30,
                    first: u32::from(FIRST_ROUTE),
                    step: ROUTED / flows.min(ROUTED),
                }],
            ),
            Self::EncapIpv6 => (ipv6(GUEST_MAC, FIRST_MAC, 0, 0), vec![at(2, mac)]),
            Self::EncapRoutedIpv6 => (
                ipv6(GUEST_MAC, GATEWAY_MAC, u32::from(GUEST_IP), ip),
                vec![at(50, ip)],
            ),
            Self::DecapRoutedIpv6 => (
                vxlan(&ipv6(DVR_MAC, GUEST_MAC, ip, u32::from(GUEST_IP))),
                vec![at(50 + 34, ip)],
            ),
            Self::LocalSwitched => (
                udp(GUEST_MAC, OTHER_MAC, GUEST_IP, OTHER_IP),
                vec![at(34, 0x0400_0035)],
            ),
            Self::LocalRouted => (
                udp(GUEST_MAC, GATEWAY_MAC, GUEST_IP, OTHER_IP),
                vec![at(34, 0x0400_0035)],
            ),
        }
    }
}

/// 60 bytes: the smallest Ethernet frame, without its checksum.
fn udp(src: [u8; 6], dst: [u8; 6], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(src, dst)
        .ipv4(from.octets(), to.octets(), 64)
        .udp(1024, 53);
    builder.write(&mut frame, &[b'x'; 60 - 42]).unwrap();
    frame
}

/// The IPv6 address of who has this one by IPv4.
fn twin(ip: u32) -> Ipv6Addr {
    Ipv6Addr::from(0xfd00 << 112 | u128::from(ip))
}

fn ipv6(src: [u8; 6], dst: [u8; 6], from: u32, to: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(src, dst)
        .ipv6(twin(from).octets(), twin(to).octets(), 64)
        .udp(1024, 53);
    builder.write(&mut frame, b"").unwrap();
    frame
}

fn vxlan(inner: &[u8]) -> Vec<u8> {
    let mut payload = vec![8, 0, 0, 0, 0, 0, 7, 0];
    payload.extend(inner);
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(PEER_MAC, UPLINK_MAC)
        .ipv4(PEER.octets(), VTEP.octets(), 64)
        .udp(50_000, 4789);
    builder.write(&mut frame, &payload).unwrap();
    frame
}

/// The same over IPv6. `sealed`: with a UDP checksum.
fn vxlan6(inner: &[u8], sealed: bool) -> Vec<u8> {
    let mut payload = vec![8, 0, 0, 0, 0, 0, 7, 0];
    payload.extend(inner);
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(PEER_MAC, UPLINK_MAC)
        .ipv6(PEER6.octets(), VTEP6.octets(), 64)
        .udp(50_000, 4789);
    builder.write(&mut frame, &payload).unwrap();
    if !sealed {
        frame[60..62].fill(0);
    }
    frame
}

/// A switch whose tables are filled.
pub(crate) struct Scene {
    pub(crate) writer: Writer,
    pub(crate) registrar: Registrar,
}

impl Scene {
    /// Tables with so many remote neighbors.
    pub(crate) fn new(neighbors: u32, over: Over) -> Self {
        let underlay = Underlay {
            vtep: Some(VTEP),
            vtep6: Some(VTEP6),
            uplink: UPLINK,
            second: None,
            host_port: None,
            tunnel: Tunnel {
                udp6_checksum: over == Over::Ipv6Checksum,
                ..Tunnel::default()
            },
        };
        let (mut writer, registrar) = tables(Some(underlay), 1 << 20);
        let (vpc, domain) = (VpcId(NonZeroU16::MIN), DomainId(NonZeroU16::MIN));
        let vni = Vni::new(7).unwrap();
        let via = |n: u16| Route {
            prefix: format!("172.{}.{}.0/22", 16 + (n >> 6), (n & 63) * 4)
                .parse()
                .unwrap(),
            priority: 1,
            // Each by another machine, or the table would have one range for all.
            target: Target::Via(
                vpc,
                Ipv4Addr::from(u32::from(FIRST_IP) + u32::from(n) % neighbors).into(),
            ),
        };
        let connected = |prefix: &str| Route {
            prefix: prefix.parse().unwrap(),
            priority: 0,
            target: Target::Connected(vpc),
        };
        let mut routes: Vec<_> = (0..ROUTES).map(via).collect();
        routes.extend(["10.0.0.0/24", "10.64.0.0/10", "fd00::/96"].map(connected));
        let attachment = Attachment {
            vni,
            domain,
            vpc,
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway_mac: Some(Mac::new(GATEWAY_MAC)),
            gateway_ip: None,
            gateways: [].into(),
            host_dvr_mac: Some(Mac::new(DVR_MAC)),
            routes: Arc::new(RouteTable::build(&mut routes)),
            advertisement: Arc::default(),
            group: None,
            replication: None,
        };
        let add = |writer: &mut Writer, mac, ip: Ipv4Addr, hop| {
            let neighbor = Neighbor {
                mac: Mac::new(mac),
                vni,
                hop,
            };
            writer.upsert_mac(domain, neighbor.mac, neighbor).unwrap();
            writer.upsert_ip(vpc, ip.into(), neighbor).unwrap();
            writer
                .upsert_ip(vpc, twin(ip.to_bits()).into(), neighbor)
                .unwrap();
        };
        writer.set_role(UPLINK, Role::Uplink);
        for (port, mac, ip) in [
            (GUEST, GUEST_MAC, GUEST_IP),
            (OTHER_GUEST, OTHER_MAC, OTHER_IP),
        ] {
            let attachments = [attachment.clone()].into_iter().collect();
            let tenant = TenantPort {
                mac: Mac::new(mac),
                admin_up: true,
                takes_tags: false,
                guard: None,
                lease: None,
                lease6: None,
                attachments,
            };
            writer.set_role(port, Role::Tenant(Arc::new(tenant)));
            add(&mut writer, mac, ip, Hop::Local(port));
        }
        for n in 0..neighbors {
            let next_hop = NextHop {
                port: UPLINK,
                endpoints: match over {
                    Over::Ipv4 => Endpoints::V4 {
                        src: VTEP,
                        dst: Ipv4Addr::from(u32::from(PEER) + n % HOSTS),
                    },
                    Over::Ipv6 | Over::Ipv6Checksum => Endpoints::V6 {
                        src: VTEP6,
                        dst: Ipv6Addr::from(u128::from(PEER6) + u128::from(n % HOSTS)),
                    },
                },
                src_mac: Mac::new(UPLINK_MAC),
                dst_mac: Mac::new(PEER_MAC),
                mtu: 1500,
            };
            let hop = Hop::Remote(writer.acquire_hop(next_hop).unwrap());
            let [a, b, c, d] = n.to_be_bytes();
            let mac = [FIRST_MAC[0], FIRST_MAC[1], a, b, c, d];
            add(
                &mut writer,
                mac,
                Ipv4Addr::from(u32::from(FIRST_IP) + n),
                hop,
            );
        }
        let _ = writer.commit();
        Self { writer, registrar }
    }
}
