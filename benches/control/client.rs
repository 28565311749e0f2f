// SPDX-License-Identifier: MIT
//! A controller that sends messages as they are, and looks at replies later.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use prost::Message;
use prost::bytes::{Buf, BufMut};
use tokio_stream::{Stream, iter};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::proto::schema::{GoalStateOperationReply, OperationStatus, ResourceType};

const STREAM: &str = "/alcor.schema.GoalStateProvisioner/PushGoalStatesStream";
const UNARY: &str = "/alcor.schema.GoalStateProvisioner/PushNetworkResourceStates";

/// HTTP/2 flow control: what a controller on another machine would want too.
const WINDOW: u32 = 16 << 20;

/// Messages are bytes.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut reply = vec![0; from.remaining()];
        from.copy_to_slice(&mut reply);
        Ok(Some(reply))
    }
}

/// A controller's connection.
pub(crate) struct Client(Channel);

/// What came back, and how long it took.
pub(crate) struct Outcome {
    /// From the first message to the last reply.
    pub(crate) seconds: f64,
    replies: Vec<Vec<u8>>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let endpoint = (Endpoint::from_shared(format!("http://{to}")).unwrap())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        Self(endpoint.connect().await.unwrap())
    }

    async fn ready(&self) -> Grpc<Channel> {
        let mut client = Grpc::new(self.0.clone()).max_decoding_message_size(usize::MAX);
        client.ready().await.unwrap();
        client
    }

    /// Opens a PushGoalStatesStream.
    pub(crate) async fn open(
        &self,
        messages: impl Stream<Item = Vec<u8>> + Send + 'static,
    ) -> Streaming<Vec<u8>> {
        let path = PathAndQuery::from_static(STREAM);
        let mut call = self.ready().await;
        let reply = call.streaming(Request::new(messages), path, Raw).await;
        reply.unwrap().into_inner()
    }

    /// Sends all by one stream.
    pub(crate) async fn stream(&self, messages: Vec<Vec<u8>>) -> Outcome {
        let begun = Instant::now();
        let mut stream = self.open(iter(messages)).await;
        let mut replies = Vec::new();
        while let Some(reply) = stream.message().await.unwrap() {
            replies.push(reply);
        }
        Outcome {
            seconds: begun.elapsed().as_secs_f64(),
            replies,
        }
    }

    /// Sends one by PushNetworkResourceStates.
    pub(crate) async fn unary(&self, message: Vec<u8>) -> Vec<u8> {
        let path = PathAndQuery::from_static(UNARY);
        let mut call = self.ready().await;
        let reply = call.unary(Request::new(message), path, Raw).await;
        reply.unwrap().into_inner()
    }
}

impl Outcome {
    /// How many statuses there are of each kind and outcome.
    pub(crate) fn statuses(&self) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        for reply in &self.replies {
            let reply = GoalStateOperationReply::decode(reply.as_slice()).unwrap();
            for status in reply.operation_statuses {
                let kind = ResourceType::try_from(status.resource_type).unwrap();
                let outcome: OperationStatus = status.operation_status();
                let key = (
                    kind.as_str_name().to_owned(),
                    outcome.as_str_name().to_owned(),
                );
                *counts.entry(key).or_default() += 1;
            }
        }
        counts
    }
}
