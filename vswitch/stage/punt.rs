// SPDX-License-Identifier: MIT
//! What a guest sends to a neighbor that nobody told us of is not dropped but held, if there is somebody to ask: it goes
//! through a queue to the control side, and comes back through another one when the neighbor is there.
//!
//! Reads the frame, `meta.payload`, `routed`, `key`, `dst_ip`, `dst_mac`.
//! Drops `OnDemandFull`.
//!
//! All of it is off the path of frames that are forwarded.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use crate::burst::{Meta, Payload};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::edge::{Edge, arp, nd};
use crate::stage::route;
use crate::tables::{Attachment, DomainId, MAX_PORTS, Neighbors, PortId, Role, VpcId};
use crate::wire::{Mac, Vni};

/// Frames of one worker that may wait in either queue. 512: at a million misses a second, half a millisecond, which is
/// longer than the control side sleeps.
pub const PUNT_CAPACITY: usize = 512;

/// Of these, frames of one port: a guest that scans its subnet leaves room for the others.
pub const PORT_SHARE: usize = PUNT_CAPACITY / 4;

/// The entry of the neighbor tables that a frame lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sought {
    /// By address: the frame is routed, or asks by ARP or neighbor discovery.
    Ip(VpcId, IpAddr),
    /// By MAC: the frame is switched.
    Mac(DomainId, Mac),
}

impl Sought {
    /// True if the tables have it.
    pub fn is_found(self, neighbors: &Neighbors) -> bool {
        match self {
            Self::Ip(vpc, ip) => neighbors.find_ip(vpc, ip),
            Self::Mac(domain, mac) => neighbors.find_mac(domain, mac),
        }
        .is_some()
    }
}

impl Hash for Sought {
    /// As the tables' keys: each question is looked up a dozen times.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match *self {
            Self::Ip(vpc, IpAddr::V4(ip)) => state.write_u64(Neighbors::ip_key(vpc, ip.to_bits())),
            Self::Ip(vpc, IpAddr::V6(ip)) => (vpc, ip.to_bits()).hash(state),
            Self::Mac(domain, mac) => state.write_u64(Neighbors::mac_key(domain, mac)),
        }
    }
}

/// Whom to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The VNI of the subnet that the guest speaks in.
    pub vni: Vni,
    /// The address to ask for: the frame's destination, or a route's next hop.
    pub ip: IpAddr,
    /// What the tables lack.
    pub sought: Sought,
}

impl Hash for Destination {
    /// All of it: a guest may send to many addresses by one MAC, and from many subnets to one address.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sought.hash(state);
        state.write_u32(self.vni.get());
        match self.ip {
            IpAddr::V4(ip) => state.write_u32(ip.to_bits()),
            IpAddr::V6(ip) => state.write_u128(ip.to_bits()),
        }
    }
}

impl Destination {
    /// True if the guest with this MAC, at a port with this role, may speak to it: not if the port was given to another while
    /// a frame waited.
    pub fn is_reached_from(&self, role: &Role, sender: Mac) -> bool {
        let Role::Tenant(guest) = role else {
            return false;
        };
        guest.mac == sender
            && guest.attachments.iter().any(|subnet| {
                subnet.vni == self.vni
                    && match self.sought {
                        Sought::Ip(vpc, _) => subnet.vpc == vpc,
                        Sought::Mac(domain, _) => subnet.domain == domain,
                    }
            })
    }
}

/// A frame that lacks a neighbor. It is as it arrived.
#[derive(Debug)]
pub struct Miss<F> {
    /// The frame.
    pub frame: F,
    /// The port it arrived on.
    pub from: PortId,
    /// The MAC of the guest there.
    pub guest: Mac,
    /// What it lacks.
    pub destination: Destination,
}

/// The two queues between one worker and the control side. Lock-free; neither side waits for the other.
pub struct PuntQueues<F> {
    misses: ArrayQueue<Miss<F>>,
    returned: ArrayQueue<Miss<F>>,
    /// Frames in `misses`, by port.
    waiting: [AtomicUsize; MAX_PORTS],
}

impl<F> Default for PuntQueues<F> {
    fn default() -> Self {
        Self {
            misses: ArrayQueue::new(PUNT_CAPACITY),
            returned: ArrayQueue::new(PUNT_CAPACITY),
            waiting: std::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }
}

impl<F> PuntQueues<F> {
    /// The worker's: a frame for the control side.
    fn push(&self, miss: Miss<F>) -> Result<(), F> {
        let waiting = &self.waiting[miss.from.index()];
        if waiting.load(Relaxed) >= PORT_SHARE {
            return Err(miss.frame);
        }
        waiting.fetch_add(1, Relaxed); // before the push, so that it never falls below zero
        self.misses.push(miss).map_err(|miss| {
            waiting.fetch_sub(1, Relaxed);
            miss.frame
        })
    }

    /// The worker's: the oldest frame that came back. No more than [`PuntQueues::returning`] said before the tables were
    /// looked at, see [`PuntQueues::give_back`].
    pub fn take_returned(&self) -> Option<Miss<F>> {
        self.returned.pop()
    }

    /// The control side's: the oldest frame that lacks a neighbor.
    pub fn next_miss(&self) -> Option<Miss<F>> {
        let miss = self.misses.pop()?;
        self.waiting[miss.from.index()].fetch_sub(1, Relaxed);
        Some(miss)
    }

    /// The control side's: gives a frame back, to be forwarded as if it arrived now. A worker that finds it and looks at
    /// the tables afterwards sees at least what the caller saw.
    ///
    /// # Errors
    /// No room: what was given.
    pub fn give_back(&self, miss: Miss<F>) -> Result<(), Miss<F>> {
        self.returned.push(miss)
    }

    /// Frames that came back and that the worker has not taken yet.
    #[inline]
    pub fn returning(&self) -> usize {
        self.returned.len()
    }
}

/// Takes a frame that a stage refused, if there is somebody to ask about it.
///
/// # Errors
/// It is to be dropped, for this reason.
pub(super) fn take<F: Frame>(
    edge: &Edge<'_, F>,
    frame: F,
    meta: &Meta,
    reason: DropReason,
) -> Result<(), (F, DropReason)> {
    let Some(queues) = edge.queues else {
        return Err((frame, reason));
    };
    let Some(destination) = destination(edge, &frame, meta, reason) else {
        return Err((frame, reason));
    };
    let from = edge.from;
    let miss = Miss {
        frame,
        from,
        guest: edge.guest.mac,
        destination,
    };
    // Before the push: the other side may let go of it at once.
    edge.counters.port(from).add_held();
    queues.push(miss).map_err(|frame| {
        edge.counters.port(from).add_released(1);
        (frame, DropReason::OnDemandFull)
    })
}

/// Whom to ask for. `None`: nobody can be.
fn destination<F: Frame>(
    edge: &Edge<'_, F>,
    frame: &F,
    meta: &Meta,
    reason: DropReason,
) -> Option<Destination> {
    let head = frame.head();
    match reason {
        DropReason::UnknownNeighbor => {
            let (vpc, ip) = missing(edge, head, meta)?;
            let vni = route::subnet(edge.guest, head, meta)?.vni;
            let sought = Sought::Ip(vpc, ip);
            Some(Destination { vni, ip, sought })
        }
        DropReason::UnknownMac => {
            let ip = match meta.payload {
                Payload::Ipv4 => IpAddr::V4(Ipv4Addr::from(meta.dst_ip)),
                Payload::Ipv6 => IpAddr::V6(route::ipv6(head)?.dst()),
                Payload::Other => return None,
            };
            let subnet = route::subnet(edge.guest, head, meta)?;
            let sought = Sought::Mac(subnet.domain, Mac::from_word(meta.dst_mac));
            let vni = subnet.vni;
            // A subnet of the other version of IP knows nobody of this one.
            let is_known = subnet.cidr.addr().is_ipv4() == ip.is_ipv4() && is_host(ip);
            is_known.then_some(Destination { vni, ip, sought })
        }
        DropReason::NotFlooded => {
            let (subnet, ip) = asked(edge, frame, meta)?;
            let (vni, sought) = (subnet.vni, Sought::Ip(subnet.vpc, ip));
            Some(Destination { vni, ip, sought })
        }
        _ => None,
    }
}

/// The next hop that a routed packet lacks.
pub(super) fn missing<F: Frame>(
    edge: &Edge<'_, F>,
    head: &[u8],
    meta: &Meta,
) -> Option<(VpcId, IpAddr)> {
    if meta.payload == Payload::Ipv6 {
        let (vpc, ip) = route::next_hop(edge.guest, head, meta)?;
        return Some((vpc, ip.into()));
    }
    let (vpc, ip) = Neighbors::of_ip_key(meta.key)?;
    Some((vpc, ip.into()))
}

/// Whom a guest asks for by ARP or by neighbor discovery, the first packet of most conversations, if nobody told us of it:
/// its subnet and its address.
pub(super) fn asked<'t, F: Frame>(
    edge: &Edge<'t, F>,
    frame: &F,
    meta: &Meta,
) -> Option<(&'t Attachment, IpAddr)> {
    let (subnet, ip) = match meta.payload {
        Payload::Ipv6 => {
            let target = nd::Solicitation::of_neighbor(frame)?.target;
            (nd::subnet(edge, target)?, target.into())
        }
        _ => {
            let arp = arp::request(frame.head()).filter(|arp| !arp.is_probe())?;
            (arp::subnet(edge, arp)?, arp.target_ip().into())
        }
    };
    let unknown = edge.neighbors.find_ip(subnet.vpc, ip).is_none();
    let is_neighbor = unknown && subnet.gateway_ip != Some(ip) && is_host(ip);
    is_neighbor.then_some((subnet, ip))
}

/// False for addresses that no single host has, or that are good on one link only.
fn is_host(ip: IpAddr) -> bool {
    let bound = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(bound || ip.is_unspecified() || ip.is_multicast() || ip.is_loopback())
}
