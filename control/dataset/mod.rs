// SPDX-License-Identifier: MIT
//! Southbound message sets of any size, the same for the same arguments: for benchmarks, of this switch and of other
//! agents. `docs/dataset.md` describes them.
//!
//! [`network`] is what they describe, [`shape`] how a sender writes that, [`message`] what goes into which message,
//! [`files`] where messages go. Messages are written as they are made: what is kept is eight bytes a port, and one message.

mod files;
mod message;
mod network;
mod random;
mod shape;
mod states;

use std::path::Path;

pub(crate) use files::{DatasetError, Totals};
pub(crate) use network::{MAX_PORTS, MAX_SUBNETS, Scale};
pub(crate) use shape::Shape;

/// The two forms of a goal state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// GoalState, with lists.
    V1,
    /// GoalStateV2, with maps.
    V2,
}

/// What is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The network.
    pub(crate) scale: Scale,
    /// Whose habits the messages have.
    pub(crate) shape: Shape,
    /// Which messages.
    pub(crate) form: Form,
    /// The host whose messages are made; those of every host if it is none.
    pub(crate) host: Option<u32>,
    /// Ports, DHCP states and neighbors of one message, at most, beside what they refer to; at least 1. A port and its
    /// DHCP state stay together.
    pub(crate) per_message: u32,
    /// With a DHCP state for each port.
    pub(crate) dhcp: bool,
    /// With a security group for each VPC.
    pub(crate) security_groups: bool,
}

/// Writes the set into a folder, which is made; returns what is in it.
///
/// # Errors
/// The request contradicts itself, the folder has something in it, or it cannot be written.
pub(crate) fn write(request: &Request, folder: &Path) -> Result<Totals, DatasetError> {
    files::write(request, folder)
}

#[cfg(test)]
mod tests;
