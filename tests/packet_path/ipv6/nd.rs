// SPDX-License-Identifier: MIT
//! Neighbor discovery: the switch answers from the tables.

use vswitch::counters::DropReason;
use vswitch::tables::{Attachment, Hop};

use super::*;
use crate::{A, B};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

fn group(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., b, c, d] = ip.octets();
    let low = u16::from_be_bytes([c, d]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(b), low)
}

fn group_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Option 1 or 2.
fn link(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

/// A neighbor solicitation to the target's group.
pub(super) fn asks(mac: [u8; 6], from: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let ips = [from, group(target)];
    let body = [&target.octets()[..], options].concat();
    let solicitation = message(ips, 135, 0, [0; 4], &body);
    packet([mac, group_mac(ips[1])], ips, ICMP, 255, &solicitation)
}

/// What who asked is told: `target` is at `mac`.
fn told([mac, to_mac]: [[u8; 6]; 2], [target, to]: [Ipv6Addr; 2], flags: u8) -> Vec<u8> {
    let body = [&target.octets()[..], &link(2, mac)].concat();
    let advertisement = message([target, to], 136, 0, [flags, 0, 0, 0], &body);
    packet([mac, to_mac], [target, to], ICMP, 255, &advertisement)
}

/// As everywhere here, and guest 1 was told of its router just now.
fn lab() -> (Lab, Net, Net) {
    let (mut lab, here, there) = super::lab();
    let solicits = router::solicits(here.mac(1), link_local(here.mac(1)), &[]);
    lab.inject(A, &solicits);
    assert_eq!(lab.out(A).len(), 1);
    (lab, here, there)
}

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

#[test]
fn gateways_and_neighbors_of_any_host_are_told_to_who_asks_for_their_macs() {
    let (mut lab, here, _) = lab();
    let (mac, gateway) = (here.mac(1), here.gateway_mac());
    for (target, owner, router) in [
        (here.gateway(), gateway, ROUTER),
        (link_local(gateway), gateway, ROUTER),
        (here.ip(2), here.mac(2), 0),
        (here.ip(9), here.mac(9), 0),
        (link_local(here.mac(2)), here.mac(2), 0),
        (link_local(here.mac(9)), here.mac(9), 0),
    ] {
        for from in [here.ip(1), link_local(mac)] {
            let expected = told([owner, mac], [target, from], router | SOLICITED | OVERRIDE);
            for options in [&link(1, mac)[..], &[], &[14, 1, 0, 0, 0, 0, 0, 0]] {
                let frame = asks(mac, from, target, options);
                lab.expect(A, &frame, A, &expected);
            }
        }
    }
    assert_eq!(lab.totals(A).answered, 1 + 36);
}

#[test]
fn the_same_question_to_the_gateways_mac_alone_is_answered_padded_or_not() {
    let (mut lab, here, _) = lab();
    for target in [here.gateway(), link_local(here.gateway_mac())] {
        let ips = [here.ip(1), target];
        let body = [&target.octets()[..], &link(1, here.mac(1))].concat();
        let solicitation = message(ips, 135, 0, [0; 4], &body);
        let frame = packet(to_gateway(&here), ips, ICMP, 255, &solicitation);
        let expected = told(
            from_gateway(&here),
            [target, here.ip(1)],
            ROUTER | SOLICITED | OVERRIDE,
        );
        lab.expect(A, &frame, A, &expected);
        lab.expect(A, &[&frame[..], &[0; 20]].concat(), A, &expected);
    }
}

#[test]
fn who_is_about_to_take_an_address_is_told_only_if_somebody_else_has_it() {
    let (mut lab, here, _) = lab();
    let (mac, nobody) = (here.mac(1), Ipv6Addr::UNSPECIFIED);
    for (target, owner, router) in [
        (here.gateway(), here.gateway_mac(), ROUTER),
        (here.ip(2), here.mac(2), 0),
        (here.ip(9), here.mac(9), 0),
    ] {
        let expected = told(
            [owner, ALL_NODES_MAC],
            [target, ALL_NODES],
            router | OVERRIDE,
        );
        lab.expect(A, &asks(mac, nobody, target, &[]), A, &expected);
    }
    for target in [here.ip(1), link_local(mac), here.ip(77)] {
        let frame = asks(mac, nobody, target, &[]);
        lab.expect_drop(A, &frame, DropReason::NotFlooded);
    }
}

#[test]
fn what_the_tables_do_not_know_or_no_subnet_of_the_guest_holds_stays_without_an_answer() {
    let (mut lab, here, there) = lab();
    for target in [
        here.ip(77),
        there.ip(4),
        there.gateway(),
        link_local(there.gateway_mac()),
        link_local([2, 9, 9, 9, 9, 9]),
        "fe80::1".parse().unwrap(),
    ] {
        let frame = asks(here.mac(1), here.ip(1), target, &[]);
        lab.expect_drop(A, &frame, DropReason::NotFlooded);
    }
}

#[test]
fn nobody_learns_from_advertisements_and_reports_and_nobody_else_sees_them() {
    let (mut lab, here, _) = lab();
    let (mac, ips) = (here.mac(1), [here.ip(1), ALL_NODES]);
    let body = [&here.ip(2).octets()[..], &link(2, mac)].concat();
    let unasked = message(ips, 136, 0, [0x20, 0, 0, 0], &body);
    let query = message(ips, 130, 0, [0; 4], &[0; 16]);
    let advertisement = message(ips, 134, 0, [64, 0, 7, 8], &[0; 8]);
    let frames = [unasked, query, advertisement];
    let [unasked, query, advertisement] =
        frames.map(|message| packet([mac, ALL_NODES_MAC], ips, ICMP, 255, &message));
    let report = [
        &[58, 0, 5, 2, 0, 0, 1, 0][..],
        &message(ips, 143, 0, [0; 4], &[]),
    ]
    .concat();
    let report = packet(
        [mac, [0x33, 0x33, 0, 0, 0, 0x16]],
        ips,
        IpNumber(0),
        1,
        &report,
    );
    for frame in [unasked, query, advertisement, report] {
        lab.expect_drop(A, &frame, DropReason::NotFlooded);
    }
    let owner = told(
        [here.mac(2), mac],
        [here.ip(2), here.ip(1)],
        SOLICITED | OVERRIDE,
    );
    lab.expect(A, &asks(mac, here.ip(1), here.ip(2), &[]), A, &owner);
    // To the gateway they say nothing new either.
    let ips = [here.ip(1), link_local(here.gateway_mac())];
    let body = [&here.ip(1).octets()[..], &link(2, mac)].concat();
    let unasked = message(ips, 136, 0, [0x60, 0, 0, 0], &body);
    let frame = packet(to_gateway(&here), ips, ICMP, 255, &unasked);
    lab.expect_drop(A, &frame, DropReason::ForGateway);
}

#[test]
fn between_guests_neighbor_discovery_is_carried_like_all_else() {
    let (mut lab, here, _) = lab();
    let ips = [here.ip(1), here.ip(2)];
    let solicitation = message(ips, 135, 0, [0; 4], &here.ip(2).octets());
    let macs = [here.mac(1), here.mac(2)];
    let frame = packet(macs, ips, ICMP, 255, &solicitation);
    lab.expect(A, &frame, B, &frame);
}

#[test]
fn a_solicitation_that_fails_a_check_is_dropped_as_such() {
    let (mut lab, here, _) = lab();
    let (mac, from, target) = (here.mac(1), here.ip(1), here.gateway());
    let to = group(target);
    let good = asks(mac, from, target, &link(1, mac));
    let with = |offset: usize, value: u8| {
        let mut frame = good.clone();
        frame[offset] = value;
        frame
    };
    let of = |ips: [Ipv6Addr; 2], code: u8, body: &[u8]| {
        let solicitation = message(ips, 135, code, [0; 4], body);
        packet([mac, group_mac(to)], ips, ICMP, 255, &solicitation)
    };
    let octets = target.octets();
    let nobody = Ipv6Addr::UNSPECIFIED;
    let asked = |options: &[u8]| [&octets[..], options].concat();
    for (what, frame) in [
        ("from another link", with(21, 254)),
        ("wrong checksum", with(57, good[57] ^ 1)),
        ("wrong checksum of an option", with(85, good[85] ^ 1)),
        ("a code", of([from, to], 1, &octets)),
        ("no target", of([from, to], 0, &[])),
        ("half a target", of([from, to], 0, &octets[..15])),
        ("for a group", of([from, to], 0, &to.octets())),
        ("from a group", of([to, to], 0, &octets)),
        (
            "empty option",
            of([from, to], 0, &asked(&[1, 0, 0, 0, 0, 0, 0, 0])),
        ),
        (
            "long option",
            of([from, to], 0, &asked(&[1, 2, 0, 0, 0, 0, 0, 0])),
        ),
        ("half an option", of([from, to], 0, &asked(&[1]))),
        ("MAC of nobody", of([nobody, to], 0, &asked(&link(1, mac)))),
        ("nobody's to one", of([nobody, target], 0, &octets)),
        ("nobody's to all", of([nobody, ALL_NODES], 0, &octets)),
    ] {
        let before = lab.totals(A);
        lab.expect_drop(A, &frame, DropReason::BadNd);
        assert_eq!(lab.totals(A).since(&before).rx, 1, "{what}");
    }
    // RFC 6980: not behind extension headers.
    let behind = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &good[54..]].concat();
    let frame = packet([mac, group_mac(to)], [from, to], IpNumber(60), 255, &behind);
    lab.expect_drop(A, &frame, DropReason::NotFlooded);
}

#[test]
fn a_guest_of_both_versions_is_answered_by_each_in_its_own_way() {
    let (mut lab, here, _) = lab();
    let mac = here.mac(1);
    let attachments = vec![here.narrow.attachment(), here.attachment()];
    tenant(&mut lab, A, mac, attachments);
    lab.neighbor(&here.narrow, 2, Mac::new(here.mac(2)), Hop::Local(B));
    lab.commit();
    let gateway = here.gateway_mac();
    let expected = told(
        [gateway, mac],
        [here.gateway(), here.ip(1)],
        ROUTER | SOLICITED | OVERRIDE,
    );
    lab.expect(A, &asks(mac, here.ip(1), here.gateway(), &[]), A, &expected);
    let arp = |operation,
               macs: [[u8; 6]; 2],
               from: [u8; 4],
               to: [u8; 4],
               target: [u8; 6],
               dst: [u8; 6]| {
        let head = [&dst[..], &macs[0], &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
        [&head[..], &macs[0], &from, &target, &to].concat()
    };
    let [own, other] = [here.narrow.ip(1), here.narrow.ip(2)].map(|ip| ip.octets());
    let request = arp(1, [mac, mac], own, other, [0; 6], [0xff; 6]);
    let reply = arp(2, [here.mac(2), mac], other, own, mac, mac);
    lab.expect(A, &request, A, &reply);
}

#[test]
fn a_gateway_is_known_by_whatever_link_local_address_it_was_given() {
    let (mut lab, here, _) = lab();
    let (mac, gateway, given) = (here.mac(1), here.gateway_mac(), "fe80::1".parse().unwrap());
    let attachment = Attachment {
        gateway_ip: Some(IpAddr::V6(given)),
        ..here.attachment()
    };
    tenant(&mut lab, A, mac, vec![attachment]);
    lab.commit();
    for target in [given, link_local(gateway)] {
        let frame = asks(mac, here.ip(1), target, &link(1, mac));
        let flags = ROUTER | SOLICITED | OVERRIDE;
        let expected = told([gateway, mac], [target, here.ip(1)], flags);
        lab.expect(A, &frame, A, &expected);
    }
}
