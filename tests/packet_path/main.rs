// SPDX-License-Identifier: MIT
//! The whole packet path over ports in memory: bytes in, bytes out, counters.

mod lab;

use lab::*;
use vswitch::counters::DropReason;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{Role, Underlay};

const A: vswitch::tables::PortId = port(2);
const B: vswitch::tables::PortId = port(3);

/// One subnet, guest 1 at A; guest 9 on the peer host.
fn one_subnet() -> (Lab, Subnet) {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.remote(9, &subnet);
    lab.commit();
    (lab, subnet)
}

/// Guest `from` to guest `to` of one subnet.
fn switched(subnet: &Subnet, from: u8, to: u8) -> Vec<u8> {
    udp(
        guest_mac(subnet.vni, from),
        guest_mac(subnet.vni, to),
        subnet.ip(from),
        subnet.ip(to),
    )
}

#[test]
fn guests_of_one_host_and_subnet_reach_each_other_unchanged() {
    let (mut lab, subnet) = one_subnet();
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let frame = switched(&subnet, 1, 2);
    lab.expect(A, &frame, B, &frame);
    let own = switched(&subnet, 1, 1);
    lab.expect_drop(A, &own, DropReason::SamePort);
}

#[test]
fn a_frame_to_another_host_is_carried_in_vxlan_and_its_source_port_tells_the_flow() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 1, 9);
    lab.inject(A, &frame);
    lab.inject(A, &frame);
    let out = lab.out(UPLINK);
    let sport = source_port(&out[0]);
    assert!(sport >= 49152);
    assert_eq!(
        out,
        [to_peer(sport, 7, 0, &frame), to_peer(sport, 7, 0, &frame)]
    );
    lab.balanced();
}

#[test]
fn dscp_and_ecn_go_out_on_the_outer_header_for_every_value() {
    let (mut lab, subnet) = one_subnet();
    for tos in 0..=255 {
        let frame = udp_with(
            guest_mac(7, 1),
            guest_mac(7, 9),
            subnet.ip(1),
            subnet.ip(9),
            64,
            tos,
        );
        lab.inject(A, &frame);
        let out = lab.out(UPLINK);
        assert_eq!(out, [to_peer(source_port(&out[0]), 7, tos, &frame)]);
    }
}

#[test]
fn ecn_is_combined_on_the_way_in_as_rfc_6040_says() {
    let (mut lab, subnet) = one_subnet();
    const DROP: u8 = 0xff;
    // Rows: inner; columns: outer Not-ECT, ECT(1), ECT(0), CE (RFC 6040 figure 4, by code point).
    let table = [[0, 0, 0, DROP], [1, 1, 1, 3], [2, 1, 2, 3], [3, 3, 3, 3]];
    for (inner, row) in (0u8..).zip(table) {
        for (outer, want) in (0u8..).zip(row) {
            let guest = |ecn| {
                udp_with(
                    guest_mac(7, 9),
                    guest_mac(7, 1),
                    subnet.ip(9),
                    subnet.ip(1),
                    64,
                    0xa8 | ecn,
                )
            };
            let packet = from_peer(7, 0x10 | outer, &guest(inner));
            if want == DROP {
                lab.expect_drop(UPLINK, &packet, DropReason::EcnIllegal);
            } else {
                lab.expect(UPLINK, &packet, A, &guest(want));
            }
        }
    }
}

#[test]
fn vxlan_from_another_host_reaches_the_guest() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    lab.expect(UPLINK, &from_peer(7, 0, &frame), A, &frame);
}

#[test]
fn reserved_bits_are_ignored_and_the_i_flag_is_required() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    let mut packet = from_peer(7, 0, &frame);
    packet[42] = 0xff;
    packet[43..46].fill(0xff);
    packet[49] = 0xff;
    lab.expect(UPLINK, &packet, A, &frame);
    packet[42] = 0xf7;
    lab.expect_drop(UPLINK, &packet, DropReason::NoVni);
}

#[test]
fn outer_ipv4_options_and_ethernet_padding_are_taken_off() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    let mut padded = from_peer(7, 0, &frame);
    padded.extend_from_slice(&[0xee; 6]);
    lab.expect(UPLINK, &padded, A, &frame);

    let mut options = from_peer(7, 0, &frame);
    options.splice(34..34, [1, 1, 1, 1]);
    options[14] = 0x46;
    let total = u16::from_be_bytes([options[16], options[17]]) + 4;
    options[16..18].copy_from_slice(&total.to_be_bytes());
    options[24..26].fill(0);
    let checksum = !vswitch::wire::ipv4::sum(&options[14..38]);
    options[24..26].copy_from_slice(&checksum.to_be_bytes());
    lab.expect(UPLINK, &options, A, &frame);
    options[36] ^= 1;
    lab.expect_drop(UPLINK, &options, DropReason::BadChecksum);
}

#[test]
fn what_is_wrong_with_the_outer_header_is_counted() {
    let (mut lab, subnet) = one_subnet();
    let good = from_peer(7, 0, &switched(&subnet, 9, 1));
    for (change, reason) in [
        ((24, 0xff), DropReason::BadChecksum),
        ((46, 1), DropReason::UnknownVni),
        ((48, 0), DropReason::UnknownVni),
        ((55, 0xfe), DropReason::UnknownMac),
        ((50, 0xff), DropReason::NotFlooded),
        ((39, 0xff), DropReason::Malformed),
        ((14, 0x44), DropReason::Malformed),
    ] {
        let mut bad = good.clone();
        let (offset, value) = change;
        assert_ne!(bad[offset], value);
        bad[offset] = value;
        lab.expect_drop(UPLINK, &bad, reason);
    }
    for len in 0..good.len() {
        lab.expect_drop(UPLINK, &good[..len], DropReason::Truncated);
    }
    let mut fragment = good.clone();
    fragment[20] = 0x20;
    lab.expect_drop(UPLINK, &fragment, DropReason::OuterFragment);
}

#[test]
fn an_inner_frame_cut_at_any_header_boundary_is_counted() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    for len in 0..frame.len() {
        lab.expect_drop(
            UPLINK,
            &from_peer(7, 0, &frame[..len]),
            DropReason::Truncated,
        );
        lab.expect_drop(A, &switched(&subnet, 1, 9)[..len], DropReason::Truncated);
    }
}

#[test]
fn the_hosts_own_traffic_passes_between_host_port_and_uplink() {
    let (mut lab, _) = one_subnet();
    let ssh = udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into());
    lab.expect(UPLINK, &ssh, HOST, &ssh);
    lab.expect(HOST, &ssh, UPLINK, &ssh);
    let mut elsewhere = from_peer(7, 0, &ssh);
    elsewhere[33] = 99;
    lab.expect(UPLINK, &elsewhere, HOST, &elsewhere);
}

#[test]
fn without_a_host_port_the_hosts_traffic_is_counted() {
    let underlay = Underlay {
        vtep: VTEP.into(),
        uplink: UPLINK,
        host_port: None,
    };
    let mut lab = Lab::with(Some(underlay));
    let ssh = udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into());
    lab.expect_drop(UPLINK, &ssh, DropReason::NotForUs);
}

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
    lab.expect_drop(A, &send(second.ip(9), 1), DropReason::TtlExpired);
    lab.expect_drop(A, &send(second.ip(9), 0), DropReason::TtlExpired);
    lab.expect_drop(A, &send(second.ip(9), 2), DropReason::UnknownNeighbor);
    lab.expect_drop(
        A,
        &send("10.99.0.1".parse().unwrap(), 2),
        DropReason::NoRoute,
    );
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
        target: Target::Via(vpc(1), subnet.ip(9)),
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

#[test]
fn vpcs_with_the_same_addresses_never_leak_into_each_other() {
    let mut lab = Lab::new();
    // Same MACs and IPs everywhere: only VNI, domain and VPC differ. Guest 1 here, guest 9 on the peer.
    let tenants: Vec<_> = (0..3u16)
        .map(|i| {
            (
                Subnet::new(7, i + 1, i + 1, 0),
                0x0a_0000 + u32::from(i),
                port(2 + i),
            )
        })
        .collect();
    for (subnet, vni, at) in &tenants {
        let mut attachment = subnet.attachment();
        attachment.vni = vswitch::wire::Vni::new(*vni).unwrap();
        let hop = lab.hop(PEER, PEER_MAC);
        for (n, hop) in [(1, vswitch::tables::Hop::Local(*at)), (9, hop)] {
            let mac = vswitch::wire::Mac::new(guest_mac(7, n));
            let neighbor = vswitch::tables::Neighbor {
                mac,
                vni: attachment.vni,
                hop,
            };
            lab.writer
                .upsert_mac(attachment.domain, mac, neighbor)
                .unwrap();
            lab.writer
                .upsert_ip(attachment.vpc, subnet.ip(n), neighbor)
                .unwrap();
        }
        let mac = vswitch::wire::Mac::new(guest_mac(7, 1));
        let tenant = vswitch::tables::TenantPort {
            mac,
            admin_up: true,
            attachments: [attachment].into_iter().collect(),
        };
        lab.writer.set_role(*at, Role::Tenant(tenant.into()));
    }
    lab.commit();
    for (subnet, vni, at) in &tenants {
        let out = switched(subnet, 1, 9);
        lab.inject(*at, &out);
        let sent = lab.out(UPLINK);
        assert_eq!(sent, [to_peer(source_port(&sent[0]), *vni, 0, &out)]);
        let back = switched(subnet, 9, 1);
        lab.expect(UPLINK, &from_peer(*vni, 0, &back), *at, &back);
    }
}

#[test]
fn a_stale_neighbor_is_not_relayed() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 1, 9);
    lab.expect_drop(UPLINK, &from_peer(7, 0, &frame), DropReason::NotLocal);
}

#[test]
fn ports_that_are_unbound_or_down_are_silent_in_both_directions() {
    let (mut lab, subnet) = one_subnet();
    let to_b = switched(&subnet, 1, 2);
    lab.expect_drop(B, &to_b, DropReason::PortUnbound);
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    lab.expect(A, &to_b, B, &to_b);

    let down = |n| {
        let mac = vswitch::wire::Mac::new(guest_mac(7, n));
        let attachments = [subnet.attachment()].into_iter().collect();
        Role::Tenant(
            vswitch::tables::TenantPort {
                mac,
                admin_up: false,
                attachments,
            }
            .into(),
        )
    };
    lab.writer.set_role(B, down(2));
    lab.commit();
    lab.expect_drop(A, &to_b, DropReason::PortDown);
    lab.expect_drop(B, &switched(&subnet, 2, 1), DropReason::PortDown);

    lab.writer.set_role(B, Role::Unbound);
    lab.commit();
    lab.expect_drop(A, &to_b, DropReason::PortUnbound);
}

#[test]
fn neighbors_come_go_and_come_back() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 1, 9);
    for _ in 0..3 {
        lab.inject(A, &frame);
        assert_eq!(lab.out(UPLINK).len(), 1);
        lab.writer
            .remove_mac(domain(1), vswitch::wire::Mac::new(guest_mac(7, 9)));
        lab.commit();
        lab.expect_drop(A, &frame, DropReason::UnknownMac);
        lab.remote(9, &subnet);
        lab.commit();
    }
}

#[test]
fn a_full_port_drops_what_it_cannot_take_and_counts_it() {
    let (mut lab, subnet) = one_subnet();
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let frame = switched(&subnet, 1, 2);
    for _ in 0..2 {
        for _ in 0..300 {
            lab.inject(A, &frame);
        }
        while lab.worker.poll() != 0 {}
    }
    assert_eq!(lab.tx[B.index()].len(), 512);
    assert_eq!(lab.totals(A).drops_for(DropReason::TxFull), 88);
    assert_eq!(lab.totals(B).tx, 512);
    lab.balanced();
}

#[test]
fn a_burst_for_many_ports_arrives_in_order_at_each() {
    let (mut lab, subnet) = one_subnet();
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let numbered = |to, i: u16| {
        let mut frame = switched(&subnet, 1, to);
        frame[18..20].copy_from_slice(&i.to_be_bytes());
        frame
    };
    for i in 0..100 {
        lab.inject(A, &numbered([2, 9, 77][usize::from(i % 3)], i));
    }
    let ids = |frames: Vec<Vec<u8>>, offset: usize| -> Vec<u16> {
        frames
            .iter()
            .map(|frame| u16::from_be_bytes([frame[offset], frame[offset + 1]]))
            .collect()
    };
    assert_eq!(ids(lab.out(B), 18), (0..100).step_by(3).collect::<Vec<_>>());
    assert_eq!(
        ids(lab.out(UPLINK), 68),
        (1..100).step_by(3).collect::<Vec<_>>()
    );
    assert_eq!(lab.totals(A).drops_for(DropReason::UnknownMac), 33);
    lab.balanced();
}
