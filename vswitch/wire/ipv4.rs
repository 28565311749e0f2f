// SPDX-License-Identifier: MIT
//! IPv4 (RFC 791), its header checksum (RFC 1071) and incremental updates of it (RFC 1624).

use arrayvec::ArrayVec;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Protocol number of ICMP (RFC 792).
pub const ICMP: u8 = 1;
/// Protocol number of TCP (RFC 9293).
pub const TCP: u8 = 6;
/// Protocol number of UDP (RFC 768).
pub const UDP: u8 = 17;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// Bytes of options that a header has at most.
const MAX_OPTIONS: usize = Ipv4Hdr::MAX_LEN - Ipv4Hdr::LEN;

/// Hops that messages of this switch's own may take.
const OWN_TTL: u8 = 64;

/// The header without options: `version(4) ihl(4) tos(8) total_length(16) identification(16) flags(3)
/// fragment_offset(13) ttl(8) protocol(8) checksum(16) source(32) destination(32)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv4Hdr {
    version_ihl: u8,
    tos: u8,
    total_len: U16,
    id: U16,
    fragment: U16,
    ttl: u8,
    protocol: u8,
    checksum: U16,
    src: U32,
    dst: U32,
}
const _: () = assert!(size_of::<Ipv4Hdr>() == 20);

impl Ipv4Hdr {
    /// Bytes of the header without options.
    pub const LEN: usize = size_of::<Self>();

    /// Most bytes of the header with options.
    pub const MAX_LEN: usize = 60;

    /// The header of a message of this switch's own: no options, not to be fragmented, 64 hops, precedence of routing
    /// protocols (RFC 1812 section 4.3.2.5), the checksum right. `payload`: bytes behind it.
    pub fn own(src: u32, dst: u32, protocol: u8, payload: u16) -> Self {
        let mut header = Self {
            version_ihl: 0x45,
            tos: 0xc0,
            total_len: U16::new(Self::LEN as u16 + payload),
            id: U16::ZERO,
            fragment: U16::new(DONT_FRAGMENT),
            ttl: OWN_TTL,
            protocol,
            checksum: U16::ZERO,
            src: U32::new(src),
            dst: U32::new(dst),
        };
        header.checksum = U16::new(!sum(header.as_bytes()));
        header
    }

    /// Sends a packet back to where it came from, as one of this switch's own, and updates the checksum.
    pub fn turn_around(&mut self) {
        (self.src, self.dst) = (self.dst, self.src);
        let old = u16::from_be_bytes([self.ttl, self.protocol]);
        self.ttl = OWN_TTL;
        self.update_checksum(old, u16::from_be_bytes([self.ttl, self.protocol]));
    }

    /// True for version 4.
    #[inline]
    pub const fn is_v4(&self) -> bool {
        self.version_ihl >> 4 == 4
    }

    /// Bytes of the header with options: 0 to 60; below 20 it is malformed.
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// True for version 4 and no options, the shape of nearly all packets.
    #[inline]
    pub const fn is_plain(&self) -> bool {
        self.version_ihl == 0x45
    }

    /// DSCP (upper six bits, RFC 2474) and ECN (lower two, RFC 3168).
    #[inline]
    pub const fn tos(&self) -> u8 {
        self.tos
    }

    /// Bytes of header and payload.
    #[inline]
    pub const fn total_len(&self) -> usize {
        self.total_len.get() as usize
    }

    /// True for a fragment, the first one included.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.fragment.get() & 0x3fff != 0
    }

    /// True when the payload starts within an earlier fragment.
    #[inline]
    pub const fn is_later_fragment(&self) -> bool {
        self.fragment.get() & 0x1fff != 0
    }

    /// Where in the whole packet's payload this one starts, in bytes.
    pub const fn fragment_offset(&self) -> usize {
        (self.fragment.get() & 0x1fff) as usize * 8
    }

    /// True for a fragment that is not the last one.
    pub const fn has_more_fragments(&self) -> bool {
        self.fragment.get() & MORE_FRAGMENTS != 0
    }

    /// True when it is to be dropped rather than fragmented.
    pub const fn is_not_to_be_fragmented(&self) -> bool {
        self.fragment.get() & DONT_FRAGMENT != 0
    }

    /// Time to live, in hops.
    #[inline]
    pub const fn ttl(&self) -> u8 {
        self.ttl
    }

    /// What the payload is.
    #[inline]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Source address, host order.
    #[inline]
    pub const fn src(&self) -> u32 {
        self.src.get()
    }

    /// Destination address, host order.
    #[inline]
    pub const fn dst(&self) -> u32 {
        self.dst.get()
    }

    /// Takes one from the time to live, which must not be zero, and updates the checksum
    /// (RFC 1624 equation 3: the 16-bit word of TTL and protocol falls by 0x0100).
    #[inline]
    pub fn decrement_ttl(&mut self) {
        debug_assert_ne!(self.ttl, 0);
        self.ttl = self.ttl.wrapping_sub(1);
        // One fold is enough: the sum is below 0x1feff.
        let sum = u32::from(!self.checksum.get()) + u32::from(!0x0100u16);
        self.checksum = U16::new(!(sum as u16).wrapping_add((sum >> 16) as u16));
    }

    /// Writes the ECN bits, the lower two of `ecn`, and updates the checksum.
    #[inline]
    pub fn set_ecn(&mut self, ecn: u8) {
        let old = u16::from_be_bytes([self.version_ihl, self.tos]);
        self.tos = (self.tos & !3) | (ecn & 3);
        self.update_checksum(old, u16::from_be_bytes([self.version_ihl, self.tos]));
    }

    /// HC' = ~(~HC + ~m + m') (RFC 1624 equation 3). A wrong checksum stays wrong.
    #[inline]
    fn update_checksum(&mut self, old: u16, new: u16) {
        let sum = u32::from(!self.checksum.get()) + u32::from(!old) + u32::from(new);
        self.checksum = U16::new(!fold(sum));
    }

    /// True when the checksum over these 20 bytes is right; only for a header without options.
    #[inline]
    pub fn checksum_is_right(&self) -> bool {
        // Words of 32 bits in the CPU's order: the sum is the same but for the order of its bytes (RFC 1071 section 2),
        // and this one looks the same in either.
        let (words, _) = self.as_bytes().as_chunks();
        let sum: u64 = words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)))
            .sum();
        fold((sum & 0xffff) as u32 + (sum >> 16 & 0xffff) as u32 + (sum >> 32) as u32) == 0xffff
    }
}

/// Makes a header, `header` and nothing else, that of a fragment with `payload` bytes behind it, the first of which is at
/// `offset` in the whole packet's payload. `offset` is a multiple of 8 below 65,536; what comes before is left as it is.
pub fn make_fragment(header: &mut [u8], payload: usize, offset: usize, more: bool) {
    let len = header.len();
    let Ok((ip, _)) = Ipv4Hdr::mut_from_prefix(header) else {
        return;
    };
    let flag = if more { MORE_FRAGMENTS } else { 0 };
    ip.total_len = U16::new((len + payload) as u16); // a part of a packet
    ip.fragment = U16::new((offset / 8) as u16 | flag);
    ip.checksum = U16::ZERO;
    let checksum = !sum(header);
    if let Ok((ip, _)) = Ipv4Hdr::mut_from_prefix(header) {
        ip.checksum = U16::new(checksum);
    }
}

/// Makes the header, with its options, that of segment `number` of a packet that is cut into such, of `payload` bytes. Returns
/// the sum of the pseudo header in front of these (RFC 9293 section 3.1). The bytes must fit a packet.
pub fn make_segment(header: &mut [u8], payload: usize, number: u16) -> u16 {
    let len = header.len();
    let Ok((ip, _)) = Ipv4Hdr::mut_from_prefix(header) else {
        return 0;
    };
    ip.total_len = U16::new((len + payload) as u16);
    ip.id = U16::new(ip.id.get().wrapping_add(number));
    ip.checksum = U16::ZERO;
    let pseudo = [
        sum(ip.src.as_bytes()),
        sum(ip.dst.as_bytes()),
        payload as u16,
    ];
    let pseudo = pseudo.into_iter().map(u32::from).sum::<u32>() + u32::from(ip.protocol);
    let checksum = !sum(header);
    if let Ok((ip, _)) = Ipv4Hdr::mut_from_prefix(header) {
        ip.checksum = U16::new(checksum);
    }
    fold(pseudo)
}

/// Those of a header's options that each fragment has (RFC 791 section 3.1), padded to whole words. What makes no sense
/// ends the list.
pub fn copied_options(options: &[u8]) -> ArrayVec<u8, MAX_OPTIONS> {
    let (mut rest, mut copied) = (options, ArrayVec::new());
    while let [kind, tail @ ..] = rest {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => tail.first().map_or(0, |len| usize::from(*len)),
        };
        let Some((option, behind)) = rest.split_at_checked(len) else {
            break;
        };
        if option.len() < 2 && *kind != 1 {
            break;
        }
        if kind & 0x80 != 0 && copied.try_extend_from_slice(option).is_err() {
            break;
        }
        rest = behind;
    }
    while copied.len() % 4 != 0 {
        copied.push(0); // four divide the capacity
    }
    copied
}

/// The one's complement sum of big-endian 16-bit words, folded (RFC 1071). An odd last byte counts as its
/// word's upper half. A header with a right checksum sums to 0xffff.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(2);
    let mut sum = 0u32;
    for word in &mut words {
        sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        sum += u32::from(*last) << 8;
    }
    fold(sum)
}

/// The same over bytes that are in several places, one behind the other.
pub fn sum_of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let (mut all, mut odd) = (0, false);
    for part in parts {
        let part_sum = sum(part);
        // Behind an odd number of bytes, upper halves are lower ones (RFC 1071 section 2, byte order independence).
        let part_sum = if odd { part_sum.swap_bytes() } else { part_sum };
        all = fold(u32::from(all) + u32::from(part_sum));
        odd ^= part.len() % 2 == 1;
    }
    all
}

/// Folds the carries of a one's complement sum of at most 65,537 words into 16 bits.
#[inline]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 192.0.2.1 -> 192.0.2.2, UDP, TTL 64, checksum computed by hand.
    const HEADER: [u8; 20] = [
        0x45, 0x03, 0, 28, 0, 7, 0x40, 0, 64, 17, 0xb6, 0xc4, 192, 0, 2, 1, 192, 0, 2, 2,
    ];

    fn header() -> Ipv4Hdr {
        let mut bytes = HEADER;
        bytes[10..12].fill(0);
        let checksum = !sum(&bytes);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        Ipv4Hdr::read_from_bytes(&bytes).unwrap()
    }

    #[test]
    fn fields_stand_where_the_wire_has_them() {
        let hdr = header();
        assert!(hdr.is_v4() && hdr.is_plain() && !hdr.is_fragment());
        assert_eq!(
            (
                hdr.header_len(),
                hdr.total_len(),
                hdr.tos(),
                hdr.ttl(),
                hdr.protocol()
            ),
            (20, 28, 3, 64, UDP)
        );
        assert_eq!((hdr.src(), hdr.dst()), (0xc000_0201, 0xc000_0202));
    }

    #[test]
    fn incremental_updates_equal_a_full_computation() {
        for ttl in 1..=255u8 {
            for ecn in 0..4 {
                let mut hdr = header();
                hdr.ttl = ttl;
                hdr.checksum = U16::new(0);
                hdr.checksum = U16::new(!sum(hdr.as_bytes()));
                hdr.decrement_ttl();
                hdr.set_ecn(ecn);
                assert!(hdr.checksum_is_right(), "ttl {ttl} ecn {ecn}");
                assert_eq!((hdr.ttl(), hdr.tos() & 3), (ttl - 1, ecn));
            }
        }
    }

    #[test]
    fn headers_of_our_own_and_those_sent_back_have_right_checksums() {
        let own = Ipv4Hdr::own(0x0a07_0001, 0x0a07_0002, ICMP, 36);
        assert!(own.checksum_is_right() && own.is_plain() && !own.is_fragment());
        assert_eq!((own.total_len(), own.ttl(), own.protocol()), (56, 64, ICMP));
        for ttl in 0..=255 {
            let mut hdr = header();
            hdr.ttl = ttl;
            hdr.checksum = U16::new(0);
            hdr.checksum = U16::new(!sum(hdr.as_bytes()));
            hdr.turn_around();
            assert!(hdr.checksum_is_right());
            assert_eq!(
                (hdr.src(), hdr.dst(), hdr.ttl()),
                (0xc000_0202, 0xc000_0201, 64)
            );
        }
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let mut hdr = header();
        hdr.checksum = U16::new(hdr.checksum.get() ^ 0x10);
        hdr.decrement_ttl();
        assert!(!hdr.checksum_is_right());
    }

    #[test]
    fn options_are_copied_by_their_flag_as_far_as_they_make_sense() {
        for (options, copied) in [
            (&[][..], &[][..]),
            (&[1, 1, 1, 1], &[]),
            (&[7, 3, 4, 148, 4, 0, 0, 0], &[148, 4, 0, 0]),
            (&[130, 3, 9, 0], &[130, 3, 9, 0]),
            (&[148, 4, 1, 2, 137, 3, 4, 0], &[148, 4, 1, 2, 137, 3, 4, 0]),
            (&[0, 148, 4, 0], &[]),
            (&[148, 4, 0, 0, 148, 5, 0, 0], &[148, 4, 0, 0]),
            (&[7, 0, 148, 4], &[]),
            (&[148, 0, 0, 0], &[]),
            (&[148, 1, 0, 0], &[]),
            (&[148], &[]),
        ] {
            assert_eq!(copied_options(options).as_slice(), copied, "{options:?}");
        }
        assert_eq!(copied_options(&[0x81; 40]).len(), 0);
        assert_eq!(
            copied_options(&[[0x82, 8, 1, 2, 3, 4, 5, 6]; 5].concat()).len(),
            40
        );
    }

    #[test]
    fn an_odd_byte_counts_as_the_upper_half() {
        assert_eq!(sum(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
        assert_eq!(sum(&[]), 0);
    }
}
