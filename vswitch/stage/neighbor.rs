// SPDX-License-Identifier: MIT
//! Where is it? Looks each packet's neighbor up: by MAC when switched, by address when routed.
//!
//! Reads `meta.key`, `home`, `routed`; of IPv6 that is routed, the frame's destination.
//! Writes `meta.neighbor`.
//! Drops `UnknownMac`, `UnknownNeighbor`.
//!
//! With a million neighbors a bucket is in no cache. So the stage before [aims](aim): it says what will be looked up as
//! soon as it knows, and the look-ups begin when all buckets of the burst are on their way.

use crate::burst::{Burst, Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::edge::Edge;
use crate::stage::route;
use crate::tables::neighbors::{Ip6Key, NeighborTable};
use crate::tables::{Hop, Neighbors};

/// Names the neighbor to look up: `key` in `table`, which is [`Neighbors::by_ip`] when `routed`, else
/// [`Neighbors::by_mac`]. For the stage before; writes `meta.routed`, `key`, `home`.
#[inline(always)]
pub fn aim(meta: &mut Meta, routed: bool, key: u64, table: &NeighborTable) {
    meta.routed = routed;
    meta.key = key;
    meta.home = table.home(key);
    table.prefetch_at(meta.home);
}

/// Runs the stage over one burst from the underlay. Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(burst: &mut Burst<F>, neighbors: &Neighbors) {
    let look_up = look_up(neighbors);
    burst.keep(|_, meta| look_up(meta));
}

/// The same over one burst from a guest: what is not found is offered to `edge`. `any_ipv6`: some of it is IPv6 and routed.
#[inline]
pub fn run_or_offer<F: Frame>(
    burst: &mut Burst<F>,
    neighbors: &Neighbors,
    edge: &mut Edge<'_, F>,
    any_ipv6: bool,
) {
    if any_ipv6 {
        return of_both_versions(burst, neighbors, edge);
    }
    let look_up = look_up(neighbors);
    let offer = |frame, meta: &mut _, reason| edge.take(frame, meta, reason);
    burst.keep_or_offer(|_, meta| look_up(meta), offer);
}

/// The same where some of it is IPv6 and routed.
#[inline(never)]
fn of_both_versions<F: Frame>(burst: &mut Burst<F>, neighbors: &Neighbors, edge: &mut Edge<'_, F>) {
    let (look_up, guest) = (look_up(neighbors), edge.guest);
    let decide = |frame: &mut F, meta: &mut Meta| {
        if !(meta.routed && meta.payload == Payload::Ipv6) {
            return look_up(meta);
        }
        let next_hop = route::next_hop(guest, frame.head(), meta);
        let (vpc, ip) = next_hop.ok_or(DropReason::NoRoute)?;
        let found = neighbors.by_ip6.get_at(meta.home, Ip6Key::new(vpc, ip));
        meta.neighbor = found.ok_or(DropReason::UnknownNeighbor)?;
        if let Hop::Remote(hop) = meta.neighbor.hop() {
            neighbors.hops.prefetch(hop);
        }
        Ok(())
    };
    let offer = |frame, meta: &mut _, reason| edge.take(frame, meta, reason);
    burst.keep_or_offer(decide, offer);
    edge.remind(burst);
}

#[inline(always)]
fn look_up(neighbors: &Neighbors) -> impl Fn(&mut Meta) -> Result<(), DropReason> {
    let (by_ip, by_mac, hops) = (&*neighbors.by_ip, &*neighbors.by_mac, &*neighbors.hops);
    move |meta| {
        let (table, unknown) = if meta.routed {
            (by_ip, DropReason::UnknownNeighbor)
        } else {
            (by_mac, DropReason::UnknownMac)
        };
        meta.neighbor = table.get_at(meta.home, meta.key).ok_or(unknown)?;
        if let Hop::Remote(hop) = meta.neighbor.hop() {
            hops.prefetch(hop);
        }
        Ok(())
    }
}
