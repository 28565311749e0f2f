// SPDX-License-Identifier: MIT
//! [`Left`]: a checksum that a guest leaves to its card, or that a card leaves to a guest (virtio 1.1 sections 5.1.6.2, 5.1.6.4).

use zerocopy::FromBytes;

use crate::dpdk::mbuf::Mbuf;
use crate::wire::{Ipv4Hdr, Ipv6Hdr, UdpHdr, ethernet, ipv4, tcp};

/// A checksum over all bytes of a frame from `start` on, for the field that is `offset` bytes behind that. The field has the sum of
/// the pseudo header, if the guest that sent the frame kept to that: it is not made anew, as the vhost library does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Left {
    pub(super) start: u16,
    pub(super) offset: u16,
}

impl Left {
    /// As a frame's header has it: little-endian.
    pub(super) const fn from_bytes([a, b, c, d]: [u8; 4]) -> Self {
        let (start, offset) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        Self { start, offset }
    }

    /// What is left to the guest that receives a frame.
    #[inline]
    pub(super) fn in_frame(frame: &Mbuf) -> Option<Self> {
        let (start, is_udp) = frame.checksum_left()?;
        let offset = if is_udp {
            UdpHdr::CHECKSUM
        } else {
            tcp::CHECKSUM
        };
        let offset = offset as u16; // below 20
        Some(Self { start, offset })
    }

    /// That of the TCP or UDP packet in a frame, if there is one that is no fragment and has no extension headers. In a tunnel it is
    /// the outer one's.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let (link, ethertype) = ethernet::payload(frame)?;
        let packet = frame.get(link..)?;
        let (protocol, header) = match ethertype {
            ethernet::IPV4 => {
                let (ip, _) = Ipv4Hdr::ref_from_prefix(packet).ok()?;
                let is_whole = !ip.is_fragment();
                is_whole.then_some((ip.protocol(), ip.header_len()))?
            }
            ethernet::IPV6 => {
                let (ip, _) = Ipv6Hdr::ref_from_prefix(packet).ok()?;
                (ip.next_header(), Ipv6Hdr::LEN)
            }
            _ => return None,
        };
        let (offset, transport) = match protocol {
            ipv4::TCP => (tcp::CHECKSUM, tcp::LEN),
            ipv4::UDP => (UdpHdr::CHECKSUM, UdpHdr::LEN),
            _ => return None,
        };
        let is_there = header + transport <= packet.len();
        is_there.then_some(Self {
            start: (link + header) as u16, // 22 and 60 at most
            offset: offset as u16,         // below 20
        })
    }

    /// Makes it. False, and no change: the field is not in the frame.
    pub(super) fn make(self, frame: &mut [u8]) -> bool {
        let (start, offset) = (usize::from(self.start), usize::from(self.offset));
        let Some(summed) = frame.get_mut(start..) else {
            return false;
        };
        let checksum = match !ipv4::sum(summed) {
            0 => u16::MAX, // the same, and not UDP's word for none (RFC 768)
            checksum => checksum,
        };
        let field = summed.get_mut(offset..).and_then(<[u8]>::first_chunk_mut);
        field.map(|field| *field = checksum.to_be_bytes()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{EthernetHdr, Mac};
    use etherparse::PacketBuilder;
    use zerocopy::IntoBytes;

    /// A frame's bytes, with a right checksum.
    fn frame(of: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        of.write(&mut bytes, payload).unwrap();
        bytes
    }

    fn tcp(of: etherparse::PacketBuilderStep<etherparse::TcpHeader>) -> Vec<u8> {
        let mut bytes = Vec::new();
        of.write(&mut bytes, b"x").unwrap();
        bytes
    }

    #[test]
    fn it_is_found_in_frames_that_have_one() {
        let ethernet = || PacketBuilder::ethernet2([2; 6], [4; 6]);
        let v4 = || ethernet().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9);
        let v6 = || ethernet().ipv6([1; 16], [2; 16], 9);
        let of_udp = |start| Some(Left { start, offset: 6 });
        let of_tcp = |start| Some(Left { start, offset: 16 });
        let plain = frame(v4().udp(1, 2), b"odd");
        assert_eq!(Left::of(&plain), of_udp(34));
        assert_eq!(Left::of(&frame(v6().udp(1, 2), b"x")), of_udp(54));
        let over_ipv4 = tcp(v4().tcp(1, 2, 3, 4));
        assert_eq!(Left::of(&over_ipv4), of_tcp(34));
        assert_eq!(Left::of(&tcp(v6().tcp(1, 2, 3, 4))), of_tcp(54));
        let tag = [0x81, 0, 0, 7];
        let tagged = [&plain[..12], &tag, &tag, &plain[12..]].concat();
        assert_eq!(Left::of(&tagged), of_udp(42));
        let mut options = [&plain[..34], &[1; 4], &plain[34..]].concat();
        options[14] = 0x46;
        assert_eq!(Left::of(&options), of_udp(38));

        let mut fragment = plain.clone();
        fragment[20] = 0x20; // more follow
        let mut extended = frame(v6().udp(1, 2), &[0; 8]);
        extended[20] = crate::wire::ipv6::HOP_BY_HOP;
        let tags = [&plain[..12], &tag, &tag, &tag, &plain[12..]].concat();
        let arp = EthernetHdr::new(Mac::BROADCAST, Mac::BROADCAST, ethernet::ARP);
        for other in [&fragment[..], &extended, &tags, arp.as_bytes(), &[]] {
            assert_eq!(Left::of(other), None);
        }
        for len in 0..54 {
            assert_eq!(Left::of(&over_ipv4[..len]), None, "cut after {len} bytes");
        }
    }

    #[test]
    fn it_is_made_of_all_that_follows_and_never_outside() {
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let packet = ethernet.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9);
        let right = frame(packet.udp(1, 2), b"an odd number");
        // Of the pseudo header: both addresses, the protocol, and the length.
        let pseudo = 0x0a00 + 1 + 0x0a00 + 2 + 17 + (8 + 13);
        let mut left = right.clone();
        left[40..42].copy_from_slice(&u16::to_be_bytes(pseudo));
        assert!(Left::of(&left).unwrap().make(&mut left));
        assert_eq!(left, right);
        for (start, offset) in [(55, 0), (0, 54), (u16::MAX, u16::MAX), (53, 1)] {
            assert!(!Left { start, offset }.make(&mut left));
        }
        assert_eq!((left.len(), left), (55, right));
        // A sum of zero.
        let mut bytes = [0xff, 0xff, 0, 0];
        assert!(
            Left {
                start: 0,
                offset: 2
            }
            .make(&mut bytes)
        );
        assert_eq!(bytes, [0xff; 4]);
    }
}
