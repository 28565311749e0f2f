// SPDX-License-Identifier: MIT
//! Size and times of each goal state in the Alcor Control Agent's words, which Alcor's scripts look for.

use crate::proto::schema::ResourceType;

/// The log's target: `set metrics-log` turns it on and off.
pub(crate) const TARGET: &str = "metrics";

/// The kinds that the agent names, in its order.
const KINDS: [(ResourceType, &str); 4] = [
    (ResourceType::Router, "router"),
    (ResourceType::Port, "port"),
    (ResourceType::Neighbor, "neighbor"),
    (ResourceType::Dhcp, "dhcp"),
];

/// Whether anyone reads them.
pub(super) fn are_logged() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// Logs the size of a message that has come.
pub(super) fn log_size(bytes: usize) {
    tracing::info!(target: TARGET, "[METRICS] Goal state message size is: {bytes} bytes");
}

/// Logs how long a message took, and each kind of resource in it.
pub(super) fn log_times(times: &Times, total_us: u32) {
    log_time("message total", total_us);
    for (kind, name) in KINDS {
        log_time(name, times.of(kind, total_us));
    }
}

fn log_time(what: &str, us: u32) {
    let ms = us / 1000;
    tracing::info!(
        target: TARGET,
        "[METRICS] Elapsed time for {what} operation took: {us} microseconds or {ms} milliseconds"
    );
}

/// The time that taking in the resources of each kind took.
///
/// The rest of a message's time (its way to the control thread, the tables' change, the wait until every worker sees
/// it) is spent once for all of them.
pub(super) struct Times {
    own: [(ResourceType, Option<u32>); KINDS.len()],
    /// Of all kinds.
    sum: u32,
}

impl Times {
    /// From resources in their order, each with when it was taken in; `begun` is when the first one was begun. All
    /// since the message came, in microseconds.
    pub(super) fn new(begun: u32, items: impl Iterator<Item = (ResourceType, u32)>) -> Self {
        let mut times = Self {
            own: KINDS.map(|(kind, _)| (kind, None)),
            sum: 0,
        };
        let mut before = begun;
        for (kind, taken) in items {
            let took = taken.saturating_sub(before);
            before = taken;
            times.sum = times.sum.saturating_add(took);
            if let Some((_, own)) = times.own.iter_mut().find(|(own, _)| *own == kind) {
                *own = Some(own.unwrap_or(0).saturating_add(took));
            }
        }
        times
    }

    /// What a message with these resources of this kind alone would have taken, if this one took `total_us`; 0 without
    /// any.
    fn of(&self, kind: ResourceType, total_us: u32) -> u32 {
        let own = self.own.iter().find(|(own, _)| *own == kind);
        own.and_then(|(_, own)| *own).map_or(0, |own| {
            total_us.saturating_sub(self.sum).saturating_add(own)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceType::{Dhcp, Neighbor, Port, Router, Subnet};

    #[test]
    fn a_kind_has_its_own_time_and_what_all_share() {
        let items = [(Subnet, 110), (Port, 150), (Neighbor, 450), (Port, 460)];
        let times = Times::new(100, items.into_iter());
        // 360 of 1000 are the resources' own.
        assert_eq!(times.of(Port, 1000), 640 + 50);
        assert_eq!(times.of(Neighbor, 1000), 640 + 300);
        assert_eq!(times.of(Router, 1000), 0);
        assert_eq!(times.of(Dhcp, 1000), 0);
    }

    #[test]
    fn no_time_wraps() {
        let times = Times::new(0, [(Port, u32::MAX), (Port, 0)].into_iter());
        assert_eq!(times.of(Port, u32::MAX), u32::MAX);
        assert_eq!(times.of(Port, 0), u32::MAX);
    }
}
