// SPDX-License-Identifier: MIT
//! Head-end replication: which hosts a subnet's broadcasts go to, as neighbors come and go.

use vswitch::tables::MAX_REPLICATED_HOSTS;

use super::goal::*;
use super::world::{PORT_A, PORT_B, World};
use crate::core::Show;
use crate::proto::schema::NeighborType::{L2, L3};
use crate::proto::schema::UpdateType;

/// Guests at ports 1 and 2 in subnets of their own that share a VNI.
fn guests() -> [State; 5] {
    [
        vpc("vpc", 7),
        subnet("blue", "vpc", "10.7.1.0/24", 0, 1),
        subnet("red", "vpc", "10.7.2.0/24", 0, 2),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
        port("port-b", "02:00:00:00:00:0b", &[("red", "10.7.2.11")]),
    ]
}

/// Guest `n` of a subnet, on host 192.0.2.`host`.
fn there(subnet: &str, n: u8, host: u8) -> State {
    let mac = format!("02:00:00:00:01:{n:02x}");
    let net = if subnet == "blue" { 1 } else { 2 };
    neighbor(
        &format!("{subnet}{n}"),
        L2,
        &mac,
        subnet,
        &format!("10.7.{net}.{n}"),
        host,
    )
}

/// The last bytes of the hosts that each port's guest sends to, and its rate.
fn hosts(world: &mut World) -> [Option<(u32, Vec<u8>)>; 2] {
    let seen = world.see();
    let of = |port: &str| {
        let rest = seen.split_once(&format!("port {port} "))?.1;
        let rest = rest.split("\nport ").next()?;
        let (rate, hosts) = rest.split_once(" copies a second to ")?;
        let rate = rate.rsplit(' ').next()?.parse().ok()?;
        let hosts = hosts
            .lines()
            .next()?
            .split(", ")
            .filter(|it| !it.is_empty());
        let last = |host: &str| {
            host.strip_prefix("host 192.0.2.")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        };
        Some((rate, hosts.map(|host| last(host).unwrap()).collect()))
    };
    [of("1"), of("2")]
}

fn on(rate: u32, hosts: &[u8]) -> Option<(u32, Vec<u8>)> {
    Some((rate, hosts.to_vec()))
}

#[test]
fn a_host_is_there_as_long_as_one_of_its_neighbors_is() {
    let mut world = World::new();
    world.succeed(guests());
    world.succeed([there("blue", 1, 9)]);
    let publications = world.publications();
    world.succeed([there("blue", 2, 8)]);
    assert_eq!(
        (hosts(&mut world), world.publications()),
        ([None, None], publications)
    );
    world.replicate(Some("blue"), Some(100));
    assert_eq!(hosts(&mut world), [on(100, &[8, 9]), None]);
    let publications = world.publications();
    world.succeed([there("blue", 3, 9)]);
    world.succeed([deleted(there("blue", 1, 9))]);
    world.succeed([there("red", 1, 7)]);
    assert_eq!(hosts(&mut world)[0], on(100, &[8, 9]));
    assert_eq!(world.publications(), publications, "no host came or went");
    world.succeed([deleted(there("blue", 3, 9))]);
    assert_eq!(hosts(&mut world)[0], on(100, &[8]));
    world.succeed([there("blue", 2, 5)]);
    assert_eq!(hosts(&mut world)[0], on(100, &[5]), "it moved");
    world.replicate(Some("blue"), None);
    assert_eq!(hosts(&mut world), [None, None]);
    world.succeed([deleted(there("blue", 2, 5))]);
    world.replicate(Some("blue"), Some(7));
    assert_eq!(hosts(&mut world)[0], on(7, &[]));
}

#[test]
fn subnets_that_share_a_vni_share_the_hosts_of_those_that_have_it_on() {
    let mut world = World::new();
    world.replicate(Some("red"), Some(5));
    world.succeed(guests());
    world.succeed([there("blue", 1, 9), there("red", 1, 8)]);
    assert_eq!(
        hosts(&mut world),
        [None, on(5, &[8])],
        "named before it came"
    );
    world.replicate(None, Some(6));
    assert_eq!(hosts(&mut world), [on(6, &[8, 9]), on(5, &[8, 9])]);
    world.replicate(Some("blue"), None);
    assert_eq!(hosts(&mut world), [None, on(5, &[8])]);
    world.replicate(Some("red"), Some(50));
    assert_eq!(hosts(&mut world), [None, on(50, &[8])], "the rate alone");
    let publications = world.publications();
    world.replicate(Some("red"), Some(50));
    assert_eq!(world.publications(), publications, "nothing new");
}

#[test]
fn hosts_follow_a_subnet_that_gets_another_vni_goes_and_comes_back() {
    let mut world = World::new();
    world.replicate(None, Some(100));
    world.succeed(guests());
    world.succeed([there("blue", 1, 9), there("red", 1, 8)]);
    assert_eq!(hosts(&mut world), [on(100, &[8, 9]), on(100, &[8, 9])]);
    let apart = || subnet("red", "vpc", "10.7.2.0/24", 77, 2);
    world.succeed([apart()]);
    assert_eq!(hosts(&mut world), [on(100, &[9]), on(100, &[8])]);
    world.put([deleted(apart())]);
    assert_eq!(hosts(&mut world), [on(100, &[9]), None]);
    world.put([apart()]);
    assert_eq!(hosts(&mut world), [on(100, &[9]), on(100, &[8])]);
    world.unbind(PORT_B);
    world.succeed([there("red", 2, 7)]);
    world.bind(PORT_B, "port-b");
    assert_eq!(
        hosts(&mut world)[1],
        on(100, &[7, 8]),
        "a port that comes later"
    );
}

#[test]
fn a_neighbor_that_is_here_or_waits_is_on_no_other_host() {
    let mut world = World::new();
    world.replicate(None, Some(100));
    world.succeed(guests());
    world.put([there("blue", 1, 1)]);
    let mut unreached = there("blue", 2, 9);
    if let State::Neighbor(state) = &mut unreached {
        let configuration = state.configuration.as_mut().unwrap();
        configuration.host_ip_address = "2001:db8:ff::9".into();
    }
    world.put([unreached]);
    assert_eq!(hosts(&mut world)[0], on(100, &[]));
    // One machine as an L2 and an L3 neighbor, and two that claim one address.
    let routed = neighbor("blue3", L3, "02:00:00:00:01:03", "blue", "10.7.1.3", 9);
    world.put([there("blue", 3, 9), routed]);
    let other = neighbor("other", L2, "02:00:00:00:01:04", "blue", "10.7.1.3", 8);
    world.put([other]);
    assert_eq!(hosts(&mut world)[0], on(100, &[8, 9]));
    world.put([router("router", UpdateType::Delta, &[("blue", &[])])]);
    assert_eq!(hosts(&mut world)[0], on(100, &[8, 9]));
}

#[test]
fn neighbors_that_disagree_on_their_hosts_mac_have_one_host() {
    let mut world = World::new();
    world.replicate(None, Some(100));
    world.succeed(guests());
    let with_mac = |n, mac: &str| {
        let mut state = there("blue", n, 9);
        if let State::Neighbor(state) = &mut state {
            let configuration = state.configuration.as_mut().unwrap();
            configuration.host_mac_address = mac.into();
        }
        state
    };
    world.succeed([
        with_mac(1, "02:aa:00:00:00:51"),
        with_mac(2, "02:aa:00:00:00:50"),
    ]);
    let seen = world.see();
    assert!(
        seen.contains("copies a second to host 192.0.2.9 mac ..:51\n"),
        "{seen}"
    );
    world.succeed([deleted(with_mac(1, "02:aa:00:00:00:51"))]);
    let seen = world.see();
    assert!(
        seen.contains("copies a second to host 192.0.2.9 mac ..:50\n"),
        "{seen}"
    );
}

#[test]
fn of_too_many_hosts_those_of_the_lowest_addresses_get_copies_and_operators_see_how_many() {
    let mut world = World::new();
    world.replicate(Some("blue"), Some(100));
    world.succeed(guests());
    let many: Vec<_> = (0..MAX_REPLICATED_HOSTS as u32 + 5)
        .map(|n| {
            let mut state = there("blue", 1, 9);
            if let State::Neighbor(state) = &mut state {
                let configuration = state.configuration.as_mut().unwrap();
                let [_, _, a, b] = (n + 256).to_be_bytes();
                configuration.id = n.to_string();
                configuration.mac_address = format!("02:00:00:01:{a:02x}:{b:02x}");
                configuration.host_ip_address = format!("192.0.{}.{b}", a + 2);
                configuration.fixed_ips[0].ip_address = format!("10.7.{a}.{b}");
            }
            state
        })
        .collect();
    world.put(many.clone());
    let count = |world: &mut World| {
        let guest = world.guest(PORT_A).unwrap();
        guest.attachments[0]
            .replication
            .as_ref()
            .unwrap()
            .hosts
            .len()
    };
    assert_eq!(count(&mut world), MAX_REPLICATED_HOSTS);
    let rows = world.show(Show::Subnets);
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap().clone();
    let shown = |id| {
        let row = row(id);
        (
            row["replicate"].clone(),
            row["rate"].clone(),
            row["receivers"].clone(),
        )
    };
    let receivers = MAX_REPLICATED_HOSTS + 1; // the guest here
    assert_eq!(shown("blue"), ("on".into(), 100.into(), receivers.into()));
    assert_eq!(shown("red").0, "off");
    world.put(many.into_iter().skip(3).map(deleted));
    assert_eq!(count(&mut world), 3);
}
