// SPDX-License-Identifier: MIT
//! Makes the calls: `RequestGoalStates` at Alcor's network configuration manager (NCM).
//!
//! NCM knows a host by the address that its connection comes from, and pushes what was asked for to that address before it
//! answers. So the connection is bound to an address of the operator's choice, a call may take as long as a push, and
//! pushes are served meanwhile by [`southbound`](crate::southbound) as ever.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use uuid::Uuid;

use super::engine::{Call, Failed};
use crate::config::ClientTls;
use crate::proto::schema::goal_state_provisioner_client::GoalStateProvisionerClient;
use crate::proto::schema::host_request::ResourceStateRequest;
use crate::proto::schema::{HostRequest, HostRequestReply, OperationStatus, RequestType};
use crate::tls;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Longest wait for an answer: NCM pushes first, and a slow push takes seconds.
const ANSWER: Duration = Duration::from_secs(60);

/// How often an idle connection is checked, so that a dead one is noticed before somebody asks.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Time between two lines of the log about calls that fail.
const REPEAT: Duration = Duration::from_secs(60);

/// Bits of a request's id that number it. The others are random, and the same for all requests of this process.
const NUMBER: u128 = (1 << 62) - 1;

/// Where to ask, and from where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ncm {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The address that it knows this host by.
    pub(crate) source: IpAddr,
}

/// What a call came to: see [`Engine::replied`](super::engine::Engine::replied).
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Which call.
    pub(crate) first: u64,
    /// Of each question that was answered, its number and whether it is routable.
    pub(crate) statuses: Result<Vec<(u64, bool)>, Failed>,
}

/// Makes calls until nobody has any more, several at a time, and passes on what they come to. Every call comes to
/// something.
pub(crate) async fn run(
    ncm: Ncm,
    tls: Option<ClientTls>,
    mut calls: mpsc::Receiver<Call>,
    outcome: impl Fn(Outcome),
) {
    let channel = channel(ncm, tls).map_err(|error| Status::unavailable(tls::cause(&error)));
    let names = Names::new();
    let (mut under_way, mut log) = (JoinSet::new(), Log::default());
    loop {
        tokio::select! {
            call = calls.recv() => match call {
                Some(call) => { under_way.spawn(make(channel.clone(), names, ncm, call)); }
                None => return,
            },
            Some(Ok((first, result))) = under_way.join_next() => {
                log.note(ncm.address, result.as_ref().err());
                let statuses = result.map(|reply| names.statuses(&reply));
                let statuses = statuses.map_err(|status| failed(&status));
                outcome(Outcome { first, statuses });
            }
        }
    }
}

/// What connects when somebody asks, and again when a connection has ended; nothing is connected yet.
fn channel(ncm: Ncm, tls: Option<ClientTls>) -> Result<Channel, tonic::transport::Error> {
    let Ncm { address, source } = ncm;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_while_idle(true);
    let Some(tls) = tls else {
        return Ok(endpoint.local_address(Some(source)).connect_lazy());
    };
    let connect = move |_| {
        let tls = tls.clone();
        async move { tls::connect(address, source, &tls).await.map(TokioIo::new) }
    };
    let origin = Endpoint::from_shared(format!("https://{address}"))?;
    let endpoint = endpoint.origin(origin.uri().clone());
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(connect)))
}

async fn make(
    channel: Result<Channel, Status>,
    names: Names,
    ncm: Ncm,
    call: Call,
) -> (u64, Result<HostRequestReply, Status>) {
    let ask = async {
        let reply = GoalStateProvisionerClient::new(channel?)
            .max_decoding_message_size(usize::MAX)
            .request_goal_states(names.request(&call, ncm.source))
            .await?;
        Ok(reply.into_inner())
    };
    (call.first, ask.await)
}

/// Of a status that is no answer.
fn failed(status: &Status) -> Failed {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Failed::Unavailable,
        _ => Failed::Refused,
    }
}

/// Ids of requests: UUIDs of version 4 with a number in them.
#[derive(Clone, Copy)]
struct Names(u128);

impl Names {
    fn new() -> Self {
        Self(Uuid::new_v4().as_u128() & !NUMBER)
    }

    fn name(self, number: u64) -> String {
        Uuid::from_u128(self.0 | u128::from(number) & NUMBER).to_string()
    }

    fn number(self, name: &str) -> Option<u64> {
        let id = Uuid::try_parse(name).ok()?.as_u128();
        let ours = id & !NUMBER == self.0;
        ours.then(|| u64::try_from(id & NUMBER).ok())?
    }

    fn request(self, call: &Call, source: IpAddr) -> HostRequest {
        let questions = (call.first..).zip(&call.questions);
        let mut requests: Vec<_> = questions
            .map(|(number, question)| question.request(self.name(number)))
            .collect();
        if requests.is_empty() {
            requests.push(ResourceStateRequest {
                request_type: RequestType::AgentRestarted.into(),
                request_id: self.name(call.first),
                source_ip: source.to_string(),
                ..ResourceStateRequest::default()
            });
        }
        HostRequest {
            format_version: 0,
            state_requests: requests,
        }
    }

    /// What a reply says of requests of ours: routable, unless it says anything but SUCCESS.
    fn statuses(self, reply: &HostRequestReply) -> Vec<(u64, bool)> {
        let statuses = reply.operation_statuses.iter();
        let status = statuses.filter_map(|status| {
            let routable = status.operation_status() == OperationStatus::Success;
            Some((self.number(&status.request_id)?, routable))
        });
        status.collect()
    }
}

/// Says that calls fail, not too often, and that they no longer do.
#[derive(Default)]
struct Log {
    failing: Option<(Instant, u64)>,
}

impl Log {
    fn note(&mut self, ncm: SocketAddr, failure: Option<&Status>) {
        match (failure, &mut self.failing) {
            (None, None) => {}
            (None, Some(_)) => {
                self.failing = None;
                tracing::info!("the controller at {ncm} answers again");
            }
            (Some(_), Some((last, more))) if last.elapsed() < REPEAT => *more += 1,
            (Some(status), failing) => {
                let more = failing.map_or(0, |(_, more)| more);
                *failing = Some((Instant::now(), 0));
                let code = status.code();
                let reason = reason(status);
                tracing::warn!(
                    more,
                    "the controller at {ncm} does not say where packets go: {code}: {reason}"
                );
            }
        }
    }
}

/// The cause of a failure of the connection is in what caused it.
fn reason(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::schema::host_request_reply::HostRequestOperationStatus;

    #[test]
    fn a_name_is_a_uuid_of_version_four_and_gives_its_number_back_to_its_own_process_only() {
        let (ours, others) = (Names::new(), Names::new());
        for number in [0, 1, 1 << 40, (1 << 62) - 1] {
            let name = ours.name(number);
            assert_eq!(Uuid::try_parse(&name).unwrap().get_version_num(), 4);
            assert_eq!(ours.number(&name), Some(number));
            assert_eq!(others.number(&name), None);
        }
        for foreign in ["", "7", "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(ours.number(foreign), None);
        }
    }

    #[test]
    fn all_but_success_is_not_routable_and_what_is_not_ours_is_ignored() {
        let names = Names::new();
        let status = |request_id, operation_status| HostRequestOperationStatus {
            request_id,
            operation_status,
        };
        let statuses = vec![
            status(names.name(3), OperationStatus::Success.into()),
            status(names.name(4), OperationStatus::Failure.into()),
            status(names.name(5), OperationStatus::Pending.into()),
            status("3".into(), OperationStatus::Failure.into()),
        ];
        let reply = HostRequestReply {
            operation_statuses: statuses,
            ..HostRequestReply::default()
        };
        assert_eq!(names.statuses(&reply), [(3, true), (4, false), (5, false)]);
    }

    #[tokio::test]
    async fn every_call_comes_to_something_also_when_there_are_no_keys_to_connect_with() {
        let ncm = Ncm {
            address: "127.0.0.1:1".parse().unwrap(),
            source: [127, 0, 0, 1].into(),
        };
        let missing = || "no-such-file".into();
        let tls = ClientTls {
            files: crate::config::TlsFiles {
                cert: missing(),
                key: missing(),
                ca: missing(),
            },
            name: None,
        };
        let (sender, calls) = mpsc::channel(2);
        for first in [1, 2] {
            let questions = Vec::new();
            sender.send(Call { first, questions }).await.unwrap();
        }
        let (outcomes, mut came) = mpsc::unbounded_channel();
        let outcome = move |outcome: Outcome| outcomes.send(outcome).unwrap();
        let client = tokio::spawn(run(ncm, Some(tls), calls, outcome));
        for _ in 0..2 {
            let outcome = came.recv().await.unwrap();
            assert_eq!(outcome.statuses, Err(Failed::Unavailable));
        }
        drop(sender);
        client.await.unwrap();
    }

    #[test]
    fn a_call_without_questions_says_that_this_switch_has_started() {
        let call = Call {
            first: 0,
            questions: Vec::new(),
        };
        let request = Names::new().request(&call, IpAddr::from([192, 0, 2, 1]));
        let [only] = request.state_requests.as_slice() else {
            panic!("{request:?}")
        };
        assert_eq!(only.request_type(), RequestType::AgentRestarted);
        assert_eq!(only.source_ip, "192.0.2.1");
        assert!(!only.request_id.is_empty());
    }
}
