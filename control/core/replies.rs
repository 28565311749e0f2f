// SPDX-License-Identifier: MIT
//! [`Replies`]: what goal states were answered, and how long it took until every worker saw them.

use std::time::Duration;

use hashbrown::HashMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::proto::schema::{GoalStateOperationReply, OperationStatus, ResourceType};

/// Upper bounds of the histograms, in seconds: from what one resource takes to a million on a slow machine.
const BOUNDS: [f64; 16] = [
    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Counted since start. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    messages: Histogram,
    by_kind: Family<Labels<1>, Histogram, fn() -> Histogram>,
    statuses: Family<Labels<2>, Counter>,
    unseen: Counter,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            messages: histogram(),
            by_kind: Family::new_with_constructor(histogram),
            statuses: Family::default(),
            unseen: Counter::default(),
        }
    }
}

fn histogram() -> Histogram {
    Histogram::new(BOUNDS)
}

impl Replies {
    /// Notes a reply, whose changes are `visible` to every worker, or are not for far too long.
    pub(crate) fn note(&self, reply: &GoalStateOperationReply, visible: bool) {
        let mut statuses = HashMap::new();
        let mut elapsed = reply.message_total_operation_time;
        for status in &reply.operation_statuses {
            let key = (status.resource_type, status.operation_status);
            *statuses.entry(key).or_insert(0) += 1;
            elapsed = status.state_elapse_time; // of all the same: when the workers had it
        }
        let seconds = Duration::from_micros(elapsed.into()).as_secs_f64();
        for (&(kind, status), count) in &statuses {
            let labels = [("kind", name(kind)), ("status", status_name(status))];
            self.statuses.get_or_create(&labels).inc_by(*count);
        }
        if !visible {
            self.unseen.inc();
            return;
        }
        self.messages.observe(seconds);
        let mut kinds: Vec<_> = statuses.keys().map(|(kind, _)| name(*kind)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let of_kind = self.by_kind.get_or_create(&[("kind", kind)]);
            of_kind.observe(seconds);
        }
    }

    /// Has them told.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "alkaid_goal_state_message_seconds",
            "Time from a goal state's arrival until every worker saw it",
            self.messages.clone(),
        );
        registry.register(
            "alkaid_goal_state_seconds",
            "The same, of goal states with a resource of this kind",
            self.by_kind.clone(),
        );
        registry.register(
            "alkaid_goal_state_statuses",
            "Statuses answered, by the resource's kind",
            self.statuses.clone(),
        );
        registry.register(
            "alkaid_goal_state_unseen",
            "Goal states answered before every worker saw them, since one stood still",
            self.unseen.clone(),
        );
    }
}

/// What metrics call a kind, as in [`KINDS`](crate::program::census::KINDS).
fn name(kind: i32) -> &'static str {
    match ResourceType::try_from(kind) {
        Ok(ResourceType::Vpc) => "vpc",
        Ok(ResourceType::Subnet) => "subnet",
        Ok(ResourceType::Port) => "port",
        Ok(ResourceType::Neighbor) => "neighbor",
        Ok(ResourceType::Router) => "router",
        Ok(ResourceType::Dhcp) => "dhcp",
        Ok(ResourceType::Gateway) => "gateway",
        Ok(ResourceType::Securitygroup) => "security_group",
        Err(_) => "other",
    }
}

fn status_name(status: i32) -> &'static str {
    match OperationStatus::try_from(status) {
        Ok(status) => status.as_str_name(),
        Err(_) => "other",
    }
}
