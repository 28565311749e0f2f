// SPDX-License-Identifier: MIT
//! [`Bucket`]: three slots in one cache line, and every load and store that readers and the writer race with.

use std::hint::select_unpredictable;

use super::entry::Entry;
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
    pub(super) fn find(&self, key: u64) -> Option<usize> {
        let order = unless(Fault::KeyRelaxed, Acquire);
        let [a, b, c] = self.keys.each_ref().map(|held| held.load(order) ^ key);
        let slot = select_unpredictable(b < a, 1, 0);
        let slot = select_unpredictable(c < a.min(b), 2, slot);
        (a.min(b).min(c) == 0).then_some(slot)
    }

    /// The value in a slot. The hop by Acquire: it may be newer than the key, and the next hop it names
    /// must be visible.
    #[inline(always)]
    pub(super) fn load(&self, slot: usize) -> Entry {
        Entry {
            word: self.words[slot].load(Relaxed),
            hop: self.hops[slot].load(unless(Fault::HopRelaxed, Acquire)),
        }
    }

    /// True if the search for a key that is not here has to go on behind.
    #[inline(always)]
    pub(super) fn overflowed(&self) -> bool {
        self.overflow.load(Relaxed) != 0
    }
}

/// What the writer does. Alone, so that loads may be Relaxed and counters need no locked instruction.
impl Bucket {
    /// Writes what is in an empty bucket anyway.
    pub(super) fn touch(&self) {
        self.overflow.store(0, Relaxed);
    }

    pub(super) fn key(&self, slot: usize) -> u64 {
        self.keys[slot].load(Relaxed)
    }

    pub(super) fn value(&self, slot: usize) -> Entry {
        Entry {
            word: self.words[slot].load(Relaxed),
            hop: self.hops[slot].load(Relaxed),
        }
    }

    /// Fills an EMPTY slot.
    pub(super) fn fill(&self, slot: usize, key: u64, value: Entry) {
        if fault(Fault::KeyFirst) {
            self.keys[slot].store(key, Release);
        }
        self.words[slot].store(value.word, Relaxed);
        self.hops[slot].store(value.hop, Relaxed);
        self.keys[slot].store(key, Release);
    }

    /// Changes the hop under the readers' feet: Release, since the next hop it names was written before.
    pub(super) fn set_hop(&self, slot: usize, value: Entry) {
        self.hops[slot].store(value.hop, Release);
    }

    /// Changes the value of a slot of a table that readers do not see yet.
    pub(super) fn overwrite(&self, slot: usize, value: Entry) {
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

    /// Counts an entry that is pushed past this bucket, before its key is stored.
    pub(super) fn push_past(&self) {
        self.overflow
            .store(self.overflow.load(Relaxed) + 1, Relaxed);
    }

    /// Uncounts it, after its key is gone.
    pub(super) fn pull_back(&self) {
        let left = if fault(Fault::OverflowCleared) {
            0
        } else {
            self.overflow.load(Relaxed).saturating_sub(1)
        };
        self.overflow.store(left, Relaxed);
    }
}
