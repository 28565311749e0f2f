// SPDX-License-Identifier: MIT
//! The DPDK layer over virtual devices: no huge pages, no NIC, no privilege needed.
//!
//! DPDK starts once in the process; each test has its own thread registration, mempool and devices, and at its end
//! all frames must be back in the mempool.
#![cfg(feature = "dpdk")]

mod dpdk {
    mod attach;
    pub(crate) mod bench;
    mod eal;
    mod frames;
    mod pcap;
    mod ring;
}
