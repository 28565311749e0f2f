// SPDX-License-Identifier: MIT
//! Up to 16 routes: compares all prefixes, without a branch that depends on the packet.

use super::{Route, Target};
use std::num::NonZeroU16;

use crate::tables::VpcId;

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
    targets: [Target; MOST],
}

impl Small {
    pub(super) const fn empty() -> Self {
        // What an unused target is does not matter.
        let target = Target::Connected(VpcId(NonZeroU16::MIN));
        Self {
            networks: [NEVER; MOST],
            masks: [0; MOST],
            targets: [target; MOST],
        }
    }

    /// `None`: too many routes. They are distinct.
    pub(super) fn build(routes: &[Route]) -> Option<Self> {
        if routes.len() > MOST {
            return None;
        }
        let mut sorted = routes.to_vec();
        sorted.sort_by_key(|route| std::cmp::Reverse(route.prefix.prefix_len()));
        let mut small = Self::empty();
        for (index, route) in sorted.iter().enumerate() {
            small.networks[index] = u32::from(route.prefix.network());
            small.masks[index] = u32::from(route.prefix.netmask());
            small.targets[index] = route.target;
        }
        Some(small)
    }

    #[inline]
    pub(super) fn lookup(&self, destination: u32) -> Option<Target> {
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
        self.targets
            .get((longest - MARK.trailing_zeros()) as usize)
            .copied()
    }
}

/// The mark of the first prefix, with bits to spare for the 16th.
const MARK: u32 = u32::MAX << 4;
