// SPDX-License-Identifier: MIT
//! The call GoalState: what is wanted, part by part, so that it takes no more memory than a part, and the control thread is
//! not held up for longer than one takes.

use std::sync::Arc;

use prost::Message;
use tokio::sync::mpsc;
use tonic::Status;

use super::Executor;
use super::api::{GoalStatePart, Resource};
use crate::audit::canonical::{Entry, entries};
use crate::audit::part::Part;
use crate::proto::schema::OperationStatus;
use crate::state::parts::Position;

/// All parts, one after the other, each asked for when the client has taken the one before it.
pub(super) fn parts(executor: Arc<impl Executor>) -> mpsc::Receiver<Result<GoalStatePart, Status>> {
    let (queue, parts) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut position = Position::default();
        // Without a client there is nobody to ask for.
        while let Ok(place) = queue.reserve().await {
            match executor.audit(position).await {
                Ok((_, None)) => break,
                Ok((next, Some(part))) => {
                    position = next;
                    place.send(Ok(encoded(part)));
                }
                Err(error) => {
                    place.send(Err(Status::unavailable(error.to_string())));
                    break;
                }
            }
        }
    });
    parts
}

fn encoded(mut part: Part) -> GoalStatePart {
    let entries = entries(&mut part.goal).into_iter().zip(part.states);
    let resources = entries.map(|(entry, state)| {
        let hash = entry.hash().to_vec();
        let Entry {
            kind,
            key,
            id,
            revision,
            ..
        } = entry;
        let (status, reason) = match state {
            Ok(()) => (OperationStatus::Success, String::new()),
            Err(reason) => reason,
        };
        Resource {
            kind: kind as u32,
            key,
            id,
            revision,
            hash,
            status: status as u32,
            reason,
        }
    });
    GoalStatePart {
        resources: resources.collect(),
        goal_state: part.goal.encode_to_vec(),
    }
}
