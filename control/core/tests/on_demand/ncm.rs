// SPDX-License-Identifier: MIT
//! A network configuration manager: it pushes what it is asked for, then answers.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Endpoint;
use tonic::transport::server::{Connected, TcpIncoming};
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

/// When a question was read from its socket, and when the push that answers it began to be written to another.
pub(super) type Times = Arc<Mutex<HashMap<Ipv4Addr, [Instant; 2]>>>;

/// When a connection was last read from, and first written to since that was forgotten. The controller's own HTTP/2 is no part
/// of what the switch takes.
#[derive(Default)]
pub(super) struct Seen {
    read: Mutex<Option<Instant>>,
    written: Mutex<Option<Instant>>,
}

/// A connection that says when it is used.
struct Timed {
    stream: TcpStream,
    seen: Arc<Seen>,
}

/// Where a controller pushes.
#[derive(Clone)]
pub(super) struct Switch {
    client: Client,
    seen: Arc<Seen>,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Ncm {
    /// `None`: it knows nobody, and says so.
    pub(super) switch: Option<Switch>,
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

impl Connected for Timed {
    type ConnectInfo = Arc<Seen>;

    fn connect_info(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() {
            *self.seen.read.lock().unwrap() = Some(Instant::now());
        }
        polled
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut written = self.seen.written.lock().unwrap();
        written.get_or_insert_with(Instant::now); // before, since the switch may run while this does
        drop(written);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Switch {
    pub(super) async fn connect(to: SocketAddr) -> Self {
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        let connect = move |_| {
            let seen = Arc::clone(&shared);
            async move {
                let stream = TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
                Ok::<_, io::Error>(TokioIo::new(Timed { stream, seen }))
            }
        };
        let endpoint = Endpoint::from_static("http://switch");
        let channel = endpoint.connect_with_connector(tower::service_fn(connect));
        let client = Client::new(channel.await.unwrap());
        Self { client, seen }
    }
}

impl Ncm {
    /// Serves for the rest of the test; its address.
    pub(super) async fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let timed = |stream| Timed {
            stream,
            seen: Arc::default(),
        };
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .add_service(GoalStateProvisionerServer::new(self))
            .serve_with_incoming(incoming.map(move |stream| stream.map(timed)));
        tokio::spawn(server);
        address
    }

    async fn push(&self, switch: &Switch, asked: &[Ipv4Addr], received: Instant) {
        let message = second_form(asked.iter().copied().map(goal));
        *switch.seen.written.lock().unwrap() = None;
        let mut client = switch.client.clone();
        let stream = client.push_goal_states_stream(tokio_stream::once(message));
        let mut replies = stream.await.unwrap().into_inner();
        while replies.message().await.unwrap().is_some() {}
        let pushed = switch.seen.written.lock().unwrap().unwrap();
        let times = asked.iter().map(|ip| (*ip, [received, pushed]));
        self.times.lock().unwrap().extend(times);
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
        let seen = request.extensions().get::<Arc<Seen>>().unwrap();
        let received = seen.read.lock().unwrap().unwrap();
        let requests = request.into_inner().state_requests;
        let on_demand =
            |request: &&ResourceStateRequest| request.request_type() == RequestType::OnDemand;
        let asked: Vec<Ipv4Addr> = requests
            .iter()
            .filter(on_demand)
            .map(|request| request.destination_ip.parse().unwrap())
            .collect();
        let status = match &self.switch {
            Some(switch) if !asked.is_empty() => {
                self.push(switch, &asked, received).await;
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
