// SPDX-License-Identifier: MIT
//! A client of a running switch, over its local socket. Connects for each command: that is cheap on a Unix socket,
//! and a switch that was restarted in between is simply found again. Packets of a recording are explained on one connection.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::OnceCell;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::SocketArgs;
use crate::config::help::{NoSuchTopic, help};
use crate::config::lexer::quoted;
use crate::config::{Command, ConfigErrors, Show, parse_command};
use crate::northbound::MAX_REPLY;
use crate::northbound::api::control_client::ControlClient;
use crate::northbound::api::{CaptureReply, CaptureRequest};
use crate::northbound::api::{ExecuteReply, ExecuteRequest, ExplainReply, ExplainRequest};
use crate::northbound::api::{GoalStatePart, GoalStateRequest, SampleReply, SampleRequest};
use crate::northbound::socket;

/// Why a command was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error("no switch is running (nobody listens on {})", .0.display())]
    NotRunning(PathBuf),
    /// The switch belongs to somebody else.
    #[error("the switch runs as another user: {} may not be opened; try sudo", .0.display())]
    Permission(PathBuf),
    /// Somebody listens whom there is no reason to trust.
    #[error("{} belongs to the user with number {uid}; name it with --socket if that is meant", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Who listens there.
        uid: u32,
    },
    /// The system refuses.
    #[error("cannot connect to {}: {error}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The connection ended before the answer came.
    #[error(
        "the switch went away before it answered: the command may have been executed or not ({0})"
    )]
    Lost(String),
    /// It says why not.
    #[error("{0}")]
    Refused(String),
}

/// What is said of a switch that was there before the call was.
const TOO_OLD: &str = "the switch is of an earlier version, which cannot be sampled: restart it";

/// Where a switch is.
pub(super) struct Switch {
    path: PathBuf,
    /// The operator named the path, and so trusts it.
    named: bool,
    /// Who explains packets, once asked.
    explainer: OnceCell<ControlClient<Channel>>,
}

impl Switch {
    /// The switch at the path of `args`, else the one at the usual place.
    pub(super) fn new(args: &SocketArgs) -> Self {
        let path = args.socket.clone();
        Self {
            named: path.is_some(),
            path: path.unwrap_or_else(socket::find),
            explainer: OnceCell::new(),
        }
    }

    /// Gives it one line.
    ///
    /// # Errors
    /// It does not answer. That a command failed is an answer.
    pub(super) async fn execute(&self, command: String) -> Result<ExecuteReply, ClientError> {
        let mut client = self.client().await?;
        let reply = client.execute(ExecuteRequest { command }).await;
        reply.map(tonic::Response::into_inner).map_err(lost)
    }

    /// Gives `take` all that it wants, part by part.
    ///
    /// # Errors
    /// It does not answer, or no longer.
    pub(super) async fn goal_state(
        &self,
        mut take: impl FnMut(GoalStatePart),
    ) -> Result<(), ClientError> {
        let mut client = self.client().await?;
        let parts = client.goal_state(GoalStateRequest {}).await.map_err(lost)?;
        let mut parts = parts.into_inner();
        while let Some(part) = parts.message().await.map_err(lost)? {
            take(part);
        }
        Ok(())
    }

    /// Asks what would become of a packet: all on one connection, since a recording has many, and one switch is to explain
    /// them.
    ///
    /// # Errors
    /// It does not answer. That it cannot tell is an answer.
    pub(super) async fn explain(
        &self,
        request: ExplainRequest,
    ) -> Result<ExplainReply, ClientError> {
        let explainer = self.explainer.get_or_try_init(|| self.client()).await?;
        let reply = explainer.clone().explain(request).await;
        reply.map(tonic::Response::into_inner).map_err(lost)
    }

    /// Asks for all counters.
    ///
    /// # Errors
    /// It does not answer, or is too old to.
    pub(super) async fn sample(&self) -> Result<SampleReply, ClientError> {
        let mut client = self.client().await?;
        let reply = client.sample(SampleRequest {}).await;
        reply
            .map(tonic::Response::into_inner)
            .map_err(|status| match status.code() {
                Code::Unimplemented => ClientError::Refused(TOO_OLD.to_owned()),
                _ => lost(status),
            })
    }

    /// Asks for copies of frames, until the stream is dropped.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub(super) async fn capture(
        &self,
        request: CaptureRequest,
    ) -> Result<tonic::Streaming<CaptureReply>, ClientError> {
        let mut client = self.client().await?;
        let frames = client.capture(request).await;
        frames
            .map(tonic::Response::into_inner)
            .map_err(|status| match status.code() {
                Code::FailedPrecondition | Code::InvalidArgument => {
                    ClientError::Refused(status.message().to_owned())
                }
                _ => lost(status),
            })
    }

    async fn client(&self) -> Result<ControlClient<Channel>, ClientError> {
        let channel = self.connect().await?;
        Ok(ControlClient::new(channel).max_decoding_message_size(MAX_REPLY))
    }

    async fn connect(&self) -> Result<Channel, ClientError> {
        let path = || self.path.clone();
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(path())
                }
                ErrorKind::PermissionDenied => ClientError::Permission(path()),
                _ => ClientError::Connect {
                    path: path(),
                    error,
                },
            })?;
        let uid = stream
            .peer_cred()
            .map_err(|error| ClientError::Connect {
                path: path(),
                error,
            })?
            .uid();
        if !self.named && uid != 0 && Some(uid) != socket::user() {
            return Err(ClientError::Foreign { path: path(), uid });
        }
        let mut stream = Some(TokioIo::new(stream));
        // Asked once; a second time would be a reconnection, which is for the next command.
        let connector = tower::service_fn(move |_| {
            let stream = stream
                .take()
                .ok_or_else(|| io::Error::from(ErrorKind::NotConnected));
            async move { stream }
        });
        // The name is only the Host header.
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await;
        channel.map_err(|error| ClientError::Lost(error.to_string()))
    }
}

/// The answer to a call did not come.
fn lost(status: tonic::Status) -> ClientError {
    ClientError::Lost(status.message().to_owned())
}

/// What to do about a line that an operator typed.
pub(super) enum Task {
    /// Nothing: it is empty or a comment.
    Nothing,
    /// `help`: print this.
    Help(Result<String, NoSuchTopic>),
    /// `quit`.
    Quit,
    /// `show goal-state`: too long for one answer.
    GoalState,
    /// Send this to the switch.
    Send(String),
}

/// Reads a line that an operator typed, so that what is wrong with it is said without asking the switch. Errors call
/// it line `number` of `name`.
pub(super) fn read(name: &str, number: usize, line: &str) -> Result<Task, ConfigErrors> {
    let Some(command) = parse_command(name, number, line)? else {
        return Ok(Task::Nothing);
    };
    Ok(match command {
        Command::Help(topic) => Task::Help(help(&topic)),
        Command::Quit => Task::Quit,
        Command::Show(Show::GoalState) => Task::GoalState,
        Command::Load(path) => {
            // The switch has another working folder than its operator.
            let path = std::path::absolute(&path).unwrap_or(path);
            Task::Send(Command::Load(path).to_string())
        }
        command => Task::Send(command.to_string()),
    })
}

/// One line of the arguments of `alkaid exec`: as it is if it is one, else each is a word.
pub(super) fn join(arguments: &[String]) -> String {
    match arguments {
        [line] => line.clone(),
        words => words
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
    }
}
