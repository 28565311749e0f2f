// SPDX-License-Identifier: MIT
//! On its way: a tenant's frame to a neighbor on another host gets its outer header, one to a neighbor on this
//! host is delivered.
//!
//! Reads `meta.neighbor`, `routed`, `flow`, `tos`, `len`.
//! Writes `meta.out`, `len`, and the frame: MACs and TTL, or hop limit, when routed, the outer header (RFC 7348 section 5).
//! Drops `NoHeadroom`, `TooBig`, and those of [`deliver::local`].
//!
//! With two uplinks that are live, the flow's hash chooses one. A burst asks once which are.
//!
//! What goes over IPv6 is too long for a template of IPv4, and tried again by [`over_ipv6`].
//!
//! What is too long for its way is cut by [`fragment`](crate::stage::fragment) where that is wanted and allowed, which for
//! IPv6 it never is (RFC 8200 section 4.5). Otherwise its sender is told what fits.

use crate::burst::{Burst, Meta};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::edge::Edge;
use crate::stage::fragment::{Cut, Large};
use crate::stage::{deliver, over_ipv6};
use crate::tables::neighbors::{NextHops, Template};
use crate::tables::{Hop, Tables, TenantPort};
use crate::wire::{EthernetHdr, Ipv4Hdr, Mac, UdpHdr, VxlanHdr, ipv4, vxlan};

/// Bytes in front of the inner frame, over IPv4.
pub const OUTER_LEN: usize = EthernetHdr::LEN + Ipv4Hdr::LEN + UdpHdr::LEN + VxlanHdr::LEN;

/// Runs the stage over one burst of the guest whose first hop is `edge`. What is to be cut goes to `large`. Never blocks,
/// allocates or logs.
#[inline]
pub fn run<F: Frame>(
    burst: &mut Burst<F>,
    tables: &Tables,
    edge: &mut Edge<'_, F>,
    large: &mut Large<F>,
) {
    let neighbors = &tables.neighbors;
    match neighbors.other_hops {
        None => onward(burst, tables, edge, large, |_| &neighbors.hops),
        Some(_) => by_two(burst, tables, edge, large),
    }
}

/// The same with two uplinks: each flow by one of those that are live.
#[inline(never)]
fn by_two<F: Frame>(
    burst: &mut Burst<F>,
    tables: &Tables,
    edge: &mut Edge<'_, F>,
    large: &mut Large<F>,
) {
    let neighbors = &tables.neighbors;
    let live = neighbors.live.get();
    let hops = |flow| neighbors.hops_by(live, flow);
    for (_, meta) in burst.iter() {
        if let Hop::Remote(hop) = meta.neighbor.hop() {
            hops(meta.flow).prefetch(hop);
        }
    }
    onward(burst, tables, edge, large, hops);
}

/// `hops` says how a flow reaches remote hosts.
#[inline(always)]
fn onward<'a, F: Frame>(
    burst: &mut Burst<F>,
    tables: &Tables,
    edge: &mut Edge<'_, F>,
    large: &mut Large<F>,
    hops: impl Fn(u32) -> &'a NextHops,
) {
    let (from, limits, host_dvr) = (edge.from, edge.limits, host_dvr(edge.guest));
    let decide = |frame: &mut F, meta: &mut Meta| match meta.neighbor.hop() {
        Hop::Local(to) if !limits.takes(to, meta.len) => Err(DropReason::TooBig),
        Hop::Local(to) => deliver::local(frame.head_mut(), meta, from, to, tables),
        Hop::Remote(hop) => {
            let template = hops(meta.flow).template(hop);
            if meta.len > template.longest_over_ipv4() {
                return Err(DropReason::TooBig);
            }
            if meta.routed {
                deliver::reroute(frame.head_mut(), meta, host_dvr.unwrap_or(meta.dst_mac));
            }
            encapsulate(frame, meta, &template)
        }
    };
    let again = |frame: &mut F, meta: &mut Meta, reason| match (reason, meta.neighbor.hop()) {
        (DropReason::TooBig, Hop::Remote(hop)) => {
            over_ipv6::carry(frame, meta, &hops(meta.flow).template(hop), host_dvr)
        }
        _ => Err(reason),
    };
    burst.keep_again_or_offer(decide, again, |frame, meta, reason| match reason {
        DropReason::TooBig => too_big(frame, meta, edge, large).map(|()| None),
        _ => Err((frame, reason)),
    });
}

/// The source MAC of what a guest sends through its router to another host ([`Mac::word`]). `None`: it has no router.
pub(super) fn host_dvr(guest: &TenantPort) -> Option<u64> {
    let mut subnets = guest.attachments.iter();
    subnets
        .find_map(|subnet| subnet.host_dvr_mac)
        .map(Mac::word)
}

/// Cuts it, or tells its sender.
#[cold]
#[inline(never)]
fn too_big<F: Frame>(
    frame: F,
    meta: &Meta,
    edge: &mut Edge<'_, F>,
    large: &mut Large<F>,
) -> Result<(), (F, DropReason)> {
    let (longest, fragment) = (edge.longest(meta), edge.limits.fragment);
    if let Some(cut) = Cut::new(frame.head(), meta, longest, fragment) {
        large.push(frame, meta, cut);
        return Ok(());
    }
    edge.tell(frame, meta, DropReason::TooBig)
}

/// Puts the outer header of either IP in front, for which there is room on the way.
pub(super) fn put_on<F: Frame>(
    frame: &mut F,
    meta: &mut Meta,
    template: &Template,
) -> Result<(), DropReason> {
    match template.is_over_ipv6() {
        true => over_ipv6::encapsulate(frame, meta, template),
        false => encapsulate(frame, meta, template),
    }
}

/// Puts the next hop's template, which has room for the frame, in front and fills in what differs per packet. The UDP
/// checksum stays zero (RFC 7348 section 5), the IPv4 identification too: with DF set it means nothing (RFC 6864 section
/// 4.1). ECN is the inner packet's (RFC 6040 section 4.1, normal mode), and so is DSCP unless the template has one.
#[inline]
fn encapsulate<F: Frame>(
    frame: &mut F,
    meta: &mut Meta,
    template: &Template,
) -> Result<(), DropReason> {
    let outer: &mut [u8; OUTER_LEN] = frame.prepend().ok_or(DropReason::NoHeadroom)?;
    let udp_len = (UdpHdr::LEN + VxlanHdr::LEN) as u32 + meta.len;
    let ip_len = Ipv4Hdr::LEN as u32 + udp_len;
    let tos = meta.tos & template.tos_mask();
    let checksum = !ipv4::fold(template.header_sum() + ip_len + u32::from(tos));
    let source_port = vxlan::source_port(meta.flow);
    let (vni_first, vni_last) = meta.neighbor.vni_bytes();
    let [a, b, c, d, e, f, ..] = template.words;
    let words = [
        a,
        b | at(7, [tos]),
        c | at(0, (ip_len as u16).to_be_bytes()),
        d | at(0, checksum.to_be_bytes()),
        e | at(2, source_port.to_be_bytes()) | at(6, (udp_len as u16).to_be_bytes()),
        f | vni_first,
    ];
    let (start, end) = outer.as_chunks_mut();
    for (bytes, word) in start.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    end.copy_from_slice(&[vni_last, 0]);
    meta.len += OUTER_LEN as u32;
    meta.out = template.port();
    Ok(())
}

/// These bytes, `offset` bytes into a word of the header.
#[inline(always)]
pub(super) const fn at<const N: usize>(offset: u32, bytes: [u8; N]) -> u64 {
    let (mut word, mut i) = (0, 0);
    while i < N {
        word |= (bytes[i] as u64) << (8 * (offset + i as u32));
        i += 1;
    }
    word
}
