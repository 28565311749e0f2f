// SPDX-License-Identifier: MIT
//! What a push would change and what would contradict itself, on a copy.

use super::goal::*;
use super::world::{PORT_A, PORT_B, dual_site, site};
use crate::audit::conflicts::Kind;
use crate::audit::part::Refused;
use crate::audit::rehearsal::{Difference, Rehearsal};
use crate::core::Site;
use crate::proto::schema::NeighborType::{L2, L3};
use crate::proto::schema::*;
use crate::southbound::decode::Encoded;
use crate::state::Revisions;

/// What differs when `then` is applied after `first`, and what is refused of it. The switch is that of the other tests.
fn rehearse(first: Vec<State>, then: Vec<State>) -> (Difference, Vec<Refused>) {
    rehearse_at(site(), first, then)
}

fn rehearse_at(site: Site, first: Vec<State>, then: Vec<State>) -> (Difference, Vec<Refused>) {
    let bindings = vec![(PORT_A, "port-a".to_owned()), (PORT_B, "port-b".to_owned())];
    let mut rehearsal = Rehearsal::new(site, 1 << 16, Revisions::Check, bindings).unwrap();
    rehearsal.apply(&Encoded::from(&v1(first))).unwrap();
    let before = rehearsal.survey();
    let refused = rehearsal.apply(&Encoded::from(&v1(then))).unwrap();
    (rehearsal.difference(before), refused)
}

/// The only conflict that `then` makes of the scenario: its kind, its place, and who.
fn conflict(then: Vec<State>) -> (Kind, String, Vec<String>) {
    let (difference, _) = rehearse(scenario(), then);
    let mut all = difference.conflicts.into_iter();
    let ((kind, place), between) = all.next().expect("there is none");
    assert_eq!(all.next(), None);
    (kind, place, between.into_iter().collect())
}

#[test]
fn the_same_again_is_no_difference() {
    let (difference, refused) = rehearse(scenario(), scenario());
    assert!(refused.is_empty() && difference.new.is_empty() && difference.deleted.is_empty());
    assert!(difference.changed.is_empty() && difference.unprogrammed.is_empty());
    assert_eq!(difference.unchanged, scenario().len());
    assert!(
        difference.conflicts.is_empty(),
        "{:?}",
        difference.conflicts
    );
    assert_eq!(difference.former_conflicts, 0);
}

#[test]
fn what_is_new_changed_and_deleted_is_told_apart() {
    let moved = neighbor("n2", L3, "02:00:00:00:01:02", "red", "10.7.2.102", 8);
    let gone = neighbor("n3", L3, "02:00:00:00:01:03", "green", "10.8.3.103", 8);
    let (difference, refused) = rehearse(
        scenario(),
        vec![
            vpc("other", 9),
            moved.at(2),
            deleted(gone),
            port("port-a", "no MAC", &[("blue", "10.7.1.10")]),
        ],
    );
    assert_eq!(difference.new, [(ResourceType::Vpc, "other".to_owned())]);
    let changed: Vec<_> = difference.changed.keys().cloned().collect();
    let neighbor = |key: &str| (ResourceType::Neighbor, key.to_owned());
    assert_eq!(changed, [neighbor("L3/10.7.2.102/red/n2")]);
    assert_eq!(difference.deleted, [neighbor("L3/10.8.3.103/green/n3")]);
    assert_eq!(difference.unchanged, scenario().len() - 2);
    let [Refused { kind, id, reason }] = refused.as_slice() else {
        panic!("{refused:?}")
    };
    assert_eq!((*kind, id.as_str()), (ResourceType::Port, "port-a"));
    assert_eq!(reason.0, OperationStatus::InvalidArg);
    assert!(reason.1.contains("\"no MAC\""), "{reason:?}");
    // The router's rule led there.
    let router = &difference.unprogrammed[&(ResourceType::Router, "router".to_owned())];
    assert_eq!(router.0, OperationStatus::Pending);
    assert_eq!(difference.unprogrammed.len(), 1);
}

#[test]
fn what_comes_too_late_is_refused() {
    let (_, refused) = rehearse(vec![vpc("vpc", 7).at(5)], vec![vpc("vpc", 8).at(4)]);
    assert_eq!(refused[0].reason.0, OperationStatus::OutOfOrder);
}

#[test]
fn what_would_wait_says_for_what() {
    let early = neighbor("n", L2, "02:00:00:00:01:01", "nowhere", "10.9.1.101", 9);
    let (difference, _) = rehearse(scenario(), vec![early.clone()]);
    let (_, (status, reason)) = difference.unprogrammed.into_iter().next().unwrap();
    assert_eq!(status, OperationStatus::Pending);
    assert!(reason.contains("\"nowhere\""), "{reason}");
    // What waited already is not the push's fault.
    let (difference, _) = rehearse(vec![early], vec![vpc("vpc", 7)]);
    assert!(difference.unprogrammed.is_empty());
}

#[test]
fn two_neighbors_or_ports_with_one_address_conflict() {
    let thief = neighbor("thief", L2, "02:00:00:00:01:66", "blue", "10.7.1.101", 8);
    let (kind, place, between) = conflict(vec![thief]);
    assert_eq!(kind, Kind::DuplicateAddress);
    assert_eq!(place, "10.7.1.101 in VPC \"vpc\"");
    assert_eq!(
        between,
        [
            "neighbor \"n1\" 02:00:00:00:01:01 on 192.0.2.9",
            "neighbor \"thief\" 02:00:00:00:01:66 on 192.0.2.8"
        ]
    );
    let twin = port("port-c", "02:00:00:00:00:0d", &[("blue", "10.7.1.10")]);
    let (kind, place, between) = conflict(vec![twin]);
    assert_eq!(
        (kind, place.as_str()),
        (Kind::DuplicateAddress, "10.7.1.10 in VPC \"vpc\"")
    );
    assert_eq!(between.len(), 3, "port-a is there as a neighbor, too");
}

#[test]
fn one_mac_of_two_machines_conflicts_and_several_addresses_of_one_do_not() {
    let twin = neighbor("twin", L2, "02:00:00:00:01:01", "blue", "10.7.1.77", 8);
    let (kind, place, _) = conflict(vec![twin]);
    assert_eq!(kind, Kind::DuplicateAddress);
    assert_eq!(place, "02:00:00:00:01:01 behind VNI 7");
    let second = neighbor("n1", L2, "02:00:00:00:01:01", "blue", "10.7.1.78", 9);
    let elsewhere = |ip, host| neighbor("", L2, "02:00:00:00:01:09", "blue", ip, host);
    let hosts = vec![elsewhere("10.7.1.79", 8), elsewhere("10.7.1.80", 9)];
    assert_eq!(conflict(hosts).1, "02:00:00:00:01:09 behind VNI 7");
    let nameless = |ip| elsewhere(ip, 9);
    let (difference, _) = rehearse(
        scenario(),
        vec![second, nameless("10.7.1.79"), nameless("10.7.1.80")],
    );
    assert!(
        difference.conflicts.is_empty(),
        "{:?}",
        difference.conflicts
    );
    // The port that comes here, and what is still said of it elsewhere.
    let (difference, _) = rehearse(
        scenario(),
        vec![neighbor(
            "port-a",
            L2,
            "02:00:00:00:00:0a",
            "blue",
            "10.7.1.10",
            9,
        )],
    );
    assert!(
        difference.conflicts.is_empty(),
        "{:?}",
        difference.conflicts
    );
}

#[test]
fn a_host_of_two_addresses_is_one_host() {
    let at = |host: &str| {
        let mut state = neighbor("", L2, "02:00:00:00:00:0a", "blue", "10.7.1.10", 9);
        if let State::Neighbor(state) = &mut state {
            state.configuration.as_mut().unwrap().host_ip_address = host.into();
        }
        vec![state]
    };
    for (host, conflicts) in [
        ("192.0.2.1", 0),
        ("2001:db8:ff::1", 0),
        ("2001:db8:ff::2", 2),
    ] {
        let (difference, _) = rehearse_at(dual_site(), scenario(), at(host));
        let found = difference.conflicts.len();
        assert_eq!(found, conflicts, "{:?}", difference.conflicts);
    }
}

#[test]
fn addresses_of_different_vpcs_do_not_conflict() {
    let (difference, _) = rehearse(
        scenario(),
        vec![
            vpc("other", 21),
            subnet("far", "other", "10.7.1.0/24", 0, 1),
            neighbor("n9", L2, "02:00:00:00:01:01", "far", "10.7.1.101", 9),
        ],
    );
    assert!(
        difference.conflicts.is_empty(),
        "{:?}",
        difference.conflicts
    );
}

#[test]
fn a_machine_with_a_gateways_address_conflicts() {
    let (kind, place, between) = conflict(vec![neighbor(
        "n9",
        L2,
        "02:00:00:00:01:09",
        "blue",
        "10.7.1.1",
        9,
    )]);
    assert_eq!(
        (kind, place.as_str()),
        (Kind::DuplicateGateway, "10.7.1.1 in VPC \"vpc\"")
    );
    assert!(
        between
            .iter()
            .any(|name| name.contains("gateway") && name.contains("\"blue\""))
    );
}

#[test]
fn two_machines_conflict_whoever_agrees_with_both_is_told_first() {
    let claims = |id| neighbor(id, L2, "02:00:00:00:01:77", "blue", "10.7.1.77", 8);
    for ids in [["", "a", "b"], ["a", "", "b"], ["a", "b", ""]] {
        let (difference, _) = rehearse(scenario(), ids.map(claims).into());
        let between = difference.conflicts.into_values().map(|all| all.len());
        assert_eq!(
            between.collect::<Vec<_>>(),
            [2, 2],
            "{ids:?}: by address and by MAC"
        );
    }
}

#[test]
fn contradictions_of_ipv6_conflict_likewise_but_for_gateways_of_two_links() {
    let with = |more: Vec<State>| dual_stack().into_iter().chain(more).collect::<Vec<_>>();
    let machine = |ip| neighbor("m", L2, "02:00:00:00:01:66", "azure", ip, 8);
    let rule = |rule| router("router", UpdateType::Delta, &[("azure", &[rule])]);
    let azure = "in the table of subnet \"azure\"";
    let cases = [
        (
            machine("2001:db8:7:1:0::101"),
            Kind::DuplicateAddress,
            "2001:db8:7:1::101 in VPC \"vpc\"".to_owned(),
        ),
        (
            machine("2001:db8:7:1::1"),
            Kind::DuplicateGateway,
            "2001:db8:7:1::1 in VPC \"vpc\"".to_owned(),
        ),
        (
            rule(("other", "2001:db8:203::/48", "2001:db8:7:1::101", 5)),
            Kind::OverlappingRoute,
            format!("2001:db8:203::/48 {azure}"),
        ),
        (
            rule(("nobody", "2001:db8:9::/48", "2001:db8:7:1::77", 5)),
            Kind::UnknownNextHop,
            format!("2001:db8:7:1::77 {azure}"),
        ),
    ];
    for (state, kind, place) in cases {
        let conflict = conflict(with(vec![state]));
        assert_eq!((conflict.0, conflict.1), (kind, place));
    }
    let mut links = ["azure", "lime"].map(|id| subnet(id, "vpc", "2001:db8:9::/64", 7, 9));
    for (link, n) in links.iter_mut().zip(1..) {
        let State::Subnet(SubnetState {
            configuration: Some(subnet),
            ..
        }) = link
        else {
            unreachable!()
        };
        subnet.cidr = format!("2001:db8:{n}::/64");
        subnet.gateway.get_or_insert_default().ip_address = "fe80::1".into();
    }
    let (difference, _) = rehearse(vec![vpc("vpc", 7)], links.to_vec());
    assert!(
        difference.conflicts.is_empty(),
        "{:?}",
        difference.conflicts
    );
}

#[test]
fn a_vni_of_two_vpcs_conflicts() {
    let (difference, _) = rehearse(
        scenario(),
        vec![vpc("other", 7), subnet("far", "other", "10.7.9.0/24", 0, 1)],
    );
    let conflicts: Vec<_> = difference.conflicts.into_iter().collect();
    let [((kind, place), between)] = conflicts.as_slice() else {
        panic!("{conflicts:?}")
    };
    assert_eq!((*kind, place.as_str()), (Kind::DuplicateVni, "VNI 7"));
    let between: Vec<_> = between.iter().collect();
    assert_eq!(between, ["VPC \"other\"", "VPC \"vpc\""]);
    let far = &difference.unprogrammed[&(ResourceType::Subnet, "far".to_owned())];
    assert_eq!(far.0, OperationStatus::InvalidArg);
}

#[test]
fn one_destination_by_two_next_hops_conflicts_unless_they_share_its_flows() {
    let twice = |hop| {
        let rules = [("second", "203.0.113.0/24", hop, 7)];
        router("router", UpdateType::Delta, &[("blue", &rules)])
    };
    let (kind, place, between) = conflict(vec![twice("10.8.3.104")]);
    assert_eq!(kind, Kind::OverlappingRoute);
    assert_eq!(place, "203.0.113.0/24 in the table of subnet \"blue\"");
    assert_eq!(between.len(), 2);
    let (difference, _) = rehearse(scenario(), vec![twice("10.8.3.103")]);
    assert!(difference.conflicts.is_empty(), "the same next hop");
    assert_eq!(conflict(vec![twice("blackhole")]).0, Kind::OverlappingRoute);
    let equal = [("second", "203.0.113.0/24", "10.7.1.101", 100)];
    let equal = router("router", UpdateType::Delta, &[("blue", &equal)]);
    let (difference, _) = rehearse(scenario(), vec![equal]);
    assert!(difference.conflicts.is_empty(), "they share the flows");
}

#[test]
fn a_next_hop_that_nobody_has_conflicts() {
    let rules = [("second", "198.51.100.0/24", "10.8.3.200", 7)];
    let (kind, place, between) = conflict(vec![router(
        "router",
        UpdateType::Delta,
        &[("blue", &rules)],
    )]);
    assert_eq!(kind, Kind::UnknownNextHop);
    assert_eq!(place, "10.8.3.200 in the table of subnet \"blue\"");
    assert_eq!(between, ["router \"router\""]);
}

#[test]
fn the_rules_of_a_default_table_conflict_once_for_all_its_subnets() {
    let all = [("blue", &[][..]), ("red", &[]), ("green", &[])];
    let mut first = scenario();
    first.push(router("router", UpdateType::Full, &all));
    let conflicts = |rules: &[RuleText<'_>]| {
        let then = router("router", UpdateType::Delta, &[("", rules)]);
        let (difference, _) = rehearse(first.clone(), vec![then]);
        difference.conflicts.into_keys().collect::<Vec<_>>()
    };
    let way = |id, hop| (id, "203.0.113.0/24", hop, 9);
    let lost = conflicts(&[way("one", "10.8.3.200")]);
    let place = "10.8.3.200 in the default table of router \"router\"";
    assert_eq!(lost, [(Kind::UnknownNextHop, place.to_owned())]);
    let twice = conflicts(&[way("one", "10.8.3.103"), way("two", "blackhole")]);
    let place = "203.0.113.0/24 in the default table of router \"router\"";
    assert_eq!(twice, [(Kind::OverlappingRoute, place.to_owned())]);
}

#[test]
fn a_conflict_that_is_there_already_is_only_counted_until_somebody_joins_it() {
    let thief = |id, mac| neighbor(id, L2, mac, "blue", "10.7.1.101", 8);
    let mut first = scenario();
    first.push(thief("thief", "02:00:00:00:01:66"));
    let (difference, _) = rehearse(first.clone(), vec![vpc("other", 9)]);
    assert!(difference.conflicts.is_empty());
    assert_eq!(difference.former_conflicts, 1);
    let (difference, _) = rehearse(first.clone(), vec![thief("third", "02:00:00:00:01:67")]);
    assert_eq!(
        (difference.conflicts.len(), difference.former_conflicts),
        (1, 0)
    );
    let (difference, _) = rehearse(first, vec![deleted(thief("thief", "02:00:00:00:01:66"))]);
    assert_eq!(
        (difference.conflicts.len(), difference.former_conflicts),
        (0, 0)
    );
}
