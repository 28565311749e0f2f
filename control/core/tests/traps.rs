// SPDX-License-Identifier: MIT
//! What Alcor's services really send: each oddity of theirs, and what becomes of it.

use prost::Message;

use super::goal::*;
use super::world::{World, statuses};
use crate::core::Show;
use crate::proto::schema::NeighborType::{L2, L3};
use crate::proto::schema::OperationStatus::{InvalidArg, OutOfOrder, Pending, Success};
use crate::proto::schema::*;
use crate::southbound::decode::{Encoded, resources};
use crate::state::Revisions;

const MAC: &str = "02:00:00:00:01:63";

/// Subnet "blue" with a port in it.
fn blue() -> [State; 3] {
    [
        vpc("vpc", 7),
        subnet("blue", "vpc", "10.7.1.0/24", 0, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
    ]
}

#[test]
fn a_neighbor_without_an_id_is_told_apart_by_its_address() {
    let mut world = World::new();
    world.succeed(blue());
    let guest = |n: u8| {
        let (mac, ip) = (format!("02:00:00:00:01:{n:02x}"), format!("10.7.1.{n}"));
        neighbor("", L2, &mac, "blue", &ip, 9)
    };
    world.succeed([guest(98), guest(99)]);
    assert!(world.find("10.7.1.98").is_some() && world.find("10.7.1.99").is_some());
    world.succeed([deleted(guest(98))]);
    assert!(world.find("10.7.1.98").is_none() && world.find("10.7.1.99").is_some());
}

#[test]
fn an_l3_neighbor_waits_for_the_router_of_its_subnet() {
    let mut world = World::new();
    world.succeed(blue());
    let guest = neighbor("", L3, MAC, "blue", "10.7.1.99", 9);
    assert_eq!(world.put([guest.clone()]), [Pending]);
    assert_eq!(world.reasons(), ["its subnet \"blue\" is in no router yet"]);
    world.succeed([router("router", UpdateType::Delta, &[("blue", &[])])]);
    assert_eq!(world.reasons(), [""; 0]);
    world.succeed([guest]);
}

#[test]
fn a_rule_waits_for_its_next_hop() {
    let mut world = World::new();
    world.succeed(blue());
    let rules = [
        ("rule", "203.0.113.0/24", "10.7.1.99", 1),
        ("on-link", "10.9.0.0/16", "", 1),
    ];
    let state = router("router", UpdateType::Full, &[("blue", &rules)]);
    assert_eq!(world.put([state.clone()]), [Pending]);
    assert_eq!(
        world.reasons(),
        [
            "next hop 10.7.1.99 of a rule for subnet \"blue\" is no port and no neighbor that is reached yet"
        ]
    );
    // By GET, as the data plane manager names the neighbors of next hops.
    let hop = neighbor("n", L2, MAC, "blue", "10.7.1.99", 9).with(OperationType::Get);
    world.succeed([hop]);
    assert_eq!(world.reasons(), [""; 0]);
    assert!(world.see().contains("  203.0.113.5: "));
    world.succeed([state]);
}

#[test]
fn a_rule_s_type_of_destination_says_nothing() {
    // The data plane manager says INTERNET of what is local, and VPC_GW of what leads to the Internet.
    let types = [
        DestinationType::Internet as i32,
        DestinationType::VpcGw as i32,
        99,
    ];
    for destination_type in types {
        let mut world = World::new();
        world.succeed(blue());
        let rules = [("rule", "203.0.113.0/24", "10.7.1.10", 1)];
        let mut state = router("router", UpdateType::Full, &[("blue", &rules)]);
        if let State::Router(state) = &mut state {
            let configuration = state.configuration.as_mut().unwrap();
            let rule = &mut configuration.subnet_routing_tables[0].routing_rules[0];
            rule.routing_rule_extra_info = Some(router_configuration::RoutingRuleExtraInfo {
                destination_type,
                ..Default::default()
            });
        }
        world.succeed([state]);
        assert!(world.see().contains("  203.0.113.5: "), "{}", world.see());
    }
}

#[test]
fn everything_that_waits_says_for_what() {
    let mut world = World::unbound(1 << 10);
    world.put([
        subnet("blue", "no-vpc", "10.7.1.0/24", 0, 1),
        vpc("vpc", 0),
        subnet("red", "vpc", "10.7.2.0/24", i64::MAX as u64, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
        neighbor("n", L2, MAC, "nowhere", "10.7.1.99", 9),
        router("router", UpdateType::Full, &[("gone", &[]), ("blue", &[])]),
    ]);
    assert_eq!(
        world.reasons(),
        [
            "subnet \"blue\" has no VNI, and its VPC \"no-vpc\" is not known yet",
            "neither subnet \"red\" nor its VPC \"vpc\" has a VNI yet",
            "subnet \"blue\" has no VNI, and its VPC \"no-vpc\" is not known yet",
            "its subnet \"gone\" is not known yet",
            "no port of the switch is bound to \"port-a\" yet",
            "its subnet \"nowhere\" is not known yet",
        ]
    );
    world.put([
        subnet("blue", "vpc", "10.7.1.0/24", 7, 1),
        subnet("taken", "other", "10.7.1.0/24", 7, 1),
    ]);
    let reasons = world.reasons();
    assert!(
        reasons.contains(&"VNI 7 belongs to another VPC, \"vpc\"".to_owned()),
        "{reasons:?}"
    );
}

#[test]
fn get_is_answered_by_how_the_resource_stands() {
    let mut world = World::unbound(1 << 10);
    let waits = || {
        [
            subnet("blue", "vpc", "10.7.1.0/24", 0, 1),
            port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
            router("router", UpdateType::Full, &[("gone", &[])]),
        ]
        .map(|state| state.with(OperationType::Get))
    };
    assert_eq!(world.put(waits()), [Success; 3], "unknown");
    world.put(waits().map(|state| state.with(OperationType::Create)));
    assert_eq!(world.put(waits()), [Pending; 3]);
}

#[test]
fn a_subnet_outside_its_vpc_s_range_and_without_a_gateway_is_one() {
    let mut world = World::new();
    world.succeed([
        vpc("vpc", 7),
        subnet("blue", "vpc", "172.16.0.0/24", 0, 0),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "172.16.0.10")]),
    ]);
    let seen = world.see();
    assert!(
        seen.contains(" in 172.16.0.0/24 vni 7 gateway None "),
        "{seen}"
    );
}

#[test]
fn macs_are_read_however_alcor_writes_them() {
    for mac in [
        "02:00:00:00:00:0A",
        "02-00-00-00-00-0a",
        "2:0:0:0:0:A",
        "2-0-0-0-0-a",
    ] {
        let mut world = World::new();
        world.succeed([
            subnet("blue", "vpc", "10.7.1.0/24", 7, 1),
            port("port-a", mac, &[("blue", "10.7.1.10")]),
        ]);
        assert!(world.see().contains("port 1 02:00:00:00:00:0a "), "{mac}");
        world.put([dhcp("uuid", "blue", mac, "10.7.1.10")]);
        assert_eq!(world.show(Show::Dhcp)[0]["mac"], "02:00:00:00:00:0a");
    }
}

#[test]
fn a_port_update_with_a_device_attaches_and_one_with_nothing_detaches() {
    let mut world = World::new();
    world.succeed(blue());
    let update = |device: &str, owner: &str| {
        let [_, _, port] = blue();
        let State::Port(mut state) = port.with(OperationType::Update) else {
            unreachable!()
        };
        let configuration = state.configuration.as_mut().unwrap();
        configuration.device_id = device.into();
        configuration.device_owner = owner.into();
        State::Port(state)
    };
    let described = |world: &mut World| world.show(Show::Ports)[0]["mac"].is_string();
    for (device, owner, there) in [
        ("vm", "compute:nova", true),
        ("", "", false),
        ("", "", false),
        ("vm", "", true),
        ("", "compute:nova", true),
    ] {
        world.succeed([update(device, owner)]);
        assert_eq!(described(&mut world), there, "{device:?} {owner:?}");
    }
}

#[test]
fn the_data_plane_manager_s_constant_revision_and_the_test_controller_s_follow_each_other() {
    let mut world = World::new();
    for revision in [1, 1, 2, 2] {
        world.succeed(blue().map(|state| state.at(revision)));
    }
    assert_eq!(world.put(blue().map(|state| state.at(1))), [OutOfOrder; 3]);
}

#[test]
fn revisions_may_be_ignored_and_then_count_from_what_came_last() {
    let mut world = World::new();
    let all = || {
        let [vpc, subnet, port] = blue();
        let guest = neighbor("n", L2, MAC, "blue", "10.7.1.99", 9);
        let router = router("router", UpdateType::Full, &[("blue", &[])]);
        [vpc, subnet, port, guest, router]
    };
    world.succeed(all().map(|state| state.at(9)));
    assert_eq!(world.put(all().map(|state| state.at(2))), [OutOfOrder; 5]);
    world.core.set_revisions(Revisions::Ignore);
    let moved = neighbor("n", L2, MAC, "blue", "10.7.1.99", 8);
    world.succeed([moved.at(2)]);
    assert!(world.find("10.7.1.99").unwrap().contains("192.0.2.8"));
    world.succeed(all().map(|state| state.at(2)));
    world.core.set_revisions(Revisions::Check);
    world.succeed(all().map(|state| state.at(2)));
    assert_eq!(world.put(all().map(|state| state.at(1))), [OutOfOrder; 5]);
}

/// What a neighbor was before August 2022, under the numbers of then.
#[derive(Clone, PartialEq, prost::Message)]
struct OldNeighbor {
    #[prost(string, tag = "3")]
    id: String,
    #[prost(string, tag = "7")]
    mac_address: String,
    #[prost(string, tag = "8")]
    host_ip_address: String,
    #[prost(message, repeated, tag = "9")]
    fixed_ips: Vec<neighbor_configuration::FixedIp>,
}

/// A neighbor's state whose configuration is any message.
#[derive(Clone, PartialEq, prost::Message)]
struct AnyNeighbor {
    #[prost(int32, tag = "1")]
    operation_type: i32,
    #[prost(bytes = "vec", tag = "2")]
    configuration: Vec<u8>,
}

/// What is in both forms where neighbors are.
#[derive(Clone, PartialEq, prost::Message)]
struct AnyNeighbors {
    #[prost(message, repeated, tag = "5")]
    first_form: Vec<AnyNeighbor>,
}

/// Subnet and VPC of the tests, and a neighbor of this configuration.
fn blue_and(operation: OperationType, configuration: &impl Message) -> Encoded {
    let Encoded { form, bytes } = Encoded::from(&v1(blue()));
    let neighbor = AnyNeighbor {
        operation_type: operation as i32,
        configuration: configuration.encode_to_vec(),
    };
    let neighbors = AnyNeighbors {
        first_form: vec![neighbor],
    };
    let bytes = [&*bytes, &neighbors.encode_to_vec()].concat().into();
    Encoded { form, bytes }
}

#[test]
fn a_neighbor_by_the_numbers_of_before_2022_is_refused_by_that_name_and_alone() {
    let mut world = World::new();
    for (host, tunnel_id) in [("192.0.2.9", 0), ("192.0.2.9", 200), ("", 200)] {
        let old = OldNeighbor {
            id: "n".into(),
            mac_address: MAC.into(),
            host_ip_address: host.into(),
            // A tunnel id of two bytes is no UTF-8, which the field of today would have to be.
            fixed_ips: vec![neighbor_configuration::FixedIp {
                subnet_id: "blue".into(),
                ip_address: "10.7.1.99".into(),
                tunnel_id,
                ..Default::default()
            }],
        };
        for operation in [OperationType::Create, OperationType::Delete] {
            let goal = blue_and(operation, &old);
            let resources = resources(&goal).unwrap();
            let error = resources[3].change.as_ref().unwrap_err().to_string();
            assert!(error.contains("before August 2022"), "{error}");
            let found = statuses(&world.core.apply("test", &goal).unwrap());
            assert_eq!(found, [Success, Success, Success, InvalidArg]);
            world.check();
        }
    }
    assert_eq!(world.core.wanted.neighbors().count(), 0);
}

/// A neighbor whose texts are none.
#[derive(Clone, PartialEq, prost::Message)]
struct NoText {
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    host_ip_address: Vec<u8>,
}

#[test]
fn a_neighbor_whose_texts_are_no_texts_is_at_fault_alone() {
    let bad = vec![0xff, 0xfe];
    for (id, host_ip_address) in [(b"n".to_vec(), bad.clone()), (bad, Vec::new())] {
        let mut world = World::new();
        let configuration = NoText {
            id,
            host_ip_address,
        };
        let goal = blue_and(OperationType::Create, &configuration);
        let found = statuses(&world.core.apply("test", &goal).unwrap());
        assert_eq!(found, [Success, Success, Success, InvalidArg]);
        world.check();
    }
}

#[test]
fn any_unknown_number_of_an_enumeration_is_that_resource_s_fault_alone() {
    let mut world = World::new();
    let wrong_update = {
        let mut state = router("router", UpdateType::Full, &[("blue", &[])]);
        if let State::Router(state) = &mut state {
            state.configuration.as_mut().unwrap().update_type = 7;
        }
        state
    };
    let found = world.put(blue().into_iter().chain([wrong_update]));
    assert_eq!(found, [Success, Success, InvalidArg, Success]);
}
