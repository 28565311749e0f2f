// SPDX-License-Identifier: MIT
//! The language as a whole.

mod examples;
mod files;
mod grammar;
mod properties;
mod start_up;
mod subports;
mod underlay;
mod uplinks;
mod workers;
