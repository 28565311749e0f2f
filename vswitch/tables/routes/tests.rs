// SPDX-License-Identifier: MIT
//! Each form against a linear scan.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use proptest::prelude::*;

use super::*;

fn via(n: u32) -> Target {
    Target::Via(VpcId(NonZeroU16::MIN), Ipv4Addr::from(n))
}

fn route(prefix: &str, priority: u32, target: Target) -> Route {
    Route {
        prefix: prefix.parse().unwrap(),
        priority,
        target,
    }
}

/// What a lookup must find, the slow way.
fn scan(routes: &[Route], destination: u32) -> Option<Target> {
    let covering = routes
        .iter()
        .filter(|route| route.prefix.contains(&Ipv4Addr::from(destination)));
    covering
        .min_by_key(|route| (32 - route.prefix.prefix_len(), route.priority))
        .map(|route| route.target)
}

/// Addresses at which the answer can change, and their neighbors.
fn edges(routes: &[Route]) -> impl Iterator<Item = u32> {
    let ends = routes.iter().flat_map(|route| {
        [
            u32::from(route.prefix.network()),
            u32::from(route.prefix.broadcast()),
        ]
    });
    ends.flat_map(|end| [end.wrapping_sub(1), end, end.wrapping_add(1)])
        .chain([0, 1, u32::MAX, u32::MAX - 1])
}

fn routes(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Route>> {
    // Few upper bits and few targets, so that prefixes nest, touch and are equal.
    let address = prop_oneof![4 => (0..4u32, any::<u32>()).prop_map(|(a, b)| a << 30 | b & 0x0003_0fff), 1 => any::<u32>()];
    let length = prop_oneof![1 => 0..=16u8, 3 => 17..=32u8];
    let one =
        (address, length, 0..3u32, 0..6u32).prop_map(|(address, length, priority, target)| Route {
            prefix: Ipv4Net::new(Ipv4Addr::from(address), length).unwrap(),
            priority,
            target: via(target),
        });
    prop::collection::vec(one, count)
}

proptest! {
    #[test]
    fn every_form_finds_what_a_scan_finds(routes in routes(0..60), others in prop::collection::vec(any::<u32>(), 20)) {
        let mut sorted = routes.clone();
        let table = RouteTable::build(&mut sorted);
        prop_assert_eq!(table.len(), sorted.len());
        let (ranges, direct) = (Ranges::build(&sorted), Direct::build(&sorted));
        for destination in edges(&routes).chain(others) {
            let expected = scan(&routes, destination);
            prop_assert_eq!(table.lookup(destination), expected);
            prop_assert_eq!(ranges.way(destination).target(), expected);
            prop_assert_eq!(direct.way(destination).target(), expected);
        }
    }

    #[test]
    fn a_common_way_is_that_of_every_address(routes in routes(0..30), a in any::<usize>(), b in any::<usize>()) {
        let (mut few, mut all) = (routes[..routes.len().min(16)].to_vec(), routes.clone());
        let small = RouteTable::build(&mut few);
        RouteTable::build(&mut all);
        let (ranges, direct) = (Ranges::build(&all), Direct::build(&all));
        let ends: Vec<_> = edges(&routes).collect();
        let (a, b) = (ends[a % ends.len()], ends[b % ends.len()]);
        let (lowest, highest) = (a.min(b), a.max(b));
        let between = || ends.iter().copied().filter(|end| (lowest..=highest).contains(end));
        if let Some(way) = small.common_way(lowest, highest) {
            prop_assert!(between().all(|end| way.target() == scan(&few, end)));
        }
        for common in [ranges.common_way(lowest, highest), direct.common_way(lowest, highest)] {
            prop_assert_eq!(common.is_some(), common == Some(ranges.way(lowest)) && between().all(|end| ranges.way(end) == ranges.way(lowest)));
            if let Some(way) = common {
                prop_assert!(between().all(|end| way.target() == scan(&routes, end)));
            }
        }
    }

    #[test]
    fn a_table_of_up_to_16_routes_finds_what_a_scan_finds(routes in routes(0..=16)) {
        let table = RouteTable::build(&mut routes.clone());
        prop_assert!(matches!(table.form, Form::Small(_)));
        for destination in edges(&routes) {
            prop_assert_eq!(table.lookup(destination), scan(&routes, destination));
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
                (table.lookup(at), table.lookup(at + 1)),
                (Some(via(n)), None),
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
        route("10.1.0.0/16", 3, via(3)),
        route("10.0.0.0/8", 0, via(4)),
    ];
    let table = RouteTable::build(&mut routes);
    assert_eq!(table.len(), 2);
    assert_eq!(table.lookup(0x0a01_0001), Some(via(2)));
    assert_eq!(table.lookup(0x0a02_0001), Some(via(4)));
    assert_eq!(table.lookup(0x0b00_0001), None);
    assert_eq!(RouteTable::empty().lookup(0), None);
    assert_eq!(
        RouteTable::build(&mut vec![route("0.0.0.0/0", 0, via(1))]).lookup(u32::MAX),
        Some(via(1))
    );
}
