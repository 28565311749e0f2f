// SPDX-License-Identifier: MIT
//! [`RouteTable`]: the longest prefix that covers a destination.
//!
//! # Contract
//!
//! * Immutable: a change builds a new table, which a snapshot then refers to. Many ports may share one.
//! * Among prefixes that cover a destination the longest wins; among equal prefixes the lowest priority
//!   number; among those the first that was given, or all if they lead by way of machines: then each flow takes one.
//! * Routes of both versions of IP are built of one list. Those of IPv6 are in `wide` ranges, whose number does not matter;
//!   a table without any has a pointer in their place, which is also that of several next hops. Those of IPv4 have three forms, by size, since no one form is small
//!   when small and fast when large:
//!
//! | routes | form | lookup reads | memory |
//! |---|---|---|---|
//! | to 16 | `small`: all prefixes at once | 4 cache lines | 256 bytes |
//! | to 4096 | `ranges`: binary search among disjoint ranges | log2 of the ranges | 8 bytes a range |
//! | above | `direct`: 65536 slots by the upper half, ranges behind | 2 to 4 cache lines | 256 KiB + 6 bytes a range |
//! | IPv6 | `wide`: binary search among disjoint ranges | log2 of the ranges | 20 bytes a range |
//!
//!   `n` routes make at most `2n + 1` ranges; all forms but the first hold each distinct target once: 8 bytes, or 20.
//! * Cap: [`MAX_ROUTES`], to be kept by who collects the routes.

mod direct;
mod flat;
mod ranges;
mod small;
mod spread;
mod wide;

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use ipnet::IpNet;

use super::{Neighbors, VpcId};
use direct::Direct;
use flat::Prefix;
use ranges::Ranges;
use small::Small;
use spread::Lead;
use wide::Wide;

/// Most routes of one table: as many prefixes as the whole Internet announces.
pub const MAX_ROUTES: usize = 1 << 20;

/// From more routes than this on, the direct form is worth its 256 KiB.
const DIRECT_ABOVE: usize = 4096;

/// Where a route leads. What it names is looked up in the neighbor table when a packet needs it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target<Ip = IpAddr> {
    /// To a subnet that is attached to the router: the next hop is the packet's destination, in this VPC.
    Connected(VpcId),
    /// By way of this address in this VPC.
    Via(VpcId, Ip),
    /// Nowhere: such packets are dropped, and nobody is told.
    Blackhole,
}

impl<Ip> Target<Ip> {
    /// The same with its next hop as another type of address. `None`: it is none of these.
    fn with<To>(self, convert: impl FnOnce(Ip) -> Option<To>) -> Option<Target<To>> {
        Some(match self {
            Self::Connected(vpc) => Target::Connected(vpc),
            Self::Via(vpc, next_hop) => Target::Via(vpc, convert(next_hop)?),
            Self::Blackhole => Target::Blackhole,
        })
    }
}

/// A [`Target`] of IPv4 packets as they need it, or none, in one word: bits 0..32 the next hop, zero when it is connected; bits
/// 32..48 the VPC; bit 63 says that it is connected. Without a VPC it leads to no one machine: bit 62 says that it is a
/// blackhole, bit 61 that it leads to one of several, whose number is in bits 0..32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way(u64);

impl Way {
    /// No route.
    const NONE: Self = Self(0);
    const CONNECTED: u64 = 1 << 63;
    const BLACKHOLE: Self = Self(1 << 62);
    const AMONG: u64 = 1 << 61;

    /// Key of the next hop's entry in [`Neighbors::by_ip`] for a packet to `destination`. `None`: it leads to no one machine.
    #[inline(always)]
    pub const fn neighbor_key(self, destination: u32) -> Option<u64> {
        // All ones when the next hop is the destination itself.
        let itself = (self.0 as i64 >> 63) as u32;
        match (self.0 >> 32) as u16 {
            0 => None,
            _ => Some(self.0 & !Self::CONNECTED | (destination & itself) as u64),
        }
    }

    /// True if packets are to be dropped.
    pub fn is_blackhole(self) -> bool {
        self == Self::BLACKHOLE
    }

    /// What it was made of. `None`: no route, or several.
    fn target(self) -> Option<Target> {
        if self.is_blackhole() {
            return Some(Target::Blackhole);
        }
        let vpc = VpcId(NonZeroU16::new((self.0 >> 32) as u16)?);
        Some(match self.0 & Self::CONNECTED {
            0 => Target::Via(vpc, Ipv4Addr::from(self.0 as u32).into()),
            _ => Target::Connected(vpc),
        })
    }
}

impl From<Target<Ipv4Addr>> for Way {
    fn from(target: Target<Ipv4Addr>) -> Self {
        match target {
            Target::Connected(vpc) => Self(Neighbors::ip_key(vpc, 0) | Self::CONNECTED),
            Target::Via(vpc, next_hop) => Self(Neighbors::ip_key(vpc, next_hop.to_bits())),
            Target::Blackhole => Self::BLACKHOLE,
        }
    }
}

impl From<Lead<Ipv4Addr>> for Way {
    fn from(lead: Lead<Ipv4Addr>) -> Self {
        match lead {
            Lead::To(target) => target.into(),
            Lead::Among(number) => Self(Self::AMONG | u64::from(number)),
        }
    }
}

/// One route as the controller gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The destinations it is for.
    pub prefix: IpNet,
    /// Among equal prefixes the lowest number wins.
    pub priority: u32,
    /// Where it leads: a next hop is of the prefix's version of IP.
    pub target: Target,
}

impl Route {
    fn is_of_one_version(&self) -> bool {
        match self.target {
            Target::Connected(_) | Target::Blackhole => true,
            Target::Via(_, next_hop) => next_hop.is_ipv4() == self.prefix.addr().is_ipv4(),
        }
    }

    /// As one of IPv4, if it is.
    fn ipv4(&self) -> Option<Prefix<u32, Target<Ipv4Addr>>> {
        let IpNet::V4(prefix) = self.prefix else {
            return None;
        };
        Some(Prefix {
            first: prefix.network().to_bits(),
            last: prefix.broadcast().to_bits(),
            target: self.target.with(|next_hop| match next_hop {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            })?,
        })
    }

    /// As one of IPv6, if it is.
    fn ipv6(&self) -> Option<Prefix<u128, Target<Ipv6Addr>>> {
        let IpNet::V6(prefix) = self.prefix else {
            return None;
        };
        Some(Prefix {
            first: prefix.network().to_bits(),
            last: prefix.broadcast().to_bits(),
            target: self.target.with(|next_hop| match next_hop {
                IpAddr::V6(ip) => Some(ip),
                IpAddr::V4(_) => None,
            })?,
        })
    }
}

/// Index of a target among the distinct ones of a table. 0: no route.
pub type TargetIndex = u32;

const NO_ROUTE: TargetIndex = 0;

/// Routes of a router, see the module's documentation.
#[derive(Clone, Debug)]
pub struct RouteTable {
    form: Form,
    len: usize,
    /// `None`: each prefix is of IPv4, and leads to one next hop.
    beside: Option<Box<Beside>>,
}

/// What most tables do not have.
#[derive(Clone, Debug)]
struct Beside {
    /// The IPv4 next hops that flows of one prefix are spread over.
    groups: Box<[Box<[Way]>]>,
    wide: Wide,
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
            beside: None,
        }
    }

    /// The table of these routes. Sorts them and removes those that lose to an equal prefix, and those whose next hop is not
    /// of their version of IP.
    pub fn build(routes: &mut Vec<Route>) -> Self {
        for route in &mut *routes {
            route.prefix = route.prefix.trunc();
        }
        routes.retain(Route::is_of_one_version);
        routes.sort_by_key(|route| {
            (
                route.prefix.network(),
                route.prefix.prefix_len(),
                route.priority,
            )
        });
        spread::keep_winners(routes);
        let (narrow, groups) = spread::prefixes(routes, Route::ipv4);
        let ways = |group: Vec<_>| group.into_iter().map(Way::from).collect();
        let beside = Beside {
            groups: groups.into_iter().map(ways).collect(),
            wide: Wide::build(routes),
        };
        let form = if let Some(small) = Small::build(&narrow) {
            Form::Small(small)
        } else if narrow.len() <= DIRECT_ABOVE {
            Form::Ranges(Ranges::build(&narrow))
        } else {
            Form::Direct(Direct::build(&narrow))
        };
        Self {
            form,
            len: routes.len(),
            beside: (!beside.is_empty()).then(|| Box::new(beside)),
        }
    }

    /// Where packets to `destination` go: to one of these. None: no route covers it.
    pub fn lookup(&self, destination: IpAddr) -> Vec<Target> {
        match destination {
            IpAddr::V4(ip) => {
                let way = self.way(ip.to_bits());
                let several = self.group(way).iter().filter_map(|way| way.target());
                way.target().into_iter().chain(several).collect()
            }
            IpAddr::V6(ip) => {
                let index = self.wide_index(ip);
                let target = |index| self.wide_target(index)?.with(|ip| Some(ip.into()));
                let several = self.wide_group(index).iter().copied();
                std::iter::once(index)
                    .chain(several)
                    .filter_map(target)
                    .collect()
            }
        }
    }

    /// Key of the next hop's entry in [`Neighbors::by_ip`] for a packet of this flow, where the way leads to one of several;
    /// `known` says whether there is such an entry. `None`: it leads nowhere. Costs up to eight calls of `known`.
    pub fn pick(&self, way: Way, flow: u32, known: impl Fn(u64) -> bool) -> Option<u64> {
        let key = |way: &Way| way.neighbor_key(0);
        let known = |way: &Way| key(way).is_some_and(&known);
        key(&spread::pick(self.group(way), flow, |way| known(&way))?)
    }

    /// Likewise for IPv6: the index of the next hop that a packet of this flow takes, where [`RouteTable::wide_index`] said
    /// one that leads to several, and else the same.
    pub fn wide_pick(
        &self,
        index: TargetIndex,
        flow: u32,
        known: impl Fn(TargetIndex) -> bool,
    ) -> TargetIndex {
        spread::pick(self.wide_group(index), flow, known).unwrap_or(index)
    }

    fn group(&self, way: Way) -> &[Way] {
        let number = (way.0 & Way::AMONG != 0).then_some(way.0 as u32 as usize);
        let beside = self.beside.as_ref();
        let group = number.and_then(|number| beside?.groups.get(number));
        group.map_or(&[], |group| group)
    }

    fn wide_group(&self, index: TargetIndex) -> &[TargetIndex] {
        let beside = self.beside.as_ref();
        beside.map_or(&[], |beside| beside.wide.group(index))
    }

    /// What [`RouteTable::wide_target`] says of an IPv6 packet to `destination`, as a number.
    #[inline]
    pub fn wide_index(&self, destination: Ipv6Addr) -> TargetIndex {
        let beside = self.beside.as_ref();
        beside.map_or(NO_ROUTE, |beside| beside.wide.index(destination.to_bits()))
    }

    /// Where an IPv6 packet goes that [`RouteTable::wide_index`], or [`RouteTable::wide_pick`], said this of. `None`: no route
    /// covers it, or it leads to several.
    #[inline]
    pub fn wide_target(&self, index: TargetIndex) -> Option<Target<Ipv6Addr>> {
        self.beside.as_ref()?.wide.target(index)
    }

    /// The same for IPv4 ([`u32::from`] an [`Ipv4Addr`]), as packets need it.
    #[inline]
    pub fn way(&self, destination: u32) -> Way {
        match &self.form {
            Form::Small(small) => small.way(destination),
            Form::Ranges(ranges) => ranges.way(destination),
            Form::Direct(direct) => direct.way(destination),
        }
    }

    /// The way of all IPv4 destinations from `lowest` to `highest`, where no route tells them apart. `None`: they have to
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
        let beside = self.beside.as_ref().map_or(0, |beside| beside.memory());
        size_of::<Self>() + behind + beside
    }
}

impl Beside {
    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.wide.is_empty()
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + spread::memory(&self.groups) + self.wide.memory()
    }
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::empty()
    }
}
