// SPDX-License-Identifier: MIT
//! The switch's own ARP and neighbor discovery on the uplink: hosts and routers that the goal state needs, and nobody named a MAC for, are asked
//! for; and where the host has no port of its own, who asks for the VTEP is answered.
//!
//! ```text
//!   core ── needed ──► resolver ── question ──► uplink      worker ── heard ──► resolver ── learned ──► core
//! ```
//!
//! [`resolver`] decides who is asked when.

mod resolver;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use vswitch::stage::link::{HEARD_CAPACITY, Heard, Hearing};
use vswitch::wire::{ArpHdr, EthernetHdr, Icmpv6Hdr, Ipv6Hdr, Mac, ethernet, ipv6, nd};
use zerocopy::{FromBytes, IntoBytes};

use crate::core::{Core, CoreHandle, Uplink};
use crate::switch::{Devices, Switch};
use resolver::{Ask, Resolver};

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

/// This host on the link.
#[derive(Clone, Copy, Default)]
struct Own {
    mac: Mac,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// The uplink's link.
pub(crate) struct Underlay {
    devices: Arc<Devices>,
    hearing: Vec<Hearing>,
    /// This host's MAC there, and its VTEPs.
    own: Own,
    /// Nobody else answers for it.
    answers: bool,
    needed: mpsc::UnboundedReceiver<IpAddr>,
    known: Known,
    /// What the control thread is to be told.
    learned: Vec<(IpAddr, Mac)>,
    warned: Option<Instant>,
}

impl Underlay {
    /// Of a switch with an uplink, whose control thread says from now on what it needs.
    pub(crate) fn new(switch: &Switch, core: &mut Core) -> Option<Self> {
        let uplink: &Uplink = core.site().underlay.as_ref()?;
        let own = Own::of(uplink);
        let answers = core.site().host_port.is_none();
        let (needs, needed) = mpsc::unbounded_channel(); // emptied each round; each address once a commit at most
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
        let queues = self.hearing.iter();
        let said = queues.flat_map(|queue| std::iter::from_fn(|| queue.pop()).take(HEARD_CAPACITY));
        for heard in said.collect::<Vec<_>>() {
            if self.own.has(heard.ip) {
                self.warn(now, heard);
            } else if let Some(mac) = resolver.heard(now, heard) {
                tracing::info!("{} of the underlay is at {mac}", heard.ip);
                self.learned.push((heard.ip, mac));
            }
            if heard.asks && self.answers {
                self.answer(heard);
            }
        }
        for ask in resolver.asks(now) {
            self.send(self.own.question(ask));
        }
    }

    fn answer(&self, heard: Heard) {
        if heard.mac.is_unicast() {
            self.send(self.own.answer(heard));
        }
    }

    /// One that is not sent is asked, or asks, again.
    fn send(&self, frame: Option<Vec<u8>>) {
        if let Some(frame) = frame {
            self.devices.send_by_uplink(&frame);
        }
    }

    /// Another host says that it has this host's address (RFC 5227 section 2.4, RFC 4862 section 5.4.4).
    fn warn(&mut self, now: Instant, Heard { mac, ip, .. }: Heard) {
        let due = self.warned.is_none_or(|warned| now >= warned + WARN);
        if mac != self.own.mac && due {
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

    /// The frame that answers who asks for a VTEP of this host. Who has no address yet is told with all others (RFC 4861
    /// section 7.2.4).
    fn answer(&self, Heard { mac, ip, .. }: Heard) -> Option<Vec<u8>> {
        Some(match ip {
            IpAddr::V4(ip) => self.arp(mac, &ArpHdr::reply((self.mac, self.v4?), (mac, ip))),
            IpAddr::V6(ip) => {
                let (all, probe) = (nd::ALL_NODES, ip.is_unspecified());
                let to = if probe {
                    (nd::group_mac(all), all)
                } else {
                    (mac, ip)
                };
                let own = self.v6?;
                let message = nd::Advertisement::new(own, self.mac, false, !probe);
                self.discovery(to, own, message.as_bytes())?
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
        let asks = |ip: &str| Heard {
            ip: ip.parse().unwrap(),
            mac: PEER,
            asks: true,
            overrides: true,
        };
        let (src, dst, ips, message) = read(&own().answer(asks("2001:db8::2")).unwrap());
        assert_eq!((src, dst), (MAC, PEER));
        assert_eq!(ips, ["2001:db8::1", "2001:db8::2"]);
        assert_eq!(message[..2], [136, 0]);
        assert_eq!(message[4], 0x60, "solicited, and overrides");
        assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
        let (_, dst, ips, message) = read(&own().answer(asks("::")).unwrap());
        assert_eq!(
            (dst.bytes(), ips[1].as_str()),
            ([0x33, 0x33, 0, 0, 0, 1], "ff02::1")
        );
        assert_eq!(message[4], 0x20);
        assert!(own().has(asks("2001:db8::1").ip) && !own().has(asks("2001:db8::2").ip));
    }
}
