// SPDX-License-Identifier: MIT
//! [`NeighborTable`]: a hash table that workers read without locks or retries while it is updated in place.
//!
//! # Contract
//!
//! * **Who reads:** any worker, under a guard of [`rcu`](crate::tables::rcu). Wait-free: no lock, no retry,
//!   no store. **Who writes:** the one [`Writer`](crate::tables::snapshot::Writer).
//! * **What a reader sees:** a key whose insertion is settled is found for as long as it is not removed,
//!   whatever happens to other keys. The value is one that the writer gave that key, never a mix of two.
//!   While a change is under way it is the old one or the new one, in any order.
//! * **Cost:** one cache line for a hit in the key's home bucket, another for each bucket it was pushed on.
//! * **Memory:** 64 bytes per 3 slots. A table is filled to 80 % before it grows by a fifth, so a large one
//!   takes 26.7 to 32 bytes per neighbor; both tables together 64 at most.
//! * **Cap:** the capacity that the writer was made with. Full is an error for the writer, see
//!   [`TableFull`](crate::tables::TableFull); readers do not notice.
//!
//! # How
//!
//! A bucket is one cache line of three slots. A key's home bucket follows from a seeded hash (a tenant
//! cannot choose addresses that collide). A key whose home is full is in one of the buckets behind it, and
//! each bucket counts the keys that were pushed past it: a reader stops at the first that counts none.
//!
//! A slot goes through `EMPTY -> key -> RETIRED -> EMPTY`. The value is stored before the key (Release),
//! loaded after it (Acquire). From RETIRED to EMPTY a grace period must pass; since a slot's value only
//! changes while it is EMPTY, a reader that saw a key reads a value of that key.
//! A new MAC or VNI for a key is a second copy in another slot. The old copy stays for a grace period too:
//! a reader may have passed the new copy's slot before it was filled, and must find the old one.

use std::fmt;
use std::hint::select_unpredictable;

use arrayvec::ArrayVec;

use super::prefetch;
use super::value::Value;
use crate::io::MAX_BURST;
use crate::tables::Neighbor;
use crate::tables::sync::{AtomicU32, AtomicU64, Fault, Ordering, fault, unless};
use Ordering::{Acquire, Relaxed, Release};

/// Slots of a bucket.
pub(super) const SLOTS: usize = 3;

/// Key of a slot that may be filled. No key is 0 since domain and VPC ids are not.
pub(super) const EMPTY: u64 = 0;

/// Key of a slot whose entry was removed and that readers may still look at. No key is this since no
/// domain has the id 0xffff.
pub(super) const RETIRED: u64 = u64::MAX;

/// One cache line. All zero is a bucket without entries.
#[derive(Default)]
#[cfg_attr(not(vswitch_loom), derive(zerocopy::FromZeros, zerocopy::KnownLayout))]
#[repr(C, align(64))]
pub(super) struct Bucket {
    keys: [AtomicU64; SLOTS],
    words: [AtomicU64; SLOTS],
    hops: [AtomicU32; SLOTS],
    /// Entries whose home is here or before, and that are behind this bucket.
    overflow: AtomicU32,
}

#[cfg(not(vswitch_loom))]
const _: () = assert!(size_of::<Bucket>() == 64);

/// What a reader does.
impl Bucket {
    /// The first slot that holds `key`.
    ///
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

    /// The value in a slot. The hop by Acquire: it may be newer than the key, and the next hop it names
    /// must be visible.
    #[inline(always)]
    fn load(&self, slot: usize) -> Value {
        Value {
            word: self.words[slot].load(Relaxed),
            hop: self.hops[slot].load(unless(Fault::HopRelaxed, Acquire)),
        }
    }

    #[inline(always)]
    fn overflow(&self) -> u32 {
        self.overflow.load(Relaxed)
    }
}

/// What the writer does. Alone, so that loads may be Relaxed and counters need no locked instruction.
impl Bucket {
    pub(super) fn key(&self, slot: usize) -> u64 {
        self.keys[slot].load(Relaxed)
    }

    pub(super) fn value(&self, slot: usize) -> Value {
        Value {
            word: self.words[slot].load(Relaxed),
            hop: self.hops[slot].load(Relaxed),
        }
    }

    /// Fills an EMPTY slot.
    pub(super) fn fill(&self, slot: usize, key: u64, value: Value) {
        if fault(Fault::KeyFirst) {
            self.keys[slot].store(key, Release);
        }
        self.words[slot].store(value.word, Relaxed);
        self.hops[slot].store(value.hop, Relaxed);
        self.keys[slot].store(key, Release);
    }

    /// Changes the hop under the readers' feet: Release, since the next hop it names was written before.
    pub(super) fn set_hop(&self, slot: usize, value: Value) {
        self.hops[slot].store(value.hop, Release);
    }

    /// Changes the value of a slot of a table that readers do not see yet.
    pub(super) fn overwrite(&self, slot: usize, value: Value) {
        self.words[slot].store(value.word, Relaxed);
        self.hops[slot].store(value.hop, Relaxed);
    }

    /// Takes the entry out of readers' sight. The value stays: a reader may have seen the key just now.
    pub(super) fn retire(&self, slot: usize) {
        self.keys[slot].store(RETIRED, Release);
    }

    /// Makes a RETIRED slot EMPTY. A grace period must have passed.
    pub(super) fn free(&self, slot: usize) {
        self.keys[slot].store(EMPTY, Release);
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflow() != 0
    }

    /// Counts an entry that is pushed past this bucket, before its key is stored.
    pub(super) fn push_past(&self) {
        self.overflow.store(self.overflow() + 1, Relaxed);
    }

    /// Uncounts it, after its key is gone.
    pub(super) fn pull_back(&self) {
        let left = if fault(Fault::OverflowCleared) {
            0
        } else {
            self.overflow().saturating_sub(1)
        };
        self.overflow.store(left, Relaxed);
    }
}

/// Where in one table the search for a key begins. Of use only with the table that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Home(u32);

/// What makes the hash of one table unlike any other's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(pub(super) u64, pub(super) u64);

/// 2^64 divided by the golden ratio: an odd number whose bits follow no pattern.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Multiplies to 128 bits and folds the halves together.
#[inline(always)]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Neighbors by a 64-bit key. See the module's documentation.
pub struct NeighborTable {
    buckets: Box<[Bucket]>,
    seed: Seed,
}

impl NeighborTable {
    /// An empty table of `buckets` buckets, at least 1 and below 2^32. Its memory is not touched yet.
    /// `None`: there is not that much memory.
    pub(super) fn new(buckets: usize, seed: Seed) -> Option<Self> {
        #[cfg(not(vswitch_loom))]
        let buckets = zerocopy::FromZeros::new_box_zeroed_with_elems(buckets).ok()?;
        #[cfg(vswitch_loom)]
        let buckets = (0..buckets).map(|_| Bucket::default()).collect();
        Some(Self { buckets, seed })
    }

    /// Where the search for `key` begins.
    #[inline]
    pub fn home(&self, key: u64) -> Home {
        // Two rounds: after one, addresses in arithmetic progression would form runs for some seeds, and
        // runs are what linear probing suffers from.
        let hash = fold(fold(key ^ self.seed.0, GOLDEN), self.seed.1);
        // Scales 32 bits of hash to any number of buckets without a division.
        Home((((hash >> 32) * self.buckets.len() as u64) >> 32) as u32)
    }

    /// Asks the CPU to fetch what [`NeighborTable::get`] will read first.
    #[inline]
    pub fn prefetch(&self, key: u64) {
        self.prefetch_at(self.home(key));
    }

    /// The same for a key whose home is known.
    #[inline]
    pub fn prefetch_at(&self, home: Home) {
        if let Some(bucket) = self.buckets.get(home.0 as usize) {
            prefetch(bucket);
        }
    }

    /// Looks up a key that [`Neighbors::mac_key`](super::Neighbors::mac_key) or
    /// [`Neighbors::ip_key`](super::Neighbors::ip_key) made.
    #[inline]
    pub fn get(&self, key: u64) -> Option<Neighbor> {
        self.get_at(self.home(key), key)
    }

    /// The same for a key whose home is known.
    #[inline]
    pub fn get_at(&self, home: Home, key: u64) -> Option<Neighbor> {
        let mut at = home;
        // Bounded, so that a table all of whose buckets overflow cannot hold a reader.
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(at.0 as usize)?;
            if let Some(slot) = bucket.find(key) {
                return bucket.load(slot).neighbor();
            }
            if bucket.overflow() == 0 {
                return None;
            }
            at = self.next(at);
        }
        None
    }

    /// Looks up a burst of keys: `found[i]` becomes what [`NeighborTable::get`] says of `keys[i]`, for as
    /// many as the shorter of the two has, at most [`MAX_BURST`].
    ///
    /// The fastest way when the table is larger than the caches: also the second bucket of a key is asked
    /// for long before it is needed.
    #[inline]
    pub fn get_burst(&self, keys: &[u64], found: &mut [Option<Neighbor>]) {
        let mut homes: ArrayVec<Home, MAX_BURST> = ArrayVec::new();
        for key in keys.iter().take(MAX_BURST) {
            let home = self.home(*key);
            self.prefetch_at(home);
            homes.push(home);
        }
        let mut behind: ArrayVec<(u64, Home, &mut Option<Neighbor>), MAX_BURST> = ArrayVec::new();
        for ((key, home), found) in keys.iter().zip(homes).zip(found) {
            *found = None;
            let Some(bucket) = self.buckets.get(home.0 as usize) else {
                continue;
            };
            if let Some(slot) = bucket.find(*key) {
                *found = bucket.load(slot).neighbor();
            } else if bucket.overflow() != 0 {
                let next = self.next(home);
                self.prefetch_at(next);
                behind.push((*key, next, found));
            }
        }
        for (key, next, found) in behind {
            *found = self.get_at(next, key);
        }
    }

    /// The bucket behind.
    #[inline(always)]
    fn next(&self, at: Home) -> Home {
        if at.0 as usize + 1 < self.buckets.len() {
            Home(at.0 + 1)
        } else {
            Home(0)
        }
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn bucket(&self, index: usize) -> &Bucket {
        &self.buckets[index]
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter()
    }

    pub(super) fn seed(&self) -> Seed {
        self.seed
    }

    /// The buckets in the order in which `key` is searched for, each once.
    pub(super) fn walk(&self, key: u64) -> impl Iterator<Item = usize> + use<> {
        let home = self.home(key).0 as usize;
        (home..self.buckets.len()).chain(0..home)
    }
}

impl fmt::Debug for NeighborTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NeighborTable")
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}
