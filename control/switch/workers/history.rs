// SPDX-License-Identifier: MIT
//! [`History`]: what rx queues took of their workers' time lately.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use vswitch::tables::PortId;

use super::Queue;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(10);

/// How many looks are kept: those of a minute.
const KEPT: usize = 6;

/// An rx queue by name: its port and its number.
pub(super) type Name = (PortId, u16);

/// What is counted of a queue at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    /// Of the workers' clock.
    at: u64,
    packets: u64,
    ticks: u64,
}

/// What a queue took since a moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Taken {
    /// Of the workers' clock.
    pub(crate) ticks: u64,
    /// Packets.
    pub(crate) packets: u64,
    /// Share of a worker's time.
    pub(crate) share: f64,
}

/// The last looks.
pub(super) struct History {
    /// Ticks of the workers' clock in a second: what a queue took in less time is chance, since few rounds are timed.
    second: u64,
    looks: VecDeque<HashMap<Name, Count>>,
    last: Option<Instant>,
}

impl Count {
    fn of(queue: &Queue, at: u64) -> Self {
        let (packets, ticks) = (queue.load.packets(), queue.load.ticks());
        Self { at, packets, ticks }
    }
}

impl History {
    /// Empty. `second`: so many ticks of the workers' clock.
    pub(super) const fn new(second: u64) -> Self {
        Self {
            second,
            looks: VecDeque::new(),
            last: None,
        }
    }

    /// Looks at all queues if it is time; true: it was. `at`: by the workers' clock.
    pub(super) fn look<'a>(
        &mut self,
        now: Instant,
        at: u64,
        queues: impl Iterator<Item = &'a Queue>,
    ) -> bool {
        if self.last.is_some_and(|last| now - last < EVERY) {
            return false;
        }
        self.last = Some(now);
        let counts = queues.map(|queue| (queue.name(), Count::of(queue, at)));
        self.looks.push_back(counts.collect());
        if self.looks.len() > KEPT {
            self.looks.pop_front();
        }
        true
    }

    /// Begins anew, with a look: what was is no sign of what will be.
    pub(super) fn restart<'a>(
        &mut self,
        now: Instant,
        at: u64,
        queues: impl Iterator<Item = &'a Queue>,
    ) {
        self.looks.clear();
        self.last = None;
        self.look(now, at, queues);
    }

    /// Whether it goes back as far as it ever does.
    pub(super) fn is_full(&self) -> bool {
        self.looks.len() == KEPT
    }

    /// What a queue took since the first look, or since it is polled if that is later; `None`: that was less than a second ago.
    pub(super) fn taken(&self, queue: &Queue, at: u64) -> Option<Taken> {
        let born = Count {
            at: queue.since,
            ..Count::default()
        };
        let seen = self.looks.front().and_then(|look| look.get(&queue.name()));
        // A port that was stopped and started has new queues by the old names.
        let then = *seen.filter(|seen| seen.at > born.at).unwrap_or(&born);
        let now = Count::of(queue, at);
        let ticks = now.at.saturating_sub(then.at);
        (ticks >= self.second).then(|| Taken {
            ticks,
            packets: now.packets.saturating_sub(then.packets),
            share: now.ticks.saturating_sub(then.ticks) as f64 / ticks as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn queue(since: u64) -> Queue {
        Queue {
            port: PortId::new(3).unwrap(),
            number: 1,
            socket: None,
            pinned: false,
            since,
            load: Arc::default(),
        }
    }

    /// Ticks of a second.
    const HZ: u64 = 100;

    #[test]
    fn the_share_is_of_the_last_minute_or_of_a_younger_queues_life() {
        let (mut history, begun) = (History::new(HZ), Instant::now());
        let old = queue(1000);
        old.load.add_packets(100);
        old.load.add_timed(10); // stands for 640
        let taken = history.taken(&old, 2000).unwrap();
        assert_eq!((taken.packets, taken.share), (100, 0.64));
        assert!(history.look(begun, 2000, [&old].into_iter()));
        assert!(!history.look(begun + EVERY / 2, 2500, [&old].into_iter()));
        assert_eq!(history.taken(&old, 3000).unwrap().packets, 0);
        let young = queue(2900);
        young.load.add_packets(7);
        assert_eq!(
            history.taken(&young, 3000),
            Some(Taken {
                ticks: 100,
                packets: 7,
                share: 0.0
            }),
            "the look was at one before it, by the same name"
        );
        for n in 1..=KEPT as u32 {
            old.load.add_packets(1);
            assert_eq!(history.is_full(), n == KEPT as u32);
            assert!(history.look(
                begun + n * EVERY,
                2000 + 10 * u64::from(n),
                [&old].into_iter()
            ));
        }
        let taken = history.taken(&old, 2110).unwrap();
        assert_eq!(
            (taken.ticks, taken.packets),
            (100, 5),
            "the first look is gone"
        );
    }

    #[test]
    fn what_a_queue_took_where_it_was_does_not_count_where_it_is() {
        let (mut history, begun) = (History::new(HZ), Instant::now());
        let moved = queue(1000);
        moved.load.add_packets(1000);
        moved.load.add_timed(10);
        assert!(history.look(begun, 2000, [&moved].into_iter()));
        history.restart(begun + EVERY / 2, 2500, [&moved].into_iter());
        moved.load.add_packets(3);
        moved.load.add_timed(1); // stands for 64
        assert_eq!(history.taken(&moved, 2599), None, "not known yet");
        let taken = history.taken(&moved, 2600).unwrap();
        assert_eq!((taken.ticks, taken.packets, taken.share), (100, 3, 0.64));
        assert!(!history.look(begun + EVERY, 3000, [&moved].into_iter()));
        assert!(history.look(begun + EVERY * 3 / 2, 3500, [&moved].into_iter()));
        assert_eq!(history.taken(&moved, 3500).unwrap().ticks, 1000);
    }
}
