// SPDX-License-Identifier: MIT
//! How many errors a guest is told of, how often of its router, and how much of what it sends is copied. Errors: each takes as
//! much work as a packet that is forwarded, and somebody may provoke them for their own sake (RFC 1812 section 4.3.2.8).

use std::time::{Duration, Instant};

use crate::tables::{MAX_PORTS, PortId, by_port};

/// Errors that one worker tells one port of per second, as long as it provokes them, and at once after a pause. A
/// traceroute of 30 hops provokes 90.
const PER_SECOND: u32 = 100;
const AT_ONCE: u32 = 100;

/// Time after which one more is allowed.
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / PER_SECOND as u64);

/// Time after which a guest is told of its router again, unasked (RFC 4861 section 6.2.1: MaxRtrAdvInterval's default).
const ROUTER_INTERVAL: Duration = Duration::from_secs(600);

/// After so many bursts that a guest sends by its router the clock is looked at: a guest that sends without a pause is told of
/// its router long before it forgets it, and a burst costs a count.
const ROUTER_BURSTS: u16 = 1024;

/// A token bucket, as the time at which it would be full; never: it is.
#[derive(Clone, Copy, Default)]
pub(in crate::stage) struct Bucket(Option<Instant>);

impl Bucket {
    /// Takes a token, of which one more is there after each `interval`, and `most` at once. False: there is none.
    pub(in crate::stage) fn take(&mut self, now: Instant, interval: Duration, most: u32) -> bool {
        let from = self.0.map_or(now, |full| full.max(now));
        let allowed = from + interval <= now + interval * most;
        if allowed {
            self.0 = Some(from + interval);
        }
        allowed
    }
}

/// What one worker has told each port, and copied of it.
pub struct Limiter {
    /// Errors.
    errors: Box<[Bucket; MAX_PORTS]>,
    /// Frames of its guest that were copied.
    copied: Box<[Bucket; MAX_PORTS]>,
    /// When the guest was last told of its router.
    router: Box<[Option<Instant>; MAX_PORTS]>,
    /// How many bursts it sent by its router, modulo [`ROUTER_BURSTS`].
    bursts: Box<[u16; MAX_PORTS]>,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            errors: by_port(Bucket::default),
            copied: by_port(Bucket::default),
            router: by_port(|| None),
            bursts: by_port(|| 0),
        }
    }
}

impl Limiter {
    /// True if the guest at this port may be told of one more error now, which counts as done.
    pub(super) fn allows(&mut self, port: PortId, now: Instant) -> bool {
        self.errors[port.index() % MAX_PORTS].take(now, INTERVAL, AT_ONCE)
    }

    /// True if one more frame of the guest at this port may be copied now, of `rate` per second and at once after a pause;
    /// which counts as done.
    pub(in crate::stage) fn allows_copies(
        &mut self,
        port: PortId,
        now: Instant,
        rate: u32,
    ) -> bool {
        let rate = rate.max(1);
        let interval = Duration::from_secs(1) / rate;
        self.copied[port.index() % MAX_PORTS].take(now, interval, rate)
    }

    /// The guest at this port is told of its router now.
    pub(super) fn tell_router(&mut self, port: PortId, now: Instant) {
        self.router[port.index() % MAX_PORTS] = Some(now);
    }

    /// Counts a burst that the guest at this port sent by its router; true if it is time to look whether it is to be told.
    #[inline]
    pub(super) fn looks_for_router(&mut self, port: PortId) -> bool {
        let bursts = &mut self.bursts[port.index() % MAX_PORTS];
        *bursts = (*bursts + 1) % ROUTER_BURSTS;
        *bursts == 0
    }

    /// True if the guest at this port was not told of its router for long.
    pub(super) fn is_router_due(&self, port: PortId, now: Instant) -> bool {
        let told = self.router[port.index() % MAX_PORTS];
        told.is_none_or(|told| now.duration_since(told) >= ROUTER_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_so_many_a_second_and_each_port_for_itself() {
        let (mut limiter, begun) = (Limiter::default(), Instant::now());
        let [one, other] = [1, 2].map(|n| PortId::new(n).unwrap());
        let mut allowed = |port, ms: u64| {
            let now = begun + Duration::from_millis(ms);
            (0..1000).filter(|_| limiter.allows(port, now)).count() as u32
        };
        assert_eq!(allowed(one, 0), AT_ONCE);
        assert_eq!(allowed(one, 9), 0);
        assert_eq!(allowed(one, 10), 1);
        assert_eq!(allowed(one, 510), PER_SECOND / 2);
        assert_eq!(allowed(other, 510), AT_ONCE);
        assert_eq!(
            allowed(one, 100_000),
            AT_ONCE,
            "a pause does not save up more"
        );
    }

    #[test]
    fn so_many_frames_are_copied_as_the_subnet_allows_and_errors_are_another_matter() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let port = PortId::new(1).unwrap();
        let mut copied = |ms: u64, rate| {
            let now = now + Duration::from_millis(ms);
            (0..5000)
                .filter(|_| limiter.allows_copies(port, now, rate))
                .count()
        };
        assert_eq!([copied(0, 1), copied(999, 1), copied(1000, 1)], [1, 0, 1]);
        assert_eq!([copied(10_000, 20), copied(10_100, 20)], [20, 2]);
        assert_eq!(copied(60_000, 1_000_000), 5000);
        assert!(limiter.allows(port, now));
    }

    #[test]
    fn a_router_is_due_until_it_is_told_and_again_after_a_while_and_each_port_for_itself() {
        let (mut limiter, begun) = (Limiter::default(), Instant::now());
        let [one, other] = [1, 2].map(|n| PortId::new(n).unwrap());
        assert!(limiter.is_router_due(one, begun));
        limiter.tell_router(one, begun);
        let due = |port, seconds| limiter.is_router_due(port, begun + Duration::from_secs(seconds));
        assert!(!due(one, 0) && !due(one, 599) && due(one, 600) && due(other, 0));
    }
}
