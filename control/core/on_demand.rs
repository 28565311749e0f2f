// SPDX-License-Identifier: MIT
//! Neighbors that came in answer to a question of this switch's own, and what becomes of them when nobody uses them.
//!
//! Workers do not say which entries they use: that would be a store per packet. So after the idle time an entry is taken out
//! of the workers' tables, and kept. If a packet goes there it misses, waits for the entry to be put back, which takes no
//! question, and goes on: an entry in use costs one late packet per idle time. If none does for as long again, the neighbor
//! is forgotten. One that the controller sends of its own accord is like any other and never ages.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use vswitch::stage::punt::{Destination, Sought};
use vswitch::tables::{DomainId, VpcId};

use crate::program::Program;
use crate::proto::schema::goal_state_v2::NeighborStatesEntry;
use crate::proto::schema::{GoalStateV2, NeighborState, OperationType};
use crate::state::neighbor::NeighborIx;
use crate::state::{Subject, Wanted};

/// How long after a question its answer is known as such, if the call does not end before: longer than one may take.
const ANSWER: Duration = Duration::from_secs(90);

/// How long the goal state may come after the answer that announces it. Alcor's controller pushes first and answers then;
/// its own agent waits as long.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// Most questions that are remembered, some 40 bytes each. The answers to others are kept for good.
const MAX_ASKED: usize = 65_536;

/// What a question was about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Asked {
    InVpc(VpcId, IpAddr),
    InDomain(DomainId, IpAddr),
}

impl Asked {
    fn of(Destination { ip, sought, .. }: &Destination) -> Self {
        match sought {
            Sought::Ip(vpc, _) => Self::InVpc(*vpc, *ip),
            Sought::Mac(domain, _) => Self::InDomain(*domain, *ip),
        }
    }
}

/// Questions about one thing: guests of several subnets may have asked for it.
#[derive(Clone, Copy, Debug)]
struct Questions {
    /// Calls that have not returned.
    calls: u32,
    /// Goal states that may still come in answer, whether before their call returns or after.
    answers: u32,
    /// When none counts any more.
    until: Instant,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// In the workers' tables, since.
    Used(Instant),
    /// Apart from them, since; what finds it.
    Idle(Instant, [Sought; 2]),
}

/// What changed when entries aged.
#[derive(Debug, Default)]
pub(crate) struct Aged {
    /// They can be put back, see [`OnDemand::wake`].
    pub(crate) idle: Vec<Sought>,
    /// They cannot any more.
    pub(crate) gone: Vec<Sought>,
}

impl Aged {
    /// True if nothing did.
    pub(super) fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.gone.is_empty()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct OnDemand {
    asked: HashMap<Asked, Questions>,
    entries: HashMap<NeighborIx, Stage>,
    idle: HashMap<Sought, NeighborIx>,
    /// Neighbors of the goal state that is being applied.
    told: Vec<NeighborIx>,
    gone: Vec<Sought>,
}

impl OnDemand {
    /// The controller is about to be asked for these.
    pub(super) fn asking(&mut self, destinations: &[Destination], now: Instant) {
        if self.asked.len() + destinations.len() > MAX_ASKED {
            self.asked.retain(|_, asked| now < asked.until);
        }
        let room = MAX_ASKED.saturating_sub(self.asked.len());
        for destination in destinations.iter().take(room) {
            let before = self.asked.get(&Asked::of(destination));
            let before = before.filter(|it| now < it.until);
            let questions = Questions {
                calls: before.map_or(0, |it| it.calls).saturating_add(1),
                answers: before.map_or(0, |it| it.answers).saturating_add(1),
                until: now + ANSWER,
            };
            self.asked.insert(Asked::of(destination), questions);
        }
    }

    /// Questions were answered: with the promise of a goal state, which should be here soon if it is not yet; or without,
    /// and what then comes is no answer.
    pub(super) fn closed(&mut self, closed: &[(Destination, bool)], now: Instant) {
        for (destination, promised) in closed {
            self.change(&Asked::of(destination), |questions| {
                questions.calls = questions.calls.saturating_sub(1);
                if !promised {
                    questions.answers = questions.answers.saturating_sub(1);
                }
                if questions.calls == 0 {
                    questions.until = questions.until.min(now + SETTLE);
                }
            });
        }
    }

    /// Changes what is known of questions, and forgets them when they are over.
    fn change(&mut self, asked: &Asked, change: impl FnOnce(&mut Questions)) {
        if let Some(questions) = self.asked.get_mut(asked) {
            change(questions);
            if (questions.calls, questions.answers) == (0, 0) {
                self.asked.remove(asked);
            }
        }
    }

    /// The controller described this.
    pub(super) fn told(&mut self, subject: &Subject) {
        if let Subject::Neighbor(neighbors) = subject
            && !(self.asked.is_empty() && self.entries.is_empty())
        {
            self.told.extend(neighbors);
        }
    }

    /// Tells answers from what the controller sent of its own accord, once a goal state is programmed. What has not
    /// changed since `before` on the state's clock was there already, of its own accord or in answer to another question.
    pub(super) fn tell_apart(
        &mut self,
        wanted: &Wanted,
        program: &mut Program,
        before: u64,
        now: Instant,
    ) {
        // Each once: one address may come as an L2 and as an L3 neighbor.
        let mut answered = HashSet::new();
        for ix in std::mem::take(&mut self.told) {
            let Some(slot) = wanted.neighbor(ix) else {
                continue;
            };
            let mut asked = false;
            if let Some((vpc, domain)) = program.place_of(slot.subnet) {
                let questions = [Asked::InVpc(vpc, slot.ip), Asked::InDomain(domain, slot.ip)];
                let is_open = |question: &Asked| {
                    let asked = self.asked.get(question);
                    asked.is_some_and(|asked| asked.answers > 0 && now < asked.until)
                };
                for question in questions.into_iter().filter(is_open) {
                    asked = true;
                    answered.insert(question);
                }
            }
            let entry = self.entries.remove(&ix);
            if let Some(Stage::Idle(_, sought)) = entry {
                self.forget(ix, sought);
                program.set_idle(wanted, ix, false);
            }
            if asked && (slot.changed > before || entry.is_some()) {
                self.entries.insert(ix, Stage::Used(now));
            }
        }
        for question in answered {
            self.change(&question, |it| it.answers = it.answers.saturating_sub(1));
        }
    }

    /// Puts entries back into the workers' tables.
    pub(super) fn wake(
        &mut self,
        wanted: &Wanted,
        program: &mut Program,
        sought: &[Sought],
        now: Instant,
    ) {
        for sought in sought {
            let Some(&ix) = self.idle.get(sought) else {
                continue;
            };
            if let Some(Stage::Idle(_, sought)) = self.entries.insert(ix, Stage::Used(now)) {
                self.forget(ix, sought);
            }
            program.set_idle(wanted, ix, false);
        }
    }

    /// Moves what was in the workers' tables for `idle` out of them, and forgets what nobody wanted for as long again.
    /// Returns this also as the goal state that would have done it, for the store.
    pub(super) fn age(
        &mut self,
        wanted: &mut Wanted,
        program: &mut Program,
        idle: Duration,
        now: Instant,
    ) -> (Aged, GoalStateV2) {
        let (mut aged, mut forgotten) = (Aged::default(), GoalStateV2::default());
        let due = |since: Instant| since + idle <= now;
        let mut entries = std::mem::take(&mut self.entries);
        let next_hops = match entries.is_empty() {
            true => HashSet::new(),
            false => program.next_hops(),
        };
        entries.retain(|&ix, stage| match *stage {
            _ if wanted.neighbor(ix).is_none() => {
                if let Stage::Idle(_, sought) = *stage {
                    self.forget(ix, sought);
                }
                program.set_idle(wanted, ix, false);
                false
            }
            Stage::Used(since) if due(since) => {
                // Flows that share next hops pass over one that is not there, and broadcasts ask for nobody: nobody would say that
                // it is wanted.
                let is_copied_to = wanted
                    .neighbor(ix)
                    .is_some_and(|it| program.replicates(it.subnet));
                if !is_copied_to
                    && let Some(sought) = program.keys(ix)
                    && let [Sought::Ip(vpc, ip), _] = sought
                    && !next_hops.contains(&(vpc, ip))
                {
                    program.set_idle(wanted, ix, true);
                    self.idle.extend(sought.map(|sought| (sought, ix)));
                    aged.idle.extend(sought);
                    *stage = Stage::Idle(now, sought);
                }
                true
            }
            Stage::Idle(since, sought) if due(since) => {
                self.forget(ix, sought);
                program.set_idle(wanted, ix, false);
                forgotten.neighbor_states.extend(deletion(wanted, ix));
                wanted.forget_neighbor(ix);
                false
            }
            _ => true,
        });
        self.entries = entries;
        aged.gone = std::mem::take(&mut self.gone);
        (aged, forgotten)
    }

    fn forget(&mut self, ix: NeighborIx, sought: [Sought; 2]) {
        for sought in sought {
            if self.idle.get(&sought) == Some(&ix) {
                self.idle.remove(&sought);
                self.gone.push(sought);
            }
        }
    }
}

/// The controller's words to delete a neighbor.
fn deletion(wanted: &Wanted, ix: NeighborIx) -> Option<NeighborStatesEntry> {
    let configuration = wanted.neighbor_configuration(ix)?;
    Some(NeighborStatesEntry {
        key: configuration.id.clone(),
        value: Some(NeighborState {
            operation_type: OperationType::Delete.into(),
            configuration: Some(configuration),
        }),
    })
}
