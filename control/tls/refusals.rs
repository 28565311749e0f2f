// SPDX-License-Identifier: MIT
//! The log of callers that were not let in. Anyone who reaches the port can be one, as often as they like.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in each [`PERIOD`].
pub(super) const LINES: u64 = 10;

/// See [`LINES`].
const PERIOD: Duration = Duration::from_secs(60);

/// What was logged in the present period.
#[derive(Default)]
pub(super) struct Refusals {
    period: Mutex<Option<Period>>,
}

struct Period {
    begun: Instant,
    refused: u64,
}

impl Refusals {
    /// Logs that `peer` was refused, unless that was logged too often lately.
    pub(super) fn log(&self, peer: SocketAddr, why: &dyn Display) {
        let (log, left_out) = self.count(Instant::now());
        if left_out > 0 {
            tracing::warn!("TLS: {left_out} further callers were refused");
        }
        if log {
            tracing::warn!("TLS: {peer} is refused: {why}");
        }
    }

    /// Whether one more is to be logged, and how many were not in the period before.
    pub(super) fn count(&self, now: Instant) -> (bool, u64) {
        let mut period = self.period.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *period {
            Some(period) if now.duration_since(period.begun) < PERIOD => {
                period.refused += 1;
                (period.refused <= LINES, 0)
            }
            other => {
                let before = other.as_ref().map_or(0, |period| period.refused);
                *other = Some(Period {
                    begun: now,
                    refused: 1,
                });
                (true, before.saturating_sub(LINES))
            }
        }
    }
}
