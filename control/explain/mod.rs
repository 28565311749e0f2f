// SPDX-License-Identifier: MIT
//! `alkaid explain`: what becomes of one packet, and why.
//!
//! [`Trace::of`] sends it through a worker like any other, over the same tables at the same time, whose ports are queues in
//! memory, and notes what that worker knows of it after each stage. [`crate::program`] says which entries and resources that
//! comes from. [`packet`] makes packets of words.

pub(crate) mod packet;
mod summary;

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;
use vswitch::burst::{Burst, Meta};
use vswitch::counters::{DropReason, PortTotals, WorkerCounters, total};
use vswitch::io::memory::{MemoryFrame, MemoryRx, wire};
use vswitch::io::{Frame, Frames, TxQueue};
use vswitch::stage::limits::Limits;
use vswitch::stage::link::Hearing;
use vswitch::stage::observe::{Observer, Stage};
use vswitch::stage::punt::{Destination, PuntQueues};
use vswitch::stage::transmit::Link;
use vswitch::stage::trunk::{Subport, Subports};
use vswitch::tables::PortId;
use vswitch::tables::rcu::TooManyReaders;
use vswitch::tables::snapshot::Registrar;
use vswitch::wire::ethernet;
use vswitch::worker::Worker;

use crate::proto::schema::ResourceType;

use packet::PacketError;
pub(crate) use summary::summary;

/// A packet that is to be explained.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// In [`packet`]'s words.
    Words(String),
    /// Its bytes, from the Ethernet header on.
    Bytes(Vec<u8>),
}

/// How a packet may leave.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    /// The workers' limits.
    pub(crate) limits: Limits,
    /// Ports that are started, subports too.
    pub(crate) started: Vec<PortId>,
    /// Subports that are started.
    pub(crate) subports: Vec<(PortId, Subport)>,
}

impl Links {
    fn subports(&self) -> Subports {
        let mut all = Subports::default();
        for (port, subport) in &self.subports {
            all.set(*port, Some(*subport));
        }
        all
    }

    /// Where a frame that is to arrive on `from` counts as arrived, and as what: with a subport's tag, on that.
    pub(crate) fn arrival(&self, from: PortId, frame: &[u8]) -> (PortId, Vec<u8>) {
        let mut frame = frame.to_vec();
        match self.subports().of(from, &frame) {
            Some(subport) => {
                frame.drain(ethernet::ADDRESSES..ethernet::ADDRESSES + ethernet::TAG);
                (subport, frame)
            }
            None => (from, frame),
        }
    }
}

/// A packet's way in words.
#[derive(Debug)]
pub(crate) struct Explanation {
    /// One decision after the other.
    pub(crate) steps: Vec<Step>,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// What left because of it, by which device's port, and what that is.
    pub(crate) sent: Vec<(PortId, Vec<u8>)>,
    /// The UDP port of VXLAN.
    pub(crate) vxlan_port: u16,
}

/// One decision.
#[derive(Debug)]
pub(crate) struct Step {
    /// The stage that made it.
    pub(crate) stage: &'static str,
    /// What it is.
    pub(crate) text: String,
    /// The resources that it comes from.
    pub(crate) because: Vec<Named>,
}

/// One of the controller's resources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    pub(crate) kind: ResourceType,
    pub(crate) id: String,
    pub(crate) revision: u32,
}

/// Why a packet is not explained.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    /// The words are none.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// No packet arrives there.
    #[error("port {0} is not started: nothing arrives there")]
    Stopped(u16),
    /// There is no place for one more who looks at the tables.
    #[error(transparent)]
    Readers(#[from] TooManyReaders),
    /// There are no workers whose place could be taken.
    #[error("there is nothing to explain: this switch has no tables")]
    NoTables,
}

/// A packet's way.
#[derive(Debug)]
pub(crate) struct Trace {
    /// It, after each stage that it came to.
    pub(crate) seen: Vec<Seen>,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// What left because of it, and by which devices' ports.
    pub(crate) sent: Vec<(PortId, Vec<u8>)>,
}

/// A packet after a stage.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) stage: Stage,
    /// What is known of it, and its bytes. `None`: it went no further.
    pub(crate) packet: Option<(Meta, Vec<u8>)>,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It left.
    Forwarded,
    /// It was for the switch itself, which answered.
    Answered,
    /// It was for everybody, and copied.
    Copied,
    /// It was dropped; its sender may have been told.
    Dropped(DropReason),
    /// The controller would be asked for this, and the packet held meanwhile.
    Held(Destination),
}

/// Notes what a worker knows of the only frame in its bursts.
#[derive(Default)]
struct Notes(Vec<Seen>);

impl Observer<MemoryFrame> for Notes {
    fn after(&mut self, stage: Stage, burst: &Burst<MemoryFrame>) {
        if self.0.last().is_some_and(|last| last.packet.is_none()) {
            return; // it came no further
        }
        let first = burst.iter().next();
        let packet = first.map(|(frame, meta)| (*meta, frame.head().to_vec()));
        self.0.push(Seen { stage, packet });
    }
}

impl Trace {
    /// Of a frame that arrives on `from` now, by workers with these links, that tell somebody what they hear by ARP and
    /// neighbor discovery. `asks`:
    /// the controller is asked for what nobody knows. Nothing leaves the switch, nothing is counted and nobody is asked. Takes microseconds and some 100 KiB for the time being.
    pub(crate) fn of(
        registrar: &Registrar,
        asks: bool,
        links: Links,
        from: PortId,
        frame: &[u8],
    ) -> Result<Self, ExplainError> {
        if !links.started.contains(&from) {
            return Err(ExplainError::Stopped(from.get()));
        }
        let counters = Arc::new(WorkerCounters::default());
        let reader = registrar.reader("explain")?;
        let mut worker = Worker::observed(reader, Arc::clone(&counters), 1, Notes::default());
        *worker.limits_mut() = links.limits.clone();
        worker.tell(Hearing::new(ArrayQueue::new(1)));
        let held = Arc::new(PuntQueues::default());
        if asks {
            worker.punt_to(Arc::clone(&held));
        }
        let arriving = wire(1);
        let subports = links.subports();
        let subport = subports.get(from);
        let at = subport.map_or(from, |subport| subport.parent);
        if !links.started.contains(&at) {
            return Err(ExplainError::Stopped(at.get()));
        }
        let mut frame = frame.to_vec();
        if let Some(subport) = subport {
            let behind = ethernet::ADDRESSES.min(frame.len());
            frame.splice(behind..behind, ethernet::vlan_tag(subport.vlan));
        }
        let _ = arriving.push(MemoryFrame::new(&frame));
        for (port, subport) in &links.subports {
            worker.add_subport(*port, *subport);
        }
        let has_device = |port: &PortId| subports.get(*port).is_none();
        let sent = Sent::default();
        for to in links.started.into_iter().filter(has_device) {
            let queues = match to == at {
                true => vec![MemoryRx(Arc::clone(&arriving))],
                false => Vec::new(),
            };
            worker.add_port(to, queues, Some(Link::Own(Exit(to, Arc::clone(&sent)))));
        }
        worker.poll();
        let seen = worker.into_observer().0;
        let counters = [counters];
        // What is too short for a tag arrived on the parent.
        let arrived = [from, at].map(|port| total(&counters, port));
        let arrived = arrived.iter().find(|port| port.rx != 0);
        let outcome = outcome(&arrived.copied().unwrap_or_default(), &held);
        let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self {
            seen,
            outcome,
            sent,
        })
    }
}

fn outcome(totals: &PortTotals, held: &PuntQueues<MemoryFrame>) -> Outcome {
    let dropped = DropReason::ALL
        .iter()
        .find(|reason| totals.drops_for(**reason) != 0);
    match (dropped, held.next_miss()) {
        (Some(reason), _) => Outcome::Dropped(*reason),
        (None, Some(miss)) => Outcome::Held(miss.destination),
        (None, None) if totals.to_replicas != 0 => Outcome::Copied,
        (None, None) if totals.answered != 0 => Outcome::Answered,
        (None, None) => Outcome::Forwarded,
    }
}

/// Frames that left, and by which port.
type Sent = Arc<Mutex<Vec<(PortId, Vec<u8>)>>>;

/// A port's way out.
struct Exit(PortId, Sent);

impl TxQueue for Exit {
    type Frame = MemoryFrame;

    fn tx_burst(&mut self, frames: &mut Frames<MemoryFrame>) -> usize {
        let mut sent = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sent.len();
        sent.extend(
            frames
                .drain(..)
                .map(|frame| (self.0, frame.head().to_vec())),
        );
        sent.len() - before
    }
}
