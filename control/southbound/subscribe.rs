// SPDX-License-Identifier: MIT
//! Subscriptions: the controller says which topics of a message queue this host should listen to.
//!
//! No message queue is read; what was said is recorded for operators, and answered, so that a controller which
//! chooses the queue for a large VPC goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::field::Quote;
use crate::proto::schema::subscribe_info_provisioner_server::{
    SubscribeInfoProvisioner, SubscribeInfoProvisionerServer,
};
use crate::proto::schema::{
    NodeSubscribeInfo, OperationStatus, SubscribeOperation, SubscribeOperationReply,
};

/// Most subscriptions: a host has a few per VPC.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 10_000;

/// Longest topic and longest key, in bytes; Pulsar's own topics are shorter.
pub(crate) const MAX_LENGTH: usize = 1024;

/// Largest message, in bytes: what is too long is answered in words, what is far too long is not read.
const MAX_REQUEST: usize = 1 << 20;

/// Why a subscription is not recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// No topic.
    #[error("the topic is empty")]
    NoTopic,
    /// Topic or key.
    #[error("a topic or key is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// Too many.
    #[error("there are {MAX_SUBSCRIPTIONS} subscriptions already")]
    TooMany,
    /// Neither Subscribe nor Unsubscribe.
    #[error("the operation {0} is unknown")]
    Operation(i32),
}

/// The topics and keys that the controller subscribed this host to.
#[derive(Default)]
pub(crate) struct Subscriptions(Mutex<BTreeMap<(String, String), Since>>);

struct Since {
    when: Instant,
    from: String,
}

impl Subscriptions {
    /// Does what the message says. Said twice, it changes nothing but who said it last, and when.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) fn take(&self, info: NodeSubscribeInfo, from: String) -> Result<(), Refused> {
        let operation = SubscribeOperation::try_from(info.subscribe_operation)
            .map_err(|_| Refused::Operation(info.subscribe_operation))?;
        let NodeSubscribeInfo { topic, key, .. } = info;
        if topic.is_empty() {
            return Err(Refused::NoTopic);
        }
        if topic.len() > MAX_LENGTH || key.len() > MAX_LENGTH {
            return Err(Refused::TooLong);
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (topic, key);
        match operation {
            SubscribeOperation::Unsubscribe => drop(all.remove(&id)),
            SubscribeOperation::Subscribe => {
                if all.len() >= MAX_SUBSCRIPTIONS && !all.contains_key(&id) {
                    return Err(Refused::TooMany);
                }
                let when = Instant::now();
                all.insert(id, Since { when, from });
            }
        }
        Ok(())
    }

    /// All, in the order of their topics.
    pub(crate) fn rows(&self) -> Value {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |((topic, key), since): (&(String, String), &Since)| {
            json!({
                "topic": topic,
                "key": key,
                "operation": SubscribeOperation::Subscribe.as_str_name(),
                "seconds_ago": since.when.elapsed().as_secs(),
                "from": since.from,
            })
        };
        all.iter().map(row).collect()
    }
}

/// The service, recording in `subscriptions`.
pub(crate) fn routes(subscriptions: Arc<Subscriptions>) -> Routes {
    let service = SubscribeInfoProvisionerServer::new(Service(subscriptions));
    Routes::new(service.max_decoding_message_size(MAX_REQUEST))
}

struct Service(Arc<Subscriptions>);

#[tonic::async_trait]
impl SubscribeInfoProvisioner for Service {
    async fn push_node_subscribe_info(
        &self,
        request: Request<NodeSubscribeInfo>,
    ) -> Result<Response<SubscribeOperationReply>, Status> {
        let from = request.remote_addr().as_ref().map(SocketAddr::to_string);
        let from = from.unwrap_or_else(|| "unknown".to_owned());
        let info = request.into_inner();
        let said = format!(
            "{} to topic {} key {} from {from}",
            info.subscribe_operation().as_str_name(),
            Quote(&info.topic),
            Quote(&info.key),
        );
        let status = match self.0.take(info, from) {
            Ok(()) => {
                tracing::info!("{said}");
                OperationStatus::Success
            }
            Err(refused) => {
                tracing::warn!("{said}: INVALID_ARG: {refused}");
                OperationStatus::InvalidArg
            }
        };
        Ok(Response::new(SubscribeOperationReply {
            operation_status: status as i32,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(operation: i32, topic: &str, key: &str) -> NodeSubscribeInfo {
        NodeSubscribeInfo {
            subscribe_operation: operation,
            topic: topic.to_owned(),
            key: key.to_owned(),
        }
    }

    fn topics(subscriptions: &Subscriptions) -> Vec<String> {
        let rows = subscriptions.rows();
        let text = |row: &Value| format!("{}/{}", row["topic"], row["key"]).replace('"', "");
        rows.as_array().unwrap().iter().map(text).collect()
    }

    #[test]
    fn a_subscription_is_recorded_until_it_is_taken_back() {
        let all = Subscriptions::default();
        let take = |operation, topic, key| all.take(info(operation, topic, key), "peer".into());
        assert_eq!(take(0, "vpc-1", "host"), Ok(()));
        assert_eq!(take(0, "vpc-1", "host"), Ok(()));
        assert_eq!(take(0, "vpc-1", ""), Ok(()));
        assert_eq!(topics(&all), ["vpc-1/", "vpc-1/host"]);
        assert_eq!(all.rows()[0]["from"], "peer");
        assert_eq!(take(1, "vpc-1", "host"), Ok(()));
        assert_eq!(take(1, "vpc-9", "host"), Ok(()));
        assert_eq!(topics(&all), ["vpc-1/"]);
    }

    #[test]
    fn what_cannot_be_recorded_is_refused_and_changes_nothing() {
        let all = Subscriptions::default();
        let take = |operation, topic: &str, key: &str| {
            all.take(info(operation, topic, key), String::new())
        };
        let long = "x".repeat(MAX_LENGTH + 1);
        assert_eq!(take(0, "", "key"), Err(Refused::NoTopic));
        assert_eq!(take(0, &long, ""), Err(Refused::TooLong));
        assert_eq!(take(0, "topic", &long), Err(Refused::TooLong));
        assert_eq!(take(7, "topic", ""), Err(Refused::Operation(7)));
        assert!(topics(&all).is_empty());
    }

    #[test]
    fn their_number_is_bounded() {
        let all = Subscriptions::default();
        let take = |operation, topic: usize| {
            all.take(info(operation, &topic.to_string(), ""), String::new())
        };
        assert!((0..MAX_SUBSCRIPTIONS).all(|topic| take(0, topic) == Ok(())));
        assert_eq!(take(0, MAX_SUBSCRIPTIONS), Err(Refused::TooMany));
        assert_eq!(take(0, 0), Ok(())); // it is there already
        assert_eq!(take(1, 0), Ok(()));
        assert_eq!(take(0, MAX_SUBSCRIPTIONS), Ok(()));
    }
}
