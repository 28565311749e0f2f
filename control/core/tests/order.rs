// SPDX-License-Identifier: MIT
//! Order and splitting do not matter, and saying something twice changes nothing.
//!
//! What is put in any order are [`stories`](super::stories).

use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use super::goal::*;
use super::stories::Step::{self, Bind, Revise, Say, Unbind};
use super::stories::{
    Story, both_versions, gateways, keeping, kept, networks, once, ports_and_guests, tables,
};
use super::world::{PORT_A, PORT_B, World, statuses};
use crate::core::Goal;
use crate::proto::schema::OperationStatus::{Pending, Success};
use crate::proto::schema::{OperationStatus, OperationType};

/// Lets the steps happen, in this order; what is said goes out as a message where `ends_message` says so.
fn tell(
    steps: impl IntoIterator<Item = Step>,
    ends_message: impl IntoIterator<Item = bool>,
    second_form: bool,
) -> World {
    let form = |states: Vec<State>| if second_form { v2(states) } else { v1(states) };
    let mut world = World::unbound(1 << 10);
    world.replicate(None, Some(100));
    let mut message = Vec::new();
    for (step, ends_message) in steps.into_iter().zip(ends_message) {
        match step {
            Say(state) => message.push(state),
            Bind(port, id) => world.bind(switch_port(port), id),
            Unbind(port) => world.unbind(switch_port(port)),
            Revise(revisions) => world.core.set_revisions(revisions),
        }
        if ends_message {
            world.apply(form(std::mem::take(&mut message)));
        }
    }
    world.apply(form(message));
    world
}

pub(super) fn switch_port(n: u16) -> vswitch::tables::PortId {
    if n == 1 { PORT_A } else { PORT_B }
}

/// The stories one after the other, each step in a message of its own: what every other way must end in.
fn reference(stories: Vec<Story>) -> [String; 2] {
    let mut world = tell(
        stories.into_iter().flatten(),
        std::iter::repeat(true),
        false,
    );
    [world.see(), world.wanted()]
}

/// The stories, told in turns: `turns` names the story that goes on.
pub(super) fn interleave(stories: Vec<Story>, turns: &[usize]) -> Vec<Step> {
    let mut stories: Vec<_> = stories.into_iter().map(Vec::into_iter).collect();
    turns
        .iter()
        .filter_map(|turn| stories[*turn].next())
        .collect()
}

/// Each story's number as often as it has steps, in any order.
pub(super) fn turns(stories: &[Story]) -> impl Strategy<Value = Vec<usize>> + use<> {
    let turns = stories.iter().enumerate();
    let turns = turns.flat_map(|(n, story)| std::iter::repeat_n(n, story.len()));
    Just(turns.collect::<Vec<_>>()).prop_shuffle()
}

/// Asserts that `holds` of so many values.
pub(super) fn for_all<S: Strategy>(
    cases: u32,
    values: &S,
    holds: impl Fn(S::Value) -> TestCaseResult,
) {
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None, // is for tests that `proptest!` makes
        ..ProptestConfig::default()
    });
    if let Err(failure) = runner.run(values, holds) {
        panic!("{failure}");
    }
}

/// Tells the stories in many ways. All end alike, and saying all that is wanted once more changes nothing.
fn assert_order_does_not_matter(stories: &[Story], cases: u32) {
    let expected = reference(stories.to_vec());
    let any_way = (
        turns(stories),
        prop::collection::vec(prop::bool::weighted(0.3), stories.concat().len()),
        any::<bool>(),
    );
    for_all(cases, &any_way, |(turns, ends_message, second_form)| {
        let steps = interleave(stories.to_vec(), &turns);
        let mut world = tell(steps, ends_message, second_form);
        prop_assert_eq!([world.see(), world.wanted()], expected.clone());
        let before = world.publications();
        let again = super::export::exported(&world.core.wanted);
        world.apply(if second_form { v2(again) } else { v1(again) });
        prop_assert_eq!(world.publications(), before);
        prop_assert_eq!([world.see(), world.wanted()], expected.clone());
        Ok(())
    });
}

#[test]
fn everything_said_once_in_any_order_and_any_splitting_ends_alike() {
    assert_order_does_not_matter(&once(), 4000);
}

#[test]
fn ports_and_guests_that_come_go_and_move_end_alike() {
    assert_order_does_not_matter(&ports_and_guests(), 6000);
}

#[test]
fn networks_that_change_end_alike() {
    assert_order_does_not_matter(&networks(), 6000);
}

#[test]
fn networks_of_both_versions_of_ip_end_alike() {
    assert_order_does_not_matter(&both_versions(), 4000);
}

#[test]
fn tables_of_subnets_and_of_routers_end_alike() {
    assert_order_does_not_matter(&tables(), 3000);
}

#[test]
fn gateways_and_who_names_them_end_alike() {
    assert_order_does_not_matter(&gateways(), 1500);
}

#[test]
fn what_is_kept_ends_alike() {
    assert_order_does_not_matter(&keeping(), 4000);
}

#[test]
fn the_stories_end_in_what_they_say() {
    let [seen, wanted] = reference(ports_and_guests());
    for line in [
        "port 1 02:00:00:00:00:0c",
        "port 2 02:00:00:00:00:0a",
        "  10.7.1.101: 02:00:00:00:01:01 vni 7 host 192.0.2.7",
        "  10.7.2.102: 02:00:00:00:01:22 vni 7 host 192.0.2.9",
    ] {
        assert!(seen.contains(line), "no {line:?} in\n{seen}");
    }
    assert!(!wanted.contains("\"reason\""), "{wanted}");
    let [seen, wanted] = reference(networks());
    for line in [
        " in 10.7.1.0/24 vni 9 gateway Some(00:00:5e:00:01:01)",
        " in 10.7.1.0/24 vni 7 gateway Some(00:00:5e:00:01:04) dvr None",
        "  203.0.113.5: 02:00:00:00:01:02 vni 77 host 192.0.2.9",
        "  203.0.113.200: 02:00:00:00:01:02 vni 77 host 192.0.2.9",
        "  203.0.113.200: 02:00:00:00:01:03 vni 8 host 192.0.2.8",
        "  198.18.0.9: nowhere",
    ] {
        assert!(seen.contains(line), "no {line:?} in\n{seen}");
    }
    assert!(!wanted.contains("\"reason\""), "{wanted}");
    let [seen, wanted] = reference(both_versions());
    for line in [
        " in 2001:db8:7:1::/64 vni 7 gateway Some(00:00:5e:00:01:01) dvr Some(fe:16:11:00:00:00)",
        "  2001:db8:7:1::10: 02:00:00:00:00:0a vni 7 port 1",
        "  2001:db8:7:1::101: 02:00:00:00:01:01 vni 7 host 192.0.2.8",
        "  2001:db8:203::5: 02:00:00:00:01:01 vni 7 host 192.0.2.8",
        "  203.0.113.5: 02:00:00:00:01:05 vni 7 host 192.0.2.9",
    ] {
        assert!(seen.contains(line), "no {line:?} in\n{seen}");
    }
    let reason = "fixed_ips: ip_address 10.7.2.104 is an IPv4 address, and subnet \\\"azure\\\" has the cidr 2001:db8:7:1::/64";
    assert!(wanted.contains(reason), "{wanted}");
    assert_eq!(wanted.matches("\"reason\"").count(), 1, "{wanted}");
    let [_, wanted] = reference(keeping());
    assert_eq!(wanted.matches("\"reason\"").count(), 3, "{wanted}");
    let [seen, wanted] = reference(tables());
    let (blue, red) = seen.split_once("port 2 ").unwrap();
    for line in [
        "  203.0.113.5: 02:00:00:00:01:03 vni 8 host 192.0.2.8 mac ..:08\n",
        "  198.18.0.9: nowhere\n",
    ] {
        assert!(blue.contains(line), "no {line:?} in\n{blue}");
    }
    assert!(
        red.contains("  203.0.113.5: 02:00:00:00:01:02 vni 7"),
        "{red}"
    );
    assert!(!red.contains("  203.0.113.200: "), "{red}");
    assert!(!wanted.contains("\"reason\""), "{wanted}");
    let [seen, wanted] = reference(gateways());
    for line in [
        "  what lacks a neighbor: 192.0.2.51 192.0.2.53 192.0.2.60",
        "  what lacks a neighbor: 192.0.2.51 192.0.2.53",
    ] {
        assert!(seen.lines().any(|it| it == line), "no {line:?} in\n{seen}");
    }
    for reason in [
        "its gateway \\\"unknown\\\" is not known yet",
        "no VPC names it yet",
        "kept, but a goal state does not say how a gateway of type IGW is reached",
    ] {
        assert!(wanted.contains(reason), "no {reason} in\n{wanted}");
    }
    assert_eq!(wanted.matches("\"reason\"").count(), 3, "{wanted}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_deleted_in_any_order_leaves_nothing_behind(
        states in Just([scenario(), kept()].concat()).prop_shuffle(),
        ends_message in prop::collection::vec(any::<bool>(), 16),
    ) {
        let mut world = World::new();
        let empty = (world.see(), world.wanted());
        world.succeed(scenario());
        world.put(kept());
        let full = (world.see(), world.wanted());
        let mut message = Vec::new();
        for (state, ends_message) in states.into_iter().zip(ends_message) {
            message.push(deleted(state));
            if ends_message {
                world.succeed(std::mem::take(&mut message));
            }
        }
        world.succeed(message);
        prop_assert_eq!((world.see(), world.wanted()), empty);
        prop_assert_eq!(world.core.wanted.subnets().count() + world.core.wanted.vpcs().count(), 0);
        world.succeed(scenario());
        world.put(kept());
        prop_assert_eq!((world.see(), world.wanted()), full);
    }
}

#[test]
fn the_same_message_twice_publishes_nothing_and_succeeds() {
    let mut world = World::new();
    world.succeed(scenario());
    world.put(kept());
    let before = (world.publications(), world.see(), world.wanted());
    for form in [v1, v2] as [fn(Vec<State>) -> Goal; 2] {
        assert_eq!(statuses(&world.apply(form(scenario()))), [Success; 13]);
        let kept = statuses(&world.apply(form(kept())));
        assert_eq!(kept, [Pending, Success, Pending], "DHCP is served");
        assert_eq!((world.publications(), world.see(), world.wanted()), before);
    }
}

#[test]
fn each_kind_twice_by_each_operation_is_answered_alike_and_publishes_once_at_most() {
    use OperationType::{Create, Delete, Info, Update};
    for state in scenario().into_iter().chain(kept()) {
        for operation in [Info, Create, Update, Delete] {
            let mut world = World::new();
            world.put([scenario(), kept()].concat());
            let state = state.clone().with(operation);
            let first: Vec<OperationStatus> = world.put([state.clone()]);
            let before = (world.publications(), world.see(), world.wanted());
            assert_eq!(world.put([state.clone()]), first, "{state:?}");
            assert_eq!(
                (world.publications(), world.see(), world.wanted()),
                before,
                "{state:?}"
            );
        }
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
