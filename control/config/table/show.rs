// SPDX-License-Identifier: MIT
//! Rows of `show`.

use super::super::argument::Value;
use super::super::command::{Command, Show};
use super::Part::Is;
use super::{PORTS, Spec, When};

/// A row of `show`.
macro_rules! show {
    ($word:literal, $what:expr, $summary:literal, $details:literal) => {
        Spec {
            parts: &[Is("show"), Is($word)],
            when: When::Running,
            summary: $summary,
            details: $details,
            build: make!([] => Command::Show($what)),
        }
    };
}

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[Is("show"), Is("port"), Is("info"), PORTS],
        when: When::Running,
        summary: "Shows a port's device: driver, MAC, link, MTU, queues, offloads",
        details: "",
        build: make!([Value::Ports(ports)] => Command::Show(Show::PortInfo(*ports))),
    },
    Spec {
        parts: &[Is("show"), Is("port"), Is("stats"), PORTS],
        when: When::Running,
        summary: "Shows a port's packets, bytes, drops and the device's errors",
        details: "Counted since start, or since `clear port stats`.",
        build: make!([Value::Ports(ports)] => Command::Show(Show::PortStats(*ports))),
    },
    show!(
        "ports",
        Show::Ports,
        "Shows each port: device, role, binding, state, and what it is told by DHCP",
        ""
    ),
    show!(
        "stats",
        Show::Stats,
        "Shows all ports' packets, bytes and drops",
        ""
    ),
    show!("vpcs", Show::Vpcs, "Shows the controller's VPCs", ""),
    show!(
        "subnets",
        Show::Subnets,
        "Shows the controller's subnets and their VNIs",
        ""
    ),
    show!(
        "neighbors",
        Show::Neighbors,
        "Shows the controller's neighbors and where they are",
        ""
    ),
    show!(
        "routes",
        Show::Routes,
        "Shows the routes of each subnet",
        ""
    ),
    show!(
        "security-groups",
        Show::SecurityGroups,
        "Shows the controller's security groups",
        "They are kept, and not enforced by this version."
    ),
    show!(
        "dhcp",
        Show::Dhcp,
        "Shows what the controller has ports told by DHCP and DHCPv6",
        "Of each DHCP state who it is for, what that guest is told, and whether workers tell it. `show ports` lists also \
those that are served since their subnet's `dhcp_enable` says so."
    ),
    show!(
        "gateways",
        Show::Gateways,
        "Shows the controller's gateways",
        "Those of type ZETA are used: what lacks a neighbor goes to one of the destinations of its VPC's gateways, as the guest sent \
it. The others are kept. `show port stats` counts `to_gateway`."
    ),
    show!(
        "goal-state",
        Show::GoalState,
        "Shows all that the controller wants, with a hash of each resource, and whether it is programmed",
        "\
With --json in the controller's own shape, as `alkaid push` reads it. Equal hashes, equal wishes: two hosts that were told \
the same have the same."
    ),
    show!(
        "drops",
        Show::Drops,
        "Shows dropped packets by port and reason",
        "Every packet that arrives and does not leave is here, under one reason."
    ),
    show!(
        "pending",
        Show::Pending,
        "Shows what the controller sent and the switch cannot program yet, and what it waits for",
        ""
    ),
    show!(
        "stale",
        Show::Stale,
        "Shows what the store kept over a restart and the controller has not sent since",
        "It forwards like everything else, until `set resync` ends it."
    ),
    show!(
        "memory",
        Show::Memory,
        "Shows the memory of tables and packet buffers",
        ""
    ),
    show!(
        "underlay",
        Show::Underlay,
        "Shows hosts and routers of the underlay that are asked for their MAC, by uplink",
        "\
Those that the goal state needs and neither it nor the configuration names a MAC for. `heard_s` is the time since they said \
something, `unanswered` how often they were asked since."
    ),
    show!(
        "on-demand",
        Show::OnDemand,
        "Shows what the controller was asked for, and what waits for its answers",
        "\
Counted since start: packets that missed, destinations asked for and found or not. As of now: packets held, destinations \
waited for, calls under way, unknown ones that are remembered, idle entries. Times are from a destination's first packet to \
its release, in microseconds, over the latest answers."
    ),
    show!(
        "workers",
        Show::Workers,
        "Shows each worker: core, queues, how busy it is",
        ""
    ),
    show!(
        "rxq",
        Show::Rxq,
        "Shows each receive queue: port, worker, NUMA nodes, packets, and what it takes of its worker's time",
        "\
`pps` and `load_percent` are of the last `seconds`, a minute at most and no longer than since a queue moved; for the first second \
they are not known, and `-`. The load is what the worker needs for bursts of this queue, from asking the device until all is sent; it \
is estimated of one round of 64, and exact in the long run."
    ),
    show!(
        "rebalance",
        Show::Rebalance,
        "Shows what `rebalance` would do: each worker's load and queues, now and then",
        ""
    ),
    show!(
        "health",
        Show::Health,
        "Shows whether the switch does what it is for, and why not",
        "\
`live`: the control thread answers. `ready`: also, workers forward and make progress, ports whose device is there are started, an uplink has a \
link, an interface has the address where the controller connects, and goal states are kept if they are to be. The same as /healthz and /readyz of `set metrics listen`."
    ),
    show!(
        "subscriptions",
        Show::Subscriptions,
        "Shows the message-queue topics that the controller subscribed this host to",
        "They are recorded and answered; no message queue is read."
    ),
    show!(
        "config",
        Show::Config,
        "Shows the settings in force, as commands",
        "Saved to a file, they start the same switch."
    ),
];
