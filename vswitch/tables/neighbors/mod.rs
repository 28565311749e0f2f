// SPDX-License-Identifier: MIT
//! Who is where: [`NeighborTable`] by (L2 domain, MAC), by (VPC, IPv4 address) and by (VPC, IPv6 address), and the
//! [`NextHops`] that entries on other hosts refer to.
//!
//! These are the tables that are updated in place under the workers' feet. `table` is what workers read, made of
//! `bucket`s, which are [`Narrow`] or [`Wide`]; `editor` is how the writer changes it; `hops` and `references` the same for next hops.

mod bucket;
mod editor;
mod entry;
mod hops;
mod narrow;
mod references;
mod table;
mod wide;

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use super::{Choice, DomainId, Live, VpcId};
use crate::wire::Mac;

pub use bucket::{Bucket, Key, Mark, Zeroed};
pub(super) use editor::{Changed, Editor, Place, Upserted};
pub use entry::Entry;
pub use hops::{MAX_NEXT_HOPS, NextHops, Template};
pub use narrow::Narrow;
pub(super) use references::References;
pub use table::{Home, NeighborTable};
pub use wide::{Ip6Key, Wide};

/// The neighbor tables and the next hops. A snapshot holds one; snapshots share it until a table grows.
#[derive(Debug)]
pub struct Neighbors {
    /// By L2 domain and MAC, see [`Neighbors::mac_key`].
    pub by_mac: Arc<NeighborTable>,
    /// By VPC and IPv4 address, see [`Neighbors::ip_key`].
    pub by_ip: Arc<NeighborTable>,
    /// By VPC and IPv6 address.
    pub by_ip6: Arc<NeighborTable<Wide>>,
    /// How remote neighbors are reached by the first uplink.
    pub hops: Arc<NextHops>,
    /// The same by the second one, if there are two.
    pub other_hops: Option<Arc<NextHops>>,
    /// Which of the two are used.
    pub live: Arc<Live>,
}

impl Neighbors {
    /// The key of a MAC in [`Neighbors::by_mac`].
    #[inline]
    pub const fn mac_key(domain: DomainId, mac: Mac) -> u64 {
        Self::mac_word_key(domain, mac.word())
    }

    /// The same of [`Mac::word`].
    #[inline]
    pub const fn mac_word_key(domain: DomainId, word: u64) -> u64 {
        word | (domain.0.get() as u64) << 48
    }

    /// The key of an address in [`Neighbors::by_ip`]. `ip` is [`u32::from`] an [`Ipv4Addr`].
    #[inline]
    pub const fn ip_key(vpc: VpcId, ip: u32) -> u64 {
        (vpc.0.get() as u64) << 32 | ip as u64
    }

    /// What [`Neighbors::ip_key`] made the key of.
    pub fn of_ip_key(key: u64) -> Option<(VpcId, Ipv4Addr)> {
        let vpc = NonZeroU16::new((key >> 32) as u16)?;
        Some((VpcId(vpc), Ipv4Addr::from(key as u32)))
    }

    /// What [`Neighbors::mac_key`] made the key of.
    pub fn of_mac_key(key: u64) -> Option<(DomainId, Mac)> {
        let domain = NonZeroU16::new((key >> 48) as u16)?;
        Some((DomainId(domain), Mac::from_word(key)))
    }

    /// How a flow reaches remote neighbors: by one uplink, always the same while the same ones are live.
    #[inline]
    pub fn hops_of(&self, flow: u32) -> &NextHops {
        self.hops_by(self.live.get(), flow)
    }

    /// The same given which are live.
    #[inline]
    pub fn hops_by(&self, live: Choice, flow: u32) -> &NextHops {
        match &self.other_hops {
            Some(other) if live.is_second(flow) => other,
            _ => &self.hops,
        }
    }

    /// Looks a MAC up, for callers that do not work in bursts.
    #[inline]
    pub fn find_mac(&self, domain: DomainId, mac: Mac) -> Option<super::Neighbor> {
        self.by_mac.get(Self::mac_key(domain, mac))?.neighbor()
    }

    /// Looks an address up, for callers that do not work in bursts.
    #[inline]
    pub fn find_ip(&self, vpc: VpcId, ip: IpAddr) -> Option<super::Neighbor> {
        match ip {
            IpAddr::V4(ip) => self.by_ip.get(Self::ip_key(vpc, ip.to_bits())),
            IpAddr::V6(ip) => self.by_ip6.get(Ip6Key::new(vpc, ip)),
        }?
        .neighbor()
    }
}

/// Asks the CPU to fetch the first cache line of `place`. Changes nothing.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    prefetch_line((&raw const *place).cast());
}

/// The same of all its cache lines: for what is larger than one, or lies across two.
#[inline(always)]
pub fn prefetch_whole<T>(place: &T) {
    let first: *const i8 = (&raw const *place).cast();
    let last = size_of::<T>().saturating_sub(1);
    for offset in (0..last).step_by(64).chain([last]) {
        prefetch_line(first.wrapping_add(offset));
    }
}

#[inline(always)]
#[allow(unsafe_code)]
fn prefetch_line(line: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch changes nothing that a program can see and faults on no address; all of x86-64
    // has the instruction.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
