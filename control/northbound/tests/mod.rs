// SPDX-License-Identifier: MIT
//! A switch that only notes what it is told, behind a real socket; also for the tests of its clients.

mod commands;
mod sockets;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::json;
use tokio::sync::oneshot;

use super::api::SampleReply;
use super::{ExecError, Executor, Output, Socket, serve};
use crate::audit::part::Part;
use crate::capture::{PortName, Session};
use crate::config::{Command, Show};
use crate::explain::{Explanation, Packet};
use crate::state::parts::Position;
use vswitch::counters::capture::Wanted;
use vswitch::tables::PortId;

/// Notes commands.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Notes {
    /// The commands so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Executor for Notes {
    async fn audit(&self, position: Position) -> Result<(Position, Option<Part>), ExecError> {
        Ok((position, None))
    }

    async fn explain(&self, from: PortId, packet: Packet) -> Result<Explanation, ExecError> {
        Err(ExecError::Failed(format!("{from:?}: {packet:?}")))
    }

    fn capture(&self, wanted: &Wanted) -> Result<Session, ExecError> {
        let captures = Arc::default();
        let session = Session::begin(&captures, Vec::new(), wanted);
        session.ok_or(ExecError::ShuttingDown)
    }

    async fn sample(&self) -> SampleReply {
        SampleReply::default()
    }

    fn port_names(&self) -> Vec<PortName> {
        Vec::new()
    }

    fn attached_ns(&self, _: PortId) -> u64 {
        0
    }

    async fn execute(&self, command: Command) -> Result<Output, ExecError> {
        // Long enough for commands that are not kept apart to mix.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        self.0.lock().unwrap().push(command.to_string());
        match command {
            Command::Show(Show::Ports) => {
                Ok(Output::Rows(json!([{"port": 0, "device": "net_null0"}])))
            }
            Command::Show(Show::Config) => Ok(Output::Text("set burst 32".into())),
            Command::PortAttach { device, .. } if device == "bad" => {
                Err(ExecError::Failed("no driver for `bad`".into()))
            }
            _ => Ok(Output::Done),
        }
    }
}

/// A switch that listens.
pub(crate) struct Switch {
    /// What it was told.
    pub(crate) notes: Arc<Notes>,
    /// Where it listens.
    pub(crate) path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Starts one.
    pub(crate) fn start(path: &Path) -> Self {
        let socket = Socket::bind(path).unwrap();
        let notes = Arc::new(Notes::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let executor = Arc::clone(&notes);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let shutdown = async {
                let _ = stopped.await;
            };
            runtime.block_on(serve(socket, executor, shutdown)).unwrap();
        });
        Self {
            notes,
            path: path.to_owned(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}
