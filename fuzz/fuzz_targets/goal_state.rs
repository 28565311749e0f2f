// SPDX-License-Identifier: MIT
#![no_main]
#![allow(dead_code, unused_imports)]

/// The program's modules from where they are; they find each other as `crate::core` and so on.
#[path = "../../control"]
mod control {
    pub(crate) mod audit;
    pub(crate) mod core;
    pub(crate) mod dhcp;
    pub(crate) mod explain;
    pub(crate) mod families;
    pub(crate) mod program;
    pub(crate) mod proto;
    pub(crate) mod southbound;
    pub(crate) mod state;
    pub(crate) mod store;
}
use control::{audit, core, dhcp, explain, families, program, proto, southbound, state, store};

#[path = "../goal_state.rs"]
mod goal_state;

libfuzzer_sys::fuzz_target!(|data: &[u8]| goal_state::run(data));
