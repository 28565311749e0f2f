// SPDX-License-Identifier: MIT
//! Is it who it says? A guest may send from its own addresses and those that it was allowed, and is neither its subnet's
//! DHCP server nor its router.
//!
//! Reads the frame, `meta.payload`.
//! Drops `SpoofedMac`, `SpoofedIp`, `SpoofedArp`, `RogueServer`, and `VlanTagged` of what has two tags.

use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use crate::burst::{Burst, Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::tables::Guard;
use crate::wire::dhcp6;
use crate::wire::nd::{self, NeighborHdr};
use crate::wire::{ArpHdr, EthernetHdr, Icmpv6Hdr, Ipv4Hdr, Ipv6Hdr, UdpHdr, ethernet, ipv4, ipv6};

const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

/// ICMP types of routers over IPv4 (RFC 792, RFC 1256).
const REDIRECT_V4: u8 = 5;
const ROUTER_ADVERTISEMENT_V4: u8 = 9;

/// Runs the stage over one burst of a guest that `guard` is for, which was parsed. Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(burst: &mut Burst<F>, guard: &Guard) {
    burst.keep(|frame, meta| check(frame.head(), meta, guard));
}

#[inline(always)]
fn check(head: &[u8], meta: &Meta, guard: &Guard) -> Result<(), DropReason> {
    let (ethernet, packet) =
        EthernetHdr::ref_from_prefix(head).map_err(|_| DropReason::Truncated)?;
    let mac = ethernet.src_word();
    if meta.payload == Payload::Ipv4
        && let Ok((ip, _)) = Ipv4Hdr::ref_from_prefix(packet)
        && guard.is_usual(mac, ip.src())
        && ip.protocol() == ipv4::TCP
    {
        return Ok(());
    }
    general(ethernet, packet, meta, guard)
}

/// All but the usual.
#[inline(never)]
fn general(
    ethernet: &EthernetHdr,
    packet: &[u8],
    meta: &Meta,
    guard: &Guard,
) -> Result<(), DropReason> {
    let mac = ethernet.src_word();
    if !guard.allows(mac) {
        return Err(DropReason::SpoofedMac);
    }
    match (meta.payload, ethernet.ethertype()) {
        (Payload::Ipv4, _) => check_ipv4(mac, packet, guard),
        (Payload::Ipv6, _) => check_ipv6(mac, packet, guard),
        (Payload::Other, ethernet::ARP) => check_arp(mac, packet, guard),
        (Payload::Other, tag) if ethernet::is_tag(tag) => check_tagged(mac, packet, guard),
        (Payload::Other, kind) => check_other(kind, packet),
    }
}

/// The same holds behind a tag. What is behind two cannot be told: there may be more.
fn check_tagged(mac: u64, packet: &[u8], guard: &Guard) -> Result<(), DropReason> {
    let (&[_, _, a, b], packet) = packet.split_first_chunk().ok_or(DropReason::Truncated)?;
    match u16::from_be_bytes([a, b]) {
        ethernet::IPV4 => check_ipv4(mac, packet, guard),
        ethernet::IPV6 => check_ipv6(mac, packet, guard),
        ethernet::ARP => check_arp(mac, packet, guard),
        tag if ethernet::is_tag(tag) => Err(DropReason::VlanTagged),
        kind => check_other(kind, packet),
    }
}

/// Some receivers take for IP or ARP what is so in the header of SNAP (IEEE 802.2, RFC 1042), whatever length that says it has. No
/// guest needs it, and what it says is not looked at.
fn check_other(kind: u16, packet: &[u8]) -> Result<(), DropReason> {
    let is_snap = kind < ethernet::LEAST_ETHERTYPE && packet.starts_with(&ethernet::SNAP);
    (!is_snap).then_some(()).ok_or(DropReason::RogueServer)
}

fn check_ipv4(mac: u64, packet: &[u8], guard: &Guard) -> Result<(), DropReason> {
    let (ip, _) = Ipv4Hdr::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    let source = Ipv4Addr::from(ip.src());
    let upper = packet.get(ip.header_len()..);
    match ip.protocol() {
        _ if ip.is_later_fragment() => {}
        ipv4::UDP => match ports(upper) {
            // A client does not look which port it comes from (RFC 2131 section 4.1).
            Some((_, DHCP_CLIENT)) => return Err(DropReason::RogueServer),
            // A client that has no address yet.
            Some((DHCP_CLIENT, DHCP_SERVER))
                if source.is_unspecified() && Ipv4Addr::from(ip.dst()).is_broadcast() =>
            {
                return Ok(());
            }
            // What cannot be told may be a server's.
            None => return Err(DropReason::RogueServer),
            _ => {}
        },
        ipv4::ICMP => match upper.and_then(<[u8]>::first) {
            None | Some(&(REDIRECT_V4 | ROUTER_ADVERTISEMENT_V4)) => {
                return Err(DropReason::RogueServer);
            }
            _ => {}
        },
        _ => {}
    }
    let honest = guard.allows_ipv4(mac, source);
    honest.then_some(()).ok_or(DropReason::SpoofedIp)
}

/// Source and destination port.
fn ports(udp: Option<&[u8]>) -> Option<(u16, u16)> {
    let (udp, _) = UdpHdr::ref_from_prefix(udp?).ok()?;
    Some((udp.src_port(), udp.dst_port()))
}

/// Sender's MAC and address (RFC 826). A probe has no address, and claims the one that it asks for (RFC 5227).
fn check_arp(mac: u64, packet: &[u8], guard: &Guard) -> Result<(), DropReason> {
    let (arp, _) = ArpHdr::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    let claimed = match arp.is_probe() {
        true => arp.target_ip(),
        false => arp.sender_ip(),
    };
    let honest =
        arp.is_of_ipv4() && arp.sender_mac().word() == mac && guard.allows_ipv4(mac, claimed);
    honest.then_some(()).ok_or(DropReason::SpoofedArp)
}

/// The source address, and what it says of itself by neighbor discovery (RFC 4861).
fn check_ipv6(mac: u64, packet: &[u8], guard: &Guard) -> Result<(), DropReason> {
    let (ip, _) = Ipv6Hdr::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    let source = ip.src();
    // Not what is behind the packet, which may say otherwise than its next fragment.
    let packet = packet.get(..ip.total_len()).unwrap_or(packet);
    // What cannot be told, since its header is not here either, may be a router advertisement (RFC 7113 section 3).
    let upper = ipv6::upper_layer(ip, packet).ok_or(DropReason::RogueServer)?;
    match upper {
        (ipv6::ICMP, message) if message.len() < Icmpv6Hdr::LEN => {
            return Err(DropReason::RogueServer);
        }
        (ipv6::ICMP, message) => check_nd(mac, source, message, guard)?,
        // A relay agent's too, and a client does not look which port it comes from (RFC 8415 section 7.2).
        (ipv4::UDP, udp) => match ports(Some(udp)) {
            None | Some((dhcp6::SERVER, _) | (_, dhcp6::CLIENT)) => {
                return Err(DropReason::RogueServer);
            }
            Some(_) => {}
        },
        _ => {}
    }
    // Who looks whether its address is free has none yet.
    let is_nobody = source.is_unspecified() && upper.0 == ipv6::ICMP;
    let honest = is_nobody || guard.allows_ipv6(mac, source);
    honest.then_some(()).ok_or(DropReason::SpoofedIp)
}

fn check_nd(mac: u64, source: Ipv6Addr, message: &[u8], guard: &Guard) -> Result<(), DropReason> {
    match message.first() {
        Some(&(nd::ROUTER_ADVERTISEMENT | nd::REDIRECT)) => Err(DropReason::RogueServer),
        Some(&kind @ (nd::NEIGHBOR_SOLICITATION | nd::NEIGHBOR_ADVERTISEMENT)) => {
            let message = NeighborHdr::ref_from_prefix(message);
            let (header, options) = message.map_err(|_| DropReason::SpoofedArp)?;
            let own = guard.allows_ipv6(mac, header.target());
            // Who asks without an address claims the one that it asks for (RFC 4862 section 5.4.2).
            let asks = kind == nd::NEIGHBOR_SOLICITATION && !source.is_unspecified();
            let honest = (own || asks) && has_no_other_mac(mac, options);
            honest.then_some(()).ok_or(DropReason::SpoofedArp)
        }
        Some(&nd::ROUTER_SOLICITATION) => {
            let options = message.get(Icmpv6Hdr::LEN..).unwrap_or_default();
            let honest = has_no_other_mac(mac, options);
            honest.then_some(()).ok_or(DropReason::SpoofedArp)
        }
        _ => Ok(()),
    }
}

/// True unless an option that tells a MAC has another one, or options make no sense.
fn has_no_other_mac(mac: u64, options: &[u8]) -> bool {
    nd::Options(options).all(|option| match option {
        Ok((nd::option::SOURCE | nd::option::TARGET, option)) => {
            nd::mac_in(option).is_some_and(|told| told.word() == mac)
        }
        option => option.is_ok(),
    })
}
