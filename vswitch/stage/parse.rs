// SPDX-License-Identifier: MIT
//! What is it? Checks the tenant's headers once; after this stage their lengths are facts. A frame with a VLAN tag is
//! neither IPv4 nor IPv6, whatever is behind it: it is switched by MAC, and no service of the switch is for it.
//!
//! Reads the frame.
//! Writes `meta.len`, `payload`, `tos`, `ttl`, `flow`, `dst_ip`, `dst_mac`.
//! Drops `Truncated`, `Malformed`, `BadSourceMac`, `VlanTagged`.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::burst::{Burst, Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::wire::{EthernetHdr, Ipv4Hdr, Ipv6Hdr, Mac, ethernet, ipv4};

/// Runs the stage over one burst of a guest. Frames with VLAN tags are dropped unless it `takes_tags`; returns whether there
/// are any. Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(burst: &mut Burst<F>, takes_tags: bool) -> bool {
    parse_all::<F, true>(burst, takes_tags)
}

/// The same for frames that came in a tunnel, with VLAN tags or without. Their flow does not matter, since they go into none
/// again: `meta.flow` is of no use.
#[inline]
pub fn run_without_flow<F: Frame>(burst: &mut Burst<F>) -> bool {
    parse_all::<F, false>(burst, true)
}

#[inline(always)]
fn parse_all<F: Frame, const FLOW: bool>(burst: &mut Burst<F>, takes_tags: bool) -> bool {
    let (taken, found) = (takes_tags, false);
    let mut tags = Tags { taken, found };
    burst.keep(|frame, meta| parse::<FLOW>(frame.head(), frame.len(), meta, &mut tags));
    tags.found
}

/// What becomes of frames with VLAN tags.
struct Tags {
    /// They are kept.
    taken: bool,
    /// There was one, and it was kept.
    found: bool,
}

/// Bytes of TCP or UDP that hold the two ports.
const PORTS: usize = 4;

/// The shape of nearly all frames: IPv4 without options, then the two ports.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PlainIpv4 {
    ethernet: EthernetHdr,
    ip: Ipv4Hdr,
    ports: [u8; PORTS],
}

/// Parses one frame of `len` bytes whose first segment is `head`.
#[inline(always)]
fn parse<const FLOW: bool>(
    head: &[u8],
    len: usize,
    meta: &mut Meta,
    tags: &mut Tags,
) -> Result<(), DropReason> {
    meta.len = len as u32;
    if let Ok((plain, _)) = PlainIpv4::ref_from_prefix(head)
        && plain.ethernet.ethertype() == ethernet::IPV4
        && plain.ip.is_plain()
    {
        addresses(&plain.ethernet, meta)?;
        let total = plain.ip.total_len();
        if total > len - EthernetHdr::LEN {
            return Err(DropReason::Truncated);
        }
        if total < Ipv4Hdr::LEN {
            return Err(DropReason::Malformed);
        }
        ipv4(&plain.ip, meta);
        if FLOW {
            let ports = has_ports(&plain.ip, total - Ipv4Hdr::LEN).then_some(plain.ports);
            meta.flow = ipv4_flow(&plain.ip, ports);
        }
        return Ok(());
    }
    general(head, len, meta, tags)
}

/// Any other shape: short frames, IPv4 options, IPv6, everything that is not IP.
#[inline(never)]
fn general(head: &[u8], len: usize, meta: &mut Meta, tags: &mut Tags) -> Result<(), DropReason> {
    let (ethernet, rest) = EthernetHdr::ref_from_prefix(head).map_err(|_| DropReason::Truncated)?;
    addresses(ethernet, meta)?;
    let payload = len - EthernetHdr::LEN;
    match ethernet.ethertype() {
        ethernet::IPV4 => parse_ipv4(rest, payload, meta),
        ethernet::IPV6 => parse_ipv6(rest, payload, meta),
        ethernet::VLAN | ethernet::QINQ => parse_tagged(head, len, meta, tags),
        other => {
            parse_other(ethernet, other, meta);
            Ok(())
        }
    }
}

/// A frame with a VLAN tag, for who takes these: lengths are checked, and the flow is found, as without.
#[cold]
#[inline(never)]
fn parse_tagged(
    head: &[u8],
    len: usize,
    meta: &mut Meta,
    tags: &mut Tags,
) -> Result<(), DropReason> {
    if !tags.taken {
        return Err(DropReason::VlanTagged);
    }
    tags.found = true;
    let (ethernet, rest) = EthernetHdr::ref_from_prefix(head).map_err(|_| DropReason::Truncated)?;
    let (&[_, _, a, b], rest) = rest.split_first_chunk().ok_or(DropReason::Truncated)?;
    let len = len - EthernetHdr::LEN - ethernet::TAG;
    match u16::from_be_bytes([a, b]) {
        ethernet::IPV4 => parse_ipv4(rest, len, meta)?,
        ethernet::IPV6 => parse_ipv6(rest, len, meta)?,
        other => parse_other(ethernet, other, meta),
    }
    // Nobody tells congestion behind a tag, so the outer header does not say that it could be (RFC 6040 section 4.1,
    // compatibility mode).
    (meta.payload, meta.tos) = (Payload::Other, 0);
    Ok(())
}

#[inline]
fn parse_other(ethernet: &EthernetHdr, ethertype: u16, meta: &mut Meta) {
    meta.payload = Payload::Other;
    meta.tos = 0;
    meta.flow = mix(
        ethernet.src().to_u64() ^ (u64::from(ethertype) << 48),
        ethernet.dst().to_u64(),
    );
}

#[inline]
fn addresses(ethernet: &EthernetHdr, meta: &mut Meta) -> Result<(), DropReason> {
    let src = ethernet.src_word();
    if src & Mac::GROUP != 0 || src == 0 {
        return Err(DropReason::BadSourceMac);
    }
    meta.dst_mac = ethernet.dst_word();
    Ok(())
}

#[inline(always)]
fn parse_ipv4(rest: &[u8], len: usize, meta: &mut Meta) -> Result<(), DropReason> {
    let (ip, _) = Ipv4Hdr::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    let (header, total) = (ip.header_len(), ip.total_len());
    if !ip.is_v4() || header < Ipv4Hdr::LEN || total < header {
        return Err(DropReason::Malformed);
    }
    if total > len || header > rest.len() {
        return Err(DropReason::Truncated);
    }
    let ports = if has_ports(ip, total - header) {
        Some(*rest[header..].first_chunk().ok_or(DropReason::Truncated)?)
    } else {
        None
    };
    ipv4(ip, meta);
    meta.flow = ipv4_flow(ip, ports);
    Ok(())
}

#[inline(always)]
fn parse_ipv6(rest: &[u8], len: usize, meta: &mut Meta) -> Result<(), DropReason> {
    let (ip, payload) = Ipv6Hdr::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    if !ip.is_v6() {
        return Err(DropReason::Malformed);
    }
    if ip.payload_len() > len - Ipv6Hdr::LEN {
        return Err(DropReason::Truncated);
    }
    let ports = match ip.next_header() {
        ipv4::TCP | ipv4::UDP if ip.payload_len() >= PORTS => *payload
            .first_chunk::<PORTS>()
            .ok_or(DropReason::Truncated)?,
        _ => [0; PORTS],
    };
    meta.payload = Payload::Ipv6;
    meta.tos = ip.traffic_class();
    meta.ttl = ip.hop_limit();
    let [a, b, c, d, e, f, g, h] = ip.addresses().map(u64::from);
    let addresses = mix(a << 32 | b, c << 32 | d) ^ mix(e << 32 | f, g << 32 | h).rotate_left(13);
    meta.flow = mix(
        u64::from(addresses),
        five_tuple_tail(ip.next_header(), ports),
    );
    Ok(())
}

/// True when the packet's payload begins with two ports. No fragment does, not even the first: all fragments
/// of a packet have to take one path.
#[inline]
fn has_ports(ip: &Ipv4Hdr, payload: usize) -> bool {
    matches!(ip.protocol(), ipv4::TCP | ipv4::UDP) && !ip.is_fragment() && payload >= PORTS
}

#[inline]
fn ipv4(ip: &Ipv4Hdr, meta: &mut Meta) {
    meta.payload = Payload::Ipv4;
    meta.tos = ip.tos();
    meta.ttl = ip.ttl();
    meta.dst_ip = ip.dst();
}

#[inline]
fn ipv4_flow(ip: &Ipv4Hdr, ports: Option<[u8; PORTS]>) -> u32 {
    let addresses = u64::from(ip.src()) << 32 | u64::from(ip.dst());
    let tail = five_tuple_tail(ip.protocol(), ports.unwrap_or_default());
    mix(addresses, tail)
}

#[inline]
fn five_tuple_tail(protocol: u8, ports: [u8; PORTS]) -> u64 {
    u64::from(u32::from_le_bytes(ports)) << 8 | u64::from(protocol)
}

/// Mixes two words into 32 bits by a folded 64 x 64 bit product, the cheapest mix that spreads all bits on
/// every x86-64 and Arm core. The constants are digits of pi; nothing secret depends on them.
#[inline]
fn mix(a: u64, b: u64) -> u32 {
    let product = u128::from(a ^ 0x243f_6a88_85a3_08d3) * u128::from(b ^ 0x1319_8a2e_0370_7344);
    let folded = product as u64 ^ (product >> 64) as u64;
    (folded ^ (folded >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::MemoryFrame;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    const SRC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const DST: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn udp(src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(SRC, DST)
            .ipv4(src, dst, 64)
            .udp(sport, dport);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, b"payload").unwrap();
        bytes
    }

    fn meta(bytes: &[u8]) -> Result<Meta, DropReason> {
        parsed(bytes, false)
    }

    fn parsed(bytes: &[u8], taken: bool) -> Result<Meta, DropReason> {
        let mut burst = Burst::<MemoryFrame>::default();
        burst.frames_mut().push(MemoryFrame::new(bytes));
        let found = false;
        let mut tags = Tags { taken, found };
        let mut out = Err(DropReason::NoRoute);
        for (frame, meta) in burst.iter_mut() {
            let parsed = parse::<true>(frame.head(), frame.len(), meta, &mut tags);
            out = parsed.map(|()| *meta);
        }
        out
    }

    #[test]
    fn a_plain_udp_packet_is_understood() {
        let meta = meta(&udp([10, 1, 1, 1], [10, 1, 2, 2], 7, 8)).unwrap();
        assert_eq!(
            (meta.payload, meta.dst_ip, meta.tos),
            (Payload::Ipv4, 0x0a01_0202, 0)
        );
        assert_eq!(meta.dst_mac, Mac::new(DST).word());
        assert_eq!(meta.len, 14 + 20 + 8 + 7);
    }

    #[test]
    fn ipv4_options_do_not_change_the_flow() {
        let plain = udp([10, 1, 1, 1], [10, 1, 2, 2], 7, 8);
        let mut options = plain.clone();
        options.splice(34..34, [1, 1, 1, 1]);
        options[14] = 0x46;
        options[17] += 4;
        let (plain, options) = (meta(&plain).unwrap(), meta(&options).unwrap());
        assert_eq!((plain.flow, plain.dst_ip), (options.flow, options.dst_ip));
    }

    #[test]
    fn fragments_of_one_packet_are_one_flow_whatever_their_ports_would_be() {
        let mut first = udp([10, 1, 1, 1], [10, 1, 2, 2], 7, 8);
        first[20] = 0x20;
        let mut later = udp([10, 1, 1, 1], [10, 1, 2, 2], 99, 100);
        later[21] = 0x10;
        assert_eq!(meta(&first).unwrap().flow, meta(&later).unwrap().flow);
    }

    #[test]
    fn a_frame_cut_anywhere_in_its_headers_is_truncated() {
        let whole = udp([10, 1, 1, 1], [10, 1, 2, 2], 7, 8);
        for len in 0..whole.len() {
            assert_eq!(
                meta(&whole[..len]).err(),
                Some(DropReason::Truncated),
                "{len} bytes"
            );
        }
        let mut v6 = Vec::new();
        PacketBuilder::ethernet2(SRC, DST)
            .ipv6([1; 16], [2; 16], 9)
            .udp(1, 2)
            .write(&mut v6, b"x")
            .unwrap();
        for len in 0..v6.len() {
            assert_eq!(
                meta(&v6[..len]).err(),
                Some(DropReason::Truncated),
                "{len} bytes of IPv6"
            );
        }
        assert_eq!(meta(&v6).unwrap().payload, Payload::Ipv6);
    }

    #[test]
    fn contradictions_are_malformed() {
        let good = udp([10, 1, 1, 1], [10, 1, 2, 2], 7, 8);
        for (offset, value, what) in [
            (14, 0x44, "ihl 16"),
            (14, 0x65, "version 6"),
            (17, 19, "total length 19"),
        ] {
            let mut bad = good.clone();
            bad[offset] = value;
            assert_eq!(meta(&bad).err(), Some(DropReason::Malformed), "{what}");
        }
    }

    #[test]
    fn a_group_source_address_and_a_vlan_tag_are_refused() {
        let mut bytes = udp([10, 1, 1, 1], [10, 1, 2, 2], 7, 8);
        bytes[6] = 3;
        assert_eq!(meta(&bytes).err(), Some(DropReason::BadSourceMac));
        bytes[6] = 2;
        bytes.splice(12..12, [0x81, 0x00, 0, 5]);
        assert_eq!(meta(&bytes).err(), Some(DropReason::VlanTagged));
    }

    #[test]
    fn flows_spread_over_the_source_ports() {
        let ports: std::collections::HashSet<_> = (0..1000u16)
            .map(|i| {
                meta(&udp([10, 1, 1, 1], [10, 1, 2, 2], 1000 + i, 53))
                    .unwrap()
                    .flow
                    & 0x3fff
            })
            .collect();
        assert!(
            ports.len() > 900,
            "1000 flows over 16384 ports collide about 30 times, got {}",
            ports.len()
        );
    }

    proptest! {
        #[test]
        fn noise_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..120), ethertype in 0..3usize, behind in 0..3usize,
        ) {
            let mut bytes = bytes;
            for (at, ethertype) in [(12, ethertype), (16, behind)] {
                if let Some(field) = bytes.get_mut(at..at + 2) {
                    field.copy_from_slice(&[[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]][ethertype]);
                }
            }
            let _ = (parsed(&bytes, false), parsed(&bytes, true));
        }
    }
}
