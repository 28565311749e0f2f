// SPDX-License-Identifier: MIT
//! [`Progress`]: which workers move. One that forwards ends a round every few microseconds, also when nothing arrives.

use std::time::{Duration, Instant};

/// What was seen of each worker.
#[derive(Debug, Default)]
pub(super) struct Progress(Vec<Pace>);

#[derive(Debug)]
struct Pace {
    /// Rounds.
    polls: u64,
    /// They were so many at the latest then.
    since: Instant,
}

impl Progress {
    /// Looks at each worker's rounds since start. Returns the workers, by number, that have ended none since the look before, and
    /// for how long. None while they are not to forward.
    pub(super) fn look(
        &mut self,
        now: Instant,
        polls: Vec<u64>,
        forwarding: bool,
    ) -> Vec<(usize, Duration)> {
        let mut standing = Vec::new();
        for (worker, polls) in polls.into_iter().enumerate() {
            match self.0.get_mut(worker) {
                Some(pace) if forwarding && pace.polls == polls => {
                    standing.push((worker, now - pace.since));
                }
                Some(pace) => *pace = Pace { polls, since: now },
                None => self.0.push(Pace { polls, since: now }),
            }
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_no_round_stands_still_unless_it_is_not_to_forward() {
        let (mut progress, begun) = (Progress::default(), Instant::now());
        let mut look = |second, polls: [u64; 2], forwarding| {
            let now = begun + Duration::from_secs(second);
            let standing = progress.look(now, polls.to_vec(), forwarding);
            let seconds = standing.iter().map(|(worker, it)| (*worker, it.as_secs()));
            seconds.collect::<Vec<_>>()
        };
        assert_eq!(look(0, [5, 5], true), []);
        assert_eq!(look(1, [6, 5], true), [(1, 1)]);
        assert_eq!(look(3, [6, 5], true), [(0, 2), (1, 3)]);
        assert_eq!(look(4, [7, 6], true), []);
        assert_eq!(look(9, [7, 6], false), []);
        assert_eq!(look(10, [7, 6], true), [(0, 1), (1, 1)]);
    }
}
