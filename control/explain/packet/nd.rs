// SPDX-License-Identifier: MIT
//! Neighbor discovery: who has an IPv6 address, or who routes (RFC 4861 sections 4.1 and 4.3).

use std::net::{IpAddr, Ipv6Addr};

use etherparse::{Icmpv6Header, Icmpv6Type, IpNumber, Ipv6Header};
use vswitch::wire::Mac;

use super::{Layer, PacketError, Sender, known};

/// The hop limit of what must not have been routed.
const ON_LINK: u8 = 255;

/// All routers of the link (RFC 4291 section 2.7.1).
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The option with the sender's MAC: its type, and its length in eight bytes.
const SOURCE_MAC: [u8; 2] = [1, 1];

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
        Some(target) => (Icmpv6Type::NeighborSolicitation, solicited(target)),
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
        hop_limit: ON_LINK,
        source: from.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    };
    Ok((group_mac(to), [&ip.to_bytes()[..], &message].concat()))
}

/// The group that everybody with such an address is in (RFC 4291 section 2.7.1).
fn solicited(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let [low, high] = [u16::from_be_bytes([b, c]), u16::from_be_bytes([0xff, a])];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// The address that every machine makes of its MAC for its link (RFC 4291 appendix A).
pub(crate) fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.bytes();
    let id = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Ipv6Addr::from_bits((0xfe80 << 112) | u128::from(u64::from_be_bytes(id)))
}

/// The MAC of a group (RFC 2464 section 7).
pub(crate) fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac::new([0x33, 0x33, a, b, c, d])
}
