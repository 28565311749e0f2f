// SPDX-License-Identifier: MIT
//! The DPDK layer over virtual devices: no huge pages, no NIC, no privilege needed.
//!
//! DPDK starts once in the process; each test has its own thread registration, mempool and devices, and at its end
//! all frames must be back in the mempool.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used)] // a test ends where it fails

#[path = "dpdk/attach.rs"]
mod attach;
#[path = "dpdk/bench.rs"]
mod bench;
#[path = "dpdk/eal.rs"]
mod eal;
#[path = "dpdk/frames.rs"]
mod frames;
#[path = "dpdk/pcap.rs"]
mod pcap;
#[path = "dpdk/pool.rs"]
mod pool;
#[path = "dpdk/ring.rs"]
mod ring;
#[path = "dpdk/vhost.rs"]
mod vhost;
