// SPDX-License-Identifier: MIT
//! Alcor's services: receive, validate, answer.
//!
//! * [`service`] the gRPC service; **start there**: it hands each message to the control thread and awaits
//!   its reply. [`subscribe`] is the other one.
//! * [`decode`] a message, flattened to resources; [`vpc`], [`subnet`], [`port`], [`neighbor`], [`router`],
//!   [`security_group`], [`dhcp`] and [`gateway`] validate one kind each; [`field`] names what is wrong;
//!   [`wire`] reads neighbors where they lie.
//! * [`reply`] keeps replies small enough for the controller's clients.

pub(crate) mod decode;
pub(crate) mod dhcp;
pub(crate) mod field;
pub(crate) mod gateway;
pub(crate) mod neighbor;
pub(crate) mod port;
pub(crate) mod reply;
pub(crate) mod router;
pub(crate) mod security_group;
pub(crate) mod service;
pub(crate) mod subnet;
pub(crate) mod subscribe;
pub(crate) mod vpc;
pub(crate) mod wire;
