// SPDX-License-Identifier: MIT
//! Each kind of question, and its answer.

use vswitch::tables::{AddressPair, Guard};

use super::*;

const NO_ADDRESSES: &str = "the port has no more addresses";

fn preference() -> Vec<u8> {
    option(7, &[255])
}

#[test]
fn solicit_is_answered_with_an_advertisement_or_a_lease_if_that_is_wanted() {
    let solicit = message(
        SOLICIT,
        &[client(), has(9, &[]), asks(&[23, 24]), option(8, &[0, 0])],
    );
    let told = [preference(), gets(9), dns(), domains()];
    solicit.is_told(&lease(), ADVERTISE, &told);
    let rapid = solicit.with(|m| m.options.extend(option(14, &[])));
    rapid.is_told(
        &lease(),
        REPLY,
        &[option(14, &[]), gets(9), dns(), domains()],
    );
    // Which address it would like, it does not matter.
    let hint = message(SOLICIT, &[client(), has(9, &[ELSEWHERE]), asks(&[24])]);
    hint.is_told(&lease(), ADVERTISE, &[preference(), gets(9), domains()]);
}

#[test]
fn request_is_answered_with_the_address_unless_it_wants_one_of_another_link() {
    for wants in [&[][..], &[ADDRESS], &[OTHER]] {
        let request = message(REQUEST, &[client(), server(), has(9, wants), asks(&[23])]);
        request.is_told(&lease(), REPLY, &[gets(9), dns()]);
    }
    let request = message(
        REQUEST,
        &[client(), server(), has(9, &[ADDRESS, ELSEWHERE]), asks(&[])],
    );
    let refused = ia(9, [0; 2], &[status(4, "not an address of the port")]);
    request.is_told(&lease(), REPLY, &[refused]);
}

#[test]
fn renew_and_rebind_prolong_what_is_the_guests_own_and_end_the_rest() {
    let own = address(ADDRESS, SECONDS);
    for (kind, whom) in [(RENEW, server()), (REBIND, vec![])] {
        for (has_now, told) in [
            (&[][..], vec![own.clone()]),
            (&[ADDRESS], vec![own.clone()]),
            (&[OTHER], vec![own.clone(), address(OTHER, 0)]),
            (
                &[ELSEWHERE, ADDRESS, OTHER],
                vec![own.clone(), address(ELSEWHERE, 0), address(OTHER, 0)],
            ),
        ] {
            let asked = message(
                kind,
                &[client(), whom.clone(), has(9, has_now), asks(&[23])],
            );
            asked.is_told(&lease(), REPLY, &[ia(9, TIMES, &told), dns()]);
        }
    }
}

#[test]
fn confirm_is_answered_whether_all_addresses_are_the_guests_own() {
    let confirm = |associations: &[Vec<u8>]| {
        message(CONFIRM, &[client(), associations.concat(), asks(&[23])])
    };
    let temporary = option(4, &[&[0, 0, 0, 1][..], &address(OTHER, 9)].concat());
    confirm(&[has(1, &[ADDRESS])]).is_told(&lease(), REPLY, &[status(0, "")]);
    let not_on_link = status(4, "not an address of the port");
    for wrong in [
        vec![has(1, &[ADDRESS, OTHER])],
        vec![has(1, &[ADDRESS]), has(2, &[ELSEWHERE])],
        vec![has(1, &[ADDRESS]), temporary],
    ] {
        confirm(&wrong).is_told(&lease(), REPLY, std::slice::from_ref(&not_on_link));
    }
    for none in [vec![], vec![has(1, &[])]] {
        confirm(&none).is_dropped(DropReason::DhcpQuiet);
    }
}

#[test]
fn what_is_given_back_is_acknowledged_and_a_decline_counted_too() {
    let nothing = |id| ia(id, [0; 2], &[status(3, "nothing is handed out for this")]);
    let release = |associations: &[Vec<u8>]| {
        message(
            RELEASE,
            &[client(), server(), associations.concat(), asks(&[23])],
        )
    };
    release(&[has(1, &[ADDRESS])]).is_told(&lease(), REPLY, &[status(0, "")]);
    let both = release(&[has(1, &[OTHER]), has(2, &[ADDRESS])]);
    both.is_told(&lease(), REPLY, &[status(0, ""), nothing(1)]);

    let decline = message(DECLINE, &[client(), server(), has(1, &[ADDRESS])]);
    let mut lab = lab(Some(&lease()));
    lab.inject(A, &decline.frame());
    assert_eq!(lab.out(A), [said(REPLY, &[status(0, "")], decline.ips[0])]);
    let totals = lab.totals(A);
    assert_eq!(
        (totals.drops_for(DropReason::DhcpDeclined), totals.own),
        (1, 1)
    );
    lab.silent();
}

#[test]
fn who_wants_information_only_is_told_how_long_it_is_good() {
    let refresh = option(32, &SECONDS.to_be_bytes());
    let expected = [dns(), domains(), refresh.clone()];
    message(INFORM, &[client()]).is_told(&lease(), REPLY, &expected);
    message(INFORM, &[client(), server(), asks(&[32, 24])]).is_told(
        &lease(),
        REPLY,
        &[domains(), refresh],
    );
    // A nameless client is told no name.
    let nameless = message(INFORM, &[asks(&[23])]);
    let mut expected = message(REPLY, &[server(), dns()]);
    (expected.macs, expected.ports) = ([GATEWAY, GUEST], (547, 546));
    expected.ips = [link_local(GATEWAY), link_local(GUEST)];
    assert_eq!(
        lab(Some(&lease())).asks(&nameless.frame()),
        Ok(expected.frame())
    );
    message(INFORM, &[client(), has(1, &[])]).is_dropped(DropReason::BadDhcp);
    message(INFORM, &[client(), option(2, CLIENT_ID)]).is_dropped(DropReason::DhcpQuiet);
}

#[test]
fn who_asks_for_nothing_in_particular_is_told_all_that_is_for_it() {
    let solicit = message(SOLICIT, &[client(), has(9, &[])]);
    let told = [preference(), gets(9), dns(), domains()];
    solicit.clone().is_told(&lease(), ADVERTISE, &told);
    let says_name = solicit.with(|m| m.options.extend(option(39, &[0])));
    let name = option(39, b"\x04\x05web-1");
    let told = [&told[..], std::slice::from_ref(&name)].concat();
    says_name.clone().is_told(&lease(), ADVERTISE, &told);
    let asks = says_name.with(|m| m.options.extend(asks(&[39, 999, 39])));
    asks.is_told(&lease(), ADVERTISE, &[preference(), gets(9), name]);
}

#[test]
fn the_addresses_are_for_one_association_and_others_get_none() {
    let none = |id| ia(id, [0; 2], &[status(2, NO_ADDRESSES)]);
    let lease = Lease6 {
        addresses: [ADDRESS, OTHER].into(),
        ..lease()
    };
    let both = |id| {
        ia(
            id,
            TIMES,
            &[address(ADDRESS, SECONDS), address(OTHER, SECONDS)],
        )
    };
    let solicit = message(SOLICIT, &[client(), has(1, &[]), has(2, &[]), asks(&[])]);
    solicit.is_told(&lease, ADVERTISE, &[preference(), both(1), none(2)]);
    let request = message(
        REQUEST,
        &[client(), server(), has(1, &[]), has(2, &[OTHER]), asks(&[])],
    );
    request.is_told(&lease, REPLY, &[none(1), both(2)]);
    let renew = message(
        RENEW,
        &[client(), server(), has(1, &[]), has(2, &[OTHER]), asks(&[])],
    );
    let nothing = ia(1, [0; 2], &[status(3, "nothing is handed out for this")]);
    renew.is_told(&lease, REPLY, &[nothing, both(2)]);
}

#[test]
fn there_are_no_temporary_addresses_and_no_prefixes() {
    let temporary = |inner: &[u8]| option(4, &[&[0, 0, 0, 5][..], inner].concat());
    let prefixes = |inner: &[u8]| {
        option(
            25,
            &[&[0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0][..], inner].concat(),
        )
    };
    let prefix = option(26, &[&[0; 8][..], &[56], &[0; 16]].concat());
    let wants = [temporary(&[]), prefixes(&prefix), has(7, &[])];
    let refused = [
        temporary(&status(2, NO_ADDRESSES)),
        prefixes(&status(6, "no prefixes are handed out")),
        gets(7),
    ];
    let request = message(REQUEST, &[client(), server(), wants.concat(), asks(&[])]);
    request.is_told(&lease(), REPLY, &refused);
    let solicit = message(SOLICIT, &[client(), wants.concat(), asks(&[])]);
    let refused = [&[preference()][..], &refused].concat();
    solicit.is_told(&lease(), ADVERTISE, &refused);
}

#[test]
fn who_speaks_to_the_server_alone_is_told_not_to() {
    let multicast = status(5, "ask all servers");
    for kind in [REQUEST, RENEW, RELEASE, DECLINE] {
        let asked = message(kind, &[client(), server(), has(1, &[ADDRESS])]).unicast();
        asked.is_told(&lease(), REPLY, std::slice::from_ref(&multicast));
    }
    for kind in [SOLICIT, CONFIRM, REBIND, INFORM] {
        message(kind, &[client()])
            .unicast()
            .is_dropped(DropReason::BadDhcp);
    }
    // To another port or machine it is none of DHCP's.
    let request = message(REQUEST, &[client(), server()]).unicast();
    let other_port = request.clone().with(|m| m.ports.1 = 546);
    let other_machine = request.with(|m| m.ips[1] = link_local([2, 0, 0, 0, 0, 11]));
    for (asked, reason) in [
        (other_port, DropReason::ForGateway),
        (other_machine, DropReason::NotRoutable),
    ] {
        let mut lab = lab(Some(&lease()));
        lab.inject(A, &asked.frame());
        let by_udp = |frame: &Vec<u8>| frame[20] == 17;
        assert!(!lab.out(A).iter().any(by_udp));
        assert_eq!(lab.totals(A).drops_for(reason), 1);
    }
}

#[test]
fn what_section_16_of_the_rfc_forbids_is_dropped() {
    let bad = DropReason::BadDhcp;
    let ours = has(1, &[ADDRESS]);
    for kind in [SOLICIT, CONFIRM, REBIND] {
        message(kind, std::slice::from_ref(&ours)).is_dropped(bad);
        message(kind, &[client(), server(), ours.clone()]).is_dropped(bad);
    }
    for kind in [REQUEST, RENEW, RELEASE, DECLINE] {
        message(kind, &[client(), ours.clone()]).is_dropped(bad);
        message(kind, &[server(), ours.clone()]).is_dropped(bad);
        let other = [client(), option(2, CLIENT_ID), ours.clone()];
        message(kind, &other).is_dropped(DropReason::DhcpQuiet);
    }
    // None that a client sends; 12 and 13 are relayed.
    for kind in [0, ADVERTISE, REPLY, 10, 12, 13, 14, 255] {
        message(kind, &[client(), server(), ours.clone()]).is_dropped(bad);
    }
}

#[test]
fn what_makes_no_sense_or_is_not_the_guests_own_is_dropped() {
    let bad = DropReason::BadDhcp;
    let many = (0..17).map(|id| has(id, &[]));
    let many: Vec<_> = std::iter::once(client()).chain(many).collect();
    message(SOLICIT, &many).is_dropped(bad);
    let solicit = |option: Vec<u8>| message(SOLICIT, &[client(), option]);
    for wrong in [
        vec![0, 99, 0, 1],
        vec![0, 99, 0],
        client(),
        option(3, &[0; 11]),
        option(4, &[0; 3]),
        option(25, &[0; 11]),
        ia(1, [0; 2], &[option(5, &[0; 23])]),
        ia(1, [0; 2], &[vec![0, 5, 0, 24, 0]]),
        option(6, &[0, 23, 0]),
        [asks(&[23]), asks(&[24])].concat(),
    ] {
        solicit(wrong).is_dropped(bad);
    }
    for duid in [&[][..], &[0, 3], &[7; 131]] {
        message(SOLICIT, &[option(1, duid)]).is_dropped(bad);
    }
    let good = solicit(vec![]);
    for from in [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, ALL_SERVERS] {
        good.clone().with(|m| m.ips[0] = from).is_dropped(bad);
    }
    good.clone().with(|m| m.macs[0] = GATEWAY).is_dropped(bad);
    // Shorter than its header says, and than any message.
    let mut frame = good.frame();
    frame[58..60].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(lab(Some(&lease())).asks(&frame), Err(bad));
    frame[58..60].copy_from_slice(&[0, 11]);
    assert_eq!(lab(Some(&lease())).asks(&frame), Err(bad));
}

#[test]
fn the_longest_name_of_a_client_comes_back_whole() {
    let id = option(1, &[7; 130]);
    let frame = message(INFORM, &[id.clone(), asks(&[24])]).frame();
    let told = lab(Some(&lease())).asks(&frame).unwrap();
    assert_eq!(told[66..], [id, server(), domains()].concat());
}

#[test]
fn an_answer_fits_the_least_mtu_and_leaves_out_what_does_not() {
    let long = |code: u16, len: usize| (code, option(code, &vec![1; len]).into());
    let lease = Lease6 {
        addresses: (1..20)
            .map(|n| Ipv6Addr::from_bits(ADDRESS.to_bits() + n))
            .collect(),
        options: [long(23, 160), long(24, 900), long(56, 30), long(59, 700)].into(),
        ..lease()
    };
    let all: Vec<_> = lease
        .addresses
        .iter()
        .take(8)
        .map(|it| address(*it, SECONDS))
        .collect();
    let solicit = message(SOLICIT, &[client(), has(1, &[])]);
    let [dns, _, time, url] = &lease.options[..] else {
        unreachable!()
    };
    let told = [
        preference(),
        ia(1, TIMES, &all),
        dns.1.to_vec(),
        time.1.to_vec(),
        url.1.to_vec(),
    ];
    solicit.is_told(&lease, ADVERTISE, &told);
    let mut lab = lab(Some(&lease));
    let ends_for = [has(1, &[ELSEWHERE; 40]), has(2, &[ELSEWHERE; 3])];
    let asked = message(RENEW, &[&[client(), server()][..], &ends_for].concat());
    let answer = lab.asks(&asked.frame()).unwrap();
    assert!((1150..=1294).contains(&answer.len()), "{}", answer.len());
}

#[test]
fn who_is_not_served_is_counted_and_other_groups_are_not_dhcps() {
    let solicit = message(SOLICIT, &[client(), has(1, &[])]);
    assert_eq!(lab(None).asks(&solicit.frame()), Err(DropReason::NoLease));
    let relays: Ipv6Addr = "ff05::1:3".parse().unwrap();
    solicit
        .clone()
        .with(|m| m.ips[1] = relays)
        .is_dropped(DropReason::NotFlooded);
    solicit
        .clone()
        .with(|m| m.ports.1 = 546)
        .is_dropped(DropReason::NotFlooded);
    let mut later = solicit.frame();
    later[20] = 44; // as if a fragment header followed
    assert_eq!(
        lab(Some(&lease())).asks(&later),
        Err(DropReason::NotFlooded)
    );
}

#[test]
fn a_guarded_guest_asks_from_its_own_addresses_and_is_no_server() {
    let mut lab = lab(None);
    let pair = AddressPair {
        mac: Mac::new(GUEST),
        prefix: std::net::IpAddr::from(ADDRESS).into(),
    };
    let mut attachment = Net::new(7, 1, 1, 1).attachment();
    attachment.gateway_mac = Some(Mac::new(GATEWAY));
    let guest = TenantPort {
        mac: pair.mac,
        admin_up: true,
        guard: Some(Guard::new(&[pair])),
        lease6: Some(Arc::new(lease())),
        attachments: [attachment].into_iter().collect(),
        ..TenantPort::default()
    };
    lab.writer.set_role(A, Role::Tenant(Arc::new(guest)));
    lab.commit();
    let solicit = message(SOLICIT, &[client(), has(9, &[]), asks(&[])]);
    for from in [link_local(GUEST), ADDRESS] {
        let asked = solicit.clone().with(|m| m.ips[0] = from);
        let told = said(ADVERTISE, &[preference(), gets(9)], from);
        assert_eq!(lab.asks(&asked.frame()), Ok(told));
    }
    let spoofed = solicit.clone().with(|m| m.ips[0] = link_local(GATEWAY));
    assert_eq!(lab.asks(&spoofed.frame()), Err(DropReason::SpoofedIp));
    for ports in [(547, 546), (547, 547), (1, 546)] {
        let rogue = solicit.clone().with(|m| m.ports = ports);
        assert_eq!(lab.asks(&rogue.frame()), Err(DropReason::RogueServer));
    }
}
