// SPDX-License-Identifier: MIT
//! What a guest's gateway says of itself when it is solicited (RFC 4861 section 6.2): that it is there, the prefixes of the
//! link, which addresses are not to be made up from, whether they are to be had by DHCPv6, the MTU, and DNS servers.
//!
//! Guests solicit routers once, and forget the one they found after a time unless it speaks again. A worker has no clock that
//! would make it speak; but most guests that use their gateway ask for its MAC now and then, or send many packets by it, and
//! are then told of it, if that was long ago.

use std::net::Ipv6Addr;
use std::time::Instant;

use arrayvec::ArrayVec;
use ipnet::{IpNet, Ipv6Net};
use zerocopy::IntoBytes;

use super::{Edge, nd::reply};
use crate::burst::Burst;
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::limits::mtu_in;
use crate::tables::{Attachment, MAX_ATTACHMENTS, MAX_DNS};
use crate::wire::nd::{self, DnsOption, LinkOption, MtuOption, PrefixOption, RouterHdr, option};
use crate::wire::{EthernetHdr, Mac, ipv6};

/// How long the gateway may be used, in seconds: the longest time that can be told (RFC 8319), since it speaks only when it
/// is spoken to.
const LIFETIME: u16 = u16::MAX;

/// Most bytes of a message.
const MAX_LEN: usize = size_of::<RouterHdr>()
    + size_of::<LinkOption>()
    + size_of::<MtuOption>()
    + size_of::<PrefixOption>() * MAX_ATTACHMENTS
    + size_of::<DnsOption>()
    + size_of::<Ipv6Addr>() * MAX_DNS;

type Message = ArrayVec<u8, MAX_LEN>;

/// Makes the frame the advertisement for who solicits it from this MAC and address. `None`: the guest has no gateway.
pub(super) fn advertise<F: Frame>(
    edge: &mut Edge<'_, F>,
    frame: &mut F,
    (mac, ip): (Mac, Ipv6Addr),
) -> Option<Result<(), DropReason>> {
    let subnets = &edge.guest.attachments;
    let has_gateway =
        |subnet: &&Attachment| prefix(subnet).is_some() && subnet.gateway_mac.is_some();
    let subnet = subnets.iter().find(has_gateway)?;
    let gateway = subnet.gateway_mac?;
    let of_gateway = subnets
        .iter()
        .filter(|other| other.gateway_mac == Some(gateway));
    let port_mtu = mtu_in(edge.limits.longest(edge.from));
    let prefixes = of_gateway.filter_map(prefix);
    let by_dhcp = edge.guest.lease6.is_some();
    let message = message(subnet, gateway, prefixes, port_mtu, by_dhcp)?;
    let (to_mac, to) = match ip.is_unspecified() {
        true => (nd::group_mac(nd::ALL_NODES), nd::ALL_NODES),
        false => (mac, ip),
    };
    let addresses = (nd::link_local(gateway), to);
    let replied = reply(frame, (gateway, to_mac), addresses, &message);
    if replied.is_ok() {
        edge.limiter.tell_router(edge.from, Instant::now());
    }
    Some(replied)
}

/// Tells who asks for its gateway's MAC, from this MAC and address, of the gateway, if that is due. The frame stays as it is.
pub(super) fn repeat<F: Frame>(edge: &mut Edge<'_, F>, frame: &F, from: (Mac, Ipv6Addr)) {
    if edge.limiter.is_router_due(edge.from, Instant::now())
        && let Some(mut unasked) = frame.copy(0..frame.len())
        && let Some(Ok(())) = advertise(edge, &mut unasked, from)
    {
        edge.replies.unasked = Some(unasked);
    }
}

/// Tells a guest that has just sent `burst` by its gateway of that, if that is due.
#[cold]
pub(super) fn remind<F: Frame>(edge: &mut Edge<'_, F>, burst: &Burst<F>) {
    let to = (edge.guest.mac, Ipv6Addr::UNSPECIFIED);
    if edge.limiter.is_router_due(edge.from, Instant::now())
        && let Some((frame, _)) = burst.iter().next()
        && let Some(mut unasked) = frame.copy(0..EthernetHdr::LEN)
        && let Some(Ok(())) = advertise(edge, &mut unasked, to)
    {
        edge.replies.unasked = Some(unasked);
    }
}

/// The prefix of an IPv6 subnet.
fn prefix(subnet: &Attachment) -> Option<Ipv6Net> {
    match subnet.cidr {
        IpNet::V6(prefix) => Some(prefix),
        IpNet::V4(_) => None,
    }
}

/// The message without its checksum. `by_dhcp`: the guest is served by DHCPv6. `None`: there is no room for it.
fn message(
    subnet: &Attachment,
    gateway: Mac,
    prefixes: impl Iterator<Item = Ipv6Net>,
    port_mtu: u16,
    by_dhcp: bool,
) -> Option<Message> {
    let told = &subnet.advertisement;
    let mut message = Message::new();
    let mut add = |part: &[u8]| message.try_extend_from_slice(part).ok();
    let router = RouterHdr::new(ipv6::OWN_HOPS, by_dhcp, LIFETIME);
    add(router.as_bytes())?;
    add(LinkOption::new(option::SOURCE, gateway).as_bytes())?;
    let mtu = told.mtu.map(|mtu| mtu.min(port_mtu));
    if let Some(mtu) = mtu.filter(|mtu| *mtu >= ipv6::LEAST_MTU) {
        add(MtuOption::new(mtu.into()).as_bytes())?;
    }
    for prefix in prefixes {
        add(PrefixOption::on_link(prefix).as_bytes())?;
    }
    let servers = &told.dns[..told.dns.len().min(MAX_DNS)];
    if !servers.is_empty() {
        add(DnsOption::new(servers.len() as u8).as_bytes())?;
        for server in servers {
            add(&server.octets())?;
        }
    }
    Some(message)
}
