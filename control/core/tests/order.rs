// SPDX-License-Identifier: MIT
//! Order and splitting do not matter, and saying something twice changes nothing.

use proptest::prelude::*;

use super::goal::{State, deleted, scenario, v1, v2};
use super::world::{PORT_A, PORT_B, World, statuses};
use crate::proto::schema::OperationStatus::Success;

/// One step of a test: a state, or a port that is bound.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // a dozen of them, and no other place for a state
enum Step {
    State(State),
    BindA,
    BindB,
}

fn steps() -> Vec<Step> {
    scenario()
        .into_iter()
        .map(Step::State)
        .chain([Step::BindA, Step::BindB])
        .collect()
}

fn reference() -> String {
    let mut world = World::new();
    world.succeed(scenario());
    world.see()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_and_any_splitting_into_messages_programs_the_same(
        steps in Just(steps()).prop_shuffle(),
        ends_message in prop::collection::vec(any::<bool>(), 15),
        second_form in any::<bool>(),
    ) {
        let form = |states: Vec<State>| if second_form { v2(states) } else { v1(states) };
        let mut world = World::unbound(1 << 10);
        let mut message = Vec::new();
        for (step, ends_message) in steps.into_iter().zip(ends_message) {
            match step {
                Step::State(state) => message.push(state),
                Step::BindA => world.bind(PORT_A, "port-a"),
                Step::BindB => world.bind(PORT_B, "port-b"),
            }
            if ends_message {
                world.apply(form(std::mem::take(&mut message)));
            }
        }
        world.apply(form(message));
        prop_assert_eq!(world.see(), reference());
        let before = world.publications();
        let reply = world.apply(form(scenario()));
        prop_assert!(statuses(&reply).iter().all(|status| *status == Success), "{:?}", reply);
        prop_assert_eq!(world.publications(), before);
        prop_assert_eq!(world.see(), reference());
    }

    #[test]
    fn what_is_deleted_in_any_order_leaves_nothing_behind(
        states in Just(scenario()).prop_shuffle(),
        ends_message in prop::collection::vec(any::<bool>(), 13),
    ) {
        let mut world = World::new();
        let empty = world.see();
        world.succeed(scenario());
        let mut message = Vec::new();
        for (state, ends_message) in states.into_iter().zip(ends_message) {
            message.push(deleted(state));
            if ends_message {
                world.succeed(std::mem::take(&mut message));
            }
        }
        world.succeed(message);
        prop_assert_eq!(world.see(), empty);
        prop_assert_eq!(world.core.wanted.subnets().count() + world.core.wanted.vpcs().count(), 0);
        world.succeed(scenario());
        prop_assert_eq!(world.see(), reference());
    }
}

#[test]
fn the_same_message_twice_publishes_nothing_and_succeeds() {
    let mut world = World::new();
    world.succeed(scenario());
    let before = (world.publications(), world.see());
    for _ in 0..3 {
        world.succeed(scenario());
        assert_eq!((world.publications(), world.see()), before);
    }
}

#[test]
fn a_message_is_one_publication() {
    let mut world = World::new();
    let before = world.publications();
    world.succeed(scenario());
    assert_eq!(world.publications(), before + 1);
}

#[test]
fn each_resource_can_be_deleted_and_comes_back() {
    let mut world = World::new();
    world.succeed(scenario());
    let reference = world.see();
    for state in scenario() {
        for _ in 0..2 {
            world.succeed([deleted(state.clone())]);
        }
        world.put([state.clone()]);
        assert_eq!(world.see(), reference, "after {state:?}");
        world.succeed(scenario());
    }
}

#[test]
fn unbinding_a_port_and_binding_it_again_restores_everything() {
    let mut world = World::new();
    world.succeed(scenario());
    let reference = world.see();
    world.unbind(PORT_A);
    assert!(!world.see().contains("port 1 "));
    world.check();
    world.bind(PORT_B, "port-b");
    world.bind(PORT_A, "port-a");
    assert_eq!(world.see(), reference);
}
