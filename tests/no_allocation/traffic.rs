// SPDX-License-Identifier: MIT
//! One frame of every kind: each way to forward, each reason to drop.

use std::net::Ipv4Addr;
use std::sync::Arc;

use vswitch::io::Frame;
use vswitch::io::memory::MemoryFrame;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{
    AddressPair, GatewayGroup, Guard, Hop, PortId, Role, TenantPort, Tunnel, Underlay,
};
use vswitch::wire::Mac;

use super::dhcp::{dhcp, dhcp6, lease, lease6};
use super::lab::*;
use super::net::{self, ICMP, Net, link_local, message, packet, udp6};
use super::{Arrivals, Pair};

const A: PortId = port(2);
const B: PortId = port(3);
const C: PortId = port(4);
const DOWN: PortId = port(5);
const UNBOUND: PortId = port(6);
const STUCK: PortId = port(7);

/// A switch, what arrives at it, and how many of those frames leave.
pub(crate) struct Scene {
    pub(crate) pair: Pair,
    pub(crate) arrivals: Arrivals,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
}

/// Subnets 10.7.0.0/24 and 10.8.1.0/24, routed; thousands of neighbors and of routes.
pub(crate) fn populate(lab: &mut Lab) -> (Subnet, Subnet) {
    let (mut blue, mut red) = (Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 1, 1));
    let via = |prefix: String, hop: Ipv4Addr| Route {
        prefix: prefix.parse().unwrap(),
        priority: 1,
        target: Target::Via(vpc(1), hop.into()),
    };
    let mut further: Vec<_> = (0..5000u32)
        .map(|n| via(format!("172.16.{}.{}/32", n >> 8, n & 255), blue.ip(9)))
        .collect();
    further.push(via("198.51.100.0/24".into(), blue.ip(9)));
    further.push(via("198.51.101.0/24".into(), blue.ip(9)));
    further.push(via("198.51.101.0/24".into(), red.ip(9)));
    further.push(Route {
        target: Target::Blackhole,
        ..via("198.18.0.0/15".into(), blue.ip(9))
    });
    let mut six = Net::new(7, 1, 1, 0);
    further.extend([six.connected(), Net::new(8, 2, 1, 1).connected()]);
    router(&mut [&mut blue, &mut red], &further);
    six.routes = Arc::clone(&blue.routes);
    lab.guest(A, 1, std::slice::from_ref(&blue));
    lab.guest(B, 2, std::slice::from_ref(&blue));
    lab.guest(C, 3, &[red.clone(), blue.clone()]);
    let mut left = left_to_gateways();
    let Hop::Remote(gateway) = lab.hop(PEER, PEER_MAC) else {
        panic!("a hop is remote");
    };
    left.group = GatewayGroup::new(&[(PEER.into(), gateway)]).map(Arc::new);
    let subnets = [&red, &blue, &left].map(Subnet::attachment);
    let attachments = subnets.into_iter().chain([six.attachment()]).collect();
    let wide = TenantPort {
        mac: Mac::new(guest_mac(8, 3)),
        admin_up: true,
        lease6: Some(Arc::new(lease6(&six))),
        attachments,
        ..TenantPort::default()
    };
    lab.writer.set_role(C, Role::Tenant(Arc::new(wide)));
    lab.guest(DOWN, 4, std::slice::from_ref(&blue));
    lab.guest(STUCK, 7, std::slice::from_ref(&blue));
    let down = TenantPort {
        mac: Mac::new(guest_mac(7, 4)),
        admin_up: false,
        takes_tags: false,
        guard: None,
        lease: None,
        lease6: None,
        attachments: [blue.attachment()].into_iter().collect(),
    };
    lab.writer.set_role(DOWN, Role::Tenant(Arc::new(down)));
    let pair = AddressPair {
        mac: Mac::new(guest_mac(7, 1)),
        prefix: std::net::IpAddr::from(blue.ip(1)).into(),
    };
    let guarded = TenantPort {
        mac: pair.mac,
        admin_up: true,
        takes_tags: true,
        guard: Some(Guard::new(&[pair])),
        lease: Some(Arc::new(lease(&blue))),
        lease6: None,
        attachments: [blue.attachment()].into_iter().collect(),
    };
    lab.writer.set_role(A, Role::Tenant(Arc::new(guarded)));
    lab.neighbor(&blue, 6, Mac::new(guest_mac(7, 6)), Hop::Local(UNBOUND));
    lab.remote(9, &blue);
    lab.remote(9, &red);
    net::remote(lab, 9, &six);
    let peer = lab.hop(PEER, PEER_MAC);
    for n in 0..10_000u32 {
        let other = Subnet::new(9, 3, 1, (n >> 8) as u8);
        let [.., a, b] = n.to_be_bytes();
        lab.neighbor(&other, b, Mac::new([2, 1, 0, 0, a, b]), peer);
    }
    lab.commit();
    (blue, red)
}

/// Everything but what the underlay sends that is not for us.
pub(crate) fn with_host_port() -> Scene {
    let mut lab = Lab::new();
    let (blue, red) = populate(&mut lab);
    let mut arrivals = forwarded(&blue, &red);
    let sent = arrivals.len() as u64;
    let mut questions = answered(&blue);
    questions.extend(answered_ipv6());
    let answered = questions.len() as u64;
    arrivals.extend(questions);
    arrivals.extend(dropped_from_guests(&blue, &red));
    arrivals.extend(dropped_from_underlay(&blue));
    Scene {
        pair: Pair::new(lab),
        arrivals,
        sent,
        answered,
    }
}

/// What the underlay sends that is not for us, and nobody takes.
pub(crate) fn without_host_port() -> Scene {
    let mut lab = Lab::with(Some(Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: None,
        host_port: None,
        tunnel: Tunnel::default(),
    }));
    populate(&mut lab);
    Scene {
        pair: Pair::new(lab),
        arrivals: vec![(UPLINK, MemoryFrame::new(&ssh()))],
        sent: 0,
        answered: 0,
    }
}

/// What is forwarded, with an underlay in a VLAN, and a frame that is not in it.
pub(crate) fn in_a_vlan() -> Scene {
    let mut lab = Lab::with(Some(Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: None,
        host_port: Some(HOST),
        tunnel: Tunnel {
            vlan: Some(100),
            ..Tunnel::default()
        },
    }));
    let (blue, red) = populate(&mut lab);
    let mut arrivals = forwarded(&blue, &red);
    let sent = arrivals.len() as u64;
    for (at, frame) in &mut arrivals {
        if *at == UPLINK {
            let bytes = frame.to_vec();
            *frame = MemoryFrame::new(&tagged(&bytes));
        }
    }
    arrivals.push((UPLINK, MemoryFrame::new(&ssh())));
    Scene {
        pair: Pair::new(lab),
        arrivals,
        sent,
        answered: 0,
    }
}

/// The frame in VLAN 100.
fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 100], &frame[12..]].concat()
}

pub(crate) fn ssh() -> Vec<u8> {
    udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into())
}

/// Guest `from` to guest `to` of one subnet.
pub(crate) fn switched(subnet: &Subnet, from: u8, to: u8) -> Vec<u8> {
    udp(
        guest_mac(subnet.vni, from),
        guest_mac(subnet.vni, to),
        subnet.ip(from),
        subnet.ip(to),
    )
}

/// Guest 1 to `to` through its gateway.
pub(crate) fn routed(blue: &Subnet, to: std::net::Ipv4Addr, ttl: u8) -> Vec<u8> {
    udp_with(guest_mac(7, 1), gateway_mac(7, 0), blue.ip(1), to, ttl, 0)
}

pub(crate) fn forwarded(blue: &Subnet, red: &Subnet) -> Arrivals {
    let left = left_to_gateways();
    let (from, to) = (guest_mac(8, 3), guest_mac(11, 77));
    let frames = [
        (A, switched(blue, 1, 2)),
        (B, switched(blue, 2, 1)),
        (A, switched(blue, 1, 9)),
        (A, routed(blue, red.ip(3), 64)),
        (A, routed(blue, red.ip(9), 64)),
        (A, routed(blue, "198.51.100.5".parse().unwrap(), 64)),
        (A, routed(blue, "198.51.101.5".parse().unwrap(), 64)), // by one of two routes
        (A, routed(blue, "172.16.9.9".parse().unwrap(), 64)),
        (A, tagged(&switched(blue, 1, 9))),
        (UPLINK, from_peer(7, 0, &switched(blue, 9, 1))),
        (UPLINK, from_peer(7, 0, &switched(blue, 9, 2))),
        (UPLINK, ssh()),
        (HOST, ssh()),
        (B, routed_ipv6(guest_mac(7, 2), 64)), // of a guest in one subnet
        (C, routed_ipv6(guest_mac(8, 3), 64)), // and in several
        (C, udp(from, to, left.ip(3), left.ip(77))), // to a gateway
        (C, arp(from, left.ip(3), left.ip(77))),
    ];
    frames
        .map(|(at, bytes)| (at, MemoryFrame::new(&bytes)))
        .into()
}

/// A subnet in which nobody is known but by its VPC's gateways.
fn left_to_gateways() -> Subnet {
    Subnet::new(11, 5, 3, 0)
}

/// A packet by the gateway to guest 9.
fn routed_ipv6(from: [u8; 6], hops: u8) -> Vec<u8> {
    let six = Net::new(7, 1, 1, 0);
    udp6([from, six.gateway_mac()], [six.ip(3), six.ip(9)], hops)
}

/// A neighbor solicitation of guest 3 for its gateway.
fn solicitation(hops: u8) -> Vec<u8> {
    let (six, from) = (Net::new(7, 1, 1, 0), link_local(guest_mac(8, 3)));
    let ips = [from, "ff02::1:ff00:fe".parse().unwrap()];
    let message = message(ips, 135, 0, [0; 4], &six.gateway().octets());
    let macs = [guest_mac(8, 3), [0x33, 0x33, 0xff, 0, 0, 0xfe]];
    packet(macs, ips, ICMP, hops, &message)
}

/// What guest 3 asks by IPv6: for routers, before it asks for its own one's MAC, for an echo of that, and for an address.
fn answered_ipv6() -> Arrivals {
    let (six, mac) = (Net::new(7, 1, 1, 0), guest_mac(8, 3));
    let ips = [link_local(mac), "ff02::2".parse().unwrap()];
    let solicits = message(ips, 133, 0, [0; 4], &[]);
    let solicits = packet([mac, [0x33, 0x33, 0, 0, 0, 2]], ips, ICMP, 255, &solicits);
    let ips = [six.ip(3), six.gateway()];
    let echo = message(ips, 128, 0, [0; 4], b"data");
    let echo = packet([mac, six.gateway_mac()], ips, ICMP, 64, &echo);
    let discover = dhcp6(1, &[]);
    [solicits, solicitation(255), echo, discover]
        .map(|bytes| (C, MemoryFrame::new(&bytes)))
        .into()
}

/// A packet of so many bytes of guest 1 to guest 9, which may be fragmented.
pub(crate) fn long(subnet: &Subnet, len: u16) -> Vec<u8> {
    let (from, to) = (subnet.ip(1).octets(), subnet.ip(9).octets());
    let mut ip = etherparse::Ipv4Header::new(len - 20, 64, 17.into(), from, to).unwrap();
    ip.dont_fragment = false;
    ip.header_checksum = ip.calc_header_checksum();
    let mut frame = switched(subnet, 1, 9);
    frame.truncate(14);
    frame.extend(ip.to_bytes());
    frame.resize(14 + usize::from(len), 7);
    frame
}

/// The first segment of a connection of guest 1 to guest 9.
pub(crate) fn syn(subnet: &Subnet) -> Vec<u8> {
    let (from, to) = (subnet.ip(1).octets(), subnet.ip(9).octets());
    let mut frame = Vec::new();
    let size = etherparse::TcpOptionElement::MaximumSegmentSize(1460);
    etherparse::PacketBuilder::ethernet2(guest_mac(7, 1), guest_mac(7, 9))
        .ipv4(from, to, 64)
        .tcp(1, 2, 3, 4)
        .syn()
        .options(&[size])
        .unwrap()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// An ARP request for the MAC of an address.
fn arp(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let arp = etherparse::ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        etherparse::EtherType::IPV4,
        etherparse::ArpOperation::REQUEST,
        &mac,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    );
    let mut request = Vec::new();
    let all = etherparse::PacketBuilder::ethernet2(mac, [0xff; 6]);
    all.arp(arp.unwrap()).write(&mut request).unwrap();
    request
}

/// An ARP request and an echo request of guest 1 for its gateway, and what it asks by DHCP.
fn answered(blue: &Subnet) -> Arrivals {
    let request = arp(guest_mac(7, 1), blue.ip(1), blue.gateway());
    let mut echo = Vec::new();
    etherparse::PacketBuilder::ethernet2(guest_mac(7, 1), gateway_mac(7, 0))
        .ipv4(blue.ip(1).octets(), blue.gateway().octets(), 64)
        .icmpv4_echo_request(1, 2)
        .write(&mut echo, b"data")
        .unwrap();
    let discover = dhcp(1, 1, blue.gateway());
    [request, echo, discover]
        .map(|bytes| (A, MemoryFrame::new(&bytes)))
        .into()
}

fn dropped_from_guests(blue: &Subnet, red: &Subnet) -> Arrivals {
    let good = switched(blue, 1, 9);
    let with = |offset: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[offset..offset + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let mut lldp = routed(blue, red.ip(9), 64);
    lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
    let mut arp = lldp.clone();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let mut offer = switched(blue, 1, 9);
    offer[34..38].copy_from_slice(&[0, 67, 0, 68]);
    let mut tcp_to_gateway = routed(blue, blue.gateway(), 64);
    tcp_to_gateway[23] = 6;
    let mut jumbo = good.clone();
    jumbo.resize(65_600, 0);
    jumbo[24] ^= 1; // else the bytes behind the packet are cut off, and it fits
    // Its headroom is used up but for 28 bytes.
    let mut cramped = good.clone();
    cramped.resize(200, 0);
    let (front, back) = cramped.split_first_chunk::<100>().unwrap();
    let mut cramped = MemoryFrame::new(back);
    *cramped.prepend().unwrap() = *front;
    let frames = [
        (A, good[..30].to_vec()),                      // Truncated
        (A, with(14, &[0x65])),                        // Malformed
        (UNBOUND, good.clone()),                       // PortUnbound
        (A, switched(blue, 1, 6)),                     // PortUnbound, on the way out
        (DOWN, switched(blue, 4, 1)),                  // PortDown
        (A, switched(blue, 1, 4)),                     // PortDown, on the way out
        (A, with(6, &[0xff])),                         // BadSourceMac
        (B, tagged(&switched(blue, 2, 1))),            // VlanTagged
        (A, with(0, &[0xff; 6])),                      // NotFlooded
        (A, switched(blue, 1, 99)),                    // UnknownMac
        (A, with(11, &[9])),                           // SpoofedMac
        (A, with(29, &[9])),                           // SpoofedIp
        (A, arp),                                      // SpoofedArp
        (A, offer),                                    // RogueServer
        (A, lldp),                                     // NotRoutable
        (A, routed(blue, red.ip(9), 1)),               // TtlExpired
        (A, routed(blue, [10, 99, 0, 1].into(), 64)),  // NoRoute
        (A, routed(blue, [198, 18, 0, 1].into(), 64)), // Blackhole
        (A, routed(blue, red.ip(99), 64)),             // UnknownNeighbor
        (A, tcp_to_gateway),                           // ForGateway
        (B, dhcp(2, 1, blue.gateway())),               // NoLease
        (A, dhcp(1, 2, blue.gateway())),               // BadDhcp
        (A, dhcp(1, 7, blue.gateway())),               // DhcpQuiet
        (A, dhcp(1, 4, blue.gateway())),               // DhcpDeclined
        (A, switched(blue, 1, 1)),                     // SamePort
        (A, switched(blue, 1, 7)),                     // TxFull
        (B, switched(blue, 2, 7)),                     // TxFull, by the worker that hands over
        (A, jumbo),                                    // TooBig
        (C, routed_ipv6(guest_mac(8, 3), 1)),          // TtlExpired, of IPv6
        (C, solicitation(64)),                         // BadNd
        (C, dhcp6(3, &[])),                            // BadDhcp, of IPv6
    ];
    let frames = frames.map(|(at, bytes)| (at, MemoryFrame::new(&bytes)));
    frames.into_iter().chain([(A, cramped)]).collect()
}

fn dropped_from_underlay(blue: &Subnet) -> Arrivals {
    let good = from_peer(7, 0, &switched(blue, 9, 1));
    let with = |offset: usize, byte: u8| {
        let mut frame = good.clone();
        frame[offset] = byte;
        frame
    };
    let frames = [
        with(24, 0xff),                                  // BadChecksum
        with(20, 0x20),                                  // OuterFragment
        with(42, 0),                                     // NoVni
        with(46, 1),                                     // UnknownVni
        from_peer(7, 0, &switched(blue, 1, 9)),          // NotLocal
        from_peer(7, 3, &switched(blue, 9, 1)),          // EcnIllegal
        from_peer(7, 0, &tagged(&switched(blue, 9, 2))), // VlanTagged, on the way out
        from_peer(7, 0, &switched(blue, 9, 7)),          // TxFull, by the worker that hands over
    ];
    frames
        .map(|bytes| (UPLINK, MemoryFrame::new(&bytes)))
        .into()
}
