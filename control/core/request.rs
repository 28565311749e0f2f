// SPDX-License-Identifier: MIT
//! How everything else reaches the control thread.
//!
//! Whoever has something for it (gRPC, the command line, a file) sends a [`Request`] through a
//! [`CoreHandle`] and awaits the answer; a bounded queue pushes back when requests come faster than they
//! are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use prost::Message;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use vswitch::stage::punt::{Destination, Sought};
use vswitch::tables::PortId;
use vswitch::wire::Mac;

use super::{Aged, Figures, OnLink, PortRules, TooManyNamed, metrics};
use crate::audit::part::Part;
use crate::explain::{ExplainError, Explanation, Links, Packet};
use crate::proto::schema::{GoalState, GoalStateOperationReply, GoalStateV2};
use crate::southbound::decode::{self, Encoded, Form, Malformed, Resource};
use crate::state::Revisions;
use crate::state::parts::Position;

/// Requests that may wait in the queue; senders beyond it wait themselves. Bounds memory (each may hold a
/// whole goal state) and is far more than one group commit needs to be worth it.
const QUEUE: usize = 64;

/// A goal state in either of the controller's forms.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// Lists of states.
    V1(GoalState),
    /// Maps of states.
    V2(GoalStateV2),
}

impl From<&Goal> for Encoded {
    fn from(goal: &Goal) -> Self {
        let (form, bytes) = match goal {
            Goal::V1(goal) => (Form::V1, goal.encode_to_vec()),
            Goal::V2(goal) => (Form::V2, goal.encode_to_vec()),
        };
        let bytes = bytes.into();
        Self { form, bytes }
    }
}

/// What to list of the goal state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Show {
    /// VPCs: id, name, cidr, vni, subnets, gateways, state.
    Vpcs,
    /// Subnets: id, vpc, cidr, vni, gateway, state.
    Subnets,
    /// Ports as the controller describes them, with the switch's port number where bound.
    Ports,
    /// Neighbors, at most [`MAX_ROWS`] of them.
    Neighbors,
    /// Routes of each subnet that is in a router.
    Routes,
    /// Security groups: id, VPC, how many rules.
    SecurityGroups,
    /// What ports are told by DHCP.
    Dhcp,
    /// Gateways: type, machines, who uses them.
    Gateways,
    /// What is kept and not programmed yet, and why.
    Pending,
    /// What was wanted before a restart, and the controller has not sent since.
    Stale,
    /// Entries, capacities and bytes of the tables.
    Memory,
}

/// Most rows of one answer to [`Request::Show`]; the first column of one further row says how many are left
/// out. Keeps the control thread from spending seconds on a list of a million that nobody reads.
pub(crate) const MAX_ROWS: usize = 10_000;

/// What the control thread says to who asks for MACs on the uplinks' links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// This address needs a MAC.
    Mac(OnLink),
    /// Of all addresses that were said to, only these still do.
    Only(HashSet<OnLink>),
}

/// Why what an operator says is not so: that a port is bound or unbound, or what holds there or in a subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotDone {
    /// An uplink or the host port.
    #[error("port {0} is no tenant port: it carries the underlay or the host's own traffic")]
    NotTenant(u16),
    /// The port has another id already.
    #[error("port {port} is bound to {id} already; unbind it first")]
    PortTaken {
        /// The port.
        port: u16,
        /// What it is bound to.
        id: String,
    },
    /// Another port has the id already.
    #[error("{id} is bound to port {port} already; unbind that first")]
    IdTaken {
        /// The port that has it.
        port: u16,
        /// The id.
        id: String,
    },
    /// Ids are never empty.
    #[error("the id of a port is empty")]
    NoId,
    /// It is done, and a worker does not look.
    #[error("a worker does not see the change yet: it is stuck")]
    NotSeen,
    /// Too many subnets are named.
    #[error(transparent)]
    TooManyNamed(#[from] TooManyNamed),
    /// Nothing is bound to the port.
    #[error("port {0} is not bound")]
    NotBound(u16),
}

/// The control thread has ended: the switch is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the switch is shutting down")]
pub(crate) struct Gone;

/// Why a goal state is not applied at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotApplied {
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Nobody applies it any more.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// Whose device it is that waits for something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DeviceOf {
    /// That of a port of the switch.
    Port(PortId),
    /// The one that is to be made for the controller's port of this id.
    Id(Box<str>),
}

/// One thing for the control thread to do. A reply nobody waits for any more is dropped.
pub(crate) enum Request {
    /// Makes a goal state so. The reply has a status per resource, true for every worker.
    Apply {
        /// Where it came from, for the log.
        source: String,
        /// When it came, for the times in the reply.
        received: Instant,
        /// The goal state as it came, to be kept.
        goal: Encoded,
        /// The same, validated.
        resources: Vec<Resource>,
        /// Answered when the change is visible to every worker.
        reply: oneshot::Sender<GoalStateOperationReply>,
    },
    /// Says that a port of the switch is the controller's port `id`. May come before or after that port's
    /// state.
    Bind {
        /// The switch's port.
        port: PortId,
        /// The controller's id of it.
        id: String,
        /// Answered when the change is visible to every worker.
        reply: oneshot::Sender<Result<(), NotDone>>,
    },
    /// Takes that back.
    Unbind {
        /// The switch's port.
        port: PortId,
        /// Answered when the change is visible to every worker.
        reply: oneshot::Sender<Result<(), NotDone>>,
    },
    /// Says what holds at a guest's port.
    Rules {
        /// The switch's port.
        port: PortId,
        /// All of it.
        rules: PortRules,
        /// Answered when the change is visible to every worker.
        reply: oneshot::Sender<Result<(), NotDone>>,
    },
    /// Says of a subnet whether there is replication.
    Replicate {
        /// Its id; `None`: all that nothing is said of.
        id: Option<String>,
        /// See [`Replicated`](super::Replicated).
        rate: Option<u32>,
        /// Answered when the change is visible to every worker.
        reply: oneshot::Sender<Result<(), NotDone>>,
    },
    /// Says what to make of revisions that go back.
    Revisions {
        /// What.
        revisions: Revisions,
        /// Answered when it is so.
        reply: oneshot::Sender<()>,
    },
    /// The store wants the wanted state to be written out.
    WriteOut,
    /// Deletes what the controller has not sent again since the restart.
    EndResync,
    /// Lists state.
    Show {
        /// Which.
        what: Show,
        /// An array of flat objects whose keys are the column names, in order.
        reply: oneshot::Sender<serde_json::Value>,
    },
    /// A part of what is wanted, and whether workers see it.
    Audit {
        /// Which part.
        position: Position,
        /// Where the next one is, and the part; `None`: that was all. Answered when all that was asked before is visible to
        /// every worker, or is not for far too long.
        reply: oneshot::Sender<(Position, Option<Part>)>,
    },
    /// Says what would become of a packet, and why.
    Explain {
        /// The port that it arrives on.
        from: PortId,
        /// The packet.
        packet: Packet,
        /// The workers' links.
        links: Box<Links>,
        /// Answered when all that was asked before is visible to every worker, or is not for far too long.
        reply: oneshot::Sender<Result<Explanation, ExplainError>>,
    },
    /// The controller is about to be asked for these; what it then says of them is an answer.
    Asking(Vec<Destination>),
    /// Calls came to an end: what was asked for, and whether an answer is still to be expected.
    Closed(Vec<(Destination, bool)>),
    /// Puts entries back that aged: see [`Request::Age`].
    Wake(Vec<Sought>),
    /// Hosts and routers of the underlay said who they are.
    Learned(Vec<(OnLink, Mac)>),
    /// Says what a port's device waits for.
    Device {
        /// Whose device.
        of: DeviceOf,
        /// Why it is not there; `None`: it is.
        waits: Option<String>,
    },
    /// Tells who asks for MACs ([`Core::resolve_by`](super::Core::resolve_by)) which addresses of the underlay still need one.
    Needed,
    /// Says what is there, in figures.
    Figures {
        /// As of now.
        reply: oneshot::Sender<Figures>,
    },
    /// Looks for entries that came in answer to a question and that nobody may have used for long.
    Age {
        /// For so long.
        idle: Duration,
        /// What was taken out of the workers' tables.
        reply: oneshot::Sender<Aged>,
    },
}

/// A place in the queue, for what nobody waits for.
pub(crate) struct Note<'a>(mpsc::Permit<'a, Request>);

impl Note<'_> {
    /// These are about to be asked for.
    pub(crate) fn asking(self, destinations: Vec<Destination>) {
        self.0.send(Request::Asking(destinations));
    }

    /// These said who they are.
    pub(crate) fn learned(self, learned: Vec<(OnLink, Mac)>) {
        self.0.send(Request::Learned(learned));
    }

    /// It is to be said which addresses still need a MAC.
    pub(crate) fn needed(self) {
        self.0.send(Request::Needed);
    }

    /// These were, and whether the controller says that it tells them.
    pub(crate) fn closed(self, closed: Vec<(Destination, bool)>) {
        self.0.send(Request::Closed(closed));
    }
}

/// The way to the control thread, for any number of tasks.
#[derive(Clone, Debug)]
pub(crate) struct CoreHandle {
    requests: mpsc::Sender<Request>,
    taken: Arc<AtomicU64>,
}

/// The queue's other end.
#[derive(Debug)]
pub(crate) struct Requests {
    queue: mpsc::Receiver<Request>,
    taken: Arc<AtomicU64>,
}

impl Requests {
    /// The next request, if there is one now.
    pub(crate) fn now(&mut self) -> Result<Request, TryRecvError> {
        self.queue.try_recv().inspect(|_| self.count())
    }

    /// Waits for the next request; `None` when there will be none.
    pub(super) fn wait(&mut self) -> Option<Request> {
        self.queue.blocking_recv().inspect(|_| self.count())
    }

    fn count(&self) {
        self.taken.fetch_add(1, Relaxed);
    }
}

/// A handle, and the queue's other end for [`Core::run`](super::Core::run).
pub(crate) fn channel() -> (CoreHandle, Requests) {
    let (requests, queue) = mpsc::channel(QUEUE);
    let taken = Arc::<AtomicU64>::default();
    let handle = CoreHandle {
        requests,
        taken: Arc::clone(&taken),
    };
    (handle, Requests { queue, taken })
}

impl CoreHandle {
    /// Applies a goal state; see [`Request::Apply`]. It is validated here, on the caller's thread.
    pub(crate) async fn apply(
        &self,
        source: String,
        goal: Encoded,
    ) -> Result<GoalStateOperationReply, NotApplied> {
        let reply = self.submit(source, goal).await?;
        Ok(reply.await.map_err(|_| Gone)?)
    }

    /// Queues a goal state, to be applied after those queued before, and returns where its reply will come.
    pub(crate) async fn submit(
        &self,
        source: String,
        goal: Encoded,
    ) -> Result<oneshot::Receiver<GoalStateOperationReply>, NotApplied> {
        let received = Instant::now();
        if metrics::are_logged() {
            metrics::log_size(goal.bytes.len());
        }
        let resources = decode::received(&goal)?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Apply {
            source,
            received,
            goal,
            resources,
            reply,
        };
        self.requests.send(request).await.map_err(|_| Gone)?;
        Ok(answer)
    }

    /// Binds a port to the controller's id; see [`Request::Bind`].
    pub(crate) async fn bind(&self, port: PortId, id: String) -> Result<Result<(), NotDone>, Gone> {
        self.ask(|reply| Request::Bind { port, id, reply }).await
    }

    /// Takes a binding back.
    pub(crate) async fn unbind(&self, port: PortId) -> Result<Result<(), NotDone>, Gone> {
        self.ask(|reply| Request::Unbind { port, reply }).await
    }

    /// Says what holds at a guest's port from now on; see [`Request::Rules`].
    pub(crate) async fn set_rules(
        &self,
        port: PortId,
        rules: PortRules,
    ) -> Result<Result<(), NotDone>, Gone> {
        let request = |reply| Request::Rules { port, rules, reply };
        self.ask(request).await
    }

    /// Says of a subnet, or of all that nothing is said of, whether there is replication; see [`Request::Replicate`].
    pub(crate) async fn set_replicated(
        &self,
        id: Option<String>,
        rate: Option<u32>,
    ) -> Result<Result<(), NotDone>, Gone> {
        let request = |reply| Request::Replicate { id, rate, reply };
        self.ask(request).await
    }

    /// What tells the control thread that the store wants the wanted state to be written out. Does not keep it alive.
    pub(crate) fn write_out(&self) -> impl Fn() + Send + use<> {
        let requests = self.requests.downgrade();
        move || {
            // With a full queue it is about to look anyway.
            let _ = requests
                .upgrade()
                .map(|requests| requests.try_send(Request::WriteOut));
        }
    }

    /// Deletes what is stale.
    pub(crate) async fn end_resync(&self) -> Result<(), Gone> {
        let request = Request::EndResync;
        self.requests.send(request).await.map_err(|_| Gone)
    }

    /// Lists state: an array of flat objects.
    pub(crate) async fn show(&self, what: Show) -> Result<serde_json::Value, Gone> {
        self.ask(|reply| Request::Show { what, reply }).await
    }

    /// A part of what is wanted, and whether workers see it; see [`Request::Audit`].
    pub(crate) async fn audit(&self, position: Position) -> Result<(Position, Option<Part>), Gone> {
        self.ask(|reply| Request::Audit { position, reply }).await
    }

    /// What becomes of a packet, and why; see [`Request::Explain`].
    pub(crate) async fn explain(
        &self,
        from: PortId,
        packet: Packet,
        links: Links,
    ) -> Result<Result<Explanation, ExplainError>, Gone> {
        let request = |reply| Request::Explain {
            from,
            packet,
            links: Box::new(links),
            reply,
        };
        self.ask(request).await
    }

    /// Says what to make of revisions that go back, from now on.
    pub(crate) async fn set_revisions(&self, revisions: Revisions) -> Result<(), Gone> {
        self.ask(|reply| Request::Revisions { revisions, reply })
            .await
    }

    /// Says what a port's device waits for; `None`: it is there.
    pub(crate) async fn note_device(
        &self,
        of: DeviceOf,
        waits: Option<String>,
    ) -> Result<(), Gone> {
        let request = Request::Device { of, waits };
        self.requests.send(request).await.map_err(|_| Gone)
    }

    /// A place in the queue; `None` while it is full.
    pub(crate) fn try_note(&self) -> Option<Note<'_>> {
        self.requests.try_reserve().ok().map(Note)
    }

    /// Puts entries back that aged, unless the queue is full.
    pub(crate) fn wake(&self, sought: Vec<Sought>) {
        let _ = self.requests.try_send(Request::Wake(sought));
    }

    /// Looks for entries that may have been idle for so long; `None` while the queue is full.
    pub(crate) fn age(&self, idle: Duration) -> Option<oneshot::Receiver<Aged>> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .try_send(Request::Age { idle, reply })
            .ok()
            .map(|()| answer)
    }

    /// What is there, in figures; see [`Request::Figures`].
    pub(crate) async fn figures(&self) -> Result<Figures, Gone> {
        self.ask(|reply| Request::Figures { reply }).await
    }

    /// Requests that the control thread has taken from the queue: while that grows it works, whoever waits for it.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Requests that wait in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.requests.max_capacity() - self.requests.capacity()
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}
