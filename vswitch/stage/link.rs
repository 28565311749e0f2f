// SPDX-License-Identifier: MIT
//! The uplink's own link: what is said there by ARP (RFC 826) and by neighbor discovery (RFC 4861) is told to the control
//! side, which asks and answers for this host's VTEPs. A worker keeps nothing of it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use zerocopy::FromBytes;

use crate::tables::Underlay;
use crate::wire::nd::{self, NeighborHdr, option};
use crate::wire::{ArpHdr, Mac};

/// Messages of one worker that may wait for the control side. It looks every few milliseconds, and who is not heard says it
/// again.
pub const HEARD_CAPACITY: usize = 256;

/// From a worker to the control side. Lock-free; neither side waits for the other.
pub type Hearing = Arc<ArrayQueue<Heard>>;

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Who says so; unspecified for who is about to take an address (RFC 5227, RFC 4862 section 5.4).
    pub ip: IpAddr,
    /// Its MAC, by its own account.
    pub mac: Mac,
    /// It asks who has this host's VTEP address, of the same version of IP.
    pub asks: bool,
    /// It counts even if another MAC is known already.
    pub overrides: bool,
}

impl Heard {
    /// What a frame says that concerns this host: a question about its VTEP, an answer to it, or an announcement. `head`
    /// begins with the Ethernet header.
    pub fn of(head: &[u8], underlay: &Underlay) -> Option<Self> {
        let by_arp = Self::by_arp(head, underlay);
        by_arp.or_else(|| Self::by_discovery(head, underlay.vtep6?))
    }

    fn by_arp(head: &[u8], underlay: &Underlay) -> Option<Self> {
        let arp = ArpHdr::in_frame(head)?;
        let to_us = Some(arp.target_ip()) == underlay.vtep;
        let concerns = arp.is_of_ipv4() && (to_us || arp.is_announcement());
        concerns.then(|| Self {
            ip: arp.sender_ip().into(),
            mac: arp.sender_mac(),
            asks: to_us && arp.is_request(),
            overrides: true,
        })
    }

    fn by_discovery(head: &[u8], vtep: Ipv6Addr) -> Option<Self> {
        let (ethernet, ip, message) = nd::sound(head, NeighborHdr::LEN)?;
        let (header, options) = NeighborHdr::ref_from_prefix(message).ok()?;
        // Who leaves the option out, as one may in an answer to who knows it, sends from the MAC that it would have.
        let mac = |which| {
            let mut all = nd::Options(options).flatten();
            let of_it = all.find(|(kind, _)| *kind == which);
            of_it.map_or(Some(ethernet.src()), |(_, option)| nd::mac_in(option))
        };
        // Who has no address yet asks the group (section 7.1.1), and who is answered is so alone (7.1.2).
        let probes_group = !ip.src().is_unspecified() || ip.dst() == nd::solicited_node(vtep);
        let answers_one = !header.is_solicited() || !ip.dst().is_multicast();
        match header.kind() {
            nd::NEIGHBOR_SOLICITATION if header.target() == vtep && probes_group => Some(Self {
                ip: ip.src().into(),
                mac: mac(option::SOURCE)?,
                asks: true,
                overrides: true,
            }),
            nd::NEIGHBOR_ADVERTISEMENT if answers_one => Some(Self {
                ip: header.target().into(),
                mac: mac(option::TARGET)?,
                asks: false,
                overrides: header.overrides(),
            }),
            _ => None,
        }
    }
}
