// SPDX-License-Identifier: MIT
//! Alcor's services: receive, validate, answer.
//!
//! * [`service`] the gRPC service; **start there**: it hands each message to the control thread and awaits
//!   its reply. [`subscribe`] is the other one.
//! * [`decode`] a message, flattened to resources; [`vpc`], [`subnet`], [`port`], [`neighbor`] and [`router`]
//!   validate one kind each; [`field`] names what is wrong.
//! * [`reply`] keeps replies small enough for the controller's clients.

pub(crate) mod decode;
pub(crate) mod field;
pub(crate) mod neighbor;
pub(crate) mod port;
pub(crate) mod reply;
pub(crate) mod router;
pub(crate) mod service;
pub(crate) mod subnet;
pub(crate) mod subscribe;
pub(crate) mod vpc;
