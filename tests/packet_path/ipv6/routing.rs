// SPDX-License-Identifier: MIT
//! Which way IPv6 packets go, and what of them changes on it.

use std::net::Ipv6Addr;

use vswitch::counters::DropReason;
use vswitch::tables::Hop;
use vswitch::tables::routes::{Route, Target};

use super::*;
use crate::{A, B};

const C: PortId = port(4);

#[test]
fn a_packet_to_another_subnet_here_is_one_hop_older_and_comes_from_that_subnets_gateway() {
    let (mut lab, here, there) = lab();
    for hops in [2, 64, 255] {
        let ips = [here.ip(1), there.ip(4)];
        let sent = udp6(to_gateway(&here), ips, hops);
        let received = udp6([there.gateway_mac(), there.mac(4)], ips, hops - 1);
        lab.expect(A, &sent, C, &received);
    }
}

#[test]
fn a_packet_to_another_host_travels_in_its_destinations_vni_from_the_router_there() {
    let (mut lab, here, there) = lab();
    let ips = [here.ip(1), there.ip(7)];
    lab.inject(A, &udp6(to_gateway(&here), ips, 64));
    let inner = udp6([DVR, there.mac(7)], ips, 63);
    let out = lab.out(UPLINK);
    assert_eq!(out, [to_peer(source_port(&out[0]), 8, 0, &inner)]);
    // And what comes back from the router there is from the gateway here.
    let ips = [there.ip(7), here.ip(1)];
    let inner = udp6([DVR, here.mac(1)], ips, 63);
    let received = udp6(from_gateway(&here), ips, 63);
    lab.expect(UPLINK, &from_peer(7, 0, &inner), A, &received);
}

#[test]
fn inside_a_subnet_packets_stay_as_they_are_link_local_ones_too() {
    let (mut lab, here, _) = lab();
    let [one, two] = [1, 2].map(|n| here.mac(n));
    for ips in [[here.ip(1), here.ip(2)], [one, two].map(link_local)] {
        let frame = udp6([one, two], ips, 1);
        lab.expect(A, &frame, B, &frame);
    }
    let frame = udp6([one, here.mac(9)], [here.ip(1), here.ip(9)], 1);
    lab.inject(A, &frame);
    let out = lab.out(UPLINK);
    assert_eq!(out, [to_peer(source_port(&out[0]), 7, 0, &frame)]);
}

#[test]
fn the_longest_prefix_leads_to_its_next_hop() {
    let via = |prefix: &str, hop: Ipv6Addr| Route {
        prefix: prefix.parse().unwrap(),
        priority: 1,
        target: Target::Via(vpc(1), hop.into()),
    };
    let net = Net::new(7, 1, 1, 0);
    let (mut lab, here, there) = lab_with(&[
        via("::/0", net.ip(2)),
        via("2001:db8:ffff::/48", net.ip(9)),
        via("2001:db8:ffff:1::/64", Net::new(8, 2, 1, 1).ip(4)),
        via("2001:db8:ffff:1::7/128", net.ip(77)),
    ]);
    let to = |text: &str| [here.ip(1), text.parse().unwrap()];
    let sent = |ips| udp6(to_gateway(&here), ips, 64);
    let ips = to("2600::1");
    lab.expect(
        A,
        &sent(ips),
        B,
        &udp6([here.gateway_mac(), here.mac(2)], ips, 63),
    );
    let ips = to("2001:db8:ffff:1::8");
    lab.expect(
        A,
        &sent(ips),
        C,
        &udp6([there.gateway_mac(), there.mac(4)], ips, 63),
    );
    let ips = to("2001:db8:ffff:2::1");
    lab.inject(A, &sent(ips));
    let out = lab.out(UPLINK);
    let inner = udp6([DVR, here.mac(9)], ips, 63);
    assert_eq!(out, [to_peer(source_port(&out[0]), 7, 0, &inner)]);
    lab.inject(A, &sent(to("2001:db8:ffff:1::7")));
    assert_eq!(lab.out(A).len(), 1, "the sender is told");
    assert_eq!(lab.totals(A).drops_for(DropReason::UnknownNeighbor), 1);
}

#[test]
fn what_is_good_on_one_link_only_is_not_routed_whatever_routes_say() {
    let everything = Route {
        prefix: "::/0".parse().unwrap(),
        priority: 1,
        target: Target::Via(vpc(1), Net::new(7, 1, 1, 0).ip(2).into()),
    };
    let (mut lab, here, there) = lab_with(&[everything]);
    let to = |text: &str| [here.ip(1), text.parse().unwrap()];
    for ips in [
        to("fe80::7"),
        to("ff05::2"),
        to("::1"),
        to("::"),
        [Ipv6Addr::UNSPECIFIED, there.ip(4)],
        [Ipv6Addr::LOCALHOST, there.ip(4)],
        ["ff02::1".parse().unwrap(), there.ip(4)],
    ] {
        let frame = udp6(to_gateway(&here), ips, 64);
        lab.expect_drop(A, &frame, DropReason::NotRoutable);
    }
}

#[test]
fn a_guest_of_both_versions_of_ip_sends_both_in_one_burst_each_by_its_own_subnet() {
    let mut lab = Lab::new();
    // By IPv4 in VNI 7, by IPv6 in VNI 9 of the same VPC; the router connects VNI 8 to both.
    let (mut four, mut six, mut there) = (
        Net::new(7, 1, 1, 0),
        Net::new(9, 3, 1, 0),
        Net::new(8, 2, 1, 1),
    );
    connect(&mut [&mut four, &mut six, &mut there], &[]);
    let mac = four.mac(1);
    let attachments = vec![four.narrow.attachment(), six.attachment()];
    tenant(&mut lab, A, mac, attachments);
    lab.neighbor(&four.narrow, 1, Mac::new(mac), Hop::Local(A));
    lab.remote(9, &four.narrow);
    remote(&mut lab, 9, &six);
    tenant(
        &mut lab,
        C,
        there.mac(4),
        vec![there.narrow.attachment(), there.attachment()],
    );
    lab.neighbor(&there.narrow, 4, Mac::new(there.mac(4)), Hop::Local(C));
    neighbor(&mut lab, &there, 4, Hop::Local(C));
    lab.commit();
    let narrow = [four.narrow.ip(1), there.narrow.ip(4)];
    let wide = [six.ip(1), there.ip(4)];
    let sent = |net: &Net, ttl| {
        let gateway = net.gateway_mac();
        let four = udp_with(mac, gateway, narrow[0], narrow[1], ttl, 0);
        [four, udp6([mac, gateway], wide, ttl)]
    };
    for _ in 0..3 {
        lab.inject(A, &sent(&four, 64)[0]);
        lab.inject(A, &sent(&six, 64)[1]);
    }
    let macs = [there.gateway_mac(), there.mac(4)];
    let received = [
        udp_with(macs[0], macs[1], narrow[0], narrow[1], 63, 0),
        udp6(macs, wide, 63),
    ];
    assert_eq!(lab.out(C), [&received[..]; 3].concat());
    // Inside each subnet, in its own VNI.
    let frame = udp6([mac, six.mac(9)], [six.ip(1), six.ip(9)], 64);
    lab.inject(A, &frame);
    let out = lab.out(UPLINK);
    assert_eq!(out, [to_peer(source_port(&out[0]), 9, 0, &frame)]);
    // Likewise by link-local addresses: they belong to the first IPv6 subnet.
    let ips = [mac, six.mac(9)].map(link_local);
    let frame = udp6([mac, six.mac(9)], ips, 64);
    lab.inject(A, &frame);
    let out = lab.out(UPLINK);
    assert_eq!(out, [to_peer(source_port(&out[0]), 9, 0, &frame)]);
    let frame = udp_with(
        mac,
        four.mac(9),
        four.narrow.ip(1),
        four.narrow.ip(9),
        64,
        0,
    );
    lab.inject(A, &frame);
    let out = lab.out(UPLINK);
    assert_eq!(out, [to_peer(source_port(&out[0]), 7, 0, &frame)]);
    lab.silent();
}

#[test]
fn a_guest_in_one_subnet_may_send_both_versions_of_ip_in_one_burst() {
    // Its port has no IPv4 address, and its router leads to some.
    let (mut lab, here, there) = lab();
    lab.neighbor(&there.narrow, 4, Mac::new(there.mac(4)), Hop::Local(C));
    lab.commit();
    let four = [here.narrow.ip(1), there.narrow.ip(4)];
    let six = [here.ip(1), there.ip(4)];
    let [src, dst] = to_gateway(&here);
    lab.inject(A, &udp_with(src, dst, four[0], four[1], 9, 0));
    lab.inject(A, &udp6([src, dst], six, 9));
    let arp = [&[0xff; 6][..], &src, &[8, 6], &[0; 28]].concat();
    lab.inject(A, &arp);
    lab.inject(A, &udp6([src, here.mac(2)], [here.ip(1), here.ip(2)], 9));
    let [src, dst] = [there.gateway_mac(), there.mac(4)];
    let received = [
        udp_with(src, dst, four[0], four[1], 8, 0),
        udp6([src, dst], six, 8),
    ];
    assert_eq!(lab.out(C), received);
    assert_eq!(lab.out(B).len(), 1);
    assert_eq!(lab.totals(A).drops_for(DropReason::NotFlooded), 1);
    lab.silent();
}

#[test]
fn where_a_guest_is_in_several_subnets_of_a_vni_the_destination_says_which_gateway_it_is_from() {
    let mut lab = Lab::new();
    let (mut one, mut two, mut there) = (
        Net::new(7, 1, 1, 0),
        Net::new(7, 1, 1, 1),
        Net::new(8, 2, 1, 1),
    );
    connect(&mut [&mut one, &mut two, &mut there], &[]);
    let attachments = vec![one.attachment(), two.attachment()];
    tenant(&mut lab, B, one.mac(2), attachments);
    neighbor(&mut lab, &one, 2, Hop::Local(B));
    neighbor(&mut lab, &two, 2, Hop::Local(B));
    guest(&mut lab, A, 1, &there);
    lab.commit();
    for net in [&one, &two] {
        let ips = [there.ip(1), net.ip(2)];
        let received = |hops| udp6([net.gateway_mac(), net.mac(2)], ips, hops);
        let sent = udp6(to_gateway(&there), ips, 64);
        lab.expect(A, &sent, B, &received(63));
        let inner = udp6([DVR, net.mac(2)], ips, 60);
        lab.expect(UPLINK, &from_peer(7, 0, &inner), B, &received(60));
        // And back, by the gateway of the subnet that its source is in.
        let back = [net.ip(2), there.ip(1)];
        let sent = udp6([net.mac(2), net.gateway_mac()], back, 64);
        lab.expect(B, &sent, A, &udp6(from_gateway(&there), back, 63));
    }
}

#[test]
fn congestion_in_the_underlay_is_told_to_ipv6_guests_and_dscp_goes_out_and_stays() {
    let (mut lab, here, there) = lab();
    let class = |mut frame: Vec<u8>, tos: u8| {
        frame[14..16].copy_from_slice(&(0x6000 | u16::from(tos) << 4).to_be_bytes());
        frame
    };
    let ips = [there.ip(7), here.ip(1)];
    let inner = class(udp6([DVR, here.mac(1)], ips, 63), 0xb9); // EF, ECT(1)
    let received = class(udp6(from_gateway(&here), ips, 63), 0xbb);
    lab.expect(UPLINK, &from_peer(7, 3, &inner), A, &received);
    let ips = [here.ip(1), there.ip(7)];
    lab.inject(A, &class(udp6(to_gateway(&here), ips, 64), 0xb9));
    let inner = class(udp6([DVR, there.mac(7)], ips, 63), 0xb9);
    let out = lab.out(UPLINK);
    assert_eq!(out, [to_peer(source_port(&out[0]), 8, 0xb9, &inner)]);
}

#[test]
fn flows_are_spread_over_equal_routes_and_a_route_may_lead_nowhere() {
    let net = Net::new(7, 1, 1, 0);
    let route = |prefix: &str, target| Route {
        prefix: prefix.parse().unwrap(),
        priority: 1,
        target,
    };
    let via = |n| Target::Via(vpc(1), net.ip(n).into());
    let (mut lab, here, _) = lab_with(&[
        route("2001:db8:ffff::/48", via(2)),
        route("2001:db8:ffff::/48", via(9)),
        route("2001:db8:ffff::/48", via(77)),
        route("2001:db8:ffff:1::/64", Target::Blackhole),
    ]);
    let to = |subnet: u16, host| {
        let outside = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, subnet, 0, 0, 0, host);
        [here.ip(1), outside]
    };
    let mut ways = |host| {
        let ips = to(2, host);
        lab.inject(A, &udp6(to_gateway(&here), ips, 64));
        let (local, remote) = (lab.out(B), lab.out(UPLINK));
        assert_eq!(
            local.len() + remote.len(),
            1,
            "one is not there: its flows go by others"
        );
        if let [out] = local.as_slice() {
            assert_eq!(*out, udp6([here.gateway_mac(), here.mac(2)], ips, 63));
            return 2;
        }
        let inner = udp6([DVR, here.mac(9)], ips, 63);
        assert_eq!(remote, [to_peer(source_port(&remote[0]), 7, 0, &inner)]);
        9
    };
    let first: Vec<_> = (0..300).map(&mut ways).collect();
    let again: Vec<_> = (0..300).map(&mut ways).collect();
    assert_eq!(first, again);
    let share = first.iter().filter(|way| **way == 9).count();
    assert!(
        (60..140).contains(&share),
        "a third of 300, and not {share}"
    );
    lab.expect_drop(
        A,
        &udp6(to_gateway(&here), to(1, 1), 64),
        DropReason::Blackhole,
    );
}
