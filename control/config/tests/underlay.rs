// SPDX-License-Identifier: MIT
//! Tunnel endpoints, and what fits them.

use super::start_up::{error, settings};

#[test]
fn the_underlay_must_fit_the_tunnel_endpoint() {
    let vtep = "port attach net_null0\nset vtep 192.0.2.1/24 port 0\n";
    let mac = "02:00:00:00:00:01";
    assert!(error(&format!("{vtep}set underlay neighbor 192.0.2.1 {mac}")).contains("own address"));
    assert!(error(&format!("{vtep}set underlay gateway 192.0.2.1 {mac}")).contains("own address"));
    assert!(
        error(&format!("{vtep}set underlay gateway 198.51.100.1 {mac}"))
            .contains("not on the uplink's link 192.0.2.0/24")
    );
    assert!(
        error("port attach net_null0\nset vtep 192.0.2.255/24 port 0")
            .contains("no host's address")
    );
    assert!(settings("port attach net_null0\nset vtep 192.0.2.0/31 port 0").is_ok());
    let sized = |mtu: u16| format!("{vtep}port config 0 mtu {mtu}");
    assert!(error(&sized(117)).contains("MTU of 117 leaves guests less"));
    assert!(settings(&sized(118)).is_ok());
}

#[test]
fn a_host_may_have_a_tunnel_endpoint_of_each_version_of_ip() {
    let four = "port attach net_null0\nset vtep 192.0.2.1/24 port 0\n";
    let six = "set vtep 2001:db8::1/64 port 0\n";
    let both = format!(
        "{four}{six}set underlay gateway 192.0.2.254\nset underlay gateway fe80::1\n\
         set underlay neighbor 2001:db8::2 02:00:00:00:00:02\nset vxlan udp6-checksum on\n"
    );
    let both = settings(&both).unwrap();
    let underlay = both.underlay().unwrap();
    assert_eq!(underlay.vtep, Some([192, 0, 2, 1].into()));
    assert_eq!(underlay.vtep6, Some("2001:db8::1".parse().unwrap()));
    assert!(underlay.tunnel.udp6_checksum && underlay.encapsulation() == 70);
    let again: Vec<_> = both.commands().iter().map(ToString::to_string).collect();
    assert_eq!(settings(&again.join("\n")).unwrap(), both);
    let alone = settings(&format!("port attach net_null0\n{six}")).unwrap();
    assert_eq!(alone.underlay().unwrap().vtep, None);

    let twice = error(&format!("{four}{six}set vtep 2001:db8::2/64 port 0"));
    assert!(
        twice.contains("`set vtep IPV6/LEN` is given twice"),
        "{twice}"
    );
    let anycast = error("port attach net_null0\nset vtep 2001:db8::/64 port 0");
    assert!(anycast.contains("no host's address"), "{anycast}");
    assert!(settings("port attach net_null0\nset vtep 2001:db8::/127 port 0").is_ok());
    let mac = "02:00:00:00:00:01";
    for needs in [
        format!("set underlay gateway fe80::1 {mac}"),
        format!("set underlay neighbor 2001:db8::2 {mac}"),
    ] {
        let conflict = error(&format!("{four}{needs}"));
        assert!(
            conflict.contains("reached from an IPv6 address only"),
            "{conflict}"
        );
    }
    let needs = format!("port attach net_null0\n{six}set underlay neighbor 192.0.2.9 {mac}");
    assert!(error(&needs).contains("reached from an IPv4 address only"));
    let own = error(&format!(
        "{four}{six}set underlay neighbor 2001:db8::1 {mac}"
    ));
    assert!(own.contains("own address"), "{own}");
    let off = error(&format!("{four}{six}set underlay gateway 2001:db8:1::1"));
    assert!(
        off.contains("not on the uplink's link 2001:db8::/64"),
        "{off}"
    );
    let sized = |mtu: u16| format!("{four}{six}port config 0 mtu {mtu}");
    assert!(error(&sized(1279)).contains("IPv6's least of 1280 bytes"));
    assert!(settings(&sized(1280)).is_ok());
}

#[test]
fn the_controller_is_asked_from_the_tunnel_endpoint_of_its_own_kind() {
    let both =
        "port attach net_null0\nset vtep 192.0.2.1/24 port 0\nset vtep 2001:db8::1/64 port 0\n";
    for (ncm, from) in [("192.0.2.9", "192.0.2.1"), ("2001:db8::9", "2001:db8::1")] {
        let settings = settings(&format!("{both}set ncm {ncm}")).unwrap();
        assert_eq!(settings.asking_source(), Some(from.parse().unwrap()));
    }
}
