// SPDX-License-Identifier: MIT
//! What is wanted, hashed and compared with what workers see.

use std::collections::BTreeMap;

use super::goal::*;
use super::world::{PORT_B, World};
use crate::audit::canonical::{Hash, entries, hash_of_all};
use crate::audit::part::Reason;
use crate::core::Goal;
use crate::proto::schema::*;
use crate::state::parts::Position;

/// A resource of an audit: its hash, and whether it is programmed.
type Audited = (Hash, Result<(), Reason>);

/// All that is wanted, by kind and key.
fn audit(world: &World) -> BTreeMap<(ResourceType, String), Audited> {
    let (mut all, mut position) = (BTreeMap::new(), Position::default());
    while let Some(mut part) = world.core.audit(&mut position, true) {
        let entries = entries(&mut part.goal);
        assert_eq!(entries.len(), part.states.len());
        for (entry, state) in entries.into_iter().zip(part.states) {
            let hash = entry.hash();
            let before = all.insert((entry.kind, entry.key), (hash, state));
            assert!(before.is_none(), "two resources have one key");
        }
    }
    all
}

fn hashes(world: &World) -> BTreeMap<(ResourceType, String), Hash> {
    let all = audit(world).into_iter();
    all.map(|(name, (hash, _))| (name, hash)).collect()
}

/// Why a resource is not programmed; `None`: it is.
fn gap(world: &World, kind: ResourceType, key: &str) -> Option<(OperationStatus, String)> {
    let all = audit(world);
    let (_, state) = &all[&(kind, key.to_owned())];
    state.clone().err()
}

/// Some of each kind.
fn everything() -> Vec<State> {
    let kept = [
        security_group(
            "group",
            UpdateType::Full,
            &[("b", 22), ("a", 80), ("", 443)],
        ),
        dhcp("uuid", "blue", "02:00:00:00:00:0a", "10.7.1.10"),
        gateway("zeta", GatewayType::Zeta),
        gateway("nat", GatewayType::Ngw),
    ];
    scenario().into_iter().chain(kept).collect()
}

#[test]
fn hosts_that_were_told_the_same_have_the_same_hashes_whatever_the_order_the_split_and_the_revision()
 {
    let mut world = World::new();
    world.put(everything());
    let expected = hashes(&world);
    assert_eq!(expected.len(), everything().len());

    let mut reversed = World::new();
    for state in everything().into_iter().rev() {
        reversed.apply(v2([state.at(9)]));
    }
    assert_eq!(hashes(&reversed), expected);
    // Likewise when updates lead there, in two orders.
    let parts = [("a", 22), ("b", 443)].map(|rule| security_group("g", UpdateType::Delta, &[rule]));
    let tables = ["blue", "red"].map(|subnet| {
        router(
            "r",
            UpdateType::Delta,
            &[(subnet, &[("", "198.51.100.0/24", "10.7.1.9", 1)])],
        )
    });
    let updates: Vec<State> = parts.into_iter().chain(tables).collect();
    world.put(updates.clone());
    for state in updates.into_iter().rev() {
        reversed.put([state]);
    }
    assert_eq!(hashes(&reversed), hashes(&world));
    // And after a restart from what is exported.
    let mut copy = World::new();
    copy.put(super::export::exported(&world.core.wanted));
    assert_eq!(hashes(&copy), hashes(&world));
}

#[test]
fn a_hash_changes_with_each_field_that_says_what_is_wanted_and_others_stay() {
    let changes: [(&str, State); 8] = [
        ("vpc", vpc("vpc", 9)),
        ("blue", subnet("blue", "vpc", "10.7.1.0/24", 9, 1)),
        (
            "port-a",
            port("port-a", "02:00:00:00:00:0c", &[("blue", "10.7.1.10")]),
        ),
        (
            "L2/10.7.1.101/blue/n1",
            neighbor(
                "n1",
                NeighborType::L2,
                "02:00:00:00:01:01",
                "blue",
                "10.7.1.101",
                8,
            ),
        ),
        (
            "router",
            router(
                "router",
                UpdateType::Delta,
                &[("blue", &[("rule", "203.0.113.0/24", "10.8.3.103", 99)])],
            ),
        ),
        (
            "group",
            security_group("group", UpdateType::Delta, &[("a", 81)]),
        ),
        (
            "blue/02:00:00:00:00:0a",
            dhcp("other", "blue", "02-00-00-00-00-0A", "10.7.1.11"),
        ),
        ("zeta", gateway("zeta", GatewayType::Default)),
    ];
    for (key, change) in changes {
        let mut world = World::new();
        world.put(everything());
        let before = hashes(&world);
        world.put([change]);
        let after = hashes(&world);
        let differ = before.iter().filter(|(name, hash)| after[name] != **hash);
        let differ: Vec<&str> = differ.map(|((_, key), _)| key.as_str()).collect();
        assert_eq!(differ, [key]);
        let all = |hashes: &BTreeMap<_, Hash>| hash_of_all(hashes.values().copied().collect());
        assert_ne!(all(&before), all(&after));
    }
}

#[test]
fn the_same_dhcp_under_another_id_is_the_same() {
    let mut world = World::new();
    world.put(everything());
    let before = hashes(&world);
    world.put([dhcp("another", "blue", "02:00:00:00:00:0a", "10.7.1.10")]);
    assert_eq!(hashes(&world), before);
}

/// So that nobody changes by accident what controllers compute for themselves: docs/audit.md has the same.
#[test]
fn the_hash_of_a_vpc_is_the_documented_one() {
    let mut world = World::new();
    world.put([vpc("vpc-1", 7)]);
    let hash = hashes(&world)[&(ResourceType::Vpc, "vpc-1".to_owned())];
    let hex = |hash: Hash| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
    // printf 'VPC\0\x1a\x05vpc-1\x3a\x0a10.0.0.0/8\x40\x07' | sha256sum
    assert_eq!(
        hex(hash),
        "93fc7e995edfc7f2b37c898fead465d5f63e1dfe7d7a44992aa4fe85d742511a"
    );
    // ... | xxd -r -p | sha256sum
    assert_eq!(
        hex(hash_of_all(vec![hash])),
        "2965ed5658b86a5fc69848e87f7aa70883a3faecfeda213b5d1c2d1940f0b597"
    );
}

#[test]
fn what_waits_is_not_programmed_and_says_why() {
    let mut world = World::new();
    let early = neighbor(
        "n1",
        NeighborType::L2,
        "02:00:00:00:01:01",
        "blue",
        "10.7.1.101",
        9,
    );
    world.put([early]);
    let key = "L2/10.7.1.101/blue/n1";
    let (status, reason) = gap(&world, ResourceType::Neighbor, key).unwrap();
    assert_eq!(status, OperationStatus::Pending);
    assert!(reason.contains("\"blue\""), "{reason}");
    world.put(everything());
    assert_eq!(gap(&world, ResourceType::Neighbor, key), None);
    let unprogrammed = audit(&world)
        .into_iter()
        .filter(|(_, (_, state))| state.is_err());
    let keys: Vec<String> = unprogrammed.map(|((_, key), _)| key).collect();
    assert_eq!(keys, ["group", "nat", "zeta"]);
    let nat = gap(&world, ResourceType::Gateway, "nat").unwrap();
    assert_eq!(nat.0, OperationStatus::InvalidArg);
    world.unbind(PORT_B);
    let (status, reason) = gap(&world, ResourceType::Port, "port-b").unwrap();
    assert_eq!(status, OperationStatus::Pending);
    assert!(
        reason.contains("no port of the switch is bound"),
        "{reason}"
    );
}

#[test]
fn what_workers_lost_is_seen() {
    let mut world = World::new();
    world.succeed(dual_stack());
    let both = ["L2/10.7.1.101/blue/n1", "L2/2001:db8:7:1::101/azure/n1"];
    for n1 in both {
        assert_eq!(gap(&world, ResourceType::Neighbor, n1), None);
    }
    assert_eq!(gap(&world, ResourceType::Port, "port-a"), None);
    for ip in ["10.7.1.101", "2001:db8:7:1::101", "10.7.1.10"] {
        world.core.program.lose(ip.parse().unwrap());
    }
    world.core.make_visible(crate::core::GRACE);
    let failure = |gap: Option<Reason>| gap.map(|(status, _)| status);
    for n1 in both {
        assert_eq!(
            failure(gap(&world, ResourceType::Neighbor, n1)),
            Some(OperationStatus::Failure)
        );
    }
    assert_eq!(
        failure(gap(&world, ResourceType::Port, "port-a")),
        Some(OperationStatus::Failure)
    );
    assert_eq!(gap(&world, ResourceType::Port, "port-b"), None);
    world.core.program.lose_role(PORT_B);
    world.core.make_visible(crate::core::GRACE);
    assert_eq!(
        failure(gap(&world, ResourceType::Port, "port-b")),
        Some(OperationStatus::Failure)
    );
}

#[test]
fn of_two_neighbors_with_one_address_only_the_one_that_has_it_is_programmed() {
    use NeighborType::L2;
    let mut world = World::new();
    world.succeed(scenario());
    world.put([neighbor(
        "thief",
        L2,
        "02:00:00:00:01:66",
        "blue",
        "10.7.1.101",
        8,
    )]);
    assert_eq!(
        gap(&world, ResourceType::Neighbor, "L2/10.7.1.101/blue/thief"),
        None
    );
    let (status, reason) = gap(&world, ResourceType::Neighbor, "L2/10.7.1.101/blue/n1").unwrap();
    assert_eq!(status, OperationStatus::Pending);
    assert!(reason.contains("a later entry"), "{reason}");
}

#[test]
fn what_was_set_aside_since_nobody_used_it_says_so() {
    let mut world = World::new();
    world.succeed(scenario());
    let find = |world: &World| {
        world
            .core
            .wanted
            .neighbors()
            .find(|(_, it)| it.id == "n2".into())
            .unwrap()
            .0
    };
    let ix = find(&world);
    world.core.program.set_idle(&world.core.wanted, ix, true);
    world.core.make_visible(crate::core::GRACE);
    let (status, reason) = gap(&world, ResourceType::Neighbor, "L3/10.7.2.102/red/n2").unwrap();
    assert_eq!(status, OperationStatus::Pending);
    assert!(reason.contains("nobody has used it"), "{reason}");
}

#[test]
fn while_a_worker_does_not_look_nothing_is_said_to_be_programmed() {
    let mut world = World::new();
    world.succeed(scenario());
    let mut position = Position::default();
    let mut some = 0;
    while let Some(part) = world.core.audit(&mut position, false) {
        some += part.states.len();
        let pending = |state: &Result<(), _>| matches!(state, Err((OperationStatus::Pending, _)));
        assert!(part.states.iter().all(pending));
    }
    assert_eq!(some, scenario().len());
}

#[test]
fn a_look_changes_nothing() {
    let mut world = World::new();
    world.put(everything());
    let before = (world.publications(), world.see(), world.wanted());
    let first = audit(&world);
    assert_eq!(audit(&world), first);
    assert_eq!((world.publications(), world.see(), world.wanted()), before);
}

#[test]
fn what_an_audit_says_is_wanted_makes_the_same_again() {
    let mut world = World::new();
    world.put(everything());
    let mut copy = World::new();
    let mut position = Position::default();
    while let Some(mut part) = world.core.audit(&mut position, true) {
        entries(&mut part.goal); // gives each its key
        copy.apply(Goal::V2(part.goal));
    }
    assert_eq!(hashes(&copy), hashes(&world));
    assert_eq!(copy.see(), world.see());
}
