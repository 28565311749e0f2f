// SPDX-License-Identifier: MIT
//! Two uplinks, and what is of which.

use std::net::IpAddr;

use vswitch::tables::{PortId, Uplink};
use vswitch::wire::Mac;

use super::start_up::{error, settings};
use crate::config::Settings;

const PORTS: &str = "port attach net_null0\nport attach net_null1\nport attach net_null2\n";
const TWO: &str = "set vtep 192.0.2.1/24 port 0\nset vtep 198.51.100.1/24 port 2\n";

fn two(more: &str) -> Settings {
    settings(&format!("{PORTS}{TWO}{more}")).unwrap()
}

fn wrong(more: &str) -> String {
    error(&format!("{PORTS}{TWO}{more}"))
}

fn port(n: u16) -> PortId {
    PortId::new(n).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn two_uplinks_have_a_tunnel_endpoint_each() {
    let two = two("set vtep 2001:db8::1/64 port 2\nset vxlan vlan 5");
    let underlay = two.underlay().unwrap();
    assert_eq!(
        (underlay.uplink, underlay.vtep),
        (port(0), Some([192, 0, 2, 1].into()))
    );
    let second = Uplink {
        port: port(2),
        vtep: Some([198, 51, 100, 1].into()),
        vtep6: "2001:db8::1".parse().ok(),
    };
    assert_eq!(underlay.second, Some(second));
    assert_eq!(underlay.encapsulation(), 70, "on either");
    assert_eq!(two.asking_source(), Some(ip("192.0.2.1")));
    let again: Vec<_> = two.commands().iter().map(ToString::to_string).collect();
    assert_eq!(settings(&again.join("\n")).unwrap(), two);
}

#[test]
fn there_are_two_uplinks_at_most_and_no_host_port_with_them() {
    assert_eq!(
        wrong("set vtep 203.0.113.1/24 port 1"),
        "f:6:1: there are 2 uplinks at most, and this is another (f:4:1: the first uplink)"
    );
    assert!(wrong("set vtep 203.0.113.1/24 port 2").contains("`set vtep` is given twice"));
    assert_eq!(
        error(&format!(
            "{PORTS}set vtep 192.0.2.1/24 port 0\nset vtep 192.0.2.1/24 port 1"
        )),
        "f:5:1: 192.0.2.1 is this host's own address (f:4:1: the tunnel endpoint)"
    );
    assert!(wrong("set host port 1").contains("with several uplinks there is no host port"));
    assert!(
        wrong("port bind 2 a").contains("port 2 cannot be both (f:5:1: here it is the uplink)")
    );
    assert!(wrong("set portlist 0").contains("port 2 is not in `set portlist`"));
    assert!(wrong("port config 2 vlan pass").contains("port 2 is no guest's"));
    assert!(wrong("port config 2 mtu 100").contains("MTU of 100 leaves guests less"));
    let six = "set vtep 2001:db8::1/64 port 0\nport config 2 mtu 1279";
    assert!(
        wrong(six).contains("IPv6's least"),
        "the least counts on both"
    );
}

#[test]
fn a_gateway_is_of_the_uplink_whose_link_it_is_on() {
    let gateways = |more: &str| -> Vec<Option<IpAddr>> {
        let Ok(site) = two(more).site(|_| Ok::<_, ()>((Mac::default(), 1500))) else {
            unreachable!()
        };
        let links = site.uplinks.iter();
        let links = links.flat_map(|uplink| uplink.links.iter().copied().collect::<Vec<_>>());
        links
            .map(|link| link.gateway.map(|(gateway, _)| gateway))
            .collect()
    };
    let (first, second) = ("192.0.2.254", "198.51.100.254");
    let gateway = |ip: &str| format!("set underlay gateway {ip}\n");
    assert_eq!(gateways(""), [None, None]);
    assert_eq!(gateways(&gateway(second)), [None, Some(ip(second))]);
    let both = gateway(second) + &gateway(first);
    assert_eq!(gateways(&both), [Some(ip(first)), Some(ip(second))]);
    let six = "set vtep 2001:db8::1/64 port 0\nset vtep 2001:db8::2/64 port 2\n";
    let local = Some(ip("fe80::1"));
    assert_eq!(
        gateways(&(six.to_owned() + &gateway("fe80::1"))),
        [None, local, None, local]
    );
    assert!(wrong(&gateway("203.0.113.9")).contains("not on the uplink's link 192.0.2.0/24"));
    assert!(wrong(&gateway("198.51.100.1")).contains("own address"));
    let twice = wrong(&(gateway(second) + &gateway("198.51.100.253")));
    assert!(twice.contains("`set underlay gateway` is given twice (f:6:1: first here)"));
    // A link of one address alone is everybody's: which router is whose is to be said.
    let alone = |more: &str| {
        let alone = TWO.replace("/24", "/32");
        settings(&format!("{PORTS}{alone}{more}"))
    };
    let at = |ip: &str, port: u16| format!("set underlay gateway {ip} port {port}\n");
    let site = alone(&(at(second, 2) + &at(first, 0))).unwrap();
    let again: Vec<_> = site.commands().iter().map(ToString::to_string).collect();
    assert_eq!(settings(&again.join("\n")).unwrap(), site);
    let site = site.site(|_| Ok::<_, ()>((Mac::default(), 1500))).unwrap();
    let found = site.uplinks.iter().map(|it| it.links.v4.unwrap().gateway);
    assert!(found.eq([first, second].map(|it| Some((ip(it), None)))));
    assert!(alone(&(gateway(second) + &at(first, 0))).is_err());
    assert_eq!(
        wrong(&at(first, 1)),
        "f:6:1: port 1 is no uplink: no `set vtep` names it"
    );
    assert!(wrong(&at(first, 2)).contains("not on the uplink's link 198.51.100.0/24"));
    assert!(wrong(&at("fe80::1", 2)).contains("reached from an IPv6 address only"));
    let own = wrong("set underlay neighbor 198.51.100.1 02:00:00:00:00:01");
    assert!(own.contains("own address (f:5:1: the tunnel endpoint)"));
}

#[test]
fn the_least_mtu_counts_and_a_hosts_mac_is_of_its_own_link() {
    let neighbor = |ip: &str| format!("set underlay neighbor {ip} 02:00:00:00:00:09\n");
    let near = neighbor("192.0.2.9") + &neighbor("203.0.113.9");
    let link = |at: PortId| {
        let mtu = if at == port(0) { 1600 } else { 1550 };
        Ok::<_, ()>((Mac::new([2, 0, 0, 0, 0, at.get() as u8]), mtu))
    };
    let site = two(&near).site(link).unwrap();
    assert_eq!(site.tenant_mtu(), 1500);
    let [first, second] = &site.uplinks[..] else {
        unreachable!()
    };
    assert_eq!((first.mtu, second.mtu), (1550, 1550));
    assert_eq!(second.mac, Mac::new([2, 0, 0, 0, 0, 2]));
    assert_eq!((first.neighbors.len(), second.neighbors.len()), (2, 1));
    assert!(second.neighbors.contains_key(&ip("203.0.113.9")));
}
