// SPDX-License-Identifier: MIT
//! Prefixes made flat: the address space cut into ranges, none of which two prefixes tell apart.

use std::hash::Hash;
use std::net::Ipv4Addr;

use hashbrown::HashMap;

use super::spread::Lead;
use super::{TargetIndex, Way};

/// A prefix and where it leads, with addresses as numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix<A, T> {
    /// First address.
    pub(super) first: A,
    /// Last address.
    pub(super) last: A,
    /// Where it leads.
    pub(super) target: T,
}

/// An IPv4 prefix.
pub(super) type Narrow = Prefix<u32, Lead<Ipv4Addr>>;

/// The distinct targets of a table of IPv4 routes.
#[derive(Clone, Debug)]
pub(super) struct Targets(Box<[Way]>);

impl Targets {
    /// The ranges of routes, sorted by network, then length; and what those lead to.
    pub(super) fn of(routes: &[Narrow]) -> (Vec<(u32, TargetIndex)>, Self) {
        let (ranges, targets) = flatten(routes, Way::NONE, Way::from);
        (ranges, Self(targets.into()))
    }

    /// The way of a range, of those that `indexes` has the targets of.
    #[inline(always)]
    pub(super) fn way(&self, indexes: &[TargetIndex], range: usize) -> Way {
        let way = indexes
            .get(range)
            .and_then(|index| self.0.get(*index as usize));
        way.copied().unwrap_or(Way::NONE)
    }

    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// An address as a number.
pub(super) trait Address: Copy + Ord {
    /// The last one.
    const LAST: Self;
    /// The very first one.
    const FIRST: Self;
    /// The one before.
    fn before(self) -> Option<Self>;
    /// The one behind.
    fn behind(self) -> Option<Self>;
}

impl Address for u32 {
    const LAST: Self = Self::MAX;
    const FIRST: Self = 0;
    fn before(self) -> Option<Self> {
        self.checked_sub(1)
    }
    fn behind(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    const LAST: Self = Self::MAX;
    const FIRST: Self = 0;
    fn before(self) -> Option<Self> {
        self.checked_sub(1)
    }
    fn behind(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// The first address of each range, in order, from 0 on, and which target it has from there on; and the targets, each once,
/// behind one that stands for none. `prefixes` are distinct and sorted by first address, longest last.
pub(super) fn flatten<A: Address, T: Copy + Eq + Hash, W>(
    prefixes: &[Prefix<A, T>],
    none: W,
    target: impl Fn(T) -> W,
) -> (Vec<(A, TargetIndex)>, Vec<W>) {
    let mut targets = vec![none];
    let mut indexes = HashMap::new();
    let mut ranges = vec![(A::FIRST, 0)];
    // Prefixes that hold the current address and their last address, the longest last.
    let mut open: Vec<(A, TargetIndex)> = Vec::new();
    for prefix in prefixes {
        close(&mut open, &mut ranges, prefix.first.before());
        let index = *indexes.entry(prefix.target).or_insert_with(|| {
            targets.push(target(prefix.target));
            (targets.len() - 1) as TargetIndex
        });
        start(&mut ranges, prefix.first, index);
        open.push((prefix.last, index));
    }
    close(&mut open, &mut ranges, Some(A::LAST));
    (ranges, targets)
}

/// Ends the open prefixes whose last address is `until` or before.
fn close<A: Address>(
    open: &mut Vec<(A, TargetIndex)>,
    ranges: &mut Vec<(A, TargetIndex)>,
    until: Option<A>,
) {
    while let Some((last, _)) = open.pop_if(|(last, _)| until.is_some_and(|until| *last <= until)) {
        if let Some(next) = last.behind() {
            start(ranges, next, open.last().map_or(0, |(_, index)| *index));
        }
    }
}

/// From `first` on it is this target. Replaces a range of the same start, joins with an equal one before.
fn start<A: Address>(ranges: &mut Vec<(A, TargetIndex)>, first: A, index: TargetIndex) {
    ranges.pop_if(|range| range.0 == first);
    if ranges.last().is_none_or(|range| range.1 != index) {
        ranges.push((first, index));
    }
}
