// SPDX-License-Identifier: MIT
//! Buckets of IPv6 addresses of a VPC. Two slots.

use std::hint::select_unpredictable;
use std::net::Ipv6Addr;

use super::bucket::{Bucket, GOLDEN, Key, Mark, fold};
use crate::tables::VpcId;
use crate::tables::sync::{AtomicU16, AtomicU32, AtomicU64, Fault, Ordering, fault, unless};
use Ordering::{Acquire, Relaxed, Release};

const SLOTS: usize = 2;

/// In a VPC's place. No VPC has this id.
const EMPTY: u16 = 0;
const RETIRED: u16 = u16::MAX;

/// An IPv6 address in a VPC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ip6Key {
    vpc: u16,
    /// The address in host order, its upper half first.
    ip: [u64; 2],
}

impl Ip6Key {
    /// Of this address in this VPC.
    #[inline]
    pub const fn new(vpc: VpcId, ip: Ipv6Addr) -> Self {
        let ip = ip.to_bits();
        Self {
            vpc: vpc.0.get(),
            ip: [(ip >> 64) as u64, ip as u64],
        }
    }
}

impl Key for Ip6Key {
    fn is_valid(self) -> bool {
        self.vpc != EMPTY && self.vpc != RETIRED
    }

    #[inline(always)]
    fn hash(self, seed: (u64, u64)) -> u64 {
        // Folded with the seed: addresses of one VPC cannot be chosen to meet those of another one.
        let vpc = fold(u64::from(self.vpc) ^ seed.1, GOLDEN);
        let upper = fold(self.ip[0] ^ vpc ^ seed.0, GOLDEN);
        fold(fold(upper ^ self.ip[1], GOLDEN ^ seed.0), seed.1)
    }
}

/// Two slots of IPv6 addresses. The VPC is the mark: addresses only change while it says that a slot is empty.
#[derive(Default)]
#[cfg_attr(not(vswitch_loom), derive(zerocopy::FromZeros, zerocopy::KnownLayout))]
#[repr(C, align(64))]
pub struct Wide {
    ips: [[AtomicU64; 2]; SLOTS],
    words: [AtomicU64; SLOTS],
    hops: [AtomicU32; SLOTS],
    vpcs: [AtomicU16; SLOTS],
    overflow: AtomicU32,
}

#[cfg(not(vswitch_loom))]
const _: () = assert!(size_of::<Wide>() == 64);

impl Wide {
    /// What the key in a slot differs from `key` in: nothing, if zero.
    #[inline(always)]
    fn difference(&self, slot: usize, key: Ip6Key, order: Ordering) -> u64 {
        let vpc = self.vpcs[slot].load(order) ^ key.vpc;
        let [upper, lower] = self.ips[slot].each_ref().map(|half| half.load(Relaxed));
        u64::from(vpc) | upper ^ key.ip[0] | lower ^ key.ip[1]
    }
}

impl Bucket for Wide {
    type Key = Ip6Key;
    const SLOTS: usize = SLOTS;

    /// One branch, on hit or miss, as for [`Narrow`](super::Narrow).
    #[inline(always)]
    fn find(&self, key: Ip6Key) -> Option<usize> {
        let order = unless(Fault::KeyRelaxed, Acquire);
        let [a, b] = [0, 1].map(|slot| self.difference(slot, key, order));
        (a.min(b) == 0).then_some(select_unpredictable(b < a, 1, 0))
    }

    fn key(&self, slot: usize) -> Option<Ip6Key> {
        let key = Ip6Key {
            vpc: self.vpcs[slot].load(Relaxed),
            ip: self.ips[slot].each_ref().map(|half| half.load(Relaxed)),
        };
        Some(key).filter(|key| key.is_valid())
    }

    fn is_empty(&self, slot: usize) -> bool {
        self.vpcs[slot].load(Relaxed) == EMPTY
    }

    fn set_key(&self, slot: usize, key: Ip6Key) {
        if fault(Fault::MarkFirst) {
            self.vpcs[slot].store(key.vpc, Release);
        }
        for (held, half) in self.ips[slot].iter().zip(key.ip) {
            held.store(half, Relaxed);
        }
        self.vpcs[slot].store(key.vpc, Release);
    }

    fn set_mark(&self, slot: usize, mark: Mark) {
        let mark = match mark {
            Mark::Empty => EMPTY,
            Mark::Retired => RETIRED,
        };
        self.vpcs[slot].store(mark, Release);
    }

    #[inline(always)]
    fn word(&self, slot: usize) -> &AtomicU64 {
        &self.words[slot]
    }

    #[inline(always)]
    fn hop(&self, slot: usize) -> &AtomicU32 {
        &self.hops[slot]
    }

    #[inline(always)]
    fn overflow(&self) -> &AtomicU32 {
        &self.overflow
    }
}
