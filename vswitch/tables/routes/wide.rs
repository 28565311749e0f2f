// SPDX-License-Identifier: MIT
//! IPv6 routes, few or many: disjoint ranges in order, and a binary search.

use std::net::Ipv6Addr;

use super::flat::flatten;
use super::spread::{self, Lead};
use super::{NO_ROUTE, Route, Target, TargetIndex};

/// Ranges that cover all addresses.
#[derive(Clone, Debug)]
pub(super) struct Wide {
    /// First address of each range, ascending, the first 0.
    starts: Box<[u128]>,
    /// What goes with each.
    indexes: Box<[TargetIndex]>,
    /// Where a packet with an index goes. The first is that of no route. Behind those of prefixes are members of groups.
    targets: Box<[Option<Lead<Ipv6Addr>>]>,
    /// The members that flows of one prefix are spread over.
    groups: Box<[Box<[TargetIndex]>]>,
}

impl Wide {
    /// `routes` are those that won, sorted by network, then length.
    pub(super) fn build(routes: &[Route]) -> Self {
        let (prefixes, groups) = spread::prefixes(routes, Route::ipv6);
        let (ranges, mut targets) = flatten(&prefixes, None, Some);
        let mut number = |member: Target<_>| {
            targets.push(Some(Lead::To(member)));
            (targets.len() - 1) as TargetIndex
        };
        let mut numbers = |group: Vec<_>| group.into_iter().map(&mut number).collect();
        let groups = groups.into_iter().map(&mut numbers).collect();
        let (starts, indexes): (Vec<_>, Vec<_>) = ranges.into_iter().unzip();
        Self {
            starts: starts.into(),
            indexes: indexes.into(),
            targets: targets.into(),
            groups,
        }
    }

    /// True without IPv6 routes.
    pub(super) fn is_empty(&self) -> bool {
        self.targets.len() == 1
    }

    /// What an address has.
    #[inline]
    pub(super) fn index(&self, destination: u128) -> TargetIndex {
        // Never before the first, which starts at 0.
        let behind = self.starts.partition_point(|start| *start <= destination);
        let index = self.indexes.get(behind.wrapping_sub(1));
        index.copied().unwrap_or(NO_ROUTE)
    }

    /// Where a packet with such an index goes. `None`: nowhere, or to one of several.
    #[inline]
    pub(super) fn target(&self, index: TargetIndex) -> Option<Target<Ipv6Addr>> {
        match (*self.targets.get(index as usize)?)? {
            Lead::To(target) => Some(target),
            Lead::Among(_) => None,
        }
    }

    /// The indexes of those that flows with such an index are spread over.
    #[inline]
    pub(super) fn group(&self, index: TargetIndex) -> &[TargetIndex] {
        match self.targets.get(index as usize) {
            Some(Some(Lead::Among(number))) => {
                self.groups.get(*number as usize).map_or(&[], |group| group)
            }
            _ => &[],
        }
    }

    pub(super) fn memory(&self) -> usize {
        let ranges = size_of_val(&*self.starts) + size_of_val(&*self.indexes);
        ranges + size_of_val(&*self.targets) + spread::memory(&self.groups)
    }
}
