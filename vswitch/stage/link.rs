// SPDX-License-Identifier: MIT
//! The uplink's own link: what is said there by ARP (RFC 826) is told to the control side, which asks and answers for this
//! VTEP. A worker keeps nothing of it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use zerocopy::FromBytes;

use crate::tables::Underlay;
use crate::wire::{ArpHdr, EthernetHdr, Mac, ethernet};

/// Messages of one worker that may wait for the control side. It looks every few milliseconds, and who is not heard says it
/// again.
pub const HEARD_CAPACITY: usize = 256;

/// From a worker to the control side. Lock-free; neither side waits for the other.
pub type Hearing = Arc<ArrayQueue<Heard>>;

/// What an ARP message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Who says so; unspecified in a probe (RFC 5227).
    pub ip: Ipv4Addr,
    /// Its MAC, by its own account.
    pub mac: Mac,
    /// It asks who has this host's VTEP address.
    pub asks: bool,
}

impl Heard {
    /// What a frame says that concerns this host: a question about its VTEP, an answer to it, or an announcement. `head`
    /// begins with the Ethernet header.
    pub fn of(head: &[u8], underlay: &Underlay) -> Option<Self> {
        let (ethernet, rest) = EthernetHdr::ref_from_prefix(head).ok()?;
        let (arp, _) = ArpHdr::ref_from_prefix(rest).ok()?;
        let to_us = arp.target_ip() == underlay.vtep;
        let concerns = arp.is_of_ipv4() && (to_us || arp.is_announcement());
        (ethernet.ethertype() == ethernet::ARP && concerns).then(|| Self {
            ip: arp.sender_ip(),
            mac: arp.sender_mac(),
            asks: to_us && arp.is_request(),
        })
    }
}
