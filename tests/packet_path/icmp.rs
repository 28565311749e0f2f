// SPDX-License-Identifier: MIT
//! The first hop: echo, and what a sender is told of packets that go no further. What is expected is built by etherparse,
//! or stands here byte by byte.

use std::net::Ipv4Addr;

use etherparse::{Icmpv4Header, Icmpv4Type, IpFragOffset, IpNumber, Ipv4Header};
use vswitch::counters::DropReason;

use crate::A;
use crate::edge::lab;
use crate::lab::*;

/// An IPv4 packet of guest 1 to its gateway's MAC.
fn packet(from: Ipv4Addr, to: Ipv4Addr, protocol: IpNumber, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = Ipv4Header::new(
        payload.len() as u16,
        ttl,
        protocol,
        from.octets(),
        to.octets(),
    )
    .unwrap();
    ip.identification = 0x1234;
    whole(ip, payload)
}

pub(crate) fn whole(mut ip: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    ip.header_checksum = ip.calc_header_checksum();
    let mut bytes = [gateway_mac(7, 0), guest_mac(7, 1)].concat();
    bytes.extend([8, 0]);
    bytes.extend(ip.to_bytes());
    bytes.extend(payload);
    bytes
}

fn icmp(kind: Icmpv4Type, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Icmpv4Header::with_checksum(kind, payload)
        .to_bytes()
        .to_vec();
    bytes.extend(payload);
    bytes
}

fn echo(seq: u16) -> etherparse::IcmpEchoHeader {
    etherparse::IcmpEchoHeader { id: 77, seq }
}

/// What the gateway at `from` sends back to guest 1.
fn back(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = packet(from, to, IpNumber::ICMP, 64, payload);
    let (dst, src) = (guest_mac(7, 1), gateway_mac(7, 0));
    bytes[..12].copy_from_slice(&[dst, src].concat());
    bytes
}

#[test]
fn the_gateways_of_the_router_answer_echo_requests_whatever_their_time_to_live() {
    let (mut lab, here, there) = lab();
    let data: Vec<u8> = (0..=255).collect();
    for (to, ttl) in [
        (here.gateway(), 64),
        (here.gateway(), 1),
        (there.gateway(), 255),
        (there.gateway(), 0),
    ] {
        let request = icmp(Icmpv4Type::EchoRequest(echo(5)), &data);
        lab.inject(A, &packet(here.ip(1), to, IpNumber::ICMP, ttl, &request));
        let reply = icmp(Icmpv4Type::EchoReply(echo(5)), &data);
        assert_eq!(lab.out(A), [back(to, here.ip(1), &reply)], "{to} {ttl}");
    }
    assert_eq!(lab.totals(A).answered, 4);
    lab.silent();
}

#[test]
fn fragments_of_an_echo_request_come_back_as_those_of_the_reply() {
    let (mut lab, here, _) = lab();
    let request = icmp(Icmpv4Type::EchoRequest(echo(5)), &[7; 2992]);
    let reply = icmp(Icmpv4Type::EchoReply(echo(5)), &[7; 2992]);
    let fragments = |from: Ipv4Addr, to: Ipv4Addr, message: &[u8]| -> Vec<Vec<u8>> {
        let fragment = |(i, part): (usize, &[u8])| {
            let (from, to) = (from.octets(), to.octets());
            let mut ip = Ipv4Header::new(part.len() as u16, 64, IpNumber::ICMP, from, to).unwrap();
            ip.identification = 9;
            ip.more_fragments = i < 2;
            ip.fragment_offset = IpFragOffset::try_new(i as u16 * 125).unwrap();
            ip.dont_fragment = false;
            whole(ip, part)
        };
        message.chunks(1000).enumerate().map(fragment).collect()
    };
    for frame in fragments(here.ip(1), here.gateway(), &request) {
        lab.inject(A, &frame);
    }
    let mut expected = fragments(here.gateway(), here.ip(1), &reply);
    for frame in &mut expected {
        frame[..12].copy_from_slice(&[guest_mac(7, 1), gateway_mac(7, 0)].concat());
    }
    assert_eq!(lab.out(A), expected);
    lab.silent();
}

/// What guest 1 is told of `sent`, with at most 548 bytes of it.
fn told(gateway: Ipv4Addr, to: Ipv4Addr, kind: u8, code: u8, sent: &[u8]) -> Vec<u8> {
    told_with(
        [kind, code],
        0,
        gateway,
        to,
        &sent[..sent.len().min(14 + 548)],
    )
}

/// The same with the last bytes of the ICMP header, of a frame that is quoted wholly.
pub(crate) fn told_with(
    [kind, code]: [u8; 2],
    mtu: u16,
    gateway: Ipv4Addr,
    to: Ipv4Addr,
    sent: &[u8],
) -> Vec<u8> {
    let quote = &sent[14..];
    let mut message = vec![kind, code, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quote);
    let words = message
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut ip = Ipv4Header::new(
        message.len() as u16,
        64,
        IpNumber::ICMP,
        gateway.octets(),
        to.octets(),
    )
    .unwrap();
    (ip.dont_fragment, ip.identification) = (true, 0);
    ip.dscp = etherparse::IpDscp::try_new(48).unwrap();
    let mut bytes = whole(ip, &message);
    bytes[..12].copy_from_slice(&[guest_mac(7, 1), gateway_mac(7, 0)].concat());
    bytes
}

#[test]
fn a_sender_is_told_why_its_packet_goes_no_further() {
    let (mut lab, here, there) = lab();
    let outside = Ipv4Addr::new(203, 0, 113, 5);
    let udp = |to, ttl, len| packet(here.ip(1), to, IpNumber::UDP, ttl, &vec![5; len]);
    for (sent, kind, code, reason) in [
        (udp(there.ip(7), 1, 9), 11, 0, DropReason::TtlExpired),
        (udp(there.ip(7), 0, 1400), 11, 0, DropReason::TtlExpired),
        (udp(outside, 64, 528), 3, 0, DropReason::NoRoute),
        (udp(there.ip(8), 64, 529), 3, 1, DropReason::UnknownNeighbor),
        (udp(here.gateway(), 64, 30), 3, 3, DropReason::ForGateway),
        (
            packet(here.ip(1), there.gateway(), IpNumber(132), 64, &[1; 40]),
            3,
            2,
            DropReason::ForGateway,
        ),
    ] {
        let before = lab.totals(A).drops_for(reason);
        lab.inject(A, &sent);
        assert_eq!(
            lab.out(A),
            [told(here.gateway(), here.ip(1), kind, code, &sent)],
            "{reason:?}"
        );
        assert_eq!(lab.totals(A).drops_for(reason), before + 1);
    }
    lab.silent();
}

#[test]
fn padding_is_not_quoted_and_options_are() {
    let (mut lab, here, there) = lab();
    let mut sent = packet(here.ip(1), there.ip(7), IpNumber::UDP, 1, &[5; 8]);
    let expected = told(here.gateway(), here.ip(1), 11, 0, &sent);
    sent.resize(60, 0xee);
    lab.inject(A, &sent);
    assert_eq!(lab.out(A), [expected]);
    let mut ip = Ipv4Header::new(
        8,
        1,
        IpNumber::UDP,
        here.ip(1).octets(),
        there.ip(7).octets(),
    )
    .unwrap();
    ip.options = [1; 8].into();
    ip.set_payload_len(8).unwrap();
    let sent = whole(ip, &[5; 8]);
    lab.inject(A, &sent);
    assert_eq!(lab.out(A), [told(here.gateway(), here.ip(1), 11, 0, &sent)]);
    lab.silent();
}

#[test]
fn nobody_is_told_of_errors_later_fragments_and_senders_that_are_not_one_machine() {
    let (mut lab, here, there) = lab();
    let error = icmp(
        Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit),
        &[5; 28],
    );
    let mut later = Ipv4Header::new(
        8,
        1,
        IpNumber::UDP,
        here.ip(1).octets(),
        there.ip(7).octets(),
    )
    .unwrap();
    later.fragment_offset = IpFragOffset::try_new(3).unwrap();
    let from = |from: [u8; 4]| packet(from.into(), there.ip(7), IpNumber::UDP, 1, &[5; 8]);
    for (what, frame) in [
        (
            "an error",
            packet(here.ip(1), there.ip(7), IpNumber::ICMP, 1, &error),
        ),
        (
            "an ICMP header cut short",
            packet(here.ip(1), there.ip(7), IpNumber::ICMP, 1, &[8]),
        ),
        ("a later fragment", whole(later, &[5; 8])),
        ("from 0.0.0.0", from([0; 4])),
        ("from a loopback address", from([127, 0, 0, 1])),
        ("from a group", from([224, 0, 0, 1])),
        ("from all", from([255; 4])),
    ] {
        lab.inject(A, &frame);
        assert_eq!(lab.out(A), Vec::<Vec<u8>>::new(), "{what}");
    }
    assert_eq!(lab.totals(A).drops_for(DropReason::TtlExpired), 7);
    for (what, frame) in [
        (
            "TCP",
            packet(here.ip(1), here.gateway(), IpNumber::TCP, 64, &[0; 20]),
        ),
        (
            "an echo reply",
            packet(
                here.ip(1),
                here.gateway(),
                IpNumber::ICMP,
                64,
                &icmp(Icmpv4Type::EchoReply(echo(1)), &[]),
            ),
        ),
    ] {
        lab.inject(A, &frame);
        assert_eq!(lab.out(A), Vec::<Vec<u8>>::new(), "{what} to the gateway");
    }
    assert_eq!(lab.totals(A).drops_for(DropReason::ForGateway), 2);
    lab.silent();
}

#[test]
fn a_guest_that_provokes_errors_is_told_of_some_and_all_are_counted() {
    let (mut lab, here, there) = lab();
    let sent = packet(here.ip(1), there.ip(7), IpNumber::UDP, 1, &[5; 8]);
    for _ in 0..3 {
        (0..100).for_each(|_| lab.inject(A, &sent));
        while lab.worker.poll() != 0 {}
    }
    let told = lab.out(A).len();
    assert!((100..200).contains(&told), "{told}"); // 100 at once, and 100 a second
    assert_eq!(lab.totals(A).drops_for(DropReason::TtlExpired), 300);
    lab.silent();
}

#[test]
fn what_is_damaged_or_from_no_single_machine_is_answered_in_no_way() {
    let (mut lab, here, _) = lab();
    let request = icmp(Icmpv4Type::EchoRequest(echo(5)), b"data");
    let good = packet(here.ip(1), here.gateway(), IpNumber::ICMP, 64, &request);
    let mut damaged = good.clone();
    damaged[24] ^= 1;
    let from_all = packet(
        [255; 4].into(),
        here.gateway(),
        IpNumber::ICMP,
        64,
        &request,
    );
    let mut only_padding = packet(here.ip(1), here.gateway(), IpNumber::ICMP, 64, &[]);
    only_padding.extend(&request);
    for (what, frame) in [
        ("a wrong header checksum", damaged),
        ("from 255.255.255.255", from_all),
        ("an echo request in the padding", only_padding),
    ] {
        lab.inject(A, &frame);
        assert_eq!(lab.out(A), Vec::<Vec<u8>>::new(), "{what}");
    }
    assert_eq!(lab.totals(A).drops_for(DropReason::ForGateway), 3);
    let to_all = packet(here.ip(1), here.ip(255), IpNumber::UDP, 64, &[5; 8]);
    lab.expect_drop(A, &to_all, DropReason::UnknownNeighbor);
    lab.silent();
}
