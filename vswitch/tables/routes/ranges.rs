// SPDX-License-Identifier: MIT
//! Some thousand routes: disjoint ranges in order, and a binary search that compiles to conditional moves.

use super::{Route, Target, TargetIndex, Targets, flatten};

/// Ranges that cover all addresses.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    /// First address of each range, ascending, the first 0.
    starts: Box<[u32]>,
    /// What goes with each.
    indexes: Box<[TargetIndex]>,
    targets: Targets,
}

impl Ranges {
    /// `routes` are sorted by network, then length.
    pub(super) fn build(routes: &[Route]) -> Self {
        let (ranges, targets) = flatten(routes);
        let (starts, indexes): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
        Self {
            starts: starts.into(),
            indexes: indexes.into(),
            targets,
        }
    }

    #[inline]
    pub(super) fn lookup(&self, destination: u32) -> Option<Target> {
        let after = self.starts.partition_point(|start| *start <= destination);
        self.targets.get(*self.indexes.get(after.wrapping_sub(1))?)
    }

    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.indexes) + self.targets.memory()
    }
}
