// SPDX-License-Identifier: MIT
//! A network configuration manager: it pushes what it is asked for, then answers.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::super::goal::{State, neighbor};
use super::super::grpc::{Client, second_form};
use crate::proto::schema::NeighborType::L2;
use crate::proto::schema::goal_state_provisioner_server::{
    GoalStateProvisioner, GoalStateProvisionerServer,
};
use crate::proto::schema::host_request::ResourceStateRequest;
use crate::proto::schema::host_request_reply::HostRequestOperationStatus;
use crate::proto::schema::*;

/// When a question came, and when the push that answers it left.
pub(super) type Times = Arc<Mutex<HashMap<Ipv4Addr, [Instant; 2]>>>;

/// See the module.
#[derive(Clone)]
pub(super) struct Ncm {
    /// Where it pushes; `None`: it knows nobody, and says so.
    pub(super) switch: Option<Client>,
    pub(super) times: Times,
    /// Questions that it answered.
    pub(super) answered: Arc<AtomicU64>,
}

/// The MAC of an address.
pub(super) fn mac(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [2, 0, a, b, c, d]
}

fn goal(ip: Ipv4Addr) -> State {
    let mac = mac(ip).map(|byte| format!("{byte:02x}")).join(":");
    neighbor(&ip.to_string(), L2, &mac, "s", &ip.to_string(), 9)
}

impl Ncm {
    /// Serves for the rest of the test; its address.
    pub(super) async fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(GoalStateProvisionerServer::new(self))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
        tokio::spawn(server);
        address
    }

    async fn push(&self, client: &Client, asked: &[Ipv4Addr], received: Instant) {
        let message = second_form(asked.iter().copied().map(goal));
        let pushed = Instant::now();
        let times = asked.iter().map(|ip| (*ip, [received, pushed]));
        self.times.lock().unwrap().extend(times);
        let mut client = client.clone();
        let stream = client.push_goal_states_stream(tokio_stream::once(message));
        let mut replies = stream.await.unwrap().into_inner();
        while replies.message().await.unwrap().is_some() {}
    }
}

#[tonic::async_trait]
impl GoalStateProvisioner for Ncm {
    type PushGoalStatesStreamStream =
        Pin<Box<dyn Stream<Item = Result<GoalStateOperationReply, Status>> + Send>>;

    async fn request_goal_states(
        &self,
        request: Request<HostRequest>,
    ) -> Result<Response<HostRequestReply>, Status> {
        let received = Instant::now();
        let requests = request.into_inner().state_requests;
        let on_demand =
            |request: &&ResourceStateRequest| request.request_type() == RequestType::OnDemand;
        let asked: Vec<Ipv4Addr> = requests
            .iter()
            .filter(on_demand)
            .map(|request| request.destination_ip.parse().unwrap())
            .collect();
        let status = match &self.switch {
            Some(client) if !asked.is_empty() => {
                self.push(client, &asked, received).await;
                OperationStatus::Success
            }
            _ => OperationStatus::Failure,
        };
        self.answered.fetch_add(asked.len() as u64, Relaxed);
        let statuses = requests
            .into_iter()
            .map(|request| HostRequestOperationStatus {
                request_id: request.request_id,
                operation_status: status.into(),
            });
        Ok(Response::new(HostRequestReply {
            format_version: 1,
            operation_statuses: statuses.collect(),
            total_operation_time: 0,
        }))
    }

    async fn push_network_resource_states(
        &self,
        _: Request<GoalState>,
    ) -> Result<Response<GoalStateOperationReply>, Status> {
        Err(Status::unimplemented("no switch"))
    }

    async fn push_goal_states_stream(
        &self,
        _: Request<Streaming<GoalStateV2>>,
    ) -> Result<Response<Self::PushGoalStatesStreamStream>, Status> {
        Err(Status::unimplemented("no switch"))
    }

    async fn push_goalstates(
        &self,
        _: Request<NeighborRulesRequest>,
    ) -> Result<Response<GoalStateOperationReply>, Status> {
        Err(Status::unimplemented("no gateway"))
    }
}
