// SPDX-License-Identifier: MIT
//! IPv6 (RFC 8200): its fixed header, and what is behind the extension headers.

use std::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ipv4;

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: ICMPv6 (RFC 4443).
pub const ICMP: u8 = 58;
/// Next header: none.
pub const NOTHING: u8 = 59;
/// Next header: options for the destination.
pub const DESTINATION: u8 = 60;

/// The least MTU of a link, in bytes (RFC 8200 section 5).
pub const LEAST_MTU: u16 = 1280;

/// Hops that messages of this switch's own may take, but for those that have to stay on their link.
pub const OWN_HOPS: u8 = 64;

/// Bytes of a fragment header.
pub const FRAGMENT_LEN: usize = 8;

/// Where in the fixed header the next one is named.
pub const NEXT_HEADER_AT: u32 = 6;

/// Most extension headers of a packet that are looked behind; no honest one has as many.
const MAX_EXTENSIONS: usize = 8;

/// `version(4) traffic_class(8) flow_label(20) payload_length(16) next_header(8) hop_limit(8) source(128)
/// destination(128)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv6Hdr {
    version_class_label: U32,
    payload_len: U16,
    next_header: u8,
    hop_limit: u8,
    src: [U32; 4],
    dst: [U32; 4],
}
const _: () = assert!(size_of::<Ipv6Hdr>() == 40);

impl Ipv6Hdr {
    /// Bytes of the header.
    pub const LEN: usize = size_of::<Self>();

    /// The header of a message of this switch's own. `payload`: bytes behind it.
    pub fn own(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, payload: u16, hop_limit: u8) -> Self {
        Self {
            version_class_label: U32::new(6 << 28),
            payload_len: U16::new(payload),
            next_header,
            hop_limit,
            src: words(src),
            dst: words(dst),
        }
    }

    /// Sends a packet back to where it came from, as one of this switch's own. Checksums stay as right as they were.
    pub fn turn_around(&mut self) {
        (self.src, self.dst) = (self.dst, self.src);
        self.hop_limit = OWN_HOPS;
    }

    /// True for version 6.
    #[inline]
    pub const fn is_v6(&self) -> bool {
        self.version_class_label.get() >> 28 == 6
    }

    /// DSCP (upper six bits) and ECN (lower two).
    #[inline]
    pub const fn traffic_class(&self) -> u8 {
        (self.version_class_label.get() >> 20) as u8
    }

    /// Bytes after this header; zero for a jumbogram.
    #[inline]
    pub const fn payload_len(&self) -> usize {
        self.payload_len.get() as usize
    }

    /// Bytes of the packet.
    #[inline]
    pub const fn total_len(&self) -> usize {
        Self::LEN + self.payload_len()
    }

    /// Hops that it may take.
    #[inline]
    pub const fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    /// Takes one from the hop limit, which must not be zero.
    #[inline]
    pub fn decrement_hop_limit(&mut self) {
        debug_assert_ne!(self.hop_limit, 0);
        self.hop_limit = self.hop_limit.wrapping_sub(1);
    }

    /// What follows.
    #[inline]
    pub const fn next_header(&self) -> u8 {
        self.next_header
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> Ipv6Addr {
        address(self.src)
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> Ipv6Addr {
        address(self.dst)
    }

    /// Source and destination address, as eight 32-bit words to hash.
    #[inline]
    pub fn addresses(&self) -> [u32; 8] {
        let [a, b, c, d] = self.src.map(U32::get);
        let [e, f, g, h] = self.dst.map(U32::get);
        [a, b, c, d, e, f, g, h]
    }

    /// Writes the ECN bits, the lower two of `ecn`.
    #[inline]
    pub fn set_ecn(&mut self, ecn: u8) {
        let word = self.version_class_label.get();
        self.version_class_label = U32::new((word & !(3 << 20)) | (u32::from(ecn & 3) << 20));
    }
}

#[inline]
fn address(words: [U32; 4]) -> Ipv6Addr {
    let [a, b, c, d] = words.map(|word| u128::from(word.get()));
    Ipv6Addr::from(a << 96 | b << 64 | c << 32 | d)
}

fn words(ip: Ipv6Addr) -> [U32; 4] {
    let bits = ip.to_bits();
    [96, 64, 32, 0].map(|shift| U32::new((bits >> shift) as u32))
}

/// The folded sum of the pseudo header (RFC 8200 section 8.1) in front of `len` bytes of what `next_header` names.
pub fn pseudo_sum(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, len: u16) -> u16 {
    let words = [src, dst].map(|ip| ip.segments().map(u32::from).into_iter().sum::<u32>());
    ipv4::fold(words[0] + words[1] + u32::from(next_header) + u32::from(len))
}

/// Makes the header, with its extensions, that of a segment of `payload` bytes of what `next_header` names. Returns the sum of
/// the pseudo header in front of these. The bytes must fit a packet.
pub fn make_segment(header: &mut [u8], payload: usize, next_header: u8) -> u16 {
    let len = header.len();
    let Ok((ip, _)) = Ipv6Hdr::mut_from_prefix(header) else {
        return 0;
    };
    ip.payload_len = U16::new((len - Ipv6Hdr::LEN + payload) as u16);
    pseudo_sum(ip.src(), ip.dst(), next_header, payload as u16)
}

/// True for the headers that [`upper_layer`] looks behind.
pub const fn is_extension(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
}

/// True if the upper half of a fragment header's first word that says where the fragment stands is not that of the first.
pub const fn is_later_fragment(offset: [u8; 2]) -> bool {
    u16::from_be_bytes(offset) & 0xfff8 != 0
}

/// The headers behind the fixed one, each with the bytes from there on: extension headers, then what is behind them. Ends before
/// that where there are too many, or they are cut off.
fn headers<'a>(ip: &Ipv6Hdr, packet: &'a [u8]) -> impl Iterator<Item = (u8, &'a [u8])> {
    let first = packet.get(Ipv6Hdr::LEN..);
    let behind = |(next, rest): &(u8, &'a [u8])| {
        let [following, len] = *rest.first_chunk()?;
        let bytes = match *next {
            HOP_BY_HOP | ROUTING | DESTINATION => 8 * (usize::from(len) + 1),
            FRAGMENT => FRAGMENT_LEN,
            _ => return None,
        };
        Some((following, rest.get(bytes..)?))
    };
    std::iter::successors(first.map(|rest| (ip.next_header(), rest)), behind).take(MAX_EXTENSIONS)
}

/// What is behind the extension headers of a packet, and its bytes in the first buffer, with whatever is behind the packet; of
/// a later fragment, [`FRAGMENT`] and the fragment. `None`: it cannot be told.
pub fn upper_layer<'a>(ip: &Ipv6Hdr, packet: &'a [u8]) -> Option<(u8, &'a [u8])> {
    headers(ip, packet).find(|(next, rest)| match (*next, rest) {
        (FRAGMENT, [_, _, high, low, ..]) => is_later_fragment([*high, *low]),
        (next, _) => !is_extension(next),
    })
}

/// True if one of the extension headers that [`upper_layer`] looks behind says that the packet is a fragment, the first or alone
/// (RFC 6946) as well.
pub fn has_fragment_header(ip: &Ipv6Hdr, packet: &[u8]) -> bool {
    let mut extensions = headers(ip, packet).take_while(|(next, _)| is_extension(*next));
    extensions.any(|(next, _)| next == FRAGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_wire_has_them() {
        let mut bytes = [0u8; 40];
        bytes[..8].copy_from_slice(&[0x6b, 0x91, 0x23, 0x45, 0x01, 0x02, 17, 64]);
        bytes[39] = 9;
        let mut hdr = Ipv6Hdr::read_from_bytes(&bytes).unwrap();
        assert!(hdr.is_v6());
        assert_eq!(
            (hdr.traffic_class(), hdr.payload_len(), hdr.next_header()),
            (0xb9, 258, 17)
        );
        assert_eq!(hdr.addresses()[7], 9);
        assert_eq!(hdr.src(), Ipv6Addr::UNSPECIFIED);
        assert_eq!(hdr.dst(), Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 9));
        assert_eq!((hdr.hop_limit(), hdr.total_len()), (64, 298));
        hdr.set_ecn(2);
        assert_eq!(hdr.as_bytes()[..4], [0x6b, 0xa1, 0x23, 0x45]);
        hdr.decrement_hop_limit();
        assert_eq!(hdr.as_bytes()[4..8], [1, 2, 17, 63]);
        hdr.turn_around();
        assert_eq!((hdr.src().segments()[7], hdr.hop_limit()), (9, OWN_HOPS));
    }

    #[test]
    fn headers_of_our_own_are_as_others_make_them() {
        let (src, dst) = (Ipv6Addr::from([1; 16]), Ipv6Addr::from([0xfe; 16]));
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ipv6([1; 16], [0xfe; 16], 7)
            .udp(1, 2)
            .write(&mut packet, b"payload")
            .unwrap();
        let own = Ipv6Hdr::own(src, dst, ipv4::UDP, 15, 7);
        assert_eq!(own.as_bytes(), &packet[..40]);
        let pseudo = pseudo_sum(src, dst, ipv4::UDP, 15);
        let sum = u32::from(pseudo) + u32::from(ipv4::sum(&packet[40..]));
        assert_eq!(ipv4::fold(sum), 0xffff);
    }

    #[test]
    fn extension_headers_are_looked_behind_as_far_as_they_make_sense() {
        let read = |first: u8, behind: &[u8]| {
            let mut packet = [0; 40].to_vec();
            packet[6] = first;
            packet.extend(behind);
            let ip = Ipv6Hdr::read_from_bytes(&packet[..40]).unwrap();
            upper_layer(&ip, &packet).map(|(next, rest)| (next, rest.len()))
        };
        let options = [[17, 0, 1, 4, 0, 0, 0, 0], [1; 8]].concat();
        assert_eq!(read(17, &[1; 8]), Some((17, 8)));
        assert_eq!(read(HOP_BY_HOP, &options), Some((17, 8)));
        assert_eq!(read(FRAGMENT, &options), Some((FRAGMENT, 16)));
        assert_eq!(read(FRAGMENT, &[17, 0, 0, 1, 0, 0, 0, 0, 1]), Some((17, 1)));
        assert_eq!(read(ROUTING, &[17, 1, 0, 0, 0, 0, 0, 0]), None);
        let is_fragment = |first: u8, behind: &[u8]| {
            let mut packet = [0; Ipv6Hdr::LEN].to_vec();
            packet[6] = first;
            packet.extend(behind);
            has_fragment_header(&Ipv6Hdr::read_from_bytes(&packet[..40]).unwrap(), &packet)
        };
        let behind_options = [[FRAGMENT, 0, 1, 4, 0, 0, 0, 0], [17, 0, 0, 1, 0, 0, 0, 0]].concat();
        assert!(is_fragment(HOP_BY_HOP, &behind_options) && is_fragment(FRAGMENT, &options));
        assert!(!is_fragment(HOP_BY_HOP, &options) && !is_fragment(17, &[1; 8]));
        assert!(!is_fragment(HOP_BY_HOP, &[FRAGMENT, 9]) && !is_fragment(ROUTING, &[]));
        assert_eq!(
            read(DESTINATION, &[DESTINATION, 0, 0, 0, 0, 0, 0, 0].repeat(9)),
            None
        );
        assert_eq!(read(NOTHING, &[]), Some((NOTHING, 0)));
    }
}
