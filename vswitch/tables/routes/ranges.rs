// SPDX-License-Identifier: MIT
//! Some thousand routes: disjoint ranges in order, and a binary search that compiles to conditional moves.

use super::flat::{Narrow, Targets};
use super::{TargetIndex, Way};

/// Ranges that cover all addresses.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    /// First address of each range but the first, which begins at 0; ascending.
    starts: Box<[u32]>,
    /// What goes with each.
    indexes: Box<[TargetIndex]>,
    targets: Targets,
}

impl Ranges {
    /// `routes` are sorted by network, then length.
    pub(super) fn build(routes: &[Narrow]) -> Self {
        let (ranges, targets) = Targets::of(routes);
        let (starts, indexes): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
        Self {
            starts: starts.into_iter().skip(1).collect(),
            indexes: indexes.into(),
            targets,
        }
    }

    #[inline]
    pub(super) fn way(&self, destination: u32) -> Way {
        self.targets.way(&self.indexes, self.range(destination))
    }

    #[inline]
    pub(super) fn common_way(&self, lowest: u32, highest: u32) -> Option<Way> {
        let range = self.range(lowest);
        let ends_behind = self.starts.get(range).is_none_or(|next| highest < *next);
        ends_behind.then(|| self.targets.way(&self.indexes, range))
    }

    /// The range that holds an address.
    #[inline]
    fn range(&self, destination: u32) -> usize {
        self.starts.partition_point(|start| *start <= destination)
    }

    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.indexes) + self.targets.memory()
    }
}
