// SPDX-License-Identifier: MIT
//! [`RouteTable`]: the longest prefix that covers a destination.
//!
//! # Contract
//!
//! * Immutable: a change builds a new table, which a snapshot then refers to. Many ports may share one.
//! * Among prefixes that cover a destination the longest wins; among equal prefixes the lowest priority
//!   number; among those the first that was given.
//! * Routes of both versions of IP are built of one list. Those of IPv6 are in `wide` ranges, whose number does not matter;
//!   a table without any has a pointer in their place. Those of IPv4 have three forms, by size, since no one form is small
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
mod wide;

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use ipnet::IpNet;

use super::{Neighbors, VpcId};
use direct::Direct;
use flat::{Narrow, Prefix};
use ranges::Ranges;
use small::Small;
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
}

/// A [`Target`] of IPv4 packets as they need it, or none, in one word: bits 0..32 the next hop, zero when it is connected; bits
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
            Target::Connected(_) => true,
            Target::Via(_, next_hop) => next_hop.is_ipv4() == self.prefix.addr().is_ipv4(),
        }
    }

    /// As one of IPv4, if it is.
    fn ipv4(&self) -> Option<Narrow> {
        let IpNet::V4(prefix) = self.prefix else {
            return None;
        };
        Some(Prefix {
            first: prefix.network().to_bits(),
            last: prefix.broadcast().to_bits(),
            target: match self.target {
                Target::Connected(vpc) => Target::Connected(vpc),
                Target::Via(vpc, IpAddr::V4(next_hop)) => Target::Via(vpc, next_hop),
                Target::Via(_, IpAddr::V6(_)) => return None,
            },
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
            target: match self.target {
                Target::Connected(vpc) => Target::Connected(vpc),
                Target::Via(vpc, IpAddr::V6(next_hop)) => Target::Via(vpc, next_hop),
                Target::Via(_, IpAddr::V4(_)) => return None,
            },
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
    wide: Option<Box<Wide>>,
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
            wide: None,
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
        routes.dedup_by_key(|route| route.prefix);
        let narrow: Vec<_> = routes.iter().filter_map(Route::ipv4).collect();
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
            wide: Wide::build(routes).map(Box::new),
        }
    }

    /// Where a packet to `destination` goes. `None`: no route covers it.
    pub fn lookup(&self, destination: IpAddr) -> Option<Target> {
        match destination {
            IpAddr::V4(ip) => self.way(ip.to_bits()).target(),
            IpAddr::V6(ip) => match self.wide_target(self.wide_index(ip))? {
                Target::Connected(vpc) => Some(Target::Connected(vpc)),
                Target::Via(vpc, next_hop) => Some(Target::Via(vpc, next_hop.into())),
            },
        }
    }

    /// What [`RouteTable::wide_target`] says of an IPv6 packet to `destination`, as a number.
    #[inline]
    pub fn wide_index(&self, destination: Ipv6Addr) -> TargetIndex {
        let wide = self.wide.as_ref();
        wide.map_or(NO_ROUTE, |wide| wide.index(destination.to_bits()))
    }

    /// Where an IPv6 packet goes that [`RouteTable::wide_index`] said this of. `None`: no route covers it.
    #[inline]
    pub fn wide_target(&self, index: TargetIndex) -> Option<Target<Ipv6Addr>> {
        self.wide.as_ref()?.target(index)
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
        let wide = self.wide.as_ref().map_or(0, |wide| wide.memory());
        size_of::<Self>() + behind + wide
    }
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::empty()
    }
}
