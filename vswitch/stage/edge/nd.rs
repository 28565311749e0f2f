// SPDX-License-Identifier: MIT
//! Neighbor discovery (RFC 4861) is answered from the tables, as ARP is: for gateways, and for the neighbors of any host.
//! Nobody learns anything from it, and nobody else sees it.
//!
//! | the guest says | it gets |
//! |---|---|
//! | neighbor solicitation | an advertisement of who has the address, if the tables know; for its gateway's, from time to time one of that too |
//! | the same from no address (RFC 4862 section 5.4) | the same to all nodes: the address is taken. Nothing if it is its own |
//! | router solicitation | an advertisement of its gateway, see [`router`](super::router) |
//! | advertisements | nothing |

use std::net::{IpAddr, Ipv6Addr};

use zerocopy::{FromBytes, IntoBytes};

use super::{Edge, Verdict, replace, router};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::route;
use crate::tables::{Attachment, Hop};
use crate::wire::{
    EthernetHdr, Icmpv6Hdr, Ipv6Hdr, Mac, ethernet, ipv6,
    nd::{self, NeighborHdr},
};

/// Makes a solicitation the advertisement. `None`: it is none, or nobody knows the answer.
pub(super) fn answer<F: Frame>(edge: &mut Edge<'_, F>, frame: &mut F) -> Option<Verdict> {
    let verdict = match kind(frame.head())? {
        nd::NEIGHBOR_SOLICITATION => match Solicitation::read(frame) {
            Ok(asked) => advertise(edge, frame, asked)?,
            Err(reason) => Err(reason),
        },
        nd::ROUTER_SOLICITATION => {
            let asked = sound(frame, Icmpv6Hdr::LEN);
            let asked = asked.map(|(ethernet, ip, _)| (ethernet.src(), ip.src()));
            match asked {
                Ok(from) => router::advertise(edge, frame, from)?,
                Err(reason) => Err(reason),
            }
        }
        _ => return None,
    };
    Some(match verdict {
        Ok(()) => Verdict::Answer,
        Err(reason) => Verdict::Drop(reason),
    })
}

/// The type of a message that has no extension headers in front (RFC 6980 section 5).
fn kind(head: &[u8]) -> Option<u8> {
    let ip = route::ipv6(head).filter(|ip| ip.next_header() == ipv6::ICMP)?;
    let message = head.get(EthernetHdr::LEN + Ipv6Hdr::LEN..)?;
    let (icmp, _) = Icmpv6Hdr::ref_from_prefix(message).ok()?;
    (ip.payload_len() >= Icmpv6Hdr::LEN).then_some(icmp.kind())
}

/// True for a neighbor solicitation, sound or not.
pub(in crate::stage) fn is_solicitation(head: &[u8]) -> bool {
    kind(head) == Some(nd::NEIGHBOR_SOLICITATION)
}

/// A solicitation's headers, and the message, whose fixed part has `fixed` bytes, if it passes the checks that solicitations
/// of neighbors and of routers share (RFC 4861 sections 6.1.1 and 7.1.1).
///
/// # Errors
/// `Truncated`: the frame is in several buffers. `BadNd`: it does not.
fn sound<F: Frame>(frame: &F, fixed: usize) -> Result<(&EthernetHdr, &Ipv6Hdr, &[u8]), DropReason> {
    let head = frame.head();
    if head.len() < frame.len() {
        return Err(DropReason::Truncated);
    }
    nd::sound(head, fixed).ok_or(DropReason::BadNd)
}

/// Who asks, and for whom.
#[derive(Clone, Copy)]
pub(in crate::stage) struct Solicitation {
    mac: Mac,
    /// Unspecified: a machine that is about to take the address.
    from: Ipv6Addr,
    pub(in crate::stage) target: Ipv6Addr,
}

impl Solicitation {
    /// Reads a neighbor solicitation.
    fn read<F: Frame>(frame: &F) -> Result<Self, DropReason> {
        let (ethernet, ip, message) = sound(frame, NeighborHdr::LEN)?;
        let (header, _) = NeighborHdr::ref_from_prefix(message).map_err(|_| DropReason::BadNd)?;
        let (from, target) = (ip.src(), header.target());
        // Who has no address yet asks the group.
        let to_group = ip.dst() == nd::solicited_node(target) || !from.is_unspecified();
        let asked = Self {
            mac: ethernet.src(),
            from,
            target,
        };
        (to_group && !target.is_multicast())
            .then_some(asked)
            .ok_or(DropReason::BadNd)
    }

    /// That in a frame, if it is one from somebody who has an address already.
    pub(in crate::stage) fn of_neighbor<F: Frame>(frame: &F) -> Option<Self> {
        let is_one = kind(frame.head()) == Some(nd::NEIGHBOR_SOLICITATION);
        let asked = is_one.then(|| Self::read(frame))?.ok()?;
        (!asked.from.is_unspecified()).then_some(asked)
    }
}

/// Makes the frame the answer. `None`: the tables do not know it.
fn advertise<F: Frame>(
    edge: &mut Edge<'_, F>,
    frame: &mut F,
    asked: Solicitation,
) -> Option<Result<(), DropReason>> {
    let (mac, is_router) = owner(edge, asked.target)?;
    let probe = asked.from.is_unspecified();
    if is_router && !probe {
        router::repeat(edge, frame, (asked.mac, asked.from));
    }
    let (to_mac, to) = match probe {
        true => (nd::group_mac(nd::ALL_NODES), nd::ALL_NODES),
        false => (asked.mac, asked.from),
    };
    let body = nd::Advertisement::new(asked.target, mac, is_router, !probe);
    Some(reply(
        frame,
        (mac, to_mac),
        (asked.target, to),
        body.as_bytes(),
    ))
}

/// Makes the frame a message of neighbor discovery between these MACs and addresses; `message` lacks its checksum.
pub(super) fn reply<F: Frame>(
    frame: &mut F,
    (src_mac, dst_mac): (Mac, Mac),
    (src, dst): (Ipv6Addr, Ipv6Addr),
    message: &[u8],
) -> Result<(), DropReason> {
    let (header, body) = Icmpv6Hdr::read_from_prefix(message).map_err(|_| DropReason::Malformed)?;
    let header = header.sealed((src, dst), body);
    let len = message.len() as u16;
    let ip = Ipv6Hdr::own(src, dst, ipv6::ICMP, len, nd::HOP_LIMIT);
    let ethernet = EthernetHdr::new(dst_mac, src_mac, ethernet::IPV6);
    let parts = [ethernet.as_bytes(), ip.as_bytes(), header.as_bytes(), body];
    replace(frame, &parts)
}

/// The subnet of the guest that an address is in. Several may hold it; then the first counts, as it does for packets.
pub(in crate::stage) fn subnet<'t>(
    edge: &Edge<'t, impl Frame>,
    target: Ipv6Addr,
) -> Option<&'t Attachment> {
    let mut subnets = edge.guest.attachments.iter();
    subnets.find(|subnet| subnet.cidr.contains(&IpAddr::V6(target)))
}

/// The MAC at an address, and whether that is a gateway's, as far as the tables know, and unless the guest itself has it.
fn owner(edge: &Edge<'_, impl Frame>, target: Ipv6Addr) -> Option<(Mac, bool)> {
    let mut subnets = edge.guest.attachments.iter();
    // A gateway may be told of by a link-local address, of whatever it is made.
    if let Some(of_gateway) = subnets.find(|subnet| subnet.gateway_ip == Some(target.into())) {
        return Some((of_gateway.gateway_mac?, true));
    }
    if target.is_unicast_link_local() {
        return owner_of_link_local(edge, nd::mac_of(target)?);
    }
    let neighbor = edge
        .neighbors
        .find_ip(subnet(edge, target)?.vpc, target.into())?;
    (neighbor.hop != Hop::Local(edge.from)).then_some((neighbor.mac, false))
}

/// The same for an address that is made of this MAC.
fn owner_of_link_local(edge: &Edge<'_, impl Frame>, mac: Mac) -> Option<(Mac, bool)> {
    let mut subnets = edge.guest.attachments.iter();
    let is_of_gateway = |subnet: &Attachment| {
        matches!(subnet.cidr, ipnet::IpNet::V6(_)) && subnet.gateway_mac == Some(mac)
    };
    if subnets.clone().any(is_of_gateway) {
        return Some((mac, true));
    }
    let neighbor = subnets.find_map(|subnet| edge.neighbors.find_mac(subnet.domain, mac))?;
    (neighbor.hop != Hop::Local(edge.from)).then_some((mac, false))
}
