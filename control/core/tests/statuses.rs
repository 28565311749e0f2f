// SPDX-License-Identifier: MIT
//! Every resource gets a status that says what became of it.

use super::goal::*;
use super::world::World;
use crate::core::Goal;
use crate::proto::schema::NeighborType::L2;
use crate::proto::schema::OperationStatus::{InvalidArg, OutOfOrder, Success};
use crate::proto::schema::*;

#[test]
fn every_kind_gets_a_status_with_its_own_id_kind_and_operation() {
    let mut world = World::new();
    let states = [
        vpc("v", 7).with(OperationType::Info),
        subnet("s", "v", "10.7.1.0/24", 0, 1).with(OperationType::Create),
        router("r", UpdateType::Full, &[("s", &[])]).with(OperationType::Update),
        port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]).with(OperationType::Get),
        neighbor("n", L2, "02:00:00:00:01:01", "s", "10.7.1.101", 9).with(OperationType::Get),
    ];
    for goal in [v1(states.clone()), v2(states)] {
        let reply = world.apply(goal);
        let seen: Vec<_> = reply
            .operation_statuses
            .iter()
            .map(|s| {
                (
                    s.resource_id.as_str(),
                    s.resource_type(),
                    s.operation_type(),
                    s.operation_status(),
                )
            })
            .collect();
        let expected = [
            ("v", ResourceType::Vpc, OperationType::Info, Success),
            ("s", ResourceType::Subnet, OperationType::Create, Success),
            ("r", ResourceType::Router, OperationType::Update, Success),
            ("port-a", ResourceType::Port, OperationType::Get, Success),
            ("n", ResourceType::Neighbor, OperationType::Get, Success),
        ];
        assert_eq!(seen, expected);
    }
    let ports = world
        .core
        .program
        .show(&world.core.wanted, crate::core::Show::Ports);
    assert!(ports[0]["mac"].is_null(), "GET describes no port");
    assert_eq!(world.core.wanted.neighbors().count(), 1, "but a neighbor");
}

#[test]
fn a_vni_of_another_vpc_is_refused_until_that_one_gives_it_up() {
    let mut world = World::new();
    let red = subnet("red-subnet", "red", "10.7.1.0/24", 7, 1);
    let blue = subnet("blue-subnet", "blue", "10.7.1.0/24", 7, 1);
    let guest = neighbor("n", L2, "02:00:00:00:01:01", "blue-subnet", "10.7.1.101", 9);
    world.succeed([vpc("red", 0), red.clone(), vpc("blue", 0)]);
    assert_eq!(world.put([blue.clone(), guest.clone()]), [InvalidArg; 2]);
    assert_eq!(
        neighbors(&mut world),
        0,
        "none in the other tenant's network"
    );
    world.succeed([deleted(red.clone())]);
    world.succeed([blue, guest]);
    assert_eq!(neighbors(&mut world), 1);
    assert_eq!(world.put([red.clone()]), [InvalidArg]);
    // In one message the one gives it up and the other takes it, whichever is looked at first.
    let away = subnet("blue-subnet", "blue", "10.7.1.0/24", 8, 1);
    world.succeed([red.clone(), away]);
    let taken = subnet("blue-subnet", "blue", "10.7.1.0/24", 7, 1);
    world.succeed([deleted(red), taken]);
    let moved = subnet("blue-subnet", "green", "10.7.1.0/24", 7, 1);
    world.succeed([moved]);
}

/// Entries of the table by MAC.
fn neighbors(world: &mut World) -> u64 {
    let what = crate::core::Show::Memory;
    let memory = world.core.program.show(&world.core.wanted, what);
    memory[0]["entries"].as_u64().unwrap()
}

#[test]
fn an_empty_goal_state_is_answered_with_an_empty_reply() {
    let mut world = World::new();
    let before = world.publications();
    assert!(
        world
            .apply(Goal::V2(GoalStateV2::default()))
            .operation_statuses
            .is_empty()
    );
    assert!(
        world
            .apply(Goal::V1(GoalState::default()))
            .operation_statuses
            .is_empty()
    );
    assert_eq!(world.publications(), before);
}

#[test]
fn an_older_revision_is_out_of_order_and_an_equal_one_or_none_applies() {
    let mut world = World::new();
    let all = || {
        [
            vpc("v", 7),
            subnet("s", "v", "10.7.1.0/24", 0, 1),
            router("r", UpdateType::Full, &[("s", &[])]),
            port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]),
            neighbor("n", L2, "02:00:00:00:01:01", "s", "10.7.1.101", 9),
        ]
    };
    world.succeed(all().map(|state| state.at(5)));
    let before = world.see();
    assert_eq!(
        world.put(all().map(|state| deleted(state.at(4)))),
        [OutOfOrder; 5]
    );
    assert_eq!(world.put(all().map(|state| state.at(4))), [OutOfOrder; 5]);
    assert_eq!(world.see(), before);
    world.succeed(all().map(|state| state.at(5)));
    world.succeed(all().map(|state| state.at(0)));
    assert_eq!(
        world.put(all().map(|state| state.at(4))),
        [OutOfOrder; 5],
        "0 is no revision"
    );
    world.succeed(all().map(|state| deleted(state.at(5))));
    world.succeed(all().map(|state| state.at(1)));
}

#[test]
fn a_wrong_resource_changes_nothing_and_does_not_harm_its_neighbors() {
    let mut world = World::new();
    world.succeed(scenario());
    let before = world.see();
    let mut wrong = neighbor("n1", L2, "02:00:00:00:01:01", "blue", "10.7.1.101", 9);
    if let State::Neighbor(state) = &mut wrong {
        state
            .configuration
            .as_mut()
            .unwrap()
            .host_ip_address
            .clear();
    }
    let good = neighbor("n9", L2, "02:00:00:00:01:09", "blue", "10.7.1.109", 9);
    assert_eq!(
        world.put([wrong.clone(), good.clone()]),
        [InvalidArg, Success]
    );
    world.succeed([deleted(good)]);
    assert_eq!(world.see(), before);
    // To delete it, its addresses are enough.
    world.succeed([deleted(wrong)]);
}

#[test]
fn times_are_true_and_consistent() {
    let mut world = World::new();
    let begun = std::time::Instant::now();
    let reply = world.apply(v1((0..5_000).map(|n| {
        let (a, b) = (n / 250, n % 250 + 1);
        neighbor(
            &format!("n{n}"),
            L2,
            &format!("02:00:00:00:{a:02x}:{b:02x}"),
            "s",
            &format!("10.7.{a}.{b}"),
            9,
        )
    })));
    let elapsed = begun.elapsed().as_micros() as u32;
    assert!(
        reply.message_total_operation_time <= elapsed && reply.message_total_operation_time > 0
    );
    for status in &reply.operation_statuses {
        assert!(status.state_elapse_time <= reply.message_total_operation_time);
        assert!(status.dataplane_programming_time <= status.state_elapse_time);
        assert!(status.network_configuration_time <= status.state_elapse_time);
    }
    assert!(
        reply.operation_statuses[0].state_elapse_time
            >= reply.operation_statuses[4_999].state_elapse_time
    );
}
