// SPDX-License-Identifier: MIT
//! A goal state on its way from the first resource to the reply: what became of each resource, and how long it took.

use std::time::Instant;

use crate::program::{Obstacle, Program};
use crate::proto::schema::goal_state_operation_reply::GoalStateOperationStatus;
use crate::proto::schema::{GoalStateOperationReply, OperationStatus, ResourceType};
use crate::southbound::field::{FieldError, Quote};
use crate::state::{OutOfOrder, Subject, Wanted};

/// Most resources of one message that the log names. One bad setting may concern a million of them.
const MAX_LOGGED: usize = 20;

/// Why a resource was not taken into the wanted state.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// A field of it makes no sense.
    #[error(transparent)]
    Invalid(FieldError),
    /// It is older than what is known.
    #[error(transparent)]
    Late(OutOfOrder),
}

/// One goal state, taken into the wanted state and prepared for the tables.
pub(super) struct Applied {
    source: String,
    begun: Instant,
    items: Vec<Item>,
    programming: Instant,
}

struct Item {
    kind: ResourceType,
    id: String,
    operation: i32,
    outcome: Result<Subject, Refusal>,
    /// When its turn came, and when it had been taken, in microseconds of the whole.
    from: u32,
    to: u32,
}

impl Applied {
    /// Starts the clock.
    pub(super) fn new(source: &str) -> Self {
        let begun = Instant::now();
        Self {
            source: source.to_owned(),
            begun,
            items: Vec::new(),
            programming: begun,
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
        let from = self.items.last().map_or(0, |item| item.to);
        let to = micros(self.begun);
        self.items.push(Item {
            kind,
            id,
            operation,
            outcome,
            from,
            to,
        });
    }

    /// All resources are taken; what follows is programming.
    pub(super) fn program_from_here(&mut self) {
        self.programming = Instant::now();
    }

    /// The reply, now that the change is `visible` to every worker, or is not for far too long.
    pub(super) fn reply(
        self,
        wanted: &Wanted,
        program: &Program,
        visible: bool,
    ) -> GoalStateOperationReply {
        let (total, programming) = (micros(self.begun), micros(self.programming));
        let (mut statuses, mut unhappy) = (Vec::with_capacity(self.items.len()), 0);
        for item in self.items {
            let (mut status, reason) = match &item.outcome {
                Err(refusal @ Refusal::Invalid(_)) => {
                    (OperationStatus::InvalidArg, refusal.to_string())
                }
                Err(refusal @ Refusal::Late(_)) => {
                    (OperationStatus::OutOfOrder, refusal.to_string())
                }
                Ok(subject) => match program.state(wanted, subject) {
                    Ok(()) => (OperationStatus::Success, String::new()),
                    Err(obstacle) => (status_of(&obstacle), obstacle.to_string()),
                },
            };
            if status != OperationStatus::Success {
                unhappy += 1;
                if unhappy <= MAX_LOGGED {
                    log(&self.source, &item, status, &reason);
                }
            } else if !visible {
                status = OperationStatus::Pending;
            }
            statuses.push(GoalStateOperationStatus {
                resource_id: item.id,
                resource_type: item.kind as i32,
                operation_type: item.operation,
                operation_status: status as i32,
                dataplane_programming_time: programming,
                network_configuration_time: item.to.saturating_sub(item.from),
                state_elapse_time: total.saturating_sub(item.from),
            });
        }
        if unhappy > MAX_LOGGED {
            tracing::warn!(
                source = self.source,
                more = unhappy - MAX_LOGGED,
                "further resources without success"
            );
        }
        let message_total_operation_time = micros(self.begun);
        GoalStateOperationReply {
            format_version: 0,
            operation_statuses: statuses,
            message_total_operation_time,
        }
    }
}

fn status_of(obstacle: &Obstacle) -> OperationStatus {
    if obstacle.is_failure() {
        OperationStatus::Failure
    } else {
        OperationStatus::Pending
    }
}

fn log(source: &str, item: &Item, status: OperationStatus, reason: &str) {
    let (kind, id, status) = (
        item.kind.as_str_name(),
        Quote(&item.id),
        status.as_str_name(),
    );
    match status {
        "PENDING" => tracing::info!("{kind} {id} from {source}: {status}: {reason}"),
        _ => tracing::warn!("{kind} {id} from {source}: {status}: {reason}"),
    }
}

/// Microseconds since, as statuses count them; the most they can hold after 71 minutes.
fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
