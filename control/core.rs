// SPDX-License-Identifier: MIT
//! The control thread: owns what the controller wants and what the workers see, and turns the one into the
//! other.
//!
//! ```text
//! goal state -> southbound::decode -> queue                                       on the caller's thread
//!   -> state::Wanted::apply -> program::Program::update                           for each that is queued
//!   -> Program::commit -> every worker has let go of what it replaces             once for all of them
//!   -> statuses -> replies
//! ```
//!
//! A worker that does not let go delays replies and nothing else: the thread goes on with the next request, and the
//! other workers see what it programs.

mod applied;
mod audit;
mod figures;
mod keep;
mod links;
mod listeners;
mod metrics;
mod on_demand;
mod replicated;
mod replies;
mod request;
mod rules;
mod site;
mod watchdog;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::oneshot;
use vswitch::tables::PortId;
use vswitch::tables::snapshot::{Commit, Registrar, Writer};

pub(crate) use figures::Figures;
#[cfg(test)]
pub(crate) use figures::Kept;
use listeners::Listeners;
pub(crate) use listeners::PortNews;
pub(crate) use metrics::TARGET as METRICS;
pub(crate) use on_demand::{Aged, SETTLE};
pub(crate) use replicated::{DEFAULT_RATE, Replicated, TooManyNamed};
pub(crate) use replies::Replies;
pub(crate) use request::{
    CoreHandle, DeviceOf, Goal, Gone, MAX_ROWS, Need, NotApplied, NotDone, Request, Requests, Show,
    channel,
};
pub(crate) use rules::PortRules;
pub(crate) use site::{ETHERNET_MTU, Link, OnLink, Site, Uplink};

use crate::audit::part::Part;
use crate::explain::{ExplainError, Explanation, Links, Packet};
use crate::program::Program;
use crate::proto::schema::GoalStateOperationReply;
use crate::proto::schema::goal_state_operation_reply::GoalStateOperationStatus;
use crate::southbound::decode::{self, Encoded, Malformed, Resource};
use crate::state::Wanted;
use crate::state::parts::Position;
use crate::state::slots::AHEAD;
use crate::store::Store;
use applied::{Applied, Refusal, not_kept};
use figures::Counted;
use on_demand::OnDemand;
use watchdog::{GRACE, Watchdog};

/// How long a worker stands still before the control thread says that it is stuck.
pub(crate) const STUCK: Duration = GRACE;

/// How long requests are gathered for one commit once there is work: short against a controller's round trip.
const GATHER: Duration = Duration::from_millis(5);

/// How long the thread waits for workers to see a commit before it turns to other requests. Workers let go within
/// microseconds.
const PATIENCE: Duration = Duration::from_millis(10);

/// Pause between looks at workers that have not let go.
const PAUSE: Duration = Duration::from_micros(50);

/// The same once the thread has turned to other requests.
const LONG_PAUSE: Duration = Duration::from_millis(1);

/// Most answers that wait for workers while the thread serves other requests; with more, it waits itself. Bounds memory:
/// each may have a status for every neighbor of a switch.
const MAX_LATE: usize = 64;

/// Looks at the workers before the first pause.
const SPINS: u32 = 64;

/// The goal state of this switch. Everything on it is done by one thread.
pub(crate) struct Core {
    wanted: Wanted,
    program: Program,
    /// Something is to be committed, or workers have not let go of what the last commit replaced.
    unsettled: bool,
    /// Answers that wait for them, and until when. Oldest first.
    late: Vec<(Instant, Answer)>,
    watchdog: Watchdog,
    store: Option<Store>,
    /// How far the wanted state is written out to replace what the store has.
    written: Option<Position>,
    /// How far the stale resources are deleted.
    swept: Option<Position>,
    on_demand: OnDemand,
    listeners: Listeners,
    explain_by: Option<(Registrar, bool)>,
    replies: Replies,
    counted: Option<Counted>,
}

/// Who is told when a commit is visible.
enum Answer {
    Applied(Applied, oneshot::Sender<GoalStateOperationReply>),
    Done(Result<(), NotDone>, oneshot::Sender<Result<(), NotDone>>),
    Audit(Position, oneshot::Sender<(Position, Option<Part>)>),
    Explained(
        PortId,
        Packet,
        Box<Links>,
        oneshot::Sender<Result<Explanation, ExplainError>>,
    ),
}

impl Core {
    /// An empty goal state on this host. The writer's tables have no roles yet but those that `site` names.
    pub(crate) fn new(site: Site, writer: Writer) -> Self {
        Self {
            wanted: Wanted::default(),
            program: Program::new(site, writer),
            unsettled: false,
            late: Vec::new(),
            watchdog: Watchdog::default(),
            store: None,
            written: None,
            swept: None,
            on_demand: OnDemand::default(),
            listeners: Listeners::default(),
            explain_by: None,
            replies: Replies::default(),
            counted: None,
        }
    }

    /// Takes the memory of so many neighbors in all now, instead of when they come.
    pub(crate) fn reserve_neighbors(&mut self, count: usize) {
        self.wanted.reserve_neighbors(count);
        self.program.reserve_neighbors(count);
    }

    /// This host's place in the network.
    pub(crate) const fn site(&self) -> &Site {
        self.program.site()
    }

    /// Has workers see what there is already: the roles of uplinks and of the host port, and what the store has kept. Before any
    /// forwards: it would drop what is for the others.
    pub(crate) fn set_out(&mut self) {
        self.make_visible(GRACE);
        self.tell();
    }

    /// Serves requests until all handles are gone. The body of the control thread; do not call it on an
    /// async one.
    pub(crate) fn run(mut self, mut requests: Requests) {
        while let Some(first) = self.next(&mut requests) {
            let begun = Instant::now();
            let mut answers = Vec::new();
            answers.extend(self.begin(first));
            while begun.elapsed() < GATHER
                && let Ok(request) = requests.now()
            {
                answers.extend(self.begin(request));
            }
            if !answers.is_empty() || self.unsettled {
                let deadline = begun + GRACE;
                self.late
                    .extend(answers.into_iter().map(|answer| (deadline, answer)));
                let room = self.late.len() <= MAX_LATE;
                self.settle(if room { PATIENCE } else { GRACE });
            }
        }
        self.answer_all(self.late.len(), false);
    }

    /// Applies one goal state and waits until it is visible: for callers that own the core.
    pub(crate) fn apply(
        &mut self,
        source: &str,
        goal: &Encoded,
    ) -> Result<GoalStateOperationReply, Malformed> {
        let received = Instant::now();
        let applied = self.begin_goal(source.to_owned(), received, decode::resources(goal)?);
        let visible = self.make_visible(GRACE);
        let reply = applied.reply(&self.wanted, &self.program, visible);
        self.wanted.sweep();
        Ok(reply)
    }

    /// The next request; `None` when there will be none. Meanwhile, workers that lag are looked after.
    fn next(&mut self, requests: &mut Requests) -> Option<Request> {
        self.write_out();
        self.sweep_stale();
        while self.unsettled || self.written.is_some() || self.swept.is_some() {
            match requests.now() {
                Ok(request) => return Some(request),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if self.unsettled || self.store_is_behind() => {
                    std::thread::sleep(LONG_PAUSE);
                }
                Err(TryRecvError::Empty) => {}
            }
            if self.unsettled {
                self.settle(Duration::ZERO);
            }
            self.write_out();
            self.sweep_stale();
        }
        requests.wait()
    }

    /// Commits, waits for so long, and tells all that wait for it.
    fn settle(&mut self, patience: Duration) {
        self.make_visible(patience);
        self.tell();
        self.answer_late();
    }

    /// Does what a request asks for, up to the commit.
    fn begin(&mut self, request: Request) -> Option<Answer> {
        match request {
            Request::Apply {
                source,
                received,
                goal,
                resources,
                reply,
            } => {
                if !resources.is_empty() {
                    self.record(goal);
                }
                let applied = self.begin_goal(source, received, resources);
                Some(Answer::Applied(applied, reply))
            }
            Request::Bind { port, id, reply } => Some(Answer::Done(self.bind(port, &id), reply)),
            Request::Unbind { port, reply } => Some(Answer::Done(self.unbind(port), reply)),
            Request::Rules { port, rules, reply } => {
                Some(Answer::Done(self.set_rules(port, rules), reply))
            }
            Request::Replicate { id, rate, reply } => {
                let said = self.set_replicated(id.as_deref(), rate);
                Some(Answer::Done(said.map_err(NotDone::from), reply))
            }
            Request::Revisions { revisions, reply } => {
                self.set_revisions(revisions);
                let _ = reply.send(());
                None
            }
            // It is looked after before the next request.
            Request::WriteOut => None,
            Request::EndResync => {
                self.swept = Some(Position::default());
                None
            }
            Request::Show { what, reply } => {
                drop(reply.send(self.program.show(&self.wanted, what)));
                None
            }
            // After the commit of what was asked before.
            Request::Audit { position, reply } => Some(Answer::Audit(position, reply)),
            Request::Explain {
                from,
                packet,
                links,
                reply,
            } => Some(Answer::Explained(from, packet, links, reply)),
            Request::Asking(destinations) => {
                self.on_demand.asking(&destinations, Instant::now());
                None
            }
            Request::Closed(closed) => {
                self.on_demand.closed(&closed, Instant::now());
                None
            }
            Request::Wake(sought) => {
                let (asked, now) = (&mut self.on_demand, Instant::now());
                asked.wake(&self.wanted, &mut self.program, &sought, now);
                self.unsettled = true; // nobody waits for an answer, and it is to be committed
                None
            }
            Request::Learned(learned) => {
                self.program.learned(&self.wanted, &learned);
                self.unsettled = true; // as above
                None
            }
            Request::Device { of, waits } => {
                self.wanted.note_device(&of, waits);
                None
            }
            Request::Needed => {
                self.tell_all_needs();
                None
            }
            Request::Figures { reply } => self.tell_figures(reply),
            Request::Age { idle, reply } => {
                let (wanted, program) = (&mut self.wanted, &mut self.program);
                let (aged, forgotten) = self.on_demand.age(wanted, program, idle, Instant::now());
                self.program.update(&mut self.wanted);
                if !forgotten.neighbor_states.is_empty() {
                    self.record(Encoded::from(&Goal::V2(forgotten)));
                }
                self.unsettled |= !aged.is_empty();
                drop(reply.send(aged));
                None
            }
        }
    }

    /// Takes a goal state into the wanted state and prepares the tables' change.
    fn begin_goal(
        &mut self,
        source: String,
        received: Instant,
        resources: Vec<Resource>,
    ) -> Applied {
        let mut applied = Applied::new(source, received, resources.len());
        let before = self.wanted.clock();
        let mut resources = resources.into_iter();
        while let Some(resource) = resources.next() {
            if let Some(Resource {
                change: Ok(Some(ahead)),
                ..
            }) = resources.as_slice().get(AHEAD - 1)
            {
                self.wanted.prefetch(ahead);
            }
            let outcome = match resource.change {
                Ok(Some(change)) => {
                    let (subject, made) =
                        self.wanted.apply(&resource.id, resource.revision, change);
                    self.on_demand.told(&subject);
                    made.map(|()| subject).map_err(Refusal::Refused)
                }
                Ok(None) => Ok(self.wanted.find(resource.kind, &resource.id)),
                Err(error) => Err(Refusal::Invalid(error)),
            };
            applied.push(resource.kind, resource.id, resource.operation, outcome);
        }
        self.program.update(&mut self.wanted);
        let (wanted, program) = (&self.wanted, &mut self.program);
        self.on_demand.tell_apart(wanted, program, before, received);
        applied
    }

    /// Commits, and waits until all workers see it. False: one does not let go for as long as `patience`, or is known
    /// to be stuck.
    fn make_visible(&mut self, patience: Duration) -> bool {
        self.unsettled = true;
        let patience = match self.watchdog.stuck() {
            true => Duration::ZERO,
            false => patience,
        };
        loop {
            let commit = self.program.commit();
            if !self.wait_for(commit, patience) {
                // For the other workers. The stuck one may then send a burst to a port whose role it does not see.
                if self.watchdog.stuck()
                    && self.program.is_published()
                    && self.program.follow_up(&self.wanted)
                {
                    let _ = self.program.commit();
                }
                return false;
            }
            if !self.program.follow_up(&self.wanted) {
                self.unsettled = false;
                return true;
            }
        }
    }

    fn wait_for(&mut self, commit: Commit, patience: Duration) -> bool {
        let begun = Instant::now();
        let mut looks = 0;
        while !self.program.settled(&commit) {
            looks += 1;
            if looks < SPINS {
                std::thread::yield_now();
                continue;
            }
            self.watch();
            if begun.elapsed() >= patience {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        if self.watchdog.watches() {
            self.watch();
        }
        true
    }

    /// Lets the watchdog look at the workers that lag.
    fn watch(&mut self) {
        let lagging = self.program.lagging();
        let memory = || self.program.memory();
        self.watchdog.look(Instant::now(), lagging, memory);
    }

    /// Answers all that wait if workers see what they asked for, and else those that have waited for too long: all
    /// when a worker is known to be stuck.
    fn answer_late(&mut self) {
        let visible = !self.unsettled;
        let count = if visible || self.watchdog.stuck() {
            self.late.len()
        } else {
            let now = Instant::now();
            self.late.partition_point(|(deadline, _)| *deadline <= now)
        };
        self.answer_all(count, visible);
    }

    /// Answers the oldest `count` that wait.
    fn answer_all(&mut self, count: usize, visible: bool) {
        let answers: Vec<_> = self.late.drain(..count).collect();
        for (_, answer) in answers {
            self.answer(answer, visible);
        }
        // What still waits for an answer names resources by numbers.
        if self.late.is_empty() {
            self.wanted.sweep();
        }
    }

    /// Tells who asked. Nobody may be waiting any more, which is no concern of ours.
    fn answer(&self, answer: Answer, visible: bool) {
        match answer {
            Answer::Applied(applied, reply) => {
                let answer = applied.reply(&self.wanted, &self.program, visible);
                let replies = self.replies.clone();
                let send = move |answer| {
                    replies.note(&answer, visible);
                    drop(reply.send(answer));
                };
                match &self.store {
                    None => send(answer),
                    Some(store) => {
                        let statuses = answer.operation_statuses.len();
                        let bytes = statuses * size_of::<GoalStateOperationStatus>();
                        store.then(bytes as u64, move |kept| {
                            send(if kept { answer } else { not_kept(answer) });
                        });
                    }
                }
            }
            Answer::Done(result, reply) => {
                let seen = if visible {
                    Ok(())
                } else {
                    Err(NotDone::NotSeen)
                };
                drop(reply.send(result.and(seen)));
            }
            Answer::Audit(mut position, reply) => {
                let part = self.audit(&mut position, visible);
                drop(reply.send((position, part)));
            }
            Answer::Explained(from, packet, links, reply) => {
                drop(reply.send(self.explain(from, &packet, *links)));
            }
        }
    }
}
