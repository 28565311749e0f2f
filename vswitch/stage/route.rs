// SPDX-License-Identifier: MIT
//! Same subnet, or through its gateway? Names the neighbor that a tenant's frame goes to.
//!
//! Reads `meta.dst_mac`, `payload`, `ttl`, `dst_ip`; with several subnets on a port, the frame's source.
//! Writes `meta.key`, `home`, `routed`.
//! Drops `NotFlooded`, `NotRoutable`, `TtlExpired`, `NoRoute`, `Blackhole`.

use std::net::{IpAddr, Ipv4Addr};

use zerocopy::FromBytes;

use crate::burst::{Burst, Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::edge::Edge;
use crate::stage::neighbor;
use crate::tables::routes::Way;
use crate::tables::{Attachment, Neighbors, TenantPort};
use crate::wire::{EthernetHdr, Ipv4Hdr, Mac};

/// Runs the stage over one burst that came from `port`; what it refuses is offered to `edge`. Never blocks, allocates or
/// logs.
#[inline]
pub fn run<F: Frame>(
    burst: &mut Burst<F>,
    port: &TenantPort,
    neighbors: &Neighbors,
    edge: &mut Edge<'_, F>,
) {
    match port.attachments.as_slice() {
        [] => burst.drop_all(DropReason::PortUnbound),
        [only] => in_one(burst, only, neighbors, edge),
        several => in_several(burst, several, neighbors, edge),
    }
}

/// The subnet that a guest speaks in with a frame that was parsed.
pub fn subnet<'t>(port: &'t TenantPort, head: &[u8], meta: &Meta) -> Option<&'t Attachment> {
    let subnets = &port.attachments;
    let at_gateway = subnets.iter().filter(|subnet| is_gateway(subnet, meta));
    of_source(at_gateway, head, meta).or_else(|| of_source(subnets.iter(), head, meta))
}

/// The guest is in one subnet. Then most bursts go one way altogether: its route is looked up once.
#[inline(always)]
fn in_one<F: Frame>(
    burst: &mut Burst<F>,
    subnet: &Attachment,
    neighbors: &Neighbors,
    edge: &mut Edge<'_, F>,
) {
    let (mut lowest, mut highest) = (u32::MAX, 0);
    let decide = |_: &mut F, meta: &mut Meta| {
        if !is_gateway(subnet, meta) {
            return switch(subnet, meta, neighbors);
        }
        meta.routed = true;
        (lowest, highest) = (lowest.min(meta.dst_ip), highest.max(meta.dst_ip));
        may_be_routed(meta)
    };
    burst.keep_or_offer(decide, |frame, meta, reason| edge.take(frame, meta, reason));
    if lowest > highest {
        return; // nothing is routed
    }
    let common = subnet.routes.common_way(lowest, highest);
    let decide = |_: &mut F, meta: &mut Meta| {
        if !meta.routed {
            return Ok(());
        }
        let way = common.unwrap_or_else(|| subnet.routes.way(meta.dst_ip));
        go(way, meta, subnet, neighbors)
    };
    burst.keep_or_offer(decide, |frame, meta, reason| edge.take(frame, meta, reason));
}

/// The guest is in several subnets, each with routes of its own.
fn in_several<F: Frame>(
    burst: &mut Burst<F>,
    subnets: &[Attachment],
    neighbors: &Neighbors,
    edge: &mut Edge<'_, F>,
) {
    let decide = |frame: &mut F, meta: &mut Meta| {
        let at_gateway = subnets.iter().filter(|subnet| is_gateway(subnet, meta));
        if let Some(subnet) = of_source(at_gateway, frame.head(), meta) {
            may_be_routed(meta)?;
            return go(subnet.routes.way(meta.dst_ip), meta, subnet, neighbors);
        }
        let subnet = of_source(subnets.iter(), frame.head(), meta);
        switch(subnet.ok_or(DropReason::PortUnbound)?, meta, neighbors)
    };
    burst.keep_or_offer(decide, |frame, meta, reason| edge.take(frame, meta, reason));
}

/// To the next hop of a route of the subnet's.
#[inline(always)]
fn go(
    way: Way,
    meta: &mut Meta,
    subnet: &Attachment,
    neighbors: &Neighbors,
) -> Result<(), DropReason> {
    let key = match way.neighbor_key(meta.dst_ip) {
        Some(key) => key,
        None => key_by_flow(way, meta.flow, subnet, neighbors)?,
    };
    neighbor::aim(meta, true, key, &neighbors.by_ip);
    Ok(())
}

/// Key of the next hop's entry where a route leads to no one machine: to one of several, or nowhere.
#[inline(never)]
fn key_by_flow(
    way: Way,
    flow: u32,
    subnet: &Attachment,
    neighbors: &Neighbors,
) -> Result<u64, DropReason> {
    if way.is_blackhole() {
        return Err(DropReason::Blackhole);
    }
    let known = |key| neighbors.by_ip.get(key).is_some();
    let key = subnet.routes.pick(way, flow, known);
    key.ok_or(DropReason::NoRoute)
}

/// To another machine of the subnet.
#[inline(always)]
fn switch(subnet: &Attachment, meta: &mut Meta, neighbors: &Neighbors) -> Result<(), DropReason> {
    if meta.dst_mac & Mac::GROUP != 0 {
        return Err(DropReason::NotFlooded);
    }
    let key = Neighbors::mac_word_key(subnet.domain, meta.dst_mac);
    neighbor::aim(meta, false, key, &neighbors.by_mac);
    Ok(())
}

#[inline]
fn is_gateway(subnet: &Attachment, meta: &Meta) -> bool {
    subnet
        .gateway_mac
        .is_some_and(|mac| mac.word() == meta.dst_mac)
}

#[inline]
fn may_be_routed(meta: &Meta) -> Result<(), DropReason> {
    match meta.payload {
        Payload::Ipv4 if meta.ttl > 1 => Ok(()),
        Payload::Ipv4 => Err(DropReason::TtlExpired),
        _ => Err(DropReason::NotRoutable),
    }
}

/// Of some subnets of a guest that has several, the one that it speaks in: the one that the source address is in, the
/// first if that is in none.
fn of_source<'t>(
    mut subnets: impl Iterator<Item = &'t Attachment>,
    head: &[u8],
    meta: &Meta,
) -> Option<&'t Attachment> {
    let first = subnets.next()?;
    let source = ipv4(head)
        .filter(|_| meta.payload == Payload::Ipv4)
        .map(|ip| IpAddr::V4(Ipv4Addr::from(ip.src())));
    let holds = |subnet: &&Attachment| source.is_some_and(|source| subnet.cidr.contains(&source));
    std::iter::once(first)
        .chain(subnets)
        .find(holds)
        .or(Some(first))
}

/// The IPv4 header; `parse` checked that it is there.
#[inline]
pub(super) fn ipv4(head: &[u8]) -> Option<&Ipv4Hdr> {
    Ipv4Hdr::ref_from_prefix(head.get(EthernetHdr::LEN..)?)
        .ok()
        .map(|(ip, _)| ip)
}
