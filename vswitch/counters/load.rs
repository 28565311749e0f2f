// SPDX-License-Identifier: MIT
//! How busy a worker is: rounds, bursts by size, and the time that it has something to do.
//!
//! A round costs one addition, a burst another; the clock is read when the worker turns from idle to busy or back, so that one
//! with much to do, or nothing, never reads it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::add;

/// The most frames that a burst of each bucket has. The last is [`MAX_BURST`](crate::io::MAX_BURST).
pub const BURST_SIZES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

/// One worker's load. Only that worker writes; anyone may read, at any time.
#[derive(Default)]
pub struct Load {
    polls: AtomicU64,
    idle_polls: AtomicU64,
    /// By [`BURST_SIZES`], and one that stays empty.
    bursts: [AtomicU64; 8],
    busy: Stopwatch,
    idle: Stopwatch,
}

impl Load {
    /// One round over the worker's queues ended; `idle` when nothing had arrived.
    #[inline]
    pub fn add_poll(&self, idle: bool) {
        add(&self.idle_polls, u64::from(idle));
        add(&self.polls, 1);
    }

    /// So many frames arrived at once from a queue, one at least.
    #[inline]
    pub fn add_burst(&self, frames: usize) {
        // The logarithm, rounded up; of an odd number, which the CPU has an instruction for.
        let bucket = (frames.wrapping_mul(2).wrapping_sub(1) | 1).ilog2();
        add(&self.bursts[bucket as usize & 7], 1);
    }

    /// Something arrived, after nothing did.
    #[cold]
    pub fn begin_work(&self, now: u64) {
        self.idle.stop(now);
        self.busy.start(now);
    }

    /// Nothing arrives any more.
    #[cold]
    pub fn begin_idling(&self, now: u64) {
        self.busy.stop(now);
        self.idle.start(now);
    }

    /// The worker polls no more for now.
    #[cold]
    pub fn rest(&self, now: u64) {
        self.busy.stop(now);
        self.idle.stop(now);
    }

    /// Rounds over the worker's queues since start: those that found nothing, and all.
    pub fn polls(&self) -> (u64, u64) {
        (self.idle_polls.load(Relaxed), self.polls.load(Relaxed))
    }

    /// Bursts by size: those of at most [`BURST_SIZES`] frames, and of more than the size before.
    pub fn bursts(&self) -> [u64; BURST_SIZES.len()] {
        std::array::from_fn(|i| self.bursts[i].load(Relaxed))
    }

    /// Time with something to do, and without, in ticks of the worker's clock, which says `now`.
    pub fn times(&self, now: u64) -> (u64, u64) {
        (self.busy.read(now), self.idle.read(now))
    }
}

/// A sum of times, in one word so that it can be read at any moment: what has been summed up, less the beginning of the time
/// that has not ended; and, lowest, whether there is one. It is good for 63 bits of ticks.
#[derive(Default)]
struct Stopwatch(AtomicU64);

const RUNS: u64 = 1;

impl Stopwatch {
    fn start(&self, now: u64) {
        let state = self.0.load(Relaxed);
        if state & RUNS == 0 {
            self.0.store(state.wrapping_sub(now << 1) | RUNS, Relaxed);
        }
    }

    fn stop(&self, now: u64) {
        let state = self.0.load(Relaxed);
        if state & RUNS != 0 {
            self.0.store(state.wrapping_add(now << 1) & !RUNS, Relaxed);
        }
    }

    fn read(&self, now: u64) -> u64 {
        let state = self.0.load(Relaxed);
        let sum = match state & RUNS {
            0 => state,
            _ => state.wrapping_add(now << 1),
        };
        // Another core's clock may be behind by a little, before much has been summed up.
        (sum as i64 >> 1).max(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::MAX_BURST;

    #[test]
    fn each_burst_is_in_the_first_bucket_that_it_fits() {
        assert_eq!(BURST_SIZES.last(), Some(&(MAX_BURST as u64)));
        for frames in 1..=MAX_BURST {
            let load = Load::default();
            load.add_burst(frames);
            let fits = BURST_SIZES.map(|size| size >= frames as u64);
            let first = fits.iter().position(|fits| *fits).unwrap();
            let expected: [u64; 7] = std::array::from_fn(|i| u64::from(i == first));
            assert_eq!(load.bursts(), expected, "{frames}");
        }
    }

    #[test]
    fn time_is_either_busy_or_idle_while_the_worker_polls() {
        let load = Load::default();
        assert_eq!(load.times(50), (0, 0));
        load.begin_idling(100);
        assert_eq!(load.times(130), (0, 30));
        load.begin_work(150);
        assert_eq!(load.times(160), (10, 50));
        load.begin_work(170); // it was busy anyway
        load.begin_idling(180);
        assert_eq!(load.times(180), (30, 50));
        load.rest(200);
        assert_eq!(load.times(1_000_000), (30, 70));
        load.begin_work(u64::MAX >> 1);
        assert_eq!(load.times(u64::MAX >> 1), (30, 70));
    }

    #[test]
    fn a_clock_that_is_behind_reads_no_huge_time() {
        let load = Load::default();
        load.begin_work(1000);
        assert_eq!(load.times(990), (0, 0));
        load.rest(1100);
        assert_eq!(load.times(1000).0, 100);
    }
}
