// SPDX-License-Identifier: MIT
//! DPDK behind a safe API: the only place that calls it. Raw pointers do not leave this folder.
//!
//! * [`Eal`] proves that DPDK runs; each other handle keeps a copy. It starts once per process.
//! * [`Mempool`] is where frames come from, [`Mbuf`] one frame.
//! * [`Port`] is a device, or a guest's socket; its queues are taken once each, as [`PortRx`] and [`PortTx`], by workers.
//! * [`LcoreGuard`] makes a thread known to DPDK, which gives it mempool caches.
//!
//! `wrapper.h` is what bindgen reads, `shim.c` makes static inlines callable, `sys` is the result.

mod args;
mod eal;
mod error;
mod lcore;
mod log;
mod mbuf;
mod pool;
mod port;
mod sys;
mod vhost;

pub use eal::{Eal, EalError, tsc, tsc_hz, version};
pub use error::Errno;
pub use lcore::{LcoreGuard, ThreadError};
pub use log::{Severity, log_to};
pub use mbuf::Mbuf;
pub use pool::{MAX_CACHE, Mempool, PoolError};
pub use port::{Link, LinkWatch, Port, PortConfig, PortError, PortInfo, PortRx, PortStats, PortTx};
