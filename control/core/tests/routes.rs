// SPDX-License-Identifier: MIT
//! Rules that share a destination, rules that lead nowhere, and whose rules hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::goal::*;
use super::world::{PORT_A, PORT_B, World};
use crate::core::Show;
use crate::proto::schema::OperationStatus::{InvalidArg, Pending};
use crate::proto::schema::UpdateType;

#[test]
fn rules_for_one_destination_share_its_flows_until_one_of_them_goes() {
    let mut world = World::new();
    world.succeed(scenario());
    let rules = [
        ("one", "203.0.113.0/24", "10.8.3.103", 9),
        ("other", "203.0.113.0/24", "10.7.1.101", 9),
        ("spare", "203.0.113.0/24", "10.7.2.102", 10),
    ];
    let say = |rules| router("router", UpdateType::Delta, &[("blue", rules)]);
    world.succeed([router(
        "router",
        UpdateType::Full,
        &[("blue", &rules), ("red", &[]), ("green", &[])],
    )]);
    let ways = |world: &mut World| -> BTreeSet<String> {
        let seen = world.see();
        let lines = seen
            .lines()
            .filter(|line| line.starts_with("  203.0.113.200: "));
        let macs = lines.filter_map(|line| line.split_whitespace().nth(1));
        // The same for each of the subnet's ports.
        macs.map(str::to_owned).collect()
    };
    let of = |macs: &[&str]| macs.iter().map(|mac| (*mac).to_owned()).collect();
    let [one, other] = ["02:00:00:00:01:03", "02:00:00:00:01:01"];
    assert_eq!(ways(&mut world), of(&[one, other]));
    world.succeed([say(&[("one", "", "", 0)])]);
    assert_eq!(ways(&mut world), of(&[other]));
    world.succeed([say(&[("other", "", "", 0)])]);
    assert_eq!(
        ways(&mut world),
        of(&["02:00:00:00:01:02"]),
        "the spare one"
    );
}

#[test]
fn a_rule_may_lead_nowhere_and_waits_for_nobody() {
    let mut world = World::new();
    world.succeed(scenario());
    let hole = |destination| ("hole", destination, "blackhole", 9);
    let say = |rule| router("router", UpdateType::Delta, &[("blue", &[rule])]);
    world.succeed([say(hole("198.18.0.0/15"))]);
    assert!(world.see().contains("  198.18.0.9: nowhere\n"));
    let routes = world.show(Show::Routes);
    let mut rows = routes.iter();
    let row = rows.find(|row| row["destination"] == "198.18.0.0/15");
    assert_eq!(row.unwrap()["via"], "blackhole");
    // Not what is for the gateway, which the switch answers itself.
    world.succeed([say(hole("10.7.0.0/16"))]);
    assert!(!world.see().contains("  10.7.1.1: nowhere\n"));
    let nonsense = world.put([say(("hole", "10.7.0.0/16", "black hole", 9))]);
    assert_eq!(nonsense, [InvalidArg]);
}

#[test]
fn a_subnets_own_table_replaces_the_routers_default_one_until_it_is_empty() {
    let mut world = World::new();
    world.succeed(scenario());
    let default = ("default", "203.0.113.0/24", "10.8.3.103", 9);
    let own = ("own", "198.18.0.0/15", "blackhole", 9);
    let ways = |world: &mut World| {
        let routes = world.show(Show::Routes);
        let of_rules = routes.iter().filter(|row| row["via"] != "connected");
        let ways = of_rules.map(|row| format!("{} {}", row["subnet"], row["destination"]));
        ways.collect::<Vec<_>>().join(", ").replace('"', "")
    };
    let all = [("blue", &[][..]), ("red", &[]), ("green", &[])];
    let connects = router("router", UpdateType::Full, &all);
    world.succeed([connects.clone()]);
    assert_eq!(ways(&mut world), "");
    fn say(id: &str, table: &str, rules: &[(&str, &str, &str, u32)]) -> State {
        router(id, UpdateType::Delta, &[(table, rules)])
    }
    world.succeed([say("router", "", &[default])]);
    let both = "blue 203.0.113.0/24, red 203.0.113.0/24";
    assert_eq!(
        ways(&mut world),
        both,
        "of the subnets that have ports here"
    );
    world.succeed([say("router", "blue", &[own])]);
    assert_eq!(ways(&mut world), "blue 198.18.0.0/15, red 203.0.113.0/24");
    world.succeed([say("router", "blue", &[("own", "", "", 0)])]);
    assert_eq!(ways(&mut world), both);
    // Also if another router has it.
    world.succeed([say("another", "red", &[own])]);
    assert_eq!(ways(&mut world), "blue 203.0.113.0/24, red 198.18.0.0/15");
    world.succeed([deleted(say("another", "red", &[]))]);
    assert_eq!(ways(&mut world), both);
    let table = |world: &mut World, port| {
        let guest = world.guest(port).unwrap();
        guest.attachments[0].routes.clone()
    };
    let [one, other] = [PORT_A, PORT_B].map(|port| table(&mut world, port));
    assert!(Arc::ptr_eq(&one, &other), "compiled once");
    world.succeed([connects]);
    assert_eq!(ways(&mut world), "", "replaced");
    let lost = ("default", "203.0.113.0/24", "10.8.3.77", 9);
    assert_eq!(
        world.put([say("router", "", &[lost])]),
        [Pending],
        "nobody is there"
    );
}
