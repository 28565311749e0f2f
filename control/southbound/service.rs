// SPDX-License-Identifier: MIT
//! The gRPC service that a controller programs this switch by.
//!
//! What its clients make of errors decides how they are reported: a wrong resource is a status in the
//! reply, never a gRPC error, which would stall the controller for minutes. gRPC errors are left for what
//! is no message at all.

use std::net::SocketAddr;
use std::pin::Pin;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::decode::{Encoded, Form};
use super::reply;
use crate::core::{CoreHandle, Gone, NotApplied};
use crate::proto::Raw;
use crate::proto::schema::{
    GoalStateOperationReply, HostRequest, HostRequestReply, NeighborRulesRequest,
};
use crate::proto::served::goal_state_provisioner_server::{
    GoalStateProvisioner, GoalStateProvisionerServer,
};

/// Largest message accepted: what gRPC can count, as Alcor's own agent does.
const MAX_REQUEST: usize = i32::MAX as usize;

/// Messages of one stream that wait behind the one that is being applied, and replies that wait for a slow client;
/// beyond, the stream is not read. One is enough to keep all busy: more of them only fill more memory, and the caches.
const IN_FLIGHT: usize = 1;

/// The service, over the control thread that `core` leads to.
pub(crate) fn routes(core: CoreHandle) -> Routes {
    let service = GoalStateProvisionerServer::new(Southbound { core });
    Routes::new(service.max_decoding_message_size(MAX_REQUEST))
}

/// The service: passes messages on, and replies back.
struct Southbound {
    core: CoreHandle,
}

#[tonic::async_trait]
impl GoalStateProvisioner for Southbound {
    type PushGoalStatesStreamStream =
        Pin<Box<dyn Stream<Item = Result<GoalStateOperationReply, Status>> + Send>>;

    async fn push_network_resource_states(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<GoalStateOperationReply>, Status> {
        let source = source(request.remote_addr());
        let Raw(bytes) = request.into_inner();
        let form = Form::V1;
        let reply = self.core.apply(source.clone(), Encoded { form, bytes });
        let reply = reply.await.map_err(not_applied)?;
        let (reply, left_out) = reply::shorten(reply);
        if left_out > 0 {
            tracing::warn!(
                source,
                left_out,
                "the reply was too large for one message: statuses are left out of it, of successes first"
            );
        }
        Ok(Response::new(reply))
    }

    async fn push_goal_states_stream(
        &self,
        request: Request<Streaming<Raw>>,
    ) -> Result<Response<Self::PushGoalStatesStreamStream>, Status> {
        let source = source(request.remote_addr());
        let (replies, stream) = mpsc::channel(IN_FLIGHT);
        tokio::spawn(take_each(
            self.core.clone(),
            source,
            request.into_inner(),
            replies,
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn request_goal_states(
        &self,
        _: Request<HostRequest>,
    ) -> Result<Response<HostRequestReply>, Status> {
        Err(Status::unimplemented(
            "a controller serves RequestGoalStates; this is a switch",
        ))
    }

    async fn push_goalstates(
        &self,
        _: Request<NeighborRulesRequest>,
    ) -> Result<Response<GoalStateOperationReply>, Status> {
        Err(Status::unimplemented(
            "a gateway serves PushGoalstates; this is a switch",
        ))
    }
}

/// Takes every message of a stream in turn: the next is read and validated while the one before is applied. Ends with the first that
/// is none.
async fn take_each(
    core: CoreHandle,
    source: String,
    mut goals: Streaming<Raw>,
    replies: mpsc::Sender<Result<GoalStateOperationReply, Status>>,
) {
    let (begun, in_order) = mpsc::channel(IN_FLIGHT);
    tokio::spawn(answer_each(in_order, replies));
    loop {
        let reply = match goals.message().await {
            Ok(Some(Raw(bytes))) => {
                let form = Form::V2;
                let submitted = core.submit(source.clone(), Encoded { form, bytes }).await;
                submitted.map_err(not_applied)
            }
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(source, %status, "goal state stream broke");
                Err(status)
            }
        };
        let is_last = reply.is_err();
        // Without a client, too, what it sent is applied.
        if begun.send(reply).await.is_err() || is_last {
            return;
        }
    }
}

/// Answers every message as soon as it is applied: controllers open streams that they never close, and wait. What ends the stream is
/// said in its turn, behind the answers to what came before.
async fn answer_each(
    mut in_order: mpsc::Receiver<Result<oneshot::Receiver<GoalStateOperationReply>, Status>>,
    replies: mpsc::Sender<Result<GoalStateOperationReply, Status>>,
) {
    while let Some(begun) = in_order.recv().await {
        let parts = match begun {
            Ok(reply) => match reply.await {
                Ok(reply) => reply::split(reply).into_iter().map(Ok).collect(),
                Err(_) => vec![Err(not_applied(Gone.into()))],
            },
            Err(status) => vec![Err(status)],
        };
        for part in parts {
            if replies.send(part).await.is_err() {
                return;
            }
        }
    }
}

fn source(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())
}

fn not_applied(error: NotApplied) -> Status {
    match error {
        NotApplied::Malformed(malformed) => Status::invalid_argument(malformed.to_string()),
        NotApplied::Gone(gone) => Status::unavailable(gone.to_string()),
    }
}
