// SPDX-License-Identifier: MIT
//! Mutual TLS with the controller: off unless configured, since Alcor's own services have none.
//!
//! * [`client`] connects to servers.
//! * [`files`] reads certificates and keys, and names the file that is wrong.
//! * [`keys`] what the servers show and whom they let in, re-read when the files change.
//! * [`mod@incoming`] makes TLS streams of connections.

mod client;
mod files;
mod incoming;
mod keys;
mod refusals;
#[cfg(test)]
mod tests;

pub(crate) use client::{cause, connect, endpoint};
pub(crate) use files::TlsError;
pub(crate) use incoming::incoming;
pub(crate) use keys::ServerKeys;
