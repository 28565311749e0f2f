// SPDX-License-Identifier: MIT
//! What was observed: frames' times, and when a thread had no CPU.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Ticks between two looks of a thread that had its CPU: far more than a poll of full bursts takes, 8 microseconds.
const LONG: u64 = 20_000;

/// When one frame was sent and taken back, in ticks.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// When a thread had no CPU, in ticks.
#[derive(Clone, Copy)]
pub(crate) struct Gap {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The gaps of one thread, which [looks](Gaps::look) at the clock all the time.
#[derive(Default)]
pub(crate) struct Gaps {
    last: AtomicU64,
    seen: Mutex<Vec<Gap>>,
}

impl Gaps {
    pub(crate) fn look(&self, now: u64) {
        let start = self.last.load(Relaxed);
        self.last.store(now, Relaxed);
        if start != 0 && now - start > LONG {
            self.seen.lock().unwrap().push(Gap { start, end: now });
        }
    }

    pub(crate) fn clear(&self) {
        self.seen.lock().unwrap().clear();
    }

    pub(crate) fn take(&self) -> Vec<Gap> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Prints one row.
pub(crate) fn report(load: f64, samples: Vec<Sample>, mut gaps: Vec<Gap>, hz: f64, seconds: f64) {
    gaps.sort_by_key(|gap| gap.start);
    // Ends in the order of starts, each at least the one before: then the last gap that starts early enough decides.
    let mut latest = 0;
    for gap in &mut gaps {
        latest = latest.max(gap.end);
        gap.end = latest;
    }
    let in_gap = |sample: &Sample| {
        let before = gaps.partition_point(|gap| gap.start <= sample.received);
        before > 0 && gaps[before - 1].end >= sample.sent
    };
    let (apart, samples): (Vec<_>, Vec<_>) = samples.into_iter().partition(in_gap);
    let sorted = |samples: Vec<Sample>| {
        let mut ticks: Vec<_> = samples.iter().map(|s| s.received - s.sent).collect();
        ticks.sort_unstable();
        ticks
    };
    let (apart, ticks) = (sorted(apart), sorted(samples));
    let micros = |ticks: &[u64], part: f64| {
        let at = ((ticks.len() as f64 * part) as usize).min(ticks.len().saturating_sub(1));
        ticks.get(at).map_or(0.0, |ticks| *ticks as f64 / hz * 1e6)
    };
    let all = (apart.len() + ticks.len()) as f64;
    println!(
        "{:>4.0}% {:7.2} {:8.2} {:8.2} {:8.2} {:8.2}  {:7.3}% {:9.1}",
        load * 100.0,
        all / seconds / 1e6,
        micros(&ticks, 0.5),
        micros(&ticks, 0.99),
        micros(&ticks, 0.999),
        micros(&ticks, 1.0),
        apart.len() as f64 / all * 100.0,
        micros(&apart, 1.0)
    );
}
