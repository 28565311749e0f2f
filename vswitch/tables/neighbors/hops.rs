// SPDX-License-Identifier: MIT
//! [`NextHops`]: the outer headers of the remote VTEPs, ready to be copied in front of a frame.
//!
//! # Contract
//!
//! * **Who reads:** any worker, under a guard, by a [`HopId`] that it found in a neighbor table under the
//!   same guard. **Who writes:** the one writer.
//! * **What a reader sees:** a template is written wholly before a neighbor refers to it, and its slot is
//!   written again only when no reader can still hold its id. Hence eight plain loads, no version.
//! * **Cost:** one cache line. **Memory:** 64 bytes per next hop, touched when first used.
//! * **Cap:** [`MAX_NEXT_HOPS`]. Full is an error for the writer.

#[cfg(not(vswitch_loom))]
use std::alloc::{Layout, handle_alloc_error};
use std::fmt;

use super::prefetch;
use crate::tables::sync::{AtomicU64, Ordering::Relaxed};
use crate::tables::{HopId, MAX_PORTS, NextHop, PortId, Tunnel};

/// Most next hops: one per remote host and uplink. 8 MiB of address space. A power of two.
pub const MAX_NEXT_HOPS: usize = if cfg!(vswitch_loom) { 2 } else { 1 << 17 };

/// The outer header towards a remote VTEP, with zero where it differs per packet: Ethernet, IPv4 (no
/// options, DF, TTL 64), UDP to the [`Tunnel`]'s port, VXLAN with the I flag; 50 bytes. What is to be filled in:
/// IPv4 TOS (with [`Template::tos_mask`]), total length and checksum, UDP source port and length, VNI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Template {
    /// Bytes 0..50 the header: stored to memory with the lowest byte first, they are what goes on the wire.
    /// Bytes 52..56 [`Template::header_sum`], 56..58 [`Template::port`], 58..60 [`Template::longest`],
    /// 60 [`Template::tos_mask`], the rest is zero.
    pub words: [u64; 8],
}

/// The ECN bits of the TOS byte (RFC 3168).
const ECN: u8 = 3;

impl Template {
    /// Bytes of the header.
    pub const HEADER: usize = 50;

    /// Those of them that are part of the outer IPv4 packet, of which the MTU is.
    const IN_MTU: u16 = 36;

    pub(in crate::tables) fn new(hop: &NextHop, tunnel: &Tunnel) -> Self {
        let mut bytes = [0; 64];
        bytes[0..6].copy_from_slice(&hop.dst_mac.bytes());
        bytes[6..12].copy_from_slice(&hop.src_mac.bytes());
        bytes[12..14].copy_from_slice(&[0x08, 0x00]);
        // IPv4: version 4, 5 words, don't fragment, 64 hops, UDP.
        bytes[14..26].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]);
        bytes[26..30].copy_from_slice(&hop.src_ip.octets());
        bytes[30..34].copy_from_slice(&hop.dst_ip.octets());
        bytes[36..38].copy_from_slice(&tunnel.udp_port.to_be_bytes());
        bytes[42] = 0x08;
        (bytes[15], bytes[60]) = match tunnel.dscp {
            Some(dscp) => (dscp << 2, ECN),
            None => (0, u8::MAX),
        };
        let sum: u32 = bytes[14..34]
            .chunks_exact(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        bytes[52..56].copy_from_slice(&sum.to_le_bytes());
        bytes[56..58].copy_from_slice(&hop.port.get().to_le_bytes());
        bytes[58..60].copy_from_slice(&hop.mtu.saturating_sub(Self::IN_MTU).to_le_bytes());
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
        (self.words[7] >> 16) as u16 as u32
    }

    /// The bits of the inner packet's DSCP and ECN that the outer header takes over.
    #[inline]
    pub const fn tos_mask(&self) -> u8 {
        (self.words[7] >> 32) as u8
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
            src_ip: [192, 0, 2, 1].into(),
            dst_ip: [192, 0, 2, 9].into(),
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
    }
}
