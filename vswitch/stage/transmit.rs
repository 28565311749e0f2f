// SPDX-License-Identifier: MIT
//! Out: gives frames to their ports, grouped by port, in bulk.
//!
//! Reads `meta.out`, `len`.
//! Drops `TxFull`, and `NoHeadroom` of what has no room for the underlay's tag or a subport's.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::burst::Burst;
use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Finishes, Frame, Frames, MAX_BURST, TxQueue};
use crate::stage::trunk::Subports;
use crate::stage::vlan;
use crate::tables::{MAX_PORTS, PortId, PortSet, by_port};

/// Frames that may wait for the worker that owns a port's only tx queue. 1024: 16 bursts of 64, what the
/// owner sends in a few polls; more only adds delay.
pub const HANDOFF_CAPACITY: usize = 1024;

/// Frames on their way to the worker that owns a port's tx queue.
pub type Handoff<F> = Arc<ArrayQueue<Handed<F>>>;

/// One of them, as it is to be on the wire but for the underlay's tag.
pub struct Handed<F> {
    /// The frame.
    pub frame: F,
    /// The port it arrived on; `None`: it is the switch's own.
    pub from: Option<PortId>,
    /// The port it counts as sent by: the queue's, or a subport of that.
    pub out: PortId,
}

/// How one worker reaches one port.
pub enum Link<T: TxQueue> {
    /// By a tx queue of its own.
    Own(T),
    /// By a tx queue that other workers use too, through this worker: it also sends what they hand over.
    Shared(T, Handoff<T::Frame>),
    /// By a tx queue of its own while the peer takes from that, else by the worker that has the port's first one: a guest may use
    /// fewer queues than there are.
    Spare(T, Handoff<T::Frame>),
    /// By the worker that has the tx queue.
    Borrowed(Handoff<T::Frame>),
}

impl<T: TxQueue> Link<T> {
    /// The tx queue to give frames to, or where to leave them for the worker that has it.
    #[inline(always)]
    fn queue(&mut self) -> Result<&mut T, &Handoff<T::Frame>> {
        match self {
            Self::Spare(tx, handoff) if !tx.is_open() => Err(handoff),
            Self::Own(tx) | Self::Shared(tx, _) | Self::Spare(tx, _) => Ok(tx),
            Self::Borrowed(handoff) => Err(handoff),
        }
    }
}

/// A port as one worker has it.
struct Way<T: TxQueue> {
    link: Link<T>,
    /// The VLAN whose tag goes on what leaves by it.
    vlan: Option<u16>,
}

/// By port.
struct Ways<T: TxQueue> {
    /// Of ports that have a device.
    own: Box<[Option<Way<T>>; MAX_PORTS]>,
    /// Ports that leave by their parents' ways.
    subports: Subports,
}

/// A worker's ways out.
pub struct Egress<T: TxQueue> {
    ways: Ways<T>,
    /// The ports whose frames are tagged; and the VLAN.
    tagged: Option<(PortSet, u16)>,
    /// The ports that other workers hand over frames for.
    shared: PortSet,
    waiting: Box<[Frames<T::Frame>; MAX_PORTS]>,
    /// The ports that frames are waiting for.
    touched: PortSet,
}

impl<T: TxQueue> Egress<T> {
    /// None yet. On all that leaves by the ports of `tagged` goes the tag of that VLAN.
    pub fn new(tagged: Option<(PortSet, u16)>) -> Self {
        Self {
            ways: Ways {
                own: by_port(|| None),
                subports: Subports::default(),
            },
            tagged,
            shared: PortSet::default(),
            waiting: by_port(Frames::new),
            touched: PortSet::default(),
        }
    }

    /// Says how a port is reached from now on. What is for a port without a link is dropped as `TxFull`.
    pub fn set(&mut self, port: PortId, link: Option<Link<T>>) {
        match link {
            Some(Link::Shared(..)) => self.shared.insert(port),
            _ => self.shared.remove(port),
        }
        let vlan = self
            .tagged
            .and_then(|(ports, vlan)| ports.contains(port).then_some(vlan));
        self.ways.own[port.index()] = link.map(|link| Way { link, vlan });
    }

    /// The ports that leave by others' ways.
    #[inline(always)]
    pub const fn subports(&self) -> &Subports {
        &self.ways.subports
    }

    /// The same, to say which those are.
    pub const fn subports_mut(&mut self) -> &mut Subports {
        &mut self.ways.subports
    }

    /// What is finished by the device of a port. Nothing where another worker has its tx queue, or a tag is to go on.
    pub(super) fn finishes(&self, port: PortId) -> Finishes {
        match &self.ways.own[port.index()] {
            Some(Way {
                link: Link::Own(tx) | Link::Shared(tx, _) | Link::Spare(tx, _),
                vlan: None,
            }) => tx.finishes(),
            _ => Finishes::default(),
        }
    }

    /// Sends a burst that arrived on `from`, each frame by the port in its metadata, in order per port. Leaves
    /// `burst` empty. Never blocks, allocates or logs.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst<T::Frame>, from: PortId, counters: &WorkerCounters) {
        let Some(first) = burst.iter().next().map(|(_, meta)| meta.out) else {
            return;
        };
        let (mut bytes, mut one_port) = (0, true);
        for (_, meta) in burst.iter() {
            bytes += meta.len as usize;
            one_port &= meta.out == first;
        }
        if one_port {
            let ways = &mut self.ways;
            transmit(ways, burst.frames_mut(), bytes, first, Some(from), counters);
            return;
        }
        let outs: arrayvec::ArrayVec<PortId, MAX_BURST> =
            burst.iter().map(|(_, meta)| meta.out).collect();
        for (frame, out) in burst.frames_mut().drain(..).zip(outs) {
            self.waiting[out.index()].push(frame);
            self.touched.insert(out);
        }
        self.flush(from, counters);
    }

    /// Sends frames that arrived on `from` by one port. Leaves `frames` empty; returns how many were refused, and
    /// dropped.
    pub fn send_all(
        &mut self,
        frames: &mut Frames<T::Frame>,
        out: PortId,
        from: PortId,
        counters: &WorkerCounters,
    ) -> usize {
        self.send_by(out, frames, Some(from), counters)
    }

    /// Sends messages of the switch's own by one port. Leaves `frames` empty; returns how many were refused, and dropped.
    pub fn send_own(
        &mut self,
        frames: &mut Frames<T::Frame>,
        out: PortId,
        counters: &WorkerCounters,
    ) -> usize {
        self.send_by(out, frames, None, counters)
    }

    fn send_by(
        &mut self,
        out: PortId,
        frames: &mut Frames<T::Frame>,
        from: Option<PortId>,
        counters: &WorkerCounters,
    ) -> usize {
        let bytes = frames.iter().map(Frame::len).sum();
        transmit(&mut self.ways, frames, bytes, out, from, counters)
    }

    fn flush(&mut self, from: PortId, counters: &WorkerCounters) {
        while let Some(out) = self.touched.pop() {
            let frames = &mut self.waiting[out.index()];
            let bytes = frames.iter().map(Frame::len).sum();
            transmit(&mut self.ways, frames, bytes, out, Some(from), counters);
        }
    }

    /// Sends what other workers handed over for ports whose tx queue is here: up to [`MAX_BURST`] frames for each.
    /// Returns how many frames that were.
    #[inline]
    pub fn send_handed_over(&mut self, counters: &WorkerCounters) -> usize {
        let mut sent = 0;
        if self.shared.is_empty() {
            return sent;
        }
        let mut shared = self.shared;
        while let Some(port) = shared.pop() {
            let Some(Way {
                link: Link::Shared(tx, handoff),
                vlan,
            }) = &mut self.ways.own[port.index()]
            else {
                continue;
            };
            // To look costs a load, and to take in vain a fence. There may be hundreds of them.
            if handoff.is_empty() {
                continue;
            }
            let mut frames = Frames::new();
            let mut bytes = 0;
            let mut alike = (None, port);
            for Handed { frame, from, out } in std::iter::from_fn(|| handoff.pop()).take(MAX_BURST)
            {
                if (from, out) != alike && !frames.is_empty() {
                    // Each port's counters must balance, so frames that count alike are sent together.
                    let (from, out) = alike;
                    give(tx, *vlan, &mut frames, bytes, out, from, counters);
                    bytes = 0;
                }
                alike = (from, out);
                bytes += frame.len();
                frames.push(frame);
                sent += 1;
            }
            if !frames.is_empty() {
                let (from, out) = alike;
                give(tx, *vlan, &mut frames, bytes, out, from, counters);
            }
        }
        sent
    }
}

/// Returns how many frames were refused, and dropped.
#[inline]
fn transmit<T: TxQueue>(
    ways: &mut Ways<T>,
    frames: &mut Frames<T::Frame>,
    bytes: usize,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> usize {
    let Some(Way { link, vlan }) = &mut ways.own[out.index()] else {
        return transmit_by_parent(ways, frames, out, from, counters);
    };
    match link.queue() {
        Ok(tx) => give(tx, *vlan, frames, bytes, out, from, counters),
        Err(handoff) => hand_over(handoff, frames, out, from, counters),
    }
}

/// The same for a port without a way of its own. What is for a subport gets its tag here, leaves by its parent's way, and
/// counts as sent by the subport.
#[cold]
#[inline(never)]
fn transmit_by_parent<T: TxQueue>(
    ways: &mut Ways<T>,
    frames: &mut Frames<T::Frame>,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> usize {
    let subport = ways.subports.get(out);
    let parent = subport.and_then(|it| Some((it.vlan, ways.own[it.parent.index()].as_mut()?)));
    let Some((vlan, Way { link, .. })) = parent else {
        return refuse(frames, out, from, counters);
    };
    let on = |frame: &mut T::Frame| vlan::push(frame, vlan);
    let (unfit, bytes) = tag(frames, on, out, from, counters);
    unfit
        + match link.queue() {
            Ok(tx) => give(tx, None, frames, bytes, out, from, counters),
            Err(handoff) => hand_over(handoff, frames, out, from, counters),
        }
}

/// Leaves frames with the worker that has the tx queue. Returns how many it did not take, and were dropped.
#[inline]
fn hand_over<F: Frame>(
    handoff: &Handoff<F>,
    frames: &mut Frames<F>,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> usize {
    let mut refused = Frames::new();
    for frame in frames.drain(..) {
        if let Err(Handed { frame, .. }) = handoff.push(Handed { frame, from, out }) {
            refused.push(frame);
        }
    }
    refuse(&mut refused, out, from, counters)
}

/// Gives frames to the device and counts: what it refused is dropped at once, since waiting for a full ring
/// would hold up every other port. Returns how many those were.
#[inline]
fn give<T: TxQueue>(
    tx: &mut T,
    vlan: Option<u16>,
    frames: &mut Frames<T::Frame>,
    bytes: usize,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> usize {
    let (unfit, bytes) = match vlan {
        None => (0, bytes),
        Some(vlan) => {
            let on = |frame: &mut T::Frame| vlan::put_on(frame, vlan);
            tag(frames, on, out, from, counters)
        }
    };
    let sent = match counters.capture.wants_sent() {
        false => tx.tx_burst(frames),
        true => (counters.capture).copy_sent(frames, out, |frames| tx.tx_burst(frames)),
    };
    let refused: usize = frames.iter().map(Frame::len).sum();
    // In this order: who waits until all that arrived is accounted for then finds all that left.
    counters.port(out).add_tx(sent, bytes - refused);
    match from {
        Some(from) => counters.port(from).add_forwarded(sent),
        None => counters.port(out).add_own(sent),
    }
    if frames.is_empty() {
        return unfit;
    }
    unfit + refuse(frames, out, from, counters)
}

/// Tags frames by `on`; drops those that have no room for it. Returns how many those were, and the bytes of the others.
#[inline(never)]
fn tag<F: Frame>(
    frames: &mut Frames<F>,
    mut on: impl FnMut(&mut F) -> bool,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> (usize, usize) {
    let all = frames.len();
    frames.retain(|frame| {
        let fits = on(frame);
        if !fits {
            count_lost(frame, DropReason::NoHeadroom, out, from, counters);
        }
        fits
    });
    (all - frames.len(), frames.iter().map(Frame::len).sum())
}

#[cold]
fn refuse<F: Frame>(
    frames: &mut Frames<F>,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> usize {
    let refused = frames.len();
    for frame in frames.iter() {
        count_lost(frame, DropReason::TxFull, out, from, counters);
    }
    F::free_all(frames);
    refused
}

/// Counts a frame that came from `from`, or is the switch's own, and does not leave by `out`.
fn count_lost<F: Frame>(
    frame: &F,
    reason: DropReason,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) {
    match from {
        Some(from) => counters.count_drop(from, reason, frame),
        None => counters.port(out).add_unsent(1),
    }
}
