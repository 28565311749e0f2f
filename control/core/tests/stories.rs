// SPDX-License-Identifier: MIT
//! *Stories*: what is said of one resource, one after the other. Only within a story does order count.

use super::goal::*;
use crate::proto::schema::GatewayType;
use crate::proto::schema::NeighborType::{L2, L3};
use crate::proto::schema::OperationType;
use crate::proto::schema::UpdateType::{Delta, Full};
use crate::state::Revisions;

use Step::{Bind, Say, Unbind};

/// One step of a story.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // some dozens of them, and no other place for a state
pub(super) enum Step {
    Say(State),
    /// Port 1 or 2 of the switch is this one of the controller's.
    Bind(u16, &'static str),
    Unbind(u16),
    /// What to make of revisions from now on.
    Revise(Revisions),
}

pub(super) type Story = Vec<Step>;

pub(super) fn say(states: impl IntoIterator<Item = State>) -> Story {
    states.into_iter().map(Say).collect()
}

/// What nothing is made of yet.
pub(super) fn kept() -> Vec<State> {
    vec![
        security_group("group", Full, &[("ssh", 22), ("", 80)]),
        dhcp("uuid", "blue", "02:00:00:00:00:0a", "10.7.1.10"),
        gateway("zeta", GatewayType::Zeta),
    ]
}

/// Everything is said once.
pub(super) fn once() -> Vec<Story> {
    let states = scenario().into_iter().chain(kept());
    let stories = states.map(|state| vec![Say(state)]);
    stories
        .chain([vec![Bind(1, "port-a")], vec![Bind(2, "port-b")]])
        .collect()
}

/// Ports come, go and are plugged in elsewhere; guests move between hosts.
pub(super) fn ports_and_guests() -> Vec<Story> {
    let a = port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]);
    let b = port(
        "port-b",
        "02:00:00:00:00:0b",
        &[("red", "10.7.2.11"), ("blue", "10.7.1.11")],
    );
    let b_elsewhere = port("port-b", "02:00:00:00:00:0c", &[("red", "10.7.2.12")]);
    let at = |kind, host| neighbor("n1", kind, "02:00:00:00:01:01", "blue", "10.7.1.101", host);
    let arrives = |host| neighbor("port-a", L2, "02:00:00:00:00:0a", "blue", "10.7.1.10", host);
    let other_mac = neighbor("n2", L3, "02:00:00:00:01:22", "red", "10.7.2.102", 9);
    vec![
        say([vpc("vpc", 7), vpc("vpc", 0)]),
        say([subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]),
        say([subnet("red", "vpc", "10.7.2.0/24", i64::MAX as u64, 2)]),
        say([router("router", Delta, &[("blue", &[]), ("red", &[])])]),
        vec![
            Bind(1, "port-a"),
            Bind(2, "port-c"),
            Unbind(1),
            Bind(1, "port-b"),
            Unbind(2),
            Bind(2, "port-a"),
        ],
        say([a.clone(), deleted(a.clone()), a]),
        // UPDATE without a device: detached.
        say([b.clone(), b.with(OperationType::Update), b_elsewhere]),
        say([at(L2, 9), at(L2, 8), at(L2, 9), at(L2, 7)]),
        say([at(L3, 7), deleted(at(L3, 7))]),
        say([arrives(9), arrives(1)]),
        say([
            neighbor("n2", L3, "02:00:00:00:01:02", "red", "10.7.2.102", 8),
            other_mac,
        ]),
        say([
            deleted(neighbor(
                "n3",
                L2,
                "02:00:00:00:01:03",
                "red",
                "10.7.2.103",
                8,
            )),
            neighbor("n3", L2, "02:00:00:00:01:03", "red", "10.7.2.103", 8),
        ]),
    ]
}

/// Subnets change range, VNI and VPC; a VNI goes from one VPC to another; routers are patched and replaced.
pub(super) fn networks() -> Vec<Story> {
    let blue = |cidr| subnet("blue", "vpc", cidr, 0, 1);
    let red = |tunnel_id, gateway| subnet("red", "vpc", "10.7.2.0/24", tunnel_id, gateway);
    let green = |vpc| subnet("green", vpc, "10.8.3.0/24", 8, 3);
    let rule = ("rule", "203.0.113.0/24", "10.8.3.103", 100);
    let old_rule = ("old", "203.0.113.0/24", "10.7.2.102", 1);
    let nearer = ("nearer", "203.0.113.0/25", "10.7.2.102", 1);
    let twin = ("twin", "203.0.113.0/24", "10.7.2.102", 100);
    let hole = ("hole", "198.18.0.0/15", "blackhole", 1);
    vec![
        say([vpc("vpc", 7), vpc("vpc", 17), vpc("vpc", 9)]),
        // VNI 7 is the first VPC's for a while.
        say([vpc("other", 0), vpc("other", 7)]),
        say([
            blue("10.7.1.0/25"),
            blue("10.7.0.0/16"),
            deleted(blue("")),
            blue("10.7.1.0/24"),
        ]),
        say([red(0, 2), red(77, 0), red(i64::MAX as u64, 9)]),
        say([green("vpc"), green("other")]),
        say([subnet("apart", "other", "10.7.1.0/24", 0, 4)]),
        say([
            router("router", Delta, &[("blue", &[old_rule]), ("apart", &[])]),
            router("router", Delta, &[("red", &[rule]), ("blue", &[rule])]),
            router("router", Full, &[("blue", &[rule]), ("green", &[])]),
            router(
                "router",
                Delta,
                &[("blue", &[nearer, twin, hole, ("none", "", "", 0)])],
            ),
            router("router", Delta, &[("red", &[])]),
        ]),
        say([
            router("second", Full, &[("apart", &[old_rule])]),
            deleted(router("second", Full, &[])),
        ]),
        vec![Bind(1, "port-a")],
        vec![Bind(2, "port-b")],
        say([port(
            "port-a",
            "02:00:00:00:00:0a",
            &[("blue", "10.7.1.10")],
        )]),
        say([port(
            "port-b",
            "02:00:00:00:00:0b",
            &[("apart", "10.7.1.10")],
        )]),
        say([neighbor(
            "n2",
            L3,
            "02:00:00:00:01:02",
            "red",
            "10.7.2.102",
            9,
        )]),
        say([neighbor(
            "n3",
            L3,
            "02:00:00:00:01:03",
            "green",
            "10.8.3.103",
            8,
        )]),
        say([neighbor(
            "n4",
            L2,
            "02:00:00:00:01:04",
            "apart",
            "10.7.1.104",
            8,
        )]),
    ]
}

/// Networks of both versions of IP: a subnet is of the one and of the other, and what is in it with an address of the
/// wrong one waits.
pub(super) fn both_versions() -> Vec<Story> {
    let azure = |cidr, gateway| subnet("azure", "vpc", cidr, 0, gateway);
    let a = |fixed_ips: &[_]| port("port-a", "02:00:00:00:00:0a", fixed_ips);
    let n1 = |host| {
        neighbor(
            "n1",
            L2,
            "02:00:00:00:01:01",
            "azure",
            "2001:db8:7:1::101",
            host,
        )
    };
    let n3 = |ip| neighbor("n3", L3, "02:00:00:00:01:03", "lime", ip, 8);
    let of_v4 = |ip| neighbor("n4", L2, "02:00:00:00:01:04", "azure", ip, 8);
    let rule = ("rule", "2001:db8:203::/48", "2001:db8:8:3::103", 1);
    let old_rule = ("rule", "203.0.113.0/24", "10.7.1.104", 1);
    let nameless = ("", "2001:db8:203::/49", "2001:db8:7:1::101", 1);
    vec![
        say([vpc("vpc", 7)]),
        say([subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]),
        say([
            azure("2001:db8:7::/48", 1),
            azure("10.7.2.0/24", 2),
            azure("2001:db8:7:1::/64", 1),
        ]),
        say([subnet("lime", "vpc", "2001:db8:8:3::/64", 8, 3)]),
        say([
            router("router", Delta, &[("azure", &[old_rule, nameless])]),
            router("router", Delta, &[("blue", &[old_rule]), ("lime", &[])]),
            router("router", Delta, &[("azure", &[rule])]),
        ]),
        say([
            a(&[("azure", "10.7.2.10")]),
            a(&[("blue", "10.7.1.10")]),
            a(&[("azure", "2001:db8:7:1::10"), ("blue", "10.7.1.10")]),
        ]),
        vec![Bind(1, "port-a")],
        say([n1(9), deleted(n1(9)), n1(8)]),
        say([n3("2001:DB8:8:3:0:0:0:103")]),
        say([of_v4("10.7.2.104")]),
        say([neighbor(
            "n5",
            L2,
            "02:00:00:00:01:05",
            "blue",
            "10.7.1.104",
            9,
        )]),
    ]
}

/// Subnets with tables of their own, for a while or for good, and routers' default tables.
pub(super) fn tables() -> Vec<Story> {
    let own = ("own", "203.0.113.0/24", "10.7.2.102", 9);
    let default = ("default", "203.0.113.0/24", "10.8.3.103", 9);
    let nearer = ("nearer", "203.0.113.0/25", "10.7.2.102", 9);
    let hole = ("hole", "198.18.0.0/15", "blackhole", 9);
    let taken_back = |id| (id, "", "", 0);
    vec![
        say([vpc("vpc", 7)]),
        say([subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]),
        say([subnet("red", "vpc", "10.7.2.0/24", 0, 2)]),
        say([subnet("green", "vpc", "10.8.3.0/24", 8, 3)]),
        say([
            router("router", Delta, &[("", &[hole]), ("blue", &[own])]),
            router(
                "router",
                Delta,
                &[("", &[default, taken_back("hole")]), ("green", &[])],
            ),
            router(
                "router",
                Delta,
                &[("blue", &[taken_back("own")]), ("red", &[nearer])],
            ),
        ]),
        say([
            router("second", Full, &[("red", &[own]), ("blue", &[own])]),
            router("second", Full, &[("", &[hole]), ("blue", &[])]),
        ]),
        say([
            router("third", Full, &[("blue", &[own])]),
            deleted(router("third", Full, &[])),
        ]),
        say([port(
            "port-a",
            "02:00:00:00:00:0a",
            &[("blue", "10.7.1.10")],
        )]),
        say([port("port-b", "02:00:00:00:00:0b", &[("red", "10.7.2.11")])]),
        vec![Bind(1, "port-a")],
        vec![Bind(2, "port-b")],
        say([neighbor(
            "n2",
            L3,
            "02:00:00:00:01:02",
            "red",
            "10.7.2.102",
            9,
        )]),
        say([neighbor(
            "n3",
            L3,
            "02:00:00:00:01:03",
            "green",
            "10.8.3.103",
            8,
        )]),
    ]
}

/// VPCs and their gateways, whichever is first; subnets and ports that come, go and change VPCs.
pub(super) fn gateways() -> Vec<Story> {
    let none = vpc("vpc", 7);
    let a = port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]);
    vec![
        say([
            grouped(none.clone(), &["zeta"]),
            none.clone(),
            grouped(none, &["spare", "zeta", "spare", "unknown"]),
        ]),
        say([
            grouped(vpc("other", 9), &["spare"]),
            grouped(vpc("other", 9), &["zeta", "igw"]),
        ]),
        say([
            zeta("zeta", &[50]),
            zeta("zeta", &[50, 51, 52]),
            deleted(zeta("zeta", &[])),
            zeta("zeta", &[53, 51]),
        ]),
        say([
            gateway("spare", GatewayType::Igw),
            zeta("spare", &[51, 60, 1]),
        ]),
        say([zeta("igw", &[70]), gateway("igw", GatewayType::Igw)]),
        say([zeta("idle", &[80])]),
        say([zeta("gone", &[81]), deleted(zeta("gone", &[81]))]),
        say([
            subnet("blue", "other", "10.7.1.0/24", 0, 1),
            subnet("blue", "vpc", "10.7.1.0/24", 0, 1),
        ]),
        say([subnet("apart", "other", "10.7.2.0/24", 0, 2)]),
        say([a.clone(), deleted(a.clone()), a]),
        say([port(
            "port-b",
            "02:00:00:00:00:0b",
            &[("apart", "10.7.2.11")],
        )]),
        vec![Bind(1, "port-a"), Unbind(1), Bind(1, "port-a")],
        vec![Bind(2, "port-b")],
        say([
            neighbor("n1", L2, "02:00:00:00:01:01", "blue", "10.7.1.101", 51),
            deleted(neighbor(
                "n1",
                L2,
                "02:00:00:00:01:01",
                "blue",
                "10.7.1.101",
                51,
            )),
        ]),
    ]
}

/// What is kept is patched, replaced, renamed and deleted.
pub(super) fn keeping() -> Vec<Story> {
    let mac = "02:00:00:00:00:0a";
    let zeta = gateway("zeta", GatewayType::Zeta);
    vec![
        say([
            security_group("group", Delta, &[("a", 22), ("", 80)]),
            security_group("group", Full, &[("b", 443), ("", 81)]),
            security_group("group", Delta, &[("b", 0), ("c", 53), ("a", 22)]),
        ]),
        say([
            security_group("gone", Full, &[("a", 22)]),
            deleted(security_group("gone", Full, &[])),
        ]),
        say([
            dhcp("uuid-1", "blue", mac, "10.7.1.10"),
            dhcp("uuid-2", "blue", mac, "10.7.1.11"),
        ]),
        say([
            dhcp("uuid-3", "red", mac, "10.7.2.10"),
            deleted(dhcp("uuid-4", "red", mac, "")),
        ]),
        say([
            zeta.clone(),
            deleted(zeta),
            gateway("zeta", GatewayType::Igw),
        ]),
        say([vpc("vpc", 7)]),
        say([subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]),
        say([port("port-a", mac, &[("blue", "10.7.1.10")])]),
        vec![Bind(1, "port-a")],
    ]
}
