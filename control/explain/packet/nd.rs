// SPDX-License-Identifier: MIT
//! Neighbor discovery: who has an IPv6 address, or who routes (RFC 4861 sections 4.1 and 4.3).

use std::net::{IpAddr, Ipv6Addr};

use etherparse::{Icmpv6Header, Icmpv6Type, IpNumber, Ipv6Header};
use vswitch::wire::{Mac, nd};

use super::{Layer, PacketError, Sender, known};

/// All routers of the link (RFC 4291 section 2.7.1).
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The option with the sender's MAC: its type, and its length in eight bytes.
const SOURCE_MAC: [u8; 2] = [nd::option::SOURCE, 1];

/// A request for who has an address, or if none is said, for routers; and the MAC that it is sent to.
pub(super) fn solicitation(
    mut layer: Layer<'_>,
    mac: Mac,
    sender: &impl Sender,
) -> Result<(Mac, Vec<u8>), PacketError> {
    let from: Option<Ipv6Addr> = layer.take("src")?;
    let target: Option<Ipv6Addr> = layer.take("dst")?;
    layer.end()?;
    let (kind, to) = match target {
        Some(target) => (Icmpv6Type::NeighborSolicitation, nd::solicited_node(target)),
        None => (Icmpv6Type::RouterSolicitation, ROUTERS),
    };
    let own = || match sender.address(target.unwrap_or(ROUTERS).into())? {
        IpAddr::V6(own) => Some(own),
        IpAddr::V4(_) => None,
    };
    let from: Ipv6Addr = known("nd src", from.or_else(own))?;
    let target = target.map(|target| target.octets());
    // Who has no address yet, and asks whether one is free, does not say whose MAC to send the answer to.
    let option = (!from.is_unspecified()).then(|| [&SOURCE_MAC[..], &mac.bytes()].concat());
    let mut data = target.map(Vec::from).unwrap_or_default();
    data.extend(option.into_iter().flatten());
    let header = Icmpv6Header::with_checksum(kind, from.octets(), to.octets(), &data);
    let header = header.map_err(|error| PacketError::Value(error.to_string()))?;
    let message = [&header.to_bytes()[..], &data].concat();
    let ip = Ipv6Header {
        payload_length: message.len() as u16, // at most 32
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: nd::HOP_LIMIT,
        source: from.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    };
    Ok((nd::group_mac(to), [&ip.to_bytes()[..], &message].concat()))
}
