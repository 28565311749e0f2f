// SPDX-License-Identifier: MIT
//! Too long for its way: a packet that may be fragmented leaves in pieces (RFC 791 section 3.2), each in an outer header
//! of its own, with the same source port.
//!
//! Reads the frame, `meta.neighbor`, and what [`encap`] reads.
//! Drops `NoBuffers`, and those of [`deliver::local`] and [`encap`].
//!
//! All of it is off the path of other frames: packets that are cut leave behind the rest of their burst.

use arrayvec::ArrayVec;

use crate::burst::{Meta, Payload};
use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Frame, Frames, MAX_BURST, TxQueue};
use crate::stage::transmit::Egress;
use crate::stage::{deliver, encap, route};
use crate::tables::neighbors::Template;
use crate::tables::{Hop, PortId, Tables, TenantPort};
use crate::wire::{EthernetHdr, Ipv4Hdr, ipv4};

/// Most fragments of a packet: what 65,535 bytes become in an underlay of MTU 576, the least that IPv4 hosts agree on,
/// with 60 bytes of header. What takes more is not cut.
pub const MAX_FRAGMENTS: usize = 142;

/// Most bytes in front of a packet's payload.
const MAX_HEADER: usize = EthernetHdr::LEN + Ipv4Hdr::MAX_LEN;

type Header = ArrayVec<u8, MAX_HEADER>;

/// How a packet is cut, which can be.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// Bytes in front of the payload.
    header: usize,
    /// Bytes of the payload.
    payload: usize,
    /// Bytes of it in each fragment but the last: a multiple of 8, unless there is one only.
    step: usize,
}

impl Cut {
    /// Into frames of at most `longest` bytes; `fragment`: into several, if the packet may be. One that fits, and only has
    /// bytes behind it that are not its own, loses these. `None`: the packet is none that may be cut, or is damaged, or
    /// would be more than [`MAX_FRAGMENTS`].
    pub(super) fn new(head: &[u8], meta: &Meta, longest: u32, fragment: bool) -> Option<Self> {
        let ip = route::ipv4(head).filter(|_| meta.payload == Payload::Ipv4)?;
        let header = EthernetHdr::LEN + ip.header_len();
        let payload = ip.total_len().checked_sub(ip.header_len())?;
        let step = (longest as usize).checked_sub(header)? & !7;
        // RFC 791: no datagram has more than 65,535 bytes when it is whole again.
        let whole = ip.fragment_offset() + payload <= usize::from(u16::MAX);
        let sound = ipv4::sum(head.get(EthernetHdr::LEN..header)?) == 0xffff;
        let fits = header + payload <= longest as usize;
        let step = if fits { payload } else { step };
        let may_be = whole && sound && (fits || fragment && !ip.is_not_to_be_fragmented());
        let cuttable = payload != 0 && step != 0 && payload.div_ceil(step) <= MAX_FRAGMENTS;
        (may_be && cuttable).then_some(Self {
            header,
            payload,
            step,
        })
    }

    /// The fragments. `None`: there are not enough buffers, and none is taken.
    fn make<F: Frame>(&self, frame: &F) -> Option<ArrayVec<F, MAX_FRAGMENTS>> {
        let mut header = Header::try_from(frame.head().get(..self.header)?).ok()?;
        let ip = *route::ipv4(&header)?;
        let mut fragments = ArrayVec::new();
        for at in (0..self.payload).step_by(self.step) {
            let len = self.step.min(self.payload - at);
            if at == self.step {
                header = of_later(&header);
            }
            let more = at + len < self.payload || ip.has_more_fragments();
            if self.step < self.payload {
                let header = header.get_mut(EthernetHdr::LEN..)?;
                ipv4::make_fragment(header, len, ip.fragment_offset() + at, more);
            }
            // With as many bytes in front of the payload as the header overwrites.
            let end = self.header + at + len;
            let mut fragment = frame.copy(end - len - header.len()..end)?;
            let room = fragment.head_mut().get_mut(..header.len())?;
            room.copy_from_slice(&header);
            fragments.try_push(fragment).ok()?;
        }
        Some(fragments)
    }
}

/// The header of fragments behind the first: of the options only those that each one has (RFC 791 section 3.1).
fn of_later(first: &Header) -> Header {
    let (fixed, options) = first.split_at(first.len().min(EthernetHdr::LEN + Ipv4Hdr::LEN));
    let mut header: Header = fixed
        .iter()
        .chain(&ipv4::copied_options(options))
        .copied()
        .collect();
    let words = header.len().saturating_sub(EthernetHdr::LEN) / 4;
    if let Some(version_ihl) = header.get_mut(EthernetHdr::LEN) {
        *version_ihl = 0x40 | words as u8; // 15 at most
    }
    header
}

/// Packets of one burst that are to be cut.
pub struct Large<F>(ArrayVec<(F, Meta, Cut), MAX_BURST>);

impl<F> Default for Large<F> {
    fn default() -> Self {
        Self(ArrayVec::new())
    }
}

impl<F: Frame> Large<F> {
    /// True when there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one.
    pub(super) fn push(&mut self, frame: F, meta: &Meta, cut: Cut) {
        self.0.push((frame, *meta, cut)); // no more than frames of one burst
    }

    /// Cuts and sends those of the guest at `from`. Of each packet, the last fragment counts as the packet, so that who finds
    /// it accounted for finds that all of it left; the others, of which there may be more than fit a burst, are the switch's
    /// own. Never blocks, allocates or logs.
    #[cold]
    pub fn send<T: TxQueue<Frame = F>>(
        &mut self,
        from: PortId,
        guest: &TenantPort,
        tables: &Tables,
        egress: &mut Egress<T>,
        counters: &WorkerCounters,
    ) {
        for (mut frame, mut meta, cut) in self.0.drain(..) {
            let mut fragments = match fragments(&mut frame, &mut meta, &cut, from, guest, tables) {
                Ok(fragments) => fragments,
                Err(reason) => {
                    counters.count_drop(from, reason, &frame);
                    continue;
                }
            };
            let (out, last) = (meta.out, fragments.pop());
            let (mut rest, mut frames, mut refused) = (fragments.into_iter(), Frames::new(), 0);
            while refused == 0 && rest.len() != 0 {
                frames.extend(rest.by_ref().take(MAX_BURST));
                refused = egress.send_own(&mut frames, out, counters);
            }
            if refused == 0 {
                frames.extend(last);
                egress.send_all(&mut frames, out, from, counters);
            } else {
                // Of use to nobody.
                counters.port(out).add_unsent(rest.len());
                counters.count_drop(from, DropReason::TxFull, &frame);
            }
        }
    }
}

/// The fragments of a frame, ready to leave by `meta.out`.
fn fragments<F: Frame>(
    frame: &mut F,
    meta: &mut Meta,
    cut: &Cut,
    from: PortId,
    guest: &TenantPort,
    tables: &Tables,
) -> Result<ArrayVec<F, MAX_FRAGMENTS>, DropReason> {
    let template = aim(frame, meta, from, guest, tables)?;
    let mut fragments = cut.make(frame).ok_or(DropReason::NoBuffers)?;
    if let Some(template) = template {
        for fragment in &mut fragments {
            meta.len = fragment.len() as u32; // shorter than the packet
            encap::put_on(fragment, meta, &template)?;
        }
    }
    Ok(fragments)
}

/// Readies a frame for its way, before it is cut: what is delivered here then leaves by `meta.out`, what goes to another host
/// gets this template in front of each piece.
pub(super) fn aim<F: Frame>(
    frame: &mut F,
    meta: &mut Meta,
    from: PortId,
    guest: &TenantPort,
    tables: &Tables,
) -> Result<Option<Template>, DropReason> {
    match meta.neighbor.hop() {
        Hop::Local(to) => {
            deliver::local(frame.head_mut(), meta, from, to, tables)?;
            Ok(None)
        }
        Hop::Remote(hop) => {
            if meta.routed {
                let dvr = encap::host_dvr(guest).unwrap_or(meta.dst_mac);
                deliver::reroute(frame.head_mut(), meta, dvr);
            }
            Ok(Some(tables.neighbors.hops_of(meta.flow).template(hop)))
        }
    }
}
