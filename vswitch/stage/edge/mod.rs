// SPDX-License-Identifier: MIT
//! The first hop: what a stage refuses is looked at once more before it is dropped. It may be a question that the switch
//! answers (`arp`, `nd`, `dhcp`, `dhcp6`, echo), a packet whose sender is told why it goes no further (`icmp`, `icmpv6`), one
//! whose neighbor a gateway of the VPC (`group`) or the controller ([`punt`]) may know, or one for everybody ([`replicate`]).
//!
//! Reads the frame, `meta.payload`, and what `group` and `punt` read.
//! Writes what `group` writes.
//! Drops what was to be dropped anyway, `ForGateway`, `BadNd`, `NoLease`, `BadDhcp`, `DhcpQuiet`, `DhcpDeclined`,
//! `NoHeadroom`, and those of `punt` and `replicate`.
//!
//! All of it is off the path of frames that are forwarded. Answers have no limit of their own, other than errors ([`Limiter`]):
//! each takes the place of its question, and leaves by the port that this came from.

pub(super) mod arp;
mod dhcp;
mod dhcp6;
mod group;
mod icmp;
mod icmpv6;
mod limit;
pub(super) mod nd;
mod question;
mod question6;
mod router;

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::burst::{Burst, Meta, Payload};
use crate::counters::capture::Sketch;
use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Frame, Frames, MAX_BURST, TxQueue};
use crate::stage::limits::Limits;
use crate::stage::punt::{self, PuntQueues};
use crate::stage::replicate::{self, Originals};
use crate::stage::transmit::Egress;
use crate::tables::{Neighbors, PortId, TenantPort};

pub(super) use limit::Bucket;
pub use limit::Limiter;

/// The first hop of one guest, while a burst of it is looked at.
pub struct Edge<'a, F> {
    /// Where the controller is asked; `None`: nowhere.
    pub queues: Option<&'a Arc<PuntQueues<F>>>,
    /// The port that the burst came from.
    pub from: PortId,
    /// The guest there.
    pub guest: &'a TenantPort,
    /// What was looked at.
    pub neighbors: &'a Neighbors,
    /// The worker's.
    pub counters: &'a WorkerCounters,
    /// What the guest is to be sent.
    pub replies: &'a mut Replies<F>,
    /// What it sends that is to be copied.
    pub originals: &'a mut Originals<F>,
    /// How many errors it may be told, and frames copied.
    pub limiter: &'a mut Limiter,
    /// How long what it sends may be.
    pub limits: &'a Limits,
}

/// What a guest is to be sent: no more than frames of one burst are refused.
pub struct Replies<F> {
    frames: Frames<F>,
    /// Of each, why the packet that it is about was dropped; `None`: that was for the switch itself.
    dropped: ArrayVec<Option<DropReason>, MAX_BURST>,
    /// What it is told besides.
    unasked: Option<F>,
}

impl<F> Default for Replies<F> {
    fn default() -> Self {
        Self {
            frames: Frames::new(),
            dropped: ArrayVec::new(),
            unasked: None,
        }
    }
}

impl<F: Frame> Replies<F> {
    /// Sends them by `port`, and counts what they are about: in this order, so that who finds all that arrived accounted
    /// for finds all that left.
    #[inline]
    pub fn send<T: TxQueue<Frame = F>>(
        &mut self,
        port: PortId,
        egress: &mut Egress<T>,
        worker: &WorkerCounters,
    ) {
        if self.frames.is_empty() && self.unasked.is_none() {
            return;
        }
        egress.send_own(&mut self.frames, port, worker);
        if let Some(unasked) = self.unasked.take() {
            self.frames.push(unasked); // the others are gone
            egress.send_own(&mut self.frames, port, worker);
        }
        let counters = worker.port(port);
        for dropped in self.dropped.drain(..) {
            match dropped {
                None => counters.add_answered(1),
                Some(reason) => counters.add_drops(reason, 1),
            }
        }
    }
}

/// What becomes of a frame that a stage refused.
enum Verdict {
    /// It was for the switch itself, and is the answer by now.
    Answer,
    /// It is dropped, and has become the message that tells its sender.
    Told(DropReason),
    /// It is dropped.
    Drop(DropReason),
}

/// Of a packet that is dropped, and whose sender was told so, or not.
const fn dropped(told: bool, reason: DropReason) -> Verdict {
    match told {
        true => Verdict::Told(reason),
        false => Verdict::Drop(reason),
    }
}

/// Puts these bytes in a frame's place.
///
/// # Errors
/// `NoHeadroom`: it has no room for them.
fn replace<F: Frame>(frame: &mut F, parts: &[&[u8]]) -> Result<(), DropReason> {
    let new = parts.iter().map(|part| part.len()).sum::<usize>();
    let fits = match new.checked_sub(frame.len()) {
        Some(more) => frame.extend(more),
        None => frame.truncate(new),
    };
    if !fits {
        return Err(DropReason::NoHeadroom);
    }
    write(frame, parts);
    Ok(())
}

/// Writes these bytes over a frame's first ones.
fn write<F: Frame>(frame: &mut F, parts: &[&[u8]]) {
    let bytes = parts.iter().copied().flatten();
    for (to, from) in frame.head_mut().iter_mut().zip(bytes) {
        *to = *from;
    }
}

impl<'a, F: Frame> Edge<'a, F> {
    /// Takes a frame that a stage refused, if there is anything to do but to drop it. `Some`: it is to go on.
    ///
    /// # Errors
    /// It is to be dropped, for this reason.
    pub fn take(
        &mut self,
        mut frame: F,
        meta: &mut Meta,
        reason: DropReason,
    ) -> Result<Option<F>, (F, DropReason)> {
        let before = self.sketch(&frame);
        let answer = match meta.payload {
            Payload::Ipv4 => dhcp::answer(self, &mut frame, meta)
                .or_else(|| icmp::answer(self, &mut frame, meta, reason)),
            Payload::Ipv6 => nd::answer(self, &mut frame)
                .or_else(|| dhcp6::answer(self, &mut frame))
                .or_else(|| icmpv6::answer(self, &mut frame, meta, reason)),
            Payload::Other => arp::answer(self, &mut frame),
        };
        let verdict = match answer {
            Some(verdict) => verdict,
            None if group::takes(self, &frame, meta, reason) => return Ok(Some(frame)),
            None => match punt::take(self, frame, meta, reason) {
                Ok(()) => return Ok(None),
                Err((back, reason)) => match replicate::take(self, back, meta, reason) {
                    Ok(()) => return Ok(None),
                    Err((back, reason)) => {
                        frame = back;
                        self.told(&mut frame, meta, reason)
                    }
                },
            },
        };
        self.reply(frame, verdict, before).map(|()| None)
    }

    /// Tells the sender of a frame that is dropped why, if it is to be told.
    ///
    /// # Errors
    /// It is to be dropped, for this reason.
    pub fn tell(
        &mut self,
        mut frame: F,
        meta: &Meta,
        reason: DropReason,
    ) -> Result<(), (F, DropReason)> {
        let before = self.sketch(&frame);
        let verdict = self.told(&mut frame, meta, reason);
        self.reply(frame, verdict, before)
    }

    /// What a frame that becomes a message was, for somebody who wants to see what is dropped.
    fn sketch(&self, frame: &F) -> Option<Sketch<'a>> {
        let capture = &self.counters.capture;
        let wanted = capture
            .wants_dropped()
            .then(|| capture.sketch(self.from, frame));
        wanted.flatten()
    }

    fn told(&mut self, frame: &mut F, meta: &Meta, reason: DropReason) -> Verdict {
        match meta.payload {
            Payload::Ipv6 => icmpv6::tell(self, frame, meta, reason),
            _ => icmp::tell(self, frame, meta, reason),
        }
    }

    /// Tells the guest, which has just sent `burst` by its gateway over IPv6, of that gateway if this is due. Of most bursts it
    /// is not looked whether it is.
    #[inline]
    pub(super) fn remind(&mut self, burst: &Burst<F>) {
        if self.limiter.looks_for_router(self.from) {
            router::remind(self, burst);
        }
    }

    /// Bytes of the longest frame that gets where this one goes.
    pub(super) fn longest(&self, meta: &Meta) -> u32 {
        self.limits
            .longest_to(meta.neighbor.hop(), &self.neighbors.hops)
    }

    fn reply(
        &mut self,
        mut frame: F,
        verdict: Verdict,
        before: Option<Sketch<'a>>,
    ) -> Result<(), (F, DropReason)> {
        let dropped = match verdict {
            Verdict::Answer => None,
            Verdict::Told(reason) => {
                if let Some(before) = before {
                    before.drop_for(reason);
                }
                Some(reason)
            }
            Verdict::Drop(reason) => return Err((frame, reason)),
        };
        frame.set_finished(); // what its packet lacked, the message has
        self.replies.frames.push(frame);
        self.replies.dropped.push(dropped);
        Ok(())
    }
}
