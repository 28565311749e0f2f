// SPDX-License-Identifier: MIT
//! TCP packets that are to be cut: whole to the guest of this host that takes them whole, else in segments, each a packet of
//! its own with the headers that its sender would have given it.

use arrayvec::ArrayVec;

use super::{Located, sum};
use crate::burst::{Burst, Meta, Payload};
use crate::counters::DropReason;
use crate::io::{Finishes, Frame, Frames, MAX_BURST, TxQueue, Unfinished};
use crate::stage::edge::Edge;
use crate::stage::fragment::Large;
use crate::stage::transmit::Egress;
use crate::stage::{deliver, encap, fragment, route};
use crate::tables::{Hop, Tables};
use crate::wire::{ipv4, ipv6, tcp};

/// Most segments of a packet: 65,535 bytes in segments of 256, half of the least that hosts have to take (RFC 9293 section
/// 3.7.1). What would be more is dropped.
pub const MAX_SEGMENTS: usize = 256;

/// A burst's frames from the first one that is to be cut: they leave in order, so that no segment overtakes another of its
/// connection.
pub struct Later<F>(ArrayVec<(F, Meta), MAX_BURST>);

impl<F> Default for Later<F> {
    fn default() -> Self {
        Self(ArrayVec::new())
    }
}

impl<F: Frame> Later<F> {
    /// Takes one.
    pub(super) fn push(&mut self, frame: F, meta: &Meta) {
        self.0.push((frame, *meta)); // no more than frames of one burst
    }

    /// True when there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends all of them, and what is not to be cut by way of `burst`, which is empty. Never blocks, allocates or logs.
    #[cold]
    #[inline(never)]
    pub fn send<T: TxQueue<Frame = F>>(
        &mut self,
        burst: &mut Burst<F>,
        tables: &Tables,
        edge: &mut Edge<'_, F>,
        egress: &mut Egress<T>,
        large: &mut Large<F>,
    ) {
        let is_cut = |frame: &F| matches!(frame.unfinished(), Some(Unfinished::Segments(_)));
        let mut all = self.0.drain(..).peekable();
        while let Some((frame, meta)) = all.next() {
            if is_cut(&frame) {
                if let Err((frame, reason)) = send(frame, meta, tables, edge, egress) {
                    edge.counters.count_drop(edge.from, reason, &frame);
                }
                continue;
            }
            burst.push(frame, &meta);
            if all.peek().is_some_and(|(next, _)| !is_cut(next)) {
                continue;
            }
            encap::run(burst, tables, edge, large);
            egress.send(burst, edge.from, edge.counters);
            if !large.is_empty() {
                large.send(edge.from, edge.guest, tables, egress, edge.counters);
            }
        }
    }
}

/// Sends a frame that is to be cut. If its segments would be too long for their way, its sender is told what fits; unless it
/// allows fragments, of which shorter segments make none.
fn send<T: TxQueue>(
    mut frame: T::Frame,
    mut meta: Meta,
    tables: &Tables,
    edge: &mut Edge<'_, T::Frame>,
    egress: &mut Egress<T>,
) -> Result<(), (T::Frame, DropReason)> {
    let unfinished = frame.unfinished();
    let (Some(found), Some(Unfinished::Segments(asked))) = (Located::of(&frame), unfinished) else {
        return Err((frame, DropReason::BadOffload));
    };
    let room = (edge.longest(&meta) as usize).saturating_sub(found.payload_at());
    let mut size = usize::from(asked);
    if size > room {
        let ip = route::ipv4(frame.head()).filter(|_| meta.payload == Payload::Ipv4);
        let may_be_cut = edge.limits.fragment && ip.is_some_and(|ip| !ip.is_not_to_be_fragmented());
        if !may_be_cut || room == 0 || found.payload().div_ceil(room) > MAX_SEGMENTS {
            return edge.tell(frame, &meta, DropReason::TooBig);
        }
        size = room;
    }
    let sent = match meta.neighbor.hop() {
        Hop::Local(to) if takes_whole(&found, egress.finishes(to)) => {
            deliver::local(frame.head_mut(), &mut meta, edge.from, to, tables)
        }
        _ => return cut(frame, meta, &found, size, tables, edge, egress),
    };
    match sent {
        Ok(()) => {
            frame.leave_to_device(Unfinished::Segments(size as u16), &found.headers); // `asked` at most
            let mut frames = Frames::from_iter([frame]);
            egress.send_all(&mut frames, meta.out, edge.from, edge.counters);
            Ok(())
        }
        Err(reason) => Err((frame, reason)),
    }
}

fn takes_whole(found: &Located, device: Finishes) -> bool {
    found.is_plain
        && match found.headers.is_ipv6 {
            true => device.segments_ipv6,
            false => device.segments_ipv4,
        }
}

/// Sends a frame in segments with `size` bytes of payload. The last one counts as the packet, so that who finds it accounted for
/// finds that all of it left; the others are the switch's own.
fn cut<T: TxQueue>(
    mut frame: T::Frame,
    mut meta: Meta,
    found: &Located,
    size: usize,
    tables: &Tables,
    edge: &Edge<'_, T::Frame>,
    egress: &mut Egress<T>,
) -> Result<(), (T::Frame, DropReason)> {
    let (from, counters) = (edge.from, edge.counters);
    let template = match fragment::aim(&mut frame, &mut meta, from, edge.guest, tables) {
        Ok(template) => template,
        Err(reason) => return Err((frame, reason)),
    };
    let mut frames = Frames::new();
    for (number, at) in (0..).zip((0..found.payload()).step_by(size)) {
        let len = size.min(found.payload() - at);
        let Some(mut segment) = segment(&frame, found, at, len, number) else {
            return Err((frame, DropReason::NoBuffers));
        };
        meta.len = segment.len() as u32; // a part of a packet
        if let Some(template) = &template
            && let Err(reason) = encap::put_on(&mut segment, &mut meta, template)
        {
            return Err((frame, reason));
        }
        counters.port(from).add_segments(1);
        let is_last = at + len == found.payload();
        if (is_last || frames.is_full()) && egress.send_own(&mut frames, meta.out, counters) != 0 {
            return Err((frame, DropReason::TxFull));
        }
        frames.push(segment);
    }
    egress.send_all(&mut frames, meta.out, from, counters);
    Ok(())
}

/// The segment with the `len` bytes of payload that are `at` bytes behind the first. `None`: there is no buffer for it.
fn segment<F: Frame>(frame: &F, found: &Located, at: usize, len: usize, number: u16) -> Option<F> {
    let headers = found.payload_at();
    // With as many bytes in front of the payload as the headers overwrite.
    let mut segment = frame.copy(at..at + headers + len)?;
    let head = segment.head_mut().get_mut(..headers)?;
    head.copy_from_slice(frame.head().get(..headers)?);
    let (ip, transport) = head.split_at_mut_checked(found.transport_at())?;
    let ip = ip.get_mut(found.headers.link.into()..)?;
    tcp::make_part(transport, at as u32, at + len == found.payload()); // fits: a part of a packet
    let payload = transport.len() + len;
    let pseudo = match found.headers.is_ipv6 {
        true => ipv6::make_segment(ip, payload, ipv4::TCP),
        false => ipv4::make_segment(ip, payload, number),
    };
    let sum = sum(&segment, found.transport_at()..headers + len);
    let checksum = !ipv4::fold(u32::from(pseudo) + u32::from(sum));
    found.set_checksum(segment.head_mut(), checksum);
    Some(segment)
}
