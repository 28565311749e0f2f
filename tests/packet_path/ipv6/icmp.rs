// SPDX-License-Identifier: MIT
//! What the gateway says by ICMPv6.

use vswitch::counters::DropReason;
use vswitch::tables::Hop;

use super::*;
use crate::A;

const ECHO: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// The error message about a frame of guest 1, with as much of it as fits 1280 bytes.
pub(super) fn told(
    here: &Net,
    [from, to]: [Ipv6Addr; 2],
    kind: u8,
    code: u8,
    word: u32,
    about: &[u8],
) -> Vec<u8> {
    let quote = &about[14..about.len().min(14 + 1232)];
    let message = message([from, to], kind, code, word.to_be_bytes(), quote);
    packet(from_gateway(here), [from, to], ICMP, 64, &message)
}

#[test]
fn the_gateways_of_the_router_answer_echo_requests_whatever_their_hop_limit() {
    let (mut lab, here, there) = lab();
    let data: Vec<u8> = (0..=255).collect();
    let (own, from) = (link_local(here.gateway_mac()), link_local(here.mac(1)));
    for (ips, hops) in [
        ([here.ip(1), here.gateway()], 64),
        ([here.ip(1), here.gateway()], 1),
        ([here.ip(1), there.gateway()], 255),
        ([here.ip(1), there.gateway()], 0),
        ([from, own], 255),
        ([here.ip(1), own], 1),
    ] {
        let request = message(ips, ECHO, 0, [0, 77, 0, 5], &data);
        lab.inject(A, &packet(to_gateway(&here), ips, ICMP, hops, &request));
        let back = [ips[1], ips[0]];
        let reply = message(back, ECHO_REPLY, 0, [0, 77, 0, 5], &data);
        let expected = packet(from_gateway(&here), back, ICMP, 64, &reply);
        assert_eq!(lab.out(A), [expected], "{ips:?} {hops}");
    }
    assert_eq!(lab.totals(A).answered, 6);
    lab.silent();
}

#[test]
fn an_echo_request_in_fragments_is_answered_in_fragments() {
    let (mut lab, here, _) = lab();
    let data: Vec<u8> = (0..2000).map(|n| n as u8).collect();
    let (ips, back) = ([here.ip(1), here.gateway()], [here.gateway(), here.ip(1)]);
    let fragments = |macs, ips, hops, whole: &[u8]| {
        let part = |at: usize, more: u8| {
            let end = whole.len().min(at + 1200);
            let offset = (at as u16 | u16::from(more)).to_be_bytes();
            let header = [58, 0, offset[0], offset[1], 1, 2, 3, 4];
            let payload = [&header[..], &whole[at..end]].concat();
            packet(
                macs,
                ips,
                IpNumber::IPV6_FRAGMENTATION_HEADER,
                hops,
                &payload,
            )
        };
        [part(0, 1), part(1200, 0)]
    };
    let request = message(ips, ECHO, 0, [0, 1, 0, 2], &data);
    for fragment in fragments(to_gateway(&here), ips, 3, &request) {
        lab.inject(A, &fragment);
    }
    let reply = message(back, ECHO_REPLY, 0, [0, 1, 0, 2], &data);
    assert_eq!(lab.out(A), fragments(from_gateway(&here), back, 64, &reply));
    lab.silent();
}

#[test]
fn what_else_is_for_a_gateway_is_not_served_and_its_sender_told_so() {
    let (mut lab, here, _) = lab();
    let ips = [here.ip(1), here.gateway()];
    let back = [here.gateway(), here.ip(1)];
    let frame = udp6(to_gateway(&here), ips, 64);
    lab.expect(A, &frame, A, &told(&here, back, 1, 4, 0, &frame));
    let gre = packet(to_gateway(&here), ips, IpNumber(47), 64, &[7; 30]);
    lab.expect(A, &gre, A, &told(&here, back, 4, 1, 6, &gre));
    assert_eq!(lab.totals(A).drops_for(DropReason::ForGateway), 2);
    let reply = message(ips, ECHO_REPLY, 0, [0; 4], b"unasked");
    let from_nobody = [Ipv6Addr::UNSPECIFIED, link_local(here.gateway_mac())];
    let request = message(from_nobody, ECHO, 0, [0; 4], b"");
    for frame in [
        packet(to_gateway(&here), ips, IpNumber::TCP, 64, &[0; 20]),
        packet(to_gateway(&here), ips, ICMP, 64, &reply),
        packet(to_gateway(&here), from_nobody, ICMP, 64, &request),
        packet(to_gateway(&here), ips, ICMP, 64, &[128]),
        packet(
            to_gateway(&here),
            ips,
            IpNumber(60),
            64,
            &[58, 0, 0, 0, 0, 0, 0, 0],
        ),
    ] {
        lab.expect_drop(A, &frame, DropReason::ForGateway);
    }
}

#[test]
fn a_sender_is_told_why_its_packet_goes_no_further() {
    let (mut lab, here, there) = lab();
    let back = [here.gateway(), here.ip(1)];
    let outside = "2001:db8:dead::1".parse().unwrap();
    for (to, hops, kind, code, reason) in [
        (there.ip(4), 1, 3, 0, DropReason::TtlExpired),
        (there.ip(4), 0, 3, 0, DropReason::TtlExpired),
        (outside, 64, 1, 0, DropReason::NoRoute),
        (there.ip(99), 64, 1, 3, DropReason::UnknownNeighbor),
    ] {
        let before = lab.totals(A);
        let frame = udp6(to_gateway(&here), [here.ip(1), to], hops);
        lab.expect(A, &frame, A, &told(&here, back, kind, code, 0, &frame));
        assert_eq!(lab.totals(A).since(&before).drops_for(reason), 1);
    }
    // Away from the only link that its source is good on: the gateway answers by its own address there.
    let [guest, gateway] = to_gateway(&here).map(link_local);
    let frame = udp6(to_gateway(&here), [guest, there.ip(4)], 64);
    lab.expect(
        A,
        &frame,
        A,
        &told(&here, [gateway, guest], 1, 2, 0, &frame),
    );
    assert_eq!(lab.totals(A).drops_for(DropReason::NotRoutable), 1);
}

#[test]
fn a_message_quotes_as_much_as_fits_and_no_padding() {
    let (mut lab, here, there) = lab();
    let ips = [here.ip(1), there.ip(4)];
    let back = [here.gateway(), here.ip(1)];
    for len in [0, 1, 1183, 1184, 1185, 1400] {
        let payload = datagram(ips, &vec![7; len]);
        let frame = packet(to_gateway(&here), ips, IpNumber::UDP, 1, &payload);
        let expected = told(&here, back, 3, 0, 0, &frame);
        assert!(expected.len() <= 14 + 1280);
        let padded = [&frame[..], &[0xee; 9]].concat();
        lab.expect(A, &padded, A, &expected);
    }
}

#[test]
fn a_gateway_without_an_address_speaks_by_its_link_local_one_and_none_does_not_speak() {
    let (mut lab, here, there) = lab();
    let mut attachment = here.attachment();
    attachment.gateway_ip = None;
    tenant(&mut lab, A, here.mac(1), vec![attachment.clone()]);
    lab.commit();
    let frame = udp6(to_gateway(&here), [here.ip(1), there.ip(4)], 1);
    let back = [link_local(here.gateway_mac()), here.ip(1)];
    lab.expect(A, &frame, A, &told(&here, back, 3, 0, 0, &frame));
    attachment.gateway_mac = None;
    tenant(&mut lab, A, here.mac(1), vec![attachment]);
    lab.commit();
    lab.expect_drop(A, &frame, DropReason::UnknownMac);
}

#[test]
fn nobody_is_told_of_errors_or_of_what_no_single_machine_sent() {
    let (mut lab, here, there) = lab();
    let ips = [here.ip(1), there.ip(4)];
    let expired = |ips, next, payload: &[u8]| packet(to_gateway(&here), ips, next, 1, payload);
    let error = message(ips, 1, 4, [0; 4], &[0; 48]);
    let unknown = message(ips, 100, 0, [0; 4], &[]);
    let redirect = message(ips, 137, 0, [0; 4], &[0; 32]);
    let later = [58, 0, 0, 8, 0, 0, 0, 0, 1, 2, 3, 4];
    for frame in [
        expired(ips, ICMP, &error),
        expired(ips, ICMP, &unknown),
        expired(ips, ICMP, &redirect),
        expired(ips, ICMP, &[129]),
        expired(ips, IpNumber::IPV6_FRAGMENTATION_HEADER, &later),
        expired(ips, IpNumber(60), &[60, 9, 0, 0, 0, 0, 0, 0]),
        expired([Ipv6Addr::UNSPECIFIED, ips[1]], IpNumber::UDP, &[0; 8]),
        expired([Ipv6Addr::LOCALHOST, ips[1]], IpNumber::UDP, &[0; 8]),
        expired(["ff02::9".parse().unwrap(), ips[1]], IpNumber::UDP, &[0; 8]),
        expired([ips[0], "ff0e::9".parse().unwrap()], IpNumber::UDP, &[0; 8]),
    ] {
        lab.expect_drop(A, &frame, DropReason::TtlExpired);
    }
    // A query is no error, nor is another protocol behind options.
    let query = message(ips, ECHO, 0, [0; 4], b"");
    let behind = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &datagram(ips, b"x")].concat();
    for frame in [
        expired(ips, ICMP, &query),
        expired(ips, IpNumber(60), &behind),
    ] {
        let back = [here.gateway(), here.ip(1)];
        lab.expect(A, &frame, A, &told(&here, back, 3, 0, 0, &frame));
    }
}

#[test]
fn a_guest_is_told_so_many_errors_at_once_and_the_rest_is_counted() {
    let (mut lab, here, there) = lab();
    let frame = udp6(to_gateway(&here), [here.ip(1), there.ip(4)], 1);
    (0..300).for_each(|_| lab.inject(A, &frame));
    let told = lab.out(A).len();
    assert!((100..110).contains(&told), "{told}");
    assert_eq!(lab.totals(A).drops_for(DropReason::TtlExpired), 300);
    lab.balanced();
}

#[test]
fn answers_for_a_full_port_are_counted_as_not_sent() {
    let (mut lab, here, _) = lab();
    neighbor(&mut lab, &here, 1, Hop::Local(A));
    let ips = [here.ip(1), here.gateway()];
    let request = message(ips, ECHO, 0, [0; 4], b"");
    let frame = packet(to_gateway(&here), ips, ICMP, 64, &request);
    for _ in 0..2 {
        (0..300).for_each(|_| lab.inject(A, &frame));
        while lab.worker.poll() != 0 {}
    }
    let totals = lab.totals(A);
    assert_eq!((totals.answered, totals.own, totals.unsent), (600, 512, 88));
    lab.balanced();
}
