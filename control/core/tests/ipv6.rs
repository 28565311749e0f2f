// SPDX-License-Identifier: MIT
//! Tenants' networks of IPv6, alone and beside IPv4.

use super::export::exported;
use super::goal::*;
use super::world::{World, statuses};
use crate::core::Show;
use crate::proto::schema::NeighborType::{L2, L3};
use crate::proto::schema::OperationStatus::{InvalidArg, Pending, Success};
use crate::proto::schema::*;
use crate::southbound::decode::{Encoded, received};

const MAC: &str = "02:00:00:00:01:63";

/// What is wrong with a state.
fn fault(state: State) -> String {
    let all = received(&Encoded::from(&v2([state]))).unwrap();
    let change = all.into_iter().next().unwrap().change;
    change.expect_err("it is accepted").to_string()
}

/// The same subnet with another address of its gateway.
fn with_gateway(mut state: State, ip: &str) -> State {
    if let State::Subnet(SubnetState {
        configuration: Some(subnet),
        ..
    }) = &mut state
    {
        subnet.gateway.get_or_insert_default().ip_address = ip.into();
    }
    state
}

/// An address in a list, of a subnet or none.
fn column(world: &mut World, what: Show, column: &str) -> Vec<String> {
    let rows = world.show(what).into_iter();
    rows.map(|row| row[column].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_vpc_of_both_versions_is_programmed_whole() {
    let mut world = World::new();
    world.succeed(dual_stack());
    let seen = world.see();
    for line in [
        " in 10.7.1.0/24 vni 7 gateway Some(00:00:5e:00:01:01) dvr Some(fe:16:11:00:00:00) at Some(10.7.1.1) of \
         [10.7.1.1, 10.7.2.1, 10.8.3.1, 2001:db8:7:1::1, 2001:db8:8:3::1]",
        " in 2001:db8:7:1::/64 vni 7 gateway Some(00:00:5e:00:01:01) dvr Some(fe:16:11:00:00:00) at Some(2001:db8:7:1::1) of \
         [10.7.1.1, 10.7.2.1, 10.8.3.1, 2001:db8:7:1::1, 2001:db8:8:3::1]",
        "  2001:db8:7:1::10: 02:00:00:00:00:0a vni 7 port 1",
        "  2001:db8:7:1::101: 02:00:00:00:01:01 vni 7 host 192.0.2.9",
        "  2001:db8:8:3::103: 02:00:00:00:01:03 vni 8 host 192.0.2.8",
        "  2001:db8:203::5: 02:00:00:00:01:03 vni 8 host 192.0.2.8",
        "  203.0.113.5: 02:00:00:00:01:03 vni 8 host 192.0.2.8",
    ] {
        assert!(seen.contains(line), "no {line:?} in\n{seen}");
    }
    assert_eq!(world.reasons(), [""; 0]);
    let before = (world.publications(), world.see(), world.wanted());
    for form in [v1, v2] {
        let reply = world.apply(form(dual_stack()));
        assert!(statuses(&reply).iter().all(|status| *status == Success));
    }
    assert_eq!((world.publications(), world.see(), world.wanted()), before);
}

#[test]
fn it_is_said_again_in_the_controller_s_words_and_leaves_nothing_when_it_is_deleted() {
    let mut world = World::new();
    world.succeed(dual_stack());
    let mut again = World::new();
    again.succeed(exported(&world.core.wanted));
    assert_eq!((again.see(), again.wanted()), (world.see(), world.wanted()));
    world.succeed(dual_stack().into_iter().chain(scenario()).map(deleted));
    world.succeed([deleted(router("router", UpdateType::Full, &[]))]);
    let mut empty = World::new();
    empty.succeed([]);
    assert_eq!((world.see(), world.wanted()), (empty.see(), empty.wanted()));
}

#[test]
fn each_resource_of_it_can_be_deleted_and_comes_back() {
    let mut world = World::new();
    world.succeed(dual_stack());
    let reference = world.see();
    for state in dual_stack() {
        world.succeed([deleted(state.clone())]);
        assert_ne!(world.see(), "");
        world.put([state]);
        world.put(dual_stack());
        assert_eq!(world.see(), reference);
    }
}

#[test]
fn versions_that_contradict_each_other_in_one_resource_are_its_fault_by_name() {
    let azure = || subnet("azure", "vpc", "2001:db8::/64", 7, 1);
    let blue = || subnet("blue", "vpc", "10.7.1.0/24", 7, 1);
    let rule = |to, hop| router("r", UpdateType::Full, &[("azure", &[("id", to, hop, 1)])]);
    let cases = [
        (
            with_gateway(azure(), "10.7.1.1"),
            "gateway.ip_address: 10.7.1.1 is an IPv4 address, and cidr 2001:db8::/64 is IPv6",
        ),
        (
            with_gateway(blue(), "2001:db8::1"),
            "gateway.ip_address: 2001:db8::1 is an IPv6 address, and cidr 10.7.1.0/24 is IPv4",
        ),
        (
            rule("2001:db8::/32", "10.7.1.9"),
            "routing_rules[0].next_hop_ip: 10.7.1.9 is an IPv4 address, and destination 2001:db8::/32 is IPv6",
        ),
        (
            rule("10.0.0.0/8", "2001:db8::1"),
            "routing_rules[0].next_hop_ip: 2001:db8::1 is an IPv6 address, and destination 10.0.0.0/8 is IPv4",
        ),
    ];
    for (state, why) in cases {
        let fault = fault(state);
        assert!(fault.ends_with(why), "{fault}");
    }
    // No gateway and no next hop are said in either version's way.
    let mut world = World::new();
    world.succeed([
        vpc("vpc", 7),
        with_gateway(azure(), "0.0.0.0"),
        with_gateway(blue(), "::"),
        rule("2001:db8:1::/48", "0.0.0.0"),
        rule("10.0.0.0/8", "::"),
    ]);
}

#[test]
fn an_address_of_the_other_version_than_its_subnet_s_is_invalid_until_one_of_them_changes() {
    let mut world = World::new();
    let azure = || subnet("azure", "vpc", "2001:db8:7:1::/64", 7, 1);
    let guest = || neighbor("n", L2, MAC, "azure", "10.7.1.99", 9);
    let both = [("azure", "10.7.1.10"), ("azure", "2001:db8:7:1::10")];
    let a = || port("port-a", "02:00:00:00:00:0a", &both);
    assert_eq!(world.put([guest(), a()]), [Pending, Pending]);
    assert_eq!(
        world.put([vpc("vpc", 7), azure(), guest(), a()]),
        [Success, Success, InvalidArg, InvalidArg]
    );
    assert!(
        world.see().ends_with("entries [1, 0, 1, 0]\n"),
        "{}",
        world.see()
    );
    assert_eq!(world.find("10.7.1.10"), None);
    assert!(
        world.find("2001:db8:7:1::10").is_some(),
        "the other address serves"
    );
    for reason in world.reasons() {
        let why = "is an IPv4 address, and subnet \"azure\" has the cidr 2001:db8:7:1::/64";
        assert!(
            reason.starts_with("fixed_ips: ip_address 10.7.1.") && reason.ends_with(why),
            "{reason}"
        );
    }
    // The subnet is renumbered.
    world.succeed([subnet("azure", "vpc", "10.7.1.0/24", 7, 1), guest()]);
    assert!(world.find("10.7.1.99").is_some() && world.find("10.7.1.10").is_some());
    assert_eq!(world.find("2001:db8:7:1::10"), None);
    world.succeed([
        azure(),
        neighbor("n", L2, MAC, "azure", "2001:db8:7:1::99", 9),
    ]);
    assert!(world.find("2001:db8:7:1::99").is_some());
}

#[test]
fn addresses_that_no_machine_has_on_a_network_are_refused_and_why_is_said() {
    let unfit = [
        (
            "::ffff:10.7.1.9",
            "is an IPv4 address in IPv6's form: no packet has it",
        ),
        ("::1", "is a loopback address: every machine has it"),
        ("127.0.0.1", "is a loopback address: every machine has it"),
        ("::", "is no machine's address"),
        ("ff02::1", "is no machine's address"),
        (
            "fe80::1",
            "is link-local: it means nothing without a link, and every machine makes its own",
        ),
    ];
    for (ip, why) in unfit {
        let states = [
            neighbor("n", L2, MAC, "azure", ip, 9),
            port("port-a", MAC, &[("azure", ip)]),
        ];
        for state in states {
            let fault = fault(state);
            assert!(
                fault.contains("fixed_ips[0].ip_address: ") && fault.ends_with(why),
                "{fault}"
            );
        }
        if !matches!(ip, "::" | "127.0.0.1") {
            let rule = ("id", "2001:db8::/32", ip, 1);
            let fault = fault(router("r", UpdateType::Full, &[("s", &[rule])]));
            assert!(
                fault.contains("next_hop_ip: ") && fault.ends_with(why),
                "{fault}"
            );
        }
    }
    for (cidr, why) in [
        ("fe80::/64", "is link-local, and routed nowhere"),
        ("ff02::/16", "is no machine's address"),
        (
            "::ffff:10.7.1.0/120",
            "is an IPv4 address in IPv6's form: no packet has it",
        ),
        ("2001:db8::/129", "is not an IP prefix"),
    ] {
        let fault = fault(subnet("azure", "vpc", cidr, 7, 0));
        assert!(fault.contains("cidr: ") && fault.ends_with(why), "{fault}");
    }
    for ip in [
        "fe80::1%eth0",
        "[2001:db8::1]",
        "2001:db8::1/64",
        "2001:db8:::1",
        "2001:db8::g",
    ] {
        let fault = fault(neighbor("n", L2, MAC, "azure", ip, 9));
        assert!(fault.ends_with("is not an IP address"), "{fault}");
    }
}

#[test]
fn a_gateway_may_have_a_link_local_address_that_counts_on_its_link_only() {
    let mut world = World::new();
    let link_local =
        |id: &str, cidr, gateway| with_gateway(subnet(id, "vpc", cidr, 7, gateway), "fe80::1");
    world.succeed([
        vpc("vpc", 7),
        link_local("azure", "2001:db8:7:1::/64", 1),
        link_local("lime", "2001:db8:8:3::/64", 2),
        subnet("teal", "vpc", "2001:db8:7:9::/64", 7, 3),
        port(
            "port-a",
            "02:00:00:00:00:0a",
            &[("azure", "2001:db8:7:1::10")],
        ),
        router(
            "r",
            UpdateType::Full,
            &[("azure", &[]), ("lime", &[]), ("teal", &[])],
        ),
        // A rule that would lead the gateway's address away, if it were routed.
        router(
            "s",
            UpdateType::Full,
            &[(
                "azure",
                &[("nine", "2001:db8:7:9::/64", "2001:db8:7:1::10", 1)],
            )],
        ),
    ]);
    let seen = world.see();
    assert!(
        seen.contains("at Some(fe80::1) of [2001:db8:7:9::1, fe80::1]"),
        "{seen}"
    );
    let via: Vec<_> = column(&mut world, Show::Routes, "destination");
    let [one, nine, three] = [
        "2001:db8:7:1::/64",
        "2001:db8:7:9::/64",
        "2001:db8:8:3::/64",
    ];
    let expected = [one, nine, nine, three, "2001:db8:7:9::1/128"];
    assert_eq!(
        via, expected,
        "what is for a gateway itself stays here, and a link-local one is never routed"
    );
}

#[test]
fn addresses_are_told_apart_and_shown_however_they_are_written() {
    let mut world = World::new();
    let guest = |ip| neighbor("n", L3, MAC, "lime", ip, 8);
    world.succeed(dual_stack());
    let short = guest("2001:db8:8:3::9");
    world.succeed([short.clone(), guest("2001:0DB8:8:3:0:0:0:9")]);
    let all = column(&mut world, Show::Neighbors, "address");
    assert_eq!(
        all.iter().filter(|ip| *ip == "2001:db8:8:3::9").count(),
        1,
        "{all:?}"
    );
    world.succeed([deleted(guest("2001:db8:8:3:0::9"))]);
    assert_eq!(world.find("2001:db8:8:3::9"), None);
    let ports = column(&mut world, Show::Ports, "addresses");
    assert!(
        ports.contains(&"10.7.1.10, 2001:db8:7:1::10".to_owned()),
        "{ports:?}"
    );
    let cidrs = column(&mut world, Show::Subnets, "cidr");
    assert!(cidrs.contains(&"2001:db8:8:3::/64".to_owned()), "{cidrs:?}");
    let gateways = column(&mut world, Show::Subnets, "gateway");
    assert!(
        gateways.contains(&"2001:db8:8:3::1".to_owned()),
        "{gateways:?}"
    );
}

#[test]
fn vpcs_with_the_same_ipv6_addresses_are_kept_apart_and_an_address_is_one_machine_s() {
    let mut world = World::new();
    let (ip, cidr) = ("2001:db8:7:1::99", "2001:db8:7:1::/64");
    world.succeed([
        vpc("one", 7),
        vpc("two", 8),
        subnet("s1", "one", cidr, 7, 1),
        subnet("s2", "two", cidr, 8, 1),
        port("port-a", "02:00:00:00:00:0a", &[("s1", "2001:db8:7:1::10")]),
        neighbor("n1", L2, "02:00:00:00:01:01", "s1", ip, 8),
        neighbor("n2", L2, "02:00:00:00:01:02", "s2", ip, 9),
    ]);
    let expected = "02:00:00:00:01:01 vni 7 host 192.0.2.8 mac ..:08";
    assert_eq!(world.find(ip).as_deref(), Some(expected));
    // Of two the latest has it, and the other gets it back.
    let thief = neighbor("thief", L2, "02:00:00:00:01:03", "s1", ip, 9);
    world.succeed([thief.clone()]);
    assert!(world.find(ip).unwrap().starts_with("02:00:00:00:01:03"));
    world.succeed([deleted(thief)]);
    assert_eq!(world.find(ip).as_deref(), Some(expected));
    // A port of this host has it before any neighbor.
    world.succeed([port("port-b", "02:00:00:00:00:0b", &[("s1", ip)])]);
    assert!(world.find(ip).unwrap().ends_with("port 2"));
}

#[test]
fn a_rule_waits_for_its_ipv6_next_hop() {
    let mut world = World::new();
    let rule = ("rule", "2001:db8:203::/48", "2001:db8:7:1::99", 1);
    let states = [
        vpc("vpc", 7),
        subnet("azure", "vpc", "2001:db8:7:1::/64", 7, 1),
        port(
            "port-a",
            "02:00:00:00:00:0a",
            &[("azure", "2001:db8:7:1::10")],
        ),
        router("router", UpdateType::Full, &[("azure", &[rule])]),
    ];
    let [.., router] = states.clone();
    assert_eq!(world.put(states), [Success, Success, Pending, Success]);
    let why = "next hop 2001:db8:7:1::99 of a rule for subnet \"azure\" is no port and no neighbor that is reached yet";
    assert_eq!(world.reasons(), [why]);
    world.succeed([
        neighbor("n", L2, MAC, "azure", "2001:db8:7:1::99", 9),
        router,
    ]);
    assert!(
        world
            .see()
            .contains("  2001:db8:203::5: 02:00:00:00:01:63 ")
    );
}

#[test]
fn dhcp_serves_the_first_subnet_of_each_version_of_ip() {
    let mut world = World::new();
    let both = [("azure", "2001:db8:7:1::10"), ("blue", "10.7.1.10")];
    let mac = "02:00:00:00:00:0a";
    world.succeed([
        vpc("vpc", 7),
        subnet("azure", "vpc", "2001:db8:7:1::/64", 7, 1),
        subnet("blue", "vpc", "10.7.1.0/24", 7, 1),
        port("port-a", mac, &both),
        dhcp("lease", "blue", mac, "10.7.1.10"),
    ]);
    assert_eq!(world.lease().unwrap().address.to_string(), "10.7.1.10/24");
    let State::Dhcp(mut state) = dhcp("lease6", "azure", mac, "") else {
        unreachable!()
    };
    state.configuration.as_mut().unwrap().ipv6_address = "2001:db8:7:1::10".into();
    assert_eq!(world.lease6(), None);
    world.succeed([State::Dhcp(state)]);
    let own: Vec<std::net::Ipv6Addr> = vec!["2001:db8:7:1::10".parse().unwrap()];
    assert_eq!(*world.lease6().unwrap().addresses, *own);
    assert_eq!(world.lease().unwrap().address.to_string(), "10.7.1.10/24");
    world.succeed([port("port-a", mac, &both[..1])]);
    assert_eq!(world.lease(), None);
    assert_eq!(*world.lease6().unwrap().addresses, *own);
    let ports = column(&mut world, Show::Ports, "dhcp");
    assert!(
        ports.iter().any(|dhcp| dhcp.contains("no IPv4 address")),
        "{ports:?}"
    );
    world.succeed([port("port-a", mac, &both[1..])]);
    assert_eq!(world.lease6(), None);
    let ports = column(&mut world, Show::Ports, "dhcpv6");
    assert!(
        ports.iter().any(|dhcp| dhcp.contains("no IPv6 address")),
        "{ports:?}"
    );
}
