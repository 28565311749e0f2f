// SPDX-License-Identifier: MIT
//! `push`, against a server of Alcor's service that answers each resource as its id says.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::thread::JoinHandle;

use prost::Message;
use tokio::sync::oneshot;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::goals::{V1, V2};
use super::streams;
use crate::cli::goal::parse_goal;
use crate::cli::{PushArgs, Rpc, TlsArgs, push};
use crate::core::Goal;
use crate::proto::schema::goal_state_operation_reply::GoalStateOperationStatus;
use crate::proto::schema::goal_state_provisioner_server::{
    GoalStateProvisioner, GoalStateProvisionerServer,
};
use crate::proto::schema::*;

struct Host;

fn status(
    id: &str,
    resource_type: ResourceType,
    operation_type: i32,
) -> Option<GoalStateOperationStatus> {
    let operation_status = match id {
        "silent" => return None,
        "late" => OperationStatus::Pending,
        "wrong" => OperationStatus::InvalidArg,
        _ => OperationStatus::Success,
    };
    Some(GoalStateOperationStatus {
        resource_id: id.to_owned(),
        resource_type: resource_type.into(),
        operation_type,
        operation_status: operation_status.into(),
        state_elapse_time: 7,
        ..Default::default()
    })
}

fn reply(operation_statuses: Vec<GoalStateOperationStatus>) -> GoalStateOperationReply {
    GoalStateOperationReply {
        operation_statuses,
        message_total_operation_time: 1500,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl GoalStateProvisioner for Host {
    type PushGoalStatesStreamStream =
        Pin<Box<dyn Stream<Item = Result<GoalStateOperationReply, Status>> + Send>>;

    async fn push_network_resource_states(
        &self,
        request: Request<GoalState>,
    ) -> Result<Response<GoalStateOperationReply>, Status> {
        let goal = request.into_inner();
        let id = |id: Option<String>| id.unwrap_or_default();
        let vpcs = goal.vpc_states.iter().filter_map(|state| {
            status(
                &id(state.configuration.clone().map(|c| c.id)),
                ResourceType::Vpc,
                state.operation_type,
            )
        });
        let subnets = goal.subnet_states.iter().filter_map(|state| {
            status(
                &id(state.configuration.clone().map(|c| c.id)),
                ResourceType::Subnet,
                state.operation_type,
            )
        });
        Ok(Response::new(reply(vpcs.chain(subnets).collect())))
    }

    async fn push_goal_states_stream(
        &self,
        request: Request<Streaming<GoalStateV2>>,
    ) -> Result<Response<Self::PushGoalStatesStreamStream>, Status> {
        Ok(Response::new(Box::pin(request.into_inner().map(answer))))
    }

    async fn request_goal_states(
        &self,
        _: Request<HostRequest>,
    ) -> Result<Response<HostRequestReply>, Status> {
        Err(Status::unimplemented("for the controller"))
    }

    async fn push_goalstates(
        &self,
        _: Request<NeighborRulesRequest>,
    ) -> Result<Response<GoalStateOperationReply>, Status> {
        Err(Status::unimplemented("for gateways"))
    }
}

fn answer(goal: Result<GoalStateV2, Status>) -> Result<GoalStateOperationReply, Status> {
    let goal = goal?;
    if goal.format_version == 99 {
        return Err(Status::resource_exhausted("too large"));
    }
    let states = goal
        .neighbor_states
        .iter()
        .filter_map(|entry| entry.value.as_ref());
    let statuses = states.filter_map(|state| {
        let id = state
            .configuration
            .clone()
            .map(|c| c.id)
            .unwrap_or_default();
        status(&id, ResourceType::Neighbor, state.operation_type)
    });
    Ok(reply(statuses.collect()))
}

struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                let server = tonic::transport::Server::builder()
                    .add_service(GoalStateProvisionerServer::new(Host));
                let stopped = async {
                    let _ = stopped.await;
                };
                server
                    .serve_with_incoming_shutdown(incoming, stopped)
                    .await
                    .unwrap();
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn args(file: PathBuf, to: String) -> PushArgs {
    PushArgs {
        tls: TlsArgs::default(),
        files: vec![file],
        dry_run: false,
        socket: None,
        to,
        rpc: None,
        quiet: false,
        json: false,
        timeout: 10,
    }
}

/// Pushes `text` with `alkaid push`: status, stdout, stderr.
fn push(text: &str, change: impl FnOnce(&mut PushArgs)) -> (u8, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("g.json");
    fs::write(&file, text).unwrap();
    let server = Server::start();
    let mut args = args(file, server.address.to_string());
    change(&mut args);
    let (mut streams, out, err) = streams();
    let status = push::run(&args, &mut streams);
    (status, out.take(), err.take())
}

#[test]
fn a_v1_goal_state_goes_by_the_unary_call() {
    let (status, out, err) = push(V1, |_| ());
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "type    id  operation  status   us\nVPC     v   CREATE     SUCCESS   7\nSUBNET  s   INFO       SUCCESS   7\n\
         2 of 2 resources SUCCESS, 1.5 ms in the switch\n"
    );
}

#[test]
fn a_v2_goal_state_goes_by_the_stream() {
    let (status, out, err) = push(V2, |_| ());
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("NEIGHBOR  n   INFO       SUCCESS"), "{out}");
}

/// Pushes a folder of these files: status, stdout, stderr.
fn push_folder(files: &[(&str, &[u8])]) -> (u8, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let server = Server::start();
    let (mut streams, out, err) = streams();
    let args = args(folder.path().to_owned(), server.address.to_string());
    let status = push::run(&args, &mut streams);
    (status, out.take(), err.take())
}

fn binary(text: &str) -> Vec<u8> {
    match parse_goal(Path::new("g"), text, None).unwrap() {
        Goal::V1(goal) => goal.encode_to_vec(),
        Goal::V2(goal) => goal.encode_to_vec(),
    }
}

#[test]
fn the_files_of_a_folder_go_in_the_order_of_their_names() {
    let (one, two) = (
        binary(V2),
        binary(&V2.replace("\"id\": \"n\"", "\"id\": \"m\"")),
    );
    let files: [(&str, &[u8]); 4] = [
        ("2.v2.pb", &two),
        ("1.v2.pb", &one),
        ("3.json", V2.as_bytes()),
        ("manifest.txt", b"not this one"),
    ];
    let (status, out, err) = push_folder(&files);
    assert_eq!((status, err.as_str()), (0, ""));
    let ids: Vec<&str> = (out.lines().filter(|line| line.starts_with("NEIGHBOR")))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(ids, ["n", "m", "n"]);
    assert!(
        out.ends_with("3 of 3 resources SUCCESS, 4.5 ms in the switch\n"),
        "{out}"
    );
    let one = binary(V1);
    let (status, out, _) = push_folder(&[("1.v1.pb", &one), ("2.v1.pb", &one)]);
    assert_eq!((status, out.matches("SUBNET").count()), (0, 2), "{out}");
}

#[test]
fn a_folder_that_cannot_be_pushed_is_status_2() {
    let (one, two) = (binary(V1), binary(V2));
    for (files, expected) in [
        (vec![], "there is no file *.pb or *.json in "),
        (vec![("1.v2.pb", &b"\xff"[..])], "1.v2.pb: no goal state: "),
        (
            vec![("1.v2.pb", &two[..]), ("2.v2.pb", b"\xff")],
            "2.v2.pb: no goal state: ",
        ),
        (
            vec![("1.v2.pb", &two[..]), ("2.v1.pb", &one[..])],
            "2.v1.pb is of another form",
        ),
        (
            vec![("1.v1.pb", &one[..]), ("2.v2.pb", &two[..])],
            "2.v2.pb is of another form",
        ),
    ] {
        let (status, _, err) = push_folder(&files);
        assert!(status == 2 && err.contains(expected), "{err}");
    }
}

#[test]
fn anything_but_success_is_status_1() {
    let text = V1.replace("\"id\": \"v\"", "\"id\": \"late\"");
    let (status, out, _) = push(&text, |_| ());
    assert_eq!(status, 1);
    assert!(
        out.contains("PENDING") && out.contains("1 of 2 resources SUCCESS"),
        "{out}"
    );
    let (status, out, _) = push(&text, |args| args.quiet = true);
    assert_eq!((status, out.contains("SUBNET")), (1, false));
    let (status, out, _) = push(&text, |args| args.json = true);
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (status, rows[0]["status"].as_str(), rows[1]["us"].as_u64()),
        (1, Some("PENDING"), Some(7))
    );
}

#[test]
fn a_resource_without_a_status_is_status_1() {
    let (status, _, err) = push(&V1.replace("\"id\": \"v\"", "\"id\": \"silent\""), |_| ());
    assert_eq!(
        (status, err.as_str()),
        (
            1,
            "alkaid: 2 resources were sent, and only 1 statuses came back\n"
        )
    );
}

#[test]
fn what_cannot_be_tried_is_status_2() {
    let (status, _, err) = push("{\"vpc_states\": [{\"x\": 1}]}", |_| ());
    assert_eq!(status, 2);
    assert!(
        err.contains("g.json:1:") && err.contains("vpc_states[0].x"),
        "{err}"
    );
    let (status, _, err) = push(V1, |args| args.rpc = Some(Rpc::V2));
    assert!(
        status == 2 && err.contains("vpc_states[0]: ") && err.contains("expected a map"),
        "{err}"
    );
    let (status, _, err) = push(V1, |args| args.to = "nowhere".into());
    assert_eq!(
        (status, err.as_str()),
        (2, "alkaid: `nowhere` is not ADDR:PORT\n")
    );
    let (status, _, err) = push(V1, |args| args.to = "127.0.0.1:1".into());
    assert!(
        status == 2 && err.contains("cannot connect to 127.0.0.1:1: Connection refused"),
        "{err}"
    );
    let (status, _, err) = push(&V2.replace("102", "99"), |_| ());
    assert!(
        status == 2 && err.contains("refused the call") && err.contains("too large"),
        "{err}"
    );
}

#[test]
fn an_empty_goal_state_is_a_success() {
    let (status, out, _) = push("{}", |_| ());
    assert_eq!(
        (status, out.as_str()),
        (0, "0 of 0 resources SUCCESS, 1.5 ms in the switch\n")
    );
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for_long() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("g.json");
    fs::write(&file, V1).unwrap();
    let mut args = args(file, silent.local_addr().unwrap().to_string());
    args.timeout = 1;
    let (mut streams, _, err) = streams();
    assert_eq!(push::run(&args, &mut streams), 2);
    assert!(err.take().contains("did not answer within 1 s"));
}
