// SPDX-License-Identifier: MIT
//! IPv6 routes, few or many: disjoint ranges in order, and a binary search.

use std::net::Ipv6Addr;

use super::flat::flatten;
use super::{NO_ROUTE, Route, Target, TargetIndex};

/// Ranges that cover all addresses.
#[derive(Clone, Debug)]
pub(super) struct Wide {
    /// First address of each range, ascending, the first 0.
    starts: Box<[u128]>,
    /// What goes with each.
    indexes: Box<[TargetIndex]>,
    /// Where a packet with an index goes. The first is that of no route.
    targets: Box<[Option<Target<Ipv6Addr>>]>,
}

impl Wide {
    /// `routes` are sorted by network, then length. `None`: none of them is of IPv6.
    pub(super) fn build(routes: &[Route]) -> Option<Self> {
        let routes: Vec<_> = routes.iter().filter_map(Route::ipv6).collect();
        if routes.is_empty() {
            return None;
        }
        let (ranges, targets) = flatten(&routes, None, Some);
        let (starts, indexes): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
        Some(Self {
            starts: starts.into(),
            indexes: indexes.into(),
            targets: targets.into(),
        })
    }

    /// What an address has.
    #[inline]
    pub(super) fn index(&self, destination: u128) -> TargetIndex {
        // Never before the first, which starts at 0.
        let behind = self.starts.partition_point(|start| *start <= destination);
        let index = self.indexes.get(behind.wrapping_sub(1));
        index.copied().unwrap_or(NO_ROUTE)
    }

    /// Where a packet with such an index goes.
    #[inline]
    pub(super) fn target(&self, index: TargetIndex) -> Option<Target<Ipv6Addr>> {
        *self.targets.get(index as usize)?
    }

    pub(super) fn memory(&self) -> usize {
        let ranges = size_of_val(&*self.starts) + size_of_val(&*self.indexes);
        size_of::<Self>() + ranges + size_of_val(&*self.targets)
    }
}
