// SPDX-License-Identifier: MIT
//! [`Entry`]: a [`Neighbor`] as the table holds it and as packets need it, one 64-bit word and one 32-bit hop.
//!
//! | word | bits 0..48 | the MAC, first byte on the wire lowest |
//! |---|---|---|
//! | | bits 48..64 | VNI, its upper two bytes in the order of the wire |
//! | **hop** | bits 0..22 | port of a local neighbor, next hop of a remote one |
//! | | bit 22 | writer only: this copy is superseded and waits to be removed |
//! | | bit 23 | the neighbor is local |
//! | | bits 24..32 | VNI, its last byte |
//!
//! Readers take the two with two loads. Hence a slot's word never changes while readers may see its key,
//! and its hop only to one that goes with the same word, see [`Entry::differs_only_in_hop`].

use super::hops::MAX_NEXT_HOPS;
use crate::tables::{Hop, HopId, MAX_PORTS, Neighbor, PortId};
use crate::wire::{Mac, Vni};

const STALE: u32 = 1 << 22;
const LOCAL: u32 = 1 << 23;
const HOP_MASK: u32 = MAX_NEXT_HOPS as u32 - 1;
const PORT_MASK: u32 = MAX_PORTS as u32 - 1;

const _: () = assert!(MAX_NEXT_HOPS.is_power_of_two() && HOP_MASK < STALE);
const _: () = assert!(MAX_PORTS.is_power_of_two() && PORT_MASK < STALE);

/// A neighbor, packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub(super) word: u64,
    pub(super) hop: u32,
}

impl From<Neighbor> for Entry {
    fn from(neighbor: Neighbor) -> Self {
        let [_, vni @ .., vni_last] = neighbor.vni.get().to_be_bytes();
        let hop = match neighbor.hop {
            Hop::Local(port) => LOCAL | u32::from(port.get()) & PORT_MASK,
            Hop::Remote(id) => id.0 & HOP_MASK,
        };
        Self {
            word: neighbor.mac.word() | u64::from(u16::from_le_bytes(vni)) << 48,
            hop: hop | u32::from(vni_last) << 24,
        }
    }
}

/// What the packet path takes out of it.
impl Entry {
    /// What no table holds: something to fill a field with.
    pub const NONE: Self = Self { word: 0, hop: 0 };

    /// [`Mac::word`] of its MAC.
    #[inline(always)]
    pub const fn mac_word(self) -> u64 {
        self.word & Mac::WORD
    }

    /// Where it is.
    #[inline(always)]
    pub const fn hop(self) -> Hop {
        if self.hop & LOCAL == 0 {
            Hop::Remote(HopId(self.hop & HOP_MASK))
        } else {
            Hop::Local(PortId((self.hop & PORT_MASK) as u16))
        }
    }

    /// The VNI in the order of the wire: its first two bytes, as the upper 16 bits of a word that the other bits
    /// are zero of, and its last byte.
    #[inline(always)]
    pub const fn vni_bytes(self) -> (u64, u8) {
        (self.word & !Mac::WORD, (self.hop >> 24) as u8)
    }

    /// Its VNI; `None` for [`Entry::NONE`].
    #[inline]
    pub const fn vni(self) -> Option<Vni> {
        let [.., first, second] = self.word.to_le_bytes();
        Vni::new(u32::from_be_bytes([
            0,
            first,
            second,
            (self.hop >> 24) as u8,
        ]))
    }

    /// Unpacks it. `None` for [`Entry::NONE`].
    pub const fn neighbor(self) -> Option<Neighbor> {
        let (mac, hop) = (Mac::from_word(self.word), self.hop());
        match self.vni() {
            Some(vni) => Some(Neighbor { mac, vni, hop }),
            None => None,
        }
    }
}

/// What the writer does with it.
impl Entry {
    /// True when a reader may see the word of one with the hop of the other: both are one of the two.
    pub(super) fn differs_only_in_hop(self, other: Self) -> bool {
        self.word == other.word && self.hop >> 24 == other.hop >> 24
    }

    /// The same, marked as superseded. Readers do not look at the mark.
    pub(super) fn stale(self) -> Self {
        Self {
            hop: self.hop | STALE,
            ..self
        }
    }

    /// True when a newer copy of the entry is in another slot.
    pub(super) fn is_stale(self) -> bool {
        self.hop & STALE != 0
    }
}

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_packed_neighbor_is_the_same_when_unpacked() {
        let mac = Mac::new([0xfa, 0x16, 0x3e, 1, 2, 3]);
        let hops = [
            Hop::Remote(HopId(0)),
            Hop::Remote(HopId(HOP_MASK)),
            Hop::Local(PortId(0)),
            Hop::Local(PortId(31)),
        ];
        for hop in hops {
            for vni in [1, 0xffff, 0x01_0000, Vni::MAX] {
                let neighbor = Neighbor {
                    mac,
                    vni: Vni::new(vni).unwrap(),
                    hop,
                };
                assert_eq!(Entry::from(neighbor).neighbor(), Some(neighbor));
                assert_eq!(Entry::from(neighbor).stale().neighbor(), Some(neighbor));
                assert!(
                    Entry::from(neighbor).stale().is_stale() && !Entry::from(neighbor).is_stale()
                );
            }
        }
        assert_eq!(Entry::NONE.neighbor(), None);
    }
}
