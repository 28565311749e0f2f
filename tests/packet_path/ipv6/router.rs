// SPDX-License-Identifier: MIT
//! What guests are told by the routers that they solicit.

use vswitch::counters::DropReason;
use vswitch::tables::Advertisement;

use super::*;
use crate::A;

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ALL_ROUTERS_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 2];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub(super) fn solicits(mac: [u8; 6], from: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let ips = [from, ALL_ROUTERS];
    let solicitation = message(ips, 133, 0, [0; 4], options);
    packet([mac, ALL_ROUTERS_MAC], ips, ICMP, 255, &solicitation)
}

/// The advertisement of `here`'s gateway: flags, and what comes behind the MAC.
fn told(here: &Net, (mac, to): ([u8; 6], Ipv6Addr), flags: u8, options: &[Vec<u8>]) -> Vec<u8> {
    let gateway = here.gateway_mac();
    let ips = [link_local(gateway), to];
    let body = [&[0; 8], &[1, 1][..], &gateway, &options.concat()].concat();
    let advertisement = message(ips, 134, 0, [64, flags, 0xff, 0xff], &body);
    packet([gateway, mac], ips, ICMP, 255, &advertisement)
}

fn prefix(net: &Net) -> Vec<u8> {
    let mut option = [&[3, 4, 64, 0x80][..], &[0xff; 8], &[0; 4]].concat();
    option.extend(net.ip(0).octets());
    option
}

fn with(lab: &mut Lab, here: &Net, advertisement: Advertisement) {
    let mut attachment = here.attachment();
    attachment.advertisement = Arc::new(advertisement);
    tenant(lab, A, here.mac(1), vec![attachment]);
    lab.commit();
}

#[test]
fn who_solicits_a_router_is_told_of_the_gateway_and_the_prefix_on_its_link() {
    let (mut lab, here, _) = lab();
    let mac = here.mac(1);
    for from in [link_local(mac), here.ip(1)] {
        let expected = told(&here, (mac, from), 0, &[prefix(&here)]);
        for options in [&[][..], &[&[1, 1][..], &mac].concat()] {
            lab.expect(A, &solicits(mac, from, options), A, &expected);
        }
    }
    let all = ([0x33, 0x33, 0, 0, 0, 1], ALL_NODES);
    let expected = told(&here, all, 0, &[prefix(&here)]);
    let frame = solicits(mac, Ipv6Addr::UNSPECIFIED, &[]);
    lab.expect(A, &frame, A, &expected);
    assert_eq!(lab.totals(A).answered, 5);
}

#[test]
fn a_guest_that_asks_for_its_gateway_is_told_of_it_again_if_that_was_long_ago() {
    let (mut lab, here, _) = lab();
    let (mac, from) = (here.mac(1), link_local(here.mac(1)));
    let asks = super::nd::asks(mac, from, here.gateway(), &[]);
    let probe = super::nd::asks(mac, Ipv6Addr::UNSPECIFIED, here.gateway(), &[]);
    for frame in [&probe, &super::nd::asks(mac, from, here.ip(2), &[])] {
        lab.inject(A, frame);
        assert_eq!(lab.out(A).len(), 1, "not about the gateway, or nobody's");
    }
    (0..3).for_each(|_| lab.inject(A, &asks));
    let out = lab.out(A);
    // Never until now: so the first is told of it besides.
    let unasked = told(&here, (mac, from), 0, &[prefix(&here)]);
    assert_eq!((out.len(), &out[3], &out[1]), (4, &unasked, &out[0]));
    lab.inject(A, &asks);
    assert_eq!(lab.out(A), out[..1]);
    let totals = lab.totals(A);
    assert_eq!((totals.answered, totals.own), (6, 7));
    lab.silent();
}

/// One frame at a time, from guest 1; what it gets back.
fn sends(lab: &mut Lab, frame: &[u8], bursts: usize) -> Vec<Vec<u8>> {
    let mut back = Vec::new();
    for _ in 0..bursts {
        lab.inject(A, frame);
        back.extend(lab.out(A));
        assert_eq!(lab.out(UPLINK).len(), 1);
    }
    lab.balanced();
    back
}

#[test]
fn a_guest_that_sends_by_its_gateway_without_a_pause_is_told_of_it_if_that_was_long_ago() {
    let (mut lab, here, there) = lab();
    let mac = here.mac(1);
    let routed = udp6([mac, here.gateway_mac()], [here.ip(1), there.ip(7)], 64);
    let switched = udp6([mac, here.mac(9)], [here.ip(1), here.ip(9)], 64);
    assert_eq!(
        sends(&mut lab, &switched, 3000),
        [[0; 0]; 0],
        "not by its gateway"
    );
    // Never until now, and looked at each 1024th time.
    assert_eq!(sends(&mut lab, &routed, 1023), [[0; 0]; 0]);
    let all = ([0x33, 0x33, 0, 0, 0, 1], ALL_NODES);
    let expected = told(&here, all, 0, &[prefix(&here)]);
    assert_eq!(sends(&mut lab, &routed, 1), [expected]);
    assert_eq!(sends(&mut lab, &routed, 3000), [[0; 0]; 0], "just now");
    let totals = lab.totals(A);
    assert_eq!((totals.answered, totals.own, totals.dropped()), (0, 1, 0));
}

#[test]
fn a_guest_without_a_gateway_of_ipv6_or_that_sends_ipv4_is_told_of_none() {
    let (mut lab, here, there) = lab();
    let (mac, ips) = (here.mac(1), [here.narrow.ip(1), there.narrow.ip(9)]);
    tenant(
        &mut lab,
        A,
        mac,
        vec![here.narrow.attachment(), here.attachment()],
    );
    lab.remote(9, &there.narrow);
    lab.commit();
    let routed = udp(mac, here.gateway_mac(), ips[0], ips[1]);
    assert_eq!(sends(&mut lab, &routed, 3000), [[0; 0]; 0]);
}

#[test]
fn guests_that_are_served_by_dhcpv6_are_sent_there() {
    let (mut lab, here, _) = lab();
    let (mac, from) = (here.mac(1), link_local(here.mac(1)));
    let lease = vswitch::tables::Lease6 {
        mac: Mac::new(mac),
        addresses: [here.ip(1)].into(),
        subnet: ipnet::Ipv6Net::new(here.ip(0), 64).unwrap(),
        server_mac: Mac::new(here.gateway_mac()),
        seconds: 600,
        options: [].into(),
    };
    let guest = vswitch::tables::TenantPort {
        mac: Mac::new(mac),
        admin_up: true,
        lease6: Some(Arc::new(lease)),
        attachments: [here.attachment()].into_iter().collect(),
        ..Default::default()
    };
    lab.writer
        .set_role(A, vswitch::tables::Role::Tenant(Arc::new(guest)));
    lab.commit();
    let expected = told(&here, (mac, from), 0xc0, &[prefix(&here)]);
    lab.expect(A, &solicits(mac, from, &[]), A, &expected);
}

#[test]
fn mtu_and_dns_servers_are_told_as_the_control_side_says() {
    let (mut lab, here, _) = lab();
    let to = (here.mac(1), link_local(here.mac(1)));
    let frame = solicits(to.0, to.1, &[]);
    let mtu = |mtu: u32| [&[5, 1, 0, 0][..], &mtu.to_be_bytes()].concat();
    let servers: Vec<Ipv6Addr> = (1..=9).map(|n| here.ip(0x500 + n)).collect();
    let dns = |count: usize| {
        let head = [25, 1 + 2 * count as u8, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let octets = servers[..count].iter().flat_map(|ip| ip.octets());
        head.into_iter().chain(octets).collect::<Vec<u8>>()
    };
    let own = || prefix(&here);
    let said = |mtu, dns: usize| Advertisement {
        mtu,
        dns: servers[..dns].to_vec(),
    };
    for (said, options) in [
        (said(None, 0), vec![own()]),
        (said(Some(1450), 1), vec![mtu(1450), own(), dns(1)]),
        (said(Some(1280), 3), vec![mtu(1280), own(), dns(3)]),
        (said(Some(1279), 0), vec![own()]),
        (said(Some(9000), 9), vec![mtu(9000), own(), dns(8)]),
    ] {
        with(&mut lab, &here, said);
        lab.expect(A, &frame, A, &told(&here, to, 0, &options));
    }
    // No more than the port takes.
    lab.worker.limits_mut().set_mtu(A, 1400);
    with(&mut lab, &here, said(Some(9000), 0));
    lab.expect(A, &frame, A, &told(&here, to, 0, &[mtu(1400), own()]));
}

#[test]
fn a_guest_in_several_subnets_of_one_gateway_is_told_of_all_their_prefixes() {
    let (mut lab, here, there) = lab();
    let mac = here.mac(1);
    let other = Net::new(7, 1, 1, 3);
    let mut twin = other.attachment();
    twin.gateway_mac = Some(Mac::new(here.gateway_mac()));
    let attachments = vec![
        here.narrow.attachment(),
        here.attachment(),
        there.attachment(),
        twin,
    ];
    tenant(&mut lab, A, mac, attachments);
    lab.commit();
    let to = (mac, link_local(mac));
    let options = [prefix(&here), prefix(&other)];
    let expected = told(&here, to, 0, &options);
    lab.expect(A, &solicits(mac, to.1, &[]), A, &expected);
}

#[test]
fn without_a_gateway_there_is_no_router_and_bad_solicitations_are_dropped_as_such() {
    let (mut lab, here, _) = lab();
    let (mac, from) = (here.mac(1), link_local(here.mac(1)));
    let good = solicits(mac, from, &[]);
    let nobodys = solicits(mac, Ipv6Addr::UNSPECIFIED, &[&[1, 1][..], &mac].concat());
    let mut far = good.clone();
    far[21] = 254;
    let mut wrong = good.clone();
    wrong[57] ^= 1;
    let ips = [from, ALL_ROUTERS];
    let code = message(ips, 133, 1, [0; 4], &[]);
    let code = packet([mac, ALL_ROUTERS_MAC], ips, ICMP, 255, &code);
    let option = solicits(mac, from, &[1, 0, 0, 0, 0, 0, 0, 0]);
    for frame in [nobodys, far, wrong, code, option] {
        lab.expect_drop(A, &frame, DropReason::BadNd);
    }
    let mut attachment = here.attachment();
    attachment.gateway_mac = None;
    tenant(&mut lab, A, mac, vec![attachment]);
    lab.commit();
    lab.expect_drop(A, &good, DropReason::NotFlooded);
    tenant(&mut lab, A, mac, vec![here.narrow.attachment()]);
    lab.commit();
    lab.expect_drop(A, &good, DropReason::NotFlooded);
}

#[test]
fn a_guarded_guest_solicits_routers_from_its_own_mac_only() {
    let (mut lab, here, _) = lab();
    let (mac, from) = (here.mac(1), link_local(here.mac(1)));
    let pair = vswitch::tables::AddressPair {
        mac: Mac::new(mac),
        prefix: IpAddr::from(here.ip(1)).into(),
    };
    let guest = vswitch::tables::TenantPort {
        mac: pair.mac,
        admin_up: true,
        guard: Some(vswitch::tables::Guard::new(&[pair])),
        attachments: [here.attachment()].into_iter().collect(),
        ..Default::default()
    };
    lab.writer
        .set_role(A, vswitch::tables::Role::Tenant(Arc::new(guest)));
    lab.commit();
    let option = |mac: [u8; 6]| [&[1, 1][..], &mac].concat();
    let expected = told(&here, (mac, from), 0, &[prefix(&here)]);
    lab.expect(A, &solicits(mac, from, &option(mac)), A, &expected);
    for (frame, reason) in [
        (
            solicits(mac, from, &option(here.mac(2))),
            DropReason::SpoofedArp,
        ),
        (
            solicits(mac, link_local(here.mac(2)), &[]),
            DropReason::SpoofedIp,
        ),
    ] {
        lab.expect_drop(A, &frame, reason);
    }
}
