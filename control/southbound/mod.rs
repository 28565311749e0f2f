// SPDX-License-Identifier: MIT
//! Alcor's services: receive, validate, answer.
//!
//! * [`service`] the gRPC services; **start there**: it hands each message to the control thread and awaits its reply.
//! * [`decode`] a message, flattened to resources; [`vpc`], [`subnet`], [`port`], [`neighbor`] and [`router`] validate
//!   one kind each; [`field`] names what is wrong.
//! * [`reply`] keeps replies small enough for the controller's clients.

pub mod decode;
pub mod field;
pub mod neighbor;
pub mod port;
pub mod reply;
pub mod router;
pub mod service;
pub mod subnet;
pub mod vpc;
