// SPDX-License-Identifier: MIT
//! What a guest left undone of a packet (virtio): a TCP or UDP checksum is left to the device that it leaves by where that
//! does it, or its receiver does not ask for one; else it is made here. Packets that are to be cut into TCP segments, and
//! what is behind them in their burst, are set aside ([`Later`]). Runs only on bursts that may have any such frame.
//!
//! Reads the frame, `meta.neighbor`, `len`.
//! Writes the frame's checksum.
//! Drops `BadOffload`.
//!
//! An uplink gets whole packets only: inside of VXLAN, checksums are right and segments are apart.

mod locate;
mod segments;

use std::ops::Range;

use crate::burst::{Burst, Meta};
use crate::counters::{DropReason, PortCounters};
use crate::io::{Finishes, Frame, TxQueue, Unfinished};
use crate::stage::edge::Edge;
use crate::stage::transmit::Egress;
use crate::tables::Hop;
use crate::wire::ipv4;

use locate::Located;
pub use segments::{Later, MAX_SEGMENTS};

/// Runs the stage over one burst of the guest whose first hop is `edge`. Never blocks, allocates or logs.
#[cold]
#[inline(never)]
pub fn run<T: TxQueue>(
    burst: &mut Burst<T::Frame>,
    edge: &Edge<'_, T::Frame>,
    egress: &Egress<T>,
    later: &mut Later<T::Frame>,
) {
    let mut behind = false;
    burst.keep_or_offer(
        |frame, meta| {
            behind |= is_for_segments(frame, meta, edge, egress)?;
            // No drop: it is offered.
            if behind { Err(ASIDE) } else { Ok(()) }
        },
        |frame, meta, reason| match reason {
            ASIDE => {
                later.push(frame, meta);
                Ok(None)
            }
            reason => Err((frame, reason)),
        },
    );
}

/// Says of a frame that it is set aside; the stage drops none for this.
const ASIDE: DropReason = DropReason::TooBig;

/// Finishes a frame, or leaves it to the device that it leaves by. True: it is to be cut, and nothing was done.
fn is_for_segments<T: TxQueue>(
    frame: &mut T::Frame,
    meta: &Meta,
    edge: &Edge<'_, T::Frame>,
    egress: &Egress<T>,
) -> Result<bool, DropReason> {
    let Some(unfinished) = frame.unfinished() else {
        return Ok(false);
    };
    let found = Located::of(frame).ok_or(DropReason::BadOffload)?;
    if let Unfinished::Segments(size) = unfinished
        && found.is_cut_by(size)?
    {
        return Ok(true);
    }
    let device = match meta.neighbor.hop() {
        Hop::Local(to) if edge.limits.takes(to, meta.len) => egress.finishes(to),
        _ => Finishes::default(),
    };
    // Drivers that sum do so buffer by buffer, and some of them wrongly.
    let is_one_buffer = frame.head().len() == frame.len();
    if device.checksums && found.is_plain && is_one_buffer {
        frame.leave_to_device(Unfinished::Checksum, &found.headers);
    } else {
        finish(frame, &found, edge.counters.port(edge.from));
    }
    Ok(false)
}

/// Finishes what came from elsewhere than a guest, where devices are not asked to leave anything undone: only checksums are.
/// What is to be cut is dropped as `TooBig`.
#[cold]
#[inline(never)]
pub fn all<F: Frame>(burst: &mut Burst<F>, counters: &PortCounters) {
    burst.keep(|frame, _| whole(frame, counters));
}

/// The same with one frame: also what a guest sends to several receivers at once.
pub(super) fn whole<F: Frame>(frame: &mut F, counters: &PortCounters) -> Result<(), DropReason> {
    let Some(unfinished) = frame.unfinished() else {
        return Ok(());
    };
    let found = Located::of(frame).ok_or(DropReason::BadOffload)?;
    if let Unfinished::Segments(size) = unfinished
        && found.is_cut_by(size)?
    {
        return Err(DropReason::TooBig);
    }
    finish(frame, &found, counters);
    Ok(())
}

/// Makes the checksum: the field has the pseudo header's sum, so that the sum over the packet is the whole one's.
fn finish<F: Frame>(frame: &mut F, found: &Located, counters: &PortCounters) {
    let sum = sum(frame, found.transport_at()..found.end);
    found.set_checksum(frame.head_mut(), !sum);
    frame.set_finished();
    counters.add_finished();
}

/// The one's complement sum of a frame's bytes.
fn sum<F: Frame>(frame: &F, bytes: Range<usize>) -> u16 {
    let mut at = 0;
    let parts = frame.parts().map(|part| {
        let within = |end: usize| end.saturating_sub(at).min(part.len());
        let range = within(bytes.start)..within(bytes.end);
        at += part.len();
        &part[range]
    });
    ipv4::sum_of_parts(parts)
}
