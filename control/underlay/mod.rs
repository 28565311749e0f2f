// SPDX-License-Identifier: MIT
//! The uplinks' links: which of them are up, and the switch's own ARP and neighbor discovery there. Hosts and routers that
//! the goal state needs, and nobody named a MAC for, are asked for; and where the host has no port of its own, who asks for a
//! VTEP is answered.
//!
//! ```text
//!   core ── needed ──► resolver ── question ──► uplink      worker ── heard ──► resolver ── learned ──► core
//! ```
//!
//! [`resolver`] decides who is asked when, on each link; [`watch`] which uplinks are live, [`own`] what is said. All of it is
//! done by a thread of its own that waits for nobody: whatever the control thread, operators and stuck workers are at, who asks
//! for a VTEP is answered, and a lost link is acted upon.

mod own;
mod resolver;
mod watch;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use vswitch::dpdk::LinkWatch;
use vswitch::stage::link::{HEARD_CAPACITY, Heard, Hearing};
use vswitch::tables::{Live, PortId};
use vswitch::wire::Mac;

use crate::core::{Core, CoreHandle, Need, OnLink, Uplink};
use crate::switch::{Devices, Switch};
use own::Own;
use resolver::Resolver;
use watch::Watch;

/// Time between two looks at what workers heard.
const ROUND: Duration = Duration::from_millis(5);

/// Time between two looks for addresses that nobody needs any more.
const LOOK: Duration = Duration::from_secs(60);

/// Time between two looks at several uplinks' links.
const WATCH: Duration = Duration::from_millis(100);

/// When VTEPs are announced again after uplinks were lost or found (RFC 5227 section 2.3 has two announcements, two seconds
/// apart): a link that just came up may lose the first, and nobody asks for it.
const ANNOUNCE_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Least time between two warnings that another host has this host's address.
const WARN: Duration = Duration::from_secs(60);

/// What is known of the link, for operators.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Mutex<Sides>>);

/// One uplink's link in figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// The uplink.
    pub(crate) uplink: PortId,
    /// Hosts and routers that were asked for their MAC, and said it.
    pub(crate) known: usize,
    /// Those that did not.
    pub(crate) silent: usize,
    /// Flows go by it: its link is up.
    pub(crate) used: bool,
}

/// What is known of each uplink's link.
#[derive(Default)]
struct Sides {
    resolvers: Vec<(PortId, Resolver)>,
    out: Vec<PortId>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Sides> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `show underlay`.
    pub(crate) fn rows(&self) -> Value {
        // Links are looked at under the lock, and many rows take their time.
        let (now, resolvers) = (Instant::now(), self.lock().resolvers.clone());
        let rows = resolvers.iter();
        let rows = rows.flat_map(|(port, resolver)| resolver.rows(*port, now));
        rows.collect()
    }

    /// What is known of each uplink, in figures.
    pub(crate) fn counts(&self) -> Vec<Asked> {
        let sides = self.lock();
        let asked = |(port, resolver): &(PortId, Resolver)| {
            let (known, silent) = resolver.counts();
            Asked {
                uplink: *port,
                known,
                silent,
                used: !sides.out.contains(port),
            }
        };
        sides.resolvers.iter().map(asked).collect()
    }

    /// True for an uplink that is not used, since its link is down or was until just now.
    pub(crate) fn is_out(&self, uplink: PortId) -> bool {
        self.lock().out.contains(&uplink)
    }
}

impl Sides {
    fn resolver(&mut self, uplink: PortId) -> Option<&mut Resolver> {
        let mut all = self.resolvers.iter_mut();
        all.find_map(|(port, resolver)| (*port == uplink).then_some(resolver))
    }

    /// The control thread's needs, in the order in which it says them.
    fn take(&mut self, now: Instant, need: Need) {
        match need {
            Need::Mac((uplink, ip)) => {
                if let Some(resolver) = self.resolver(uplink) {
                    resolver.want(now, ip);
                }
            }
            Need::Only(needed) => {
                for (port, resolver) in &mut self.resolvers {
                    let there = needed.iter().filter(|(uplink, _)| uplink == port);
                    resolver.keep(&there.map(|(_, ip)| *ip).collect());
                }
            }
        }
    }
}

/// The uplinks' links.
pub(crate) struct Underlay {
    devices: Arc<Devices>,
    hearing: Vec<Hearing>,
    /// This host on each.
    uplinks: Vec<(Uplink, Own)>,
    links: Vec<(PortId, LinkWatch)>,
    watch: Watch,
    /// Where workers look which are live.
    live: Arc<Live>,
    /// When to announce the VTEPs again, in order.
    again: Vec<Instant>,
    /// Nobody else answers for it.
    answers: bool,
    needed: mpsc::UnboundedReceiver<Need>,
    known: Known,
    /// What the control thread is to be told.
    learned: Vec<(OnLink, Mac)>,
    warned: Option<Instant>,
}

impl Underlay {
    /// Of a switch with an uplink, whose control thread says from now on what it needs.
    pub(crate) fn new(switch: &Switch, core: &mut Core) -> Option<Self> {
        let uplinks = core.site().uplinks.iter();
        let uplinks: Vec<_> = uplinks.map(|it| (it.clone(), Own::of(it))).collect();
        let ports: Vec<_> = uplinks.iter().map(|(uplink, _)| uplink.port).collect();
        if ports.is_empty() {
            return None;
        }
        let devices = switch.devices();
        // They are there: the site has their MACs.
        let link = |&port: &PortId| Some((port, devices.watch_link(port)?));
        let links = ports.iter().filter_map(link).collect();
        let known = Known::default();
        known.lock().resolvers = ports.iter().map(|&it| (it, Resolver::default())).collect();
        let answers = core.site().host_port.is_none();
        let (needs, needed) = mpsc::unbounded_channel(); // emptied each round; each address once a commit at most
        core.resolve_by(needs);
        Some(Self {
            hearing: switch.hear(),
            links,
            devices,
            uplinks,
            watch: Watch::new(ports),
            live: core.live(),
            again: Vec::new(),
            answers,
            needed,
            known,
            learned: Vec::new(),
            warned: None,
        })
    }

    /// What operators are shown.
    pub(crate) fn known(&self) -> Known {
        self.known.clone()
    }

    /// Asks, answers and tells what it learns, until the end is called. The body of a thread.
    pub(crate) fn run(mut self, core: &CoreHandle, ended: impl Fn() -> bool) {
        let (mut looked, mut watched) = (Instant::now(), Instant::now());
        while !ended() {
            std::thread::sleep(ROUND);
            let now = Instant::now();
            self.round(now);
            if self.uplinks.len() > 1 && now >= watched + WATCH {
                watched = now;
                self.watch_links(now);
            }
            if self.again.first().is_some_and(|again| now >= *again) {
                self.again.remove(0);
                self.announce();
            }
            if now >= looked + LOOK
                && let Some(note) = core.try_note()
            {
                looked = now;
                note.needed();
            }
            if !self.learned.is_empty()
                && let Some(note) = core.try_note()
            {
                note.learned(std::mem::take(&mut self.learned));
            }
        }
    }

    fn round(&mut self, now: Instant) {
        let known = self.known.clone();
        let mut sides = known.lock();
        while let Ok(need) = self.needed.try_recv() {
            sides.take(now, need);
        }
        let queues = self.hearing.iter();
        let said = queues.flat_map(|queue| std::iter::from_fn(|| queue.pop()).take(HEARD_CAPACITY));
        for heard in said.collect::<Vec<_>>() {
            let resolver = sides.resolver(heard.uplink);
            if self.uplinks.iter().any(|(_, own)| own.has(heard.ip)) {
                self.warn(now, heard);
            } else if let Some(mac) = resolver.and_then(|it| it.heard(now, heard)) {
                tracing::info!(
                    port = heard.uplink.get(), address = %heard.ip, %mac, "a neighbor of the underlay said its MAC"
                );
                self.learned.push(((heard.uplink, heard.ip), mac));
            }
            if let Some(vtep) = heard.asks.filter(|_| self.answers) {
                self.answer(heard, vtep);
            }
        }
        for (port, resolver) in &mut sides.resolvers {
            for ask in resolver.asks(now) {
                let own = self.uplinks.iter().find(|(uplink, _)| uplink.port == *port);
                self.send(*port, own.and_then(|(_, own)| own.question(ask)));
            }
        }
    }

    fn watch_links(&mut self, now: Instant) {
        for (port, link) in self.links.iter_mut().filter(|(_, link)| link.is_gone()) {
            // Its device vanished, and may be back.
            if let Some(found) = self.devices.watch_link(*port) {
                *link = found;
            }
        }
        let is_up = |port| (self.links.iter()).any(|(of, link)| *of == port && link.is_up());
        let (before, had_none) = (self.watch.live().to_vec(), self.watch.has_none());
        let changed = self.watch.look(now, is_up);
        if self.watch.has_none() && !had_none {
            tracing::warn!("no uplink has a link: what is for other hosts is lost until one has");
        }
        if !changed {
            return;
        }
        self.live.set(self.watch.live());
        self.again.clear();
        let ports = self.uplinks.iter().map(|(uplink, _)| uplink.port);
        self.known.lock().out = ports.filter(|port| self.watch.is_out(*port)).collect();
        if self.watch.has_none() {
            return;
        }
        for (uplink, _) in &self.uplinks {
            match (
                before.contains(&uplink.port),
                self.watch.is_out(uplink.port),
            ) {
                (true, true) => tracing::warn!(
                    port = uplink.port.get(),
                    "an uplink has no link: its flows go by the other"
                ),
                (false, false) => {
                    tracing::info!(port = uplink.port.get(), "an uplink is used again")
                }
                _ => {}
            }
        }
        self.announce();
        self.again.extend(ANNOUNCE_AGAIN.map(|after| now + after));
    }

    /// Says on each link that is live which VTEPs are reached there: its own, and for as long as another uplink is out, that
    /// one's if they are of the same prefix.
    fn announce(&self) {
        let live = (self.uplinks.iter()).filter(|(on, _)| !self.watch.is_out(on.port));
        for (on, own) in live {
            for (of, _) in &self.uplinks {
                for vtep in of.vteps().filter(|it| self.stands_for(on, of, *it)) {
                    self.send(on.port, own.announcement(vtep));
                }
            }
        }
    }

    /// True if who asks on the link of `on` for a VTEP of `of` is to be answered.
    fn stands_for(&self, on: &Uplink, of: &Uplink, vtep: IpAddr) -> bool {
        on.port == of.port || self.watch.is_out(of.port) && on.holds(vtep)
    }

    fn answer(&self, heard: Heard, vtep: IpAddr) {
        let on = self.uplinks.iter().find(|(it, _)| it.port == heard.uplink);
        let of = self.uplinks.iter().find(|(_, own)| own.has(vtep));
        if let (Some((on, own)), Some((of, _))) = (on, of)
            && heard.mac.is_unicast()
            && self.stands_for(on, of, vtep)
        {
            self.send(on.port, own.answer(heard, vtep));
        }
    }

    /// One that is not sent is asked, or asks, again.
    fn send(&self, uplink: PortId, frame: Option<Vec<u8>>) {
        if let Some(frame) = frame {
            self.devices.send_by_uplink(uplink, &frame);
        }
    }

    /// Another host says that it has this host's address (RFC 5227 section 2.4, RFC 4862 section 5.4.4).
    fn warn(&mut self, now: Instant, Heard { mac, ip, .. }: Heard) {
        let due = self.warned.is_none_or(|warned| now >= warned + WARN);
        if due && self.uplinks.iter().all(|(_, own)| mac != own.mac) {
            self.warned = Some(now);
            tracing::warn!(%mac, address = %ip, "{mac} says that it has this host's address {ip}");
        }
    }
}
