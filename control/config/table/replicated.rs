// SPDX-License-Identifier: MIT
//! Rows for head-end replication.

use super::super::argument::{Kind, Value};
use super::super::command::{Command, Setting};
use super::Part::Is;
use super::{Part, Spec, When, arg};
use crate::core::DEFAULT_RATE;

/// Most frames per second.
const MAX_RATE: u32 = 1_000_000;

const SUBNET: Part = arg(
    "ID|all",
    Kind::Text,
    "the controller's id of a subnet, which may come later; or all subnets of which nothing else is said",
);

/// The setting of a subnet.
fn replicate(subnet: &str, rate: Option<u32>) -> Command {
    let subnet = Some(subnet).filter(|subnet| *subnet != "all");
    let subnet = subnet.map(str::to_owned);
    Command::Set(Setting::Replicate { subnet, rate })
}

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[Is("set"), Is("replicate"), Is("subnet"), SUBNET, Is("on")],
        when: When::Always,
        summary: "Copies broadcast and multicast of a subnet's guests to all others that are known",
        details: "\
To each other guest of the subnet on this host, and once to each other host that the controller names a neighbor of the subnet \
on, 512 at most, which has to have it on too (head-end replication). At most 100 frames per second, guest and worker are copied, \
and as many at once; others are dropped as `replication_limited`. What the switch answers itself is not copied: ARP, neighbor and \
router solicitations, DHCP. Nor are requests by ARP or neighbor solicitations for addresses that the controller did not name. \
Anti-spoofing holds before. Subnets that share a VNI are one broadcast domain, as far as it is on in them.",
        build: make!([Value::Text(subnet)] => replicate(subnet, Some(DEFAULT_RATE))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("replicate"),
            Is("subnet"),
            SUBNET,
            Is("on"),
            Is("rate"),
            arg(
                "PPS",
                Kind::Number(1, MAX_RATE),
                "frames per second of each guest that each worker copies; default 100",
            ),
        ],
        when: When::Always,
        summary: "The same, at most so many frames per second",
        details: "It counts frames that guests send, not copies.",
        build: make!([Value::Text(subnet), Value::Number(rate)] => replicate(subnet, Some(*rate))),
    },
    Spec {
        parts: &[Is("set"), Is("replicate"), Is("subnet"), SUBNET, Is("off")],
        when: When::Always,
        summary: "Drops broadcast and multicast of a subnet (the default)",
        details: "They are counted as `not_flooded`.",
        build: make!([Value::Text(subnet)] => replicate(subnet, None)),
    },
];
