// SPDX-License-Identifier: MIT
//! Head-end replication: broadcast and multicast in a subnet of which the operator wants it leave as many times as there are
//! receivers. (RFC 8365 section 5.1.3 calls it ingress replication; RFC 7348 section 4.2 has the underlay's multicast do it.)
//!
//! | a frame | goes to |
//! |---|---|
//! | of a guest, that nothing else answered | the other guests of its L2 domain here, each host that has any |
//! | of a guest, that asks by ARP or a neighbor solicitation | nobody: who is where is told by the controller |
//! | of another host | the guests of its L2 domain here, and no host (split horizon) |
//!
//! Of the subnets that share a VNI, only guests in those with replication send, and get anything.
//!
//! Reads the frame, `meta.payload`, `key` of what another host sent, and what [`encap`] reads.
//! Drops `NotFlooded`, `ReplicationLimited`, `NoReceivers`, `TooBig`, `NoHeadroom`, `EcnIllegal`, and those of [`parse`] and [`finish`].
//!
//! All of it is off the path of other frames, behind the rest of their burst. The packet counts as one for the switch itself, whose
//! own the copies are: in buffers of its pool, the last in its own buffer. One that there is no buffer for, that is too long for its
//! way, or that its port does not take, counts as unsent by the port that it would have left by.

use std::net::IpAddr;
use std::time::Instant;

use arrayvec::ArrayVec;

use crate::burst::{Burst, Meta, Payload};
use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Frame, Frames, MAX_BURST, TxQueue};
use crate::stage::edge::{Edge, arp, nd};
use crate::stage::limits::Limits;
use crate::stage::transmit::Egress;
use crate::stage::trunk::Subports;
use crate::stage::{deliver, encap, finish, parse, route, tagged};
use crate::tables::neighbors::Entry;
use crate::tables::{
    Attachment, DomainId, Hop, MAX_PORTS, MAX_REPLICATED_HOSTS, Neighbor, Neighbors, PortId, Role,
    Tables, TenantPort,
};
use crate::wire::{ArpHdr, Mac};

/// Most receivers of one frame.
const MAX_RECEIVERS: usize = MAX_REPLICATED_HOSTS + MAX_PORTS;

/// Most copies that one burst makes. What would need more is not copied at all: other ports wait meanwhile.
pub const MAX_COPIES: usize = 2048;

const _: () = assert!(MAX_RECEIVERS <= MAX_COPIES);

type Receivers = ArrayVec<Hop, MAX_RECEIVERS>;

/// Takes a guest's frame that a stage refused and nothing answered, if it is to be copied.
///
/// # Errors
/// It is to be dropped, for this reason.
pub(super) fn take<F: Frame>(
    edge: &mut Edge<'_, F>,
    frame: F,
    meta: &Meta,
    reason: DropReason,
) -> Result<(), (F, DropReason)> {
    let for_bridges = Mac::from_word(meta.dst_mac).is_for_bridges();
    if reason != DropReason::NotFlooded || for_bridges || asks(&frame, meta) {
        return Err((frame, reason));
    }
    let subnet = subnet(edge.guest, frame.head(), meta);
    let Some(replication) = subnet.and_then(|subnet| subnet.replication.as_ref()) else {
        return Err((frame, reason));
    };
    let (from, now) = (edge.from, Instant::now());
    if !edge.limiter.allows_copies(from, now, replication.rate) {
        return Err((frame, DropReason::ReplicationLimited));
    }
    edge.originals.push(frame, meta);
    Ok(())
}

/// The subnet that a guest speaks in to everybody: of an announcement by ARP that of the address.
fn subnet<'t>(guest: &'t TenantPort, head: &[u8], meta: &Meta) -> Option<&'t Attachment> {
    let announced = ArpHdr::in_frame(head).map(|arp| IpAddr::V4(arp.sender_ip()));
    let mut subnets = guest.attachments.iter();
    let of_address = announced.and_then(|ip| subnets.find(|subnet| subnet.cidr.contains(&ip)));
    of_address.or_else(|| route::subnet(guest, head, meta))
}

/// True for a question that is answered if the tables know the answer.
fn asks<F: Frame>(frame: &F, meta: &Meta) -> bool {
    match meta.payload {
        Payload::Ipv4 => false,
        Payload::Ipv6 => nd::is_solicitation(frame.head()),
        Payload::Other => arp::request(frame.head()).is_some(),
    }
}

/// The L2 domain of a frame from another host, if it is to be copied there.
pub(super) fn is_on(tables: &Tables, meta: &Meta) -> bool {
    let key = Neighbors::of_mac_key(meta.key).filter(|(_, mac)| !mac.is_for_bridges());
    key.is_some_and(|(domain, _)| {
        let mut roles = replicated(tables).map(|port| tables.role(port));
        roles.any(|role| matches!(role, Role::Tenant(guest) if guest.gets_copies(domain)))
    })
}

/// The ports with a subnet that has replication: next to none, where few do.
fn replicated(tables: &Tables) -> impl Iterator<Item = PortId> {
    let mut ports = tables.replicated;
    std::iter::from_fn(move || ports.pop())
}

/// The guests here, but for the one at `from`, that are to get a frame.
fn guests<'t>(
    tables: &'t Tables,
    domain: DomainId,
    from: PortId,
    head: &'t [u8],
    subports: &'t Subports,
) -> impl Iterator<Item = Hop> + 't {
    replicated(tables).filter_map(move |port| {
        let Role::Tenant(guest) = tables.role(port) else {
            return None;
        };
        let gets = guest.admin_up && port != from && guest.gets_copies(domain);
        (gets && tagged::takes(guest, port, head, subports)).then_some(Hop::Local(port))
    })
}

/// Frames of one burst that are to be copied.
pub struct Originals<F>(ArrayVec<(F, Meta), MAX_BURST>);

impl<F> Default for Originals<F> {
    fn default() -> Self {
        Self(ArrayVec::new())
    }
}

impl<F: Frame> Originals<F> {
    /// True when there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one.
    pub(super) fn push(&mut self, frame: F, meta: &Meta) {
        self.0.push((frame, *meta)); // no more than frames of one burst
    }

    /// Copies and sends those of a guest. Never blocks, allocates or logs.
    #[cold]
    pub fn send<T: TxQueue<Frame = F>>(&mut self, guest: &TenantPort, mut copying: Copying<'_, T>) {
        for (mut frame, mut meta) in self.0.drain(..) {
            // Some receivers would not: all get it whole.
            if let Err(reason) = finish::whole(&mut frame, copying.counters.port(copying.from)) {
                copying.count(&frame, reason);
                continue;
            }
            let subnet = subnet(guest, frame.head(), &meta);
            let on = subnet.and_then(|subnet| Some((subnet, subnet.replication.as_ref()?)));
            let Some((subnet, replication)) = on else {
                // It was there when the frame was taken, in the same snapshot.
                copying.count(&frame, DropReason::NotFlooded);
                continue;
            };
            meta.neighbor = Entry::from(Neighbor {
                mac: Mac::default(),
                vni: subnet.vni,
                hop: Hop::Local(copying.from),
            });
            let hosts = replication.hosts.iter().take(MAX_REPLICATED_HOSTS);
            let hosts = hosts.copied().map(Hop::Remote);
            let mut to: Receivers = hosts.collect();
            copying.add_guests(subnet.domain, &frame, &mut to);
            copying.copy(frame, &meta, to);
        }
    }

    /// The same with those that came from the underlay, which go to guests only. `burst`: for use meanwhile, empty.
    #[cold]
    pub fn send_here<T: TxQueue<Frame = F>>(
        &mut self,
        burst: &mut Burst<F>,
        mut copying: Copying<'_, T>,
    ) {
        for (frame, meta) in self.0.drain(..) {
            burst.push(frame, &meta);
        }
        parse::run_without_flow(burst);
        burst.keep(|frame, meta| deliver::combine_ecn(frame.head_mut(), meta));
        for (frame, meta) in burst.take_all() {
            let mut to = Receivers::new();
            if let Some((domain, _)) = Neighbors::of_mac_key(meta.key) {
                copying.add_guests(domain, &frame, &mut to);
            }
            copying.copy(frame, &meta, to);
        }
    }
}

/// What it takes to copy the frames of one burst.
pub struct Copying<'a, T: TxQueue> {
    from: PortId,
    tables: &'a Tables,
    limits: &'a Limits,
    egress: &'a mut Egress<T>,
    counters: &'a WorkerCounters,
    /// Copies that may still be made.
    left: &'a mut usize,
}

impl<'a, T: TxQueue> Copying<'a, T> {
    /// For frames that arrived on `from`, of a burst that may have `left` copies yet.
    pub const fn new(
        from: PortId,
        tables: &'a Tables,
        limits: &'a Limits,
        egress: &'a mut Egress<T>,
        counters: &'a WorkerCounters,
        left: &'a mut usize,
    ) -> Self {
        Self {
            from,
            tables,
            limits,
            egress,
            counters,
            left,
        }
    }

    /// Adds the guests here that are to get a frame.
    fn add_guests(&self, domain: DomainId, frame: &T::Frame, to: &mut Receivers) {
        let (tables, subports) = (self.tables, self.egress.subports());
        to.extend(guests(tables, domain, self.from, frame.head(), subports));
    }

    /// Sends a frame to each of these, or drops it.
    fn copy(&mut self, mut frame: T::Frame, meta: &Meta, to: Receivers) {
        match self.send_copies(&mut frame, meta, to) {
            Ok(out) => {
                self.flush(&mut Frames::from_iter([frame]), out);
                self.counters.port(self.from).add_answered(1);
            }
            Err(reason) => self.count(&frame, reason),
        }
    }

    /// Counts a frame that is dropped.
    fn count(&self, frame: &T::Frame, reason: DropReason) {
        self.counters.count_drop(self.from, reason, frame);
    }

    /// Sends copies by a port.
    fn flush(&mut self, copies: &mut Frames<T::Frame>, by: PortId) {
        if !copies.is_empty() {
            self.egress.send_own(copies, by, self.counters);
        }
    }

    /// Sends a frame's copies to all of these but the last that takes it, and readies the frame for that one: the port.
    fn send_copies(
        &mut self,
        frame: &mut T::Frame,
        meta: &Meta,
        mut to: Receivers,
    ) -> Result<PortId, DropReason> {
        if to.is_empty() {
            return Err(DropReason::NoReceivers);
        }
        let left = self.left.checked_sub(to.len());
        *self.left = left.ok_or(DropReason::ReplicationLimited)?;
        let (limits, hops) = (self.limits, self.tables.neighbors.hops_of(meta.flow));
        let fits = |hop: &Hop| meta.len <= limits.longest_to(*hop, hops);
        let last = to.iter().rposition(&fits).ok_or(DropReason::TooBig)?;
        let last = to.remove(last);
        self.counters.port(self.from).add_to_replicas();
        let (mut copies, mut by) = (Frames::new(), self.from);
        for hop in to {
            let mut meta = *meta;
            let copy = fits(&hop).then(|| frame.copy(0..frame.len())).flatten();
            let copy = copy.and_then(|mut copy| {
                let ready = self.make_ready(&mut copy, &mut meta, hop).is_ok();
                ready.then_some(copy)
            });
            let Some(copy) = copy else {
                self.counters.port(self.out(hop, meta.flow)).add_unsent(1);
                continue;
            };
            if copies.is_full() || meta.out != by {
                self.flush(&mut copies, by);
            }
            by = meta.out;
            copies.push(copy);
        }
        self.flush(&mut copies, by);
        let mut meta = *meta;
        self.make_ready(frame, &mut meta, last)?;
        Ok(meta.out)
    }

    /// Makes of a frame what leaves for a receiver, by `meta.out`.
    fn make_ready(&self, frame: &mut T::Frame, meta: &mut Meta, to: Hop) -> Result<(), DropReason> {
        match to {
            Hop::Local(port) => {
                meta.out = port;
                Ok(())
            }
            Hop::Remote(hop) => {
                let template = self.tables.neighbors.hops_of(meta.flow).template(hop);
                encap::put_on(frame, meta, &template)
            }
        }
    }

    /// The port that a receiver is reached by.
    fn out(&self, to: Hop, flow: u32) -> PortId {
        match to {
            Hop::Local(port) => port,
            Hop::Remote(hop) => self.tables.neighbors.hops_of(flow).template(hop).port(),
        }
    }
}
