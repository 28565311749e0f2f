// SPDX-License-Identifier: MIT
//! Who has which address on an uplink's link, and who is to be asked when: ARP (RFC 826) and neighbor discovery (RFC 4861)
//! without the wire, a clock or a thread.
//!
//! Only addresses that the goal state needs are in it, and they are asked for as soon as it names them, not when a packet
//! comes: no packet waits for ARP. A host that does not answer any more keeps its MAC, since nobody else has one for it,
//! and is asked on and on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use serde_json::{Value, json};
use vswitch::stage::link::{Heard, Weight};
use vswitch::tables::PortId;
use vswitch::wire::Mac;

/// How long a host that answered is not asked again: what Linux takes as mean of its own.
const AGE: Duration = Duration::from_secs(30);

/// Time between two questions that are not answered: doubled with each, up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How long a MAC that replaced another counts whatever else is said (Linux: `locktime`).
const STEADY: Duration = Duration::from_secs(1);

/// How often a host is asked where it was last, before all are asked where it is (RFC 1122 section 2.3.2.1).
const UNICAST: u32 = 3;

/// Most questions at a time; the others are asked the next time.
const MAX_ASKS: usize = 64;

/// A question to be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ask {
    /// Whose MAC.
    pub ip: IpAddr,
    /// Who is asked; `None`: everybody.
    pub at: Option<Mac>,
}

#[derive(Clone, Debug)]
struct Host {
    mac: Option<Mac>,
    /// When it said so last.
    heard: Option<Instant>,
    /// When it said another than before.
    changed: Option<Instant>,
    /// Who said so since, too early to be believed: the next to be asked.
    claimant: Option<Mac>,
    /// When it is to be asked next.
    due: Instant,
    /// Questions since it said something.
    unanswered: u32,
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolver {
    hosts: HashMap<IpAddr, Host>,
    /// Whom to ask when; each host once.
    due: BTreeSet<(Instant, IpAddr)>,
}

impl Resolver {
    /// An address is needed from now on.
    pub(crate) fn want(&mut self, now: Instant, ip: IpAddr) {
        let host = Host {
            mac: None,
            heard: None,
            changed: None,
            claimant: None,
            due: now,
            unanswered: 0,
        };
        if self.hosts.try_insert(ip, host).is_ok() {
            self.due.insert((now, ip));
        }
    }

    /// No other addresses than these are needed any more.
    pub(crate) fn keep(&mut self, needed: &HashSet<IpAddr>) {
        self.hosts.retain(|ip, _| needed.contains(ip));
        self.due.retain(|(_, ip)| needed.contains(ip));
    }

    /// Somebody says who it is. Returns its MAC if that is needed, and new.
    pub(crate) fn heard(&mut self, now: Instant, heard: Heard) -> Option<Mac> {
        let Heard { ip, mac, .. } = heard;
        let host = self.hosts.get_mut(&ip).filter(|_| mac.is_unicast())?;
        let mac = match (heard.weight, host.mac) {
            (Weight::New, Some(known)) if known != mac => return None,
            (Weight::Silent, known) => known.filter(|_| host.claimant.is_none())?,
            _ => mac,
        };
        self.due.remove(&(host.due, ip));
        let steady = host.changed.map(|changed| changed + STEADY);
        if let Some(end) = steady.filter(|end| now < *end && host.mac != Some(mac)) {
            // Two have its address, or one pretends to, and each change is programmed; or it went back, and will say so again.
            host.claimant = Some(mac);
            host.due = end;
            self.due.insert((host.due, ip));
            return None;
        }
        host.due = now + AGE;
        host.heard = Some(now);
        host.unanswered = 0;
        host.claimant = None;
        self.due.insert((host.due, ip));
        let before = host.mac.replace(mac);
        if before.is_some_and(|before| before != mac) {
            host.changed = Some(now);
        }
        (before != Some(mac)).then_some(mac)
    }

    /// The questions to ask now.
    pub(crate) fn asks(&mut self, now: Instant) -> Vec<Ask> {
        let mut asks = Vec::new();
        while asks.len() < MAX_ASKS
            && let Some(&(_, ip)) = self.due.first().filter(|(due, _)| *due <= now)
        {
            self.due.pop_first();
            let Some(host) = self.hosts.get_mut(&ip) else {
                continue;
            };
            let pause = PAUSE.0 * 2_u32.pow(host.unanswered.min(16));
            host.due = now + pause.min(PAUSE.1);
            host.unanswered += 1;
            self.due.insert((host.due, ip));
            let known = host.mac.filter(|_| host.unanswered <= UNICAST);
            let at = host.claimant.take().or(known);
            asks.push(Ask { ip, at });
        }
        asks
    }

    /// Hosts and routers whose MAC is known, and that do not say theirs.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let known = self
            .hosts
            .values()
            .filter(|host| host.mac.is_some())
            .count();
        (known, self.hosts.len() - known)
    }

    /// `show underlay`.
    pub(crate) fn rows(&self, uplink: PortId, now: Instant) -> Vec<Value> {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_unstable_by_key(|(ip, _)| **ip);
        let rows = hosts.into_iter().map(|(ip, host)| {
            json!({
                "uplink": uplink.get(),
                "address": ip.to_string(),
                "mac": host.mac.map(|mac| mac.to_string()),
                "heard_s": host.heard.map(|heard| now.duration_since(heard).as_secs()),
                "unanswered": host.unanswered,
            })
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn mac(n: u8) -> Mac {
        Mac::new([2, 0, 0, 0, 0, n])
    }

    fn uplink() -> PortId {
        PortId::new(3).unwrap()
    }

    fn says(ip: IpAddr, mac: Mac) -> Heard {
        Heard {
            uplink: uplink(),
            ip,
            mac,
            asks: None,
            weight: Weight::Overrides,
        }
    }

    /// The questions of one host from `from` on, each after so many milliseconds.
    fn questions(resolver: &mut Resolver, from: Instant, until_ms: u64) -> Vec<(u64, Option<Mac>)> {
        let asked = |ms| {
            let asks = resolver.asks(from + Duration::from_millis(ms));
            asks.into_iter().map(move |ask| (ms, ask.at))
        };
        (0..until_ms).step_by(50).flat_map(asked).collect()
    }

    #[test]
    fn what_is_needed_is_asked_for_at_once_and_then_ever_less_often() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        resolver.want(now, HOST);
        resolver.want(now, HOST);
        let all: Vec<_> = questions(&mut resolver, now, 40_000);
        let times: Vec<_> = all.iter().map(|(ms, _)| *ms).collect();
        let expected = [0, 100, 300, 700, 1500, 3100, 6300, 12_700, 22_700, 32_700];
        assert_eq!(times, expected);
        assert!(all.iter().all(|(_, at)| at.is_none()));
    }

    #[test]
    fn an_answer_counts_for_a_while_and_then_its_host_is_asked_before_all_are() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        resolver.want(now, HOST);
        assert_eq!(resolver.asks(now).len(), 1);
        assert_eq!(resolver.heard(now, says(HOST, mac(2))), Some(mac(2)));
        assert_eq!(resolver.heard(now, says(HOST, mac(2))), None, "known");
        assert_eq!(questions(&mut resolver, now, 30_000), []);
        let later = now + AGE;
        let all = questions(&mut resolver, later, 1000);
        let known = Some(mac(2));
        assert_eq!(all, [(0, known), (100, known), (300, known), (700, None)]);
        assert_eq!(resolver.heard(later, says(HOST, mac(3))), Some(mac(3)));
        assert_eq!(questions(&mut resolver, later, 30_000), []);
        let rows = resolver.rows(uplink(), later + Duration::from_secs(7));
        assert_eq!(
            rows,
            [json!({
                "uplink": 3, "address": "192.0.2.2", "mac": "02:00:00:00:00:03", "heard_s": 7, "unanswered": 0,
            })]
        );
    }

    #[test]
    fn two_that_say_they_have_one_address_change_nothing_more_than_once_a_second() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        resolver.want(now, HOST);
        let mut at = |ms, n| {
            let now = now + Duration::from_millis(ms);
            resolver.heard(now, says(HOST, mac(n)))
        };
        assert_eq!(at(0, 2), Some(mac(2)));
        assert_eq!(at(1, 3), Some(mac(3)), "the first that changes");
        assert_eq!([at(2, 2), at(500, 3), at(1000, 2)], [None; 3]);
        assert_eq!(at(1001, 2), Some(mac(2)));
    }

    #[test]
    fn who_speaks_too_early_is_asked_when_it_counts() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        resolver.want(now, HOST);
        // A bond that fails over, and back at once.
        assert_eq!(resolver.heard(at(0), says(HOST, mac(2))), Some(mac(2)));
        assert_eq!(resolver.heard(at(1), says(HOST, mac(3))), Some(mac(3)));
        assert_eq!(resolver.heard(at(300), says(HOST, mac(2))), None);
        assert_eq!(resolver.asks(at(1000)), []);
        let ask = |n| {
            [Ask {
                ip: HOST,
                at: Some(mac(n)),
            }]
        };
        assert_eq!(resolver.asks(at(1001)), ask(2));
        assert_eq!(resolver.heard(at(1002), says(HOST, mac(2))), Some(mac(2)));
        // One that does not answer, or whose claim was contested since, changes nothing.
        assert_eq!(resolver.heard(at(1003), says(HOST, mac(3))), None);
        assert_eq!(resolver.asks(at(2002)), ask(3));
        assert_eq!(resolver.asks(at(2102)), ask(2));
        assert_eq!(resolver.heard(at(2103), says(HOST, mac(2))), None);
        assert_eq!(resolver.asks(at(3000)), []);
    }

    #[test]
    fn what_does_not_override_is_believed_only_of_who_is_not_known() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        let host = IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        resolver.want(now, host);
        let meek = |n| Heard {
            weight: Weight::New,
            ..says(host, mac(n))
        };
        assert_eq!(resolver.heard(now, meek(2)), Some(mac(2)));
        assert_eq!(resolver.heard(now, meek(3)), None);
        assert_eq!(resolver.heard(now, says(host, mac(3))), Some(mac(3)));
        let later = now + AGE;
        assert_eq!(resolver.heard(later, meek(3)), None, "known, and heard");
        assert_eq!(resolver.asks(later), []);
    }

    #[test]
    fn what_says_no_mac_is_a_sign_of_life_of_who_is_known_and_nothing_else() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        resolver.want(now, HOST);
        let silent = |n| Heard {
            weight: Weight::Silent,
            ..says(HOST, mac(n))
        };
        assert_eq!(resolver.heard(now, silent(2)), None);
        assert_eq!(resolver.asks(now), [Ask { ip: HOST, at: None }]);
        assert_eq!(resolver.heard(now, says(HOST, mac(2))), Some(mac(2)));
        let later = now + AGE;
        assert_eq!(resolver.heard(later, silent(3)), None);
        assert_eq!(questions(&mut resolver, later, 30_000), [], "it lives");
        let known = resolver.asks(later + AGE);
        let at = Some(mac(2));
        assert_eq!(known, [Ask { ip: HOST, at }], "where it was");
    }

    #[test]
    fn nobody_is_learned_who_is_not_needed_and_no_group_is_a_host() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        assert_eq!(resolver.heard(now, says(HOST, mac(2))), None);
        assert!(resolver.rows(uplink(), now).is_empty());
        resolver.want(now, HOST);
        for wrong in [Mac::new([0xff; 6]), Mac::new([0; 6])] {
            assert_eq!(resolver.heard(now, says(HOST, wrong)), None);
        }
        assert_eq!(resolver.asks(now).len(), 1, "it is still asked for");
    }

    #[test]
    fn who_is_not_needed_any_more_is_forgotten() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        let other = IpAddr::from([192, 0, 2, 3]);
        resolver.want(now, HOST);
        resolver.want(now, other);
        resolver.keep(&[HOST].into());
        let asks = resolver.asks(now);
        assert_eq!(asks, [Ask { ip: HOST, at: None }]);
        assert_eq!(resolver.heard(now, says(other, mac(3))), None);
        resolver.want(now, other);
        assert_eq!(resolver.asks(now).len(), 1, "needed anew");
    }

    #[test]
    fn a_thousand_hosts_are_asked_for_in_turns() {
        let (mut resolver, now) = (Resolver::default(), Instant::now());
        (0..1000).for_each(|n| resolver.want(now, Ipv4Addr::from(0x0a00_0000 + n).into()));
        let mut asked = BTreeSet::new();
        for _ in 0..1000_usize.div_ceil(MAX_ASKS) {
            let asks = resolver.asks(now);
            assert!(asks.len() <= MAX_ASKS);
            asked.extend(asks.iter().map(|ask| ask.ip));
        }
        assert_eq!(asked.len(), 1000);
        assert_eq!(resolver.asks(now), []);
    }
}
