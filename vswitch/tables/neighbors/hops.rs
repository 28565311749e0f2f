// SPDX-License-Identifier: MIT
//! [`NextHops`]: the outer headers of the remote VTEPs, ready to be copied in front of a frame.
//!
//! # Contract
//!
//! * **Who reads:** any worker, under a guard, by a [`HopId`] that it found in a neighbor table, or in a
//!   gateway group of the snapshot, under the same guard. **Who writes:** the one writer.
//! * **What a reader sees:** a template is written wholly before a neighbor refers to it, and its slot is
//!   written again only when no reader can still hold its id. Hence eight plain loads, no version.
//! * **Cost:** one cache line. **Memory:** 64 bytes per next hop, touched when first used.
//! * **Cap:** [`MAX_NEXT_HOPS`]. Full is an error for the writer.

#[cfg(not(vswitch_loom))]
use std::alloc::{Layout, handle_alloc_error};
use std::fmt;

use super::prefetch;
use crate::tables::sync::{AtomicU64, Ordering::Relaxed};
use crate::tables::{Endpoints, HopId, MAX_PORTS, NextHop, PortId, Tunnel};
use crate::wire::{VxlanHdr, ethernet};

/// Most next hops: one per remote host and uplink. 8 MiB of address space. A power of two.
pub const MAX_NEXT_HOPS: usize = if cfg!(vswitch_loom) { 2 } else { 1 << 17 };

/// The outer header towards a remote VTEP, with zero where it differs per packet, and what goes with it.
///
/// | bytes | over IPv4 | over IPv6 |
/// |---|---|---|
/// | the header | 0..50: Ethernet, IPv4 (no options, DF, TTL 64), UDP to the [`Tunnel`]'s port, VXLAN with the I flag | 0..54: Ethernet, IPv6 (UDP, hop limit 64) |
/// | 52..56 | [`Template::header_sum`] | 54..56: UDP destination port, in the order of the wire |
/// | 56..58 | [`Template::port`] | the same |
/// | 58..60 | [`Template::longest`] | zero |
/// | 60 | [`Template::tos_mask`] | the same |
/// | 61 | zero | flags: 1, and 2 if a UDP checksum is to be made |
/// | 62..64 | zero | [`Template::longest`] |
///
/// To be filled in over IPv4: TOS, total length and checksum, UDP source port and length, VNI. What an IPv6 header has
/// behind its first 54 bytes is the same for all hosts but for the port, so that it too fits into one cache line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Template {
    /// Stored to memory with the lowest byte first, they are as the table says.
    pub words: [u64; 8],
}

/// The ECN bits of the TOS byte (RFC 3168).
const ECN: u8 = 3;

/// The flag of a template of IPv6.
const V6: u8 = 1;

/// The flag of one whose packets have a UDP checksum.
const UDP_CHECKSUM: u8 = 2;

impl Template {
    /// Bytes of the header over IPv4.
    pub const HEADER: usize = 50;

    /// Bytes of it in a template of IPv6.
    pub const HEADER6: usize = 54;

    /// Bytes that the outer packet has in front of the inner frame, over IPv4 and over IPv6: what an MTU counts.
    const IN_MTU: u16 = 36;
    const IN_MTU6: u16 = 56;

    pub(in crate::tables) fn new(hop: &NextHop, tunnel: &Tunnel) -> Self {
        let mut bytes = [0; 64];
        bytes[0..6].copy_from_slice(&hop.dst_mac.bytes());
        bytes[6..12].copy_from_slice(&hop.src_mac.bytes());
        let (dscp, mask) = match tunnel.dscp {
            Some(dscp) => (dscp << 2, ECN),
            None => (0, u8::MAX),
        };
        match hop.endpoints {
            Endpoints::V4 { src, dst } => {
                bytes[12..14].copy_from_slice(&ethernet::IPV4.to_be_bytes());
                // Version 4, 5 words, don't fragment, 64 hops, UDP.
                bytes[14..26].copy_from_slice(&[0x45, dscp, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]);
                bytes[26..30].copy_from_slice(&src.octets());
                bytes[30..34].copy_from_slice(&dst.octets());
                bytes[36..38].copy_from_slice(&tunnel.udp_port.to_be_bytes());
                bytes[42] = VxlanHdr::VNI_VALID;
                let sum: u32 = bytes[14..34]
                    .chunks_exact(2)
                    .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
                    .sum();
                bytes[52..56].copy_from_slice(&sum.to_le_bytes());
                let longest = hop.mtu.saturating_sub(Self::IN_MTU);
                bytes[58..60].copy_from_slice(&longest.to_le_bytes());
            }
            Endpoints::V6 { src, dst } => {
                bytes[12..14].copy_from_slice(&ethernet::IPV6.to_be_bytes());
                // Version 6, traffic class, no flow label; no length, UDP, 64 hops.
                bytes[14..22].copy_from_slice(&[0x60 | dscp >> 4, dscp << 4, 0, 0, 0, 0, 17, 64]);
                bytes[22..38].copy_from_slice(&src.octets());
                bytes[38..54].copy_from_slice(&dst.octets());
                bytes[54..56].copy_from_slice(&tunnel.udp_port.to_be_bytes());
                bytes[61] = V6
                    | if tunnel.udp6_checksum {
                        UDP_CHECKSUM
                    } else {
                        0
                    };
                let longest = hop.mtu.saturating_sub(Self::IN_MTU6);
                bytes[62..64].copy_from_slice(&longest.to_le_bytes());
            }
        }
        bytes[56..58].copy_from_slice(&hop.port.get().to_le_bytes());
        bytes[60] = mask;
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self { words }
    }

    /// The sum of the 16-bit words of the IPv4 header as it is here, not folded: at most 20 bits. To make
    /// the checksum, add the words that were filled in, fold, complement (RFC 1071).
    #[inline]
    pub const fn header_sum(&self) -> u32 {
        let [.., a, b, c, d] = self.words[6].to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The uplink to send by.
    #[inline]
    pub const fn port(&self) -> PortId {
        let [a, b, ..] = self.words[7].to_le_bytes();
        PortId(u16::from_le_bytes([a, b]) & (MAX_PORTS as u16 - 1))
    }

    /// Bytes of the longest frame that fits behind this header.
    #[inline]
    pub const fn longest(&self) -> u32 {
        let over_ipv6 = (self.words[7] >> 48) as u16 as u32;
        self.longest_over_ipv4() | over_ipv6 // one of them is zero
    }

    /// The same of a header of IPv4; zero for one of IPv6: no frame fits, and who is in a hurry asks nothing else.
    #[inline]
    pub const fn longest_over_ipv4(&self) -> u32 {
        (self.words[7] >> 16) as u16 as u32
    }

    /// The bits of the inner packet's DSCP and ECN that the outer header takes over.
    #[inline]
    pub const fn tos_mask(&self) -> u8 {
        (self.words[7] >> 32) as u8
    }

    /// True for a template of IPv6.
    #[inline]
    pub const fn is_over_ipv6(&self) -> bool {
        self.has(V6)
    }

    /// True if the UDP checksum is to be made, which over IPv4 it never is.
    #[inline]
    pub const fn has_udp_checksum(&self) -> bool {
        self.has(UDP_CHECKSUM)
    }

    const fn has(&self, flag: u8) -> bool {
        (self.words[7] >> 40) as u8 & flag != 0
    }
}

/// One cache line.
#[derive(Default)]
#[cfg_attr(not(vswitch_loom), derive(zerocopy::FromZeros, zerocopy::KnownLayout))]
#[repr(C, align(64))]
struct Slot([AtomicU64; 8]);

/// The templates of all next hops. See the module's documentation.
pub struct NextHops {
    slots: Box<[Slot; MAX_NEXT_HOPS]>,
    tunnel: Tunnel,
}

impl NextHops {
    /// None yet; `tunnel`: what all will have. Aborts when there is no memory, like any small allocation.
    pub(in crate::tables) fn new(tunnel: Tunnel) -> Self {
        #[cfg(not(vswitch_loom))]
        let slots = <[Slot; MAX_NEXT_HOPS] as zerocopy::FromZeros>::new_box_zeroed()
            .unwrap_or_else(|_| handle_alloc_error(Layout::new::<[Slot; MAX_NEXT_HOPS]>()));
        #[cfg(vswitch_loom)]
        let slots = Box::new(std::array::from_fn(|_| Slot::default()));
        Self { slots, tunnel }
    }

    #[inline(always)]
    fn slot(&self, id: HopId) -> &Slot {
        // Ids are below the cap; the remainder spares the hot path a panic.
        &self.slots[id.0 as usize % MAX_NEXT_HOPS]
    }

    /// Asks the CPU to fetch a template.
    #[inline]
    pub fn prefetch(&self, id: HopId) {
        prefetch(self.slot(id));
    }

    /// The outer header towards a next hop.
    #[inline]
    pub fn template(&self, id: HopId) -> Template {
        let Slot([a, b, c, d, e, f, g, h]) = self.slot(id);
        Template {
            words: [a, b, c, d, e, f, g, h].map(|word| word.load(Relaxed)),
        }
    }

    /// Writes a slot. No reader may hold its id; the neighbor that will name it is stored with Release.
    pub(super) fn write(&self, id: HopId, hop: &NextHop) {
        for (slot, word) in self
            .slot(id)
            .0
            .iter()
            .zip(Template::new(hop, &self.tunnel).words)
        {
            slot.store(word, Relaxed);
        }
    }
}

impl fmt::Debug for NextHops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextHops").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests {
    use super::*;
    use crate::wire::Mac;

    #[test]
    fn a_template_is_the_outer_header_byte_by_byte() {
        let hop = NextHop {
            port: PortId(3),
            endpoints: Endpoints::V4 {
                src: [192, 0, 2, 1].into(),
                dst: [192, 0, 2, 9].into(),
            },
            src_mac: Mac::new([2, 0, 0, 0, 0, 1]),
            dst_mac: Mac::new([2, 0, 0, 0, 0, 9]),
            mtu: 1500,
        };
        let tunnel = Tunnel {
            udp_port: 0xabcd,
            dscp: Some(46),
            ..Tunnel::default()
        };
        let hops = NextHops::new(tunnel);
        let last = HopId(MAX_NEXT_HOPS as u32 - 1);
        hops.write(last, &hop);
        let template = hops.template(last);
        let bytes: Vec<u8> = template
            .words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        #[rustfmt::skip]
        let header = [
            2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x00,
            0x45, 46 << 2, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 9,
            0, 0, 0xab, 0xcd, 0, 0, 0, 0,
            8, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(bytes[..Template::HEADER], header);
        assert_eq!((template.port(), template.longest()), (PortId(3), 1464));
        assert_eq!(
            template.header_sum(),
            0x45b8 + 0x4000 + 0x4011 + 2 * 0xc000 + 0x0201 + 0x0209
        );
        assert_eq!(template.tos_mask(), 3);
        let copied = Template::new(&hop, &Tunnel::default());
        assert_eq!((copied.words[1] >> 56, copied.tos_mask()), (0, 0xff));
        assert_eq!(hops.template(HopId(0)).words, [0; 8]);
        for (mtu, longest) in [(0, 0), (36, 0), (37, 1), (u16::MAX, 65_499)] {
            hops.write(last, &NextHop { mtu, ..hop });
            assert_eq!(hops.template(last).longest(), longest);
        }
        assert!(!template.is_over_ipv6() && !template.has_udp_checksum());
    }

    #[test]
    fn a_template_of_ipv6_is_the_outer_header_up_to_its_addresses() {
        let hop = NextHop {
            port: PortId(3),
            endpoints: Endpoints::V6 {
                src: [0x11; 16].into(),
                dst: [0x99; 16].into(),
            },
            src_mac: Mac::new([2, 0, 0, 0, 0, 1]),
            dst_mac: Mac::new([2, 0, 0, 0, 0, 9]),
            mtu: 1500,
        };
        let tunnel = Tunnel {
            udp_port: 0xabcd,
            dscp: Some(46),
            udp6_checksum: true,
            ..Tunnel::default()
        };
        let template = Template::new(&hop, &tunnel);
        let bytes = template.words.map(u64::to_le_bytes).concat();
        #[rustfmt::skip]
        let start = [
            2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x6b, 0x80, 0, 0, 0, 0, 17, 64,
        ];
        let expected = [&start[..], &[0x11; 16], &[0x99; 16], &[0xab, 0xcd]].concat();
        assert_eq!(bytes[..56], expected);
        assert_eq!((template.port(), template.tos_mask()), (PortId(3), 3));
        assert!(template.is_over_ipv6() && template.has_udp_checksum());
        assert_eq!(template.longest_over_ipv4(), 0);
        for (mtu, longest) in [(0, 0), (56, 0), (57, 1), (1500, 1444), (u16::MAX, 65_479)] {
            let template = Template::new(&NextHop { mtu, ..hop }, &Tunnel::default());
            assert_eq!(template.longest(), longest);
            assert!(template.is_over_ipv6() && !template.has_udp_checksum());
            assert_eq!((template.words[1] >> 48, template.tos_mask()), (0x60, 0xff));
        }
    }
}
