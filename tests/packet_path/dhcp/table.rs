// SPDX-License-Identifier: MIT
//! The table of RFC 2131 section 4.3.2 and the rules around it, line by line.

use super::*;

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 11);
const BROADCAST: (Mac, Ipv4Addr) = (Mac::new([0xff; 6]), Ipv4Addr::BROADCAST);

#[track_caller]
fn is_ack(told: &Told, to: (Mac, Ipv4Addr)) {
    assert_eq!((told.kind, told.yiaddr, told.to), (ACK, ADDRESS, to));
    assert_eq!(told.value(51), 86_400u32.to_be_bytes());
    assert_eq!(told.value(58), 43_200u32.to_be_bytes());
    assert_eq!(told.value(59), 75_600u32.to_be_bytes());
    assert_eq!(told.value(54), SERVER.octets());
}

/// A NAK says nothing but that (table 3), and goes to everybody (section 4.1).
#[track_caller]
fn is_nak(told: &Told) {
    assert_eq!((told.kind, told.to), (NAK, BROADCAST));
    let addresses = [told.ciaddr, told.yiaddr, told.siaddr];
    assert_eq!(addresses, [NOBODY; 3]);
    assert_eq!(told.codes(), [53, 54, 56]);
    assert_eq!(told.value(54), SERVER.octets());
}

#[test]
fn selecting_this_server_and_the_offered_address_is_acknowledged() {
    let question = message(REQUEST).server(SERVER).requested(ADDRESS);
    is_ack(&question.told(&lease()), (GUEST, ADDRESS));
    is_nak(
        &message(REQUEST)
            .server(SERVER)
            .requested(OTHER)
            .told(&lease()),
    );
}

#[test]
fn selecting_another_server_is_passed_over_in_silence() {
    for address in [ADDRESS, OTHER] {
        let question = message(REQUEST).server(OTHER).requested(address);
        assert_eq!(question.refused(&lease()), DropReason::DhcpQuiet);
    }
}

#[test]
fn rebooting_with_its_address_is_acknowledged_and_with_another_not() {
    is_ack(
        &message(REQUEST).requested(ADDRESS).told(&lease()),
        (GUEST, ADDRESS),
    );
    is_nak(&message(REQUEST).requested(OTHER).told(&lease()));
    let elsewhere = Ipv4Addr::new(192, 168, 1, 2);
    is_nak(&message(REQUEST).requested(elsewhere).told(&lease()));
}

#[test]
fn renewing_and_rebinding_go_by_ciaddr_and_are_answered_to_it() {
    let told = message(REQUEST).ciaddr(ADDRESS).told(&lease());
    is_ack(&told, (GUEST, ADDRESS));
    assert_eq!(told.ciaddr, ADDRESS);
    // The broadcast flag is for those who have no address.
    let question = message(REQUEST).ciaddr(ADDRESS).with(|m| m.flags = 0x8000);
    is_ack(&question.told(&lease()), (GUEST, ADDRESS));
    is_nak(&message(REQUEST).ciaddr(OTHER).told(&lease()));
}

#[test]
fn a_request_that_names_two_addresses_must_mean_one() {
    let question = message(REQUEST).ciaddr(ADDRESS);
    is_ack(
        &question.clone().requested(ADDRESS).told(&lease()),
        (GUEST, ADDRESS),
    );
    is_nak(&question.requested(OTHER).told(&lease()));
    is_nak(
        &message(REQUEST)
            .ciaddr(OTHER)
            .requested(ADDRESS)
            .told(&lease()),
    );
}

#[test]
fn a_request_that_names_no_address_is_refused() {
    for question in [message(REQUEST), message(REQUEST).server(SERVER)] {
        assert_eq!(question.refused(&lease()), DropReason::BadDhcp);
    }
}

#[test]
fn discover_is_offered_its_address_whichever_it_would_like() {
    let question = message(DISCOVER).requested(OTHER).ciaddr(OTHER);
    let told = question.told(&lease());
    assert_eq!(
        (told.kind, told.yiaddr, told.ciaddr),
        (OFFER, ADDRESS, NOBODY)
    );
    assert_eq!(told.to, (GUEST, ADDRESS));
    let told = message(DISCOVER).with(|m| m.flags = 0x8000).told(&lease());
    assert_eq!((told.kind, told.flags, told.to), (OFFER, 0x8000, BROADCAST));
}

#[test]
fn who_wants_rapid_commit_gets_it() {
    let told = message(DISCOVER).option(80, &[]).told(&lease());
    is_ack(&told, (GUEST, ADDRESS));
    assert!(told.value(80).is_empty());
    // Only a DISCOVER asks for it (RFC 4039 section 3.1).
    let told = message(REQUEST)
        .requested(ADDRESS)
        .option(80, &[])
        .told(&lease());
    assert!(!told.codes().contains(&80));
}

#[test]
fn inform_is_acknowledged_without_a_lease() {
    let own = Ipv4Addr::new(10, 7, 1, 99); // configured by hand
    let told = message(INFORM).ciaddr(own).told(&lease());
    assert_eq!((told.kind, told.ciaddr, told.yiaddr), (ACK, own, NOBODY));
    assert_eq!(told.to, (GUEST, own));
    assert_eq!(told.codes(), [53, 54, 1, 26, 3, 28]);
    for elsewhere in [NOBODY, Ipv4Addr::new(10, 7, 2, 99), Ipv4Addr::BROADCAST] {
        let question = message(INFORM).ciaddr(elsewhere);
        assert_eq!(question.refused(&lease()), DropReason::BadDhcp);
    }
}

#[test]
fn release_and_decline_change_nothing_and_are_told_apart() {
    let question = message(RELEASE).server(SERVER).ciaddr(ADDRESS);
    assert_eq!(question.refused(&lease()), DropReason::DhcpQuiet);
    let question = message(DECLINE).server(SERVER).requested(ADDRESS);
    assert_eq!(question.refused(&lease()), DropReason::DhcpDeclined);
    let other = message(DECLINE).server(OTHER).requested(ADDRESS);
    assert_eq!(other.refused(&lease()), DropReason::DhcpQuiet);
}

#[test]
fn what_no_client_sends_is_refused() {
    let bad = |question: Message| {
        assert_eq!(
            question.refused(&lease()),
            DropReason::BadDhcp,
            "{question:?}"
        )
    };
    for kind in [OFFER, ACK, NAK, 0, 9, 10, 200] {
        bad(message(kind));
    }
    bad(message(DISCOVER).with(|m| m.op = 2));
    bad(message(DISCOVER).with(|m| m.chaddr = Mac::new([2, 0, 0, 0, 0, 11])));
    bad(message(DISCOVER).with(|m| m.hardware = [6, 6]));
    bad(message(DISCOVER).with(|m| m.hardware = [1, 255]));
    // BOOTP.
    bad(message(DISCOVER).with(|m| m.cookie = [0; 4]));
    bad(message(DISCOVER).with(|m| m.options.clear()));
    // By a relay agent.
    bad(message(DISCOVER).with(|m| m.giaddr = OTHER));
    bad(message(DISCOVER).option(82, &[1, 2, 7, 7]));
    let mut frame = message(DISCOVER).frame();
    frame[11] = 11;
    assert_eq!(
        answered(&lease(), &frame),
        Err(DropReason::BadDhcp),
        "another's"
    );
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (code, value) in [
        (50, &[1, 2, 3][..]),
        (53, &[1]), // a second part of the first: two bytes
        (54, &[1, 2, 3, 4, 5]),
        (57, &[1]),
        (52, &[]),
    ] {
        let question = message(DISCOVER).option(code, value);
        assert_eq!(question.refused(&lease()), DropReason::BadDhcp, "{code}");
    }
    let question = message(DISCOVER).option(61, &[1; 200]).option(61, &[1; 56]);
    assert_eq!(question.refused(&lease()), DropReason::BadDhcp);
    let question = message(DISCOVER).with(|m| m.options.extend([12, 9]));
    assert_eq!(question.refused(&lease()), DropReason::BadDhcp);
}

#[test]
fn options_may_stand_in_the_fields_for_names_and_in_parts() {
    let lease = lease();
    let told = |overload: u8| {
        let mut frame = message(REQUEST)
            .option(52, &[overload])
            .option(61, &[1])
            .frame();
        // sname, then file; what it asks for is in the latter.
        frame[42 + 44..][..4].copy_from_slice(&[61, 1, 3, 255]);
        frame[42 + 108..][..10].copy_from_slice(&[50, 4, 10, 7, 1, 10, 61, 1, 2, 255]);
        answered(&lease, &frame).map(|frame| Told::read(&frame))
    };
    let both = told(3).unwrap();
    is_ack(&both, (GUEST, ADDRESS));
    assert_eq!(both.value(61), [1, 2, 3]);
    assert_eq!(told(1).unwrap().value(61), [1, 2]);
    assert_eq!(
        told(2).unwrap_err(),
        DropReason::BadDhcp,
        "names no address"
    );
    assert_eq!(told(0).unwrap_err(), DropReason::BadDhcp);
}

#[test]
fn a_missing_end_mark_does_no_harm() {
    // A host name of one byte, which is the end mark's.
    let question = message(DISCOVER).with(|m| m.options.extend([0, 0, 12, 1]));
    assert_eq!(question.told(&lease()).kind, OFFER);
}

#[test]
fn the_client_identifier_comes_back() {
    for kind in [message(DISCOVER), message(REQUEST).requested(OTHER)] {
        let told = kind.option(61, &[7; 255]).told(&lease());
        assert_eq!(told.value(61), [7; 255]);
    }
}

#[test]
fn parameters_come_in_the_order_asked_and_once() {
    let lease = lease_of(MTU, &[(15, b"example.com"), (42, &[10, 0, 0, 1])]);
    let always = [53, 54, 51, 58, 59, 1, 26];
    let asked = |list: &[u8]| message(DISCOVER).option(55, list).told(&lease).codes();
    let with = |more: &[u8]| [&always[..], more].concat();
    assert_eq!(asked(&[42, 3, 15, 42, 53, 1, 77]), with(&[42, 3, 15]));
    assert_eq!(asked(&[15, 26, 42]), with(&[15, 42]));
    assert_eq!(asked(&[51]), always);
    let told = message(DISCOVER).told(&lease);
    assert_eq!(told.codes(), with(&[3, 28, 15, 42]), "nothing asked: all");
}

#[test]
fn ipv6_only_is_told_only_to_who_asks() {
    let lease = lease_of(MTU, &[(108, &1800u32.to_be_bytes())]);
    assert!(!message(DISCOVER).told(&lease).codes().contains(&108));
    let told = message(DISCOVER).option(55, &[108]).told(&lease);
    assert_eq!(told.value(108), 1800u32.to_be_bytes());
}

#[test]
fn an_answer_is_as_long_as_the_guest_takes_and_the_network_carries() {
    let lease_of = |mtu| lease_of(mtu, &[(210, &[b'p'; 300]), (209, &[b'c'; 200])]);
    let lease = lease_of(MTU);
    let asked = message(DISCOVER).option(55, &[210, 209, 3]);
    let size = |size: u16| asked.clone().option(57, &size.to_be_bytes()).told(&lease);
    assert_eq!(
        asked.told(&lease).codes()[7..],
        [209, 3],
        "576 if it does not say"
    );
    assert_eq!(size(0).codes()[7..], [209, 3], "less is not allowed");
    assert_eq!(size(1500).codes()[7..], [210, 209, 3]);
    assert_eq!(size(1500).value(210), [b'p'; 300], "in two parts");
    let whole = size(1500).len;
    assert_eq!(size(whole as u16).len, whole);
    assert_eq!(size(whole as u16 - 1).codes()[7..], [210, 209]);
    let asked = asked.option(57, &[0xff, 0xff]);
    assert_eq!(asked.told(&lease_of(700)).codes()[7..], [210, 3]);
    // The network may carry more than guests' buffers hold.
    assert!(asked.told(&lease_of(9000)).len <= 1500);
}

#[test]
fn who_boots_from_the_network_is_told_from_where() {
    let mut lease = lease();
    lease.boot = (OTHER, (*b"boot").into(), (*b"pxelinux.0").into());
    let told = message(DISCOVER).told(&lease);
    assert_eq!(
        (told.siaddr, &*told.sname, &*told.file),
        (OTHER, &b"boot"[..], &b"pxelinux.0"[..])
    );
    is_nak(&message(REQUEST).requested(OTHER).told(&lease));
}

/// To the gateway by unicast, as clients renew.
fn by_unicast(to: Ipv4Addr) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(GUEST.bytes(), GATEWAY.bytes())
        .ipv4(ADDRESS.octets(), to.octets(), 64)
        .udp(68, 67);
    let mut frame = Vec::new();
    let question = message(REQUEST).ciaddr(ADDRESS);
    builder.write(&mut frame, &question.bytes()).unwrap();
    frame
}

#[test]
fn a_lease_is_renewed_at_the_gateway_and_another_server_is_none_of_the_switchs() {
    let mut lab = lab(Some(&lease()));
    let told = lab.asks(&by_unicast(SERVER)).unwrap();
    is_ack(&Told::read(&told), (GUEST, ADDRESS));
    lab.inject(A, &by_unicast(Ipv4Addr::new(10, 99, 0, 1)));
    assert_eq!(lab.out(A).len(), 1, "ICMP says that there is no route");
    assert_eq!(lab.totals(A).drops_for(DropReason::NoRoute), 1);
}

#[test]
fn a_guest_that_is_not_served_is_counted_and_its_gateway_is_no_server() {
    let mut lab = lab(None);
    assert_eq!(
        lab.asks(&message(DISCOVER).frame()),
        Err(DropReason::NoLease)
    );
    lab.inject(A, &by_unicast(SERVER));
    assert_eq!(lab.out(A).len(), 1, "ICMP says that nobody listens");
    assert_eq!(lab.totals(A).drops_for(DropReason::ForGateway), 1);
}

#[test]
fn a_frame_that_is_no_dhcp_or_broken_gets_no_answer() {
    let lease = lease();
    let whole = message(DISCOVER).frame();
    let mut lab = lab(Some(&lease));
    let mut is = |what: &str, reason, change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = whole.clone();
        change(&mut frame);
        if frame.len() > 34 && frame[24..26] == whole[24..26] {
            let header =
                etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).map(|ip| ip.to_header());
            if let Ok(header) = header {
                frame[24..26].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
            }
        }
        assert_eq!(lab.asks(&frame), Err(reason), "{what}");
    };
    let (other, bad) = (DropReason::NotFlooded, DropReason::BadDhcp);
    is("TCP", other, &|f| f[23] = 6);
    is("to another port", other, &|f| f[37] = 68);
    is("a fragment", other, &|f| f[20] = 0x20);
    is("padding beyond the packet only", other, &|f| {
        f[16..18].copy_from_slice(&[0, 26])
    });
    is("checksum", bad, &|f| f[25] ^= 1);
    is("too long a datagram", bad, &|f| f[38] = 9);
    is("no datagram", bad, &|f| f[38..40].fill(0));
    is("too short a message", bad, &|f| {
        f[38..40].copy_from_slice(&[0, 247])
    });
}
