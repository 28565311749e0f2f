// SPDX-License-Identifier: MIT
//! The packet path.
//!
//! * [`worker`] polls: **start there**. One lcore's loop, the stages in order.
//! * [`burst`] what a worker works on: frames and what was found out about each.
//! * [`stage`] one decision each; [`wire`] the headers they read and write.
//! * [`tables`] what a burst sees of the goal state, and how it changes under the workers' feet.
//! * [`io`] the seam to ports and buffers; `dpdk` the real ones (feature `dpdk`, on by default).
//! * [`counters`] every packet is accounted for.
//!
//! Workers never block, allocate, lock or log after start.
#![deny(unsafe_code)]

pub mod burst;
pub mod counters;
#[cfg(feature = "dpdk")]
#[allow(unsafe_code)]
pub mod dpdk;
pub mod io;
pub mod stage;
pub mod tables;
pub mod wire;
pub mod worker;
