// SPDX-License-Identifier: MIT
//! How many errors a guest is told of: each takes as much work as a packet that is forwarded, and somebody may provoke
//! them for their own sake (RFC 1812 section 4.3.2.8).

use std::time::{Duration, Instant};

use crate::tables::{MAX_PORTS, PortId};

/// Errors that one worker tells one port of per second, as long as it provokes them, and at once after a pause. A
/// traceroute of 30 hops provokes 90.
const PER_SECOND: u32 = 100;
const AT_ONCE: u32 = 100;

/// Time after which one more is allowed.
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / PER_SECOND as u64);

/// What one worker has told. A token bucket for each port, as the time at which it would be full.
pub struct Limiter([Option<Instant>; MAX_PORTS]);

impl Default for Limiter {
    fn default() -> Self {
        Self([None; MAX_PORTS])
    }
}

impl Limiter {
    /// True if the guest at this port may be told of one more error now, which counts as done.
    pub(super) fn allows(&mut self, port: PortId, now: Instant) -> bool {
        let full = &mut self.0[port.index() % MAX_PORTS];
        let from = full.map_or(now, |full| full.max(now));
        let allowed = from + INTERVAL <= now + INTERVAL * AT_ONCE;
        if allowed {
            *full = Some(from + INTERVAL);
        }
        allowed
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
}
