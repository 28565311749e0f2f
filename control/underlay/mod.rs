// SPDX-License-Identifier: MIT
//! The uplinks' links: which of them are up, and the switch's own ARP and neighbor discovery there. Hosts and routers that
//! the goal state needs, and nobody named a MAC for, are asked for; and where the host has no port of its own, who asks for a
//! VTEP is answered.
//!
//! ```text
//!   core ── needed ──► resolver ── question ──► uplink      worker ── heard ──► resolver ── learned ──► core
//! ```
//!
//! [`resolver`] decides who is asked when, on each link; [`watch`] which uplinks are live.

mod resolver;
mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};
use vswitch::dpdk::Port;
use vswitch::stage::link::{HEARD_CAPACITY, Heard, Hearing};
use vswitch::tables::PortId;
use vswitch::wire::{ArpHdr, EthernetHdr, Icmpv6Hdr, Ipv6Hdr, Mac, ethernet, ipv6, nd};
use zerocopy::{FromBytes, IntoBytes};

use crate::core::{Core, CoreHandle, OnLink, Uplink};
use crate::switch::{Devices, Switch};
use resolver::{Ask, Resolver};
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

/// Least bytes of a frame, without its checksum (IEEE 802.3 clause 3.2.8): not every device fills shorter ones up.
const LEAST: usize = 60;

/// Least time between two warnings that another host has this host's address.
const WARN: Duration = Duration::from_secs(60);

/// What is known of the link, for operators.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Mutex<Sides>>);

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
        let (now, sides) = (Instant::now(), self.lock());
        let resolvers = sides.resolvers.iter();
        let rows = resolvers.flat_map(|(port, resolver)| resolver.rows(*port, now));
        rows.collect()
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
}

/// This host on one link.
#[derive(Clone, Copy, Default)]
struct Own {
    mac: Mac,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// The uplinks' links.
pub(crate) struct Underlay {
    devices: Arc<Devices>,
    hearing: Vec<Hearing>,
    /// This host on each.
    uplinks: Vec<(Uplink, Own)>,
    watch: Watch,
    /// Who is live is still to be said.
    unsaid: bool,
    /// When to announce the VTEPs again, in order.
    again: Vec<Instant>,
    /// Nobody else answers for it.
    answers: bool,
    needed: mpsc::UnboundedReceiver<OnLink>,
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
        let known = Known::default();
        known.lock().resolvers = ports.iter().map(|&it| (it, Resolver::default())).collect();
        let answers = core.site().host_port.is_none();
        let (needs, needed) = mpsc::unbounded_channel(); // emptied each round; each address once a commit at most
        core.resolve_by(needs);
        Some(Self {
            hearing: switch.hear(),
            devices: switch.devices(),
            uplinks,
            watch: Watch::new(ports),
            unsaid: false,
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

    /// Asks, answers and tells what it learns. Does not end.
    pub(crate) async fn run(mut self, core: CoreHandle) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looked, mut watched) = (Instant::now(), Instant::now());
        loop {
            rounds.tick().await;
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
            if self.unsaid
                && let Some(note) = core.try_note()
            {
                self.unsaid = false;
                note.live(self.watch.live().to_vec());
            }
            if now >= looked + LOOK
                && let Ok(needed) = core.needed().await
            {
                looked = now;
                for (port, resolver) in &mut self.known.lock().resolvers {
                    let there = needed.iter().filter(|(uplink, _)| uplink == port);
                    resolver.keep(&there.map(|(_, ip)| *ip).collect());
                }
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
        while let Ok((uplink, ip)) = self.needed.try_recv() {
            if let Some(resolver) = sides.resolver(uplink) {
                resolver.want(now, ip);
            }
        }
        let queues = self.hearing.iter();
        let said = queues.flat_map(|queue| std::iter::from_fn(|| queue.pop()).take(HEARD_CAPACITY));
        for heard in said.collect::<Vec<_>>() {
            let resolver = sides.resolver(heard.uplink);
            if self.uplinks.iter().any(|(_, own)| own.has(heard.ip)) {
                self.warn(now, heard);
            } else if let Some(mac) = resolver.and_then(|it| it.heard(now, heard)) {
                tracing::info!("{} of the underlay is at {mac}", heard.ip);
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
        let is_up = |port| {
            let read = |port: &Port| port.is_started() && port.link().up;
            self.devices.read(port, read).unwrap_or(false)
        };
        let before = self.watch.live().to_vec();
        if !block_in_place(|| self.watch.look(now, is_up)) {
            return;
        }
        self.unsaid = true;
        self.again.clear();
        let ports = self.uplinks.iter().map(|(uplink, _)| uplink.port);
        self.known.lock().out = ports.filter(|port| self.watch.is_out(*port)).collect();
        if self.watch.has_none() {
            tracing::warn!("no uplink has a link: what is for other hosts is lost until one has");
            return;
        }
        for (uplink, _) in &self.uplinks {
            match (
                before.contains(&uplink.port),
                self.watch.is_out(uplink.port),
            ) {
                (true, true) => tracing::warn!(
                    "the uplink at port {} has no link: its flows go by the other",
                    uplink.port.get()
                ),
                (false, false) => {
                    tracing::info!("the uplink at port {} is used again", uplink.port.get())
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
            tracing::warn!("{mac} says that it has this host's address {ip}");
        }
    }
}

impl Own {
    fn of(uplink: &Uplink) -> Self {
        let mut own = Self {
            mac: uplink.mac,
            ..Self::default()
        };
        for vtep in uplink.vteps() {
            match vtep {
                IpAddr::V4(ip) => own.v4 = Some(ip),
                IpAddr::V6(ip) => own.v6 = Some(ip),
            }
        }
        own
    }

    fn has(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4 == Some(ip),
            IpAddr::V6(ip) => self.v6 == Some(ip),
        }
    }

    /// The frame that asks; `None`: this host is not on the link in that version of IP.
    fn question(&self, Ask { ip, at }: Ask) -> Option<Vec<u8>> {
        Some(match ip {
            IpAddr::V4(ip) => {
                let request = ArpHdr::request((self.mac, self.v4?), ip);
                self.arp(at.unwrap_or(Mac::BROADCAST), &request)
            }
            IpAddr::V6(ip) => {
                // Who is known is asked alone, everybody in the group (RFC 4861 section 7.2.2).
                let group = nd::solicited_node(ip);
                let (mac, to) = at.map_or((nd::group_mac(group), group), |mac| (mac, ip));
                let message = nd::Solicitation::new(ip, self.mac);
                self.discovery((mac, to), self.v6?, message.as_bytes())?
            }
        })
    }

    /// The frame that answers who asks for this VTEP. Who has no address yet is told with all others (RFC 4861 section 7.2.4).
    fn answer(&self, Heard { mac, ip, .. }: Heard, vtep: IpAddr) -> Option<Vec<u8>> {
        Some(match (ip, vtep) {
            (IpAddr::V4(ip), IpAddr::V4(own)) => {
                self.arp(mac, &ArpHdr::reply((self.mac, own), (mac, ip)))
            }
            (IpAddr::V6(ip), IpAddr::V6(own)) => {
                let (all, probe) = (nd::ALL_NODES, ip.is_unspecified());
                let to = if probe {
                    (nd::group_mac(all), all)
                } else {
                    (mac, ip)
                };
                let message = nd::Advertisement::new(own, self.mac, false, !probe);
                self.discovery(to, own, message.as_bytes())?
            }
            _ => return None,
        })
    }

    /// The frame that says to all that this VTEP is here (RFC 5227 section 3, RFC 4861 section 7.2.6).
    fn announcement(&self, vtep: IpAddr) -> Option<Vec<u8>> {
        Some(match vtep {
            IpAddr::V4(ip) => self.arp(Mac::BROADCAST, &ArpHdr::request((self.mac, ip), ip)),
            IpAddr::V6(ip) => {
                let (all, message) = (
                    nd::ALL_NODES,
                    nd::Advertisement::new(ip, self.mac, false, false),
                );
                self.discovery((nd::group_mac(all), all), ip, message.as_bytes())?
            }
        })
    }

    fn arp(&self, to: Mac, arp: &ArpHdr) -> Vec<u8> {
        let ethernet = EthernetHdr::new(to, self.mac, ethernet::ARP);
        let mut frame = [ethernet.as_bytes(), arp.as_bytes()].concat();
        frame.resize(LEAST, 0);
        frame
    }

    /// `message` lacks its checksum.
    fn discovery(
        &self,
        (mac, to): (Mac, Ipv6Addr),
        from: Ipv6Addr,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let (icmp, body) = Icmpv6Hdr::read_from_prefix(message).ok()?;
        let icmp = icmp.sealed((from, to), body);
        let len = u16::try_from(message.len()).ok()?;
        let ip = Ipv6Hdr::own(from, to, ipv6::ICMP, len, nd::HOP_LIMIT);
        let ethernet = EthernetHdr::new(mac, self.mac, ethernet::IPV6);
        Some([ethernet.as_bytes(), ip.as_bytes(), icmp.as_bytes(), body].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
    const PEER: Mac = Mac::new([2, 0, 0, 0, 0, 2]);

    fn own() -> Own {
        Own {
            mac: MAC,
            v4: Some([192, 0, 2, 1].into()),
            v6: "2001:db8::1".parse().ok(),
        }
    }

    /// MACs, addresses and message of a frame of neighbor discovery, which is sound.
    fn read(frame: &[u8]) -> (Mac, Mac, [String; 2], Vec<u8>) {
        let (ethernet, ip, message) = nd::sound(frame, 24).unwrap();
        let ips = [ip.src(), ip.dst()].map(|ip| ip.to_string());
        assert_eq!(frame.len(), 14 + 40 + message.len());
        let dst = Mac::new(*frame.first_chunk().unwrap());
        (ethernet.src(), dst, ips, message.to_vec())
    }

    #[test]
    fn who_is_not_known_is_asked_in_its_group_and_who_is_alone() {
        let ip = "2001:db8::ab:cdef".parse().unwrap();
        let frame = own().question(Ask { ip, at: None }).unwrap();
        let (src, dst, ips, message) = read(&frame);
        assert_eq!(
            (src, dst.bytes()),
            (MAC, [0x33, 0x33, 0xff, 0xab, 0xcd, 0xef])
        );
        assert_eq!(ips, ["2001:db8::1", "ff02::1:ffab:cdef"]);
        let IpAddr::V6(target) = ip else {
            unreachable!()
        };
        assert_eq!((message[0], &message[8..24]), (135, &target.octets()[..]));
        assert_eq!(message[24..], [1, 1, 2, 0, 0, 0, 0, 1]);
        let at = Some(PEER);
        let (_, dst, ips, _) = read(&own().question(Ask { ip, at }).unwrap());
        assert_eq!((dst, ips[1].as_str()), (PEER, "2001:db8::ab:cdef"));
        let four = Own { v6: None, ..own() };
        assert_eq!(four.question(Ask { ip, at }), None);
        let ip = [192, 0, 2, 9].into();
        assert_eq!(
            own().question(Ask { ip, at }).map(|frame| frame.len()),
            Some(LEAST)
        );
    }

    #[test]
    fn who_asks_is_answered_and_who_has_no_address_yet_with_all_others() {
        let vtep = "2001:db8::1".parse().unwrap();
        let asks = |ip: &str| Heard {
            uplink: PortId::new(0).unwrap(),
            ip: ip.parse().unwrap(),
            mac: PEER,
            asks: Some(vtep),
            overrides: true,
        };
        let (src, dst, ips, message) = read(&own().answer(asks("2001:db8::2"), vtep).unwrap());
        assert_eq!((src, dst), (MAC, PEER));
        assert_eq!(ips, ["2001:db8::1", "2001:db8::2"]);
        assert_eq!(message[..2], [136, 0]);
        assert_eq!(message[4], 0x60, "solicited, and overrides");
        assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
        let (_, dst, ips, message) = read(&own().answer(asks("::"), vtep).unwrap());
        assert_eq!(
            (dst.bytes(), ips[1].as_str()),
            ([0x33, 0x33, 0, 0, 0, 1], "ff02::1")
        );
        assert_eq!(message[4], 0x20);
        assert!(own().has(asks("2001:db8::1").ip) && !own().has(asks("2001:db8::2").ip));
    }

    #[test]
    fn all_are_told_where_a_vtep_is() {
        let frame = own().announcement([192, 0, 2, 7].into()).unwrap();
        assert_eq!(frame[..12], [&[0xff; 6][..], &MAC.bytes()].concat());
        assert_eq!(frame[20..22], [0, 1]);
        assert_eq!(frame[22..32], [&MAC.bytes()[..], &[192, 0, 2, 7]].concat());
        assert_eq!(frame[38..42], [192, 0, 2, 7]);
        let ip = "2001:db8::7";
        let frame = own().announcement(ip.parse().unwrap()).unwrap();
        let (src, dst, ips, message) = read(&frame);
        assert_eq!((src, dst.bytes()), (MAC, [0x33, 0x33, 0, 0, 0, 1]));
        assert_eq!(ips, [ip, "ff02::1"]);
        assert_eq!((message[0], message[4]), (136, 0x20), "overrides");
    }
}
