// SPDX-License-Identifier: MIT
//! What the controller said of each destination, and when: which fates of a packet that explains.

use std::time::Instant;

/// Where a machine is: a port of this switch, or the host 192.0.2.n.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Place {
    Port(u8),
    Host(u8),
}

/// A destination that packets reach: a machine's MAC, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct At {
    pub(super) mac: [u8; 6],
    pub(super) place: Place,
}

/// What was said of a destination last. `None`: nothing, and packets to it are dropped.
pub(super) type State = Option<At>;

/// Nanoseconds since the test began.
pub(super) type Moment = u64;

/// The test's clock.
#[derive(Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Moment {
        self.0.elapsed().as_nanos() as Moment
    }
}

/// A state and how it came about. It may hold from `sent` on, it must hold from `replied` on, and it may do so until
/// the next one's `replied`.
#[derive(Clone, Copy, Debug)]
struct Period {
    state: State,
    sent: Moment,
    replied: Moment,
}

/// All that was said of one destination, in order.
#[derive(Clone, Debug)]
pub(super) struct History(Vec<Period>);

impl History {
    /// It was so before the first packet.
    pub(super) fn new(state: State) -> Self {
        let (sent, replied) = (0, 0);
        Self(vec![Period {
            state,
            sent,
            replied,
        }])
    }

    /// What was said last.
    pub(super) fn last(&self) -> State {
        self.0[self.0.len() - 1].state
    }

    /// Notes what was said in the message sent after `sent`, whose answer had come by `replied`.
    pub(super) fn push(&mut self, state: State, sent: Moment, replied: Moment) {
        assert!(sent <= replied && self.0[self.0.len() - 1].replied <= sent);
        self.0.push(Period {
            state,
            sent,
            replied,
        });
    }

    /// The states that may have been in force at some moment between these two.
    pub(super) fn between(&self, from: Moment, to: Moment) -> impl Iterator<Item = State> {
        let begun = self.0.partition_point(|period| period.sent <= to);
        let ended = self.0.partition_point(|period| period.replied < from);
        self.0[ended.saturating_sub(1)..begun]
            .iter()
            .map(|period| period.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u8) -> State {
        let place = Place::Host(host);
        Some(At { mac: [2; 6], place })
    }

    #[test]
    fn a_state_holds_from_its_request_on_until_the_next_ones_reply() {
        let mut history = History::new(at(1));
        history.push(at(2), 100, 200);
        history.push(None, 300, 400);
        for (from, to, want) in [
            (0, 99, vec![at(1)]),
            (0, 100, vec![at(1), at(2)]),
            (200, 250, vec![at(1), at(2)]),
            (201, 299, vec![at(2)]),
            (150, 300, vec![at(1), at(2), None]),
            (201, 900, vec![at(2), None]),
            (401, 900, vec![None]),
        ] {
            let states: Vec<_> = history.between(from, to).collect();
            assert_eq!(states, want, "{from} to {to}");
        }
    }
}
