// SPDX-License-Identifier: MIT
//! Serves the local socket.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

use super::api::control_server::{Control, ControlServer};
use super::api::{CaptureReply, CaptureRequest};
use super::api::{ExecuteReply, ExecuteRequest, ExplainReply, ExplainRequest};
use super::api::{GoalStatePart, GoalStateRequest, SampleReply, SampleRequest};
use super::{ExecError, Executor, Output, Socket, capture, explain, goal_state};
use crate::config::error::{ConfigError, ConfigErrors, Fault};
use crate::config::help::help;
use crate::config::line::Place;
use crate::config::settings::Conflict;
use crate::config::table::{When, when};
use crate::config::{Command, Line, parse_text};

/// Largest request, in bytes: the longest frame and some more, and a line of [`crate::config::lexer::MAX_LINE`] that is
/// refused in words.
const MAX_REQUEST: usize = 128 << 10;

/// Largest answer, in bytes. Rows of a million neighbors are some 200 MB.
pub(crate) const MAX_REPLY: usize = 1 << 30;

/// How long open requests may go on after the end was called.
const GRACE: Duration = Duration::from_secs(2);

/// Why the local socket is served no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The socket cannot be polled.
    #[error("cannot poll the local socket: {0}")]
    Poll(std::io::Error),
    /// It fails.
    #[error("the local socket fails: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Serves commands on `socket` until `shutdown` is ready, then removes the socket. To be called inside a runtime.
///
/// # Errors
/// The socket cannot be served at all. A client that misbehaves is no error.
pub(crate) async fn serve<E: Executor>(
    socket: Socket,
    executor: Arc<E>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let listener = socket.listener().map_err(ServeError::Poll)?;
    let (stop, mut stopped) = watch::channel(false);
    let work = Arc::new(Work {
        executor,
        turn: Mutex::new(()),
        ends: stopped.clone(),
    });
    let service = ControlServer::new(Service(work))
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_REPLY);
    let mut server = pin!(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
                let _ = stopped.wait_for(|ends| *ends).await;
            })
    );
    tokio::select! {
        served = &mut server => served?,
        () = shutdown => {
            let _ = stop.send(true);
            if let Ok(served) = tokio::time::timeout(GRACE, server).await {
                served?;
            }
        }
    }
    Ok(())
}

struct Work<E> {
    executor: Arc<E>,
    /// Held while a command other than `show` is executed: what several clients want does not mix.
    turn: Mutex<()>,
    /// The end was called.
    ends: watch::Receiver<bool>,
}

struct Service<E>(Arc<Work<E>>);

/// Why a request was not, or not wholly, executed.
#[derive(Debug)]
enum Refusal {
    /// It is no command, or not one for a running switch. Nothing was executed.
    Usage(String),
    /// A command failed.
    Failed(String),
}

#[tonic::async_trait]
impl<E: Executor> Control for Service<E> {
    type GoalStateStream = ReceiverStream<Result<GoalStatePart, Status>>;
    type CaptureStream = ReceiverStream<Result<CaptureReply, Status>>;

    async fn capture(
        &self,
        request: Request<CaptureRequest>,
    ) -> Result<Response<Self::CaptureStream>, Status> {
        let (work, request) = (&self.0, request.into_inner());
        let frames = capture::frames(&work.executor, &request, work.ends.clone())?;
        Ok(Response::new(ReceiverStream::new(frames)))
    }

    async fn goal_state(
        &self,
        _: Request<GoalStateRequest>,
    ) -> Result<Response<Self::GoalStateStream>, Status> {
        let parts = goal_state::parts(Arc::clone(&self.0.executor));
        Ok(Response::new(ReceiverStream::new(parts)))
    }

    async fn sample(&self, _: Request<SampleRequest>) -> Result<Response<SampleReply>, Status> {
        Ok(Response::new(self.0.executor.sample().await))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainReply>, Status> {
        let reply = explain::reply(&self.0.executor, request.into_inner()).await;
        Ok(Response::new(reply))
    }

    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteReply>, Status> {
        let work = Arc::clone(&self.0);
        let command = request.into_inner().command;
        // In a task of its own: a client that goes away must not leave a command half done.
        let done = tokio::spawn(async move { work.run(&command).await }).await;
        let done = done.map_err(|error| Status::internal(error.to_string()))?;
        let pid = std::process::id();
        let reply = |ok, usage, text, json| ExecuteReply {
            ok,
            text,
            json,
            pid,
            usage,
        };
        Ok(Response::new(match done {
            Ok(Output::Done) => reply(true, false, String::new(), String::new()),
            Ok(Output::Text(text)) => reply(true, false, text, String::new()),
            Ok(Output::Rows(rows)) => reply(true, false, String::new(), rows.to_string()),
            Err(Refusal::Usage(text)) => reply(false, true, text, String::new()),
            Err(Refusal::Failed(text)) => reply(false, false, text, String::new()),
        }))
    }
}

impl<E: Executor> Work<E> {
    /// Executes one line, which may `load` many.
    async fn run(&self, line: &str) -> Result<Output, Refusal> {
        let commands = read(line.to_owned()).await?;
        match commands.as_slice() {
            [] => Ok(Output::Done),
            [(_, Command::Help(topic))] => help(topic)
                .map(Output::Text)
                .map_err(|error| Refusal::Usage(error.to_string())),
            [(_, command @ Command::Show(_))] => {
                self.executor.execute(command.clone()).await.map_err(failed)
            }
            [(line, command)] if line.source_name() == NAME => {
                let _turn = self.turn.lock().await;
                self.executor.execute(command.clone()).await.map_err(failed)
            }
            commands => {
                let _turn = self.turn.lock().await;
                self.each(commands).await
            }
        }
    }

    /// Executes the commands of a file. The first that fails ends it.
    async fn each(&self, commands: &[(Line, Command)]) -> Result<Output, Refusal> {
        let mut text = String::new();
        for (i, (line, command)) in commands.iter().enumerate() {
            let done = match command {
                Command::Help(topic) => Ok(Output::Text(help(topic).unwrap_or_default())),
                command => self.executor.execute(command.clone()).await,
            };
            match done {
                Ok(Output::Done) => {}
                Ok(Output::Text(more)) => text.push_str(&more),
                Ok(Output::Rows(rows)) => text.push_str(&super::render::table(&rows)),
                Err(error) => {
                    let place = Place::whole(line);
                    let rest = commands.len() - i - 1;
                    text.push_str(&format!(
                        "{place}: `{command}`: {error}\n{i} commands were executed, {rest} after it were not"
                    ));
                    return Err(Refusal::Failed(text));
                }
            }
        }
        text.push_str(&format!("{} commands executed\n", commands.len()));
        Ok(Output::Text(text))
    }
}

/// What errors call the line that a client sent.
const NAME: &str = "command";

/// The commands that `line` stands for, all of which are for a running switch.
async fn read(line: String) -> Result<Vec<(Line, Command)>, Refusal> {
    // Reads files, if it is a `load`.
    let commands = tokio::task::spawn_blocking(move || parse_text(NAME, &line)).await;
    let commands = commands.map_err(|error| Refusal::Failed(error.to_string()))?;
    let commands = commands.map_err(|errors| Refusal::Usage(errors.report()))?;
    let too_late = |(line, command): &(Line, Command)| ConfigError {
        place: Some(Place::whole(line)),
        fault: Fault::Conflict(Conflict::OnlyAtStart(command.to_string())),
        notes: Vec::new(),
    };
    let late = commands
        .iter()
        .filter(|(_, command)| when(command) == When::Start);
    let errors: Vec<_> = late.map(too_late).collect();
    if errors.is_empty() {
        return Ok(commands);
    }
    let name = NAME.to_owned();
    Err(Refusal::Usage(ConfigErrors { name, errors }.report()))
}

fn failed(error: ExecError) -> Refusal {
    Refusal::Failed(error.to_string())
}
