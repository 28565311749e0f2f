// SPDX-License-Identifier: MIT
//! Order and splitting do not matter, and saying something twice changes nothing.
//!
//! What is put in any order are *stories*: what is said of one resource, one after the other. Only within a story
//! does order count.

use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use super::goal::*;
use super::world::{PORT_A, PORT_B, World, statuses};
use crate::core::Goal;
use crate::proto::schema::NeighborType::{L2, L3};
use crate::proto::schema::OperationStatus::{Pending, Success};
use crate::proto::schema::UpdateType::{Delta, Full};
use crate::proto::schema::{GatewayType, OperationStatus, OperationType};
use crate::state::Revisions;

use Step::{Bind, Revise, Say, Unbind};

/// One step of a story.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // some dozens of them, and no other place for a state
pub(super) enum Step {
    Say(State),
    /// Port 1 or 2 of the switch is this one of the controller's.
    Bind(u16, &'static str),
    Unbind(u16),
    /// What to make of revisions from now on.
    Revise(Revisions),
}

pub(super) type Story = Vec<Step>;

pub(super) fn say(states: impl IntoIterator<Item = State>) -> Story {
    states.into_iter().map(Say).collect()
}

/// What nothing is made of yet.
fn kept() -> Vec<State> {
    vec![
        security_group("group", Full, &[("ssh", 22), ("", 80)]),
        dhcp("uuid", "blue", "02:00:00:00:00:0a", "10.7.1.10"),
        gateway("zeta", GatewayType::Zeta),
    ]
}

/// Everything is said once.
pub(super) fn once() -> Vec<Story> {
    let states = scenario().into_iter().chain(kept());
    let stories = states.map(|state| vec![Say(state)]);
    stories
        .chain([vec![Bind(1, "port-a")], vec![Bind(2, "port-b")]])
        .collect()
}

/// Ports come, go and are plugged in elsewhere; guests move between hosts.
pub(super) fn ports_and_guests() -> Vec<Story> {
    let a = port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]);
    let b = port(
        "port-b",
        "02:00:00:00:00:0b",
        &[("red", "10.7.2.11"), ("blue", "10.7.1.11")],
    );
    let b_elsewhere = port("port-b", "02:00:00:00:00:0c", &[("red", "10.7.2.12")]);
    let at = |kind, host| neighbor("n1", kind, "02:00:00:00:01:01", "blue", "10.7.1.101", host);
    let arrives = |host| neighbor("port-a", L2, "02:00:00:00:00:0a", "blue", "10.7.1.10", host);
    let other_mac = neighbor("n2", L3, "02:00:00:00:01:22", "red", "10.7.2.102", 9);
    vec![
        say([vpc("vpc", 7), vpc("vpc", 0)]),
        say([subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]),
        say([subnet("red", "vpc", "10.7.2.0/24", i64::MAX as u64, 2)]),
        say([router("router", Delta, &[("blue", &[]), ("red", &[])])]),
        vec![
            Bind(1, "port-a"),
            Bind(2, "port-c"),
            Unbind(1),
            Bind(1, "port-b"),
            Unbind(2),
            Bind(2, "port-a"),
        ],
        say([a.clone(), deleted(a.clone()), a]),
        // UPDATE without a device: detached.
        say([b.clone(), b.with(OperationType::Update), b_elsewhere]),
        say([at(L2, 9), at(L2, 8), at(L2, 9), at(L2, 7)]),
        say([at(L3, 7), deleted(at(L3, 7))]),
        say([arrives(9), arrives(1)]),
        say([
            neighbor("n2", L3, "02:00:00:00:01:02", "red", "10.7.2.102", 8),
            other_mac,
        ]),
        say([
            deleted(neighbor(
                "n3",
                L2,
                "02:00:00:00:01:03",
                "red",
                "10.7.2.103",
                8,
            )),
            neighbor("n3", L2, "02:00:00:00:01:03", "red", "10.7.2.103", 8),
        ]),
    ]
}

/// Subnets change range, VNI and VPC; a VNI goes from one VPC to another; routers are patched and replaced.
pub(super) fn networks() -> Vec<Story> {
    let blue = |cidr| subnet("blue", "vpc", cidr, 0, 1);
    let red = |tunnel_id, gateway| subnet("red", "vpc", "10.7.2.0/24", tunnel_id, gateway);
    let green = |vpc| subnet("green", vpc, "10.8.3.0/24", 8, 3);
    let rule = ("rule", "203.0.113.0/24", "10.8.3.103", 100);
    let old_rule = ("old", "203.0.113.0/24", "10.7.2.102", 1);
    let nearer = ("nearer", "203.0.113.0/25", "10.7.2.102", 1);
    let twin = ("twin", "203.0.113.0/24", "10.7.2.102", 100);
    let hole = ("hole", "198.18.0.0/15", "blackhole", 1);
    vec![
        say([vpc("vpc", 7), vpc("vpc", 17), vpc("vpc", 9)]),
        // VNI 7 is the first VPC's for a while.
        say([vpc("other", 0), vpc("other", 7)]),
        say([
            blue("10.7.1.0/25"),
            blue("10.7.0.0/16"),
            deleted(blue("")),
            blue("10.7.1.0/24"),
        ]),
        say([red(0, 2), red(77, 0), red(i64::MAX as u64, 9)]),
        say([green("vpc"), green("other")]),
        say([subnet("apart", "other", "10.7.1.0/24", 0, 4)]),
        say([
            router("router", Delta, &[("blue", &[old_rule]), ("apart", &[])]),
            router("router", Delta, &[("red", &[rule]), ("blue", &[rule])]),
            router("router", Full, &[("blue", &[rule]), ("green", &[])]),
            router(
                "router",
                Delta,
                &[("blue", &[nearer, twin, hole, ("none", "", "", 0)])],
            ),
            router("router", Delta, &[("red", &[])]),
        ]),
        say([
            router("second", Full, &[("apart", &[old_rule])]),
            deleted(router("second", Full, &[])),
        ]),
        vec![Bind(1, "port-a")],
        vec![Bind(2, "port-b")],
        say([port(
            "port-a",
            "02:00:00:00:00:0a",
            &[("blue", "10.7.1.10")],
        )]),
        say([port(
            "port-b",
            "02:00:00:00:00:0b",
            &[("apart", "10.7.1.10")],
        )]),
        say([neighbor(
            "n2",
            L3,
            "02:00:00:00:01:02",
            "red",
            "10.7.2.102",
            9,
        )]),
        say([neighbor(
            "n3",
            L3,
            "02:00:00:00:01:03",
            "green",
            "10.8.3.103",
            8,
        )]),
        say([neighbor(
            "n4",
            L2,
            "02:00:00:00:01:04",
            "apart",
            "10.7.1.104",
            8,
        )]),
    ]
}

/// Networks of both versions of IP: a subnet is of the one and of the other, and what is in it with an address of the
/// wrong one waits.
pub(super) fn both_versions() -> Vec<Story> {
    let azure = |cidr, gateway| subnet("azure", "vpc", cidr, 0, gateway);
    let a = |fixed_ips: &[_]| port("port-a", "02:00:00:00:00:0a", fixed_ips);
    let n1 = |host| {
        neighbor(
            "n1",
            L2,
            "02:00:00:00:01:01",
            "azure",
            "2001:db8:7:1::101",
            host,
        )
    };
    let n3 = |ip| neighbor("n3", L3, "02:00:00:00:01:03", "lime", ip, 8);
    let of_v4 = |ip| neighbor("n4", L2, "02:00:00:00:01:04", "azure", ip, 8);
    let rule = ("rule", "2001:db8:203::/48", "2001:db8:8:3::103", 1);
    let old_rule = ("rule", "203.0.113.0/24", "10.7.1.104", 1);
    let nameless = ("", "2001:db8:203::/49", "2001:db8:7:1::101", 1);
    vec![
        say([vpc("vpc", 7)]),
        say([subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]),
        say([
            azure("2001:db8:7::/48", 1),
            azure("10.7.2.0/24", 2),
            azure("2001:db8:7:1::/64", 1),
        ]),
        say([subnet("lime", "vpc", "2001:db8:8:3::/64", 8, 3)]),
        say([
            router("router", Delta, &[("azure", &[old_rule, nameless])]),
            router("router", Delta, &[("blue", &[old_rule]), ("lime", &[])]),
            router("router", Delta, &[("azure", &[rule])]),
        ]),
        say([
            a(&[("azure", "10.7.2.10")]),
            a(&[("blue", "10.7.1.10")]),
            a(&[("azure", "2001:db8:7:1::10"), ("blue", "10.7.1.10")]),
        ]),
        vec![Bind(1, "port-a")],
        say([n1(9), deleted(n1(9)), n1(8)]),
        say([n3("2001:DB8:8:3:0:0:0:103")]),
        say([of_v4("10.7.2.104")]),
        say([neighbor(
            "n5",
            L2,
            "02:00:00:00:01:05",
            "blue",
            "10.7.1.104",
            9,
        )]),
    ]
}

/// What is kept is patched, replaced, renamed and deleted.
pub(super) fn keeping() -> Vec<Story> {
    let mac = "02:00:00:00:00:0a";
    let zeta = gateway("zeta", GatewayType::Zeta);
    vec![
        say([
            security_group("group", Delta, &[("a", 22), ("", 80)]),
            security_group("group", Full, &[("b", 443), ("", 81)]),
            security_group("group", Delta, &[("b", 0), ("c", 53), ("a", 22)]),
        ]),
        say([
            security_group("gone", Full, &[("a", 22)]),
            deleted(security_group("gone", Full, &[])),
        ]),
        say([
            dhcp("uuid-1", "blue", mac, "10.7.1.10"),
            dhcp("uuid-2", "blue", mac, "10.7.1.11"),
        ]),
        say([
            dhcp("uuid-3", "red", mac, "10.7.2.10"),
            deleted(dhcp("uuid-4", "red", mac, "")),
        ]),
        say([
            zeta.clone(),
            deleted(zeta),
            gateway("zeta", GatewayType::Igw),
        ]),
        say([vpc("vpc", 7)]),
        say([subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]),
        say([port("port-a", mac, &[("blue", "10.7.1.10")])]),
        vec![Bind(1, "port-a")],
    ]
}

/// Lets the steps happen, in this order; what is said goes out as a message where `ends_message` says so.
fn tell(
    steps: impl IntoIterator<Item = Step>,
    ends_message: impl IntoIterator<Item = bool>,
    second_form: bool,
) -> World {
    let form = |states: Vec<State>| if second_form { v2(states) } else { v1(states) };
    let mut world = World::unbound(1 << 10);
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
