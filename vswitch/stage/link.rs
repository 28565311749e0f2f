// SPDX-License-Identifier: MIT
//! An uplink's own link: what is said there by ARP (RFC 826) and by neighbor discovery (RFC 4861) is told to the control
//! side, which asks and answers for this host's VTEPs. A worker keeps nothing of it.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::tables::{PortId, Underlay};
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
    /// The uplink on whose link it is said.
    pub uplink: PortId,
    /// Who says so; unspecified for who is about to take an address (RFC 5227, RFC 4862 section 5.4).
    pub ip: IpAddr,
    /// Its MAC, by its own account or where its frame comes from: see [`Weight`].
    pub mac: Mac,
    /// The VTEP address of this host that it asks for.
    pub asks: Option<IpAddr>,
    /// What it says of its MAC.
    pub weight: Weight,
}

/// What a message says of its sender's MAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// It counts even if another one is known already.
    Overrides,
    /// It counts if no other one is known.
    New,
    /// Nothing: it is no more than a sign of life of who is known (RFC 4861 section 7.2.5).
    Silent,
}

impl Heard {
    /// What a frame that arrived on `uplink` says that concerns this host: a question about its VTEP, an answer to it, or an announcement. `head`
    /// begins with the Ethernet header.
    pub fn of(head: &[u8], uplink: PortId, underlay: &Underlay) -> Option<Self> {
        let by_arp = Self::by_arp(head, uplink, underlay);
        by_arp.or_else(|| Self::by_discovery(head, uplink, underlay))
    }

    fn by_arp(head: &[u8], uplink: PortId, underlay: &Underlay) -> Option<Self> {
        let arp = ArpHdr::in_frame(head)?;
        let target = IpAddr::from(arp.target_ip());
        let to_us = underlay.has(target);
        let concerns = arp.is_of_ipv4() && (to_us || arp.is_announcement());
        concerns.then(|| Self {
            uplink,
            ip: arp.sender_ip().into(),
            mac: arp.sender_mac(),
            asks: (to_us && arp.is_request()).then_some(target),
            weight: Weight::Overrides,
        })
    }

    fn by_discovery(head: &[u8], uplink: PortId, underlay: &Underlay) -> Option<Self> {
        underlay.uplinks().find_map(|it| it.vtep6)?;
        let (ethernet, ip, message) = nd::sound(head, NeighborHdr::LEN)?;
        let (header, options) = NeighborHdr::in_message(message)?;
        // One may leave the option out when one speaks to a machine that knows it (sections 4.3 and 4.4): that is answered where
        // it comes from, and believed to be there of nobody.
        let says = |which, weight| {
            let mut all = nd::Options(options).flatten();
            let of_it = all.find(|(kind, _)| *kind == which);
            of_it.map_or(Some((ethernet.src(), Weight::Silent)), |(_, option)| {
                Some((nd::mac_in(option)?, weight))
            })
        };
        // Who has no address yet asks the group (section 7.1.1), and who is answered is so alone (7.1.2).
        let probes_group =
            !ip.src().is_unspecified() || ip.dst() == nd::solicited_node(header.target());
        let answers_one = !header.is_solicited() || !ip.dst().is_multicast();
        match header.kind() {
            nd::NEIGHBOR_SOLICITATION if underlay.has(header.target().into()) && probes_group => {
                let (mac, weight) = says(option::SOURCE, Weight::Overrides)?;
                Some(Self {
                    uplink,
                    ip: ip.src().into(),
                    mac,
                    asks: Some(header.target().into()),
                    weight,
                })
            }
            nd::NEIGHBOR_ADVERTISEMENT if answers_one => {
                let weight = match header.overrides() {
                    true => Weight::Overrides,
                    false => Weight::New,
                };
                let (mac, weight) = says(option::TARGET, weight)?;
                // Unasked, and without a MAC, it says nothing at all.
                let says_any = header.is_solicited() || weight != Weight::Silent;
                says_any.then(|| Self {
                    uplink,
                    ip: header.target().into(),
                    mac,
                    asks: None,
                    weight,
                })
            }
            _ => None,
        }
    }
}
