// SPDX-License-Identifier: MIT
//! The switch's own API on a local socket: what `alkaid exec`, `alkaid console`, `alkaid show` and `alkaid top` talk to.
//!
//! * [`serve`] takes commands in the grammar of [`crate::config`], and gives them to an [`Executor`].
//! * [`socket`] is where they arrive, and who may send them.
//! * [`goal_state`] tells all that is wanted, part by part.
//! * [`capture`] hands out copies of frames.
//! * [`render`] makes a table for people of the rows that a command answers with.

pub(crate) mod api;
mod capture;
mod explain;
mod goal_state;
pub(crate) mod render;
mod service;
pub(crate) mod socket;
#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;

use vswitch::counters::capture::Wanted;
use vswitch::tables::PortId;

use crate::audit::part::Part;
use crate::capture::{PortName, Session};
use crate::config::Command;
use crate::explain::{Explanation, Packet};
use crate::state::parts::Position;
use api::SampleReply;

pub(crate) use service::{MAX_REPLY, serve};
pub(crate) use socket::Socket;

/// What a command answers.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Output {
    /// It is done, and there is nothing to say.
    Done,
    /// Words for people.
    Text(String),
    /// Rows: an array of flat objects, whose keys are column names in the order to show them in.
    Rows(serde_json::Value),
}

/// Why a command was not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// It makes no sense in the present state, or the device or the control thread refused it.
    #[error("{0}")]
    Failed(String),
    /// This switch has no such thing.
    #[error("`{0}` is not supported by this build")]
    Unsupported(String),
    /// The switch is shutting down.
    #[error("the switch is shutting down")]
    ShuttingDown,
}

/// The running switch, as far as commands are concerned.
pub(crate) trait Executor: Send + Sync + 'static {
    /// Executes one command. Those that change something arrive one after the other, each when the one before it has
    /// been answered; `show` may arrive at any time.
    ///
    /// Never gets `load` (its commands come one by one), `help`, and those that are for the start-up file only.
    fn execute(&self, command: Command) -> impl Future<Output = Result<Output, ExecError>> + Send;

    /// The part at `position` of what the controller wants, and where the next one is. `None`: that was all.
    fn audit(
        &self,
        position: Position,
    ) -> impl Future<Output = Result<(Position, Option<Part>), ExecError>> + Send;

    /// What would become of a packet that arrives on `from`, and why.
    fn explain(
        &self,
        from: PortId,
        packet: Packet,
    ) -> impl Future<Output = Result<Explanation, ExecError>> + Send;

    /// Has frames copied, from now on until what it returns is dropped. Fails while another client has it so.
    fn capture(&self, wanted: &Wanted) -> Result<Session, ExecError>;

    /// All counters, at one moment.
    fn sample(&self) -> impl Future<Output = SampleReply> + Send;

    /// What ports are called.
    fn port_names(&self) -> Vec<PortName>;

    /// When a port's number became its device's, or that of the last one that had it. Waits for nobody.
    fn attached_ns(&self, port: PortId) -> u64;
}
