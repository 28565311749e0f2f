// SPDX-License-Identifier: MIT
//! How busy a worker is: rounds, bursts by size, and the time that it has something to do.
//!
//! A round costs one addition, a burst two; the clock is read when the worker turns from idle to busy or back, so that one
//! with much to do, or nothing, reads it in one of [`ROUNDS_PER_TIMED`] rounds only.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::add;

/// The most frames that a burst of each bucket has. The last is [`MAX_BURST`](crate::io::MAX_BURST).
pub const BURST_SIZES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Of so many rounds over its queues, a worker times one, queue by queue. To time each would cost what arrives alone some 50 cycles.
pub const ROUNDS_PER_TIMED: u64 = 64;

/// One rx queue's load. Only the worker that polls the queue writes; anyone may read, at any time. It goes with the queue from one
/// worker to the next. Alone in the two cache lines that CPUs fetch together, since its neighbor in memory may be another worker's.
#[derive(Default)]
#[repr(align(128))]
pub struct QueueLoad {
    packets: AtomicU64,
    timed: AtomicU64,
}

impl QueueLoad {
    /// So many packets arrived.
    #[inline]
    pub fn add_packets(&self, packets: usize) {
        add(&self.packets, packets as u64);
    }

    /// A burst took so many ticks of the worker's clock, from asking the device until all was sent. Told of timed rounds.
    #[inline]
    pub fn add_timed(&self, ticks: u64) {
        add(&self.timed, ticks);
    }

    /// Packets since the queue is polled.
    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    /// About how many ticks of its workers' clock it took since then: those of timed rounds stand for all.
    pub fn ticks(&self) -> u64 {
        self.timed.load(Relaxed).saturating_mul(ROUNDS_PER_TIMED)
    }
}

/// One worker's load. Only that worker writes; anyone may read, at any time.
#[derive(Default)]
pub struct Load {
    polls: AtomicU64,
    idle_polls: AtomicU64,
    /// By [`BURST_SIZES`], and one that stays empty.
    bursts: [AtomicU64; 8],
    busy: Stopwatch,
    idle: Stopwatch,
    /// Ticks, of the idle time.
    asleep: AtomicU64,
}

impl Load {
    /// Whether the next round is to be timed.
    #[inline]
    pub fn is_timed(&self) -> bool {
        self.polls.load(Relaxed).is_multiple_of(ROUNDS_PER_TIMED)
    }

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

    /// The worker slept for so many ticks of its clock, since nothing arrived.
    #[cold]
    pub fn add_sleep(&self, ticks: u64) {
        add(&self.asleep, ticks);
    }

    /// Rounds over the worker's queues since start: those that found nothing, and all.
    pub fn polls(&self) -> (u64, u64) {
        (self.idle_polls.load(Relaxed), self.polls.load(Relaxed))
    }

    /// Bursts by size: those of at most [`BURST_SIZES`] frames, and of more than the size before.
    pub fn bursts(&self) -> [u64; BURST_SIZES.len()] {
        std::array::from_fn(|i| self.bursts[i].load(Relaxed))
    }

    /// Time asleep, in ticks of the worker's clock: part of the time without something to do.
    pub fn asleep(&self) -> u64 {
        self.asleep.load(Relaxed)
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
    fn one_round_of_many_is_timed_and_stands_for_all() {
        let (load, queue) = (Load::default(), QueueLoad::default());
        let mut timed = 0;
        for round in 0..10 * ROUNDS_PER_TIMED {
            queue.add_packets(2);
            if load.is_timed() {
                timed += 1;
                queue.add_timed(100 + round % 2);
            }
            load.add_poll(false);
        }
        assert_eq!(timed, 10);
        assert_eq!(queue.packets(), 20 * ROUNDS_PER_TIMED);
        assert_eq!(queue.ticks(), 1000 * ROUNDS_PER_TIMED);
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
