// SPDX-License-Identifier: MIT
//! Each form against a linear scan.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;

fn via(n: u32) -> Target {
    Target::Via(VpcId(NonZeroU16::MIN), Ipv4Addr::from(n).into())
}

fn route(prefix: &str, priority: u32, target: Target) -> Route {
    Route {
        prefix: prefix.parse().unwrap(),
        priority,
        target,
    }
}

/// What a lookup must find, the slow way.
fn scan(routes: &[Route], destination: u32) -> Vec<Target> {
    scan_both(routes, Ipv4Addr::from(destination).into())
}

fn scan_both(routes: &[Route], destination: IpAddr) -> Vec<Target> {
    let order = |route: &Route| (128 - route.prefix.prefix_len(), route.priority);
    let covering = routes
        .iter()
        .filter(|route| route.prefix.contains(&destination));
    let Some(best) = covering.clone().min_by_key(|route| order(route)) else {
        return Vec::new();
    };
    if !matches!(best.target, Target::Via(..)) {
        return vec![best.target];
    }
    let equal = covering.filter(|route| order(route) == order(best));
    let mut targets = Vec::new();
    for route in equal.filter(|route| matches!(route.target, Target::Via(..))) {
        if !targets.contains(&route.target) {
            targets.push(route.target);
        }
    }
    targets
}

fn find(table: &RouteTable, destination: u32) -> Vec<Target> {
    table.lookup(Ipv4Addr::from(destination).into())
}

/// Addresses at which the answer can change, and their neighbors.
fn edges(routes: &[Route]) -> impl Iterator<Item = u32> {
    let narrow = routes.iter().filter_map(Route::ipv4);
    let ends = narrow.flat_map(|route| [route.first, route.last]);
    ends.flat_map(|end| [end.wrapping_sub(1), end, end.wrapping_add(1)])
        .chain([0, 1, u32::MAX, u32::MAX - 1])
}

fn wide_edges(routes: &[Route]) -> impl Iterator<Item = u128> {
    let wide = routes.iter().filter_map(Route::ipv6);
    let ends = wide.flat_map(|route| [route.first, route.last]);
    ends.flat_map(|end| [end.wrapping_sub(1), end, end.wrapping_add(1)])
        .chain([0, 1, u128::MAX, u128::MAX - 1])
}

/// Likewise of IPv6.
fn wide_routes(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Route>> {
    let address = prop_oneof![4 => (0..4u128, any::<u16>()).prop_map(|(a, b)| a << 126 | u128::from(b)), 1 => any::<u128>()];
    let length = prop_oneof![1 => 0..=64u8, 3 => 110..=128u8];
    let one =
        (address, length, 0..3u32, 0..7u128).prop_map(|(address, length, priority, n)| Route {
            prefix: Ipv6Net::new(Ipv6Addr::from(address), length)
                .unwrap()
                .into(),
            priority,
            target: match n {
                0 => Target::Connected(VpcId(NonZeroU16::MIN)),
                1 => Target::Blackhole,
                n => Target::Via(VpcId(NonZeroU16::MIN), Ipv6Addr::from(n).into()),
            },
        });
    prop::collection::vec(one, count)
}

fn routes(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Route>> {
    // Few upper bits and few targets, so that prefixes nest, touch and are equal.
    let address = prop_oneof![4 => (0..4u32, any::<u32>()).prop_map(|(a, b)| a << 30 | b & 0x0003_0fff), 1 => any::<u32>()];
    let length = prop_oneof![1 => 0..=16u8, 3 => 17..=32u8];
    let one =
        (address, length, 0..3u32, 0..8u32).prop_map(|(address, length, priority, target)| Route {
            prefix: Ipv4Net::new(Ipv4Addr::from(address), length)
                .unwrap()
                .into(),
            priority,
            target: match target {
                0 => Target::Connected(VpcId(NonZeroU16::MIN)),
                1 => Target::Blackhole,
                n => via(n),
            },
        });
    prop::collection::vec(one, count)
}

proptest! {
    #[test]
    fn every_form_finds_what_a_scan_finds(routes in routes(0..60), others in prop::collection::vec(any::<u32>(), 20)) {
        let mut sorted = routes.clone();
        let table = RouteTable::build(&mut sorted);
        prop_assert_eq!(table.len(), sorted.len());
        let (prefixes, _) = spread::prefixes(&sorted, Route::ipv4);
        let (ranges, direct) = (Ranges::build(&prefixes), Direct::build(&prefixes));
        for destination in edges(&routes).chain(others) {
            prop_assert_eq!(find(&table, destination), scan(&routes, destination));
            prop_assert_eq!(ranges.way(destination), table.way(destination));
            prop_assert_eq!(direct.way(destination), table.way(destination));
        }
    }

    #[test]
    fn ipv6_routes_are_found_as_a_scan_finds_them_and_those_of_ipv4_beside_them(
        wide in wide_routes(0..60),
        narrow in routes(0..60),
        others in prop::collection::vec(any::<u128>(), 20),
    ) {
        let routes = [wide, narrow.clone()].concat();
        let table = RouteTable::build(&mut routes.clone());
        let alone = RouteTable::build(&mut narrow.clone());
        for destination in wide_edges(&routes).chain(others).map(Ipv6Addr::from) {
            prop_assert_eq!(table.lookup(destination.into()), scan_both(&routes, destination.into()));
            prop_assert_eq!(alone.lookup(destination.into()), []);
        }
        for destination in edges(&routes) {
            prop_assert_eq!(find(&table, destination), find(&alone, destination));
        }
    }

    #[test]
    fn a_common_way_is_that_of_every_address(routes in routes(0..30), a in any::<usize>(), b in any::<usize>()) {
        let (mut few, mut all) = (routes[..routes.len().min(16)].to_vec(), routes.clone());
        let small = RouteTable::build(&mut few);
        let table = RouteTable::build(&mut all);
        let (prefixes, _) = spread::prefixes(&all, Route::ipv4);
        let (ranges, direct) = (Ranges::build(&prefixes), Direct::build(&prefixes));
        let ends: Vec<_> = edges(&routes).collect();
        let (a, b) = (ends[a % ends.len()], ends[b % ends.len()]);
        let (lowest, highest) = (a.min(b), a.max(b));
        let between = || ends.iter().copied().filter(|end| (lowest..=highest).contains(end));
        if let Some(way) = small.common_way(lowest, highest) {
            prop_assert!(between().all(|end| small.way(end) == way));
        }
        for common in [ranges.common_way(lowest, highest), direct.common_way(lowest, highest)] {
            prop_assert_eq!(common.is_some(), common == Some(ranges.way(lowest)) && between().all(|end| ranges.way(end) == ranges.way(lowest)));
            if let Some(way) = common {
                prop_assert!(between().all(|end| table.way(end) == way));
            }
        }
    }

    #[test]
    fn a_table_of_up_to_16_routes_finds_what_a_scan_finds(routes in routes(0..=16)) {
        let table = RouteTable::build(&mut routes.clone());
        prop_assert!(matches!(table.form, Form::Small(_)));
        for destination in edges(&routes) {
            prop_assert_eq!(find(&table, destination), scan(&routes, destination));
        }
    }
}

#[test]
fn the_form_follows_the_number_of_routes() {
    let hosts = |count: u32| -> Vec<Route> {
        (0..count)
            .map(|n| {
                route(
                    &format!("{}/32", Ipv4Addr::from(0x0a01_0000 + n * 7)),
                    0,
                    via(n),
                )
            })
            .collect()
    };
    for (count, small, direct) in [
        (0, true, false),
        (16, true, false),
        (17, false, false),
        (4096, false, false),
        (4097, false, true),
    ] {
        let routes = hosts(count);
        let table = RouteTable::build(&mut routes.clone());
        assert_eq!(matches!(table.form, Form::Small(_)), small, "{count}");
        assert_eq!(matches!(table.form, Form::Direct(_)), direct, "{count}");
        assert_eq!(
            (table.len(), table.is_empty()),
            (count as usize, count == 0)
        );
        for n in 0..count {
            let at = 0x0a01_0000 + n * 7;
            assert_eq!(
                (find(&table, at), find(&table, at + 1)),
                (vec![via(n)], vec![]),
                "{count}: {n}"
            );
        }
        let most = [300, 300, 120_000, 262_144 + 400 + 20 * 4097];
        let most =
            most[usize::from(count > 0) + usize::from(count > 16) + usize::from(count > 4096)];
        assert!(table.memory() <= most, "{count}: {}", table.memory());
    }
}

#[test]
fn the_lowest_priority_number_wins_among_equal_prefixes_and_the_longest_prefix_before_that() {
    let mut routes = vec![
        route("10.1.0.0/16", 9, via(1)),
        route("10.1.5.5/16", 3, via(2)),
        route("10.1.0.0/16", 4, via(3)),
        route("10.0.0.0/8", 0, via(4)),
    ];
    let table = RouteTable::build(&mut routes);
    assert_eq!(table.len(), 2);
    assert_eq!(find(&table, 0x0a01_0001), [via(2)]);
    assert_eq!(find(&table, 0x0a02_0001), [via(4)]);
    assert_eq!(find(&table, 0x0b00_0001), []);
    assert_eq!(find(&RouteTable::empty(), 0), []);
    assert_eq!(
        find(
            &RouteTable::build(&mut vec![route("0.0.0.0/0", 0, via(1))]),
            u32::MAX
        ),
        [via(1)]
    );
}

#[test]
fn equal_routes_by_way_of_machines_share_the_flows_and_what_is_no_machine_comes_alone() {
    let connected = Target::Connected(VpcId(NonZeroU16::MIN));
    let six = |n: u128| Target::Via(VpcId(NonZeroU16::MIN), Ipv6Addr::from(n).into());
    let mut routes = vec![
        route("10.1.0.0/16", 3, via(3)),
        route("10.1.0.0/16", 3, via(2)),
        route("10.1.0.0/16", 3, via(3)),
        route("10.1.0.0/16", 3, connected),
        route("10.1.0.0/16", 4, via(4)),
        route("10.2.0.0/16", 3, via(3)),
        route("10.2.0.0/16", 3, via(2)),
        route("10.3.0.0/16", 3, Target::Blackhole),
        route("10.3.0.0/16", 3, via(2)),
        route("2001:db8::/32", 0, six(7)),
        route("2001:db8::/32", 0, six(8)),
    ];
    let table = RouteTable::build(&mut routes);
    assert_eq!(table.len(), 7);
    assert_eq!(find(&table, 0x0a01_0001), [via(3), via(2)]);
    assert_eq!(find(&table, 0x0a03_0001), [Target::Blackhole]);
    let way = table.way(0x0a01_0001);
    assert_eq!(way, table.way(0x0a02_0001), "one group");
    assert_eq!((way.neighbor_key(7), way.is_blackhole()), (None, false));
    let key = |n| Neighbors::ip_key(VpcId(NonZeroU16::MIN), n);
    assert_eq!(table.pick(way, 0, |_| true), Some(key(3)));
    assert_eq!(table.pick(way, u32::MAX, |_| true), Some(key(2)));
    assert_eq!(table.pick(way, 0, |other| other == key(2)), Some(key(2)));
    assert_eq!(table.pick(table.way(0x0b00_0001), 0, |_| true), None);
    let wide = "2001:db8::1".parse().unwrap();
    assert_eq!(table.lookup(wide), [six(7), six(8)]);
    let IpAddr::V6(wide) = wide else {
        unreachable!()
    };
    let index = table.wide_index(wide);
    assert_eq!(table.wide_target(index), None);
    for (flow, n) in [(0, 7), (u32::MAX, 8)] {
        let index = table.wide_pick(index, flow, |_| true);
        let expected = Target::Via(VpcId(NonZeroU16::MIN), Ipv6Addr::from(n));
        assert_eq!(table.wide_target(index), Some(expected));
        assert_eq!(table.wide_pick(index, flow, |_| true), index);
    }
}

#[test]
fn what_a_table_holds_of_the_other_version_costs_it_nothing_and_no_route_leads_from_one_to_the_other()
 {
    let six = |n: u128| Target::Via(VpcId(NonZeroU16::MIN), Ipv6Addr::from(n).into());
    let mut routes = vec![
        route("10.0.0.0/8", 0, via(1)),
        route("2001:db8::/32", 0, six(7)),
        route("2001:db8:1::/48", 0, six(8)),
        route("11.0.0.0/8", 0, six(9)),
        route("2001:db9::/32", 0, via(9)),
    ];
    let table = RouteTable::build(&mut routes);
    assert_eq!(table.len(), 3);
    let at = |text: &str| table.lookup(text.parse().unwrap());
    assert_eq!(at("10.9.9.9"), [via(1)]);
    assert_eq!(at("2001:db8:ffff::1"), [six(7)]);
    assert_eq!(at("2001:db8:1:ffff::1"), [six(8)]);
    assert_eq!((at("11.1.1.1"), at("2001:db9::1")), (vec![], vec![]));
    let narrow = RouteTable::build(&mut routes[..1].to_vec());
    assert_eq!(narrow.memory(), size_of::<RouteTable>());
    assert!(table.memory() > narrow.memory());
}
