// SPDX-License-Identifier: MIT
//! `alkaid push`: sends goal states as a controller would, and says what became of each resource.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::goal::{GoalError, all_files, load};
use super::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, PushArgs, Streams};
use crate::config::ClientTls;
use crate::core::Goal;
use crate::northbound::render;
use crate::proto::schema::goal_state_operation_reply::GoalStateOperationStatus;
use crate::proto::schema::goal_state_provisioner_client::GoalStateProvisionerClient;
use crate::proto::schema::{
    GoalStateOperationReply, GoalStateV2, OperationStatus, OperationType, ResourceType,
};
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
    /// One call cannot take both forms.
    #[error("{} is of another form than the files before it", .0.display())]
    Forms(PathBuf),
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
    let files = all_files(&args.files)?;
    // What is wrong with the first is said before anybody is asked; the others are read as they are sent.
    let first = load(&files[0], args.rpc)?;
    let (sent, replies) = super::runtime()?.block_on(async {
        let mut client = connect(&args.to, args.tls.tls().as_ref()).await?;
        let all = call(args, &mut client, first, &files[1..]);
        let seconds = Duration::from_secs(args.timeout);
        (tokio::time::timeout(seconds, all).await).map_err(|_| PushError::Timeout {
            to: args.to.clone(),
            seconds: args.timeout,
        })?
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
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| PushError::Connect {
            to: to.to_owned(),
            why: tls::cause(&error),
        })?;
    Ok(GoalStateProvisionerClient::new(channel).max_decoding_message_size(MAX_REPLY))
}

/// Sends `first` and what is in `more`: by a call for each in the first form, by one stream in the second. Returns how many
/// resources these were, and the replies.
async fn call(
    args: &PushArgs,
    client: &mut GoalStateProvisionerClient<Channel>,
    first: Goal,
    more: &[PathBuf],
) -> Result<(usize, Vec<GoalStateOperationReply>), PushError> {
    let refused = |status| PushError::Call {
        to: args.to.clone(),
        status: Box::new(status),
    };
    let mut sent = resources(&first);
    match first {
        Goal::V1(first) => {
            let reply = client.push_network_resource_states(first).await;
            let mut replies = vec![reply.map_err(refused)?.into_inner()];
            for file in more {
                let goal = load(file, args.rpc)?;
                sent += resources(&goal);
                let Goal::V1(goal) = goal else {
                    return Err(PushError::Forms(file.clone()));
                };
                let reply = client.push_network_resource_states(goal).await;
                replies.push(reply.map_err(refused)?.into_inner());
            }
            Ok((sent, replies))
        }
        Goal::V2(first) => {
            let (queue, goals) = mpsc::channel(1);
            let feed = async move {
                // Nobody takes them any more when the call has failed, which its result says.
                let _ = queue.send(first).await;
                for file in more {
                    let goal = load(file, args.rpc)?;
                    sent += resources(&goal);
                    let Goal::V2(goal) = goal else {
                        return Err(PushError::Forms(file.clone()));
                    };
                    if queue.send(goal).await.is_err() {
                        break;
                    }
                }
                Ok(sent)
            };
            let (sent, replies) = tokio::join!(feed, stream(client, goals));
            Ok((sent?, replies.map_err(refused)?))
        }
    }
}

async fn stream(
    client: &mut GoalStateProvisionerClient<Channel>,
    goals: mpsc::Receiver<GoalStateV2>,
) -> Result<Vec<GoalStateOperationReply>, tonic::Status> {
    let goals = ReceiverStream::new(goals);
    let mut stream = client.push_goal_states_stream(goals).await?.into_inner();
    let mut replies = Vec::new();
    while let Some(reply) = stream.message().await? {
        replies.push(reply);
    }
    Ok(replies)
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
