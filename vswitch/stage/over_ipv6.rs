// SPDX-License-Identifier: MIT
//! Tunnels over IPv6: the outer header as it goes on, for [`encap`](super::encap), and as it comes off, for [`decap`]. Out of
//! line: what goes over IPv4 passes none of it.
//!
//! Reads and writes what these two do.
//! Drops `NoHeadroom`, `TooBig`; `Truncated`, `Malformed`, `BadChecksum`, `OuterFragment`.

use zerocopy::FromBytes;

use crate::burst::Meta;
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::decap::{self, Arrival};
use crate::stage::deliver;
use crate::stage::encap::at;
use crate::tables::Underlay;
use crate::tables::neighbors::Template;
use crate::wire::{EthernetHdr, Ipv6Hdr, UdpHdr, VxlanHdr, ipv4, ipv6, vxlan};

/// Bytes in front of the inner frame.
pub const OUTER_LEN: usize = UDP_AT + UdpHdr::LEN + VxlanHdr::LEN;

/// Where in a frame the UDP header is.
const UDP_AT: usize = EthernetHdr::LEN + Ipv6Hdr::LEN;

/// Where in a frame the UDP checksum is: the last two bytes of its header.
const CHECKSUM_AT: usize = UDP_AT + UdpHdr::LEN - 2;

const _: () = assert!(UDP_AT == Template::HEADER6);

/// The way of what is longer than IPv4 takes to this next hop, which is everything where it is reached over IPv6.
pub(super) fn carry<F: Frame>(
    frame: &mut F,
    meta: &mut Meta,
    template: &Template,
    host_dvr: Option<u64>,
) -> Result<(), DropReason> {
    if !template.is_over_ipv6() || meta.len > template.longest() {
        return Err(DropReason::TooBig);
    }
    if meta.routed {
        deliver::reroute(frame.head_mut(), meta, host_dvr.unwrap_or(meta.dst_mac));
    }
    encapsulate(frame, meta, template)
}

/// Puts the next hop's template, which is of IPv6 and has room for the frame, in front and fills in what differs per packet.
/// The flow label is of the inner flow (RFC 6438 section 3), never zero, which would be none. The UDP checksum is zero
/// (RFC 6935 section 5) unless the template asks for one. The traffic class is made as the TOS over IPv4 is.
pub(super) fn encapsulate<F: Frame>(
    frame: &mut F,
    meta: &mut Meta,
    template: &Template,
) -> Result<(), DropReason> {
    let outer: &mut [u8; OUTER_LEN] = frame.prepend().ok_or(DropReason::NoHeadroom)?;
    let udp_len = (UdpHdr::LEN + VxlanHdr::LEN) as u32 + meta.len;
    let len = (udp_len as u16).to_be_bytes();
    let tos = meta.tos & template.tos_mask();
    let label = (meta.flow >> 12).max(1);
    let [class, class_label, label @ ..] = (u32::from(tos) << 20 | label).to_be_bytes();
    let (vni_first, vni_last) = meta.neighbor.vni_bytes();
    let [.., vni_0, vni_1] = vni_first.to_le_bytes();
    let [a, b, c, d, e, f, g, _] = template.words;
    let udp_port = g >> 48;
    let words = [
        a,
        b | at(6, [class, class_label]),
        c | at(0, label) | at(2, len),
        d,
        e,
        f,
        g ^ udp_port << 48 | at(6, vxlan::source_port(meta.flow).to_be_bytes()),
        udp_port | at(2, len) | at(6, [VxlanHdr::VNI_VALID]),
    ];
    let (start, end) = outer.as_chunks_mut();
    for (bytes, word) in start.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    end.copy_from_slice(&[0, 0, vni_0, vni_1, vni_last, 0]);
    meta.len += OUTER_LEN as u32;
    meta.out = template.port();
    if template.has_udp_checksum() {
        seal(frame);
    }
    Ok(())
}

/// Fills in the UDP checksum (RFC 8200 section 8.1).
#[inline(never)]
fn seal<F: Frame>(frame: &mut F) {
    let Ok((ip, _)) = Ipv6Hdr::ref_from_prefix(&frame.head()[EthernetHdr::LEN..]) else {
        return; // it is there
    };
    let checksum = match !udp_sum(frame, ip) {
        0 => u16::MAX, // zero means that there is none
        checksum => checksum,
    };
    frame.head_mut()[CHECKSUM_AT..][..2].copy_from_slice(&checksum.to_be_bytes());
}

/// The one's complement sum of the pseudo header and the datagram behind it, which ends where the frame does: 0xffff if
/// there is a checksum and it is right.
#[inline(never)]
fn udp_sum<F: Frame>(frame: &F, ip: &Ipv6Hdr) -> u16 {
    let pseudo = ipv6::pseudo_sum(ip.src(), ip.dst(), ipv4::UDP, ip.payload_len() as u16);
    let mut parts = frame.parts();
    let first = parts.next().and_then(|head| head.get(UDP_AT..));
    let datagram = ipv4::sum_of_parts(first.into_iter().chain(parts));
    ipv4::fold(u32::from(pseudo) + u32::from(datagram))
}

/// What is in a frame of IPv6: ours or not, and sound or not. With an extension header it is the host's, but for what is
/// plainly a tunnel's fragment. Sets `meta.outer_ecn`. May cut Ethernet padding off the end.
///
/// A UDP checksum of zero is taken as it is: an inner IP packet has its own, and the VNI and the inner MAC that may be damaged
/// lead to somebody else only if these are known too (RFC 6936 section 4). Any other must be right.
#[inline(never)]
pub(super) fn classify<F: Frame>(
    frame: &mut F,
    underlay: &Underlay,
    meta: &mut Meta,
) -> Result<Arrival, DropReason> {
    let len = frame.len();
    let packet = frame.head().get(EthernetHdr::LEN..).unwrap_or_default();
    let (ip, rest) = Ipv6Hdr::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    if !ip.is_v6() {
        return Err(DropReason::Malformed);
    }
    let rest = match ip.next_header() {
        _ if !underlay.has(ip.dst().into()) => return Ok(Arrival::Stranger),
        ipv4::UDP => rest,
        ipv6::FRAGMENT => match ipv6::upper_layer(ip, packet) {
            Some((ipv4::UDP, datagram)) => datagram,
            _ => return Ok(Arrival::Stranger),
        },
        _ => return Ok(Arrival::Stranger),
    };
    let (udp, rest) = UdpHdr::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    if udp.dst_port() != underlay.tunnel.udp_port {
        return Ok(Arrival::Stranger);
    }
    if ip.next_header() == ipv6::FRAGMENT {
        return Err(DropReason::OuterFragment);
    }
    let (&vxlan, rest) = VxlanHdr::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    EthernetHdr::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    let (ip, udp) = (*ip, *udp);
    decap::check_lengths(ip.total_len(), Ipv6Hdr::LEN, len, udp.datagram_len())?;
    decap::cut_padding(frame, ip.total_len())?;
    if !udp.has_no_checksum() && udp_sum(frame, &ip) != 0xffff {
        return Err(DropReason::BadChecksum);
    }
    meta.outer_ecn = ip.traffic_class() & 3;
    Ok(Arrival::Tunnel {
        outer_len: OUTER_LEN,
        vxlan,
    })
}
