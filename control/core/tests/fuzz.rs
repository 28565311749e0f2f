// SPDX-License-Identifier: MIT
//! The fuzz target `goal_state` as an ordinary test: what it begins with, and what once failed.

#[path = "../../../fuzz/goal_state.rs"]
mod goal_state;
#[path = "../../../fuzz/replay.rs"]
mod replay;

use prost::Message;

use super::goal::{dual_stack, v1, v2};
use crate::core::Goal;

/// A goal state of each form, and decisions of some length. The first byte names the form.
fn seeds() -> Vec<Vec<u8>> {
    let (Goal::V1(first), Goal::V2(second)) = (v1(dual_stack()), v2(dual_stack())) else {
        unreachable!()
    };
    let decisions = (0..400u16).map(|n| (n.wrapping_mul(40503) >> 8) as u8 | 2);
    vec![
        [vec![0], first.encode_to_vec()].concat(),
        [vec![1], second.encode_to_vec()].concat(),
        decisions.collect(),
    ]
}

#[test]
fn goal_states_of_each_form_and_inputs_that_once_failed_pass() {
    replay::replay("goal_state", &seeds(), goal_state::run);
}
