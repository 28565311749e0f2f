// SPDX-License-Identifier: MIT
//! Ports that are VLANs of others, in start-up files.

use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;

use super::start_up::{error, settings};

#[test]
fn subports_are_ports_in_the_order_of_their_lines() {
    let text = "port attach net_null0\nport attach net_null1\nport attach vlan101@1\nport attach net_null2\n\
                port attach vlan0102@1\nport config all rxq 2\nport config all vlan pass\nset promisc all on\n\
                port bind 2 p-2\nset portlist 0,1\nset vtep 192.0.2.1/24 port 0";
    let made = settings(text).unwrap();
    let rxq: Vec<_> = made.ports.iter().map(|port| port.rxq).collect();
    assert_eq!(rxq, [Some(2), Some(2), None, Some(2), None]);
    let subports: Vec<_> = made.ports.iter().map(|port| port.subport()).collect();
    let parent = PortId::new(1).unwrap();
    let of = |vlan| Some(Subport { parent, vlan });
    assert_eq!(subports, [None, None, of(101), None, of(102)]);
    assert!(made.ports[2].rules.takes_tags && made.ports[2].promisc.is_none());
    // What it is shown as makes it again.
    let shown: String = (made.commands().iter())
        .map(|command| format!("{command}\n"))
        .collect();
    assert_eq!(settings(&shown).unwrap(), made);
}

#[test]
fn what_a_subport_cannot_be_is_said_with_its_line() {
    let with = |text: &str| {
        error(&format!(
            "port attach net_null0\nport attach net_null1\nset vtep 192.0.2.1/24 port 0\n{text}"
        ))
    };
    for (text, line, expected) in [
        ("port attach vlan0@1", 4, "`vlan0@1` is no subport"),
        ("port attach vlan5@2", 4, "there is no port 2 before it"),
        (
            "port attach vlan5@1\nport attach vlan6@2",
            5,
            "port 2 is a subport itself",
        ),
        (
            "port attach vlan5@1\nport attach vlan05@1",
            5,
            "`vlan5@1` is port 2 already",
        ),
        ("port attach vlan5@0", 3, "which have no subports"),
        (
            "port attach vlan5@1\nset host port 2",
            5,
            "port 2 is a subport: it has no device to be",
        ),
        (
            "port attach vlan5@1\nport config 2 mtu 1400",
            5,
            "port 2 is a subport, `vlan5@1`, and has no device: say it of port 1",
        ),
        (
            "port attach vlan5@1\nset portlist 0,1,2",
            5,
            "has no device",
        ),
        (
            "port attach vlan5@1\nport bind 2 p\nset portlist 0",
            5,
            "port 2 is not in `set portlist`",
        ),
    ] {
        let error = with(text);
        assert!(
            error.starts_with(&format!("f:{line}:")) && error.contains(expected),
            "{text}: {error}"
        );
    }
}
