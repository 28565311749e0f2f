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

mod applied;
mod request;
mod site;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use vswitch::tables::PortId;
use vswitch::tables::snapshot::{Commit, Writer};

pub(crate) use request::{BindError, CoreHandle, Goal, Gone, MAX_ROWS, Request, Show, channel};
pub(crate) use site::{Site, Uplink};

use crate::program::Program;
use crate::proto::schema::GoalStateOperationReply;
use crate::southbound::decode::{self, Resource};
use crate::state::{Subject, Wanted};
use applied::{Applied, Refusal};

/// How long requests are gathered for one commit once there is work: short against a controller's round trip.
const GATHER: Duration = Duration::from_millis(5);

/// How long a reply waits for workers to see a commit. Workers let go within microseconds; one that is
/// preempted may take a scheduler's turn. Beyond that something is wrong with it, and the reply says
/// PENDING.
const GRACE: Duration = Duration::from_secs(5);

/// Pause between looks at workers that have not let go.
const PAUSE: Duration = Duration::from_micros(50);

/// The same once a reply has been given up, when only memory waits for them.
const LONG_PAUSE: Duration = Duration::from_millis(1);

/// Looks at the workers before the first pause.
const SPINS: u32 = 64;

/// The goal state of this switch. Everything on it is done by one thread.
pub(crate) struct Core {
    wanted: Wanted,
    program: Program,
    /// The last commit, while workers have not let go of what it replaced.
    unsettled: Option<Commit>,
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
            unsettled: None,
        }
    }

    /// Serves requests until all handles are gone. The body of the control thread; do not call it on an
    /// async one.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        self.make_visible();
        while let Some(first) = self.next(&mut requests) {
            let begun = Instant::now();
            let mut answers = Vec::new();
            answers.extend(self.begin(first));
            while begun.elapsed() < GATHER
                && let Ok(request) = requests.try_recv()
            {
                answers.extend(self.begin(request));
            }
            if !answers.is_empty() {
                let visible = self.make_visible();
                answers
                    .into_iter()
                    .for_each(|answer| self.answer(answer, visible));
                self.wanted.sweep();
            }
        }
    }

    /// Applies one goal state and waits until it is visible: for callers that own the core.
    pub(crate) fn apply(&mut self, source: &str, goal: Goal) -> GoalStateOperationReply {
        let received = Instant::now();
        let applied = self.begin_goal(source.to_owned(), received, decode::resources(goal));
        let visible = self.make_visible();
        let reply = applied.reply(&self.wanted, &self.program, visible);
        self.wanted.sweep();
        reply
    }

    /// The next request; `None` when there will be none. Meanwhile, workers that lag are looked after.
    fn next(&mut self, requests: &mut mpsc::Receiver<Request>) -> Option<Request> {
        while let Some(commit) = self.unsettled {
            match requests.try_recv() {
                Ok(request) => return Some(request),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => std::thread::sleep(LONG_PAUSE),
            }
            if self.program.settled(&commit) {
                self.make_visible();
            }
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

    /// Commits, and waits until all workers see it. False: one does not let go in time.
    fn make_visible(&mut self) -> bool {
        loop {
            let commit = self.program.commit();
            if !self.wait_for(commit) {
                return false;
            }
            if !self.program.follow_up(&self.wanted) {
                return true;
            }
        }
    }

    fn wait_for(&mut self, commit: Commit) -> bool {
        self.unsettled = Some(commit);
        let begun = Instant::now();
        let mut looks = 0;
        while !self.program.settled(&commit) {
            looks += 1;
            if looks < SPINS {
                std::thread::yield_now();
            } else if begun.elapsed() < GRACE {
                std::thread::sleep(PAUSE);
            } else {
                self.warn_of_lagging();
                return false;
            }
        }
        self.unsettled = None;
        true
    }

    fn warn_of_lagging(&self) {
        for worker in self.program.lagging() {
            let (name, behind) = (worker.name, worker.behind);
            tracing::warn!(
                worker = name,
                behind,
                "a worker does not let go of an old snapshot: it is stuck"
            );
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
