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
mod metrics;
mod request;
mod site;
mod watchdog;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use vswitch::tables::PortId;
use vswitch::tables::snapshot::{Commit, Writer};

pub(crate) use metrics::TARGET as METRICS;
pub(crate) use request::{BindError, CoreHandle, Goal, Gone, MAX_ROWS, Request, Show, channel};
pub(crate) use site::{Site, Uplink};

use crate::program::Program;
use crate::proto::schema::GoalStateOperationReply;
use crate::southbound::decode::{self, Resource};
use crate::state::{Subject, Wanted};
use applied::{Applied, Refusal};
use watchdog::{GRACE, Watchdog};

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
    /// Workers have not let go of what the last commit replaced.
    unsettled: bool,
    /// Answers that wait for them, and until when. Oldest first.
    late: Vec<(Instant, Answer)>,
    watchdog: Watchdog,
}

/// Who is told when a commit is visible.
enum Answer {
    Applied(Applied, oneshot::Sender<GoalStateOperationReply>),
    Bound(
        Result<(), BindError>,
        oneshot::Sender<Result<(), BindError>>,
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
        }
    }

    /// Serves requests until all handles are gone. The body of the control thread; do not call it on an
    /// async one.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        self.make_visible(GRACE);
        while let Some(first) = self.next(&mut requests) {
            let begun = Instant::now();
            let mut answers = Vec::new();
            answers.extend(self.begin(first));
            while begun.elapsed() < GATHER
                && let Ok(request) = requests.try_recv()
            {
                answers.extend(self.begin(request));
            }
            if !answers.is_empty() || self.unsettled {
                let deadline = begun + GRACE;
                self.late
                    .extend(answers.into_iter().map(|answer| (deadline, answer)));
                let room = self.late.len() <= MAX_LATE;
                self.make_visible(if room { PATIENCE } else { GRACE });
                self.answer_late();
            }
        }
        self.answer_all(self.late.len(), false);
    }

    /// Applies one goal state and waits until it is visible: for callers that own the core.
    pub(crate) fn apply(&mut self, source: &str, goal: Goal) -> GoalStateOperationReply {
        let received = Instant::now();
        let applied = self.begin_goal(source.to_owned(), received, decode::resources(goal));
        let visible = self.make_visible(GRACE);
        let reply = applied.reply(&self.wanted, &self.program, visible);
        self.wanted.sweep();
        reply
    }

    /// The next request; `None` when there will be none. Meanwhile, workers that lag are looked after.
    fn next(&mut self, requests: &mut mpsc::Receiver<Request>) -> Option<Request> {
        while self.unsettled {
            match requests.try_recv() {
                Ok(request) => return Some(request),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => std::thread::sleep(LONG_PAUSE),
            }
            self.make_visible(Duration::ZERO);
            self.answer_late();
        }
        requests.blocking_recv()
    }

    /// Does what a request asks for, up to the commit.
    fn begin(&mut self, request: Request) -> Option<Answer> {
        match request {
            Request::Apply {
                source,
                received,
                resources,
                reply,
            } => {
                let applied = self.begin_goal(source, received, resources);
                Some(Answer::Applied(applied, reply))
            }
            Request::Bind { port, id, reply } => Some(Answer::Bound(self.bind(port, &id), reply)),
            Request::Unbind { port, reply } => Some(Answer::Bound(self.unbind(port), reply)),
            Request::Show { what, reply } => {
                drop(reply.send(self.program.show(&self.wanted, what)));
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
        for resource in resources {
            let outcome = match resource.change {
                Ok(Some(change)) => {
                    let result = self.wanted.apply(&resource.id, resource.revision, change);
                    result.map_err(Refusal::Refused)
                }
                Ok(None) => Ok(Subject::Nothing),
                Err(error) => Err(Refusal::Invalid(error)),
            };
            applied.push(resource.kind, resource.id, resource.operation, outcome);
        }
        self.program.update(&mut self.wanted);
        applied
    }

    /// Binds a port; visible with the next goal state.
    pub(crate) fn bind(&mut self, port: PortId, id: &str) -> Result<(), BindError> {
        if !self.program.is_tenant(port) {
            return Err(BindError::NotTenant(port.get()));
        }
        self.wanted.bind(port, id)?;
        self.program.update(&mut self.wanted);
        Ok(())
    }

    fn unbind(&mut self, port: PortId) -> Result<(), BindError> {
        self.wanted.unbind(port)?;
        self.program.update(&mut self.wanted);
        Ok(())
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
                drop(reply.send(applied.reply(&self.wanted, &self.program, visible)))
            }
            Answer::Bound(result, reply) => {
                let seen = if visible {
                    Ok(())
                } else {
                    Err(BindError::NotSeen)
                };
                drop(reply.send(result.and(seen)));
            }
        }
    }
}
