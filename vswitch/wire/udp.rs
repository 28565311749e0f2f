// SPDX-License-Identifier: MIT
//! UDP (RFC 768).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

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
}
