// SPDX-License-Identifier: MIT
//! [`RouteTable`]: the longest prefix that covers a destination.
//!
//! # Contract
//!
//! * Immutable: a change builds a new table, which a snapshot then refers to. Many ports may share one.
//! * Among prefixes that cover a destination the longest wins; among equal prefixes the lowest priority
//!   number; among those the first that was given.
//! * Three forms, by size, since no one form is small when small and fast when large:
//!
//! | routes | form | lookup reads | memory |
//! |---|---|---|---|
//! | to 16 | `small`: all prefixes at once | 4 cache lines | 256 bytes |
//! | to 4096 | `ranges`: binary search among disjoint ranges | log2 of the ranges | 8 bytes a range |
//! | above | `direct`: 65536 slots by the upper half, ranges behind | 2 to 4 cache lines | 256 KiB + 6 bytes a range |
//!
//!   `n` routes make at most `2n + 1` ranges; the two larger forms hold each distinct target once, 8 bytes.
//! * Cap: [`MAX_ROUTES`], to be kept by who collects the routes.

mod direct;
mod ranges;
mod small;

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests;

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use hashbrown::HashMap;
use ipnet::Ipv4Net;

use super::{Neighbors, VpcId};
use direct::Direct;
use ranges::Ranges;
use small::Small;

/// Most routes of one table: as many prefixes as the whole Internet announces.
pub const MAX_ROUTES: usize = 1 << 20;

/// From more routes than this on, the direct form is worth its 256 KiB.
const DIRECT_ABOVE: usize = 4096;

/// Where a route leads. What it names is looked up in the neighbor table when a packet needs it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// To a subnet that is attached to the router: the next hop is the packet's destination, in this VPC.
    Connected(VpcId),
    /// By way of this address in this VPC.
    Via(VpcId, Ipv4Addr),
}

/// A [`Target`] as packets need it, or none, in one word: bits 0..32 the next hop, zero when it is connected; bits
/// 32..48 the VPC, never zero; bit 63 says that it is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way(u64);

impl Way {
    /// No route.
    const NONE: Self = Self(0);
    const CONNECTED: u64 = 1 << 63;

    /// Key of the next hop's entry in [`Neighbors::by_ip`] for a packet to `destination`. `None`: no route.
    #[inline(always)]
    pub const fn neighbor_key(self, destination: u32) -> Option<u64> {
        // All ones when the next hop is the destination itself.
        let itself = (self.0 as i64 >> 63) as u32;
        match self.0 {
            0 => None,
            way => Some(way & !Self::CONNECTED | (destination & itself) as u64),
        }
    }

    /// What it was made of. `None`: no route.
    fn target(self) -> Option<Target> {
        let vpc = VpcId(NonZeroU16::new((self.0 >> 32) as u16)?);
        Some(match self.0 & Self::CONNECTED {
            0 => Target::Via(vpc, Ipv4Addr::from(self.0 as u32)),
            _ => Target::Connected(vpc),
        })
    }
}

impl From<Target> for Way {
    fn from(target: Target) -> Self {
        match target {
            Target::Connected(vpc) => Self(Neighbors::ip_key(vpc, 0) | Self::CONNECTED),
            Target::Via(vpc, next_hop) => Self(Neighbors::ip_key(vpc, next_hop.to_bits())),
        }
    }
}

/// One route as the controller gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The destinations it is for.
    pub prefix: Ipv4Net,
    /// Among equal prefixes the lowest number wins.
    pub priority: u32,
    /// Where it leads.
    pub target: Target,
}

/// Routes of a router, see the module's documentation.
#[derive(Clone, Debug)]
pub struct RouteTable {
    form: Form,
    len: usize,
}

// `Small` in place: one cache miss less for the form that nearly all tables have, and a large table's
// other 250 bytes do not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
enum Form {
    Small(Small),
    Ranges(Ranges),
    Direct(Direct),
}

impl RouteTable {
    /// A table without routes.
    pub const fn empty() -> Self {
        Self {
            form: Form::Small(Small::empty()),
            len: 0,
        }
    }

    /// The table of these routes. Sorts them and removes those that lose to an equal prefix.
    pub fn build(routes: &mut Vec<Route>) -> Self {
        for route in &mut *routes {
            route.prefix = route.prefix.trunc();
        }
        routes.sort_by_key(|route| {
            (
                route.prefix.network(),
                route.prefix.prefix_len(),
                route.priority,
            )
        });
        routes.dedup_by_key(|route| route.prefix);
        let len = routes.len();
        let form = if let Some(small) = Small::build(routes) {
            Form::Small(small)
        } else if len <= DIRECT_ABOVE {
            Form::Ranges(Ranges::build(routes))
        } else {
            Form::Direct(Direct::build(routes))
        };
        Self { form, len }
    }

    /// Where a packet to `destination` ([`u32::from`] an [`Ipv4Addr`]) goes. `None`: no route covers it.
    pub fn lookup(&self, destination: u32) -> Option<Target> {
        self.way(destination).target()
    }

    /// The same as packets need it.
    #[inline]
    pub fn way(&self, destination: u32) -> Way {
        match &self.form {
            Form::Small(small) => small.way(destination),
            Form::Ranges(ranges) => ranges.way(destination),
            Form::Direct(direct) => direct.way(destination),
        }
    }

    /// The way of all destinations from `lowest` to `highest`, where no route tells them apart. `None`: they have to
    /// be looked up one by one. Costs two look-ups.
    #[inline]
    pub fn common_way(&self, lowest: u32, highest: u32) -> Option<Way> {
        match &self.form {
            Form::Small(small) => small.common_way(lowest, highest),
            Form::Ranges(ranges) => ranges.common_way(lowest, highest),
            Form::Direct(direct) => direct.common_way(lowest, highest),
        }
    }

    /// Routes in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without routes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        let behind = match &self.form {
            Form::Small(_) => 0,
            Form::Ranges(ranges) => ranges.memory(),
            Form::Direct(direct) => direct.memory(),
        };
        size_of::<Self>() + behind
    }
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::empty()
    }
}

/// Index of a target in [`Targets`]. 0: no route.
type TargetIndex = u32;

/// The distinct targets of a table.
#[derive(Clone, Debug)]
struct Targets(Box<[Way]>);

impl Targets {
    /// The way of a range, of those that `indexes` has the targets of.
    #[inline(always)]
    fn way(&self, indexes: &[TargetIndex], range: usize) -> Way {
        let way = indexes
            .get(range)
            .and_then(|index| self.0.get(*index as usize));
        way.copied().unwrap_or(Way::NONE)
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// Cuts the address space into ranges, none of which two routes tell apart: the first address of each, in
/// order, from 0 on, and the target from there on. `routes` are sorted by network, then length.
fn flatten(routes: &[Route]) -> (Vec<(u32, TargetIndex)>, Targets) {
    let mut targets = vec![Way::NONE];
    let mut indexes = HashMap::new();
    let mut ranges = vec![(0, 0)];
    // Routes that cover the current address and their last address, longest prefix last.
    let mut open: Vec<(u32, TargetIndex)> = Vec::new();
    for route in routes {
        let (first, last) = (
            u32::from(route.prefix.network()),
            u32::from(route.prefix.broadcast()),
        );
        close(&mut open, &mut ranges, first.checked_sub(1));
        let index = *indexes.entry(route.target).or_insert_with(|| {
            targets.push(route.target.into());
            (targets.len() - 1) as TargetIndex
        });
        start(&mut ranges, first, index);
        open.push((last, index));
    }
    close(&mut open, &mut ranges, Some(u32::MAX));
    (ranges, Targets(targets.into_boxed_slice()))
}

/// Ends the open routes whose last address is `until` or before.
fn close(
    open: &mut Vec<(u32, TargetIndex)>,
    ranges: &mut Vec<(u32, TargetIndex)>,
    until: Option<u32>,
) {
    while let Some((last, _)) = open.pop_if(|(last, _)| until.is_some_and(|until| *last <= until)) {
        if let Some(next) = last.checked_add(1) {
            start(ranges, next, open.last().map_or(0, |(_, index)| *index));
        }
    }
}

/// From `first` on it is this target. Replaces a range of the same start, joins with an equal one before.
fn start(ranges: &mut Vec<(u32, TargetIndex)>, first: u32, index: TargetIndex) {
    ranges.pop_if(|range| range.0 == first);
    if ranges.last().is_none_or(|range| range.1 != index) {
        ranges.push((first, index));
    }
}
