// SPDX-License-Identifier: MIT
//! A frame in one line.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{LinkSlice, NetSlice, SlicedPacket, TransportSlice};
use vswitch::wire::Mac;

/// Bytes of a VXLAN header (RFC 7348 section 5).
const VXLAN_LEN: usize = 8;

/// What stands in its headers, and in those of the frame that it tunnels in VXLAN to this UDP port.
pub(crate) fn summary(frame: &[u8], vxlan_port: u16) -> String {
    let packet = SlicedPacket::from_ethernet(frame).ok();
    let tunnel = packet.as_ref().and_then(|packet| vxlan(packet, vxlan_port));
    match tunnel {
        Some((vni, inner)) => {
            let outer = headers(packet.as_ref());
            format!("{outer}, VNI {vni} [{}]", whole(inner))
        }
        None => whole(frame),
    }
}

/// A frame's headers and length.
fn whole(frame: &[u8]) -> String {
    match SlicedPacket::from_ethernet(frame).ok() {
        None => format!("{} bytes that are no whole packet", frame.len()),
        packet => format!("{}, {} bytes", headers(packet.as_ref()), frame.len()),
    }
}

fn headers(packet: Option<&SlicedPacket<'_>>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = packet.map(|packet| write(&mut text, packet));
    text
}

fn write(text: &mut String, packet: &SlicedPacket<'_>) -> std::fmt::Result {
    if let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link {
        let [src, dst] = [ethernet.source(), ethernet.destination()].map(Mac::new);
        write!(text, "{src} > {dst}")?;
        for vlan in packet.vlan_ids() {
            write!(text, ", VLAN {}", vlan.value())?;
        }
        if packet.net.is_none() {
            write!(text, ", type {:#06x}", ethernet.ether_type().0)?;
        }
    }
    match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let ip = ip.header();
            let [src, dst] = [ip.source(), ip.destination()].map(Ipv4Addr::from);
            write!(text, ", {src} > {dst} ttl {}", ip.ttl())?;
            if packet.transport.is_none() {
                write!(text, ", protocol {}", ip.protocol().0)?;
            }
        }
        Some(NetSlice::Ipv6(ip)) => {
            let ip = ip.header();
            let [src, dst] = [ip.source(), ip.destination()].map(Ipv6Addr::from);
            write!(text, ", {src} > {dst} hop limit {}", ip.hop_limit())?;
        }
        Some(NetSlice::Arp(arp)) => {
            let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from);
            if let (Ok(asks), Ok(of)) = (
                address(arp.sender_protocol_addr()),
                address(arp.target_protocol_addr()),
            ) {
                let operation = arp.operation().0;
                write!(text, ", ARP operation {operation}, {asks} to {of}")?;
            }
        }
        None => {}
    }
    match &packet.transport {
        Some(TransportSlice::Udp(udp)) => {
            let (src, dst) = (udp.source_port(), udp.destination_port());
            write!(text, ", UDP {src} > {dst}")?;
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let (src, dst) = (tcp.source_port(), tcp.destination_port());
            write!(text, ", TCP {src} > {dst}")?;
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            let (kind, code) = (icmp.type_u8(), icmp.code_u8());
            write!(text, ", ICMP type {kind} code {code}")?;
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            let (kind, code) = (icmp.type_u8(), icmp.code_u8());
            write!(text, ", ICMPv6 type {kind} code {code}")?;
        }
        Some(TransportSlice::Igmp(_)) => write!(text, ", IGMP")?,
        None => {}
    }
    Ok(())
}

/// The VNI of a VXLAN packet to this UDP port, and the frame in it.
fn vxlan<'a>(packet: &SlicedPacket<'a>, port: u16) -> Option<(u32, &'a [u8])> {
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        return None;
    };
    let (header, inner) = udp.payload().split_first_chunk::<VXLAN_LEN>()?;
    let [_, _, _, _, a, b, c, _] = *header;
    (udp.destination_port() == port).then_some((u32::from_be_bytes([0, a, b, c]), inner))
}
