// SPDX-License-Identifier: MIT
//! The services over real HTTP/2, used as Alcor's clients use them.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::goal::*;
use super::world::World;
use crate::core::{CoreHandle, Goal, Show, channel};
use crate::proto::schema::NeighborType::L2;
use crate::proto::schema::goal_state_provisioner_client::GoalStateProvisionerClient;
use crate::proto::schema::*;
use crate::server;
use crate::southbound::service;

pub(super) type Client = GoalStateProvisionerClient<tonic::transport::Channel>;

/// Far longer than any answer takes; a test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A served switch. Ends when it is dropped.
struct Server {
    address: SocketAddr,
    core: CoreHandle,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let (core, requests) = channel();
        let mut world = World::unbound(1 << 18);
        world.core.set_out();
        thread::spawn(move || world.core.run(requests));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let routes = service::routes(core.clone());
        let serve = server::serve(routes, listener, None, async { drop(stopped.await) });
        let ended = tokio::spawn(async { serve.await.unwrap() });
        Self {
            address,
            core,
            stop,
            ended,
        }
    }

    async fn client(&self) -> Client {
        Client::connect(format!("http://{}", self.address))
            .await
            .unwrap()
    }
}

pub(super) fn second_form(states: impl IntoIterator<Item = State>) -> GoalStateV2 {
    let Goal::V2(goal) = v2(states) else {
        unreachable!()
    };
    goal
}

pub(super) fn first_form(states: impl IntoIterator<Item = State>) -> GoalState {
    let Goal::V1(goal) = v1(states) else {
        unreachable!()
    };
    goal
}

/// An open stream: where messages go in, and replies come out.
pub(super) async fn open(
    client: &mut Client,
) -> (
    mpsc::Sender<GoalStateV2>,
    Streaming<GoalStateOperationReply>,
) {
    let (goals, stream) = mpsc::channel(16);
    // Alcor's warm-up: the first message goes with the request, and the stream stays open.
    goals.send(GoalStateV2::default()).await.unwrap();
    let request = client.push_goal_states_stream(ReceiverStream::new(stream));
    let mut replies = timeout(LIMIT, request).await.unwrap().unwrap().into_inner();
    assert!(next(&mut replies).await.operation_statuses.is_empty());
    (goals, replies)
}

pub(super) async fn next(
    replies: &mut Streaming<GoalStateOperationReply>,
) -> GoalStateOperationReply {
    timeout(LIMIT, replies.message())
        .await
        .expect("no answer in time")
        .unwrap()
        .expect("the stream has ended")
}

fn neighbors(prefix: &str, count: usize) -> Vec<State> {
    let neighbor = |n: usize| {
        let (a, b, c) = (n >> 16 & 255, n >> 8 & 255, n & 255);
        neighbor(
            &format!("{prefix}-{n:030}"),
            L2,
            &format!("02:00:00:{a:02x}:{b:02x}:{c:02x}"),
            "s",
            &format!("10.{a}.{b}.{c}"),
            9,
        )
    };
    (0..count).map(neighbor).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_calls_program_and_answer() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let goal = first_form([subnet("s", "v", "10.7.1.0/24", 7, 1)]);
    let reply = client
        .push_network_resource_states(goal)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        reply.operation_statuses[0].operation_status(),
        OperationStatus::Success
    );
    let (goals, mut replies) = open(&mut client).await;
    for count in 1..4 {
        goals
            .send(second_form(neighbors("n", count)))
            .await
            .unwrap();
        let reply = next(&mut replies).await;
        assert_eq!(
            reply.operation_statuses.len(),
            count,
            "one reply per message, before half-close"
        );
    }
    drop(goals);
    assert!(
        timeout(LIMIT, replies.message())
            .await
            .unwrap()
            .unwrap()
            .is_none(),
        "the stream ends with the client's"
    );
    assert_eq!(
        server
            .core
            .show(Show::Neighbors)
            .await
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_streams_by_the_hundred_disturb_nobody() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(open(&mut client).await);
    }
    let (goals, mut replies) = open(&mut client).await;
    goals.send(second_form([vpc("v", 7)])).await.unwrap();
    assert_eq!(next(&mut replies).await.operation_statuses.len(), 1);
    for (goals, replies) in &mut idle {
        goals.send(second_form([vpc("v", 7)])).await.unwrap();
        assert_eq!(next(replies).await.operation_statuses.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_streams_are_answered_each_on_its_own() {
    let server = Server::start().await;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let address = server.address;
            tokio::spawn(async move {
                let mut client = Client::connect(format!("http://{address}")).await.unwrap();
                let (goals, mut replies) = open(&mut client).await;
                for round in 0..50 {
                    let id = format!("v-{n}-{round}");
                    goals.send(second_form([vpc(&id, 7)])).await.unwrap();
                    assert_eq!(
                        next(&mut replies).await.operation_statuses[0].resource_id,
                        id
                    );
                }
            })
        })
        .collect();
    for task in tasks {
        timeout(LIMIT, task).await.unwrap().unwrap();
    }
    assert_eq!(
        server
            .core
            .show(Show::Vpcs)
            .await
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_are_taken_and_their_replies_fit_clients_that_accept_4_mib() {
    let server = Server::start().await;
    let mut client = server.client().await.max_encoding_message_size(usize::MAX);
    let states = neighbors("a-neighbor-with-an-id-of-64-bytes", 100_000);
    let (goals, mut replies) = open(&mut client).await;
    goals.send(second_form(states.clone())).await.unwrap();
    let mut statuses = 0;
    while statuses < states.len() {
        statuses += next(&mut replies).await.operation_statuses.len();
    }
    assert_eq!(statuses, states.len());
    // The unary call has one message to answer in: what is no success comes first.
    let reply = client
        .push_network_resource_states(first_form(states))
        .await
        .unwrap()
        .into_inner();
    assert!(reply.operation_statuses.len() > 30_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_resource_is_a_status_and_never_a_grpc_error() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let wrong = [
        vpc("", 7),
        subnet("s", "", "x", 1 << 40, 1),
        port("p", "", &[]),
        neighbor("n", L2, "", "", "", 0),
    ];
    let reply = client
        .push_network_resource_states(first_form(wrong))
        .await
        .unwrap()
        .into_inner();
    assert!(
        reply
            .operation_statuses
            .iter()
            .all(|s| s.operation_status() == OperationStatus::InvalidArg)
    );
    assert_eq!(reply.operation_statuses.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_a_switch_does_not_serve_are_unimplemented() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let status = client
        .request_goal_states(HostRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let status = client
        .push_goalstates(NeighborRulesRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_without_its_answer_leaves_what_it_said() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let (goals, replies) = open(&mut client).await;
    goals.send(second_form([vpc("v", 7)])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop((goals, replies, client));
    let mut other = server.client().await;
    open(&mut other).await;
    assert_eq!(
        server
            .core
            .show(Show::Vpcs)
            .await
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_does_not_wait_for_idle_streams() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let _idle = open(&mut client).await;
    server.stop.send(()).unwrap();
    timeout(LIMIT, server.ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_megabytes_makes_no_reply_that_clients_do_not_take() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let long = "é".repeat(3 << 20);
    let states = || {
        let other = neighbor("n", L2, "02:00:00:00:00:01", "s", "10.7.1.1", 9);
        [
            neighbor(&long, L2, "02:00:00:00:00:02", "s", "10.7.1.2", 9),
            other,
        ]
    };
    let (goals, mut replies) = open(&mut client).await;
    goals.send(second_form(states())).await.unwrap();
    let by_stream = next(&mut replies).await;
    let call = client.push_network_resource_states(first_form(states()));
    for reply in [by_stream, call.await.unwrap().into_inner()] {
        let [first, second] = &reply.operation_statuses[..] else {
            panic!("{} statuses", reply.operation_statuses.len());
        };
        assert_eq!(first.operation_status(), OperationStatus::InvalidArg);
        assert!(first.resource_id.len() > 1000 && long.starts_with(&first.resource_id));
        assert_eq!(second.resource_id, "n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_stream_is_said_behind_the_answers_to_what_came_before() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let (goals, mut replies) = open(&mut client).await;
    // It takes longer to apply than what follows takes to be refused.
    goals
        .send(second_form(neighbors("n", 20_000)))
        .await
        .unwrap();
    let nothing = goal_state_v2::NeighborStatesEntry::default();
    let none = GoalStateV2 {
        neighbor_states: vec![nothing; 5_000],
        ..GoalStateV2::default()
    };
    goals.send(none).await.unwrap();
    assert_eq!(next(&mut replies).await.operation_statuses.len(), 20_000);
    let end = timeout(LIMIT, replies.message()).await.unwrap();
    assert_eq!(end.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_hundred_megabytes_is_taken() {
    let server = Server::start().await;
    let mut client = server.client().await;
    // What only its relays need is not decoded.
    let hosts = goal_state_v2::HostResourcesEntry {
        key: "x".repeat(100 << 20),
        ..Default::default()
    };
    let goal = GoalStateV2 {
        host_resources: vec![hosts],
        ..second_form([vpc("v", 7)])
    };
    let (goals, mut replies) = open(&mut client).await;
    goals.send(goal).await.unwrap();
    assert_eq!(next(&mut replies).await.operation_statuses.len(), 1);
}
