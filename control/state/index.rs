// SPDX-License-Identifier: MIT
//! [`Index`]: finds numbers by the hash of a key, a million of them.

use vswitch::tables::prefetch;

/// Words of the first table.
const FEW: usize = 16;

/// Half of a hash, and a number: what is found by it. An entry is its half in the upper 32 bits and its number plus one in
/// the lower ones; a word of zero has none.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    const EMPTY: Self = Self(0);

    const fn new(half: u32, number: u32) -> Self {
        Self((half as u64) << 32 | (number as u64 + 1))
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn half(self) -> u32 {
        (self.0 >> 32) as u32
    }

    const fn number(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }
}

/// Numbers by the hashes of the keys that they stand for; the keys are somebody else's.
///
/// A hash table with linear probing. A look-up reads one cache line, nearly always, and [`Index::prefetch`] has it read
/// ahead: for a million neighbors that come at once, these cache misses are what takes most of the time. Half of each hash
/// is kept, so that a larger table is filled without a look at the keys, and in the order of its memory.
///
/// # Contract
/// Numbers are below `u32::MAX`, hashes evenly distributed. 11 to 21 bytes an entry.
#[derive(Default)]
pub(super) struct Index {
    words: Box<[Word]>,
    len: usize,
}

impl Index {
    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Asks the CPU to fetch what a look-up of the hash will read.
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(word) = self.words.get(self.home(half(hash))) {
            prefetch(word);
        }
    }

    /// The first number stored with this hash that `is` it.
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.position(hash, is).map(|(_, number)| number)
    }

    /// Adds an entry.
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        if self.len >= room(self.words.len()) {
            self.resize((2 * self.words.len()).max(FEW));
        }
        self.place(Word::new(half(hash), number));
        self.len += 1;
    }

    /// Removes the entry, if there is one.
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let Some((mut gap, _)) = self.position(hash, |other| other == number) else {
            return;
        };
        self.len -= 1;
        // What was pushed past the gap moves up, so that each entry is found from its home on without one.
        let mut at = gap;
        loop {
            at = self.next(at);
            let word = self.word(at);
            if word.is_empty() {
                break;
            }
            if self.distance(self.home(word.half()), at) >= self.distance(gap, at) {
                self.set(gap, word);
                gap = at;
            }
        }
        self.set(gap, Word::EMPTY);
    }

    /// Takes the memory of so many entries in all now, instead of when they come.
    pub(super) fn reserve(&mut self, entries: usize) {
        let words = entries + entries / 3 + 1;
        if entries > room(self.words.len()) {
            self.resize(words);
        }
    }

    /// Where the entry is, and its number.
    fn position(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        if self.words.is_empty() {
            return None;
        }
        let half = half(hash);
        let mut at = self.home(half);
        loop {
            let word = self.word(at);
            if word.is_empty() {
                return None; // there always is an empty one
            }
            if word.half() == half && is(word.number()) {
                return Some((at, word.number()));
            }
            at = self.next(at);
        }
    }

    /// Puts it into the first empty word from its home on.
    fn place(&mut self, word: Word) {
        let mut at = self.home(word.half());
        while !self.word(at).is_empty() {
            at = self.next(at);
        }
        self.set(at, word);
    }

    fn resize(&mut self, words: usize) {
        let mut fresh = vec![Word::EMPTY; words].into_boxed_slice();
        // Written to now: until then the kernel has promised the memory and not found it. The compiler knows only that it
        // is zero already.
        std::hint::black_box(&mut fresh).fill(Word::EMPTY);
        let old = std::mem::replace(&mut self.words, fresh);
        let entries = old.iter().filter(|word| !word.is_empty());
        entries.for_each(|word| self.place(*word));
    }

    /// Where the search for it begins: halves in order have their homes in order.
    fn home(&self, half: u32) -> usize {
        ((u64::from(half) * self.words.len() as u64) >> 32) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 < self.words.len() { at + 1 } else { 0 }
    }

    /// Steps from one word on to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        let wrapped = if to < from { self.words.len() } else { 0 };
        to + wrapped - from
    }

    fn word(&self, at: usize) -> Word {
        self.words.get(at).copied().unwrap_or(Word::EMPTY)
    }

    fn set(&mut self, at: usize, word: Word) {
        if let Some(place) = self.words.get_mut(at) {
            *place = word;
        }
    }
}

/// The half of a hash that is kept: the better one of foldhash's.
const fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Entries that so many words take: three quarters, and never all.
const fn room(words: usize) -> usize {
    (words - words / 4).saturating_sub(1)
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (len, words) = (self.len, self.words.len());
        write!(f, "Index({len} of {words})")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_one_takes_no_memory_and_finds_nothing() {
        let mut index = Index::default();
        assert_eq!((index.find(7, |_| true), index.words.len()), (None, 0));
        index.remove(7, 1);
        index.prefetch(7);
        assert_eq!(index.len(), 0);
    }

    #[test]
    fn what_is_reserved_is_enough() {
        for entries in [1, 2, 3, 4, 5, 100, 1001] {
            let mut index = Index::default();
            index.reserve(entries);
            let words = index.words.len();
            for number in 0..entries as u32 {
                index.insert(
                    u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    number,
                );
            }
            assert_eq!(index.words.len(), words, "{entries}");
        }
    }

    /// Few homes, at both ends of the table, so that entries meet and wrap around.
    fn hash() -> impl Strategy<Value = u64> {
        let near = prop_oneof![0..4u32, u32::MAX - 4..u32::MAX, 1u32 << 31..(1 << 31) + 3];
        near.prop_map(|half| u64::from(half) << 32)
    }

    proptest! {
        #[test]
        fn it_holds_what_was_inserted_and_not_removed(
            steps in prop::collection::vec((any::<bool>(), hash(), 0..40u32), 0..400),
        ) {
            let (mut index, mut model) = (Index::default(), BTreeSet::new());
            for (insert, hash, number) in steps {
                if insert && model.insert((hash, number)) {
                    index.insert(hash, number);
                } else if !insert {
                    model.remove(&(hash, number));
                    index.remove(hash, number);
                }
                prop_assert_eq!(index.len(), model.len());
                for (hash, number) in &model {
                    prop_assert_eq!(index.find(*hash, |other| other == *number), Some(*number));
                }
                let stored = index.words.iter().filter(|word| !word.is_empty());
                prop_assert_eq!(stored.count(), model.len());
                prop_assert!(model.len() < index.words.len().max(1));
            }
        }
    }
}
