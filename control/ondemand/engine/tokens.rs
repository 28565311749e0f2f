// SPDX-License-Identifier: MIT
//! [`Tokens`]: so many a second, and a tenth of that at once.

use std::time::Instant;

/// A bucket of tokens.
pub(super) struct Tokens {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Tokens {
    /// A full bucket that gets `rate` tokens a second.
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate.max(1));
        Self {
            rate,
            left: Self::most(rate),
            at: now,
        }
    }

    fn most(rate: f64) -> f64 {
        (rate / 10.0).max(1.0)
    }

    /// True if there are so many.
    pub(super) fn have(&mut self, now: Instant, count: usize) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + passed * self.rate).min(Self::most(self.rate));
        self.left >= count as f64
    }

    /// Takes one if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let have = self.have(now, 1);
        if have {
            self.left -= 1.0;
        }
        have
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_second_gives_more_than_the_rate_and_no_moment_more_than_a_tenth_of_it() {
        let begun = Instant::now();
        let mut tokens = Tokens::new(50, begun);
        let mut take_all = |ms| {
            let now = begun + Duration::from_millis(ms);
            std::iter::repeat_with(|| tokens.take(now))
                .take_while(|taken| *taken)
                .count()
        };
        assert_eq!((take_all(0), take_all(19), take_all(20)), (5, 0, 1));
        assert_eq!((take_all(60), take_all(5000)), (2, 5));
        let one_by_one: usize = (5001..=6000).map(take_all).sum();
        assert_eq!(one_by_one, 50);
        assert!(Tokens::new(1, begun).take(begun), "one a second is one");
    }
}
