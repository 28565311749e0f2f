// SPDX-License-Identifier: MIT
//! What a guest is told, by what the controller says; and what is said of that which is wrong.

use super::*;

/// The value of one extra option.
#[track_caller]
fn value(name: &str, text: &str, code: u8) -> Vec<u8> {
    let lease = Said::new().extra(&[(name, text)]).lease();
    value_of(&lease, code).unwrap()
}

#[track_caller]
fn problem(name: &str, text: &str) -> String {
    let (_, problems) = Said::new().extra(&[(name, text)]).read().unwrap();
    let [problem] = &problems[..] else {
        panic!("{problems:?}")
    };
    let place = "subnet_states[\"blue\"].configuration.extra_dhcp_options[0]: ";
    problem.strip_prefix(place).unwrap().to_owned()
}

#[test]
fn a_subnets_fields_become_options() {
    let lease = Said::new().dns(&["10.0.0.53", "::1", "10.0.0.54"]).lease();
    let is = |code, value: &[u8]| assert_eq!(value_of(&lease, code).as_deref(), Some(value));
    is(3, &SERVER.octets());
    is(6, &[10, 0, 0, 53, 10, 0, 0, 54]);
    is(26, &MTU.to_be_bytes());
    is(28, &[10, 7, 1, 255]);
    assert_eq!(lease.address.netmask(), Ipv4Addr::new(255, 255, 255, 0));
    assert_eq!((lease.mac, lease.server_mac), (GUEST, GATEWAY));
    assert_eq!(lease.boot, (NOBODY, [].into(), [].into()));
    assert_eq!(lease.options.codes().collect::<Vec<_>>(), [26, 3, 6, 28]);
}

#[test]
fn either_dhcp_enable_or_a_state_is_enough() {
    let mut said = Said::new();
    said.subnet.dhcp_enable = false;
    let off = "subnet blue: dhcp_enable is off, and no DHCP state is for the port's MAC";
    assert_eq!(said.read().unwrap_err().to_string(), off);
    let mut said = Said::new().state("10.7.1.10", "");
    said.subnet.dhcp_enable = false;
    assert_eq!(said.lease().address.addr(), ADDRESS);
    let mut said = Said::new().state("10.7.1.10", "");
    said.subnet.dhcp_enable = false;
    said.dhcp.as_mut().unwrap().mac_address = "02:00:00:00:00:0b".into();
    assert_eq!(said.read().unwrap_err().to_string(), off, "another's");
}

#[test]
fn a_state_chooses_among_the_ports_addresses() {
    let said = |state: &str| {
        let mut said = Said::new().state(state, "");
        said.port.fixed_ips.push(fixed_ip("blue", "10.7.1.20"));
        said
    };
    let second = Ipv4Addr::new(10, 7, 1, 20);
    assert_eq!(said("10.7.1.20").lease().address.addr(), second);
    let (lease, problems) = said("10.7.1.30").read().unwrap();
    assert_eq!(lease.address.addr(), ADDRESS);
    let problem = "dhcp_states[\"uuid\"].configuration.ipv4_address: \"10.7.1.30\" is not the port's: 10.7.1.10 is served";
    assert_eq!(problems, [problem]);
    let mut said = said("");
    said.dhcp.as_mut().unwrap().ipv6_address = "2001:db8::a".into();
    assert_eq!(said.lease().address.addr(), ADDRESS, "for IPv6 alone");
}

#[test]
fn a_port_is_served_in_the_first_subnet_where_it_can_be() {
    let mut said = Said::new();
    said.port.fixed_ips.insert(0, fixed_ip("red", "10.7.2.10"));
    assert_eq!(said.lease().address.addr(), ADDRESS, "red is not described");
    let mut said = Said::new();
    said.port.fixed_ips = vec![fixed_ip("red", "10.7.2.10")];
    assert_eq!(said.read().unwrap_err(), NoLease::NoAddress);
}

#[test]
fn what_cannot_be_served_says_why() {
    let mut said = Said::new();
    said.subnet.cidr = "10.7.2.0/24".into();
    let outside = "subnet blue: 10.7.1.10 is not in its cidr, 10.7.2.0/24";
    assert_eq!(said.read().unwrap_err().to_string(), outside);
    let mut said = Said::new();
    said.mtu = 575;
    assert_eq!(said.read().unwrap_err(), NoLease::Mtu(575));
}

#[test]
fn without_a_gateway_the_server_is_the_first_address_that_is_not_the_guests() {
    let server = |cidr: &str, address: &str| {
        let mut said = Said::new();
        said.subnet.gateway = None;
        said.subnet.cidr = cidr.into();
        said.port.fixed_ips = vec![fixed_ip("blue", address)];
        said.read()
            .map(|(lease, _)| (lease.server.octets()[3], lease))
    };
    let (first, lease) = server("10.7.1.0/24", "10.7.1.10").unwrap();
    assert_eq!(first, 1);
    assert_eq!(lease.options.get(3), None);
    assert_eq!(lease.server_mac, Mac::new([0xfe, 0, 10, 7, 1, 1]));
    assert_eq!(server("10.7.1.0/24", "10.7.1.1").unwrap().0, 2);
    assert_eq!(server("10.7.1.0/31", "10.7.1.0").unwrap().0, 1);
    let none = NoLease::NoServer("blue".into());
    assert_eq!(server("10.7.1.9/32", "10.7.1.9").unwrap_err(), none);
}

#[test]
fn a_gateway_without_a_mac_is_a_router_all_the_same() {
    let mut said = Said::new();
    said.subnet.gateway.as_mut().unwrap().mac_address.clear();
    let lease = said.lease();
    assert_eq!(value_of(&lease, 3).unwrap(), SERVER.octets());
    let mut said = Said::new();
    said.subnet.gateway.as_mut().unwrap().ip_address = "0.0.0.0".into();
    assert_eq!(said.lease().options.get(3), None);
}

#[test]
fn a_host_name_is_the_states_and_must_be_one() {
    let lease = Said::new().state("10.7.1.10", "web-1.example").lease();
    assert_eq!(value_of(&lease, 12).unwrap(), b"web-1.example");
    let mut said = Said::new()
        .extra(&[("hostname", "any")])
        .state("10.7.1.10", "web-1");
    said.port.name = "a port".into();
    assert_eq!(value_of(&said.lease(), 12).unwrap(), b"web-1");
    let long = format!("{}.a", "a".repeat(64));
    for bad in ["a b", "-a", "a-", "a..b", ".", "a_b", "ä", "a\n", &long] {
        let (lease, problems) = Said::new().state("10.7.1.10", bad).read().unwrap();
        assert!(problems[0].ends_with("is no host name"), "{problems:?}");
        assert!(problems[0].starts_with("dhcp_states[\"uuid\"].configuration.port_host_name"));
        assert_eq!(lease.options.get(12), None);
    }
}

#[test]
fn values_are_read_by_kind() {
    assert_eq!(
        value("ntp-server", "10.0.0.1, 10.0.0.2", 42),
        [10, 0, 0, 1, 10, 0, 0, 2]
    );
    assert_eq!(value("23", "64", 23), [64]);
    assert_eq!(value("time-offset", "-3600", 2), (-3600i32).to_be_bytes());
    assert_eq!(value("arp-timeout", "60", 35), [0, 0, 0, 60]);
    assert_eq!(value("ip-forward-enable", "true", 19), [1]);
    assert_eq!(
        value("static-route", "10.8.0.1 10.7.1.9", 33),
        [10, 8, 0, 1, 10, 7, 1, 9]
    );
    assert_eq!(
        value("domain-search", "a.bc, d.e", 119),
        *b"\x01a\x02bc\0\x01d\x01e\0"
    );
    assert_eq!(value("vendor-class", "PXEClient", 60), *b"PXEClient");
    assert_eq!(value("vendor-encap", "06:01:08:ff", 43), [6, 1, 8, 255]);
    assert_eq!(value("224", "0x0102fF", 224), [1, 2, 255]);
    assert_eq!(
        value("224", "10.0.0.1,10.0.0.2", 224),
        [10, 0, 0, 1, 10, 0, 0, 2]
    );
    assert_eq!(value("224", "a text: yes", 224), *b"a text: yes");
    assert_eq!(
        value("router", "10.7.1.254", 3),
        [10, 7, 1, 254],
        "wins over the gateway"
    );
    assert_eq!(value("mtu", "1400", 26), 1400u16.to_be_bytes());
}

#[test]
fn a_wrong_value_is_named_and_costs_only_itself() {
    assert_eq!(
        problem("dns-servers", "10.0.0.1"),
        "\"dns-servers\" is no DHCP option"
    );
    assert_eq!(problem("", "1"), "\"\" is no DHCP option");
    assert_eq!(problem("ntp-server", "a"), "\"a\" is not an IPv4 address");
    assert_eq!(problem("ntp-server", " "), "has no value");
    assert_eq!(problem("domain-name", ""), "has no value");
    assert_eq!(problem("domain-search", ""), "has no value");
    assert_eq!(
        problem("static-route", "10.0.0.1"),
        "\"10.0.0.1\": addresses come in pairs"
    );
    assert_eq!(problem("121", "10.8.0.0/16"), "10.8.0.0/16 has no next hop");
    assert_eq!(
        problem("121", "10.8.0.0,10.7.1.9"),
        "\"10.8.0.0\" is not an IPv4 prefix"
    );
    assert_eq!(
        problem("domain-name", "a\nb"),
        "\"a\\nb\" has control characters"
    );
    assert_eq!(problem("19", "2"), "\"2\" is not 0 or 1");
    assert!(problem("23", "256").starts_with("\"256\": number too large"));
    assert_eq!(
        problem("224", "12"),
        "12: of how many bytes is it? Write them, as 0x.."
    );
    assert_eq!(problem("224", "0x123"), "\"0x123\" are not bytes");
    assert!(problem("51", "59").starts_with("59 is no lease time: 60 to 4294967294"));
    assert!(problem("51", "4294967295").contains("is no lease time"));
    assert!(problem("mtu", "1451").starts_with("an MTU of 1451 is not within 576 and 1450"));
    assert!(problem("mtu", "575").starts_with("an MTU of 575"));
    for own in ["0", "1", "50", "53", "54", "58", "61", "82", "255"] {
        assert!(
            problem(own, "1").contains("not the controller's to say"),
            "{own}"
        );
    }
    let label = "a".repeat(64);
    assert!(problem("119", &label).contains("aaaa"));
    let (lease, _) = Said::new()
        .extra(&[("6", "x"), ("15", "a.b")])
        .read()
        .unwrap();
    assert_eq!(
        (lease.options.get(6), lease.options.get(15).is_some()),
        (None, true)
    );
    let (_, problems) = Said::new().dns(&["10.0.0.1", "x"]).read().unwrap();
    let problem =
        "subnet_states[\"blue\"].configuration.dns_entry_list[1]: \"x\" is not an IPv4 address";
    assert_eq!(problems, [problem]);
    Said::new().extra(&[("option6:dns-server", "::1")]).lease();
}

#[test]
fn a_value_that_fits_into_no_message_is_refused_and_a_long_one_comes_in_parts() {
    let room = usize::from(MTU) - 28 - 240 - 40;
    let longest = room - 2 * room.div_ceil(257);
    let told = value("210", &"p".repeat(longest), 210);
    assert_eq!(told.len(), longest);
    let problem = problem("210", &"p".repeat(longest + 1));
    let expected = format!(
        "takes {} bytes, of which a message to this guest has {room}",
        room + 1
    );
    assert_eq!(problem, expected);
}

#[test]
fn a_lease_time_that_is_said_is_told() {
    let lease = Said::new().extra(&[("lease-time", "600")]).lease();
    assert_eq!((lease.seconds, lease.options.get(51)), (600, None));
}

#[test]
fn static_routes_have_a_default_route_and_both_numbers() {
    let told = |options: &[(&str, &str)]| {
        let lease = Said::new().extra(options).lease();
        [121, 249].map(|code| value_of(&lease, code).unwrap_or_default())
    };
    let default = [0, 10, 7, 1, 1];
    let [routes, microsoft] = told(&[("121", "10.8.0.0/13,10.7.1.9,10.9.9.9/32,0.0.0.0")]);
    let expected = [13, 10, 8, 10, 7, 1, 9, 32, 10, 9, 9, 9, 0, 0, 0, 0];
    assert_eq!(routes, [&expected[..], &default].concat());
    assert_eq!(microsoft, routes);
    // As it is said, if it is said.
    let each = told(&[("249", "0.0.0.0/0,10.7.1.9"), ("121", "0.0.0.0/0,10.7.1.8")]);
    assert_eq!(each, [[0, 10, 7, 1, 8], [0, 10, 7, 1, 9]]);
    let [routes, microsoft] = told(&[("249", "10.0.0.0/8,10.7.1.9")]);
    assert!(routes.is_empty());
    assert_eq!(microsoft, [&[8, 10, 10, 7, 1, 9], &default[..]].concat());
    let [routes, _] = told(&[("121", "10.0.0.0/8,10.7.1.9"), ("router", "10.7.1.5")]);
    assert_eq!(routes, [8, 10, 10, 7, 1, 9, 0, 10, 7, 1, 5]);
}

#[test]
fn who_boots_from_the_network_is_told_from_where() {
    let lease = |options: &[(&str, &str)]| Said::new().extra(options).lease();
    let told = lease(&[("tftp-server", "10.0.0.7"), ("bootfile-name", "pxelinux.0")]);
    let (from, server, file) = told.boot.clone();
    assert_eq!(from, Ipv4Addr::new(10, 0, 0, 7));
    assert_eq!((&*server, &*file), (&b"10.0.0.7"[..], &b"pxelinux.0"[..]));
    assert_eq!(value_of(&told, 66).unwrap(), b"10.0.0.7");
    assert_eq!(value_of(&told, 67).unwrap(), b"pxelinux.0");
    let told = lease(&[("150", "10.0.0.8,10.0.0.9"), ("66", "boot.example")]);
    assert_eq!(told.boot.0, Ipv4Addr::new(10, 0, 0, 8));
    let told = lease(&[("server-ip-address", "10.0.0.6"), ("66", "10.0.0.7")]);
    assert_eq!(told.boot.0, Ipv4Addr::new(10, 0, 0, 6));
    let (name, file) = ("n".repeat(64), "f".repeat(128));
    let told = lease(&[("66", &name), ("67", &file)]);
    assert_eq!(
        (told.boot.1.len(), told.boot.2.len()),
        (0, 0),
        "no room there"
    );
    let len = |code| value_of(&told, code).unwrap().len();
    assert_eq!((len(66), len(67)), (64, 128));
}

#[test]
fn what_a_guest_cannot_do_without_comes_first() {
    let options = [
        ("ntp-server", "10.0.0.1"),
        ("121", "10.8.0.0/13,10.7.1.9"),
        ("2", "60"),
    ];
    let lease = Said::new().dns(&["10.0.0.53"]).extra(&options).lease();
    let codes: Vec<_> = lease.options.codes().collect();
    assert_eq!(codes, [26, 121, 3, 6, 249, 42, 2, 28]);
}
