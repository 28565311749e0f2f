// SPDX-License-Identifier: MIT
//! Which uplinks are live, by what their links say: without devices, a clock or a thread.

use std::time::{Duration, Instant};

use vswitch::tables::PortId;

/// How long a link that comes back has to stay before it is used again: a switch of the network says that the link is up
/// before it forwards, and what flaps is of no use.
const PROBATION: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Uplink {
    port: PortId,
    /// It is up and was long enough.
    trusted: bool,
    /// Not trusted, and up since then.
    since: Option<Instant>,
}

/// All uplinks.
#[derive(Debug)]
pub(super) struct Watch {
    uplinks: Vec<Uplink>,
    live: Vec<PortId>,
}

impl Watch {
    /// Of these, which all are taken for live until they are looked at.
    pub(super) fn new(ports: Vec<PortId>) -> Self {
        let uplink = |&port: &PortId| Uplink {
            port,
            trusted: true,
            since: None,
        };
        Self {
            uplinks: ports.iter().map(uplink).collect(),
            live: ports,
        }
    }

    /// Those in use, in order.
    pub(super) fn live(&self) -> &[PortId] {
        &self.live
    }

    /// True for one that is not in use.
    pub(super) fn is_out(&self, port: PortId) -> bool {
        !self.live.contains(&port)
    }

    /// True while no link is up.
    pub(super) fn has_none(&self) -> bool {
        let mut uplinks = self.uplinks.iter();
        uplinks.all(|uplink| !uplink.trusted && uplink.since.is_none())
    }

    /// Asks of each whether its link is up. True: others are in use from now on. Where none is up, all are in use, and what
    /// does not get out is counted where it is dropped.
    pub(super) fn look(&mut self, now: Instant, mut is_up: impl FnMut(PortId) -> bool) -> bool {
        for uplink in &mut self.uplinks {
            if !is_up(uplink.port) {
                (uplink.trusted, uplink.since) = (false, None);
            } else if !uplink.trusted {
                let since = *uplink.since.get_or_insert(now);
                uplink.trusted = now.duration_since(since) >= PROBATION;
            }
        }
        let those = |chosen: fn(&Uplink) -> bool| {
            let chosen = self.uplinks.iter().filter(|uplink| chosen(uplink));
            chosen.map(|uplink| uplink.port).collect::<Vec<_>>()
        };
        let choices = [
            those(|uplink| uplink.trusted),
            those(|uplink| uplink.since.is_some()),
        ];
        let chosen = choices.into_iter().find(|ports| !ports.is_empty());
        let live = chosen.unwrap_or_else(|| those(|_| true));
        let changed = live != self.live;
        self.live = live;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> [PortId; 2] {
        [0, 5].map(|n| PortId::new(n).unwrap())
    }

    /// Looks after so many milliseconds, with these links up; which ports are live then.
    fn look(watch: &mut Watch, start: Instant, ms: u64, up: [bool; 2]) -> Vec<u16> {
        let before = watch.live().to_vec();
        let now = start + Duration::from_millis(ms);
        let changed = watch.look(now, |port| up[usize::from(port == ports()[1])]);
        assert_eq!(changed, before != watch.live());
        watch.live().iter().map(|port| port.get()).collect()
    }

    #[test]
    fn a_link_is_lost_at_once_and_comes_back_when_it_stays() {
        let (mut watch, start) = (Watch::new(ports().to_vec()), Instant::now());
        let mut at = |ms, up| look(&mut watch, start, ms, up);
        assert_eq!(at(0, [true, true]), [0, 5]);
        assert_eq!(at(100, [false, true]), [5]);
        assert_eq!(at(200, [true, true]), [5]);
        assert_eq!(at(1199, [true, true]), [5]);
        assert_eq!(at(1200, [true, true]), [0, 5]);
        assert_eq!(at(1300, [true, false]), [0]);
        // What flaps begins anew.
        assert_eq!(at(1400, [true, true]), [0]);
        assert_eq!(at(1500, [true, false]), [0]);
        assert_eq!(at(1600, [true, true]), [0]);
        assert_eq!(at(2500, [true, true]), [0]);
        assert_eq!(at(2600, [true, true]), [0, 5]);
    }

    #[test]
    fn with_no_link_all_are_used_and_the_first_that_is_back_at_once() {
        let (mut watch, start) = (Watch::new(ports().to_vec()), Instant::now());
        let mut at = |ms, up| look(&mut watch, start, ms, up);
        assert_eq!(at(0, [false, false]), [0, 5]);
        assert_eq!(at(100, [false, true]), [5]);
        assert_eq!(at(200, [false, false]), [0, 5]);
        assert_eq!(at(300, [true, false]), [0]);
        assert_eq!(at(900, [true, true]), [0, 5], "neither is trusted yet");
        assert_eq!(at(1300, [true, true]), [0]);
        assert_eq!(at(1900, [true, true]), [0, 5]);
    }

    #[test]
    fn it_is_known_when_no_link_is_up() {
        let (mut watch, start) = (Watch::new(ports().to_vec()), Instant::now());
        assert!(!watch.has_none());
        for (ms, up, none) in [
            (0, [false, true], false),
            (100, [false, false], true),
            (200, [true, false], false),
        ] {
            look(&mut watch, start, ms, up);
            assert_eq!(watch.has_none(), none);
        }
    }

    #[test]
    fn who_is_not_in_use_is_out() {
        let (mut watch, start) = (Watch::new(ports().to_vec()), Instant::now());
        assert!(ports().iter().all(|port| !watch.is_out(*port)));
        look(&mut watch, start, 0, [false, true]);
        assert_eq!(ports().map(|port| watch.is_out(port)), [true, false]);
    }
}
