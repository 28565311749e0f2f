// SPDX-License-Identifier: MIT
//! Same subnet, or through its gateway? Names the neighbor that a tenant's frame goes to.
//!
//! Reads `meta.dst_mac`, `payload`, `dst_ip`; the frame's TTL and, with several subnets on a port, its source.
//! Writes `meta.key`, `routed`.
//! Drops `NotFlooded`, `NotRoutable`, `TtlExpired`, `NoRoute`.

use std::net::Ipv4Addr;

use zerocopy::FromBytes;

use crate::burst::{Burst, Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::tables::routes::Target;
use crate::tables::{Attachment, Neighbors, TenantPort};
use crate::wire::{EthernetHdr, Ipv4Hdr};

/// Runs the stage over one burst that came from `port`. Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(burst: &mut Burst<F>, port: &TenantPort) {
    let [first, others @ ..] = port.attachments.as_slice() else {
        burst.drop_all(DropReason::PortUnbound);
        return;
    };
    burst.keep(|frame, meta| {
        let subnet = if others.is_empty() {
            (first.gateway_mac == Some(meta.dst_mac)).then_some(first)
        } else {
            let at_gateway = |subnet: &&Attachment| subnet.gateway_mac == Some(meta.dst_mac);
            of_source(
                port.attachments.iter().filter(at_gateway),
                frame.head(),
                meta,
            )
        };
        if let Some(subnet) = subnet {
            meta.routed = true;
            meta.key = route(subnet, frame.head(), meta)?;
            return Ok(());
        }
        if meta.dst_mac.is_multicast() {
            return Err(DropReason::NotFlooded);
        }
        meta.routed = false;
        let subnet = if others.is_empty() {
            first
        } else {
            of_source(port.attachments.iter(), frame.head(), meta).unwrap_or(first)
        };
        meta.key = Neighbors::mac_key(subnet.domain, meta.dst_mac);
        Ok(())
    });
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
        .map(|ip| Ipv4Addr::from(ip.src()));
    let holds = |subnet: &&Attachment| source.is_some_and(|source| subnet.cidr.contains(&source));
    std::iter::once(first)
        .chain(subnets)
        .find(holds)
        .or(Some(first))
}

/// Key of the next hop's neighbor entry.
#[inline]
fn route(subnet: &Attachment, head: &[u8], meta: &Meta) -> Result<u64, DropReason> {
    if meta.payload != Payload::Ipv4 {
        return Err(DropReason::NotRoutable);
    }
    if ipv4(head).is_none_or(|ip| ip.ttl() <= 1) {
        return Err(DropReason::TtlExpired);
    }
    match subnet
        .routes
        .lookup(meta.dst_ip)
        .ok_or(DropReason::NoRoute)?
    {
        Target::Connected(vpc) => Ok(Neighbors::ip_key(vpc, meta.dst_ip)),
        Target::Via(vpc, next_hop) => Ok(Neighbors::ip_key(vpc, next_hop.to_bits())),
    }
}

/// The IPv4 header; `parse` checked that it is there.
#[inline]
fn ipv4(head: &[u8]) -> Option<&Ipv4Hdr> {
    Ipv4Hdr::ref_from_prefix(head.get(EthernetHdr::LEN..)?)
        .ok()
        .map(|(ip, _)| ip)
}
