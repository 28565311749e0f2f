// SPDX-License-Identifier: MIT
//! ARP requests are answered from the tables: for gateways, and for the neighbors of any host. Nobody learns anything
//! from them, and nobody else sees them.

use std::net::IpAddr;

use zerocopy::FromBytes;

use super::{Edge, Verdict};
use crate::io::Frame;
use crate::tables::{Attachment, Hop};
use crate::wire::{ArpHdr, EthernetHdr, Mac};

/// Makes a request the reply, if the tables say who has the address.
///
/// * A question is answered as RFC 826 says, for addresses of the subnets that the guest is in.
/// * A probe (RFC 5227) too: it is how a guest finds out that another one has the address that it is about to take. Its
///   own address is nobody else's, and a probe for it stays without an answer.
/// * An announcement, or a reply that nobody asked for, is dropped.
pub(super) fn answer<F: Frame>(edge: &Edge<'_, F>, frame: &mut F) -> Option<Verdict> {
    let owner = owner(edge, request(frame.head())?)?;
    if let Ok((ethernet, rest)) = EthernetHdr::mut_from_prefix(frame.head_mut())
        && let Ok((arp, _)) = ArpHdr::mut_from_prefix(rest)
    {
        ethernet.set_dst(ethernet.src());
        ethernet.set_src(owner);
        arp.answer(owner);
    }
    Some(Verdict::Answer)
}

/// The request in a frame, if there is one to answer.
pub(in crate::stage) fn request(head: &[u8]) -> Option<&ArpHdr> {
    ArpHdr::in_frame(head).filter(|arp| arp.is_request() && !arp.is_announcement())
}

/// The subnet of the guest that the target is in. Several may hold it; then the first counts, as it does for packets.
pub(in crate::stage) fn subnet<'t>(
    edge: &Edge<'t, impl Frame>,
    arp: &ArpHdr,
) -> Option<&'t Attachment> {
    let target = IpAddr::V4(arp.target_ip());
    let mut subnets = edge.guest.attachments.iter();
    subnets.find(|subnet| subnet.cidr.contains(&target))
}

/// The MAC at the address that is asked for, as far as the tables know, and unless the guest itself has it.
fn owner(edge: &Edge<'_, impl Frame>, arp: &ArpHdr) -> Option<Mac> {
    let (subnet, target) = (subnet(edge, arp)?, IpAddr::V4(arp.target_ip()));
    if subnet.gateway_ip == Some(target) {
        return subnet.gateway_mac;
    }
    let neighbor = edge.neighbors.find_ip(subnet.vpc, target)?;
    (neighbor.hop != Hop::Local(edge.from)).then_some(neighbor.mac)
}
