// SPDX-License-Identifier: MIT
//! The switch's own ARP on the uplink: hosts and routers that the goal state needs, and nobody named a MAC for, are asked
//! for; and where the host has no port of its own, who asks for the VTEP is answered.
//!
//! ```text
//!   core ── needed ──► resolver ── question ──► uplink      worker ── heard ──► resolver ── learned ──► core
//! ```
//!
//! [`resolver`] decides who is asked when.

mod resolver;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use vswitch::stage::link::{HEARD_CAPACITY, Heard, Hearing};
use vswitch::wire::{ArpHdr, EthernetHdr, Mac, ethernet};
use zerocopy::IntoBytes;

use crate::core::{Core, CoreHandle, Uplink};
use crate::switch::{Devices, Switch};
use resolver::Resolver;

/// Time between two looks at what workers heard.
const ROUND: Duration = Duration::from_millis(5);

/// Time between two looks for addresses that nobody needs any more.
const LOOK: Duration = Duration::from_secs(60);

/// Least bytes of a frame, without its checksum (IEEE 802.3 clause 3.2.8): not every device fills shorter ones up.
const LEAST: usize = 60;

/// Least time between two warnings that another host has this host's address.
const WARN: Duration = Duration::from_secs(60);

/// What is known of the link, for operators.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Mutex<Resolver>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, Resolver> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `show underlay`.
    pub(crate) fn rows(&self) -> Value {
        self.lock().rows(Instant::now())
    }
}

/// The uplink's link.
pub(crate) struct Underlay {
    devices: Arc<Devices>,
    hearing: Vec<Hearing>,
    /// This host.
    own: (Mac, Ipv4Addr),
    /// Nobody else answers for it.
    answers: bool,
    needed: mpsc::UnboundedReceiver<Ipv4Addr>,
    known: Known,
    /// What the control thread is to be told.
    learned: Vec<(Ipv4Addr, Mac)>,
    warned: Option<Instant>,
}

impl Underlay {
    /// Of a switch with an uplink, whose control thread says from now on what it needs.
    pub(crate) fn new(switch: &Switch, core: &mut Core) -> Option<Self> {
        let uplink: &Uplink = core.site().underlay.as_ref()?;
        let own = (uplink.mac, uplink.vtep);
        let answers = core.site().host_port.is_none();
        let (needs, needed) = mpsc::unbounded_channel(); // each address once
        core.resolve_by(needs);
        Some(Self {
            hearing: switch.hear(),
            devices: switch.devices(),
            own,
            answers,
            needed,
            known: Known::default(),
            learned: Vec::new(),
            warned: None,
        })
    }

    /// What operators are shown.
    pub(crate) fn known(&self) -> Known {
        self.known.clone()
    }

    /// Asks, answers and tells what it learns. Does not end.
    pub(crate) async fn run(mut self, core: CoreHandle) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            rounds.tick().await;
            let now = Instant::now();
            self.round(now);
            if now >= looked + LOOK
                && let Ok(needed) = core.needed().await
            {
                looked = now;
                self.known.lock().keep(&needed);
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
        let mut resolver = known.lock();
        while let Ok(ip) = self.needed.try_recv() {
            resolver.want(now, ip);
        }
        for hearing in self.hearing.clone() {
            for heard in std::iter::from_fn(|| hearing.pop()).take(HEARD_CAPACITY) {
                if heard.ip == self.own.1 {
                    self.warn(now, heard.mac);
                } else if let Some(mac) = resolver.heard(now, heard) {
                    tracing::info!("{} of the underlay is at {mac}", heard.ip);
                    self.learned.push((heard.ip, mac));
                }
                if heard.asks && self.answers {
                    self.answer(heard);
                }
            }
        }
        for ask in resolver.asks(now) {
            let to = ask.at.unwrap_or(Mac::BROADCAST);
            self.send(to, &ArpHdr::request(self.own, ask.ip));
        }
    }

    fn answer(&self, Heard { mac, ip, .. }: Heard) {
        if mac.is_unicast() {
            self.send(mac, &ArpHdr::reply(self.own, (mac, ip)));
        }
    }

    /// One that is not sent is asked, or asks, again.
    fn send(&self, to: Mac, arp: &ArpHdr) {
        let ethernet = EthernetHdr::new(to, self.own.0, ethernet::ARP);
        let mut frame = [0; LEAST];
        let (head, rest) = frame.split_at_mut(EthernetHdr::LEN);
        head.copy_from_slice(ethernet.as_bytes());
        rest[..size_of::<ArpHdr>()].copy_from_slice(arp.as_bytes());
        self.devices.send_by_uplink(&frame);
    }

    /// Another host says that it has this host's address (RFC 5227 section 2.4).
    fn warn(&mut self, now: Instant, mac: Mac) {
        let due = self.warned.is_none_or(|warned| now >= warned + WARN);
        if mac != self.own.0 && due {
            self.warned = Some(now);
            tracing::warn!("{mac} says that it has this host's address {}", self.own.1);
        }
    }
}
