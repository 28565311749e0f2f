// SPDX-License-Identifier: MIT
//! Ethernet II (IEEE 802.3 clause 3, RFC 894).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Mac;

/// The least EtherType; what is below is a length (IEEE 802.3).
pub const LEAST_ETHERTYPE: u16 = 0x600;

/// What the payload then begins with if it has an EtherType after all (IEEE 802.2, SNAP).
pub const SNAP: [u8; 2] = [0xaa; 2];

/// EtherType of IPv4 (RFC 894).
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP (RFC 826).
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6 (RFC 2464).
pub const IPV6: u16 = 0x86dd;
/// EtherType of an IEEE 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of an IEEE 802.1ad service tag.
pub const QINQ: u16 = 0x88a8;

/// `destination(48) source(48) ethertype(16)`, in network order.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct EthernetHdr {
    dst: [u8; 6],
    src: [u8; 6],
    ethertype: U16,
}
const _: () = assert!(size_of::<EthernetHdr>() == 14);

/// Bytes of the two addresses, behind which a tag stands.
pub const ADDRESSES: usize = 12;

/// Bytes of a tag.
pub const TAG: usize = 4;

/// Most tags in front of a payload (IEEE 802.1ad).
const MAX_TAGS: usize = 2;

/// True for the EtherTypes that a tag begins with.
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, VLAN | QINQ)
}

/// Where in a frame its payload begins, behind any tags, and its EtherType. `None`: it ends before that, or has more than two tags.
pub fn payload(frame: &[u8]) -> Option<(usize, u16)> {
    let mut at = ADDRESSES;
    for _ in 0..=MAX_TAGS {
        let ethertype = u16::from_be_bytes(*frame.get(at..)?.first_chunk()?);
        if !is_tag(ethertype) {
            return Some((at + EthernetHdr::LEN - ADDRESSES, ethertype));
        }
        at += TAG;
    }
    None
}

/// An IEEE 802.1Q tag of priority 0 for a VLAN, 1 to 4094, as it stands behind the addresses.
pub const fn vlan_tag(vlan: u16) -> [u8; TAG] {
    let ([a, b], [c, d]) = (VLAN.to_be_bytes(), vlan.to_be_bytes());
    [a, b, c, d]
}

impl EthernetHdr {
    /// Bytes of the header.
    pub const LEN: usize = size_of::<Self>();

    /// A header of these fields.
    pub const fn new(dst: Mac, src: Mac, ethertype: u16) -> Self {
        Self {
            dst: dst.bytes(),
            src: src.bytes(),
            ethertype: U16::new(ethertype),
        }
    }

    /// Destination address.
    #[inline]
    pub const fn dst(&self) -> Mac {
        Mac::new(self.dst)
    }

    /// Source address.
    #[inline]
    pub const fn src(&self) -> Mac {
        Mac::new(self.src)
    }

    /// What the payload is; below [`LEAST_ETHERTYPE`] it is an IEEE 802.3 length.
    #[inline]
    pub const fn ethertype(&self) -> u16 {
        self.ethertype.get()
    }

    /// Writes the destination address.
    #[inline]
    pub const fn set_dst(&mut self, mac: Mac) {
        self.dst = mac.bytes();
    }

    /// Destination address as [`Mac::word`]: one load.
    #[inline]
    pub fn dst_word(&self) -> u64 {
        let bytes = self.as_bytes();
        bytes
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
            & Mac::WORD
    }

    /// Source address as [`Mac::word`]: one load.
    #[inline]
    pub fn src_word(&self) -> u64 {
        let bytes = self.as_bytes();
        bytes
            .last_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
            & Mac::WORD
    }

    /// Writes both addresses, given as [`Mac::word`]: two stores.
    #[inline]
    pub fn set_addresses(&mut self, dst: u64, src: u64) {
        if let Some((first, rest)) = self.as_mut_bytes().split_first_chunk_mut()
            && let Some(second) = rest.first_chunk_mut()
        {
            *first = (dst | src << 48).to_le_bytes();
            *second = ((src >> 16) as u32).to_le_bytes();
        }
    }

    /// Writes the source address.
    #[inline]
    pub const fn set_src(&mut self, mac: Mac) {
        self.src = mac.bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_wire_has_them() {
        let hdr = EthernetHdr::new(
            Mac::new([1, 2, 3, 4, 5, 6]),
            Mac::new([7, 8, 9, 10, 11, 12]),
            IPV6,
        );
        assert_eq!(
            hdr.as_bytes(),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x86, 0xdd]
        );
        assert_eq!(
            (hdr.dst().bytes()[0], hdr.src().bytes()[0], hdr.ethertype()),
            (1, 7, IPV6)
        );
    }
}
