// SPDX-License-Identifier: MIT
//! Gateways of type ZETA: what they are answered, and what guests' ports make of them.

use vswitch::wire::Mac;

use super::goal::*;
use super::world::{PORT_A, UPLINK, World};
use crate::core::Request;
use crate::core::Show;
use crate::core::watchdog::GRACE;
use crate::proto::schema::GatewayType;
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
        let mut state = zeta(id, &[]);
        if let State::Gateway(state) = &mut state {
            let machine = |n: u32| crate::proto::schema::gateway_configuration::Destination {
                ip_address: format!("10.{net}.{}.{}", n / 200, n % 200 + 1),
                mac_address: "02:aa:00:00:01:01".into(),
            };
            state.configuration.as_mut().unwrap().destinations = (0..600).map(machine).collect();
        }
        state
    };
    world.put(guest(&["a", "b"]));
    assert_eq!(world.put([many("a", 1), many("b", 2)]), [Success, Failure]);
    assert_eq!(
        state(&mut world, "b"),
        "failed: the gateways of VPC \"vpc\" have more than 1024 destinations"
    );
    assert_eq!(world.core.program.usage()[3], 600);
    let names: Vec<_> = (0..65).map(|n| n.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let [vpc, ..] = guest(&names);
    assert_eq!(world.put([vpc]), [InvalidArg]);
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
    assert_eq!(world.put([far]), [Pending]);
    assert_eq!(world.reasons(), ["no underlay MAC for 198.51.100.7"]);
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
