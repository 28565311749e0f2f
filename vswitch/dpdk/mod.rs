// SPDX-License-Identifier: MIT
//! DPDK behind a safe API.
