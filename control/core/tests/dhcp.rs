// SPDX-License-Identifier: MIT
//! Leases follow the goal state: what workers tell a guest, and what its DHCP state is answered.

use super::goal::{State, deleted, dhcp, port, subnet, vpc};
use super::world::{PORT_A, World};
use crate::core::Show;
use crate::proto::schema::OperationStatus::{self, InvalidArg, Pending, Success};
use crate::proto::schema::SubnetConfiguration;
use crate::proto::schema::subnet_configuration::{DnsEntry, ExtraDhcpOption};

const MAC: &str = "02:00:00:00:00:0a";

/// Subnet "blue", otherwise than usual.
fn blue(change: impl Fn(&mut SubnetConfiguration)) -> State {
    let mut blue = subnet("blue", "vpc", "10.7.1.0/24", 0, 1);
    let State::Subnet(state) = &mut blue else {
        unreachable!()
    };
    change(state.configuration.as_mut().unwrap());
    blue
}

fn client() -> State {
    dhcp("uuid", "blue", MAC, "10.7.1.10")
}

/// A VPC, its subnet, and the port in it.
fn guest() -> [State; 3] {
    let port = port("port-a", MAC, &[("blue", "10.7.1.10")]);
    [vpc("vpc", 7), blue(|_| {}), port]
}

/// What the guest is told its address is.
fn address(world: &mut World) -> Option<String> {
    world.lease().map(|lease| lease.address.to_string())
}

#[test]
fn a_state_is_served_once_workers_see_it_and_no_longer_than_it_is_wanted() {
    let mut world = World::new();
    world.succeed(guest());
    assert_eq!(address(&mut world), None, "nobody says so");
    world.succeed([client()]);
    assert_eq!(address(&mut world).as_deref(), Some("10.7.1.10/24"));
    let publications = world.publications();
    world.succeed([client()]);
    assert_eq!(world.publications(), publications, "nothing new");
    world.succeed([deleted(client())]);
    assert_eq!(address(&mut world), None);
}

#[test]
fn a_state_waits_for_its_port_and_that_for_its_device() {
    let mut world = World::new();
    let why = |world: &mut World| {
        world.show(Show::Dhcp)[0]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(world.put([client()]), [Pending]);
    assert!(why(&mut world).contains("no port of the switch is bound to"));
    world.unbind(PORT_A);
    let [vpc, subnet, port] = guest();
    assert_eq!(world.put([port, client()]), [Pending; 2]);
    assert!(why(&mut world).contains("no port of the switch is bound to"));
    world.bind(PORT_A, "port-a");
    assert!(why(&mut world).contains("subnet"));
    world.succeed([vpc, subnet]);
    assert_eq!(why(&mut world), "ready");
    assert_eq!(address(&mut world).as_deref(), Some("10.7.1.10/24"));
    let [.., port] = guest();
    world.succeed([deleted(port)]);
    assert!(why(&mut world).contains("no port of the switch is bound to"));
    let get = || client().with(crate::proto::schema::OperationType::Get);
    assert_eq!(world.put([get()]), [Pending]);
}

#[test]
fn what_a_subnet_says_changes_leases_with_the_same_commit() {
    let mut world = World::new();
    world.succeed(guest());
    world.succeed([blue(|blue| blue.dhcp_enable = true)]);
    let lease = world.lease().unwrap();
    assert_eq!((lease.options.get(6), lease.mtu), (None, 1550));
    let dns = DnsEntry {
        entry: "10.0.0.53".into(),
    };
    let with_dns = || {
        blue(|blue| {
            blue.dhcp_enable = true;
            blue.dns_entry_list.push(dns.clone());
        })
    };
    world.succeed([with_dns()]);
    let lease = world.lease().unwrap();
    assert_eq!(lease.options.get(6), Some(&[6, 4, 10, 0, 0, 53][..]));
    let publications = world.publications();
    world.succeed([with_dns()]);
    assert_eq!(world.publications(), publications, "nothing new");
    world.succeed([blue(|_| {})]);
    assert_eq!(world.lease(), None);
}

#[test]
fn what_is_said_wrong_is_named_and_the_rest_is_served() {
    let mut world = World::new();
    world.succeed(guest());
    let put = |world: &mut World, state| -> (Vec<OperationStatus>, String) {
        let status = world.put([state]);
        (status, world.show(Show::Dhcp)[0]["state"].to_string())
    };
    let (status, why) = put(&mut world, dhcp("uuid", "blue", MAC, "10.7.1.99"));
    assert_eq!(status, [InvalidArg]);
    assert!(
        why.contains("served, but for dhcp_states") && why.contains("10.7.1.10 is served"),
        "{why}"
    );
    assert_eq!(address(&mut world).as_deref(), Some("10.7.1.10/24"));
    assert_eq!(put(&mut world, client()).0, [Success]);
    world.succeed([blue(|blue| {
        let (name, value) = ("no-such".into(), "1".into());
        blue.extra_dhcp_options
            .push(ExtraDhcpOption { name, value });
    })]);
    let (status, why) = put(&mut world, client());
    assert_eq!(status, [InvalidArg]);
    assert!(why.contains("extra_dhcp_options[0]"), "{why}");
    assert!(world.lease().is_some());
}

#[test]
fn a_port_in_two_subnets_is_served_in_the_first_that_says_so() {
    let mut world = World::new();
    let red = subnet("red", "vpc", "10.7.2.0/24", 0, 2);
    let ips = [("blue", "10.7.1.10"), ("red", "10.7.2.10")];
    world.succeed(guest());
    world.succeed([red, port("port-a", MAC, &ips)]);
    let in_red = || dhcp("uuid-2", "red", MAC, "10.7.2.10");
    world.succeed([in_red()]);
    assert_eq!(address(&mut world).as_deref(), Some("10.7.2.10/24"));
    world.succeed([client()]);
    assert_eq!(address(&mut world).as_deref(), Some("10.7.1.10/24"));
    assert_eq!(world.put([in_red()]), [Pending]);
    let pending = world.reasons();
    assert_eq!(
        pending,
        ["its port is served in subnet \"blue\", which comes first"]
    );
    world.succeed([deleted(client()), in_red()]);
    assert_eq!(address(&mut world).as_deref(), Some("10.7.2.10/24"));
}

#[test]
fn an_address_that_cannot_be_used_yet_is_not_told() {
    let mut world = World::new();
    let blue = subnet("blue", "vpc", "10.7.1.0/24", 0, 1);
    let red = subnet("red", "other", "10.7.2.0/24", 9, 2);
    let ips = [("blue", "10.7.1.10"), ("red", "10.7.2.10")];
    world.put([blue, red, port("port-a", MAC, &ips)]);
    assert_eq!(world.put([client()]), [Pending], "blue has no VNI yet");
    assert_eq!(address(&mut world), None);
    world.succeed([vpc("vpc", 7)]);
    assert_eq!(address(&mut world).as_deref(), Some("10.7.1.10/24"));
    assert_eq!(world.show(Show::Dhcp)[0]["state"], "ready");
}

#[test]
fn operators_see_what_is_told() {
    let mut world = World::new();
    world.succeed(guest());
    let dhcp = |world: &mut World| {
        world.show(Show::Ports)[0]["dhcp"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(dhcp(&mut world).starts_with("not served: subnet blue: dhcp_enable is off"));
    world.succeed([client()]);
    let told = "10.7.1.10/24 by 10.7.1.1 for 86400 s, options 26, 3, 28";
    assert_eq!(dhcp(&mut world), told);
    assert_eq!(world.show(Show::Dhcp)[0]["told"], told);
}

/// The same of IPv6: a subnet, otherwise than usual, and what DHCP says.
fn azure(change: impl Fn(&mut SubnetConfiguration)) -> State {
    let mut azure = subnet("azure", "vpc", "2001:db8:7:1::/64", 0, 1);
    let State::Subnet(state) = &mut azure else {
        unreachable!()
    };
    change(state.configuration.as_mut().unwrap());
    azure
}

fn client6(address: &str) -> State {
    let mut client = dhcp("uuid6", "azure", MAC, "");
    let State::Dhcp(state) = &mut client else {
        unreachable!()
    };
    state.configuration.as_mut().unwrap().ipv6_address = address.into();
    client
}

#[test]
fn an_ipv6_state_is_served_once_workers_see_it_and_what_is_wrong_of_it_named() {
    let mut world = World::new();
    assert_eq!(world.put([client6("2001:db8:7:1::10")]), [Pending]);
    let port = port("port-a", MAC, &[("azure", "2001:db8:7:1::10")]);
    world.succeed([vpc("vpc", 7), azure(|_| {}), port]);
    let told = "2001:db8:7:1::10 by fe80::200:5eff:fe00:101 for 86400 s, options 32";
    let row = |world: &mut World| world.show(Show::Dhcp)[0].clone();
    assert_eq!(
        (&row(&mut world)["told"], &row(&mut world)["state"]),
        (&told.into(), &"ready".into())
    );
    assert_eq!(world.show(Show::Ports)[0]["dhcpv6"], told);
    let publications = world.publications();
    world.succeed([client6("2001:db8:7:1::10")]);
    assert_eq!(world.publications(), publications, "nothing new");

    assert_eq!(world.put([client6("2001:db8:7:1::99")]), [InvalidArg]);
    assert!(
        row(&mut world)["state"]
            .to_string()
            .contains("ipv6_address")
    );
    world.succeed([client6("2001:db8:7:1::10")]);
    let wrong = azure(|azure| {
        let (name, value) = ("option6:dns-server".into(), "10.0.0.53".into());
        azure
            .extra_dhcp_options
            .push(ExtraDhcpOption { name, value });
    });
    world.succeed([wrong]);
    assert_eq!(world.put([client6("2001:db8:7:1::10")]), [InvalidArg]);
    let state = row(&mut world)["state"].to_string();
    assert!(state.contains("extra_dhcp_options[0]"), "{state}");
    assert!(world.lease6().is_some());

    world.succeed([azure(|azure| {
        let entry = "2001:db8::53".into();
        azure.dns_entry_list.push(DnsEntry { entry });
    })]);
    assert_eq!(world.lease6().unwrap().options[0].0, 23);
    world.succeed([deleted(client6(""))]);
    assert_eq!(world.lease6(), None);
    world.succeed([azure(|azure| azure.dhcp_enable = true)]);
    assert!(world.lease6().is_some(), "without a state, too");
}
