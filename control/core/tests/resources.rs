// SPDX-License-Identifier: MIT
//! What each kind of resource does, and what Alcor's ways of saying it are.

use std::time::Instant;

use super::goal::*;
use super::world::{PORT_A, PORT_B, World, statuses};
use crate::core::watchdog::GRACE;
use crate::core::{NotDone, Show};
use crate::proto::schema::NeighborType::{L2, L3};
use crate::proto::schema::OperationStatus::{Failure, Pending, Success};
use crate::proto::schema::{OperationType, UpdateType};
use crate::southbound::decode::{self, Encoded};

const MAC: &str = "02:00:00:00:01:63";

/// A world in which subnet "blue" (VNI 7) and a port in it are there.
fn blue() -> World {
    let mut world = World::new();
    world.succeed([
        vpc("vpc", 7),
        subnet("blue", "vpc", "10.7.1.0/24", 0, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
    ]);
    world
}

/// The store would have more to say of it than it is asked for at a restart.
#[test]
fn a_router_takes_no_more_subnets_than_one_goal_state_can_name() {
    let mut world = World::new();
    let ids: Vec<String> = (0..70_000).map(|n| format!("s{n}")).collect();
    let rule = ("rule", "203.0.113.0/24", "10.7.1.20", 1);
    let mut say = |rules: &[RuleText<'_>], ids: &[String]| {
        let tables = ids.iter().map(|id| (id.as_str(), rules));
        let router = router("r", UpdateType::Delta, &tables.collect::<Vec<_>>());
        let reply = world.core.apply("test", &Encoded::from(&v1([router])));
        statuses(&reply.unwrap())[0]
    };
    let mut merge = |ids: &[String]| say(&[], ids);
    let taken = merge(&ids[..40_000]);
    assert_ne!(taken, Failure);
    assert_eq!(merge(&ids[40_000..]), Failure);
    assert_eq!(
        merge(&ids[20_000..60_000]),
        taken,
        "half of these are known"
    );
    assert_eq!(merge(&ids[60_000..65_537]), Failure);
    assert_eq!(merge(&ids[60_000..65_535]), taken);
    // The default table is one, while it has rules.
    assert_eq!(say(&[rule], &[String::new()]), taken);
    assert_eq!(say(&[], &ids[65_535..65_536]), Failure);
    let deleted = ("rule", "", "", 0);
    assert_eq!(say(&[deleted], &[String::new()]), taken);
    assert_eq!(say(&[], &ids[65_535..65_536]), taken);
}

#[test]
fn the_scenario_programs_what_it_says() {
    let mut world = World::new();
    world.succeed(scenario());
    let seen = world.see();
    for line in [
        "port 1 02:00:00:00:00:0a up=true",
        " in 10.7.1.0/24 vni 7 gateway Some(00:00:5e:00:01:01) dvr Some(fe:16:11:00:00:00)",
        "  10.7.2.12: 02:00:00:00:00:0b vni 7 port 2",
        "  10.7.2.102: 02:00:00:00:01:02 vni 7 host 192.0.2.9 mac ..:09",
        "  10.8.3.104: 02:00:00:00:01:04 vni 8 host 192.0.2.8 mac ..:08",
        "  02:00:00:00:01:01: 02:00:00:00:01:01 vni 7 host 192.0.2.9 mac ..:09",
        // By the rule, to its next hop.
        "  203.0.113.5: 02:00:00:00:01:03 vni 8 host 192.0.2.8 mac ..:08",
    ] {
        assert!(seen.contains(line), "no {line:?} in\n{seen}");
    }
    // 4 neighbors and 2 ports by MAC, of which port 2 is in one domain; 4 and 4 addresses; 2 hosts.
    assert!(seen.ends_with("entries [6, 8, 0, 2]\n"), "{seen}");
}

#[test]
fn a_neighbor_moves_between_hosts_without_a_publication() {
    let mut world = blue();
    world.succeed([neighbor("n", L2, MAC, "blue", "10.7.1.99", 9)]);
    let before = world.publications();
    world.succeed([neighbor("n", L2, MAC, "blue", "10.7.1.99", 8)]);
    assert_eq!(
        world.find("10.7.1.99").unwrap(),
        "02:00:00:00:01:63 vni 7 host 192.0.2.8 mac ..:08"
    );
    assert_eq!(world.publications(), before);
    assert!(
        world.see().ends_with("entries [2, 2, 0, 1]\n"),
        "the old host is forgotten"
    );
}

#[test]
fn a_neighbor_that_gets_another_mac_is_found_by_that_only() {
    let mut world = blue();
    world.succeed([neighbor("n", L2, MAC, "blue", "10.7.1.99", 9)]);
    world.succeed([neighbor(
        "n",
        L2,
        "02:00:00:00:01:64",
        "blue",
        "10.7.1.99",
        9,
    )]);
    let seen = world.see();
    assert!(
        seen.contains("  02:00:00:00:01:64: ") && !seen.contains(MAC),
        "{seen}"
    );
}

#[test]
fn a_neighbor_is_known_by_l2_and_l3_until_both_are_deleted() {
    let mut world = blue();
    world.succeed([router("router", UpdateType::Full, &[("blue", &[])])]);
    let states = [L2, L3].map(|kind| neighbor("n", kind, MAC, "blue", "10.7.1.99", 9));
    world.succeed(states.clone());
    for state in states {
        assert!(world.find("10.7.1.99").is_some());
        world.succeed([deleted(state)]);
    }
    assert_eq!(world.find("10.7.1.99"), None);
}

#[test]
fn among_neighbors_with_one_address_the_latest_has_it_and_the_other_gets_it_back() {
    let mut world = blue();
    world.succeed([neighbor("old", L2, MAC, "blue", "10.7.1.99", 8)]);
    world.succeed([neighbor("new", L2, MAC, "blue", "10.7.1.99", 9)]);
    let at = |world: &mut World, host: u8| {
        assert_eq!(
            world.find("10.7.1.99").unwrap(),
            format!("{MAC} vni 7 host 192.0.2.{host} mac ..:{host:02x}")
        );
    };
    at(&mut world, 9);
    // Said again and nothing new: no reason to change sides.
    world.succeed([neighbor("old", L2, MAC, "blue", "10.7.1.99", 8)]);
    at(&mut world, 9);
    world.succeed([deleted(neighbor("new", L2, MAC, "blue", "10.7.1.99", 9))]);
    at(&mut world, 8);
}

#[test]
fn a_port_of_this_host_wins_its_address_from_neighbors() {
    let mut world = blue();
    let stale = neighbor("n", L2, "02:00:00:00:01:64", "blue", "10.7.1.11", 9);
    let arrived = port("port-b", MAC, &[("blue", "10.7.1.11")]);
    world.succeed([arrived.clone()]);
    world.succeed([stale.clone()]);
    assert_eq!(
        world.find("10.7.1.11").unwrap(),
        "02:00:00:00:01:63 vni 7 port 2"
    );
    world.succeed([deleted(arrived)]);
    assert_eq!(
        world.find("10.7.1.11").unwrap(),
        "02:00:00:00:01:64 vni 7 host 192.0.2.9 mac ..:09"
    );
    world.succeed([deleted(stale)]);
    assert_eq!(world.find("10.7.1.11"), None);
}

#[test]
fn traffic_follows_a_guest_no_earlier_than_workers_see_its_port_and_never_stops() {
    let mut world = blue();
    let there = neighbor("n", L2, MAC, "blue", "10.7.1.11", 9);
    let here = port("port-b", MAC, &[("blue", "10.7.1.11")]);
    world.succeed([there.clone()]);
    let place = |world: &mut World| world.find("10.7.1.11").map(|text| text[24..].to_owned());
    let host = Some("host 192.0.2.9 mac ..:09".to_owned());
    let local = Some("port 2".to_owned());
    for (states, before, after) in [
        (vec![here.clone()], &host, &local),
        (vec![deleted(here.clone())], &host, &host),
        (vec![here.clone(), deleted(there.clone())], &host, &local),
        (vec![deleted(here), there], &host, &host),
    ] {
        let resources = decode::resources(&Encoded::from(&v1(states))).unwrap();
        world
            .core
            .begin_goal("test".to_owned(), Instant::now(), resources);
        assert_eq!(
            &place(&mut world),
            before,
            "the role is not visible yet, or still is"
        );
        let commit = world.core.program.commit();
        while !world.core.program.settled(&commit) {}
        assert_eq!(
            &place(&mut world),
            before,
            "what is removed is not missing meanwhile"
        );
        assert!(world.core.make_visible(GRACE));
        assert_eq!(&place(&mut world), after);
        world.core.wanted.sweep();
        world.check();
    }
}

#[test]
fn two_ports_with_one_address_are_told_apart_by_who_came_last() {
    let mut world = blue();
    world.succeed([port("port-b", MAC, &[("blue", "10.7.1.10")])]);
    assert_eq!(
        world.find("10.7.1.10").unwrap(),
        "02:00:00:00:01:63 vni 7 port 2"
    );
    world.unbind(PORT_B);
    assert_eq!(
        world.find("10.7.1.10").unwrap(),
        "02:00:00:00:00:0a vni 7 port 1"
    );
}

#[test]
fn a_neighbor_on_this_host_programs_nothing_of_its_own() {
    let mut world = blue();
    world.succeed([neighbor("n", L2, MAC, "blue", "10.7.1.99", 1)]);
    assert_eq!(world.find("10.7.1.99"), None);
}

#[test]
fn a_neighbor_waits_for_its_subnet_and_a_subnet_for_a_vni() {
    let mut world = World::new();
    let here = port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]);
    let waits = [here, neighbor("n", L2, MAC, "blue", "10.7.1.99", 9)];
    assert_eq!(world.put(waits.clone()), [Pending, Pending]);
    for placeholder in [0, i64::MAX as u64, u64::MAX] {
        assert_eq!(
            world.put([subnet("blue", "vpc", "10.7.1.0/24", placeholder, 1)]),
            [Pending]
        );
    }
    assert_eq!(world.put(waits.clone()), [Pending, Pending]);
    assert_eq!(
        world
            .core
            .program
            .show(&world.core.wanted, Show::Pending)
            .as_array()
            .unwrap()
            .len(),
        3
    );
    world.succeed([vpc("vpc", 7)]);
    assert_eq!(
        world.find("10.7.1.99").unwrap(),
        format!("{MAC} vni 7 host 192.0.2.9 mac ..:09")
    );
    world.succeed(waits);
    assert_eq!(
        world
            .core
            .program
            .show(&world.core.wanted, Show::Pending)
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_placeholder_does_not_take_a_known_vni_back() {
    let mut world = blue();
    world.succeed([subnet("blue", "vpc", "10.7.1.0/24", 8, 1)]);
    world.succeed([
        vpc("vpc", 0),
        subnet("blue", "vpc", "10.7.1.0/24", i64::MAX as u64, 1),
        subnet("red", "vpc", "10.7.2.0/24", 0, 1),
    ]);
    world.succeed([neighbor("n", L2, MAC, "blue", "10.7.1.99", 9)]);
    assert!(
        world.find("10.7.1.99").unwrap().contains("vni 8"),
        "its own"
    );
    let subnets = world.core.program.show(&world.core.wanted, Show::Subnets);
    assert_eq!(subnets[1]["vni"], 7, "the VPC's");
}

#[test]
fn a_subnet_that_changes_its_vni_takes_everything_in_it_along() {
    let mut world = World::new();
    world.succeed(scenario());
    world.succeed([subnet("blue", "vpc", "10.7.1.0/24", 77, 1)]);
    let seen = world.see();
    assert!(seen.contains(" in 10.7.1.0/24 vni 77 "), "{seen}");
    assert!(
        seen.contains("  10.7.1.101: 02:00:00:00:01:01 vni 77 host"),
        "{seen}"
    );
    assert!(
        seen.contains("  10.7.2.102: 02:00:00:00:01:02 vni 7 host"),
        "{seen}"
    );
    world.check();
}

#[test]
fn a_neighbor_without_a_host_mac_needs_the_underlay_to_be_known() {
    let mut world = blue();
    let mut state = neighbor("n", L2, MAC, "blue", "10.7.1.99", 9);
    if let State::Neighbor(state) = &mut state {
        state
            .configuration
            .as_mut()
            .unwrap()
            .host_mac_address
            .clear();
    }
    assert_eq!(world.put([state]), [Pending]);
    let pending = world.core.program.show(&world.core.wanted, Show::Pending);
    assert_eq!(pending[0]["reason"], "no underlay MAC for 192.0.2.9");
    world.succeed([neighbor("n", L2, MAC, "blue", "10.7.1.99", 9)]);
}

#[test]
fn a_router_update_merges_and_a_full_one_replaces() {
    let mut world = World::new();
    world.succeed(scenario());
    let via_rule = |world: &mut World| world.see().contains("  203.0.113.5: ");
    world.succeed([router(
        "router",
        UpdateType::Delta,
        &[("red", &[("r2", "203.0.113.0/24", "10.7.2.102", 1)])],
    )]);
    assert!(
        world.see().contains("  203.0.113.5: 02:00:00:00:01:03"),
        "blue keeps its rule"
    );
    assert!(
        world.see().contains("  203.0.113.5: 02:00:00:00:01:02"),
        "red has its own"
    );
    world.succeed([router(
        "router",
        UpdateType::Delta,
        &[
            ("blue", &[("rule", "", "", 0)]),
            ("red", &[("r2", "", "", 0)]),
        ],
    )]);
    assert!(!via_rule(&mut world));
    assert!(world.see().contains("  10.8.3.103: "));
    world.succeed([router(
        "router",
        UpdateType::Full,
        &[("blue", &[]), ("red", &[])],
    )]);
    assert!(
        !world.see().contains("  10.8.3.103: "),
        "green is no longer connected"
    );
    assert!(world.see().contains("  10.7.2.102: "));
    world.succeed([deleted(router("router", UpdateType::Full, &[]))]);
    assert!(!world.see().contains("  10.7.2.102: ") && world.see().contains("dvr None"));
}

#[test]
fn a_rule_beats_the_route_to_a_connected_subnet_and_the_lower_priority_beats_it() {
    let mut world = World::new();
    world.succeed(scenario());
    let rules = [
        ("far", "10.7.2.0/24", "10.8.3.103", 9),
        ("near", "10.7.2.0/24", "10.7.1.101", 8),
    ];
    world.succeed([router("router", UpdateType::Delta, &[("blue", &rules)])]);
    let seen = world.see();
    assert!(
        seen.contains("  10.7.2.102: 02:00:00:00:01:01 vni 7 host"),
        "{seen}"
    );
    world.succeed([router(
        "router",
        UpdateType::Delta,
        &[("blue", &[("near", "", "", 0)])],
    )]);
    assert!(
        world
            .see()
            .contains("  10.7.2.102: 02:00:00:00:01:03 vni 8 host")
    );
}

#[test]
fn a_rule_without_a_next_hop_is_on_the_link() {
    for hop in ["", "0.0.0.0"] {
        let mut world = blue();
        world.succeed([router(
            "router",
            UpdateType::Full,
            &[("blue", &[("local", "10.0.0.0/8", hop, 1)])],
        )]);
        world.succeed([neighbor("n", L3, MAC, "blue", "10.7.2.99", 9)]);
        assert!(world.see().contains("  10.7.2.99: "), "{hop:?}");
    }
}

#[test]
fn a_router_waits_for_subnets_and_connects_those_that_are_there() {
    let mut world = World::new();
    let all = scenario();
    let (green, others): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|state| {
        matches!(state, State::Subnet(state) if state.configuration.as_ref().unwrap().id == "green")
    });
    let statuses = world.put(others);
    assert!(statuses.contains(&Pending));
    assert!(world.see().contains("  10.7.2.102: "));
    assert!(!world.see().contains("  10.8.3.103: "));
    world.succeed(green);
    assert!(world.see().contains("  10.8.3.103: "));
    world.succeed(all);
}

#[test]
fn a_port_update_with_a_device_is_the_port_and_admin_down_shows() {
    let mut world = blue();
    let mut state =
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]).with(OperationType::Update);
    if let State::Port(state) = &mut state {
        let configuration = state.configuration.as_mut().unwrap();
        configuration.device_id = "vm".into();
        configuration.device_owner = "compute:nova".into();
        configuration.admin_state_up = false;
    }
    world.succeed([state]);
    assert!(world.see().contains("port 1 02:00:00:00:00:0a up=false"));
}

#[test]
fn a_port_is_pending_until_a_port_of_the_switch_is_bound_to_it() {
    let mut world = World::unbound(1 << 10);
    let here = port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]);
    assert_eq!(
        world.put([subnet("blue", "vpc", "10.7.1.0/24", 7, 1), here.clone()]),
        [Success, Pending]
    );
    world.bind(PORT_A, "port-a");
    world.succeed([here]);
    assert_eq!(
        world.find("10.7.1.10").unwrap(),
        "02:00:00:00:00:0a vni 7 port 1"
    );
}

#[test]
fn bindings_that_contradict_each_other_are_refused() {
    let mut world = World::new();
    let core = &mut world.core;
    let taken = NotDone::PortTaken {
        port: 1,
        id: "port-a".into(),
    };
    assert_eq!(core.bind(PORT_A, "other"), Err(taken));
    assert_eq!(
        core.bind(PORT_B, "port-a"),
        Err(NotDone::PortTaken {
            port: 2,
            id: "port-b".into()
        })
    );
    core.unbind(PORT_B).unwrap();
    assert_eq!(
        core.bind(PORT_B, "port-a"),
        Err(NotDone::IdTaken {
            port: 1,
            id: "port-a".into()
        })
    );
    assert_eq!(core.unbind(PORT_B), Err(NotDone::NotBound(2)));
    assert_eq!(
        core.bind(super::world::UPLINK, "x"),
        Err(NotDone::NotTenant(0))
    );
    assert_eq!(core.bind(PORT_B, ""), Err(NotDone::NoId));
    assert_eq!(core.bind(PORT_A, "port-a"), Ok(()));
}

#[test]
fn vpcs_with_the_same_addresses_are_kept_apart() {
    let mut world = World::new();
    world.succeed([
        subnet("one", "vpc-1", "10.7.1.0/24", 1, 1),
        subnet("two", "vpc-2", "10.7.1.0/24", 2, 1),
        port("port-a", MAC, &[("one", "10.7.1.10")]),
        port("port-b", MAC, &[("two", "10.7.1.10")]),
        neighbor("n1", L2, "02:00:00:00:00:01", "one", "10.7.1.99", 8),
        neighbor("n2", L2, "02:00:00:00:00:01", "two", "10.7.1.99", 9),
        router("r1", UpdateType::Full, &[("one", &[])]),
        router("r2", UpdateType::Full, &[("two", &[])]),
    ]);
    let seen = world.see();
    let (one, two) = seen.split_once("port 2 ").unwrap();
    assert!(
        one.contains("10.7.1.10: 02:00:00:00:01:63 vni 1 port 1")
            && one.contains("10.7.1.99: 02:00:00:00:00:01 vni 1 host 192.0.2.8")
    );
    assert!(
        two.contains("10.7.1.10: 02:00:00:00:01:63 vni 2 port 2")
            && two.contains("10.7.1.99: 02:00:00:00:00:01 vni 2 host 192.0.2.9")
    );
}

#[test]
fn a_full_table_fails_what_does_not_fit_and_has_room_again_after_a_delete() {
    use crate::proto::schema::OperationStatus::Failure;
    let mut world = World::unbound(64);
    world.bind(PORT_A, "port-a");
    let neighbors = |from: u8, to: u8| {
        (from..to).map(|n| {
            neighbor(
                &format!("n{n}"),
                L2,
                &format!("02:00:00:00:01:{n:02x}"),
                "blue",
                &format!("10.7.1.{n}"),
                9,
            )
        })
    };
    world.succeed([
        subnet("blue", "vpc", "10.7.1.0/24", 7, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.250")]),
    ]);
    world.succeed(neighbors(0, 63));
    assert_eq!(world.put(neighbors(63, 65)), [Failure, Failure]);
    // Nothing of what does not fit stays: not its next hop, and not the half that would fit.
    let half = neighbor("half", L2, "02:00:00:00:01:ff", "blue", "10.7.1.5", 8);
    assert_eq!(world.put([half]), [Failure]);
    assert!(
        world
            .find("10.7.1.5")
            .unwrap()
            .ends_with("192.0.2.9 mac ..:09")
    );
    // In one message: the old ones leave and make room for as many.
    let swapped: Vec<_> = neighbors(0, 60)
        .map(deleted)
        .chain(neighbors(100, 160))
        .collect();
    world.succeed(swapped);
    assert!(world.find("10.7.1.150").is_some());
    // A port that finds no room says so, and has what was contested all the same.
    world.bind(PORT_B, "port-b");
    let fixed_ips = [("blue", "10.7.1.251"), ("blue", "10.7.1.150")];
    let arrived = port("port-b", "02:00:00:00:00:0b", &fixed_ips);
    assert_eq!(world.put([arrived.clone()]), [Failure]);
    assert_eq!(world.find("10.7.1.251"), None);
    assert!(world.find("10.7.1.150").unwrap().ends_with("port 2"));
    world.succeed(neighbors(60, 62).map(deleted));
    world.succeed([arrived.clone()]);
    assert!(world.find("10.7.1.251").unwrap().ends_with("port 2"));
    world.succeed([deleted(arrived)]);
    assert!(world.find("10.7.1.150").unwrap().ends_with("mac ..:09"));
    world.succeed(
        neighbors(63, 65)
            .skip(1)
            .chain([deleted(neighbors(60, 61).next().unwrap())]),
    );
}

#[test]
fn equal_routes_of_two_vpcs_are_in_one_order_whichever_vpc_is_told_first() {
    let tables = [["one", "two"], ["two", "one"]].map(|vpcs| {
        let mut world = World::new();
        world.succeed(scenario());
        for id in vpcs {
            let far = format!("{id}-net");
            let vni = id.len() as u32 + u32::from(id == "two") + 20;
            world.put([vpc(id, vni), subnet(&far, id, "10.9.1.0/24", 0, 0)]);
        }
        let connected: [(&str, &[RuleText<'_>]); 3] =
            [("blue", &[]), ("one-net", &[]), ("two-net", &[])];
        world.put([router("router", UpdateType::Delta, &connected)]);
        world.show(Show::Routes)
    });
    assert_eq!(tables[0], tables[1]);
    let far =
        |row: &&serde_json::Value| row["subnet"] == "blue" && row["destination"] == "10.9.1.0/24";
    assert_eq!(tables[0].iter().filter(far).count(), 2);
}
