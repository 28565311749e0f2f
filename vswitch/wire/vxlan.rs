// SPDX-License-Identifier: MIT
//! VXLAN (RFC 7348 section 5).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// UDP destination port (RFC 7348 section 8).
pub const UDP_PORT: u16 = 4789;

/// Lowest outer UDP source port; the range ends at 65535 (RFC 7348 section 5 recommends the dynamic ports).
pub const FIRST_SOURCE_PORT: u16 = 49152;

/// The outer UDP source port of a flow with this hash (RFC 7348 section 5).
#[inline]
pub const fn source_port(flow: u32) -> u16 {
    FIRST_SOURCE_PORT | (flow as u16 & !FIRST_SOURCE_PORT)
}

/// `flags(8) reserved(24) vni(24) reserved(8)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct VxlanHdr {
    flags: u8,
    reserved_0: [u8; 3],
    vni: [u8; 3],
    reserved_1: u8,
}
const _: () = assert!(size_of::<VxlanHdr>() == 8);

impl VxlanHdr {
    /// Bytes of the header.
    pub const LEN: usize = size_of::<Self>();
    /// The I flag: the VNI field is valid.
    pub const VNI_VALID: u8 = 0x08;

    /// `None` when the I flag is clear; then there is no VNI. Reserved bits are ignored, as section 5 asks
    /// of receivers.
    #[inline]
    pub const fn vni_bits(&self) -> Option<u32> {
        let [hi, mid, lo] = self.vni;
        if self.flags & Self::VNI_VALID == 0 {
            return None;
        }
        Some(u32::from_be_bytes([0, hi, mid, lo]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: [u8; 8]) -> VxlanHdr {
        VxlanHdr::read_from_bytes(&bytes).unwrap()
    }

    #[test]
    fn clear_i_flag_means_no_vni() {
        assert_eq!(
            header([0xf7, 0, 0, 0, 0x12, 0x34, 0x56, 0]).vni_bits(),
            None
        );
    }

    #[test]
    fn reserved_bits_are_ignored() {
        assert_eq!(
            header([0xff, 1, 2, 3, 0x12, 0x34, 0x56, 9]).vni_bits(),
            Some(0x12_3456)
        );
    }
}
