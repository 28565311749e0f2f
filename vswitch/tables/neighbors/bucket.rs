// SPDX-License-Identifier: MIT
//! [`Bucket`]: some slots in one cache line, and every load and store that readers and the writer race with.
//!
//! How keys lie in it depends on their width: [`narrow`](super::narrow), [`wide`](super::wide). That part of a key that
//! says whether a slot holds one is stored last and loaded first.

use std::fmt::Debug;
use std::hash::Hash;

use super::entry::Entry;
use crate::tables::sync::{AtomicU32, AtomicU64, Fault, Ordering, fault, unless};
use Ordering::{Acquire, Relaxed, Release};

/// What entries are found by.
pub trait Key: Copy + Eq + Hash + Debug + Send {
    /// False for what would be taken for a slot without a key. No domain and no VPC has the id that makes such a key.
    fn is_valid(self) -> bool;

    /// A hash that tells who does not know the seed, whose second number is not zero, nothing of which keys collide.
    fn hash(self, seed: (u64, u64)) -> u64;
}

/// What a slot holds in a key's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Nothing: it may be filled.
    Empty,
    /// Nothing any more, but readers may still look at the entry that was removed.
    Retired,
}

/// One cache line. All zero is a bucket without entries. Only the tables' own code gets to see one.
pub trait Bucket: Zeroed + Send + Sync + 'static {
    /// What its entries are found by.
    type Key: Key;

    /// Slots, at most 4.
    const SLOTS: usize;

    /// The reader's: the first slot that holds `key`. Each part of a key that is loaded after its first is loaded with the
    /// order that makes it, and the entry, of that key.
    fn find(&self, key: Self::Key) -> Option<usize>;

    /// The writer's: the key of a slot that has one.
    fn key(&self, slot: usize) -> Option<Self::Key>;

    /// The writer's: true for a slot that may be filled.
    fn is_empty(&self, slot: usize) -> bool;

    /// The writer's: stores a key in an empty slot by Release.
    fn set_key(&self, slot: usize, key: Self::Key);

    /// The writer's: stores a mark by Release. What else there is of a key stays.
    fn set_mark(&self, slot: usize, mark: Mark);

    /// First part of a slot's entry.
    fn word(&self, slot: usize) -> &AtomicU64;

    /// Second part of a slot's entry.
    fn hop(&self, slot: usize) -> &AtomicU32;

    /// How many entries there are whose home is here or before, and that are behind this bucket.
    fn overflow(&self) -> &AtomicU32;

    /// The reader's: the value in a slot. The hop by Acquire: it may be newer than the key, and the next hop it names
    /// must be visible.
    #[inline(always)]
    fn load(&self, slot: usize) -> Entry {
        Entry {
            word: self.word(slot).load(Relaxed),
            hop: self.hop(slot).load(unless(Fault::HopRelaxed, Acquire)),
        }
    }

    /// The reader's: true if the search for a key that is not here has to go on behind.
    #[inline(always)]
    fn overflowed(&self) -> bool {
        self.overflow().load(Relaxed) != 0
    }

    // The rest is the writer's. Alone, so that loads may be Relaxed and counters need no locked instruction.

    /// Writes what is in an empty bucket anyway.
    fn touch(&self) {
        self.overflow().store(0, Relaxed);
    }

    /// The value in a slot.
    fn value(&self, slot: usize) -> Entry {
        Entry {
            word: self.word(slot).load(Relaxed),
            hop: self.hop(slot).load(Relaxed),
        }
    }

    /// Fills an empty slot.
    fn fill(&self, slot: usize, key: Self::Key, value: Entry) {
        if fault(Fault::KeyFirst) {
            self.set_key(slot, key);
        }
        self.overwrite(slot, value);
        self.set_key(slot, key);
    }

    /// Changes the hop under the readers' feet: Release, since the next hop it names was written before.
    fn set_hop(&self, slot: usize, value: Entry) {
        self.hop(slot).store(value.hop, Release);
    }

    /// Changes the value of a slot that readers do not see.
    fn overwrite(&self, slot: usize, value: Entry) {
        self.word(slot).store(value.word, Relaxed);
        self.hop(slot).store(value.hop, Relaxed);
    }

    /// Takes the entry out of readers' sight. The value stays: a reader may have seen the key just now.
    fn retire(&self, slot: usize) {
        self.set_mark(slot, Mark::Retired);
    }

    /// Makes a retired slot empty. A grace period must have passed.
    fn free(&self, slot: usize) {
        self.set_mark(slot, Mark::Empty);
    }

    /// Counts an entry that is pushed past this bucket, before its key is stored.
    fn push_past(&self) {
        let overflow = self.overflow();
        overflow.store(overflow.load(Relaxed) + 1, Relaxed);
    }

    /// Uncounts it, after its key is gone.
    fn pull_back(&self) {
        let left = if fault(Fault::OverflowCleared) {
            0
        } else {
            self.overflow().load(Relaxed).saturating_sub(1)
        };
        self.overflow().store(left, Relaxed);
    }
}

/// What is made in bulk, all zero.
pub trait Zeroed: Sized {
    /// So many of them, whose memory is not touched yet. `None`: there is not that much.
    fn zeroed(count: usize) -> Option<Box<[Self]>>;
}

#[cfg(not(vswitch_loom))]
impl<B: zerocopy::FromZeros> Zeroed for B {
    fn zeroed(count: usize) -> Option<Box<[Self]>> {
        zerocopy::FromZeros::new_box_zeroed_with_elems(count).ok()
    }
}

#[cfg(vswitch_loom)]
impl<B: Default> Zeroed for B {
    fn zeroed(count: usize) -> Option<Box<[Self]>> {
        Some((0..count).map(|_| B::default()).collect())
    }
}

/// 2^64 divided by the golden ratio: an odd number whose bits follow no pattern.
pub(super) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Multiplies to 128 bits and folds the halves together.
#[inline(always)]
pub(super) const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}
