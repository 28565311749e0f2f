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
//! * **Memory:** 64 bytes per 3 slots, or per 2 of IPv6 addresses; the figures are for the former. A small table (to 65,536 buckets, 118,000 keys) is filled to 60 % and
//!   doubles; a large one is filled to 80 % and grows by a half, but never beyond 30.5 bytes per neighbor of
//!   its capacity. So it takes 26.7 to 40 bytes per neighbor, and of a million in a table for as many less
//!   than 32: both tables together 64. While it grows, the old one is there too, until the grace period of
//!   the commit has passed.
//! * **Cap:** the capacity that the writer was made with. Full is an error for the writer, see
//!   [`TableFull`](crate::tables::TableFull); readers do not notice.
//!
//! # How
//!
//! A bucket is one cache line of three slots, or of two with wide keys. A key's home bucket follows from a seeded hash (a tenant
//! cannot choose addresses that collide). A key whose home is full is in one of the buckets behind it, and
//! each bucket counts the keys that were pushed past it: a reader stops at the first that counts none.
//!
//! A slot goes through `EMPTY -> key -> RETIRED -> EMPTY`. The value is stored before the key (Release),
//! loaded after it (Acquire). From RETIRED to EMPTY a grace period must pass; since a slot's value only
//! changes while it is EMPTY, a reader that saw a key reads a value of that key.
//! A new MAC or VNI for a key is a second copy in another slot. The old copy stays for a grace period too:
//! a reader may have passed the new copy's slot before it was filled, and must find the old one.

use std::fmt;

use super::bucket::{Bucket, Key};
use super::entry::Entry;
use super::narrow::Narrow;
use super::prefetch;

/// Where in one table the search for a key begins. Of use only with the table that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Home(u32);

impl Home {
    /// The first bucket of any table: what to fill a `Home` with before there is a key.
    pub const START: Self = Self(0);
}

/// Neighbors by a key, 64 bits wide unless buckets of another kind are named. See the module's documentation.
pub struct NeighborTable<B = Narrow> {
    buckets: Box<[B]>,
    /// What makes the hash of this table unlike any other's. The second number is not zero.
    seed: (u64, u64),
}

impl<B: Bucket> NeighborTable<B> {
    /// An empty table of `buckets` buckets, at least 1 and below 2^32. Its memory is not touched yet.
    /// `None`: there is not that much memory.
    pub(super) fn new(buckets: usize, seed: (u64, u64)) -> Option<Self> {
        let buckets = B::zeroed(buckets)?;
        Some(Self { buckets, seed })
    }

    /// Has the kernel find and clear the table's memory now. Only for one that no reader sees and that is empty.
    pub(super) fn touch(&self) {
        let page = 4096 / size_of::<B>();
        self.buckets.iter().step_by(page).for_each(B::touch);
    }

    /// Where the search for `key` begins.
    #[inline]
    pub fn home(&self, key: B::Key) -> Home {
        let hash = key.hash(self.seed);
        // Scales 32 bits of hash to any number of buckets without a division.
        Home((((hash >> 32) * self.buckets.len() as u64) >> 32) as u32)
    }

    /// Asks the CPU to fetch what [`NeighborTable::get`] will read first.
    #[inline]
    pub fn prefetch(&self, key: B::Key) {
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
    /// [`Neighbors::ip_key`](super::Neighbors::ip_key) made, or an [`Ip6Key`](super::Ip6Key).
    #[inline]
    pub fn get(&self, key: B::Key) -> Option<Entry> {
        self.get_at(self.home(key), key)
    }

    /// The same for a key whose home is known.
    #[inline(always)]
    pub fn get_at(&self, home: Home, key: B::Key) -> Option<Entry> {
        let bucket = self.buckets.get(home.0 as usize)?;
        match bucket.find(key) {
            Some(slot) => Some(bucket.load(slot)),
            None if bucket.overflowed() => self.get_behind(home, key),
            None => None,
        }
    }

    /// Goes on where the home bucket says that a key may have been pushed on.
    #[inline(never)]
    fn get_behind(&self, home: Home, key: B::Key) -> Option<Entry> {
        let mut at = home;
        // Bounded, so that a table all of whose buckets overflow cannot hold a reader.
        for _ in 1..self.buckets.len() {
            at = self.next(at);
            let bucket = self.buckets.get(at.0 as usize)?;
            if let Some(slot) = bucket.find(key) {
                return Some(bucket.load(slot));
            }
            if !bucket.overflowed() {
                return None;
            }
        }
        None
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

    pub(super) fn bucket(&self, index: usize) -> &B {
        &self.buckets[index]
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = &B> {
        self.buckets.iter()
    }

    pub(super) fn seed(&self) -> (u64, u64) {
        self.seed
    }

    /// The buckets in the order in which `key` is searched for, each once.
    pub(super) fn walk(&self, key: B::Key) -> impl Iterator<Item = usize> + use<B> {
        let home = self.home(key).0 as usize;
        (home..self.buckets.len()).chain(0..home)
    }
}

impl<B> fmt::Debug for NeighborTable<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NeighborTable")
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}
