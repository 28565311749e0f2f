// SPDX-License-Identifier: MIT
//! A goal state on its way from the first resource to the reply: what became of each resource, and how long
//! it took.

use std::fmt::Display;
use std::time::Instant;

use super::metrics::{self, Times};
use crate::audit::part as audit;
use crate::program::Program;
use crate::proto::schema::goal_state_operation_reply::GoalStateOperationStatus;
use crate::proto::schema::{GoalStateOperationReply, OperationStatus, ResourceType};
use crate::southbound::field::{FieldError, MAX_ID, Quote};
use crate::state::{Refused, Subject, Wanted};

/// Most resources of one message that the log names. One bad setting may concern a million of them.
pub(super) const MAX_LOGGED: usize = 20;

/// Most bytes of an id that a status repeats: of one that no resource has, since it is longer than [`MAX_ID`]. A status has to fit a
/// reply.
const MAX_REPEATED: usize = 4 * MAX_ID;

/// Of neighbors, one of so many has the clock read; those behind it have its time, which is some microseconds early.
const CLOCKED: usize = 16;

/// Why a resource was not taken into the wanted state.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// A field of it makes no sense.
    #[error(transparent)]
    Invalid(FieldError),
    /// It comes too late, or there are too many.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// One goal state, taken into the wanted state and prepared for the tables.
pub(super) struct Applied {
    source: String,
    received: Instant,
    /// From the message's arrival until its first resource was begun, in microseconds.
    begun: u32,
    items: Vec<Item>,
}

struct Item {
    kind: ResourceType,
    id: String,
    operation: i32,
    outcome: Result<Subject, Refusal>,
    /// From the message's arrival until the resource was taken into the wanted state, in microseconds.
    taken: u32,
}

impl Applied {
    /// A goal state of so many resources.
    pub(super) fn new(source: String, received: Instant, resources: usize) -> Self {
        Self {
            source,
            received,
            begun: micros(received),
            items: Vec::with_capacity(resources),
        }
    }

    /// Notes what became of one resource.
    pub(super) fn push(
        &mut self,
        kind: ResourceType,
        id: String,
        operation: i32,
        outcome: Result<Subject, Refusal>,
    ) {
        // To read the clock takes a tenth of what it takes to take a neighbor in, and keeps the CPU from beginning with the next.
        let taken = match self.items.last() {
            Some(before)
                if (kind, before.kind) == (ResourceType::Neighbor, ResourceType::Neighbor)
                    && !self.items.len().is_multiple_of(CLOCKED) =>
            {
                before.taken
            }
            _ => micros(self.received),
        };
        self.items.push(Item {
            kind,
            id,
            operation,
            outcome,
            taken,
        });
    }

    /// The resources that were not taken into the wanted state.
    pub(super) fn refused(self) -> Vec<audit::Refused> {
        let refusal = |item: Item| {
            let refusal = item.outcome.err()?;
            Some(audit::Refused {
                kind: item.kind,
                id: item.id,
                reason: (status_of_refusal(&refusal), refusal.to_string()),
            })
        };
        self.items.into_iter().filter_map(refusal).collect()
    }

    /// The reply, now that the change is `visible` to every worker, or is not for far too long.
    pub(super) fn reply(
        self,
        wanted: &Wanted,
        program: &Program,
        visible: bool,
    ) -> GoalStateOperationReply {
        let elapsed = micros(self.received);
        let times = metrics::are_logged().then(|| {
            let items = self.items.iter();
            Times::new(self.begun, items.map(|item| (item.kind, item.taken)))
        });
        let (mut statuses, mut unhappy) = (Vec::with_capacity(self.items.len()), 0);
        for mut item in self.items {
            let state = item
                .outcome
                .as_ref()
                .map(|subject| program.state(wanted, subject));
            let mut status = match &state {
                Ok(Ok(())) => OperationStatus::Success,
                Ok(Err(obstacle)) => obstacle.status(),
                Err(refusal) => status_of_refusal(refusal),
            };
            if status != OperationStatus::Success {
                unhappy += 1;
                if unhappy <= MAX_LOGGED {
                    match &state {
                        Ok(Ok(())) => {}
                        Ok(Err(obstacle)) => {
                            log(&self.source, &item, status, &obstacle.explain(wanted))
                        }
                        Err(refusal) => log(&self.source, &item, status, refusal),
                    }
                }
            } else if !visible {
                status = OperationStatus::Pending;
            }
            item.id.truncate(item.id.floor_char_boundary(MAX_REPEATED));
            statuses.push(GoalStateOperationStatus {
                resource_id: item.id,
                resource_type: item.kind as i32,
                operation_type: item.operation,
                operation_status: status as i32,
                network_configuration_time: item.taken,
                dataplane_programming_time: elapsed.saturating_sub(item.taken),
                state_elapse_time: elapsed,
            });
        }
        if unhappy > MAX_LOGGED {
            tracing::warn!(
                source = self.source,
                more = unhappy - MAX_LOGGED,
                "further resources without success"
            );
        }
        let message_total_operation_time = micros(self.received);
        if let Some(times) = times {
            metrics::log_times(&times, message_total_operation_time);
        }
        GoalStateOperationReply {
            format_version: 0,
            operation_statuses: statuses,
            message_total_operation_time,
        }
    }
}

/// The reply when what it answers is programmed, and would be forgotten in a crash.
pub(super) fn not_kept(mut reply: GoalStateOperationReply) -> GoalStateOperationReply {
    for status in &mut reply.operation_statuses {
        if status.operation_status == OperationStatus::Success as i32 {
            status.operation_status = OperationStatus::Pending as i32;
        }
    }
    reply
}

fn status_of_refusal(refusal: &Refusal) -> OperationStatus {
    match refusal {
        Refusal::Invalid(_) => OperationStatus::InvalidArg,
        Refusal::Refused(Refused::Late { .. }) => OperationStatus::OutOfOrder,
        Refusal::Refused(Refused::TooMany(_) | Refused::TooManyIn(..)) => OperationStatus::Failure,
    }
}

fn log(source: &str, item: &Item, status: OperationStatus, reason: &dyn Display) {
    let (kind, id) = (item.kind.as_str_name(), Quote(&item.id));
    if status == OperationStatus::Pending {
        tracing::info!(%kind, %id, %source, status = %"PENDING", "a resource waits: {reason}");
    } else {
        let status = status.as_str_name();
        tracing::warn!(%kind, %id, %source, %status, "a resource is refused: {reason}");
    }
}

/// Microseconds since, as statuses count them; the most they can hold after 71 minutes.
fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
