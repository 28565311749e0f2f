// SPDX-License-Identifier: MIT
//! From one subnet to another, and through guests.

use vswitch::counters::DropReason;
use vswitch::tables::routes::{Route, Target};

use crate::lab::*;
use crate::{A, B, switched};

/// Two subnets of one router: guest 1 of the first at A, guests of the second as the test adds them.
fn routed_pair(second_vni: u32) -> (Lab, Subnet, Subnet) {
    let mut lab = Lab::new();
    let mut first = Subnet::new(7, 1, 1, 0);
    let mut second = Subnet::new(second_vni, if second_vni == 7 { 1 } else { 2 }, 1, 1);
    router(&mut [&mut first, &mut second], &[]);
    lab.guest(A, 1, std::slice::from_ref(&first));
    (lab, first, second)
}

#[test]
fn a_packet_to_a_subnet_of_the_router_is_routed_to_another_host() {
    for vni in [7, 8] {
        let (mut lab, first, second) = routed_pair(vni);
        lab.remote(9, &second);
        lab.commit();
        let frame = udp(
            guest_mac(7, 1),
            gateway_mac(7, 0),
            first.ip(1),
            second.ip(9),
        );
        lab.inject(A, &frame);
        let out = lab.out(UPLINK);
        let routed = udp_with(DVR, guest_mac(vni, 9), first.ip(1), second.ip(9), 63, 0);
        assert_eq!(out, [to_peer(source_port(&out[0]), vni, 0, &routed)]);
    }
}

#[test]
fn a_packet_to_a_subnet_of_the_router_is_routed_on_this_host() {
    for vni in [7, 8] {
        let (mut lab, first, second) = routed_pair(vni);
        lab.guest(B, 2, std::slice::from_ref(&second));
        lab.commit();
        let frame = udp(
            guest_mac(7, 1),
            gateway_mac(7, 0),
            first.ip(1),
            second.ip(2),
        );
        let routed = udp_with(
            gateway_mac(vni, 1),
            guest_mac(vni, 2),
            first.ip(1),
            second.ip(2),
            63,
            0,
        );
        lab.expect(A, &frame, B, &routed);
    }
}

#[test]
fn a_frame_routed_by_another_host_shows_the_guest_its_own_gateway() {
    let (mut lab, first, second) = routed_pair(7);
    lab.guest(B, 2, std::slice::from_ref(&second));
    lab.commit();
    for (to, subnet, n) in [(A, &first, 1), (B, &second, 2)] {
        let source = "10.7.200.200".parse().unwrap();
        let packet = |src| udp(src, guest_mac(7, n), source, subnet.ip(n));
        let other_host = [0xfe, 0x16, 0x11, 1, 2, 3];
        lab.expect(
            UPLINK,
            &from_peer(7, 0, &packet(other_host)),
            to,
            &packet(gateway_mac(7, subnet.number)),
        );
    }
}

#[test]
fn a_guest_with_two_subnets_is_switched_in_the_one_that_it_speaks_in() {
    let (mut lab, first, second) = routed_pair(8);
    lab.guest(B, 2, &[second.clone(), first.clone()]);
    lab.commit();
    let frame = |source| udp(guest_mac(8, 2), guest_mac(7, 1), source, first.ip(1));
    lab.expect(B, &frame(first.ip(2)), A, &frame(first.ip(2)));
    lab.expect_drop(B, &frame(second.ip(2)), DropReason::UnknownMac);
}

#[test]
fn a_guest_with_two_subnets_is_routed_from_and_to_the_right_one() {
    let (mut lab, first, second) = routed_pair(8);
    lab.guest(B, 2, &[second.clone(), first.clone()]);
    lab.commit();
    let frame = udp(
        guest_mac(7, 1),
        gateway_mac(7, 0),
        first.ip(1),
        second.ip(2),
    );
    let routed = udp_with(
        gateway_mac(8, 1),
        guest_mac(8, 2),
        first.ip(1),
        second.ip(2),
        63,
        0,
    );
    lab.expect(A, &frame, B, &routed);
    let back = udp(
        guest_mac(8, 2),
        gateway_mac(8, 1),
        second.ip(2),
        first.ip(1),
    );
    let routed = udp_with(
        gateway_mac(7, 0),
        guest_mac(7, 1),
        second.ip(2),
        first.ip(1),
        63,
        0,
    );
    lab.expect(B, &back, A, &routed);
}

#[test]
fn ttl_ends_and_missing_routes_and_neighbors_are_counted_apart() {
    let (mut lab, first, second) = routed_pair(8);
    lab.commit();
    let send = |to, ttl| udp_with(guest_mac(7, 1), gateway_mac(7, 0), first.ip(1), to, ttl, 0);
    let nowhere = "10.99.0.1".parse().unwrap();
    for (to, ttl, reason) in [
        (second.ip(9), 1, DropReason::TtlExpired),
        (second.ip(9), 0, DropReason::TtlExpired),
        (second.ip(9), 2, DropReason::UnknownNeighbor),
        (nowhere, 2, DropReason::NoRoute),
    ] {
        let before = lab.totals(A);
        lab.inject(A, &send(to, ttl));
        assert_eq!(lab.out(A).len(), 1, "its sender is told");
        let since = lab.totals(A).since(&before);
        assert_eq!((since.dropped(), since.drops_for(reason)), (1, 1));
        lab.silent();
    }
    let mut arp = send(second.ip(9), 2);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    lab.expect_drop(A, &arp, DropReason::NotRoutable);
    lab.expect_drop(A, &switched(&first, 1, 9), DropReason::UnknownMac);
    let mut broadcast = arp;
    broadcast[..6].fill(0xff);
    lab.expect_drop(A, &broadcast, DropReason::NotFlooded);
}

#[test]
fn a_route_through_a_guest_goes_to_that_guest() {
    let mut lab = Lab::new();
    let mut subnet = Subnet::new(7, 1, 1, 0);
    let appliance = Route {
        prefix: "198.51.100.0/24".parse().unwrap(),
        priority: 10,
        target: Target::Via(vpc(1), subnet.ip(9).into()),
    };
    router(&mut [&mut subnet], &[appliance]);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.remote(9, &subnet);
    lab.commit();
    let outside = "198.51.100.5".parse().unwrap();
    lab.inject(
        A,
        &udp(guest_mac(7, 1), gateway_mac(7, 0), subnet.ip(1), outside),
    );
    let out = lab.out(UPLINK);
    let routed = udp_with(DVR, guest_mac(7, 9), subnet.ip(1), outside, 63, 0);
    assert_eq!(out, [to_peer(source_port(&out[0]), 7, 0, &routed)]);
}

/// A subnet with guest 1 at A, and a route by way of each of these guests on another host, all of one priority.
fn appliances(members: &[u8]) -> (Lab, Subnet) {
    let mut lab = Lab::new();
    let mut subnet = Subnet::new(7, 1, 1, 0);
    let by_way_of = |n: &u8| Route {
        prefix: "198.51.100.0/24".parse().unwrap(),
        priority: 10,
        target: Target::Via(vpc(1), subnet.ip(*n).into()),
    };
    let routes: Vec<_> = members.iter().map(by_way_of).collect();
    router(&mut [&mut subnet], &routes);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    (lab, subnet)
}

/// The guests of the subnet that packets to these hosts behind the appliances went by, in order.
fn ways(lab: &mut Lab, subnet: &Subnet, hosts: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut ways = Vec::new();
    for host in hosts {
        let outside = [198, 51, 100, host].into();
        let (guest, gateway) = (guest_mac(7, 1), gateway_mac(7, 0));
        lab.inject(A, &udp(guest, gateway, subnet.ip(1), outside));
        let [out] = lab.out(UPLINK).try_into().unwrap();
        let is_it = |n: &u8| {
            let routed = udp_with(DVR, guest_mac(7, *n), subnet.ip(1), outside, 63, 0);
            out == to_peer(source_port(&out), 7, 0, &routed)
        };
        ways.push((1..=254).find(is_it).unwrap());
    }
    ways
}

#[test]
fn flows_are_spread_over_equal_routes_and_each_keeps_its_own() {
    let (mut lab, subnet) = appliances(&[9, 10, 11]);
    [9, 10, 11].iter().for_each(|n| lab.remote(*n, &subnet));
    lab.commit();
    let all = ways(&mut lab, &subnet, 1..=250);
    for n in [9, 10, 11] {
        let share = all.iter().filter(|way| **way == n).count();
        assert!((50..120).contains(&share), "{n}: {share} of 250");
    }
    assert_eq!(ways(&mut lab, &subnet, 1..=250), all);
}

#[test]
fn a_machine_that_leaves_takes_no_flows_with_it_and_moves_no_others() {
    let (mut lab, subnet) = appliances(&[9, 10, 11]);
    [9, 10, 11].iter().for_each(|n| lab.remote(*n, &subnet));
    lab.commit();
    let before = ways(&mut lab, &subnet, 1..=250);
    lab.writer.remove_ip(vpc(1), subnet.ip(10).into());
    lab.commit();
    let after = ways(&mut lab, &subnet, 1..=250);
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!(after, if before == 10 { 11 } else { before });
    }
    for n in [9, 11] {
        lab.writer.remove_ip(vpc(1), subnet.ip(n).into());
    }
    lab.commit();
    let outside = "198.51.100.5".parse().unwrap();
    let frame = udp(guest_mac(7, 1), gateway_mac(7, 0), subnet.ip(1), outside);
    let before = lab.totals(A);
    lab.inject(A, &frame);
    assert_eq!(lab.out(A).len(), 1, "its sender is told");
    let since = lab.totals(A).since(&before);
    assert_eq!(since.drops_for(DropReason::UnknownNeighbor), 1);
}

#[test]
fn what_a_route_leads_nowhere_is_dropped_and_nobody_is_told() {
    let mut lab = Lab::new();
    let mut subnet = Subnet::new(7, 1, 1, 0);
    let route = |prefix: &str, target| Route {
        prefix: prefix.parse().unwrap(),
        priority: 10,
        target,
    };
    let appliance = Target::Via(vpc(1), subnet.ip(9).into());
    let routes = [
        route("198.51.100.0/24", appliance),
        route("198.51.100.64/26", Target::Blackhole),
    ];
    router(&mut [&mut subnet], &routes);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.remote(9, &subnet);
    lab.commit();
    let (guest, gateway) = (guest_mac(7, 1), gateway_mac(7, 0));
    let to = |host| udp(guest, gateway, subnet.ip(1), [198, 51, 100, host].into());
    lab.expect_drop(A, &to(64), DropReason::Blackhole);
    lab.expect_drop(A, &to(127), DropReason::Blackhole);
    assert_eq!(ways(&mut lab, &subnet, [63, 128].into_iter()), [9, 9]);
}
