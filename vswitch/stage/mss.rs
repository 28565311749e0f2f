// SPDX-License-Identifier: MIT
//! Segments that fit: where a TCP connection's first packets announce a larger maximum segment size than the way takes
//! (RFC 9293 section 3.7.1), it is lowered. Runs only where it is on.
//!
//! Reads `meta.payload`, `neighbor`.
//! Writes the frame: the option's value, and the TCP checksum.
//! Drops nothing. What has no such option is left alone, as is what is not in the first buffer.

use std::ops::Range;

use zerocopy::FromBytes;

use crate::burst::{Burst, Payload};
use crate::io::Frame;
use crate::stage::limits::{Limits, mtu_in};
use crate::tables::neighbors::NextHops;
use crate::tables::{PortId, Tables};
use crate::wire::{EthernetHdr, Ipv4Hdr, Ipv6Hdr, ipv4, ipv6, tcp};

/// Bytes of a TCP header without options, which the size does not count (RFC 6691), nor those of the IP header.
const TCP_LEN: usize = 20;

/// Bytes of IP and TCP headers, and the least size that is announced: what the least MTU of IPv4, 68 bytes (RFC 791 section
/// 3.2), or of IPv6 leaves.
const IPV4: (u16, u16) = sizes(Ipv4Hdr::LEN, 68);
const IPV6: (u16, u16) = sizes(Ipv6Hdr::LEN, ipv6::LEAST_MTU);

const fn sizes(ip: usize, least_mtu: u16) -> (u16, u16) {
    let headers = (ip + TCP_LEN) as u16;
    (headers, least_mtu - headers)
}

/// Runs the stage over one burst of the guest at `from`, whose neighbors are known. Never blocks, allocates or logs.
pub fn from_guest<F: Frame>(burst: &mut Burst<F>, from: PortId, limits: &Limits, hops: &NextHops) {
    run(burst, mtu_in(limits.longest(from)), limits, hops);
}

/// The same for a burst from the underlay. What goes back may go by any uplink.
pub fn from_underlay<F: Frame>(burst: &mut Burst<F>, limits: &Limits, tables: &Tables) {
    let Some(underlay) = &tables.underlay else {
        return;
    };
    let uplinks = underlay.uplinks();
    let longest = uplinks
        .map(|uplink| mtu_in(limits.longest(uplink.port)))
        .min();
    let back = longest
        .unwrap_or(u16::MAX)
        .saturating_sub(underlay.encapsulation());
    run(burst, back, limits, &tables.neighbors.hops);
}

/// `back`: the longest packet that gets back to the sender.
#[inline(never)]
fn run<F: Frame>(burst: &mut Burst<F>, back: u16, limits: &Limits, hops: &NextHops) {
    for (frame, meta) in burst.iter_mut() {
        let (headers, least) = match meta.payload {
            Payload::Ipv4 => IPV4,
            Payload::Ipv6 => IPV6,
            Payload::Other => continue,
        };
        let unfinished = frame.unfinished().is_some();
        if let Some(segment) = first_segment(frame.head_mut(), meta.payload) {
            let there = mtu_in(limits.longest_to(meta.neighbor.hop(), hops));
            let fits = there.min(back).saturating_sub(headers);
            tcp::lower_mss(segment, fits.max(least), unfinished);
        }
    }
}

/// The TCP segment in a frame, as far as it is in the first buffer, if it has the SYN flag.
fn first_segment(head: &mut [u8], payload: Payload) -> Option<&mut [u8]> {
    let packet = head.get_mut(EthernetHdr::LEN..)?;
    let segment = match payload {
        Payload::Ipv6 => ipv6_segment(packet),
        _ => ipv4_segment(packet),
    }?;
    packet
        .get_mut(segment)
        .filter(|segment| tcp::is_syn(segment))
}

fn ipv4_segment(packet: &[u8]) -> Option<Range<usize>> {
    let (ip, _) = Ipv4Hdr::ref_from_prefix(packet).ok()?;
    let is_tcp = ip.protocol() == ipv4::TCP && !ip.is_later_fragment();
    is_tcp.then(|| ip.header_len()..packet.len().min(ip.total_len()))
}

fn ipv6_segment(packet: &[u8]) -> Option<Range<usize>> {
    let (ip, _) = Ipv6Hdr::ref_from_prefix(packet).ok()?;
    let (next, segment) = ipv6::upper_layer(ip, packet)?;
    let start = packet.len() - segment.len();
    (next == ipv4::TCP).then(|| start..packet.len().min(ip.total_len()))
}
