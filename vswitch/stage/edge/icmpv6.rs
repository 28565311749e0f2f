// SPDX-License-Identifier: MIT
//! What the gateway says by ICMPv6: echo replies, and why a packet goes no further (RFC 4443).

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use ipnet::IpNet;
use zerocopy::{FromBytes, IntoBytes};

use super::{Edge, Verdict, dropped, write};
use crate::burst::Meta;
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::limits::mtu_in;
use crate::stage::route;
use crate::tables::Attachment;
use crate::wire::{EthernetHdr, Icmpv6Hdr, Ipv6Hdr, Mac, ethernet, icmpv6, ipv4, ipv6, nd};

/// Bytes that an error message has in front of the packet that it is about.
const HEADERS: usize = Ipv6Hdr::LEN + Icmpv6Hdr::LEN;

/// Most bytes of that packet: an error message fits the least MTU of IPv6 (RFC 4443 section 2.4 c).
const QUOTE: usize = ipv6::LEAST_MTU as usize - HEADERS;

/// Least bytes of that packet's payload, if it has as many: its ports.
const PORTS: usize = 8;

/// Answers what is for an address of a router of the guest's, whatever its hop limit. `None`: it is not.
pub(super) fn answer<F: Frame>(
    edge: &mut Edge<'_, F>,
    frame: &mut F,
    meta: &Meta,
    reason: DropReason,
) -> Option<Verdict> {
    let to_nobody = matches!(
        reason,
        DropReason::TtlExpired
            | DropReason::UnknownNeighbor
            | DropReason::NoRoute
            | DropReason::NotRoutable
    );
    if !to_nobody || !is_for_gateway(edge, frame.head(), meta) {
        return None;
    }
    if let Some(part) = echo(frame.head()) {
        turn_around(frame.head_mut(), part);
        return Some(Verdict::Answer);
    }
    let ip = route::ipv6(frame.head())?;
    let told = match ip.next_header() {
        ipv4::UDP => error(edge, frame, meta, (icmpv6::UNREACHABLE, icmpv6::PORT, 0)),
        ipv4::TCP | ipv6::ICMP | ipv6::NOTHING => false,
        next if ipv6::is_extension(next) => false,
        _ => {
            let (kind, code) = (icmpv6::PARAMETER_PROBLEM, icmpv6::NEXT_HEADER);
            error(edge, frame, meta, (kind, code, ipv6::NEXT_HEADER_AT))
        }
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
    let message = match reason {
        DropReason::TtlExpired => Some((icmpv6::TIME_EXCEEDED, 0, 0)),
        DropReason::NoRoute => Some((icmpv6::UNREACHABLE, icmpv6::NO_ROUTE, 0)),
        DropReason::UnknownNeighbor => Some((icmpv6::UNREACHABLE, icmpv6::ADDRESS, 0)),
        DropReason::NotRoutable => beyond_scope(frame.head()),
        DropReason::TooBig => too_big(edge, frame.head(), meta),
        _ => None,
    };
    let told = message.is_some_and(|message| error(edge, frame, meta, message));
    dropped(told, reason)
}

/// A packet is never routed away from the only link that its source address is good on.
fn beyond_scope(head: &[u8]) -> Option<(u8, u8, u32)> {
    let ip = route::ipv6(head)?;
    let beyond = ip.src().is_unicast_link_local() && !ip.dst().is_unicast_link_local();
    beyond.then_some((icmpv6::UNREACHABLE, icmpv6::BEYOND_SCOPE, 0))
}

/// Tells the sender which packets are short enough. If the frame is longer than its packet, that may be no help.
fn too_big<F: Frame>(edge: &Edge<'_, F>, head: &[u8], meta: &Meta) -> Option<(u8, u8, u32)> {
    let mtu = mtu_in(edge.longest(meta));
    let ip = route::ipv6(head)?;
    (ip.total_len() > mtu.into()).then_some((icmpv6::TOO_BIG, 0, mtu.into()))
}

/// True if the destination is an address of a router that the guest's subnet is connected to, or the link-local one of the
/// gateway that the frame went to.
fn is_for_gateway<F>(edge: &Edge<'_, F>, head: &[u8], meta: &Meta) -> bool {
    let Some(ip) = route::ipv6(head) else {
        return false;
    };
    let to = ip.dst();
    let subnet = route::subnet(edge.guest, head, meta);
    let is_gateway = |subnet: &Attachment| subnet.gateways.binary_search(&IpAddr::V6(to)).is_ok();
    to == nd::link_local(Mac::from_word(meta.dst_mac)) || subnet.is_some_and(is_gateway)
}

/// A part of an echo request.
#[derive(Clone, Copy)]
enum Part {
    /// That with the ICMP header, which begins there in the frame.
    First(usize),
    /// A later fragment.
    Later,
}

/// The echo request, or the fragment of one, that a frame is. `None`: none, or one with further extension headers.
fn echo(head: &[u8]) -> Option<Part> {
    let ip = route::ipv6(head).filter(|ip| is_one(ip.src()))?;
    let mut at = EthernetHdr::LEN + Ipv6Hdr::LEN;
    if ip.next_header() == ipv6::FRAGMENT {
        let [next, _, offset @ ..] = *head.get(at..)?.first_chunk::<4>()?;
        at += ipv6::FRAGMENT_LEN;
        if next != ipv6::ICMP {
            return None;
        }
        if ipv6::is_later_fragment(offset) {
            return Some(Part::Later);
        }
    } else if ip.next_header() != ipv6::ICMP {
        return None;
    }
    let end = head.len().min(EthernetHdr::LEN + ip.total_len());
    let (icmp, _) = Icmpv6Hdr::ref_from_prefix(head.get(at..end)?).ok()?;
    icmp.is_echo().then_some(Part::First(at))
}

/// Makes an echo request, or a fragment of one, the reply.
fn turn_around(head: &mut [u8], part: Part) {
    if let Ok((ethernet, rest)) = EthernetHdr::mut_from_prefix(head)
        && let Ok((ip, _)) = Ipv6Hdr::mut_from_prefix(rest)
    {
        let (dst, src) = (ethernet.dst_word(), ethernet.src_word());
        ethernet.set_addresses(src, dst);
        ip.turn_around();
    }
    if let Part::First(at) = part
        && let Some(message) = head.get_mut(at..)
        && let Ok((icmp, _)) = Icmpv6Hdr::mut_from_prefix(message)
    {
        icmp.turn_around();
    }
}

/// Makes a packet the message of this type, code and value that tells its sender what became of it. False: nobody is to be
/// told of it, nobody can tell, or too many were told.
fn error<F: Frame>(
    edge: &mut Edge<'_, F>,
    frame: &mut F,
    meta: &Meta,
    (kind, code, value): (u8, u8, u32),
) -> bool {
    let head = frame.head();
    let (Ok((ethernet, _)), Some(ip)) = (EthernetHdr::read_from_prefix(head), route::ipv6(head))
    else {
        return false;
    };
    let (sender, len) = (ip.src(), ip.total_len());
    let subnet = route::subnet(edge.guest, head, meta);
    // Inside a subnet without a gateway, the machine that cannot be reached by so long a packet says so itself.
    let machine = Some(ip.dst()).filter(|ip| is_one(*ip));
    let stand_in = || machine.filter(|_| kind == icmpv6::TOO_BIG);
    let from = subnet.and_then(|subnet| gateway(subnet, sender));
    let Some(from) = from.or_else(stand_in) else {
        return false;
    };
    // Of a frame in pieces, as much as the first one has.
    let end = head.len().min(EthernetHdr::LEN + len.min(QUOTE));
    let least = EthernetHdr::LEN + len.min(Ipv6Hdr::LEN + PORTS);
    if end < least
        || !is_told_of(ip, head, kind)
        || !edge.limiter.allows(edge.from, Instant::now())
        || !frame.truncate(end)
    {
        return false;
    }
    let Some(quoted) = frame.head().get(EthernetHdr::LEN..end) else {
        return false;
    };
    let message = Icmpv6Hdr::error(kind, code, value, (from, sender), quoted);
    let payload = (Icmpv6Hdr::LEN + quoted.len()) as u16;
    let ip = Ipv6Hdr::own(from, sender, ipv6::ICMP, payload, ipv6::OWN_HOPS);
    if frame.prepend::<HEADERS>().is_none() {
        return false;
    }
    let ethernet = EthernetHdr::new(ethernet.src(), ethernet.dst(), ethernet::IPV6);
    write(
        frame,
        &[ethernet.as_bytes(), ip.as_bytes(), message.as_bytes()],
    );
    true
}

/// The address by which a subnet's gateway speaks to `to`. `None`: it has none.
fn gateway(subnet: &Attachment, to: Ipv6Addr) -> Option<Ipv6Addr> {
    match (subnet.cidr, subnet.gateway_ip) {
        (IpNet::V4(_), _) => None,
        (_, Some(IpAddr::V6(ip))) if !to.is_unicast_link_local() => Some(ip),
        _ => subnet.gateway_mac.map(nd::link_local),
    }
}

/// Whether the sender of such a packet is ever told what became of it (RFC 4443 section 2.4 e): not of errors, nor when its
/// sender is not one machine, nor, but that it is too big, when it is not for one.
fn is_told_of(ip: &Ipv6Hdr, head: &[u8], kind: u8) -> bool {
    let is_for_one = is_one(ip.dst()) || kind == icmpv6::TOO_BIG;
    let packet = head.get(EthernetHdr::LEN..).unwrap_or_default();
    let upper = ipv6::upper_layer(ip, packet);
    is_one(ip.src()) && is_for_one && upper.is_some_and(|(next, upper)| is_no_error(next, upper))
}

/// False for what is, or may be, an ICMP message that reports an error, or a redirect.
fn is_no_error(next: u8, upper: &[u8]) -> bool {
    match next {
        ipv6::ICMP => Icmpv6Hdr::ref_from_prefix(upper)
            .is_ok_and(|(icmp, _)| !icmp.is_error() && icmp.kind() != nd::REDIRECT),
        // A later fragment, whose own header says what it is a part of.
        ipv6::FRAGMENT => upper.first() != Some(&ipv6::ICMP),
        _ => true,
    }
}

/// True for the address of one machine.
fn is_one(ip: Ipv6Addr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback())
}
