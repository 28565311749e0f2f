// SPDX-License-Identifier: MIT
//! Neighbors that move to another host, one by one, among all the others.

use std::time::{Duration, Instant};

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::Client;
use crate::proto::schema::goal_state_v2::NeighborStatesEntry;
use crate::proto::schema::{
    GoalState, GoalStateOperationReply, GoalStateV2, NeighborState, OperationStatus,
};
use crate::switch::Switch;
use crate::{HOSTS, Line};

/// How they are told.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// A PushNetworkResourceStates each.
    Unary,
    /// A message each of one PushGoalStatesStream.
    Stream,
}

/// A neighbor of each of so many places in `messages`, spread over them.
pub(crate) fn moves(messages: &[Vec<u8>], count: usize) -> Vec<NeighborState> {
    let per_message = count.div_ceil(messages.len());
    let states = messages.iter().flat_map(|message| {
        let goal = GoalStateV2::decode(message.as_slice()).unwrap();
        let step = (goal.neighbor_states.len() / per_message).max(1);
        let entries = goal
            .neighbor_states
            .into_iter()
            .step_by(step)
            .take(per_message);
        entries.map(|entry| entry.value.unwrap())
    });
    states.take(count).collect()
}

/// Moves each to another host, waiting for the reply before the next goes.
pub(crate) async fn measure(
    switch: &Switch,
    client: &Client,
    moves: &[NeighborState],
    call: Call,
) -> Line {
    // Other hosts than the one before, for each call.
    let host = |n: usize| match call {
        Call::Unary => n,
        Call::Stream => n + HOSTS as usize / 2,
    };
    let states = moves.iter().enumerate().map(|(n, state)| {
        let mut state = state.clone();
        let last = 2 + host(n) % (HOSTS as usize - 1);
        let configuration = state.configuration.as_mut().unwrap();
        configuration.host_ip_address = format!("192.0.2.{last}");
        state
    });
    let cpu = switch.cpu();
    let (name, mut took) = match call {
        Call::Unary => ("unary", unary(client, states.map(v1).collect()).await),
        Call::Stream => ("stream", stream(client, states.map(v2).collect()).await),
    };
    let cpu = switch.cpu() - cpu;
    took.sort();
    let percentile = |share: usize| took[(took.len() - 1) * share / 100].as_micros();
    let mut line = Line::default();
    line.add("update", name);
    line.add("updates", took.len());
    line.add("p50_us", percentile(50));
    line.add("p99_us", percentile(99));
    line.add("switch_cpu_us", cpu.as_micros() / took.len() as u128);
    line.add("lost", switch.lost().await);
    line
}

async fn unary(client: &Client, messages: Vec<Vec<u8>>) -> Vec<Duration> {
    let mut took = Vec::new();
    for message in messages {
        let begun = Instant::now();
        let reply = client.unary(message).await;
        took.push(begun.elapsed());
        assert_success(&reply);
    }
    took
}

async fn stream(client: &Client, messages: Vec<Vec<u8>>) -> Vec<Duration> {
    let (queue, waiting) = mpsc::channel(1);
    let mut replies = client.open(ReceiverStream::new(waiting)).await;
    let mut took = Vec::new();
    for message in messages {
        let begun = Instant::now();
        queue.send(message).await.unwrap();
        let reply = replies.message().await.unwrap().unwrap();
        took.push(begun.elapsed());
        assert_success(&reply);
    }
    took
}

fn assert_success(reply: &[u8]) {
    let reply = GoalStateOperationReply::decode(reply).unwrap();
    let [status] = &reply.operation_statuses[..] else {
        panic!("{} answers to one neighbor", reply.operation_statuses.len())
    };
    assert_eq!(status.operation_status(), OperationStatus::Success);
}

fn v1(state: NeighborState) -> Vec<u8> {
    GoalState {
        format_version: 101,
        neighbor_states: vec![state],
        ..Default::default()
    }
    .encode_to_vec()
}

fn v2(state: NeighborState) -> Vec<u8> {
    GoalStateV2 {
        format_version: 102,
        neighbor_states: vec![NeighborStatesEntry {
            key: "L2/moved".to_owned(),
            value: Some(state),
        }],
        ..Default::default()
    }
    .encode_to_vec()
}
