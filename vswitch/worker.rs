// SPDX-License-Identifier: MIT
//! One lcore's loop. Start reading here: a packet's way is `forward_from_guest` or `forward_from_underlay`,
//! one stage a line.

mod host;
mod naps;
mod polled;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::burst::Burst;
use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Frame, Frames, MAX_BURST, RxQueue, TxQueue};
use crate::stage::edge::{Edge, Limiter, Replies};
use crate::stage::finish::Later;
use crate::stage::fragment::Large;
use crate::stage::host_gate::HostGate;
use crate::stage::limits::Limits;
use crate::stage::link::Hearing;
use crate::stage::observe::{Observer, Stage, Unobserved};
use crate::stage::punt::{Miss, PuntQueues};
use crate::stage::replicate::{Copying, MAX_COPIES, Originals};
use crate::stage::trunk::{Apart, Subport};
use crate::stage::{
    decap, deliver, encap, finish, guard, mss, neighbor, parse, route, tagged, transmit,
};
use crate::tables::rcu::Reader;
use crate::tables::{PortId, Role, Tables, TenantPort};
use crate::wire::ethernet::TAG;
use naps::Naps;
pub use polled::Polled;

/// One lcore's share of the switch: the rx queues it polls, its ways out, its view of the tables.
pub struct Worker<R: RxQueue, T: TxQueue<Frame = R::Frame>, O = Unobserved> {
    queues: Vec<Polled<R>>,
    tables: Reader<Tables>,
    naps: Naps,
    lane: Lane<T, O>,
    burst_size: usize,
}

/// What a burst needs on its way besides the tables.
struct Lane<T: TxQueue, O> {
    burst: Burst<T::Frame>,
    strangers: Frames<T::Frame>,
    replies: Replies<T::Frame>,
    limiter: Limiter,
    limits: Limits,
    later: Later<T::Frame>,
    large: Large<T::Frame>,
    originals: Originals<T::Frame>,
    /// Copies that the burst may have yet.
    copies_left: usize,
    apart: Apart<T::Frame>,
    egress: transmit::Egress<T>,
    counters: Arc<WorkerCounters>,
    punt: Option<Arc<PuntQueues<T::Frame>>>,
    hearing: Option<Hearing>,
    host_gate: HostGate,
    observer: O,
    clock: fn() -> u64,
    /// Something arrived in the last round.
    busy: bool,
}

impl<R: RxQueue, T: TxQueue<Frame = R::Frame>> Worker<R, T> {
    /// A worker without ports. It takes up to `burst_size` frames from a queue at once (1 to [`MAX_BURST`]; clamped).
    pub fn new(tables: Reader<Tables>, counters: Arc<WorkerCounters>, burst_size: usize) -> Self {
        Self::observed(tables, counters, burst_size, Unobserved)
    }
}

impl<R: RxQueue, T: TxQueue<Frame = R::Frame>, O: Observer<R::Frame>> Worker<R, T, O> {
    /// The same; `observer` is told of each burst after each stage.
    pub fn observed(
        mut tables: Reader<Tables>,
        counters: Arc<WorkerCounters>,
        burst_size: usize,
        observer: O,
    ) -> Self {
        let underlay = tables.pin().underlay;
        tables.offline();
        let tagged = underlay.and_then(|it| {
            let ports = it.uplinks().map(|uplink| uplink.port);
            Some((ports.collect(), it.tunnel.vlan?))
        });
        let lane = Lane {
            burst: Burst::default(),
            strangers: Frames::new(),
            replies: Replies::default(),
            limiter: Limiter::default(),
            limits: Limits::NONE,
            later: Later::default(),
            large: Large::default(),
            originals: Originals::default(),
            copies_left: 0,
            apart: Apart::default(),
            egress: transmit::Egress::new(tagged),
            counters,
            punt: None,
            hearing: None,
            host_gate: HostGate::default(),
            observer,
            clock: || 0,
            busy: false,
        };
        Self {
            queues: Vec::new(),
            tables,
            naps: Naps::default(),
            lane,
            burst_size: burst_size.clamp(1, MAX_BURST),
        }
    }

    /// Who is told of bursts.
    pub fn into_observer(self) -> O {
        self.lane.observer
    }

    /// Lets it leave what lacks a neighbor with the control side, instead of dropping it.
    pub fn punt_to(&mut self, queues: Arc<PuntQueues<R::Frame>>) {
        self.lane.punt = Some(queues);
    }

    /// Lets it tell the control side what it hears by ARP and neighbor discovery on uplinks.
    pub fn tell(&mut self, hearing: Hearing) {
        self.lane.hearing = Some(hearing);
    }

    /// Has it tell by this clock how long it is busy. Not while it polls.
    pub fn time_by(&mut self, clock: fn() -> u64) {
        self.lane.clock = clock;
    }

    /// Has it sleep while nothing arrives, for so many microseconds at once at most; 0: it polls without a pause. Not while it
    /// polls.
    pub fn sleep_at_most(&mut self, longest: u32) {
        self.naps = Naps::of_at_most(longest);
    }

    /// How much goes to the host port. Not while it polls.
    pub fn host_gate_mut(&mut self) -> &mut HostGate {
        &mut self.lane.host_gate
    }

    /// How long packets may be by its ports, and what becomes of longer ones. Not while it polls.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.lane.limits
    }

    /// Gives it a port: the rx queues it is to poll, and its way out. Not while it polls.
    pub fn add_port(&mut self, port: PortId, queues: Vec<R>, link: Option<transmit::Link<T>>) {
        let queues = queues.into_iter();
        self.queues
            .extend(queues.map(|queue| Polled::new(port, queue)));
        self.lane.egress.set(port, link);
    }

    /// Makes a VLAN of a port a port of its own, `port`. Not while it polls.
    pub fn add_subport(&mut self, port: PortId, subport: Subport) {
        self.lane.egress.subports_mut().set(port, Some(subport));
    }

    /// Takes a port away; its queues are dropped. Not while it polls. Where workers share a tx queue, the one that has
    /// it comes last, and sends what it was handed.
    pub fn remove_port(&mut self, port: PortId) {
        self.drain();
        self.queues.retain(|polled| polled.port != port);
        self.lane.egress.set(port, None);
        self.lane.egress.subports_mut().set(port, None);
    }

    /// Polls until `running` is false, then gives the worker back, offline.
    pub fn run(mut self, running: &AtomicBool) -> Self {
        self.lane.turn_idle();
        while running.load(Ordering::Relaxed) {
            let arrived = self.poll();
            if let Some(nap) = self.naps.after(arrived) {
                self.sleep(nap);
            }
        }
        self.lane.rest();
        self.tables.offline();
        self
    }

    /// Nobody waits for it meanwhile: it is offline.
    #[cold]
    fn sleep(&mut self, nap: Duration) {
        self.tables.offline();
        let begun = (self.lane.clock)();
        std::thread::sleep(nap);
        let slept = (self.lane.clock)().wrapping_sub(begun);
        self.lane.counters.load.add_sleep(slept);
        for polled in &mut self.queues {
            polled.queue.after_sleep();
        }
    }

    /// One round over the queues; returns how many frames arrived. Between two rounds the worker holds nothing
    /// of the tables. Never blocks, allocates or logs.
    pub fn poll(&mut self) -> usize {
        let returned = self.lane.returned();
        let tables = self.tables.pin();
        let mut arrived = self.lane.egress.send_handed_over(&self.lane.counters);
        if returned != 0 {
            let most = returned.min(self.burst_size);
            arrived += self.lane.forward_returned(most, &tables);
        }
        if !self.lane.busy && arrived != 0 {
            self.lane.turn_busy();
        }
        let timed = self.lane.counters.load.is_timed();
        for Polled { port, queue, load } in &mut self.queues {
            let begun = if timed { (self.lane.clock)() } else { 0 };
            let received = queue.rx_burst(self.lane.burst.frames_mut(), self.burst_size);
            if received == 0 {
                continue;
            }
            arrived += received;
            if !self.lane.busy {
                self.lane.turn_busy();
            }
            self.lane.counters.load.add_burst(received);
            load.add_packets(received);
            let unfinished = queue.brought_unfinished();
            self.lane.burst.set_unfinished(unfinished);
            self.lane.copies_left = MAX_COPIES;
            let bytes = prefetch(self.lane.burst.frames_mut());
            if self.lane.counters.capture.wants_received() {
                self.lane.capture_received(*port);
            }
            if self.lane.egress.subports().has(*port) {
                self.lane.forward_trunk(*port, bytes, &tables);
            } else {
                self.lane.counters.port(*port).add_rx(received, bytes);
                self.lane.forward(*port, &tables);
            }
            if timed {
                load.add_timed((self.lane.clock)().wrapping_sub(begun));
            }
        }
        if self.lane.busy && arrived == 0 {
            self.lane.turn_idle();
        }
        self.lane.counters.load.add_poll(arrived == 0);
        arrived
    }
}

/// Fetches what `parse` reads, and sums the frames' bytes. The descriptors are in the cache: the driver has just
/// written them.
#[inline]
fn prefetch<F: Frame>(frames: &Frames<F>) -> usize {
    let lens = frames.iter().map(|frame| {
        frame.prefetch_head();
        frame.len()
    });
    lens.sum()
}

impl<T: TxQueue, O: Observer<T::Frame>> Lane<T, O> {
    /// A burst that came from a port, by what that port is for.
    #[inline]
    fn forward(&mut self, from: PortId, tables: &Tables) {
        let role = tables.role(from);
        if self.burst.is_unfinished() && !matches!(role, Role::Tenant(_)) {
            finish::all(&mut self.burst, self.counters.port(from));
        }
        match role {
            Role::Tenant(guest) => self.forward_from_guest(from, guest, tables),
            Role::Uplink => self.forward_from_underlay(from, tables),
            Role::Host => self.forward_from_host(from, tables),
            Role::Unbound => self.burst.drop_all(DropReason::PortUnbound),
        }
        self.burst.settle(from, &self.counters);
    }

    /// Copies what arrived on a port, or on its subports, for somebody who wants to see it.
    #[cold]
    fn capture_received(&mut self, port: PortId) {
        let subports = self.egress.subports();
        let of = |frame: &T::Frame| subports.of(port, frame.head()).unwrap_or(port);
        let capture = &self.counters.capture;
        capture.copy_received(self.burst.frames_mut(), of);
    }

    /// A burst of so many bytes that came from a port with subports: first what is its own, then what is each subport's.
    #[cold]
    #[inline(never)]
    fn forward_trunk(&mut self, parent: PortId, bytes: usize, tables: &Tables) {
        let (frames, subports) = (self.burst.frames_mut(), self.egress.subports());
        let theirs = self.apart.fill(frames, parent, subports);
        if !self.burst.is_empty() {
            let own = self.counters.port(parent);
            own.add_rx(self.burst.len(), bytes - theirs);
            self.forward(parent, tables);
        }
        while let Some(subport) = self.apart.next(self.burst.frames_mut()) {
            let bytes: usize = self.burst.iter().map(|(frame, _)| frame.len() + TAG).sum();
            let counters = self.counters.port(subport);
            counters.add_rx(self.burst.len(), bytes);
            self.forward(subport, tables);
        }
    }

    /// Something arrived: told before it is worked on, since it may be all there is for a while.
    #[cold]
    fn turn_busy(&mut self) {
        self.busy = true;
        self.counters.load.begin_work((self.clock)());
    }

    #[cold]
    fn turn_idle(&mut self) {
        self.busy = false;
        self.counters.load.begin_idling((self.clock)());
    }

    #[cold]
    fn rest(&mut self) {
        self.busy = false;
        self.counters.load.rest((self.clock)());
    }

    #[inline]
    fn returned(&self) -> usize {
        self.punt.as_ref().map_or(0, |punt| punt.returning())
    }

    /// Up to `most` frames that come back from the control side, as if they arrived now. What still lacks a neighbor, which
    /// went away in the meantime, goes to a gateway or is dropped. So is what its port's guest did not send: another guest is there now.
    #[cold]
    fn forward_returned(&mut self, most: usize, tables: &Tables) -> usize {
        let Some(punt) = self.punt.take() else {
            return 0;
        };
        let (mut count, mut from) = (0, None);
        self.burst.set_unfinished(true); // who knows
        self.copies_left = MAX_COPIES;
        while count < most
            && let Some(Miss {
                frame,
                from: port,
                guest,
                destination,
            }) = punt.take_returned()
        {
            count += 1;
            self.counters.port(port).add_released(1);
            if !destination.is_reached_from(tables.role(port), guest) {
                self.counters
                    .count_drop(port, DropReason::PortUnbound, &frame);
                continue;
            }
            if let Some(from) = from.filter(|from| *from != port) {
                self.forward(from, tables);
            }
            from = Some(port);
            self.burst.frames_mut().push(frame);
        }
        if let Some(from) = from {
            self.forward(from, tables);
        }
        self.punt = Some(punt);
        count
    }

    /// A burst that a guest sent.
    #[inline]
    fn forward_from_guest(&mut self, from: PortId, guest: &TenantPort, tables: &Tables) {
        if !guest.admin_up {
            self.burst.drop_all(DropReason::PortDown);
            return;
        }
        let mut edge = Edge {
            queues: self.punt.as_ref(),
            from,
            guest,
            neighbors: &tables.neighbors,
            counters: &self.counters,
            replies: &mut self.replies,
            originals: &mut self.originals,
            limiter: &mut self.limiter,
            limits: &self.limits,
        };
        let tagged = parse::run(&mut self.burst, guest.takes_tags);
        self.observer.after(Stage::Parse, &self.burst);
        if let Some(guard) = &guest.guard {
            guard::run(&mut self.burst, guard);
            self.observer.after(Stage::Guard, &self.burst);
        }
        let any_ipv6 = route::run(&mut self.burst, guest, &tables.neighbors, &mut edge);
        self.observer.after(Stage::Route, &self.burst);
        neighbor::run_or_offer(&mut self.burst, &tables.neighbors, &mut edge, any_ipv6);
        self.observer.after(Stage::Neighbor, &self.burst);
        if tagged {
            tagged::run(&mut self.burst, tables, self.egress.subports());
        }
        if self.limits.clamp_mss {
            mss::from_guest(&mut self.burst, from, &self.limits, &tables.neighbors.hops);
            self.observer.after(Stage::Mss, &self.burst);
        }
        if self.burst.is_unfinished() {
            finish::run(&mut self.burst, &edge, &self.egress, &mut self.later);
        }
        encap::run(&mut self.burst, tables, &mut edge, &mut self.large);
        self.observer.after(Stage::Encap, &self.burst);
        self.egress.send(&mut self.burst, from, &self.counters);
        if !self.large.is_empty() {
            let (egress, counters) = (&mut self.egress, &self.counters);
            self.large.send(from, guest, tables, egress, counters);
        }
        if !self.later.is_empty() {
            let (burst, egress, large) = (&mut self.burst, &mut self.egress, &mut self.large);
            self.later.send(burst, tables, &mut edge, egress, large);
        }
        if !self.originals.is_empty() {
            let (egress, counters) = (&mut self.egress, &self.counters);
            let left = &mut self.copies_left;
            let copying = Copying::new(from, tables, &self.limits, egress, counters, left);
            self.originals.send(guest, copying);
        }
        self.replies.send(from, &mut self.egress, &self.counters);
    }

    /// A burst from the underlay.
    #[inline]
    fn forward_from_underlay(&mut self, from: PortId, tables: &Tables) {
        let heard = self.hearing.is_some();
        let (strangers, originals) = (&mut self.strangers, &mut self.originals);
        decap::run(&mut self.burst, from, tables, heard, strangers, originals);
        self.observer.after(Stage::Decap, &self.burst);
        let tagged = parse::run_without_flow(&mut self.burst);
        self.observer.after(Stage::Parse, &self.burst);
        neighbor::run(&mut self.burst, &tables.neighbors);
        self.observer.after(Stage::Neighbor, &self.burst);
        if tagged {
            tagged::run(&mut self.burst, tables, self.egress.subports());
        }
        if self.limits.clamp_mss {
            mss::from_underlay(&mut self.burst, &self.limits, tables);
            self.observer.after(Stage::Mss, &self.burst);
        }
        deliver::run(&mut self.burst, tables, &self.limits);
        self.observer.after(Stage::Deliver, &self.burst);
        self.egress.send(&mut self.burst, from, &self.counters);
        if !self.originals.is_empty() {
            let (egress, counters) = (&mut self.egress, &self.counters);
            let left = &mut self.copies_left;
            let copying = Copying::new(from, tables, &self.limits, egress, counters, left);
            self.originals.send_here(&mut self.burst, copying);
        }
        if !self.strangers.is_empty() {
            self.attend_to_strangers(from, tables);
        }
    }
}
