// SPDX-License-Identifier: MIT
//! The stages, one file each. A stage is a plain function over a burst; what it decides about one packet is a
//! function of that packet and the tables, and a refusal is an `Err` with its
//! [`DropReason`](crate::counters::DropReason). The order they run in stands in [`worker`](crate::worker).

pub mod decap;
pub mod deliver;
pub mod edge;
pub mod encap;
pub mod finish;
pub mod fragment;
pub mod guard;
pub mod host_gate;
pub mod limits;
pub mod link;
pub mod mss;
pub mod neighbor;
pub mod observe;
pub mod over_ipv6;
pub mod parse;
pub mod punt;
pub mod replicate;
pub mod route;
pub mod tagged;
pub mod transmit;
pub mod trunk;
pub mod vlan;
