// SPDX-License-Identifier: MIT
//! Who is there, and who sends what to whom.
//!
//! Subnets 10.7.1.0/24 ("blue") and 10.7.2.0/24 ("red") share VNI 7, 10.8.3.0/24 ("green") has VNI 8; one router
//! connects them. Guests of this host are at the ports 1 to 5, everyone else is on hosts of the underlay. The guest at
//! port 5 is alone in a VPC of VNI 9 that comes and goes as a whole.

use std::net::Ipv4Addr;

use super::super::goal::{self, RuleText, State as Resource};
use super::frames::{Flow, Way};
use super::history::{At, History, Place, State};
use crate::proto::schema::{NeighborType, UpdateType};

/// The guest that sends everything that comes from a guest.
pub(super) const SENDER: u8 = 1;
/// A guest that always stays.
pub(super) const STAYS: u8 = 2;
/// The port of a guest that moves between this host and others.
pub(super) const MOVES: u8 = 3;
/// The port of a guest that comes and goes.
pub(super) const COMES_AND_GOES: u8 = 4;

/// The port of the guest whose VPC comes and goes.
pub(super) const HAS_A_VPC: u8 = 5;

/// Neighbors that move, go and come back, each with two MACs to have.
pub(super) const NEIGHBORS: usize = 32;
/// Machines that routes lead through. They stay.
pub(super) const HOPS: u8 = 4;
/// Routes that change.
pub(super) const ROUTES: usize = 8;
/// Routes that stay, through neighbors that move.
pub(super) const LATE: usize = 4;

/// Hosts of neighbors that move; those that stay are on hosts above. Many, so that next hops come and go.
pub(super) const HOSTS: std::ops::Range<u8> = 2..200;

/// Numbers of destinations.
pub(super) const FIRST_NEIGHBOR: usize = 4;
pub(super) const FIRST_ROUTE: usize = FIRST_NEIGHBOR + NEIGHBORS;
const STAYS_HERE: usize = 0;
const STAYS_BLUE: usize = 1;
const STAYS_GREEN: usize = 2;
const THE_SENDER: usize = 3;
pub(super) const GUEST_MOVES: usize = FIRST_ROUTE + ROUTES;
pub(super) const GUEST_COMES_AND_GOES: usize = GUEST_MOVES + 1;
pub(super) const GUEST_WITH_VPC: usize = GUEST_COMES_AND_GOES + 1;

pub(super) const fn guest_mac(port: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, port]
}

fn guest_ip(port: u8) -> Ipv4Addr {
    match port {
        HAS_A_VPC => Ipv4Addr::new(10, 9, 1, 10 + port),
        STAYS => Ipv4Addr::new(10, 7, 2, 10 + port),
        _ => Ipv4Addr::new(10, 7, 1, 10 + port),
    }
}

fn gateway(n: u8) -> [u8; 6] {
    [0, 0, 0x5e, 0, 1, n]
}

/// One of the two MACs that a neighbor has in turn.
pub(super) fn neighbor_mac(n: usize, which: u8) -> [u8; 6] {
    [2, 0, 0, 1, which, n as u8]
}

fn neighbor_ip(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 7, 2, 100 + n as u8)
}

fn hop_ip(k: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 7, 1, 20 + k)
}

/// Where a packet goes whose route leads through this hop.
pub(super) fn hop(k: u8) -> At {
    let mac = [2, 0, 0, 2, 0, k];
    let place = Place::Host(210 + k);
    At { mac, place }
}

fn stays(n: u8) -> At {
    let mac = [2, 0, 0, 3, 0, n];
    let place = Place::Host(220 + n);
    At { mac, place }
}

fn guest(port: u8) -> At {
    let mac = guest_mac(port);
    let place = Place::Port(port);
    At { mac, place }
}

/// Each destination's state when traffic begins.
pub(super) fn destinations() -> Vec<History> {
    let staying = [guest(STAYS), stays(0), stays(1), guest(SENDER)].map(Some);
    let moving = std::iter::repeat_n(None, NEIGHBORS + ROUTES);
    let guests = [None, None, None];
    staying
        .into_iter()
        .chain(moving)
        .chain(guests)
        .map(History::new)
        .collect()
}

/// Every way to every destination, and the flows that go to destinations that stay: one from a guest, one from outside.
pub(super) fn flows() -> (Vec<Flow>, [u16; 2]) {
    use Way::{FromUnderlay, Routed, Switched};
    let (red, blue, green) = ((7, gateway(2)), (7, gateway(1)), (8, gateway(3)));
    let mut flows = Vec::new();
    let mut add = |way, to, ip, there| {
        let from = match way {
            FromUnderlay(_) => ([2, 0, 0, 4, 0, 0], Ipv4Addr::new(10, 7, 2, 99)),
            _ => (guest_mac(SENDER), guest_ip(SENDER)),
        };
        let sport = 1000 + flows.len() as u16;
        flows.push(Flow {
            way,
            to,
            from,
            ip,
            gateway: gateway(1),
            there,
            sport,
        });
    };
    add(
        Switched(stays(0).mac),
        STAYS_BLUE,
        Ipv4Addr::new(10, 7, 1, 30),
        blue,
    );
    add(
        FromUnderlay(guest_mac(SENDER)),
        THE_SENDER,
        guest_ip(SENDER),
        blue,
    );
    add(Switched(guest_mac(STAYS)), STAYS_HERE, guest_ip(STAYS), red);
    add(Routed, STAYS_HERE, guest_ip(STAYS), red);
    add(
        FromUnderlay(guest_mac(STAYS)),
        STAYS_HERE,
        guest_ip(STAYS),
        red,
    );
    add(Routed, STAYS_BLUE, Ipv4Addr::new(192, 168, 99, 9), blue);
    add(Routed, STAYS_GREEN, Ipv4Addr::new(10, 8, 3, 30), green);
    for n in 0..NEIGHBORS {
        for which in 0..2 {
            add(
                Switched(neighbor_mac(n, which)),
                FIRST_NEIGHBOR + n,
                neighbor_ip(n),
                red,
            );
        }
        add(Routed, FIRST_NEIGHBOR + n, neighbor_ip(n), red);
    }
    for n in 0..LATE {
        add(
            Routed,
            FIRST_NEIGHBOR + n,
            Ipv4Addr::new(100, 64, n as u8, 1),
            red,
        );
    }
    for n in 0..ROUTES {
        add(
            Routed,
            FIRST_ROUTE + n,
            Ipv4Addr::new(198, 51, 100, 16 * n as u8 + 1),
            blue,
        );
    }
    for (port, to) in [(MOVES, GUEST_MOVES), (COMES_AND_GOES, GUEST_COMES_AND_GOES)] {
        for way in [
            Switched(guest_mac(port)),
            Routed,
            FromUnderlay(guest_mac(port)),
        ] {
            add(way, to, guest_ip(port), blue);
        }
    }
    add(
        FromUnderlay(guest_mac(HAS_A_VPC)),
        GUEST_WITH_VPC,
        guest_ip(HAS_A_VPC),
        (9, gateway(4)),
    );
    (flows, [0, 1])
}

/// What the controller says before traffic begins.
pub(super) fn beginning() -> Vec<Resource> {
    let mut resources = vec![
        goal::vpc("vpc", 7),
        goal::subnet("blue", "vpc", "10.7.1.0/24", 7, 1),
        goal::subnet("red", "vpc", "10.7.2.0/24", 7, 2),
        goal::subnet("green", "vpc", "10.8.3.0/24", 8, 3),
        goal::subnet("crowd", "vpc", "10.64.0.0/10", 7, 0),
        neighbor("blue", Ipv4Addr::new(10, 7, 1, 30), stays(0)),
        neighbor("green", Ipv4Addr::new(10, 8, 3, 30), stays(1)),
        port(SENDER),
        port(STAYS),
        routes(&[None; ROUTES], 0),
    ];
    resources.extend((0..HOPS).map(|k| neighbor("blue", hop_ip(k), hop(k))));
    resources
}

/// The id of a guest's port.
pub(super) fn port_id(port: u8) -> String {
    format!("port-{port}")
}

/// A guest of this host.
pub(super) fn port(port: u8) -> Resource {
    let subnet = match port {
        HAS_A_VPC => "lonely",
        STAYS => "red",
        _ => "blue",
    };
    goal::port(
        &port_id(port),
        &text(guest_mac(port)),
        &[(subnet, &guest_ip(port).to_string())],
    )
}

/// A whole VPC, with one guest of this host.
pub(super) fn whole_vpc() -> [Resource; 3] {
    [
        goal::vpc("lonely-vpc", 9),
        goal::subnet("lonely", "lonely-vpc", "10.9.1.0/24", 9, 4),
        port(HAS_A_VPC),
    ]
}

/// The guest that moves, on another host.
pub(super) fn guest_elsewhere(host: u8) -> Resource {
    let place = Place::Host(host);
    let mac = guest_mac(MOVES);
    neighbor("blue", guest_ip(MOVES), At { mac, place })
}

/// A neighbor that moves, where it is now.
pub(super) fn moving_neighbor(n: usize, at: At) -> Resource {
    neighbor("red", neighbor_ip(n), at)
}

/// One of a crowd that nobody talks to.
pub(super) fn one_of_a_crowd(n: u32) -> Resource {
    let [_, a, b, c] = n.to_be_bytes();
    let (mac, place) = ([2, 0, 0, 5 + a, b, c], Place::Host(HOSTS.start + c % 100));
    neighbor("crowd", (0x0a40_0000 + n).into(), At { mac, place })
}

fn neighbor(subnet: &str, ip: Ipv4Addr, at: At) -> Resource {
    let Place::Host(host) = at.place else {
        unreachable!("a neighbor is elsewhere")
    };
    // No router leads to the crowd.
    let kind = if subnet == "crowd" || ip.octets()[3].is_multiple_of(2) {
        NeighborType::L2
    } else {
        NeighborType::L3
    };
    goal::neighbor(
        &format!("at {ip}"),
        kind,
        &text(at.mac),
        subnet,
        &ip.to_string(),
        host,
    )
}

/// The router with these next hops of the routes that change, and so many routes that nobody uses. The whole table.
pub(super) fn routes(hops: &[Option<u8>; ROUTES], crowd: u32) -> Resource {
    let mut rules = vec![(
        String::from("stays"),
        String::from("192.168.99.0/24"),
        String::from("10.7.1.30"),
    )];
    rules.extend((0..LATE).map(|n| {
        (
            format!("late {n}"),
            format!("100.64.{n}.0/24"),
            neighbor_ip(n).to_string(),
        )
    }));
    rules.extend(
        (0..)
            .zip(hops)
            .filter_map(|(n, hop)| Some(route(n, (*hop)?))),
    );
    rules.extend((0..crowd).map(|n| {
        let prefix = Ipv4Addr::from(0xac10_0000 + n);
        (
            format!("crowd {n}"),
            format!("{prefix}/32"),
            hop_ip(n as u8 % HOPS).to_string(),
        )
    }));
    router(UpdateType::Full, &rules)
}

/// The router with only what changes of the routes: next hops of routes by number.
pub(super) fn changed_routes(changes: &[(usize, Option<u8>)]) -> Resource {
    let rules: Vec<_> = changes
        .iter()
        .map(|&(n, hop)| match hop {
            Some(hop) => route(n, hop),
            None => (format!("route {n}"), String::new(), String::new()),
        })
        .collect();
    router(UpdateType::Delta, &rules)
}

fn route(n: usize, hop: u8) -> (String, String, String) {
    (
        format!("route {n}"),
        format!("198.51.100.{}/28", 16 * n),
        hop_ip(hop).to_string(),
    )
}

fn router(update: UpdateType, rules: &[(String, String, String)]) -> Resource {
    let rules: Vec<RuleText<'_>> = rules
        .iter()
        .map(|(id, prefix, hop)| (&id[..], &prefix[..], &hop[..], 100))
        .collect();
    goal::router(
        "router",
        update,
        &[("blue", &rules), ("red", &[]), ("green", &[])],
    )
}

fn text(mac: [u8; 6]) -> String {
    vswitch::wire::Mac::new(mac).to_string()
}

/// What the switch does with packets to a guest that moves.
pub(super) fn guest_at(port: u8, place: Place) -> State {
    let mac = guest_mac(port);
    Some(At { mac, place })
}
