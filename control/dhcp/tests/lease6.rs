// SPDX-License-Identifier: MIT
//! What a guest is told by DHCPv6. Options are read by other code than wrote them.

use std::net::Ipv6Addr;

use dhcproto::v6::{DhcpOption, DhcpOptions, NtpSuboption, OptionCode};
use dhcproto::{Decodable, Decoder};

use super::*;

pub(super) const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 1, 0, 0, 0, 0x10);
const SECOND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 1, 0, 0, 0, 0x20);

/// The same for the subnet being IPv6.
pub(super) fn azure() -> Said {
    let mut said = Said::new();
    said.subnet.cidr = "2001:db8:7:1::/64".into();
    said.subnet.gateway = Some(Gateway {
        ip_address: "2001:db8:7:1::1".into(),
        mac_address: GATEWAY.to_string(),
    });
    said.port.fixed_ips = vec![fixed_ip("blue", "2001:db8:7:1::10")];
    said
}

fn with_state(address: &str, host_name: &str) -> Said {
    let mut said = azure().state("", host_name);
    said.dhcp.as_mut().unwrap().ipv6_address = address.into();
    said
}

#[track_caller]
fn lease(said: Said) -> Lease6 {
    let (lease, problems) = said.read6().unwrap();
    assert_eq!(problems, [""; 0]);
    lease
}

/// All options but that of how long they are good.
#[track_caller]
fn options(said: Said) -> Vec<DhcpOption> {
    let lease = lease(said);
    let wire = lease.options.iter().flat_map(|(_, wire)| wire.to_vec());
    let wire: Vec<u8> = wire.collect();
    let options = DhcpOptions::decode(&mut Decoder::new(&wire)).unwrap();
    let refresh = |option: &DhcpOption| u16::from(OptionCode::from(option)) == 32;
    options
        .into_iter()
        .filter(|option| !refresh(option))
        .collect()
}

#[track_caller]
fn value(name: &str, text: &str) -> DhcpOption {
    options(azure().extra(&[(name, text)])).remove(0)
}

#[track_caller]
fn problem(name: &str, text: &str) -> String {
    let (_, problems) = azure().extra(&[(name, text)]).read6().unwrap();
    let [problem] = &problems[..] else {
        panic!("{problems:?}")
    };
    let place = "subnet_states[\"blue\"].configuration.extra_dhcp_options[0]: ";
    problem.strip_prefix(place).unwrap().to_owned()
}

#[test]
fn a_guest_is_told_its_ports_addresses_by_its_gateway() {
    let mut said = azure();
    said.port
        .fixed_ips
        .push(fixed_ip("blue", "2001:db8:7:1::20"));
    let told = lease(said);
    assert_eq!(*told.addresses, [ADDRESS, SECOND]);
    assert_eq!(
        (told.mac, told.server_mac, told.seconds),
        (GUEST, GATEWAY, 86_400)
    );
    assert_eq!(told.subnet, "2001:db8:7:1::/64".parse().unwrap());
    assert_eq!(told.server_id(), [0, 3, 0, 1, 0, 0, 0x5e, 0, 1, 1]);
    let refresh = [0, 32, 0, 4, 0, 1, 0x51, 0x80];
    assert_eq!(*told.options, [(32, refresh.into())]);
    let mut said = azure();
    said.subnet.gateway = None;
    assert_eq!(
        lease(said).server_mac,
        Mac::new([0xfe, 0, 0x20, 6, 0x0d, 0xb9])
    );
}

#[test]
fn either_dhcp_enable_or_a_state_is_enough_and_a_state_chooses() {
    let mut said = azure();
    said.subnet.dhcp_enable = false;
    let off = "subnet blue: dhcp_enable is off, and no DHCP state is for the port's MAC";
    assert_eq!(said.read6().unwrap_err().to_string(), off);
    let two = |state: &str| {
        let mut said = with_state(state, "");
        said.subnet.dhcp_enable = false;
        said.port
            .fixed_ips
            .push(fixed_ip("blue", "2001:db8:7:1::20"));
        said
    };
    assert_eq!(*lease(two("2001:db8:7:1::20")).addresses, [SECOND]);
    let (told, problems) = two("2001:db8:7:1::30").read6().unwrap();
    assert_eq!(*told.addresses, [ADDRESS, SECOND]);
    let problem = "dhcp_states[\"uuid\"].configuration.ipv6_address: \"2001:db8:7:1::30\" is not the port's: its own are served";
    assert_eq!(problems, [problem]);
    let mut for_ipv4 = two("");
    for_ipv4.dhcp.as_mut().unwrap().ipv4_address = "10.7.1.10".into();
    assert_eq!(*lease(for_ipv4).addresses, [ADDRESS, SECOND]);
}

#[test]
fn addresses_that_contradict_the_subnet_are_not_served() {
    let mut said = azure();
    said.port.fixed_ips = vec![fixed_ip("blue", "2001:db8:7:2::10")];
    let why = "subnet blue: 2001:db8:7:2::10 is not in its cidr, 2001:db8:7:1::/64";
    assert_eq!(said.read6().unwrap_err().to_string(), why);
    let mut said = azure();
    said.port
        .fixed_ips
        .push(fixed_ip("blue", "2001:db8:7:2::10"));
    let (told, problems) = said.read6().unwrap();
    assert_eq!(*told.addresses, [ADDRESS]);
    let problem = "subnet_states[\"blue\"].configuration: one port has 2001:db8:7:2::10, which is not in 2001:db8:7:1::/64 and is not told";
    assert_eq!(problems, [problem]);
    let mut said = azure();
    said.port.fixed_ips = vec![fixed_ip("red", "2001:db8:7:2::10")];
    assert_eq!(said.read6().unwrap_err(), NoLease::NoIpv6);
    assert_eq!(Said::new().read6().unwrap_err(), NoLease::NoIpv6);
    assert_eq!(azure().read().unwrap_err(), NoLease::NoAddress);
    let mut said = azure();
    let many = (0..9).map(|n| fixed_ip("blue", &format!("2001:db8:7:1::1:{n}")));
    said.port.fixed_ips = many.collect();
    let (told, problems) = said.read6().unwrap();
    assert_eq!(told.addresses.len(), 8);
    let problem = "subnet_states[\"blue\"].configuration: one port has 9 addresses there, of which 8 are told";
    assert_eq!(problems, [problem]);
}

#[test]
fn dns_servers_and_options_become_options() {
    let servers = vec!["2001:db8::53".parse().unwrap(), "fe80::53".parse().unwrap()];
    let dns = DhcpOption::DomainNameServers(servers.clone());
    assert_eq!(
        options(azure().dns(&["2001:db8::53", "10.0.0.53", "fe80::53"])),
        std::slice::from_ref(&dns)
    );
    for name in ["option6:dns-server", "option6:23", "dns-server", "23"] {
        let said = azure()
            .dns(&["2001:db8::54"])
            .extra(&[(name, "2001:db8::53, fe80::53")]);
        assert_eq!(options(said), std::slice::from_ref(&dns), "{name}");
    }
    let names = |all: &[&str]| all.iter().map(|name| name.parse().unwrap()).collect();
    let search = names(&["example.com.", "a.example.org."]);
    assert_eq!(
        value("option6:domain-search", "example.com,a.example.org"),
        DhcpOption::DomainSearchList(search)
    );
    let url = DhcpOption::Unknown(dhcproto::v6::UnknownOption::new(
        OptionCode::OptBootfileUrl,
        b"tftp://[::1]/a b".to_vec(),
    ));
    assert_eq!(value("option6:bootfile-url", "tftp://[::1]/a b"), url);
    let params = b"\x00\x02-v\x00\x03x=1".to_vec();
    let params = DhcpOption::Unknown(dhcproto::v6::UnknownOption::new(
        OptionCode::OptBootfileParam,
        params,
    ));
    assert_eq!(value("option6:bootfile-param", "-v, x=1"), params);
    let time = DhcpOption::NtpServer(vec![
        NtpSuboption::ServerAddress("2001:db8::123".parse().unwrap()),
        NtpSuboption::MulticastAddress("ff05::101".parse().unwrap()),
        NtpSuboption::FQDN("ntp.example.com.".parse().unwrap()),
    ]);
    assert_eq!(
        value(
            "option6:ntp-server",
            "2001:db8::123,ff05::101 ntp.example.com"
        ),
        time
    );
    let bytes = |code: u16, value: &[u8]| {
        DhcpOption::Unknown(dhcproto::v6::UnknownOption::new(
            code.into(),
            value.to_vec(),
        ))
    };
    assert_eq!(value("option6:999", "0x0102ff"), bytes(999, &[1, 2, 255]));
    assert_eq!(value("999", "01:02:ff"), bytes(999, &[1, 2, 255]));
    assert_eq!(
        value("999", "::1"),
        bytes(999, &Ipv6Addr::LOCALHOST.octets())
    );
    assert_eq!(value("999", "text"), bytes(999, b"text"));
}

#[test]
fn what_has_its_own_place_is_no_option() {
    for name in ["mtu", "26", "option:mtu", "option:router"] {
        assert_eq!(options(azure().extra(&[(name, "1400")])), [], "{name}");
    }
    for name in ["lease-time", "option:lease-time", "option:51"] {
        let told = lease(azure().extra(&[(name, "60")]));
        assert_eq!(told.seconds, 60);
        assert_eq!(*told.options, [(32, [0, 32, 0, 4, 0, 0, 2, 0x58].into())]);
    }
    let said = azure().extra(&[("option6:information-refresh-time", "7200")]);
    assert_eq!(
        *lease(said).options,
        [(32, [0, 32, 0, 4, 0, 0, 0x1c, 0x20].into())]
    );
}

#[test]
fn a_host_name_is_told_whole_or_in_part() {
    let name = |name: &str| {
        let lease = lease(with_state("2001:db8:7:1::10", name));
        lease
            .options
            .iter()
            .find(|option| option.0 == 39)
            .map(|option| option.1.to_vec())
    };
    assert_eq!(name("web-1").unwrap(), b"\x00\x27\x00\x07\x04\x05web-1");
    assert_eq!(
        name("a.example").unwrap(),
        b"\x00\x27\x00\x0c\x04\x01a\x07example\x00"
    );
    assert_eq!(name(""), None);
    let (_, problems) = with_state("2001:db8:7:1::10", "a b").read6().unwrap();
    assert_eq!(
        problems,
        ["dhcp_states[\"uuid\"].configuration.port_host_name: \"a b\" is no host name"]
    );
}

#[test]
fn the_important_comes_first_and_no_more_than_there_is_room_for() {
    let said = with_state("2001:db8:7:1::10", "web").dns(&["2001:db8::53"]);
    let said = said.extra(&[
        ("999", "x"),
        ("59", "u"),
        ("22", "::1"),
        ("24", "example.com"),
    ]);
    let codes: Vec<_> = lease(said).options.iter().map(|option| option.0).collect();
    assert_eq!(codes, [23, 24, 59, 39, 32, 22, 999]);
    let long = "x".repeat(2000);
    let problem = problem("999", &long);
    assert!(
        problem.starts_with("takes 2000 bytes, of which a message has "),
        "{problem}"
    );
    let names: Vec<_> = (1000..1100).map(|code| code.to_string()).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, "x")).collect();
    let (told, problems) = azure()
        .extra(&many)
        .state("10.7.1.10", "web")
        .read6()
        .unwrap();
    assert_eq!(told.options.len(), Lease6::MAX_OPTIONS);
    assert_eq!(problems.len(), 100 - (Lease6::MAX_OPTIONS - 2));
    assert!(
        problems[0].ends_with("extra_dhcp_options[62]: is one option too many"),
        "{}",
        problems[0]
    );
}

#[test]
fn what_is_said_wrong_is_named() {
    for (name, text, expected) in [
        (
            "option6:no-such",
            "1",
            "\"option6:no-such\" is no DHCPv6 option",
        ),
        ("router", "10.0.0.1", "\"router\" is no DHCPv6 option"),
        (
            "option6:dns-server",
            "10.0.0.53",
            "\"10.0.0.53\" is not an IPv6 address",
        ),
        ("option6:dns-server", " ", "has no value"),
        (
            "option6:ntp-server",
            "10.0.0.1",
            "10.0.0.1 is not an IPv6 address",
        ),
        (
            "option6:nis-domain",
            "a b",
            "\"a b\" is not one domain name",
        ),
        ("option6:domain-search", ".", "\".\" is no domain name"),
        (
            "option6:ia-na",
            "1",
            "is not the controller's to say: it follows from other fields",
        ),
        (
            "option6:999",
            "7",
            "7: of how many bytes is it? Write them, as 0x..",
        ),
        (
            "lease-time",
            "59",
            "59 is no lease time: 60 to 4294967294 seconds are",
        ),
    ] {
        assert_eq!(problem(name, text), expected);
    }
    assert!(problem("option6:32", "x").starts_with("\"x\": "));
}
