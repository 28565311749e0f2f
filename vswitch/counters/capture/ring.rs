// SPDX-License-Identifier: MIT
//! A queue of records of any length between a worker and one reader, in memory that is taken once.
//!
//! # Contract
//! * One thread writes and one reads; neither waits for the other. Others may do either only after them, not meanwhile.
//! * Records are written behind the end, and are the reader's when the end is [published](Ring::publish) behind them; what was
//!   written behind that end is written over by the next.
//! * What does not fit is not written.
//! * A record takes its bytes, rounded up to eight, and [`HEAD`] words.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crossbeam_utils::CachePadded;

/// Words in front of a record's bytes. The lower half of the first is how many bytes there are.
pub(super) const HEAD: usize = 3;

/// Bytes of a word.
const WORD: usize = 8;

/// The queue. Positions count words since the beginning, and wrap.
pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    /// Where the reader is. Written by it.
    begin: CachePadded<AtomicUsize>,
    /// Where the published records end. Written by the writer.
    end: CachePadded<AtomicUsize>,
}

impl Ring {
    /// With room for so many words, rounded up to a power of two.
    pub(super) fn new(words: usize) -> Self {
        let words = (0..words.next_power_of_two()).map(|_| AtomicU64::new(0));
        Self {
            words: words.collect(),
            begin: CachePadded::default(),
            end: CachePadded::default(),
        }
    }

    /// The writer's: where the published records end.
    pub(super) fn end(&self) -> usize {
        self.end.load(Relaxed)
    }

    /// The writer's: writes a record at `at`, the end or where another one ends: its head, whose first word says how many
    /// bytes, and as many of `parts`, which have no fewer. Returns where it ends. `None`: there is no room.
    pub(super) fn write<'a>(
        &self,
        at: usize,
        head: [u64; HEAD],
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> Option<usize> {
        let mut left = len(head);
        let end = at.wrapping_add(words(left));
        // Acquire: the reader has read what is written over from here on.
        if end.wrapping_sub(self.begin.load(Acquire)) > self.words.len() {
            return None;
        }
        for (i, word) in head.into_iter().enumerate() {
            self.set(at.wrapping_add(i), word);
        }
        let mut pen = Pen {
            ring: self,
            at: at.wrapping_add(HEAD),
            word: [0; WORD],
            filled: 0,
        };
        for part in parts {
            let part = &part[..left.min(part.len())];
            left -= part.len();
            pen.write(part);
        }
        pen.finish();
        Some(end)
    }

    /// The writer's: changes a word of what is not published.
    pub(super) fn set(&self, at: usize, word: u64) {
        self.words[at & (self.words.len() - 1)].store(word, Relaxed);
    }

    /// The writer's: gives the reader all that ends at `end` or before.
    pub(super) fn publish(&self, end: usize) {
        self.end.store(end, Release);
    }

    /// The reader's: the oldest record.
    pub(super) fn read(&self) -> Option<([u64; HEAD], Vec<u8>)> {
        let begin = self.begin.load(Relaxed);
        // Acquire: what was written before the end was published is seen.
        if begin == self.end.load(Acquire) {
            return None;
        }
        let word =
            |i: usize| self.words[begin.wrapping_add(i) & (self.words.len() - 1)].load(Relaxed);
        let head = std::array::from_fn(word);
        let words = words(len(head));
        let mut bytes = Vec::with_capacity((words - HEAD) * WORD);
        (HEAD..words).for_each(|i| bytes.extend_from_slice(&word(i).to_ne_bytes()));
        bytes.truncate(len(head));
        self.begin.store(begin.wrapping_add(words), Release);
        Some((head, bytes))
    }

    /// The reader's: forgets all records.
    pub(super) fn clear(&self) {
        self.begin.store(self.end.load(Acquire), Release);
    }
}

/// Bytes of a record with this head.
const fn len(head: [u64; HEAD]) -> usize {
    head[0] as u32 as usize
}

/// Words of a record of so many bytes.
const fn words(len: usize) -> usize {
    HEAD + len.div_ceil(WORD)
}

/// Writes bytes, word by word.
struct Pen<'a> {
    ring: &'a Ring,
    at: usize,
    word: [u8; WORD],
    /// Bytes of `word` that are there.
    filled: usize,
}

impl Pen<'_> {
    fn write(&mut self, mut bytes: &[u8]) {
        if self.filled != 0 {
            let (fill, rest) = bytes.split_at(bytes.len().min(WORD - self.filled));
            self.fill(fill);
            bytes = rest;
        }
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.ring.set(self.at, u64::from_ne_bytes(*word));
            self.at = self.at.wrapping_add(1);
        }
        self.fill(rest);
    }

    /// Adds bytes to a word, and writes it if it is whole then.
    fn fill(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        self.word[self.filled..end].copy_from_slice(bytes);
        self.filled = end;
        if end == WORD {
            self.finish();
        }
    }

    /// Writes a word that is not whole.
    fn finish(&mut self) {
        if self.filled != 0 {
            self.ring.set(self.at, u64::from_ne_bytes(self.word));
            self.at = self.at.wrapping_add(1);
            self.filled = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` bytes that say which record they are of.
    fn bytes(n: usize) -> Vec<u8> {
        (0..n).map(|i| (n * 31 + i) as u8).collect()
    }

    fn write(ring: &Ring, at: usize, bytes: &[u8]) -> Option<usize> {
        ring.write(at, [bytes.len() as u64, 1, 2], [bytes].into_iter())
    }

    #[test]
    fn records_come_out_as_they_went_in_wherever_their_parts_begin_and_the_ring_ends() {
        let ring = Ring::new(64);
        for n in 0..400 {
            let whole = bytes(n % 200);
            let (a, b) = whole.split_at(whole.len() / 3);
            let (b, c) = b.split_at(b.len() / 2);
            let head = [7 << 32 | whole.len() as u64, n as u64, u64::MAX];
            let end = ring.write(ring.end(), head, [a, b, c].into_iter());
            ring.publish(end.unwrap());
            assert_eq!(ring.read(), Some((head, whole)), "{n}");
            assert_eq!(ring.read(), None);
        }
    }

    #[test]
    fn a_record_is_cut_where_its_head_says() {
        let ring = Ring::new(64);
        let whole = bytes(50);
        let parts = [&whole[..11], &whole[11..]].into_iter();
        ring.publish(ring.write(0, [21, 0, 0], parts).unwrap());
        assert_eq!(ring.read(), Some(([21, 0, 0], whole[..21].to_vec())));
    }

    #[test]
    fn what_does_not_fit_is_not_written_and_later_it_fits() {
        let ring = Ring::new(16);
        let first = write(&ring, 0, &bytes(40)).unwrap(); // 8 words
        assert_eq!(write(&ring, first, &bytes(48)), None); // 9
        let second = write(&ring, first, &bytes(33)).unwrap(); // 8
        assert_eq!(write(&ring, second, &[]), None);
        ring.publish(second);
        assert_eq!(ring.read().unwrap().1, bytes(40));
        assert!(write(&ring, second, &bytes(40)).is_some());
        assert_eq!(ring.read().unwrap().1, bytes(33));
    }

    #[test]
    fn what_is_not_published_is_written_over() {
        let ring = Ring::new(64);
        let first = write(&ring, 0, &bytes(9)).unwrap();
        write(&ring, first, &bytes(10)).unwrap();
        ring.publish(first);
        ring.publish(write(&ring, first, &bytes(11)).unwrap());
        assert_eq!(ring.read().unwrap().1, bytes(9));
        assert_eq!(ring.read().unwrap().1, bytes(11));
        assert_eq!(ring.read(), None);
        ring.publish(write(&ring, ring.end(), &bytes(12)).unwrap());
        ring.clear();
        assert_eq!(ring.read(), None);
    }

    #[test]
    fn a_reader_beside_the_writer_sees_whole_records_in_order() {
        let ring = Ring::new(1024);
        const RECORDS: u64 = if cfg!(miri) { 200 } else { 20_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 0;
                while n < RECORDS {
                    let record = bytes(n as usize % 300);
                    let head = [record.len() as u64, n, !n];
                    if let Some(end) = ring.write(ring.end(), head, [&record[..]].into_iter()) {
                        ring.publish(end);
                        n += 1;
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
            let mut n = 0;
            while n < RECORDS {
                if let Some((head, record)) = ring.read() {
                    assert_eq!(head[1..], [n, !n]);
                    assert_eq!(record, bytes(n as usize % 300));
                    n += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
    }
}
