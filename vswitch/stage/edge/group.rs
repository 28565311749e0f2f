// SPDX-License-Identifier: MIT
//! What lacks a neighbor goes to a gateway that knows it, where the VPC has any (Alcor: VpcConfiguration.gateway_ids, gateways
//! of type ZETA): as the guest sent it, in the VNI of the guest's subnet, each flow to one of the gateways.
//!
//! | the guest sends | to a gateway |
//! |---|---|
//! | to a MAC that the tables lack | yes |
//! | to its router, and the tables lack the destination, which is on a link of the same VPC | yes: the gateway routes it |
//! | the same, and a rule leads it by way of a machine that the tables lack | no: the gateway does not know the rule |
//! | a request by ARP, or a neighbor solicitation, for an address that the tables lack | yes |
//! | other broadcast, directed broadcast (RFC 2644) and multicast; probes for duplicate addresses | no |
//!
//! Reads the frame, `meta.dst_mac`, `dst_ip`, `payload`, `key`, `flow`.
//! Writes `meta.neighbor`, whose MAC is zero, `routed`; of a question `key`, `home`, `routed`.

use std::net::{IpAddr, Ipv4Addr};

use super::Edge;
use crate::burst::{Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::{neighbor, punt, route};
use crate::tables::neighbors::Entry;
use crate::tables::{Attachment, Hop, Neighbor, Neighbors};
use crate::wire::Mac;

/// Leaves a frame that a stage refused to a gateway, if there is one for it.
pub(super) fn takes<F: Frame>(
    edge: &Edge<'_, F>,
    frame: &F,
    meta: &mut Meta,
    reason: DropReason,
) -> bool {
    let Some(subnet) = subnet(edge, frame, meta, reason) else {
        return false;
    };
    let Some(group) = &subnet.group else {
        return false;
    };
    if reason == DropReason::NotFlooded {
        // No machine has a group MAC: the next stage finds none, and the frame comes back here.
        let key = Neighbors::mac_word_key(subnet.domain, meta.dst_mac);
        neighbor::aim(meta, false, key, &edge.neighbors.by_mac);
        return true;
    }
    let hop = group.hop(meta.flow);
    edge.neighbors.hops.prefetch(hop);
    meta.routed = false;
    meta.neighbor = Entry::from(Neighbor {
        mac: Mac::default(),
        vni: subnet.vni,
        hop: Hop::Remote(hop),
    });
    edge.counters.port(edge.from).add_to_gateway();
    true
}

/// The subnet in whose VPC the frame lacks a neighbor. `None`: it is none that a gateway would know.
fn subnet<'t, F: Frame>(
    edge: &Edge<'t, F>,
    frame: &F,
    meta: &Meta,
    reason: DropReason,
) -> Option<&'t Attachment> {
    let head = frame.head();
    match reason {
        DropReason::NotFlooded => Some(punt::asked(edge, frame, meta)?.0),
        DropReason::UnknownMac if meta.dst_mac & Mac::GROUP != 0 => {
            Some(punt::asked(edge, frame, meta)?.0)
        }
        DropReason::UnknownMac => route::subnet(edge.guest, head, meta),
        DropReason::UnknownNeighbor => {
            let subnet = route::subnet(edge.guest, head, meta)?;
            let to = match meta.payload {
                Payload::Ipv6 => IpAddr::V6(route::ipv6(head)?.dst()),
                _ => IpAddr::V4(Ipv4Addr::from(meta.dst_ip)),
            };
            let mut links = edge.guest.attachments.iter();
            if to.is_ipv4() && links.any(|link| link.cidr.broadcast() == to) {
                return None;
            }
            (punt::missing(edge, head, meta)? == (subnet.vpc, to)).then_some(subnet)
        }
        _ => None,
    }
}
