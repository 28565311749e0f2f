// SPDX-License-Identifier: MIT
//! [`Figures`]: what operators see.

use std::time::Duration;

use serde_json::{Value, json};

/// Answers whose times are kept.
const TIMES: usize = 4096;

/// Counters since start, and gauges of this moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Frames that lacked a neighbor.
    pub(crate) misses: u64,
    /// Of these, frames whose destination was waited for already.
    pub(crate) dedups: u64,
    /// Questions asked.
    pub(crate) requests: u64,
    /// Calls they were asked in.
    pub(crate) calls: u64,
    /// Of these, calls that failed.
    pub(crate) failed_calls: u64,
    /// Destinations that came into the tables while they were waited for.
    pub(crate) answers: u64,
    /// Destinations that the controller does not know.
    pub(crate) unknown: u64,
    /// Destinations that had to wait to be asked for, as `rate` says.
    pub(crate) rate_limited: u64,
    /// Frames dropped since they waited for too long.
    pub(crate) expired: u64,
    /// Frames dropped since too many wait.
    pub(crate) full: u64,
    /// Frames that wait now.
    pub(crate) held: usize,
    /// Destinations that are waited for now.
    pub(crate) waiting: usize,
    /// Calls under way now.
    pub(crate) in_flight: usize,
    /// Destinations that are not asked for since the controller does not know them.
    pub(crate) negative: usize,
    /// Entries that nobody used for long, and that are kept apart from the workers' tables.
    pub(crate) idle: usize,
    /// Times of the latest answers, from the first frame until its release, in microseconds; a ring.
    pub(super) times: Vec<u32>,
}

impl Figures {
    /// An answer after so long.
    pub(super) fn answered(&mut self, after: Duration) {
        let micros = u32::try_from(after.as_micros()).unwrap_or(u32::MAX);
        let at = usize::try_from(self.answers).unwrap_or(0) % TIMES;
        match self.times.get_mut(at) {
            Some(time) => *time = micros,
            None => self.times.push(micros),
        }
        self.answers += 1;
    }

    /// The time, in microseconds, that so many percent of the latest answers took at most.
    pub(crate) fn percentile(&self, percent: usize) -> Option<u32> {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        sorted
            .get((sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?))
            .copied()
    }

    /// `show on-demand`.
    pub(crate) fn row(&self) -> Value {
        json!({
            "misses": self.misses,
            "dedups": self.dedups,
            "requests": self.requests,
            "calls": self.calls,
            "failed_calls": self.failed_calls,
            "answers": self.answers,
            "unknown": self.unknown,
            "rate_limited": self.rate_limited,
            "expired": self.expired,
            "full": self.full,
            "held": self.held,
            "waiting": self.waiting,
            "in_flight": self.in_flight,
            "negative": self.negative,
            "idle": self.idle,
            "p50_us": self.percentile(50),
            "p99_us": self.percentile(99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_latest_answers() {
        let mut figures = Figures::default();
        assert_eq!(figures.percentile(50), None);
        (0..5000).for_each(|_| figures.answered(Duration::from_secs(1)));
        (0..TIMES as u64).for_each(|n| figures.answered(Duration::from_micros(n)));
        assert_eq!(figures.percentile(50), Some(2048));
        assert_eq!(figures.percentile(99), Some(4055));
        assert_eq!(figures.percentile(100), Some(4095));
    }
}
