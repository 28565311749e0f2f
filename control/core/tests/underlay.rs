// SPDX-License-Identifier: MIT
//! Hosts whose MAC nobody names: what is needed is said, and what is learned is programmed.

use std::net::{IpAddr, Ipv4Addr};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vswitch::tables::neighbors::MAX_NEXT_HOPS;
use vswitch::wire::Mac;

use super::goal::*;
use super::world::{PORT_A, UPLINK, World};
use crate::core::watchdog::GRACE;
use crate::core::{Need, Request};
use crate::proto::schema::NeighborType::L2;
use crate::proto::schema::OperationStatus::{Pending, Success};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));

fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 9, n])
}

/// A subnet with a port here; who is told what is needed.
fn lab() -> (World, UnboundedReceiver<Need>) {
    let mut world = World::new();
    world.succeed([
        vpc("v", 7),
        subnet("s", "v", "10.7.1.0/24", 0, 1),
        port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]),
    ]);
    let (needs, needed) = unbounded_channel();
    world.core.resolve_by(needs);
    (world, needed)
}

/// Guest `n` at host 9, as the controller says that knows no host's MAC.
fn unnamed(n: u8) -> State {
    let (mac, ip) = (format!("02:00:00:00:00:{n:02x}"), format!("10.7.1.{n}"));
    let mut state = neighbor(&format!("n{n}"), L2, &mac, "s", &ip, 9);
    if let State::Neighbor(state) = &mut state {
        let configuration = state.configuration.as_mut().unwrap();
        configuration.host_mac_address.clear();
    }
    state
}

impl World {
    fn learned(&mut self, learned: &[(IpAddr, Mac)]) {
        assert!(
            self.core
                .begin(Request::Learned(
                    learned
                        .iter()
                        .map(|&(ip, mac)| ((UPLINK, ip), mac))
                        .collect()
                ))
                .is_none()
        );
        self.core.settle(GRACE);
        self.check();
    }
}

#[test]
fn broadcasts_go_to_a_host_as_soon_as_its_mac_is_learned_and_by_the_new_one_when_it_changes() {
    let (mut world, _needed) = lab();
    world.replicate(Some("s"), Some(100));
    assert_eq!(world.put([unnamed(1)]), [Pending]);
    for n in [9, 1] {
        world.learned(&[(HOST, mac(n))]);
        let expected = format!("100 copies a second to host 192.0.2.9 mac ..:{n:02x}\n");
        let seen = world.see();
        assert!(seen.contains(&expected), "{expected}{seen}");
    }
}

#[test]
fn a_host_without_a_mac_is_needed_once_and_its_neighbors_are_there_when_it_is_learned() {
    let (mut world, mut needed) = lab();
    assert_eq!(world.put([unnamed(1), unnamed(2)]), [Pending, Pending]);
    world.core.settle(GRACE);
    assert_eq!(needed.try_recv(), Ok(Need::Mac((UPLINK, HOST))));
    assert!(needed.try_recv().is_err());
    let before = world.see();
    world.learned(&[(IpAddr::from([192, 0, 2, 8]), mac(8))]);
    assert_eq!(world.see(), before, "nobody is there");
    world.learned(&[(HOST, mac(9))]);
    assert_eq!(world.reasons(), [""; 0]);
    for ip in ["10.7.1.1", "10.7.1.2"] {
        let found = world.find(ip).unwrap();
        assert!(found.ends_with("host 192.0.2.9 mac ..:09"), "{found}");
    }
    assert_eq!(world.put([unnamed(3)]), [Success], "it is known now");
    let known = world.see();
    world.learned(&[(HOST, mac(9))]);
    assert_eq!(world.see(), known);
    world.learned(&[(HOST, mac(1))]);
    let moved = world.find("10.7.1.3").unwrap();
    assert!(moved.ends_with("host 192.0.2.9 mac ..:01"), "{moved}");
    assert!(needed.try_recv().is_err());
    let mut only = |world: &mut World| {
        assert!(world.core.begin(Request::Needed).is_none());
        needed.try_recv()
    };
    assert_eq!(only(&mut world), Ok(Need::Only([(UPLINK, HOST)].into())));
    world.succeed([1, 2, 3].map(|n| deleted(unnamed(n))));
    assert_eq!(only(&mut world), Ok(Need::Only([].into())));
    assert_eq!(
        world.put([unnamed(1)]),
        [Pending],
        "forgotten, and asked for anew"
    );
    world.core.settle(GRACE);
    assert_eq!(needed.try_recv(), Ok(Need::Mac((UPLINK, HOST))));
}

#[test]
fn neighbors_behind_a_router_whose_mac_changes_are_there_all_the_time_while_there_is_room() {
    let mut world = World::unbound(1 << 18);
    let router = IpAddr::from([192, 0, 2, 254]);
    world.core.program.route_underlay_by(router);
    world.bind(PORT_A, "port-a");
    world.succeed([
        vpc("v", 7),
        subnet("s", "v", "10.0.0.0/8", 0, 0),
        port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]),
    ]);
    let far = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        let (mac, ip) = (
            format!("02:00:01:{a:02x}:{b:02x}:{c:02x}"),
            format!("10.{}.{b}.{c}", a + 100),
        );
        let mut state = neighbor(&n.to_string(), L2, &mac, "s", &ip, 9);
        if let State::Neighbor(state) = &mut state {
            let configuration = state.configuration.as_mut().unwrap();
            configuration.host_ip_address = format!("198.{}.{b}.{c}", a + 18);
        }
        state
    };
    // First there is room for some of the new ways, then for none.
    let (some, all) = (MAX_NEXT_HOPS as u32 * 5 / 8, MAX_NEXT_HOPS as u32);
    world.put((0..some).map(far));
    let entries = |world: &mut World| world.core.program.usage()[1] as u32 - 1; // the guest here
    assert_eq!(entries(&mut world), 0);
    for (hosts, n) in [(some, 1), (some, 2), (all, 3)] {
        if hosts == all {
            world.put((some..all).map(far));
        }
        let learned = vec![((UPLINK, router), mac(n))];
        assert!(world.core.begin(Request::Learned(learned)).is_none());
        assert!(n == 1 || entries(&mut world) == hosts);
        world.core.settle(GRACE);
        assert_eq!(entries(&mut world), hosts);
        for ip in ["10.100.0.0", "10.101.63.255"] {
            let found = world.find(ip).unwrap();
            assert!(found.ends_with(&format!("mac ..:{n:02x}")), "{found}");
        }
    }
    world.check();
}

/// Guest `n` at a host of IPv6.
fn at_ipv6(n: u8, host: &str, named: bool) -> State {
    let mut state = unnamed(n);
    if let State::Neighbor(state) = &mut state {
        let configuration = state.configuration.as_mut().unwrap();
        configuration.host_ip_address = host.into();
        if named {
            configuration.host_mac_address = "02:aa:00:00:00:66".into();
        }
    }
    state
}

#[test]
fn a_neighbor_is_reached_by_the_vtep_of_its_hosts_kind_and_waits_where_there_is_none() {
    let mut world = World::new();
    let subnet = || {
        [
            vpc("v", 7),
            subnet("s", "v", "10.7.1.0/24", 0, 1),
            port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]),
        ]
    };
    world.succeed(subnet());
    let far = at_ipv6(1, "2001:db8:ff::9", true);
    assert_eq!(world.put([far.clone()]), [Pending]);
    let why = "2001:db8:ff::9 is reached over IPv6, and this switch has no IPv6 VTEP";
    assert!(world.reasons()[0].ends_with(why), "{:?}", world.reasons());
    assert_eq!(world.find("10.7.1.1"), None);

    let mut world = World::dual();
    world.succeed(subnet());
    let near = neighbor("n2", L2, "02:00:00:00:00:02", "s", "10.7.1.2", 9);
    assert_eq!(world.put([far, near]), [Success, Success]);
    let found = world.find("10.7.1.1").unwrap();
    assert!(found.ends_with("host ..::9 mac ..:66"), "{found}");
    let found = world.find("10.7.1.2").unwrap();
    assert!(found.ends_with("host 192.0.2.9 mac ..:09"), "{found}");
    // It moves to a host of the other kind, and to this one by its other address.
    world.succeed([neighbor("n1", L2, "02:00:00:00:00:01", "s", "10.7.1.1", 8)]);
    let found = world.find("10.7.1.1").unwrap();
    assert!(found.ends_with("host 192.0.2.8 mac ..:08"), "{found}");
    world.succeed([at_ipv6(1, "2001:db8:ff::1", false)]);
    assert_eq!(world.find("10.7.1.1"), None, "a port says where it is");
}

#[test]
fn hosts_of_ipv6_are_learned_as_those_of_ipv4_are() {
    let mut world = World::dual();
    world.succeed([
        vpc("v", 7),
        subnet("s", "v", "10.7.1.0/24", 0, 1),
        port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]),
    ]);
    let (needs, mut needed) = unbounded_channel();
    world.core.resolve_by(needs);
    let host: IpAddr = "2001:db8:ff::9".parse().unwrap();
    let waiting = [at_ipv6(1, "2001:db8:ff::9", false), unnamed(2)];
    assert_eq!(world.put(waiting), [Pending, Pending]);
    world.core.settle(GRACE);
    let asked = [needed.try_recv().unwrap(), needed.try_recv().unwrap()];
    for who in [HOST, host] {
        assert!(asked.contains(&Need::Mac((UPLINK, who))));
    }
    world.learned(&[(host, mac(9))]);
    let found = world.find("10.7.1.1").unwrap();
    assert!(found.ends_with("host ..::9 mac ..:09"), "{found}");
    assert_eq!(world.find("10.7.1.2"), None);
    // Beyond the link, without a router: there is no way.
    assert_eq!(world.put([at_ipv6(3, "2001:db8:aa::9", false)]), [Pending]);
    world.core.settle(GRACE);
    assert!(needed.try_recv().is_err());
    for link_local in ["fe80::9", "ff02::9", "::"] {
        let state = at_ipv6(4, link_local, true);
        assert_ne!(world.put([state]), [Success], "{link_local}");
    }
}
