// SPDX-License-Identifier: MIT
//! `alkaid push`: sends a goal state as a controller would, and says what became of each resource.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

use super::goal::{GoalError, parse_goal, read};
use super::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, PushArgs, Streams};
use crate::config::ClientTls;
use crate::core::Goal;
use crate::northbound::render;
use crate::proto::schema::goal_state_operation_reply::GoalStateOperationStatus;
use crate::proto::schema::goal_state_provisioner_client::GoalStateProvisionerClient;
use crate::proto::schema::{GoalStateOperationReply, OperationStatus, OperationType, ResourceType};
use crate::tls::{self, TlsError};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// Largest reply message, in bytes. A switch of this project keeps them under 3 MiB; others may not.
const MAX_REPLY: usize = 256 << 20;

/// Why there are no statuses.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    /// The file is no goal state.
    #[error("{0}")]
    Goal(#[from] GoalError),
    /// No address and port.
    #[error("`{0}` is not ADDR:PORT")]
    Address(String),
    /// Nobody answers there.
    #[error("cannot connect to {to}: {why}")]
    Connect {
        /// The address.
        to: String,
        /// Why.
        why: String,
    },
    /// The call fails, which a switch never answers for a resource that is wrong.
    #[error("{to} refused the call: {status}")]
    Call {
        /// The address.
        to: String,
        /// The answer.
        status: Box<tonic::Status>,
    },
    /// No answer in time.
    #[error("{to} did not answer within {seconds} s")]
    Timeout {
        /// The address.
        to: String,
        /// How long that is.
        seconds: u64,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No runtime.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Pushes; the exit status.
pub(super) fn run(args: &PushArgs, streams: &mut Streams) -> u8 {
    match push(args) {
        Ok(answer) => print(args, &answer, streams),
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            EXIT_USAGE
        }
    }
}

/// What came back.
pub(super) struct Answer {
    /// Resources that were sent.
    pub(super) sent: usize,
    /// The statuses of all replies, in order.
    pub(super) statuses: Vec<GoalStateOperationStatus>,
    /// What the switch says it took, in microseconds.
    pub(super) took_us: u32,
}

impl Answer {
    /// Statuses that are SUCCESS.
    fn successes(&self) -> usize {
        self.statuses
            .iter()
            .filter(|status| status.operation_status() == OperationStatus::Success)
            .count()
    }

    /// True if nothing that was sent is known to be otherwise than wanted.
    pub(super) fn is_success(&self) -> bool {
        self.successes() == self.statuses.len() && self.statuses.len() >= self.sent
    }
}

pub(super) fn push(args: &PushArgs) -> Result<Answer, PushError> {
    let goal = parse_goal(&args.file, &read(&args.file)?, args.rpc)?;
    let sent = resources(&goal);
    let to = || args.to.clone();
    let replies = super::runtime()?.block_on(async {
        let mut client = connect(&args.to, args.tls.tls().as_ref()).await?;
        let call = tokio::time::timeout(Duration::from_secs(args.timeout), call(&mut client, goal));
        let replies = call.await.map_err(|_| PushError::Timeout {
            to: to(),
            seconds: args.timeout,
        })?;
        replies.map_err(|status| PushError::Call {
            to: to(),
            status: Box::new(status),
        })
    })?;
    let took_us = replies.iter().fold(0, |sum: u32, reply| {
        sum.saturating_add(reply.message_total_operation_time)
    });
    let statuses = replies
        .into_iter()
        .flat_map(|reply| reply.operation_statuses)
        .collect();
    Ok(Answer {
        sent,
        statuses,
        took_us,
    })
}

async fn connect(
    to: &str,
    tls: Option<&ClientTls>,
) -> Result<GoalStateProvisionerClient<Channel>, PushError> {
    let has_port = to
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let is_address = has_port && Endpoint::from_shared(format!("http://{to}")).is_ok();
    if !is_address {
        return Err(PushError::Address(to.to_owned()));
    }
    let endpoint = tls::endpoint(to, tls)?.connect_timeout(CONNECT);
    let channel = endpoint.connect().await.map_err(|error| {
        // tonic says "transport error", and the cause why.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        PushError::Connect {
            to: to.to_owned(),
            why: cause.to_string(),
        }
    })?;
    Ok(GoalStateProvisionerClient::new(channel).max_decoding_message_size(MAX_REPLY))
}

async fn call(
    client: &mut GoalStateProvisionerClient<Channel>,
    goal: Goal,
) -> Result<Vec<GoalStateOperationReply>, tonic::Status> {
    match goal {
        Goal::V1(goal) => Ok(vec![
            client
                .push_network_resource_states(goal)
                .await?
                .into_inner(),
        ]),
        Goal::V2(goal) => {
            let stream = client
                .push_goal_states_stream(tokio_stream::once(goal))
                .await?;
            let mut stream = stream.into_inner();
            let mut replies = Vec::new();
            while let Some(reply) = stream.message().await? {
                replies.push(reply);
            }
            Ok(replies)
        }
    }
}

/// Number of resources in `goal`: as many statuses are due.
fn resources(goal: &Goal) -> usize {
    match goal {
        Goal::V1(goal) => [
            goal.vpc_states.len(),
            goal.subnet_states.len(),
            goal.port_states.len(),
            goal.neighbor_states.len(),
            goal.security_group_states.len(),
            goal.dhcp_states.len(),
            goal.router_states.len(),
            goal.gateway_states.len(),
        ],
        Goal::V2(goal) => [
            goal.vpc_states.len(),
            goal.subnet_states.len(),
            goal.port_states.len(),
            goal.neighbor_states.len(),
            goal.security_group_states.len(),
            goal.dhcp_states.len(),
            goal.router_states.len(),
            goal.gateway_states.len(),
        ],
    }
    .iter()
    .sum()
}

fn print(args: &PushArgs, answer: &Answer, streams: &mut Streams) -> u8 {
    let success = OperationStatus::Success as i32;
    let shown = answer
        .statuses
        .iter()
        .filter(|status| !args.quiet || status.operation_status != success);
    let rows: Value = shown.map(row).collect();
    let (total, good) = (answer.statuses.len(), answer.successes());
    if args.json {
        streams.out(&format!("{rows}\n"));
    } else {
        if rows.as_array().is_some_and(|rows| !rows.is_empty()) {
            streams.out(&render::table(&rows));
        }
        let took = f64::from(answer.took_us) / 1000.0;
        streams.out(&format!(
            "{good} of {total} resources SUCCESS, {took:.1} ms in the switch\n"
        ));
    }
    if total < answer.sent {
        streams.err(&format!(
            "alkaid: {} resources were sent, and only {total} statuses came back\n",
            answer.sent
        ));
    }
    if answer.is_success() {
        EXIT_OK
    } else {
        EXIT_FAILED
    }
}

fn row(status: &GoalStateOperationStatus) -> Value {
    // A number of a newer schema is shown as it is.
    let name = |known: Option<&'static str>, number: i32| {
        known.map_or_else(|| json!(number), |name| json!(name))
    };
    let kind = ResourceType::try_from(status.resource_type)
        .ok()
        .map(|kind| kind.as_str_name());
    let operation = OperationType::try_from(status.operation_type)
        .ok()
        .map(|operation| operation.as_str_name());
    let outcome = OperationStatus::try_from(status.operation_status)
        .ok()
        .map(|outcome| outcome.as_str_name());
    json!({
        "type": name(kind, status.resource_type),
        "id": status.resource_id,
        "operation": name(operation, status.operation_type),
        "status": name(outcome, status.operation_status),
        "us": status.state_elapse_time,
    })
}
