// SPDX-License-Identifier: MIT
//! Gateways of type ZETA: what they are answered, and what guests' ports make of them.

use std::sync::Arc;

use vswitch::tables::neighbors::MAX_NEXT_HOPS;
use vswitch::wire::Mac;

use super::goal::*;
use super::world::{PORT_A, PORT_B, UPLINK, World};
use crate::core::Request;
use crate::core::Show;
use crate::core::watchdog::GRACE;
use crate::proto::schema::GatewayType;
use crate::proto::schema::NeighborType::L2;
use crate::proto::schema::OperationStatus::{Failure, InvalidArg, OutOfOrder, Pending, Success};

/// A guest at port 1 in a VPC that names these gateways.
fn guest(gateways: &[&str]) -> [State; 3] {
    [
        grouped(vpc("vpc", 7), gateways),
        subnet("blue", "vpc", "10.7.1.0/24", 0, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
    ]
}

/// The machines that the guest at port 1 has for what lacks a neighbor; empty: none.
fn machines(world: &mut World) -> String {
    let seen = world.see();
    let line = seen
        .lines()
        .find_map(|line| line.strip_prefix("  what lacks a neighbor: "));
    line.unwrap_or_default().to_owned()
}

/// A gateway of these machines.
fn at(id: &str, machines: impl Iterator<Item = String>) -> State {
    let mut state = zeta(id, &[]);
    if let State::Gateway(state) = &mut state {
        let machine = |ip_address| crate::proto::schema::gateway_configuration::Destination {
            ip_address,
            mac_address: "02:aa:00:00:01:01".into(),
        };
        let configuration = state.configuration.as_mut().unwrap();
        configuration.destinations = machines.map(machine).collect();
    }
    state
}

fn state(world: &mut World, id: &str) -> String {
    let rows = world.show(Show::Gateways);
    let row = rows.iter().find(|row| row["id"] == id).unwrap();
    row["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_gateway_is_used_whether_it_comes_before_the_vpc_or_after() {
    let mut world = World::new();
    assert_eq!(world.put(guest(&["zeta"])), [Pending, Success, Success]);
    assert_eq!(world.reasons(), ["its gateway \"zeta\" is not known yet"]);
    let row = &world.show(Show::Vpcs)[0];
    assert_eq!(row["gateways"], "zeta");
    assert_eq!(
        row["state"],
        "waiting: its gateway \"zeta\" is not known yet"
    );
    assert_eq!(machines(&mut world), "");
    world.succeed([zeta("zeta", &[50, 51])]);
    assert_eq!(
        (machines(&mut world).as_str(), world.reasons().len()),
        ("192.0.2.50 192.0.2.51", 0)
    );
    let seen = world.see();

    let mut world = World::new();
    assert_eq!(world.put([zeta("zeta", &[50, 51])]), [Pending]);
    assert_eq!(world.reasons(), ["no VPC names it yet"]);
    world.succeed(guest(&["zeta"]));
    assert_eq!((world.see(), world.reasons().len()), (seen, 0));
    assert_eq!(state(&mut world, "zeta"), "ready");
    assert_eq!(world.show(Show::Vpcs)[0]["state"], "ready");
}

#[test]
fn what_a_gateway_says_anew_counts_and_the_same_again_changes_nothing() {
    let mut world = World::new();
    world.put([zeta("zeta", &[50, 51])]);
    world.put(guest(&["zeta"]));
    let before = (world.publications(), world.see());
    world.succeed([zeta("zeta", &[51, 50])]);
    world.succeed(guest(&["zeta", "zeta"]));
    assert_eq!(
        (world.publications(), world.see()),
        before,
        "in another order, or twice"
    );
    world.succeed([zeta("zeta", &[51, 52])]);
    assert_eq!(machines(&mut world), "192.0.2.51 192.0.2.52");
    world.succeed(
        [zeta("spare", &[52, 53])]
            .into_iter()
            .chain(guest(&["spare", "zeta"])),
    );
    assert_eq!(machines(&mut world), "192.0.2.51 192.0.2.52 192.0.2.53");
    world.succeed([deleted(zeta("zeta", &[]))]);
    assert_eq!(machines(&mut world), "192.0.2.52 192.0.2.53");
    assert_eq!(world.reasons(), ["its gateway \"zeta\" is not known yet"]);
    world.succeed(guest(&[]));
    assert_eq!(machines(&mut world), "");
    assert_eq!(world.reasons(), ["no VPC names it yet"]);
}

#[test]
fn revisions_of_gateways_count() {
    let mut world = World::new();
    world.put([zeta("zeta", &[50]).at(5)]);
    world.put(guest(&["zeta"]));
    assert_eq!(world.put([zeta("zeta", &[51]).at(4)]), [OutOfOrder]);
    assert_eq!(world.put([deleted(zeta("zeta", &[])).at(4)]), [OutOfOrder]);
    assert_eq!(machines(&mut world), "192.0.2.50");
    assert_eq!(world.put([zeta("zeta", &[51]).at(5)]), [Success]);
    assert_eq!(machines(&mut world), "192.0.2.51");
}

#[test]
fn only_gateways_that_say_how_they_are_reached_are_used() {
    let mut world = World::new();
    world.put(guest(&["gateway"]));
    for kind in [
        GatewayType::Default,
        GatewayType::Tgw,
        GatewayType::Igw,
        GatewayType::Ngw,
        GatewayType::Arion,
    ] {
        assert_eq!(
            world.put([gateway("gateway", kind)]),
            [InvalidArg],
            "{kind:?}"
        );
        assert_eq!(machines(&mut world), "", "{kind:?}");
    }
    world.succeed([zeta("gateway", &[50])]);
    assert_eq!(machines(&mut world), "192.0.2.50");
    assert_eq!(world.put([zeta("gateway", &[])]), [Pending]);
    assert_eq!(machines(&mut world), "");
    assert_eq!(
        state(&mut world, "gateway"),
        "waiting: it has no destinations yet"
    );
}

#[test]
fn gateways_are_programmed_for_guests_of_this_host_only() {
    let mut world = World::new();
    let hops = |world: &mut World| world.core.program.usage()[3];
    world.put(guest(&["zeta"]));
    world.succeed([zeta("zeta", &[50, 51])]);
    assert_eq!(hops(&mut world), 2);
    world.unbind(PORT_A);
    assert_eq!(hops(&mut world), 0, "nobody is there");
    world.bind(PORT_A, "port-a");
    assert_eq!(hops(&mut world), 2);
    let [_, _, port] = guest(&[]);
    world.succeed([deleted(port.clone())]);
    assert_eq!(hops(&mut world), 0);
    world.succeed([port]);
    assert_eq!(machines(&mut world), "192.0.2.50 192.0.2.51");
    // This host itself knows no more than it was told.
    world.succeed([zeta("zeta", &[1, 51])]);
    assert_eq!(machines(&mut world), "192.0.2.51");
}

#[test]
fn a_vpc_has_so_many_gateways_and_these_so_many_machines() {
    let mut world = World::new();
    let many = |id: &str, net: u8| {
        let machine = |n: u32| format!("10.{net}.{}.{}", n / 200, n % 200 + 1);
        at(id, (0..600).map(machine))
    };
    world.put(guest(&["a", "b"]));
    assert_eq!(world.put([many("a", 1), many("b", 2)]), [Success, Failure]);
    assert_eq!(
        state(&mut world, "b"),
        "failed: the gateways of VPC \"vpc\" have more than 1024 destinations"
    );
    assert_eq!(world.core.program.usage()[3], 600);
    assert_eq!(world.put([vpc("vpc", 7)]), [Success]);
    let [group, ..] = guest(&["a", "b"]);
    assert_eq!(world.put([group]), [Failure], "the gateways came first");
    world.succeed([many("b", 1)]);
    assert_eq!(world.core.program.usage()[3], 600, "the same machines");
    let most = (0..1023).map(|n| format!("192.0.{}.{}", 3 + n / 200, n % 200 + 1));
    let own = ["192.0.2.1".to_owned()];
    world.succeed([at("a", most.clone().chain(own)), at("b", most.skip(1))]);
    assert_eq!(world.core.program.usage()[3], 1023);
    assert_eq!(
        world.put([zeta("b", &[50])]),
        [Failure],
        "also those that are none here count"
    );
    assert_eq!(world.reasons().len(), 3, "of VPC, gateway and port");
}

#[test]
fn a_vpc_names_so_many_gateways_each_by_a_short_id() {
    let mut world = World::new();
    let mut put = |names: &[String]| {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        world.put([grouped(vpc("vpc", 7), &names)])
    };
    let mut names: Vec<_> = (0..64).map(|n| n.to_string()).collect();
    names.extend(["7".to_owned(), String::new(), "8".to_owned()]);
    assert_eq!(put(&names), [Pending], "twice, and none, do not count");
    names.push("64".to_owned());
    assert_eq!(put(&names), [InvalidArg]);
    assert_eq!(put(&["x".repeat(255)]), [Pending]);
    assert_eq!(put(&["x".repeat(256)]), [InvalidArg]);
}

#[test]
fn machines_over_ip_of_a_version_without_a_vtep_are_other_hosts_to_reach() {
    let mut world = World::new();
    let [four, six] = ["192.0.2.50", "2001:db8:ff::50"].map(str::to_owned);
    world.put(guest(&["zeta"]));
    world.succeed([at("zeta", [four, six.clone()].into_iter())]);
    assert_eq!(world.core.program.usage()[3], 1);
    assert_eq!(world.reasons(), [""; 0]);
    assert_eq!(world.put([at("zeta", [six].into_iter())]), [Pending]);
    let why = "2001:db8:ff::50 is reached over IPv6, and this switch has no IPv6 VTEP";
    assert_eq!(world.reasons(), [why; 3], "of VPC, gateway and port");
}

#[test]
fn vpcs_with_the_same_machines_share_their_table() {
    let mut world = World::new();
    world.put(guest(&["zeta"]));
    world.put([
        grouped(vpc("other", 8), &["more"]),
        subnet("green", "other", "10.8.3.0/24", 0, 1),
        port("port-b", "02:00:00:00:00:0b", &[("green", "10.8.3.10")]),
    ]);
    world.succeed([zeta("zeta", &[50, 51]), zeta("more", &[51, 50])]);
    let table = |world: &mut World, port| {
        let guest = world.guest(port).unwrap();
        guest.attachments[0].group.clone().unwrap()
    };
    let [one, other] = [PORT_A, PORT_B].map(|port| table(&mut world, port));
    assert!(Arc::ptr_eq(&one, &other));
    world.succeed([zeta("more", &[50])]);
    assert!(Arc::ptr_eq(&one, &table(&mut world, PORT_A)));
    assert!(!Arc::ptr_eq(&one, &table(&mut world, PORT_B)));
}

#[test]
fn a_gateway_that_finds_no_room_is_there_when_a_neighbor_makes_some() {
    let mut world = World::unbound(1 << 18);
    world.bind(PORT_A, "port-a");
    world.succeed([vpc("wide", 9), subnet("wide", "wide", "10.0.0.0/8", 0, 0)]);
    let far = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        let (mac, ip) = (
            format!("02:00:01:{a:02x}:{b:02x}:{c:02x}"),
            format!("10.{}.{b}.{c}", a + 1),
        );
        let mut state = neighbor(&n.to_string(), L2, &mac, "wide", &ip, 9);
        if let State::Neighbor(state) = &mut state {
            let configuration = state.configuration.as_mut().unwrap();
            configuration.host_ip_address = format!("198.{}.{b}.{c}", a + 18);
        }
        state
    };
    let all = world.put((0..MAX_NEXT_HOPS as u32).map(far));
    assert!(all.iter().all(|status| *status == Success));
    world.put([zeta("zeta", &[50, 51])]);
    assert_eq!(world.put(guest(&["zeta"])), [Failure, Success, Failure]);
    assert!(world.guest(PORT_A).unwrap().attachments[0].group.is_none());
    world.succeed([deleted(far(0))]);
    assert!(world.guest(PORT_A).unwrap().attachments[0].group.is_some());
    assert!(state(&mut world, "zeta").starts_with("failed: "));
    // Neither does it wait for the next change of its own.
    world.succeed([deleted(far(1)), deleted(far(2))]);
    assert_eq!(state(&mut world, "zeta"), "ready");
    assert_eq!(world.reasons(), [""; 0]);
}

#[test]
fn machines_behind_a_router_of_the_underlay_wait_for_its_mac() {
    let mut world = World::new();
    let router = "192.0.2.254".parse().unwrap();
    world.core.program.route_underlay_by(router);
    let mut far = zeta("far", &[50]);
    if let State::Gateway(state) = &mut far {
        let destination = &mut state.configuration.as_mut().unwrap().destinations[0];
        destination.ip_address = "198.51.100.7".into();
    }
    world.put(guest(&["far"]));
    assert_eq!(world.put([far.clone()]), [Pending]);
    let why = "no underlay MAC for 198.51.100.7";
    assert_eq!(world.reasons(), [why; 3], "of VPC, gateway and port");
    let seen = world.see();
    let mut first = World::new();
    first.core.program.route_underlay_by(router);
    first.put([far.clone()]);
    let states = first.put(guest(&["far"]));
    assert_eq!(states, [Pending, Success, Pending], "the gateway first");
    assert_eq!((first.see(), first.reasons().len()), (seen.clone(), 3));
    let mut last = World::new();
    last.core.program.route_underlay_by(router);
    let [vpc, subnet, port] = guest(&["far"]);
    last.put([vpc, subnet]);
    last.succeed([far]);
    assert_eq!(last.put([port]), [Pending], "the port last");
    assert_eq!((last.see(), last.reasons().len()), (seen, 3));
    assert_eq!(
        world.core.program.needed(&world.core.wanted),
        [(UPLINK, router)].into()
    );
    assert!(world.guest(PORT_A).unwrap().attachments[0].group.is_none());
    let learned = vec![((UPLINK, router), Mac::new([2, 0, 0, 0, 0, 9]))];
    assert!(world.core.begin(Request::Learned(learned)).is_none());
    world.core.settle(GRACE);
    world.check();
    assert_eq!(world.reasons(), [""; 0]);
    assert!(world.guest(PORT_A).unwrap().attachments[0].group.is_some());
}
