// SPDX-License-Identifier: MIT
//! UDP (RFC 768).

use std::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ipv4, ipv6};

/// `source_port(16) destination_port(16) length(16) checksum(16)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct UdpHdr {
    src_port: U16,
    dst_port: U16,
    len: U16,
    checksum: U16,
}
const _: () = assert!(size_of::<UdpHdr>() == 8);

impl UdpHdr {
    /// Bytes of the header.
    pub const LEN: usize = size_of::<Self>();

    /// Where in the header the checksum is.
    pub const CHECKSUM: usize = 6;

    /// The header of a datagram of this switch's own over IPv4, with its checksum. `payload`: at most
    /// 65,507 bytes.
    pub fn own(ports: (u16, u16), addresses: (u32, u32), payload: &[u8]) -> Self {
        let len = (Self::LEN + payload.len()) as u16;
        // Addresses, protocol and length once more are the pseudo header.
        let words = [
            addresses.0 >> 16,
            addresses.0 & 0xffff,
            addresses.1 >> 16,
            addresses.1 & 0xffff,
        ];
        let pseudo = words.iter().sum::<u32>() + u32::from(ipv4::UDP) + u32::from(len);
        Self::sealed(ports, len, pseudo, payload)
    }

    /// The same over IPv6. `payload`: at most 65,527 bytes.
    pub fn own_v6(ports: (u16, u16), addresses: (Ipv6Addr, Ipv6Addr), payload: &[u8]) -> Self {
        let len = (Self::LEN + payload.len()) as u16;
        let pseudo = ipv6::pseudo_sum(addresses.0, addresses.1, ipv4::UDP, len);
        Self::sealed(ports, len, pseudo.into(), payload)
    }

    /// `pseudo`: the sum of the pseudo header.
    fn sealed(ports: (u16, u16), len: u16, pseudo: u32, payload: &[u8]) -> Self {
        let mut header = Self {
            src_port: U16::new(ports.0),
            dst_port: U16::new(ports.1),
            len: U16::new(len),
            checksum: U16::ZERO,
        };
        let sums = [ipv4::sum(header.as_bytes()), ipv4::sum(payload)].map(u32::from);
        header.checksum = match !ipv4::fold(pseudo + sums.iter().sum::<u32>()) {
            0 => U16::MAX_VALUE, // zero means that there is none
            checksum => U16::new(checksum),
        };
        header
    }

    /// Source port.
    #[inline]
    pub const fn src_port(&self) -> u16 {
        self.src_port.get()
    }

    /// Destination port.
    #[inline]
    pub const fn dst_port(&self) -> u16 {
        self.dst_port.get()
    }

    /// True if there is no checksum.
    #[inline]
    pub const fn has_no_checksum(&self) -> bool {
        self.checksum.get() == 0
    }

    /// Bytes of header and payload.
    #[inline]
    pub const fn datagram_len(&self) -> usize {
        self.len.get() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_wire_has_them() {
        let hdr = UdpHdr::read_from_bytes(&[0xc0, 0, 0x12, 0xb5, 1, 2, 0, 0]).unwrap();
        assert_eq!((hdr.dst_port(), hdr.datagram_len()), (4789, 258));
    }

    #[test]
    fn the_checksum_is_over_addresses_and_payload_and_never_zero() {
        for payload in [&b""[..], b"odd", b"even", &[0xff; 1000]] {
            let mut packet = Vec::new();
            let builder = etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 200], 64);
            builder.udp(67, 68).write(&mut packet, payload).unwrap();
            let header = UdpHdr::own((67, 68), (0xc000_0201, 0xc633_64c8), payload);
            assert_eq!(header.as_bytes(), &packet[20..28]);
        }
        let (from, to) = ([0xfe; 16], [0x20; 16]);
        for payload in [&b""[..], b"odd", b"even", &[0xff; 1000]] {
            let mut packet = Vec::new();
            let builder = etherparse::PacketBuilder::ipv6(from, to, 64);
            builder.udp(547, 546).write(&mut packet, payload).unwrap();
            let header = UdpHdr::own_v6((547, 546), (from.into(), to.into()), payload);
            assert_eq!(header.as_bytes(), &packet[40..48]);
        }
        let mut payloads = (0..=u16::MAX).map(u16::to_be_bytes);
        let all_there =
            |payload: [u8; 2]| UdpHdr::own((67, 68), (1, 2), &payload).checksum != U16::ZERO;
        assert!(payloads.all(all_there));
    }
}
