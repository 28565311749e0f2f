// SPDX-License-Identifier: MIT
//! To a port of this host: is it there and up, and which addresses must the guest see?
//!
//! Reads `meta.neighbor`, `routed`, `outer_ecn`, `dst_ip`, `payload`.
//! Writes `meta.out` and the frame's MACs, TTL and ECN.
//! Drops `PortUnbound`, `PortDown`, `SamePort`, `NotLocal`, `TooBig`, `EcnIllegal`.

use std::net::{IpAddr, Ipv4Addr};

use zerocopy::FromBytes;

use crate::burst::{Burst, Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::limits::Limits;
use crate::stage::route;
use crate::tables::{Attachment, Hop, PortId, Role, Tables, TenantPort};
use crate::wire::{EthernetHdr, Ipv4Hdr, Ipv6Hdr, Mac};

/// Runs the stage over one decapsulated burst. What is too long for the guest's port is dropped, and its sender, who is on
/// another host, not told. Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(burst: &mut Burst<F>, tables: &Tables, limits: &Limits) {
    burst.keep(|frame, meta| {
        // A neighbor elsewhere means that the sender's table is stale: relaying would let two hosts loop.
        let Hop::Local(to) = meta.neighbor.hop() else {
            return Err(DropReason::NotLocal);
        };
        let port = guest(tables, to)?;
        if !limits.takes(to, meta.len) {
            return Err(DropReason::TooBig);
        }
        meta.out = to;
        let head = frame.head_mut();
        if is_routed_by_another_host(head)
            && let Some(gateway) = subnet_of(port, head, meta).and_then(|subnet| subnet.gateway_mac)
        {
            set_source(head, gateway);
        }
        combine_ecn(head, meta)
    });
}

/// Delivers a frame of the guest at `from` to another guest of this host.
#[inline]
pub fn local(
    head: &mut [u8],
    meta: &mut Meta,
    from: PortId,
    to: PortId,
    tables: &Tables,
) -> Result<(), DropReason> {
    let port = guest(tables, to)?;
    meta.out = to;
    if meta.routed {
        let gateway = subnet_of(port, head, meta).and_then(|subnet| subnet.gateway_mac);
        reroute(head, meta, gateway.map_or(meta.dst_mac, Mac::word));
        Ok(())
    } else if to == from {
        Err(DropReason::SamePort)
    } else {
        Ok(())
    }
}

/// Makes a frame the routed one: from the router's address `source` ([`Mac::word`]) to the neighbor's, one hop older
/// (RFC 1812 section 5.3.1, RFC 8200 section 3).
#[inline(always)]
pub fn reroute(head: &mut [u8], meta: &Meta, source: u64) {
    if meta.payload == Payload::Ipv6 {
        return reroute_ipv6(head, meta, source);
    }
    if let Ok((ethernet, rest)) = EthernetHdr::mut_from_prefix(head)
        && let Ok((ip, _)) = Ipv4Hdr::mut_from_prefix(rest)
    {
        ethernet.set_addresses(meta.neighbor.mac_word(), source);
        ip.decrement_ttl();
    }
}

/// The same for IPv6, out of the way of IPv4.
#[cold]
#[inline(never)]
fn reroute_ipv6(head: &mut [u8], meta: &Meta, source: u64) {
    if let Ok((ethernet, rest)) = EthernetHdr::mut_from_prefix(head)
        && let Ok((ip, _)) = Ipv6Hdr::mut_from_prefix(rest)
    {
        ethernet.set_addresses(meta.neighbor.mac_word(), source);
        ip.decrement_hop_limit();
    }
}

#[inline]
fn guest(tables: &Tables, port: PortId) -> Result<&TenantPort, DropReason> {
    match tables.role(port) {
        Role::Tenant(tenant) if tenant.admin_up => Ok(tenant),
        Role::Tenant(_) => Err(DropReason::PortDown),
        _ => Err(DropReason::PortUnbound),
    }
}

/// The subnet of the port that the packet is for. Subnets of a VPC may share one VNI, so the destination
/// address decides; what has none, or one behind the guest, belongs to the first subnet of the VNI.
#[inline(always)]
fn subnet_of<'t>(port: &'t TenantPort, head: &[u8], meta: &Meta) -> Option<&'t Attachment> {
    match port.attachments.as_slice() {
        [only] => Some(only),
        several => subnet_among(several, head, meta),
    }
}

#[inline(never)]
fn subnet_among<'t>(subnets: &'t [Attachment], head: &[u8], meta: &Meta) -> Option<&'t Attachment> {
    let of_vni = |subnet: &&Attachment| Some(subnet.vni) == meta.neighbor.vni();
    let mut in_vni = subnets.iter().filter(of_vni);
    let first = in_vni.next()?;
    let to = match meta.payload {
        Payload::Ipv4 => Some(Ipv4Addr::from(meta.dst_ip).into()),
        Payload::Ipv6 => route::ipv6(head).map(|ip| IpAddr::V6(ip.dst())),
        Payload::Other => None,
    };
    let holds = |subnet: &&Attachment| to.is_some_and(|to| subnet.cidr.contains(&to));
    std::iter::once(first)
        .chain(in_vni)
        .find(holds)
        .or(Some(first))
}

#[inline]
fn is_routed_by_another_host(head: &[u8]) -> bool {
    EthernetHdr::ref_from_prefix(head).is_ok_and(|(ethernet, _)| ethernet.src().is_host_dvr())
}

#[inline]
fn set_source(head: &mut [u8], mac: Mac) {
    if let Ok((ethernet, _)) = EthernetHdr::mut_from_prefix(head) {
        ethernet.set_src(mac);
    }
}

const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// Combines the outer ECN into the inner one by RFC 6040 section 4.2, figure 4. What is not IP has none.
#[inline]
pub(super) fn combine_ecn(head: &mut [u8], meta: &Meta) -> Result<(), DropReason> {
    if matches!(meta.outer_ecn, NOT_ECT | ECT_0) || meta.payload == Payload::Other {
        return Ok(());
    }
    let ecn = match (meta.outer_ecn, meta.tos & 3) {
        (CE, NOT_ECT) => return Err(DropReason::EcnIllegal),
        (CE, _) => CE,
        (ECT_1, ECT_0) => ECT_1,
        _ => return Ok(()),
    };
    let packet = &mut head[EthernetHdr::LEN..];
    match meta.payload {
        Payload::Ipv6 => {
            if let Ok((ip, _)) = Ipv6Hdr::mut_from_prefix(packet) {
                ip.set_ecn(ecn);
            }
        }
        _ => {
            if let Ok((ip, _)) = Ipv4Hdr::mut_from_prefix(packet) {
                ip.set_ecn(ecn);
            }
        }
    }
    Ok(())
}
