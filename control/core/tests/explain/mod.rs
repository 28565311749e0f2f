// SPDX-License-Identifier: MIT
//! What becomes of packets is said in words, with the resources that it comes from.

mod arrivals;
mod dhcp;
mod ports;
mod random;

use vswitch::counters::DropReason;
use vswitch::stage::limits::Limits;
use vswitch::tables::PortId;

use super::goal::{dhcp as dhcp_state, dual_stack, grouped, neighbor, router, scenario, vpc, zeta};
use super::world::{PORT_A, PORT_B, UPLINK, World};
use crate::explain::{Explanation, Links, Outcome, Packet};
use crate::proto::schema::{ResourceType, UpdateType};

/// All ports, and no limits.
fn links() -> Links {
    Links {
        limits: Limits::NONE,
        started: (0..4).filter_map(PortId::new).collect(),
        subports: Vec::new(),
    }
}

/// The MAC of the guest at port 1.
const GUEST_A: &str = "02:00:00:00:00:0a";

/// Where nobody is.
const NOBODY: PortId = PortId::new(3).unwrap();

/// A world in which packets can be explained.
fn world(asks: bool) -> World {
    populated(World::unbound(1 << 16), asks)
}

/// The same at some place where no ports are bound yet.
fn populated(mut world: World, asks: bool) -> World {
    world.bind(PORT_A, "port-a");
    world.bind(PORT_B, "port-b");
    world.succeed(scenario());
    world.succeed([dhcp_state("lease", "blue", GUEST_A, "10.7.1.10")]);
    world.core.explain_by(world.registrar.clone(), asks);
    world
}

/// The stage and the text of each step, and the resources that it comes from.
fn told(explanation: &Explanation) -> String {
    let steps = explanation.steps.iter().map(|step| {
        let because = step.because.iter().map(|named| {
            let kind: ResourceType = named.kind;
            format!(" <{} {} {}>", kind.as_str_name(), named.id, named.revision)
        });
        format!(
            "{}: {}{}\n",
            step.stage,
            step.text,
            because.collect::<String>()
        )
    });
    steps.collect()
}

#[track_caller]
fn expect(world: &World, port: PortId, words: &str, outcome: &Outcome, lines: &[&str]) {
    let packet = Packet::Words(words.to_owned());
    let explanation = world.core.explain(port, &packet, links()).unwrap();
    let told = told(&explanation);
    assert_eq!(explanation.outcome, *outcome, "{told}");
    for line in lines {
        assert!(
            told.lines().any(|other| other == *line),
            "no `{line}` in\n{told}"
        );
    }
}

#[test]
fn each_decision_names_its_entry_and_the_resource_it_comes_from() {
    let world = world(false);
    expect(
        &world,
        PORT_A,
        "ip dst=203.0.113.5 / udp dport=53 / len=40",
        &Outcome::Forwarded,
        &[
            "port: from the guest 02:00:00:00:00:0a at port 1: 02:00:00:00:00:0a > 00:00:5e:00:01:01, 10.7.1.10 > 203.0.113.5 \
             ttl 64, UDP 50000 > 53, 82 bytes <PORT port-a 1>",
            "parse: IPv4 to 203.0.113.5, time to live 64, DSCP 0, ECN 0",
            "guard: its source is the guest's own, or an allowed address pair's <PORT port-a 1>",
            "route: to its gateway: 203.0.113.5 is in 203.0.113.0/24 via 10.8.3.103, rule rule, priority 100 <SUBNET blue 1> \
             <ROUTER router 1>",
            "neighbor: 10.8.3.103 is 02:00:00:00:01:03 in VNI 8, on host 192.0.2.8 <NEIGHBOR n3 1>",
        ],
    );
    expect(
        &world,
        PORT_A,
        "ip dst=10.7.2.12 / icmp",
        &Outcome::Forwarded,
        &[
            "route: to its gateway: 10.7.2.12 is in 10.7.2.0/24, connected <SUBNET blue 1> <ROUTER router 1>",
            "neighbor: 10.7.2.12 is 02:00:00:00:00:0b in VNI 7, here, at port 2 <PORT port-b 1>",
        ],
    );
    expect(
        &world,
        PORT_A,
        "ip dst=10.7.1.101 / tcp",
        &Outcome::Forwarded,
        &[
            "route: not to its gateway: switched in 10.7.1.0/24 by its MAC <SUBNET blue 1>",
            "neighbor: 02:00:00:00:01:01 is 02:00:00:00:01:01 in VNI 7, on host 192.0.2.9 <NEIGHBOR n1 1>",
        ],
    );
}

#[test]
fn the_receivers_of_a_broadcast_are_named() {
    let mut world = world(false);
    let to_all = "eth dst=ff:ff:ff:ff:ff:ff / ip dst=10.7.1.255 / udp dport=53";
    let dropped = Outcome::Dropped(DropReason::NotFlooded);
    expect(&world, PORT_A, to_all, &dropped, &[]);
    world.replicate(Some("blue"), Some(100));
    expect(
        &world,
        PORT_A,
        to_all,
        &Outcome::Copied,
        &["route: for everybody: copied to host 192.0.2.9, port 2 <SUBNET blue 1>"],
    );
    let tunnel = "eth src=02:aa:00:00:00:09 dst=02:aa:00:00:00:01 / ip src=192.0.2.9 dst=192.0.2.1 / vxlan vni=7";
    let group =
        "eth src=02:00:00:00:01:01 dst=01:00:5e:00:00:12 / ip src=10.7.1.101 dst=224.0.0.18 / udp";
    let from_host = format!("{tunnel} / {group}");
    expect(
        &world,
        UPLINK,
        &from_host,
        &Outcome::Copied,
        &["decap: for everybody: copied to port 1, port 2"],
    );
}

#[test]
fn the_gateway_that_a_packet_is_left_to_is_named() {
    let mut world = world(true);
    world.put(dual_stack());
    world.put([grouped(vpc("vpc", 7), &["zeta"]), zeta("zeta", &[50])]);
    for (words, what) in [
        (
            "eth dst=02:00:00:00:00:77 / ip dst=10.7.1.77 / udp dport=53",
            "10.7.1.77",
        ),
        ("ip dst=10.7.2.77 / udp dport=53", "10.7.2.77"),
        ("arp dst=10.7.1.77", "10.7.1.77"),
        ("nd dst=2001:db8:7:1::77", "2001:db8:7:1::77"),
    ] {
        let text = format!(
            "neighbor: nobody told us of {what}: left to the gateway at 192.0.2.50, as it is and in VNI 7 <GATEWAY zeta 1>"
        );
        expect(&world, PORT_A, words, &Outcome::Forwarded, &[&text]);
    }
}

#[test]
fn a_route_that_leads_nowhere_is_named() {
    let mut world = world(false);
    let hole = ("hole", "198.18.0.0/15", "blackhole", 9);
    world.succeed([router("router", UpdateType::Delta, &[("blue", &[hole])])]);
    expect(
        &world,
        PORT_A,
        "ip dst=198.18.0.9 / udp dport=53",
        &Outcome::Dropped(DropReason::Blackhole),
        &[
            "route: to its gateway: 198.18.0.9 is in 198.18.0.0/15, rule hole, priority 9: dropped as blackhole: It was to be \
             routed, and a route says that such packets are to be dropped. <SUBNET blue 1> <ROUTER router 1>",
        ],
    );
}

#[test]
fn packets_of_ipv6_are_explained_likewise() {
    let mut world = world(false);
    world.succeed(dual_stack());
    expect(
        &world,
        PORT_A,
        "ip dst=2001:db8:203::5 / udp dport=53 / len=40",
        &Outcome::Forwarded,
        &[
            "port: from the guest 02:00:00:00:00:0a at port 1: 02:00:00:00:00:0a > 00:00:5e:00:01:01, 2001:db8:7:1::10 > \
             2001:db8:203::5 hop limit 64, UDP 50000 > 53, 102 bytes <PORT port-a 1>",
            "parse: IPv6 to 2001:db8:203::5, hop limit 64, DSCP 0, ECN 0",
            "guard: its source is the guest's own, or an allowed address pair's <PORT port-a 1>",
            "route: to its gateway: 2001:db8:203::5 is in 2001:db8:203::/48 via 2001:db8:8:3::103, rule rule6, priority 100 \
             <SUBNET azure 1> <ROUTER router 1>",
            "neighbor: 2001:db8:8:3::103 is 02:00:00:00:01:03 in VNI 8, on host 192.0.2.8 <NEIGHBOR n3 1>",
        ],
    );
    expect(
        &world,
        PORT_A,
        "ip dst=2001:db8:8:3::103 tos=184 ttl=9 / icmp",
        &Outcome::Forwarded,
        &[
            "parse: IPv6 to 2001:db8:8:3::103, hop limit 9, DSCP 46, ECN 0",
            "route: to its gateway: 2001:db8:8:3::103 is in 2001:db8:8:3::/64, connected <SUBNET azure 1> <ROUTER router 1>",
        ],
    );
    expect(
        &world,
        PORT_A,
        "ip dst=2001:db8:7:1::101 / tcp",
        &Outcome::Forwarded,
        &[
            "route: not to its gateway: switched in 2001:db8:7:1::/64 by its MAC <SUBNET azure 1>",
            "neighbor: 02:00:00:00:01:01 is 02:00:00:00:01:01 in VNI 7, on host 192.0.2.9 <NEIGHBOR n1 1>",
        ],
    );
    let answered = [
        "ip dst=2001:db8:7:1::1 / icmp",
        "nd dst=2001:db8:7:1::1",
        "nd dst=2001:db8:7:1::101",
        "nd",
    ];
    for words in answered {
        expect(&world, PORT_A, words, &Outcome::Answered, &[]);
    }
    // Whether an address is free is to ask who may have it.
    let spoofed = Outcome::Dropped(DropReason::SpoofedArp);
    expect(
        &world,
        PORT_A,
        "nd src=:: dst=2001:db8:7:1::101",
        &spoofed,
        &[],
    );
    let no_route = Outcome::Dropped(DropReason::NoRoute);
    expect(&world, PORT_A, "ip dst=2001:4860::8", &no_route, &[]);
    let spoofed = Outcome::Dropped(DropReason::SpoofedIp);
    let words = "ip src=2001:db8:7:1::9 dst=2001:db8:203::5";
    expect(&world, PORT_A, words, &spoofed, &[]);
    let error = |words: &str| {
        let packet = Packet::Words(words.to_owned());
        let error = world.core.explain(PORT_A, &packet, links()).unwrap_err();
        error.to_string()
    };
    assert_eq!(
        error("ip src=10.7.1.10 dst=2001:db8::1"),
        "`src=10.7.1.10 with dst=2001:db8::1` is no value for it"
    );
    assert_eq!(error("ip dst=2001:db8::1 df=1"), "ip has no field `df`");
    let packet = Packet::Words("ip dst=2001:db8::1".to_owned());
    let error = world.core.explain(PORT_B, &packet, links()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ip src is not known here: say it in the packet"
    );
}

#[test]
fn a_neighbor_is_named_also_where_its_subnet_does_not_have_its_address() {
    let mut world = world(false);
    let mac = "02:00:00:00:01:09";
    let kind = crate::proto::schema::NeighborType::L2;
    let described = |id: &str| neighbor(id, kind, mac, "blue", "10.7.9.9", 9);
    let words = format!("eth dst={mac} / ip dst=10.7.9.9");
    // Of two that say the same the latest is meant.
    for id in ["n9", "m9"] {
        world.succeed([described(id)]);
        let line =
            format!("neighbor: {mac} is {mac} in VNI 7, on host 192.0.2.9 <NEIGHBOR {id} 1>");
        expect(&world, PORT_A, &words, &Outcome::Forwarded, &[&line]);
    }
}

#[test]
fn what_goes_no_further_is_said_at_the_stage_that_refused_it() {
    let world = world(false);
    let dropped = |reason: DropReason| {
        (
            Outcome::Dropped(reason),
            format!("dropped as {}: {}", reason.name(), reason.explanation()),
        )
    };
    let (outcome, text) = dropped(DropReason::NoRoute);
    let line = format!("route: {text} Its sender is told. <SUBNET blue 1>");
    expect(&world, PORT_A, "ip dst=8.8.8.8", &outcome, &[&line]);
    let (outcome, text) = dropped(DropReason::UnknownNeighbor);
    let line = format!("neighbor: 10.7.2.200: {text} Its sender is told.");
    expect(&world, PORT_A, "ip dst=10.7.2.200", &outcome, &[&line]);
    let (outcome, text) = dropped(DropReason::SpoofedIp);
    let line = format!("guard: {text} <PORT port-a 1>");
    expect(
        &world,
        PORT_A,
        "ip src=10.7.1.9 dst=8.8.8.8",
        &outcome,
        &[&line],
    );
    let (outcome, text) = dropped(DropReason::PortUnbound);
    let words = "eth src=02:00:00:00:00:01 dst=02:00:00:00:00:02 / ip src=1.2.3.4 dst=8.8.8.8";
    expect(&world, NOBODY, words, &outcome, &[&format!("port: {text}")]);
    let line = "route: for the switch itself, which answers <SUBNET blue 1>";
    expect(
        &world,
        PORT_A,
        "arp dst=10.7.1.1",
        &Outcome::Answered,
        &[line],
    );
}

#[test]
fn what_comes_from_the_underlay_is_explained_too() {
    let world = world(false);
    let tunnel = "eth src=02:aa:00:00:00:09 dst=02:aa:00:00:00:01 / ip src=192.0.2.9 dst=192.0.2.1 / vxlan vni=7";
    let inner =
        "eth src=02:00:00:00:01:01 dst=02:00:00:00:00:0a / ip src=10.7.1.101 dst=10.7.1.10 / udp";
    let words = format!("{tunnel} / {inner}");
    expect(
        &world,
        UPLINK,
        &words,
        &Outcome::Forwarded,
        &[
            "decap: for this VTEP, VNI 7: outer header taken off <SUBNET blue 1> <SUBNET red 1>",
            "neighbor: 02:00:00:00:00:0a is 02:00:00:00:00:0a in VNI 7, here, at port 1 <PORT port-a 1>",
        ],
    );
    let words = words.replace("vni=7", "vni=99");
    let reason = DropReason::UnknownVni;
    let line = format!(
        "decap: dropped as {}: {}",
        reason.name(),
        reason.explanation()
    );
    expect(&world, UPLINK, &words, &Outcome::Dropped(reason), &[&line]);
}

#[test]
fn words_that_make_no_packet_say_why() {
    let world = world(false);
    let error = |port, words: &str| {
        let packet = Packet::Words(words.to_owned());
        world
            .core
            .explain(port, &packet, links())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(PORT_A, "ip / udp"),
        "ip dst is not known here: say it in the packet"
    );
    assert_eq!(
        error(PORT_A, "ip dst=8.8.8 / udp"),
        "`dst=8.8.8` is no value for it"
    );
    assert_eq!(
        error(PORT_A, "ip dst=8.8.8.8 foo=1 / udp"),
        "ip has no field `foo`"
    );
    assert_eq!(
        error(PORT_A, "ip dst=8.8.8.8 / udp / len=9001"),
        "`len=9001` is no value for it"
    );
    assert!(error(PORT_A, "ip dst=8.8.8.8 / sctp").starts_with("`sctp` cannot stand there"));
    assert!(error(PORT_A, "ip dst=8.8.8.8 / udp / len=1 / udp").starts_with("`udp` cannot stand"));
    assert!(error(PORT_A, "").starts_with("`` cannot stand there"));
    assert_eq!(
        error(UPLINK, "ip dst=8.8.8.8"),
        "eth src is not known here: say it in the packet"
    );
    let unresolved = "eth dst is not known here: say it in the packet";
    assert_eq!(error(PORT_A, "ip dst=10.7.1.77"), unresolved);
}

#[test]
fn limits_count() {
    let world = world(false);
    let explained = |packet: &str, links: &Links| {
        let packet = Packet::Words(packet.to_owned());
        world.core.explain(PORT_A, &packet, links.clone()).unwrap()
    };
    let mut links = links();
    (links.limits.fragment, links.limits.clamp_mss) = (true, true);
    links.limits.set_mtu(PORT_B, 1000);
    let long = explained("ip dst=10.7.1.11 / udp / len=1200", &links);
    assert!(
        told(&long).contains("encap: too long: leaves in 2 fragments\n"),
        "{}",
        told(&long)
    );
    assert_eq!((long.outcome, long.sent.len()), (Outcome::Forwarded, 2));
    links.limits.fragment = false;
    let long = explained("ip dst=10.7.1.11 df=1 / udp / len=1200", &links);
    assert_eq!(long.outcome, Outcome::Dropped(DropReason::TooBig));
    assert!(
        told(&long).ends_with("Its sender is told.\n"),
        "{}",
        told(&long)
    );
}

#[test]
fn a_tunnel_in_a_tunnel_is_refused_however_often() {
    let world = world(false);
    let layer = "ip src=192.0.2.9 dst=192.0.2.1 / vxlan vni=7 / eth src=02:00:00:00:00:01 dst=02:00:00:00:00:02 / ";
    for times in [2, 100_000] {
        let words = format!("{}arp dst=10.7.1.1", layer.repeat(times));
        let error = world.core.explain(UPLINK, &Packet::Words(words), links());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("`vxlan` cannot stand there"), "{error}");
    }
}
