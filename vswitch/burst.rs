// SPDX-License-Identifier: MIT
//! What a worker works on: up to [`MAX_BURST`] frames, and what the stages found out about each.

use arrayvec::ArrayVec;

use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Frame, Frames, MAX_BURST};
use crate::tables::PortId;
use crate::tables::neighbors::{Entry, Home};

/// What an Ethernet frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Payload {
    /// IPv4, checked.
    Ipv4,
    /// IPv6, fixed header checked.
    Ipv6,
    /// Anything else: switched by MAC, never routed.
    #[default]
    Other,
}

/// What was found out about one packet. One cache line; written by one stage, read by later ones.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Meta {
    /// Bytes of the frame. By `parse`.
    pub len: u32,
    /// What the inner frame carries. By `parse`.
    pub payload: Payload,
    /// DSCP and ECN of the inner packet, zero when it is not IP. By `parse`.
    pub tos: u8,
    /// ECN bits of the outer header, zero if there was none. By `decap`.
    pub outer_ecn: u8,
    /// The host's own traffic, not a tenant's. By `decap`.
    pub host: bool,
    /// To be routed, not switched. By `route` or `decap`.
    pub routed: bool,
    /// Hash of the inner flow: equal for all packets of a flow. By `parse`.
    pub flow: u32,
    /// Inner destination address when the payload is IPv4, host order. By `parse`.
    pub dst_ip: u32,
    /// Inner destination MAC, as [`Mac::word`](crate::wire::Mac::word). By `parse`.
    pub dst_mac: u64,
    /// Time to live, or hop limit, when the payload is IP. By `parse`.
    pub ttl: u8,
    /// Key in the neighbor tables: by IP when `routed`, by MAC otherwise; of IPv6 what
    /// [`next_hop`](crate::stage::route::next_hop) makes a key of. By `route` or `decap`.
    pub key: u64,
    /// Where in its table the key is looked up. By `route` or `decap`.
    pub home: Home,
    /// The neighbor it goes to. By `neighbor`.
    pub neighbor: Entry,
    /// The port it leaves by. By `deliver` or `encap`.
    pub out: PortId,
    /// Why it is not kept. By [`Burst::keep_or_offer`].
    refused: DropReason,
}
const _: () = assert!(size_of::<Meta>() == 64);

const NOWHERE: PortId = PortId::new(0).unwrap();

impl Meta {
    const NEW: Self = Self {
        len: 0,
        payload: Payload::Other,
        tos: 0,
        outer_ecn: 0,
        host: false,
        routed: false,
        flow: 0,
        dst_ip: 0,
        dst_mac: 0,
        ttl: 0,
        key: 0,
        home: Home::START,
        neighbor: Entry::NONE,
        out: NOWHERE,
        refused: DropReason::Truncated,
    };
}

const _: () = assert!(MAX_BURST <= u64::BITS as usize); // a bit per frame, see `Burst::keep`

/// A burst of frames from one port's queue, in order of arrival.
pub struct Burst<F> {
    frames: Frames<F>,
    meta: [Meta; MAX_BURST],
    /// Dropped, and not counted yet: no more than arrived.
    gone: Frames<F>,
    /// Why, each.
    reasons: ArrayVec<DropReason, MAX_BURST>,
    unfinished: bool,
}

impl<F: Frame> Default for Burst<F> {
    fn default() -> Self {
        Self {
            frames: Frames::new(),
            meta: [Meta::NEW; MAX_BURST],
            gone: Frames::new(),
            reasons: ArrayVec::new(),
            unfinished: false,
        }
    }
}

impl<F: Frame> Burst<F> {
    /// The frames, to receive into or to send from.
    pub const fn frames_mut(&mut self) -> &mut Frames<F> {
        &mut self.frames
    }

    /// Number of frames in it.
    pub const fn len(&self) -> usize {
        self.frames.len()
    }

    /// True when no frame is left.
    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Says whether any of its frames may be [unfinished](Frame::unfinished).
    #[inline]
    pub const fn set_unfinished(&mut self, any: bool) {
        self.unfinished = any;
    }

    /// Whether any may be.
    #[inline]
    pub const fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Each frame with what is known of it.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&F, &Meta)> {
        self.frames.iter().zip(&self.meta)
    }

    /// Each frame with what is known of it, to write.
    #[inline]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&mut F, &mut Meta)> {
        self.frames.iter_mut().zip(&mut self.meta)
    }

    /// Decides over each frame: `Ok` keeps it, `Err` drops it.
    #[inline(always)]
    pub fn keep(&mut self, decide: impl FnMut(&mut F, &mut Meta) -> Result<(), DropReason>) {
        self.keep_or_offer(decide, |frame, _, reason| Err((frame, reason)));
    }

    /// Decides over each frame: `Ok` keeps it, `Err` offers it, in order, to somebody who takes it (`Ok(None)`), gives it back
    /// to be kept after all, or gives it back with the reason to drop it for. What is dropped is counted and freed by
    /// [`Burst::settle`].
    #[inline(always)]
    pub fn keep_or_offer(
        &mut self,
        decide: impl FnMut(&mut F, &mut Meta) -> Result<(), DropReason>,
        offer: impl FnMut(F, &mut Meta, DropReason) -> Result<Option<F>, (F, DropReason)>,
    ) {
        let refused = self.refusals(decide);
        if refused != 0 {
            self.remove(refused, offer);
        }
    }

    /// The same, but what `decide` refuses is tried `again` in its place, in a loop of its own, before it is offered: for what
    /// the straight path has no room for.
    #[inline]
    pub fn keep_again_or_offer(
        &mut self,
        decide: impl FnMut(&mut F, &mut Meta) -> Result<(), DropReason>,
        again: impl FnMut(&mut F, &mut Meta, DropReason) -> Result<(), DropReason>,
        offer: impl FnMut(F, &mut Meta, DropReason) -> Result<Option<F>, (F, DropReason)>,
    ) {
        let refused = self.refusals(decide);
        if refused != 0 {
            let refused = self.again(refused, again);
            if refused != 0 {
                self.remove(refused, offer);
            }
        }
    }

    /// The bits of those whose bits are set and that are refused again.
    #[inline(never)]
    fn again(
        &mut self,
        mut refused: u64,
        mut decide: impl FnMut(&mut F, &mut Meta, DropReason) -> Result<(), DropReason>,
    ) -> u64 {
        for (i, (frame, meta)) in self.frames.iter_mut().zip(&mut self.meta).enumerate() {
            if refused >> i & 1 == 0 {
                continue;
            }
            match decide(frame, meta, meta.refused) {
                Ok(()) => refused &= !(1 << i),
                Err(reason) => meta.refused = reason,
            }
        }
        refused
    }

    /// The bits of those that are refused.
    #[inline(always)]
    fn refusals(
        &mut self,
        mut decide: impl FnMut(&mut F, &mut Meta) -> Result<(), DropReason>,
    ) -> u64 {
        let mut refused = 0;
        for (i, (frame, meta)) in self.frames.iter_mut().zip(&mut self.meta).enumerate() {
            if let Err(reason) = decide(frame, meta) {
                refused |= 1 << i;
                meta.refused = reason;
            }
        }
        refused
    }

    /// Offers the frames whose bits are set, and drops those that nobody takes or keeps; the others close up, in order.
    #[cold]
    #[inline(never)]
    fn remove(
        &mut self,
        refused: u64,
        mut offer: impl FnMut(F, &mut Meta, DropReason) -> Result<Option<F>, (F, DropReason)>,
    ) {
        let all = std::mem::take(&mut self.frames);
        for (i, frame) in all.into_iter().enumerate() {
            let mut meta = self.meta[i];
            let kept = match refused >> i & 1 {
                0 => Ok(Some(frame)),
                _ => {
                    let reason = meta.refused;
                    offer(frame, &mut meta, reason)
                }
            };
            match kept {
                Ok(Some(frame)) => {
                    self.meta[self.frames.len()] = meta;
                    self.frames.push(frame);
                }
                Ok(None) => {}
                Err((frame, reason)) => {
                    self.gone.push(frame);
                    self.reasons.push(reason);
                }
            }
        }
    }

    /// Drops all frames for one reason.
    pub fn drop_all(&mut self, reason: DropReason) {
        self.reasons.extend(self.frames.iter().map(|_| reason));
        self.gone.extend(self.frames.drain(..));
    }

    /// Adds a frame with what is known of it. There must be room.
    pub fn push(&mut self, frame: F, meta: &Meta) {
        self.meta[self.frames.len()] = *meta;
        self.frames.push(frame);
    }

    /// Takes all frames out, each with what is known of it.
    pub fn take_all(&mut self) -> impl Iterator<Item = (F, Meta)> {
        self.frames.drain(..).zip(self.meta)
    }

    /// Moves the frames that `choose` picks to `to`, in order. `to` must have room for a burst.
    pub fn move_out(&mut self, to: &mut Frames<F>, mut choose: impl FnMut(&Meta) -> bool) {
        let mut all = std::mem::take(&mut self.frames);
        for (i, frame) in all.drain(..).enumerate() {
            if choose(&self.meta[i]) {
                to.push(frame);
            } else {
                self.meta[self.frames.len()] = self.meta[i];
                self.frames.push(frame);
            }
        }
    }

    /// Counts and frees what was dropped since the last call, of frames that arrived on a port.
    #[inline]
    pub fn settle(&mut self, port: PortId, counters: &WorkerCounters) {
        if !self.gone.is_empty() {
            self.settle_drops(port, counters);
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_drops(&mut self, port: PortId, counters: &WorkerCounters) {
        for (frame, reason) in self.gone.iter().zip(self.reasons.drain(..)) {
            counters.count_drop(port, reason, frame);
        }
        F::free_all(&mut self.gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::total;
    use crate::io::memory::MemoryFrame;

    fn burst(lens: &[usize]) -> Burst<MemoryFrame> {
        let mut burst = Burst::default();
        burst
            .frames
            .extend(lens.iter().map(|&len| MemoryFrame::new(&vec![0; len])));
        for (frame, meta) in burst.iter_mut() {
            meta.len = frame.len() as u32;
        }
        burst
    }

    fn lens(burst: &Burst<MemoryFrame>) -> Vec<(usize, u32)> {
        burst
            .iter()
            .map(|(frame, meta)| (frame.len(), meta.len))
            .collect()
    }

    #[test]
    fn keep_drops_counts_and_leaves_the_order() {
        let mut burst = burst(&[1, 2, 3, 4, 5]);
        burst.keep(|frame, _| {
            if frame.len() % 2 == 0 {
                Err(DropReason::NoRoute)
            } else {
                Ok(())
            }
        });
        assert_eq!(lens(&burst), [(1, 1), (3, 3), (5, 5)]);

        let worker = std::sync::Arc::new(crate::counters::WorkerCounters::default());
        burst.settle(NOWHERE, &worker);
        burst.settle(NOWHERE, &worker);
        assert_eq!(total(&[worker], NOWHERE).drops_for(DropReason::NoRoute), 2);
    }

    #[test]
    fn what_is_offered_is_taken_kept_or_dropped_for_the_reason_that_comes_back() {
        let mut burst = burst(&[1, 2, 3, 4, 5, 6]);
        let mut taken = Vec::new();
        burst.keep_or_offer(
            |frame, _| match frame.len() {
                1 | 6 => Ok(()),
                2 => Err(DropReason::NoRoute),
                _ => Err(DropReason::UnknownMac),
            },
            |frame, meta, reason| match (meta.len, reason) {
                (3, DropReason::UnknownMac) => {
                    taken.push(frame.len());
                    Ok(None)
                }
                (4, _) => Err((frame, DropReason::TooBig)),
                (5, _) => {
                    meta.len = 50;
                    Ok(Some(frame))
                }
                _ => Err((frame, reason)),
            },
        );
        assert_eq!(
            (taken, lens(&burst)),
            (vec![3], vec![(1, 1), (5, 50), (6, 6)])
        );
        let worker = std::sync::Arc::new(crate::counters::WorkerCounters::default());
        burst.settle(NOWHERE, &worker);
        let total = total(&[worker], NOWHERE);
        assert_eq!(total.dropped(), 2);
        assert_eq!(total.drops_for(DropReason::NoRoute), 1);
        assert_eq!(total.drops_for(DropReason::TooBig), 1);
    }

    #[test]
    fn what_is_moved_out_and_what_stays_keep_their_order() {
        let mut burst = burst(&[1, 2, 3, 4, 5, 6]);
        let mut out = Frames::new();
        burst.move_out(&mut out, |meta| meta.len > 4 || meta.len == 1);
        assert_eq!(out.iter().map(Frame::len).collect::<Vec<_>>(), [1, 5, 6]);
        assert_eq!(lens(&burst), [(2, 2), (3, 3), (4, 4)]);
    }
}
