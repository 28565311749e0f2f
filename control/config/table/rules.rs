// SPDX-License-Identifier: MIT
//! Rows for what holds at a guest's port.

use super::super::argument::{Kind, Value};
use super::super::command::Command;
use super::super::rule::PortRule;
use super::Part::Is;
use super::{PORTS, Spec, When, arg};

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[
            Is("port"),
            Is("config"),
            PORTS,
            Is("anti-spoofing"),
            arg(
                "on|off",
                Kind::OnOff,
                "default: what `set anti-spoofing` says",
            ),
        ],
        when: When::Always,
        summary: "Says of one port whether its guest sends from its own addresses only",
        details: "\
What it then may send is said by `help set anti-spoofing`. It holds for the port, whichever of the controller's ports it is \
bound to, and at once. OpenStack knows this as port_security_enabled; Alcor's schema has no field for it.",
        build: make!([Value::Ports(ports), Value::OnOff(on)] => Command::PortRule { ports: *ports, rule: PortRule::AntiSpoofing(Some(*on)) }),
    },
    Spec {
        parts: &[
            Is("port"),
            Is("config"),
            PORTS,
            Is("anti-spoofing"),
            Is("default"),
        ],
        when: When::Always,
        summary: "Has a port do as `set anti-spoofing` says (the default)",
        details: "",
        build: make!([Value::Ports(ports)] => Command::PortRule { ports: *ports, rule: PortRule::AntiSpoofing(None) }),
    },
    Spec {
        parts: &[Is("port"), Is("config"), PORTS, Is("vlan"), Is("pass")],
        when: When::Always,
        summary: "Carries a guest's frames with VLAN tags, and gives it those of others",
        details: "\
The tag stays as it is, inside VXLAN too (RFC 7348 section 6.1), and frames are switched by their MACs in the first of the \
port's subnets. They reach guests whose port says so too. Anti-spoofing holds behind one tag as without, and drops what has two. \
The switch answers nothing behind a tag (ARP, DHCP, gateways), and nobody is told of what is too long; an MTU counts the 4 bytes \
of a tag. Outer headers have a DSCP of 0, unless `set vxlan dscp` says another, and no ECN.",
        build: make!([Value::Ports(ports)] => Command::PortRule { ports: *ports, rule: PortRule::Vlan { pass: true } }),
    },
    Spec {
        parts: &[Is("port"), Is("config"), PORTS, Is("vlan"), Is("drop")],
        when: When::Always,
        summary: "Drops frames with VLAN tags from and to a guest (the default)",
        details: "They are counted as `vlan_tagged`.",
        build: make!([Value::Ports(ports)] => Command::PortRule { ports: *ports, rule: PortRule::Vlan { pass: false } }),
    },
];
