// SPDX-License-Identifier: MIT
//! Up to 16 routes: compares all prefixes, without a branch that depends on the packet.

use super::Way;
use super::flat::Narrow;

/// Most routes of this form.
const MOST: usize = 16;

/// A network that no address is in: with mask 0 every address is 0.
const NEVER: u32 = 1;

/// Prefixes, longest first.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub(super) struct Small {
    networks: [u32; MOST],
    masks: [u32; MOST],
    ways: [Way; MOST],
}

impl Small {
    pub(super) const fn empty() -> Self {
        Self {
            networks: [NEVER; MOST],
            masks: [0; MOST],
            ways: [Way::NONE; MOST],
        }
    }

    /// `None`: too many routes. They are distinct.
    pub(super) fn build(routes: &[Narrow]) -> Option<Self> {
        if routes.len() > MOST {
            return None;
        }
        let mut sorted = routes.to_vec();
        sorted.sort_by_key(|route| route.last - route.first);
        let mut small = Self::empty();
        for (index, route) in sorted.iter().enumerate() {
            small.networks[index] = route.first;
            small.masks[index] = !(route.first ^ route.last);
            small.ways[index] = route.target.into();
        }
        Some(small)
    }

    #[inline]
    pub(super) fn common_way(&self, lowest: u32, highest: u32) -> Option<Way> {
        // A prefix that covers both covers what is between; one that covers neither must not be between either.
        let told_apart = (0..MOST).any(|index| {
            let (network, mask) = (self.networks[index], self.masks[index]);
            let [covers_lowest, covers_highest] =
                [lowest, highest].map(|address| address & mask == network);
            covers_lowest != covers_highest
                || !covers_lowest && lowest < network && network < highest && mask != 0
        });
        (!told_apart).then(|| self.way(lowest))
    }

    #[inline]
    pub(super) fn way(&self, destination: u32) -> Way {
        // Each prefix that covers it leaves a mark whose lowest bit says which one; the lowest of all wins.
        // Marks of many bits, since the compiler makes scalar code of single ones and vectors of these.
        let marks: [u32; MOST] = std::array::from_fn(|index| {
            if destination & self.masks[index] == self.networks[index] {
                MARK << index
            } else {
                0
            }
        });
        let longest = marks
            .into_iter()
            .fold(0, |all, mark| all | mark)
            .trailing_zeros();
        let way = self.ways.get((longest - MARK.trailing_zeros()) as usize);
        way.copied().unwrap_or(Way::NONE)
    }
}

/// The mark of the first prefix, with bits to spare for the 16th.
const MARK: u32 = u32::MAX << 4;
