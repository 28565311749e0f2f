// SPDX-License-Identifier: MIT
//! Out: gives frames to their ports, grouped by port, in bulk.
//!
//! Reads `meta.out`, `len`.
//! Drops `TxFull`, and `NoHeadroom` of what has no room for the underlay's tag.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::burst::Burst;
use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Frame, Frames, MAX_BURST, TxQueue};
use crate::stage::vlan;
use crate::tables::{MAX_PORTS, PortId};

/// Frames that may wait for the worker that owns a port's only tx queue. 1024: 16 bursts of 64, what the
/// owner sends in a few polls; more only adds delay.
pub const HANDOFF_CAPACITY: usize = 1024;

/// Frames on their way to the worker that owns a port's tx queue, with the port each arrived on; `None`: they are the
/// switch's own.
pub type Handoff<F> = Arc<ArrayQueue<(F, Option<PortId>)>>;

/// How one worker reaches one port.
pub enum Link<T: TxQueue> {
    /// By a tx queue of its own.
    Own(T),
    /// By a tx queue that other workers use too, through this worker: it also sends what they hand over.
    Shared(T, Handoff<T::Frame>),
    /// By the worker that has the tx queue.
    Borrowed(Handoff<T::Frame>),
}

/// A port as one worker has it.
struct Way<T: TxQueue> {
    link: Link<T>,
    /// The VLAN whose tag goes on what leaves by it.
    vlan: Option<u16>,
}

/// A worker's ways out.
pub struct Egress<T: TxQueue> {
    ways: [Option<Way<T>>; MAX_PORTS],
    /// Bit per port: its frames are tagged; and the VLAN.
    tagged: Option<(u32, u16)>,
    /// Bit per port: other workers hand over what is for it.
    shared: u32,
    waiting: Box<[Frames<T::Frame>; MAX_PORTS]>,
    /// Bit per port: frames are waiting.
    touched: u32,
}
const _: () = assert!(MAX_PORTS == u32::BITS as usize);

impl<T: TxQueue> Egress<T> {
    /// None yet. On all that leaves by the ports of `tagged`, a bit each, goes the tag of that VLAN.
    pub fn new(tagged: Option<(u32, u16)>) -> Self {
        Self {
            ways: std::array::from_fn(|_| None),
            tagged,
            shared: 0,
            waiting: Box::new(std::array::from_fn(|_| Frames::new())),
            touched: 0,
        }
    }

    /// Says how a port is reached from now on. What is for a port without a link is dropped as `TxFull`.
    pub fn set(&mut self, port: PortId, link: Option<Link<T>>) {
        let bit = 1 << port.get();
        self.shared = match link {
            Some(Link::Shared(..)) => self.shared | bit,
            _ => self.shared & !bit,
        };
        let vlan = self
            .tagged
            .and_then(|(ports, vlan)| (ports & bit != 0).then_some(vlan));
        self.ways[port.index()] = link.map(|link| Way { link, vlan });
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
            let way = &mut self.ways[first.index()];
            transmit(way, burst.frames_mut(), bytes, first, Some(from), counters);
            return;
        }
        let outs: arrayvec::ArrayVec<PortId, MAX_BURST> =
            burst.iter().map(|(_, meta)| meta.out).collect();
        for (frame, out) in burst.frames_mut().drain(..).zip(outs) {
            self.waiting[out.index()].push(frame);
            self.touched |= 1 << out.get();
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
        let way = &mut self.ways[out.index()];
        transmit(way, frames, bytes, out, from, counters)
    }

    fn flush(&mut self, from: PortId, counters: &WorkerCounters) {
        for out in ports(std::mem::take(&mut self.touched)) {
            let frames = &mut self.waiting[out.index()];
            let bytes = frames.iter().map(Frame::len).sum();
            let way = &mut self.ways[out.index()];
            transmit(way, frames, bytes, out, Some(from), counters);
        }
    }

    /// Sends what other workers handed over for ports whose tx queue is here: up to [`MAX_BURST`] frames for each.
    /// Returns how many frames that were.
    #[inline]
    pub fn send_handed_over(&mut self, counters: &WorkerCounters) -> usize {
        let mut sent = 0;
        for out in ports(self.shared) {
            let Some(Way {
                link: Link::Shared(tx, handoff),
                vlan,
            }) = &mut self.ways[out.index()]
            else {
                continue;
            };
            let mut frames = Frames::new();
            let mut bytes = 0;
            let mut arrived_on = None;
            for (frame, from) in std::iter::from_fn(|| handoff.pop()).take(MAX_BURST) {
                if from != arrived_on && !frames.is_empty() {
                    // Each port's counters must balance, so frames that arrived on one are sent together.
                    give(tx, *vlan, &mut frames, bytes, out, arrived_on, counters);
                    bytes = 0;
                }
                arrived_on = from;
                bytes += frame.len();
                frames.push(frame);
                sent += 1;
            }
            if !frames.is_empty() {
                give(tx, *vlan, &mut frames, bytes, out, arrived_on, counters);
            }
        }
        sent
    }
}

/// The ports whose bits are set.
#[inline]
fn ports(mut bits: u32) -> impl Iterator<Item = PortId> {
    std::iter::from_fn(move || {
        let port = PortId::new(bits.trailing_zeros() as u16)?; // 32 when none is left
        bits &= bits - 1;
        Some(port)
    })
}

/// Returns how many frames were refused, and dropped.
#[inline]
fn transmit<T: TxQueue>(
    way: &mut Option<Way<T>>,
    frames: &mut Frames<T::Frame>,
    bytes: usize,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> usize {
    let Some(Way { link, vlan }) = way else {
        return refuse(frames, out, from, counters);
    };
    match link {
        Link::Own(tx) | Link::Shared(tx, _) => give(tx, *vlan, frames, bytes, out, from, counters),
        Link::Borrowed(handoff) => {
            let mut refused = Frames::new();
            for frame in frames.drain(..) {
                if let Err((frame, _)) = handoff.push((frame, from)) {
                    refused.push(frame);
                }
            }
            refuse(&mut refused, out, from, counters)
        }
    }
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
        Some(vlan) => tag(frames, vlan, out, from, counters),
    };
    let sent = tx.tx_burst(frames);
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

/// Tags frames; drops those that have no room for it. Returns how many those were, and the bytes of the others.
#[inline(never)]
fn tag<F: Frame>(
    frames: &mut Frames<F>,
    vlan: u16,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> (usize, usize) {
    let all = frames.len();
    frames.retain(|frame| vlan::put_on(frame, vlan));
    let unfit = all - frames.len();
    count_lost(unfit, DropReason::NoHeadroom, out, from, counters);
    (unfit, frames.iter().map(Frame::len).sum())
}

#[cold]
fn refuse<F: Frame>(
    frames: &mut Frames<F>,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) -> usize {
    let refused = frames.len();
    count_lost(refused, DropReason::TxFull, out, from, counters);
    F::free_all(frames);
    refused
}

/// Counts frames that came from `from`, or are the switch's own, and do not leave by `out`.
fn count_lost(
    lost: usize,
    reason: DropReason,
    out: PortId,
    from: Option<PortId>,
    counters: &WorkerCounters,
) {
    match from {
        Some(from) => counters.port(from).add_drops(reason, lost),
        None => counters.port(out).add_unsent(lost),
    }
}
