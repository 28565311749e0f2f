// SPDX-License-Identifier: MIT
//! [`Naps`]: when a worker that nothing arrives for sleeps, and how long.

use std::time::Duration;

/// Rounds in vain before the first nap, each with a pause instruction: some ten microseconds with few queues. Packets that follow
/// closely upon each other meet a worker that is awake.
const AWAKE: u32 = 512;

/// Microseconds of the first nap. Each further one is twice as long.
const FIRST: u32 = 1;

/// A worker's rest. Without a longest nap it polls without a pause.
#[derive(Default)]
pub(super) struct Naps {
    /// In microseconds; 0: none.
    longest: u32,
    /// Rounds in vain.
    in_vain: u32,
    /// In microseconds.
    next: u32,
}

impl Naps {
    /// Naps of so many microseconds at most; 0: none.
    pub(super) fn of_at_most(longest: u32) -> Self {
        Self {
            longest,
            ..Self::default()
        }
    }

    /// How long to sleep now, after a round in which so many frames arrived.
    #[inline]
    pub(super) fn after(&mut self, arrived: usize) -> Option<Duration> {
        match self.longest {
            0 => None,
            _ => self.after_a_round(arrived),
        }
    }

    fn after_a_round(&mut self, arrived: usize) -> Option<Duration> {
        if arrived != 0 {
            (self.in_vain, self.next) = (0, FIRST);
            return None;
        }
        if self.in_vain < AWAKE {
            self.in_vain += 1;
            std::hint::spin_loop();
            return None;
        }
        let nap = self.next.clamp(FIRST, self.longest);
        self.next = nap * 2;
        Some(Duration::from_micros(nap.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The naps of so many rounds in vain, in microseconds.
    fn rest(naps: &mut Naps, rounds: u32) -> Vec<u128> {
        let naps = (0..rounds).filter_map(|_| naps.after(0));
        naps.map(|nap| nap.as_micros()).collect()
    }

    #[test]
    fn without_a_longest_nap_there_is_none() {
        assert!(rest(&mut Naps::default(), 10 * AWAKE).is_empty());
    }

    #[test]
    fn naps_begin_after_a_while_and_grow_to_the_longest() {
        let mut naps = Naps::of_at_most(50);
        assert!(rest(&mut naps, AWAKE).is_empty());
        assert_eq!(rest(&mut naps, 8), [1, 2, 4, 8, 16, 32, 50, 50]);
        let mut short = Naps::of_at_most(1);
        assert_eq!(rest(&mut short, AWAKE + 3), [1, 1, 1]);
    }

    #[test]
    fn what_arrives_has_it_awake_for_as_long_as_at_first() {
        let mut naps = Naps::of_at_most(50);
        rest(&mut naps, AWAKE + 5);
        assert_eq!(naps.after(1), None);
        assert!(rest(&mut naps, AWAKE).is_empty());
        assert_eq!(rest(&mut naps, 2), [1, 2]);
    }
}
