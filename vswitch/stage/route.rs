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
    let domain = first.domain;
    burst.keep(|frame, meta| {
        let subnet = if first.gateway_mac == Some(meta.dst_mac) || !others.is_empty() {
            gateway_of(&port.attachments, frame.head(), meta)
        } else {
            None
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
        let domain = if others.is_empty() {
            domain
        } else {
            source_subnet(port, frame.head(), meta, first).domain
        };
        meta.key = Neighbors::mac_key(domain, meta.dst_mac);
        Ok(())
    });
}

/// The subnet that a guest with several speaks in: the one that its source address is in, else the first.
fn source_subnet<'t>(
    port: &'t TenantPort,
    head: &[u8],
    meta: &Meta,
    first: &'t Attachment,
) -> &'t Attachment {
    let source = ipv4(head)
        .filter(|_| meta.payload == Payload::Ipv4)
        .map(|ip| Ipv4Addr::from(ip.src()));
    let holds = |subnet: &&Attachment| source.is_some_and(|source| subnet.cidr.contains(&source));
    port.attachments.iter().find(holds).unwrap_or(first)
}

/// The subnet whose gateway the frame is addressed to. Where several subnets of the port share a gateway MAC,
/// the one that the source address is in.
#[inline]
fn gateway_of<'t>(subnets: &'t [Attachment], head: &[u8], meta: &Meta) -> Option<&'t Attachment> {
    let mut at_gateway = subnets
        .iter()
        .filter(|subnet| subnet.gateway_mac == Some(meta.dst_mac));
    let first = at_gateway.next()?;
    if subnets.len() == 1 || meta.payload != Payload::Ipv4 {
        return Some(first);
    }
    let source = Ipv4Addr::from(ipv4(head)?.src());
    let in_subnet = |subnet: &&Attachment| subnet.cidr.contains(&source);
    std::iter::once(first)
        .chain(at_gateway)
        .find(in_subnet)
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
