// SPDX-License-Identifier: MIT
//! Many routes: the upper 16 bits of the address index a table of 65536 slots, the lower 16 are searched
//! for among the ranges of that slot (the idea of DXR, by Zec, Rizzo and Mikuc, 2012).

use super::flat::{Narrow, Targets};
use super::{TargetIndex, Way};

/// Slots: one per value of the upper 16 bits.
const SLOTS: usize = 1 << 16;

/// Ranges by slot.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    /// Where the ranges that start in each slot begin; one more, where the last end. Many have none: the
    /// last range before reaches over them.
    begins: Box<[u32]>,
    /// The lower 16 bits of each range's first address. The very first is 0, in slot 0.
    starts: Box<[u16]>,
    /// What goes with each.
    indexes: Box<[TargetIndex]>,
    targets: Targets,
}

impl Direct {
    /// `routes` are sorted by network, then length.
    pub(super) fn build(routes: &[Narrow]) -> Self {
        let (ranges, targets) = Targets::of(routes);
        let mut begins = Vec::with_capacity(SLOTS + 1);
        let mut begin = 0;
        for slot in 0..SLOTS as u32 {
            begins.push(begin as u32);
            begin += ranges[begin..]
                .iter()
                .take_while(|(first, _)| first >> 16 == slot)
                .count();
        }
        begins.push(begin as u32);
        let (starts, indexes): (Vec<_>, Vec<_>) = ranges
            .into_iter()
            .map(|(first, index)| (first as u16, index))
            .unzip();
        Self {
            begins: begins.into(),
            starts: starts.into(),
            indexes: indexes.into(),
            targets,
        }
    }

    #[inline]
    pub(super) fn way(&self, destination: u32) -> Way {
        let range = self.range(destination);
        range.map_or(Way::NONE, |range| self.targets.way(&self.indexes, range))
    }

    #[inline]
    pub(super) fn common_way(&self, lowest: u32, highest: u32) -> Option<Way> {
        let range = self.range(lowest)?;
        (Some(range) == self.range(highest)).then(|| self.targets.way(&self.indexes, range))
    }

    /// The range that holds an address; there is always one.
    #[inline]
    fn range(&self, destination: u32) -> Option<usize> {
        let slot = (destination >> 16) as usize;
        let begin = *self.begins.get(slot)? as usize;
        let starts = self
            .starts
            .get(begin..*self.begins.get(slot + 1)? as usize)?;
        let after = starts.partition_point(|start| *start <= destination as u16);
        Some((begin + after).wrapping_sub(1))
    }

    pub(super) fn memory(&self) -> usize {
        let ranges = size_of_val(&*self.starts) + size_of_val(&*self.indexes);
        size_of_val(&*self.begins) + ranges + self.targets.memory()
    }
}
