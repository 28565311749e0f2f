// SPDX-License-Identifier: MIT
//! The first hop: what a stage refuses is looked at once more before it is dropped. It may be a question that the switch
//! answers (`arp`, echo), a packet whose sender is told why it goes no further (`icmp`), or one whose neighbor the
//! controller may know ([`punt`](super::punt)).
//!
//! Reads the frame, `meta.payload`, and what `punt` reads.
//! Drops what was to be dropped anyway, `ForGateway`, and those of `punt`.
//!
//! All of it is off the path of frames that are forwarded.

pub(super) mod arp;
mod icmp;
mod limit;

use std::sync::Arc;

use crate::burst::{Meta, Payload};
use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Frame, Frames};
use crate::stage::punt::{self, PuntQueues};
use crate::tables::{Neighbors, PortId, TenantPort};

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
    /// What the guest is to be sent; no more than frames are refused.
    pub replies: &'a mut Frames<F>,
    /// How many errors it may be told.
    pub limiter: &'a mut Limiter,
}

/// What becomes of a frame that a stage refused.
enum Verdict {
    /// It was for the switch itself, and is the answer by now.
    Answer,
    /// It is dropped, and has become the message that tells its sender.
    Told(DropReason),
    /// It is dropped.
    Drop(DropReason),
    /// It is not for the switch itself.
    Pass,
}

impl<F: Frame> Edge<'_, F> {
    /// Takes a frame that a stage refused, if there is anything to do but to drop it.
    ///
    /// # Errors
    /// It is to be dropped, for this reason.
    pub fn take(
        &mut self,
        mut frame: F,
        meta: &Meta,
        reason: DropReason,
    ) -> Result<(), (F, DropReason)> {
        let verdict = match meta.payload {
            Payload::Ipv4 => icmp::answer(self, &mut frame, meta, reason),
            Payload::Ipv6 => Verdict::Pass,
            Payload::Other => arp::answer(self, &mut frame),
        };
        let verdict = match verdict {
            Verdict::Pass => match punt::take(self, frame, meta, reason) {
                Ok(()) => return Ok(()),
                Err((back, reason)) => {
                    frame = back;
                    icmp::tell(self, &mut frame, meta, reason)
                }
            },
            verdict => verdict,
        };
        let counters = self.counters.port(self.from);
        match verdict {
            Verdict::Answer => counters.add_answered(),
            Verdict::Told(reason) => counters.add_drops(reason, 1),
            Verdict::Drop(reason) => return Err((frame, reason)),
            Verdict::Pass => return Err((frame, reason)),
        }
        self.replies.push(frame);
        Ok(())
    }
}
