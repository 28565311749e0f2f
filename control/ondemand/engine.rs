// SPDX-License-Identifier: MIT
//! What becomes of frames that lack a neighbor: whom the controller is asked for, and when; which frames wait, and for how
//! long. A state machine without thread, clock or network.
//!
//! ```text
//!             miss                   call                     reply: routable
//!   (nothing) ───► queued ──────────────► asked ──────────────────────► answered ──► (too late) ─┐
//!                    ▲   rate, call slots   │ reply: not routable                                ▼
//!                    └───── call failed ────┴───────────────────────────────────────────────► unknown
//!
//!   in any of them: the tables have it ──► frames go back to their workers, (nothing)
//! ```

mod figures;
mod parts;
mod tokens;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use vswitch::counters::DropReason;
use vswitch::io::Frame;
use vswitch::stage::punt::{Destination, Miss, Sought};
use vswitch::tables::PortId;

use super::question::Question;
use crate::core::SETTLE;
pub(crate) use figures::Figures;
use parts::Shares;
pub(crate) use parts::{Call, Failed, Held, Limits, Todo};
use tokens::Tokens;

/// Most frames that wait for one destination: what a host sends in a round trip or two. The first ones are kept.
pub(crate) const MAX_PER_DESTINATION: usize = 16;

/// Most destinations that are asked for at a time, some 200 bytes each.
pub(crate) const MAX_DESTINATIONS: usize = 16_384;

/// Most destinations that are remembered as unknown, some 40 bytes each; the others are asked for again.
pub(crate) const MAX_UNKNOWN: usize = 65_536;

/// Most questions in one call: some 30 KB.
pub(crate) const MAX_BATCH: usize = 256;

/// Most calls under way. NCM answers a call once it has pushed all that the call asks for, so that a slow one holds up the
/// questions that come with it and no others.
pub(crate) const MAX_CALLS: usize = 16;

/// Pause after a call that failed; doubled with each further one up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Time between two looks at everything that waits, and at everything that is unknown.
const SWEEP: Duration = Duration::from_millis(10);
const LONG_SWEEP: Duration = Duration::from_millis(500);

/// What is known of a destination that is not in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// To be asked for.
    Queued,
    /// A call is under way.
    Asked,
    /// The goal state should be there by then.
    Answered(Instant),
    /// The same; it need not be asked for.
    Woken(Instant),
}

struct Waiting<F> {
    state: State,
    question: Question,
    /// The port that asked first, and when.
    from: PortId,
    since: Instant,
    held: VecDeque<Held<F>>,
}

/// Everything that waits. See the module.
pub(crate) struct Engine<F> {
    limits: Limits,
    waiting: HashMap<Destination, Waiting<F>>,
    /// To be asked for, oldest first; those that are not [`State::Queued`] any more are skipped.
    queue: VecDeque<Destination>,
    /// Until when destinations that the controller does not know are not asked for.
    unknown: HashMap<Destination, Instant>,
    /// Entries that were taken out of the workers' tables since nobody used them, and can be put back.
    idle: HashSet<Sought>,
    /// What the calls under way ask for, by their first number.
    calls: HashMap<u64, Vec<Destination>>,
    next_id: u64,
    tokens: Tokens,
    /// No call before then, and the pause after the next failure.
    not_before: Instant,
    back_off: Duration,
    /// The controller was told that this switch has started; `None`: it is being told.
    announced: Option<bool>,
    swept: Instant,
    forgot: Instant,
    /// Of frames that wait here or on their way back.
    shares: Shares,
    todo: Todo<F>,
    figures: Figures,
}

impl<F: Frame> Engine<F> {
    /// Nothing waits yet.
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            waiting: HashMap::new(),
            queue: VecDeque::new(),
            unknown: HashMap::new(),
            idle: HashSet::new(),
            calls: HashMap::new(),
            next_id: 0,
            tokens: Tokens::new(limits.rate, now),
            not_before: now,
            back_off: BACK_OFF.0,
            announced: Some(false),
            swept: now,
            forgot: now,
            shares: Shares::new(limits.frames),
            todo: Todo::default(),
            figures: Figures::default(),
        }
    }

    /// A frame that lacked a neighbor at worker `worker`. `found` says whether the tables have it by now.
    pub(crate) fn miss(&mut self, now: Instant, worker: usize, miss: Miss<F>, found: bool) {
        let (from, destination) = (miss.from, miss.destination);
        self.figures.misses += 1;
        let question = Question::of(miss.frame.head(), &destination);
        let held = Held {
            miss,
            worker,
            until: now + self.limits.hold,
        };
        self.shares.hold(from, held.buffers());
        if found {
            self.unknown.remove(&destination);
            self.answer(now, &destination); // what waits goes first
            return self.todo.releases.push(held);
        }
        if let Some(until) = self.unknown.get(&destination) {
            if now < *until {
                return self.drop(held, DropReason::OnDemandUnknown);
            }
            self.unknown.remove(&destination);
        }
        if self.waiting.contains_key(&destination) {
            self.figures.dedups += 1;
        } else if self.waiting.len() >= MAX_DESTINATIONS || !self.shares.begin(from) {
            return self.drop(held, DropReason::OnDemandFull);
        } else {
            self.begin(now, from, destination, question);
        }
        let full = self.shares.are_exceeded(from);
        match self.waiting.get_mut(&destination) {
            Some(waiting) if !full && waiting.held.len() < MAX_PER_DESTINATION => {
                waiting.held.push_back(held)
            }
            _ => self.drop(held, DropReason::OnDemandFull),
        }
    }

    fn begin(&mut self, now: Instant, from: PortId, destination: Destination, question: Question) {
        let state = if self.idle.remove(&destination.sought) {
            self.todo.wakes.push(destination.sought);
            State::Woken(now + SETTLE)
        } else {
            if !self.tokens.have(now, self.queue.len() + 1) {
                self.figures.rate_limited += 1;
            }
            self.queue.push_back(destination);
            State::Queued
        };
        let waiting = Waiting {
            state,
            question,
            from,
            since: now,
            held: VecDeque::new(),
        };
        self.waiting.insert(destination, waiting);
    }

    /// The next call to make, if there is one and it may be made now.
    pub(crate) fn next_call(&mut self, now: Instant) -> Option<Call> {
        if now < self.not_before || self.calls.len() >= MAX_CALLS {
            return None;
        }
        let first = self.next_id;
        let (mut destinations, mut questions) = (Vec::new(), Vec::new());
        if self.announced == Some(false) {
            self.announced = None;
            self.next_id += 1;
        } else {
            while questions.len() < MAX_BATCH
                && let Some(destination) = self.queue.front()
            {
                let waiting = self.waiting.get_mut(destination);
                if let Some(waiting) = waiting.filter(|waiting| waiting.state == State::Queued) {
                    if !self.tokens.take(now) {
                        break;
                    }
                    waiting.state = State::Asked;
                    questions.push(waiting.question);
                    destinations.push(*destination);
                }
                self.queue.pop_front();
            }
            if questions.is_empty() {
                return None;
            }
            self.next_id += questions.len() as u64;
            self.figures.requests += questions.len() as u64;
        }
        self.figures.calls += 1;
        self.calls.insert(first, destinations);
        Some(Call { first, questions })
    }

    /// What a call that is under way asks for.
    pub(crate) fn asked(&self, first: u64) -> &[Destination] {
        self.calls.get(&first).map_or(&[], Vec::as_slice)
    }

    /// What the call whose questions begin with number `first` came to: of each number, whether it is routable. A question
    /// that is left out counts as routable: the tables will tell. `found`: the tables have it.
    pub(crate) fn replied(
        &mut self,
        now: Instant,
        first: u64,
        outcome: Result<Vec<(u64, bool)>, Failed>,
        found: impl Fn(&Destination) -> bool,
    ) {
        let Some(destinations) = self.calls.remove(&first) else {
            return;
        };
        if destinations.is_empty() {
            self.announced = Some(outcome != Err(Failed::Unavailable));
        }
        let refused: HashSet<u64> = match outcome {
            Ok(statuses) => {
                self.back_off = BACK_OFF.0;
                let refused = statuses.into_iter().filter(|(_, routable)| !routable);
                refused.map(|(id, _)| id).collect()
            }
            Err(_) => return self.ask_again(now, destinations),
        };
        for (id, destination) in (first..).zip(destinations) {
            let routable = !refused.contains(&id);
            self.todo.closed.push((destination, routable));
            if found(&destination) {
                self.answer(now, &destination);
            } else if let Some(waiting) = self.asked_for(&destination) {
                waiting.state = State::Answered(now + SETTLE);
                if !routable {
                    self.give_up(now, &destination);
                }
            }
        }
    }

    /// A call failed: what it asked for is to be asked for again, later.
    fn ask_again(&mut self, now: Instant, destinations: Vec<Destination>) {
        self.figures.failed_calls += 1;
        // Calls share a connection, and fail together when it does: that is one failure.
        if now >= self.not_before {
            self.not_before = now + self.back_off;
            self.back_off = (self.back_off * 2).min(BACK_OFF.1);
        }
        for destination in destinations {
            self.todo.closed.push((destination, false));
            if let Some(waiting) = self.asked_for(&destination) {
                waiting.state = State::Queued;
                self.queue.push_back(destination);
            }
        }
    }

    /// What waits for a destination that is asked for. It may have come and gone since the call was made.
    fn asked_for(&mut self, destination: &Destination) -> Option<&mut Waiting<F>> {
        let waiting = self.waiting.get_mut(destination);
        waiting.filter(|waiting| waiting.state == State::Asked)
    }

    /// The tables may have more than before: what they have goes on.
    pub(crate) fn recheck(&mut self, now: Instant, found: impl Fn(&Destination) -> bool) {
        let there = self.waiting.keys().filter(|destination| found(destination));
        for destination in there.copied().collect::<Vec<_>>() {
            self.answer(now, &destination);
        }
    }

    /// Gives up what has waited for too long. To be called often; mostly it does nothing.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if now < self.swept + SWEEP {
            return;
        }
        self.swept = now;
        if now >= self.forgot + LONG_SWEEP {
            self.forgot = now;
            self.unknown.retain(|_, until| now < *until);
        }
        let (mut late, mut over, mut dropped) = (Vec::new(), false, Vec::new());
        let hold = self.limits.hold;
        self.waiting.retain(|destination, waiting| {
            while waiting.held.front().is_some_and(|held| held.until <= now) {
                dropped.extend(waiting.held.pop_front());
            }
            match waiting.state {
                State::Answered(until) if until <= now => late.push(*destination),
                // It is not there after all.
                State::Woken(until) if until <= now => {
                    waiting.state = State::Queued;
                    self.queue.push_back(*destination);
                }
                _ => {}
            }
            let unasked = waiting.state == State::Queued && waiting.held.is_empty();
            let gone = unasked && waiting.since + hold <= now;
            if gone {
                over = true;
                self.shares.end(waiting.from);
            }
            !gone
        });
        for held in dropped {
            self.drop(held, DropReason::OnDemandExpired);
        }
        for destination in late {
            self.give_up(now, &destination);
        }
        if over {
            let waiting = &self.waiting;
            self.queue
                .retain(|destination| waiting.contains_key(destination));
        }
    }

    /// The tables have it.
    fn answer(&mut self, now: Instant, destination: &Destination) {
        let Some(waiting) = self.waiting.remove(destination) else {
            return;
        };
        self.shares.end(waiting.from);
        self.figures.answered(now - waiting.since);
        self.todo.releases.extend(waiting.held);
    }

    /// The controller does not know it.
    fn give_up(&mut self, now: Instant, destination: &Destination) {
        let Some(waiting) = self.waiting.remove(destination) else {
            return;
        };
        self.shares.end(waiting.from);
        self.figures.unknown += 1;
        for held in waiting.held {
            self.drop(held, DropReason::OnDemandUnknown);
        }
        if self.unknown.len() < MAX_UNKNOWN {
            let until = now + self.limits.negative;
            self.unknown.insert(*destination, until);
        }
    }

    fn drop(&mut self, held: Held<F>, reason: DropReason) {
        match reason {
            DropReason::OnDemandFull => self.figures.full += 1,
            DropReason::OnDemandExpired => self.figures.expired += 1,
            _ => {}
        }
        self.shares.let_go(held.miss.from, held.buffers());
        self.todo.drops.push((held, reason));
    }

    /// What is to be done since the last time.
    pub(crate) fn todo(&mut self) -> Todo<F> {
        std::mem::take(&mut self.todo)
    }

    /// A released frame, of so many buffers, is its worker's again.
    pub(crate) fn let_go(&mut self, from: PortId, buffers: usize) {
        self.shares.let_go(from, buffers);
    }

    /// A released frame that its worker did not take in time is to be dropped.
    pub(crate) fn expire(&mut self, held: Held<F>) {
        self.drop(held, DropReason::OnDemandExpired);
    }

    /// Entries that were taken out of the workers' tables and can be put back, and those that cannot any more.
    pub(crate) fn set_idle(&mut self, idle: &[Sought], gone: &[Sought]) {
        self.idle.extend(idle);
        gone.iter().for_each(|sought| _ = self.idle.remove(sought));
    }

    /// Frees what waits.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.todo = Todo::default();
        self.shares = Shares::new(self.limits.frames);
    }

    /// True if something waits.
    pub(crate) fn is_busy(&self) -> bool {
        self.shares.held() != 0 || !self.waiting.is_empty()
    }

    /// What happened so far, and what is the case now.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            held: self.shares.held(),
            waiting: self.waiting.len(),
            in_flight: self.calls.len(),
            negative: self.unknown.len(),
            idle: self.idle.len(),
            ..self.figures.clone()
        }
    }
}
