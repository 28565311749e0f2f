// SPDX-License-Identifier: MIT
//! A [`Neighbor`] as the table holds it: one 64-bit word and one 32-bit hop.
//!
//! | word | bits 0..48 | the MAC, first byte on the wire lowest |
//! |---|---|---|
//! | | bits 48..64 | VNI, lower 16 bits |
//! | **hop** | bits 0..22 | port of a local neighbor, next hop of a remote one |
//! | | bit 22 | writer only: this copy is superseded and waits to be removed |
//! | | bit 23 | the neighbor is local |
//! | | bits 24..32 | VNI, upper 8 bits |
//!
//! Readers take the two with two loads. Hence a slot's word never changes while readers may see its key,
//! and its hop only to one that goes with the same word, see [`Value::differs_only_in_hop`].

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
pub(in crate::tables) struct Value {
    pub(super) word: u64,
    pub(super) hop: u32,
}

impl From<Neighbor> for Value {
    fn from(neighbor: Neighbor) -> Self {
        let [a, b, c, d, e, f] = neighbor.mac.bytes();
        let [vni_0, vni_1, vni_2, _] = neighbor.vni.get().to_le_bytes();
        let hop = match neighbor.hop {
            Hop::Local(port) => LOCAL | u32::from(port.get()) & PORT_MASK,
            Hop::Remote(id) => id.0 & HOP_MASK,
        };
        Self {
            word: u64::from_le_bytes([a, b, c, d, e, f, vni_0, vni_1]),
            hop: hop | u32::from(vni_2) << 24,
        }
    }
}

impl Value {
    /// Unpacks it. `None` for a slot that never held a neighbor.
    #[inline(always)]
    pub(super) fn neighbor(self) -> Option<Neighbor> {
        // In one piece: taken apart into bytes, the MAC would be written to the frame byte by byte.
        let mac = Mac::new(*self.word.to_le_bytes().first_chunk()?);
        let vni = Vni::new((self.word >> 48) as u32 | (self.hop >> 24) << 16)?;
        let hop = if self.hop & LOCAL == 0 {
            Hop::Remote(HopId(self.hop & HOP_MASK))
        } else {
            Hop::Local(PortId((self.hop & PORT_MASK) as u16))
        };
        Some(Neighbor { mac, vni, hop })
    }

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
                assert_eq!(Value::from(neighbor).neighbor(), Some(neighbor));
                assert_eq!(Value::from(neighbor).stale().neighbor(), Some(neighbor));
                assert!(
                    Value::from(neighbor).stale().is_stale() && !Value::from(neighbor).is_stale()
                );
            }
        }
        assert_eq!(Value { word: 0, hop: 0 }.neighbor(), None);
    }
}
