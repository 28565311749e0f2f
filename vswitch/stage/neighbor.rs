// SPDX-License-Identifier: MIT
//! Where is it? Looks each packet's neighbor up: by MAC when switched, by address when routed.
//!
//! Reads `meta.key`, `routed`.
//! Writes `meta.neighbor`.
//! Drops `UnknownMac`, `UnknownNeighbor`.

use crate::burst::Burst;
use crate::counters::DropReason;
use crate::io::Frame;
use crate::tables::{Hop, Neighbors};

/// Runs the stage over one burst. Never blocks, allocates or logs.
///
/// Two passes: with a million neighbors a bucket is in no cache, and fetching a burst's buckets at once
/// hides all but one of those waits.
#[inline]
pub fn run<F: Frame>(burst: &mut Burst<F>, neighbors: &Neighbors) {
    let (by_ip, by_mac, hops) = (&*neighbors.by_ip, &*neighbors.by_mac, &*neighbors.hops);
    let table = |routed| if routed { by_ip } else { by_mac };
    for (_, meta) in burst.iter_mut() {
        let table = table(meta.routed);
        meta.home = table.home(meta.key);
        table.prefetch_at(meta.home);
    }
    burst.keep(|_, meta| {
        let unknown = if meta.routed {
            DropReason::UnknownNeighbor
        } else {
            DropReason::UnknownMac
        };
        let found = table(meta.routed).get_at(meta.home, meta.key);
        meta.neighbor = found.ok_or(unknown)?;
        if let Hop::Remote(hop) = meta.neighbor.hop() {
            hops.prefetch(hop);
        }
        Ok(())
    });
}
