// SPDX-License-Identifier: MIT
//! What the gateway says by ICMP: echo replies, and why a packet goes no further (RFC 792, RFC 1812 section 4.3).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use zerocopy::{FromBytes, IntoBytes};

use super::{Edge, Verdict, dropped, write};
use crate::burst::{Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::limits::mtu_in;
use crate::stage::route;
use crate::tables::Attachment;
use crate::wire::{EthernetHdr, IcmpHdr, Ipv4Hdr, ethernet, icmp, ipv4};

/// Bytes that an error message has in front of the packet that it is about.
const HEADERS: usize = Ipv4Hdr::LEN + IcmpHdr::LEN;

/// Most bytes of that packet: an error message has 576 bytes at most (RFC 1812 section 4.3.2.3).
const QUOTE: usize = 576 - HEADERS;

/// Least bytes of that packet's payload, if it has as many.
const PORTS: usize = 8;

/// Answers what is for an address of a router of the guest's, whatever its time to live. `None`: it is not.
pub(super) fn answer<F: Frame>(
    edge: &mut Edge<'_, F>,
    frame: &mut F,
    meta: &Meta,
    reason: DropReason,
) -> Option<Verdict> {
    let to_nobody = matches!(
        reason,
        DropReason::TtlExpired | DropReason::UnknownNeighbor | DropReason::NoRoute
    );
    if !to_nobody || !is_for_gateway(edge, frame.head(), meta) {
        return None;
    }
    let Some(ip) = route::ipv4(frame.head()).filter(|ip| is_sound(ip, frame.head())) else {
        return Some(Verdict::Drop(DropReason::ForGateway));
    };
    let told = match ip.protocol() {
        // Fragments behind the first have no ICMP header, and are in a reply what they were in the request.
        ipv4::ICMP if ip.is_later_fragment() || is_echo(frame.head()) => {
            turn_around(frame.head_mut());
            return Some(Verdict::Answer);
        }
        ipv4::ICMP | ipv4::TCP => false,
        ipv4::UDP => error(edge, frame, meta, icmp::UNREACHABLE, icmp::PORT, 0),
        _ => error(edge, frame, meta, icmp::UNREACHABLE, icmp::PROTOCOL, 0),
    };
    Some(dropped(told, DropReason::ForGateway))
}

/// Tells the sender of a packet that is dropped why, where there is a message for that.
pub(super) fn tell<F: Frame>(
    edge: &mut Edge<'_, F>,
    frame: &mut F,
    meta: &Meta,
    reason: DropReason,
) -> Verdict {
    let told = match reason {
        DropReason::TtlExpired => error(edge, frame, meta, icmp::TIME_EXCEEDED, 0, 0),
        DropReason::NoRoute => error(edge, frame, meta, icmp::UNREACHABLE, icmp::NET, 0),
        DropReason::UnknownNeighbor => error(edge, frame, meta, icmp::UNREACHABLE, icmp::HOST, 0),
        DropReason::TooBig => too_big(edge, frame, meta),
        _ => false,
    };
    dropped(told, reason)
}

/// Tells the sender which packets are short enough (RFC 1191). If the frame is longer than its packet, that may be no
/// help.
fn too_big<F: Frame>(edge: &mut Edge<'_, F>, frame: &mut F, meta: &Meta) -> bool {
    let mtu = mtu_in(edge.longest(meta));
    let ip = route::ipv4(frame.head()).filter(|_| meta.payload == Payload::Ipv4);
    let (kind, code) = (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED);
    ip.is_some_and(|ip| ip.total_len() > mtu.into()) && error(edge, frame, meta, kind, code, mtu)
}

/// True if the destination is an address of a router that the guest's subnet is connected to.
fn is_for_gateway<F>(edge: &Edge<'_, F>, head: &[u8], meta: &Meta) -> bool {
    let subnet = route::subnet(edge.guest, head, meta);
    let to = IpAddr::V4(Ipv4Addr::from(meta.dst_ip));
    subnet.is_some_and(|subnet| subnet.gateways.binary_search(&to).is_ok())
}

/// The ICMP header of an IPv4 packet that has one.
fn message<'a>(head: &'a [u8], ip: &Ipv4Hdr) -> Option<&'a IcmpHdr> {
    let end = head.len().min(EthernetHdr::LEN + ip.total_len());
    let payload = head.get(EthernetHdr::LEN + ip.header_len()..end)?;
    IcmpHdr::ref_from_prefix(payload).ok().map(|(icmp, _)| icmp)
}

fn is_echo(head: &[u8]) -> bool {
    let message = route::ipv4(head).and_then(|ip| message(head, ip));
    message.is_some_and(IcmpHdr::is_echo)
}

/// Makes an echo request, or a fragment of one, the reply.
fn turn_around(head: &mut [u8]) {
    let Ok((ethernet, rest)) = EthernetHdr::mut_from_prefix(head) else {
        return;
    };
    let (dst, src) = (ethernet.dst_word(), ethernet.src_word());
    ethernet.set_addresses(src, dst);
    let Ok((ip, _)) = Ipv4Hdr::mut_from_prefix(rest) else {
        return;
    };
    ip.turn_around();
    let (header, later) = (ip.header_len(), ip.is_later_fragment());
    let message = rest.get_mut(header..).filter(|_| !later);
    if let Some(Ok((icmp, _))) = message.map(IcmpHdr::mut_from_prefix) {
        icmp.turn_around();
    }
}

/// Makes a packet the message that tells its sender what became of it. False: nobody is to be told of it, nobody can
/// tell, or too many were told.
fn error<F: Frame>(
    edge: &mut Edge<'_, F>,
    frame: &mut F,
    meta: &Meta,
    kind: u8,
    code: u8,
    mtu: u16,
) -> bool {
    let head = frame.head();
    let gateway = route::subnet(edge.guest, head, meta).and_then(|subnet| subnet.gateway_ip);
    let gateway = gateway.and_then(|ip| match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    // Inside a subnet without a gateway, the machine that cannot be reached by so long a packet says so itself.
    let stand_in = || (code == icmp::FRAGMENTATION_NEEDED).then(|| Ipv4Addr::from(meta.dst_ip));
    let (Some(gateway), Some(ip)) = (gateway.or_else(stand_in), route::ipv4(head)) else {
        return false;
    };
    let to_all =
        |subnet: &Attachment| subnet.cidr.broadcast() == IpAddr::V4(Ipv4Addr::from(ip.dst()));
    if edge.guest.attachments.iter().any(to_all) || !is_told_of(ip, head) {
        return false;
    }
    // Of a frame in pieces, as much as the first one has.
    let end = head.len().min(EthernetHdr::LEN + ip.total_len().min(QUOTE));
    let (sender, packet) = (ip.src(), EthernetHdr::LEN..end);
    // A receiver needs the ports to know what it is about (RFC 792).
    let least = ip.total_len().min(ip.header_len() + PORTS);
    if packet.len() < least || !edge.limiter.allows(edge.from, Instant::now()) {
        return false;
    }
    let Ok((ethernet, _)) = EthernetHdr::read_from_prefix(head) else {
        return false;
    };
    if !frame.truncate(packet.end) {
        return false;
    }
    let Some(quoted) = frame.head().get(packet) else {
        return false;
    };
    let message = IcmpHdr::error(kind, code, mtu, quoted);
    let len = (IcmpHdr::LEN + quoted.len()) as u16;
    let ip = Ipv4Hdr::own(gateway.to_bits(), sender, ipv4::ICMP, len);
    if frame.prepend::<HEADERS>().is_none() {
        return false;
    }
    let ethernet = EthernetHdr::new(ethernet.src(), ethernet.dst(), ethernet::IPV4);
    write(
        frame,
        &[ethernet.as_bytes(), ip.as_bytes(), message.as_bytes()],
    );
    true
}

/// Whether the sender of such a packet is ever told what became of it (RFC 1812 section 4.3.2.7): not of errors, nor of
/// fragments but the first, nor when it or its sender is not one machine.
fn is_told_of(ip: &Ipv4Hdr, head: &[u8]) -> bool {
    let is_error = ip.protocol() == ipv4::ICMP
        && !ip.is_later_fragment()
        && !message(head, ip).is_some_and(IcmpHdr::is_query);
    !ip.is_later_fragment() && !is_error && is_sound(ip, head) && is_one(ip.dst())
}

/// False for what is answered in no way: from no single machine (RFC 1122 section 3.2.1.3), or damaged.
fn is_sound(ip: &Ipv4Hdr, head: &[u8]) -> bool {
    let header = head.get(EthernetHdr::LEN..EthernetHdr::LEN + ip.header_len());
    is_one(ip.src()) && header.is_some_and(|header| ipv4::sum(header) == 0xffff)
}

/// True for the address of one machine.
fn is_one(address: u32) -> bool {
    let address = Ipv4Addr::from(address);
    let first = address.octets()[0];
    first != 0 && first < 224 && !address.is_loopback()
}
