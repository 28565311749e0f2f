// SPDX-License-Identifier: MIT
//! Buckets of 64-bit keys: a domain or VPC, and a MAC or an IPv4 address. Three slots.

use std::hint::select_unpredictable;

use super::bucket::{Bucket, GOLDEN, Key, Mark, fold};
use crate::tables::sync::{AtomicU32, AtomicU64, Fault, Ordering, unless};
use Ordering::{Acquire, Relaxed, Release};

const SLOTS: usize = 3;

/// No key is 0 since domain and VPC ids are not.
const EMPTY: u64 = 0;

/// No key is this since no domain has the id 0xffff.
const RETIRED: u64 = u64::MAX;

impl Key for u64 {
    fn is_valid(self) -> bool {
        self != EMPTY && self != RETIRED
    }

    #[inline(always)]
    fn hash(self, seed: (u64, u64)) -> u64 {
        // Two rounds: after one, addresses in arithmetic progression would form runs for some seeds, and
        // runs are what linear probing suffers from.
        fold(fold(self ^ seed.0, GOLDEN), seed.1)
    }
}

/// Three slots of 64-bit keys. The key is its own mark.
#[derive(Default)]
#[cfg_attr(not(vswitch_loom), derive(zerocopy::FromZeros, zerocopy::KnownLayout))]
#[repr(C, align(64))]
pub struct Narrow {
    keys: [AtomicU64; SLOTS],
    words: [AtomicU64; SLOTS],
    hops: [AtomicU32; SLOTS],
    overflow: AtomicU32,
}

#[cfg(not(vswitch_loom))]
const _: () = assert!(size_of::<Narrow>() == 64);

impl Bucket for Narrow {
    type Key = u64;
    const SLOTS: usize = SLOTS;

    /// Which slot it is depends on the traffic, so a branch on it would be mispredicted. Looking for the
    /// least difference, and then asking once whether it is zero, keeps the compiler from making branches
    /// of the comparisons: this is one branch, on hit or miss.
    #[inline(always)]
    fn find(&self, key: u64) -> Option<usize> {
        let order = unless(Fault::KeyRelaxed, Acquire);
        let [a, b, c] = self.keys.each_ref().map(|held| held.load(order) ^ key);
        let slot = select_unpredictable(b < a, 1, 0);
        let slot = select_unpredictable(c < a.min(b), 2, slot);
        (a.min(b).min(c) == 0).then_some(slot)
    }

    fn key(&self, slot: usize) -> Option<u64> {
        Some(self.keys[slot].load(Relaxed)).filter(|key| key.is_valid())
    }

    fn is_empty(&self, slot: usize) -> bool {
        self.keys[slot].load(Relaxed) == EMPTY
    }

    fn set_key(&self, slot: usize, key: u64) {
        self.keys[slot].store(key, Release);
    }

    fn set_mark(&self, slot: usize, mark: Mark) {
        let mark = match mark {
            Mark::Empty => EMPTY,
            Mark::Retired => RETIRED,
        };
        self.keys[slot].store(mark, Release);
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
