// SPDX-License-Identifier: MIT
//! IPv6's fixed header (RFC 8200 section 3): enough to hash a flow and to carry DSCP and ECN.

use std::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: ICMPv6 (RFC 4443).
pub const ICMP: u8 = 58;
/// Next header: options for the destination.
pub const DESTINATION: u8 = 60;

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

    /// What follows.
    #[inline]
    pub const fn next_header(&self) -> u8 {
        self.next_header
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> Ipv6Addr {
        let [a, b, c, d] = self.src.map(|word| u128::from(word.get()));
        Ipv6Addr::from(a << 96 | b << 64 | c << 32 | d)
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
        hdr.set_ecn(2);
        assert_eq!(hdr.as_bytes()[..4], [0x6b, 0xa1, 0x23, 0x45]);
    }
}
