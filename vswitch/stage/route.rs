// SPDX-License-Identifier: MIT
//! Same subnet, or through its gateway? Names the neighbor that a tenant's frame goes to.
//!
//! Reads `meta.dst_mac`, `payload`, `ttl`, `dst_ip`; with several subnets on a port, the frame's source; of IPv6 that is
//! routed, the frame's addresses.
//! Writes `meta.key`, `home`, `routed`.
//! Drops `NotFlooded`, `NotRoutable`, `TtlExpired`, `NoRoute`, `Blackhole`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use crate::burst::{Burst, Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::edge::Edge;
use crate::stage::neighbor;
use crate::tables::neighbors::Ip6Key;
use crate::tables::routes::{Target, TargetIndex, Way};
use crate::tables::{Attachment, Neighbors, TenantPort, VpcId};
use crate::wire::{EthernetHdr, Ipv4Hdr, Ipv6Hdr, Mac};

/// Runs the stage over one burst that came from `port`; what it refuses is offered to `edge`. True if some of it may be IPv6
/// that is routed, which the next stage asks for once a burst. Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(
    burst: &mut Burst<F>,
    port: &TenantPort,
    neighbors: &Neighbors,
    edge: &mut Edge<'_, F>,
) -> bool {
    match port.attachments.as_slice() {
        [] => {
            burst.drop_all(DropReason::PortUnbound);
            false
        }
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

/// Where an IPv6 packet goes that is routed: the VPC and the address of its next hop.
pub fn next_hop(port: &TenantPort, head: &[u8], meta: &Meta) -> Option<(VpcId, Ipv6Addr)> {
    let subnet = port.attachments.get((meta.key >> TARGET_BITS) as usize)?;
    let target = subnet.routes.wide_target(meta.key as TargetIndex)?;
    reach(target, ipv6(head)?.dst())
}

/// In the place of the highest destination, and above all of them.
const NOT_ONLY_IPV4: u64 = 1 << 32;

/// The guest is in one subnet. Then most bursts go one way altogether: its route is looked up once.
#[inline(always)]
fn in_one<F: Frame>(
    burst: &mut Burst<F>,
    subnet: &Attachment,
    neighbors: &Neighbors,
    edge: &mut Edge<'_, F>,
) -> bool {
    let (mut lowest, mut highest) = (u32::MAX, 0);
    let decide = |_: &mut F, meta: &mut Meta| {
        if !is_gateway(subnet, meta) {
            return switch(subnet, meta, neighbors);
        }
        meta.routed = true;
        if meta.payload != Payload::Ipv4 {
            highest = NOT_ONLY_IPV4;
            return may_be_routed(meta);
        }
        lowest = lowest.min(meta.dst_ip);
        highest = highest.max(u64::from(meta.dst_ip));
        may_live(meta)
    };
    burst.keep_or_offer(decide, |frame, meta, reason| edge.take(frame, meta, reason));
    if highest == NOT_ONLY_IPV4 {
        route_both(burst, subnet, neighbors, edge);
        return true;
    }
    let highest = highest as u32; // an address
    if lowest > highest {
        return false; // nothing is routed
    }
    if let Some(way) = subnet.routes.common_way(lowest, highest)
        && way.neighbor_key(lowest).is_some()
    {
        for (_, meta) in burst.iter_mut().filter(|(_, meta)| meta.routed) {
            if let Some(key) = way.neighbor_key(meta.dst_ip) {
                neighbor::aim(meta, true, key, &neighbors.by_ip);
            }
        }
        return false;
    }
    let decide = |_: &mut F, meta: &mut Meta| match meta.routed {
        true => go(subnet.routes.way(meta.dst_ip), meta, subnet, neighbors),
        false => Ok(()),
    };
    burst.keep_or_offer(decide, |frame, meta, reason| edge.take(frame, meta, reason));
    false
}

/// The routes of a burst with IPv6 in it, of a guest in one subnet.
#[inline(never)]
fn route_both<F: Frame>(
    burst: &mut Burst<F>,
    subnet: &Attachment,
    neighbors: &Neighbors,
    edge: &mut Edge<'_, F>,
) {
    let decide = |frame: &mut F, meta: &mut Meta| match meta.payload {
        _ if !meta.routed => Ok(()),
        Payload::Ipv6 => go_ipv6(0, subnet, frame.head(), meta, neighbors),
        _ => go(subnet.routes.way(meta.dst_ip), meta, subnet, neighbors),
    };
    burst.keep_or_offer(decide, |frame, meta, reason| edge.take(frame, meta, reason));
}

/// The guest is in several subnets, each with routes of its own.
fn in_several<F: Frame>(
    burst: &mut Burst<F>,
    subnets: &[Attachment],
    neighbors: &Neighbors,
    edge: &mut Edge<'_, F>,
) -> bool {
    let mut any_ipv6 = false;
    let decide = |frame: &mut F, meta: &mut Meta| {
        let at_gateway = subnets.iter().filter(|subnet| is_gateway(subnet, meta));
        if let Some(subnet) = of_source(at_gateway, frame.head(), meta) {
            meta.routed = true;
            may_be_routed(meta)?;
            if meta.payload == Payload::Ipv4 {
                return go(subnet.routes.way(meta.dst_ip), meta, subnet, neighbors);
            }
            any_ipv6 = true;
            let number = subnets.iter().position(|one| std::ptr::eq(one, subnet));
            return go_ipv6(number.unwrap_or(0), subnet, frame.head(), meta, neighbors);
        }
        let subnet = of_source(subnets.iter(), frame.head(), meta);
        switch(subnet.ok_or(DropReason::PortUnbound)?, meta, neighbors)
    };
    burst.keep_or_offer(decide, |frame, meta, reason| edge.take(frame, meta, reason));
    any_ipv6
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

/// Bits of `meta.key` that say which target of the route table an IPv6 packet goes to. Above them is the number of the
/// guest's subnet whose table that is.
const TARGET_BITS: u32 = TargetIndex::BITS;

/// The same for IPv6, in the guest's subnet of this number. What has an address that is good on one link only, or on none,
/// is not routed (RFC 4291 sections 2.5.2, 2.5.3 and 2.5.6); nor is multicast.
fn go_ipv6(
    number: usize,
    subnet: &Attachment,
    head: &[u8],
    meta: &mut Meta,
    neighbors: &Neighbors,
) -> Result<(), DropReason> {
    let ip = ipv6(head).ok_or(DropReason::Truncated)?;
    let (src, dst) = (ip.src(), ip.dst());
    if !(is_routable(src) && is_routable(dst)) {
        return Err(DropReason::NotRoutable);
    }
    let routes = &subnet.routes;
    let mut index = routes.wide_index(dst);
    let target = match routes.wide_target(index) {
        Some(target) => target,
        None => {
            index = index_by_flow(index, meta.flow, dst, subnet, neighbors);
            routes.wide_target(index).ok_or(DropReason::NoRoute)?
        }
    };
    let (vpc, next_hop) = reach(target, dst).ok_or(DropReason::Blackhole)?;
    let key = Ip6Key::new(vpc, next_hop);
    meta.routed = true;
    meta.key = (number as u64) << TARGET_BITS | u64::from(index);
    meta.home = neighbors.by_ip6.home(key);
    neighbors.by_ip6.prefetch_at(meta.home);
    Ok(())
}

/// Of routes that lead to one of several, the one that a flow takes.
#[inline(never)]
fn index_by_flow(
    index: TargetIndex,
    flow: u32,
    dst: Ipv6Addr,
    subnet: &Attachment,
    neighbors: &Neighbors,
) -> TargetIndex {
    let known = |index| {
        let next_hop = subnet
            .routes
            .wide_target(index)
            .and_then(|target| reach(target, dst));
        next_hop.is_some_and(|(vpc, ip)| neighbors.by_ip6.get(Ip6Key::new(vpc, ip)).is_some())
    };
    subnet.routes.wide_pick(index, flow, known)
}

/// The next hop of a packet to `destination`. `None`: it goes nowhere.
fn reach(target: Target<Ipv6Addr>, destination: Ipv6Addr) -> Option<(VpcId, Ipv6Addr)> {
    match target {
        Target::Connected(vpc) => Some((vpc, destination)),
        Target::Via(vpc, next_hop) => Some((vpc, next_hop)),
        Target::Blackhole => None,
    }
}

fn is_routable(ip: Ipv6Addr) -> bool {
    let only_here = ip.is_unspecified() || ip.is_loopback() || ip.is_unicast_link_local();
    !(only_here || ip.is_multicast())
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

fn may_be_routed(meta: &Meta) -> Result<(), DropReason> {
    match meta.payload {
        Payload::Ipv4 | Payload::Ipv6 => may_live(meta),
        Payload::Other => Err(DropReason::NotRoutable),
    }
}

/// By its time to live, or hop limit.
#[inline]
fn may_live(meta: &Meta) -> Result<(), DropReason> {
    match meta.ttl {
        0 | 1 => Err(DropReason::TtlExpired),
        _ => Ok(()),
    }
}

/// Of some subnets of a guest that has several, the one that it speaks in: the one that the source address is in. What is in
/// none, as link-local addresses are, belongs to the first of its version of IP, and what is no IP to the first.
fn of_source<'t>(
    mut subnets: impl Iterator<Item = &'t Attachment> + Clone,
    head: &[u8],
    meta: &Meta,
) -> Option<&'t Attachment> {
    let all = subnets.clone();
    let first = subnets.next()?;
    let source = match meta.payload {
        Payload::Ipv4 => ipv4(head).map(|ip| IpAddr::V4(Ipv4Addr::from(ip.src()))),
        Payload::Ipv6 => ipv6(head).map(|ip| IpAddr::V6(ip.src())),
        Payload::Other => None,
    };
    let Some(source) = source else {
        return Some(first);
    };
    let holds = |subnet: &&Attachment| subnet.cidr.contains(&source);
    let speaks = |subnet: &&Attachment| subnet.cidr.addr().is_ipv4() == source.is_ipv4();
    let found = all.clone().find(holds).or_else(|| all.clone().find(speaks));
    found.or(Some(first))
}

/// The IPv4 header; `parse` checked that it is there.
#[inline]
pub(super) fn ipv4(head: &[u8]) -> Option<&Ipv4Hdr> {
    Ipv4Hdr::ref_from_prefix(head.get(EthernetHdr::LEN..)?)
        .ok()
        .map(|(ip, _)| ip)
}

/// The IPv6 header; `parse` checked that it is there.
#[inline]
pub fn ipv6(head: &[u8]) -> Option<&Ipv6Hdr> {
    Ipv6Hdr::ref_from_prefix(head.get(EthernetHdr::LEN..)?)
        .ok()
        .map(|(ip, _)| ip)
}
