// SPDX-License-Identifier: MIT
//! Rows for destinations that the controller is asked for.

use super::super::argument::{Kind, Value};
use super::super::command::{Command, OnDemandSetting, Setting};
use super::super::settings::NCM_PORT;
use super::Part::Is;
use super::{Spec, When, arg};

/// A row of `set on-demand` with a number.
macro_rules! number {
    ($word:literal, $what:ident, $name:literal, $range:expr, $about:literal, $summary:literal, $details:literal) => {
        Spec {
            parts: &[
                Is("set"),
                Is("on-demand"),
                Is($word),
                arg($name, Kind::Number($range.0, $range.1), $about),
            ],
            when: When::Start,
            summary: $summary,
            details: $details,
            build: make!([Value::Number(n)] => Command::Set(Setting::OnDemand(OnDemandSetting::$what(*n)))),
        }
    };
}

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[
            Is("set"),
            Is("ncm"),
            arg(
                "ADDR[:PORT]",
                Kind::Server(NCM_PORT),
                "Alcor's network configuration manager; default: none, port 9016",
            ),
        ],
        when: When::Start,
        summary: "Names the controller that is asked for unknown destinations (gRPC)",
        details: "\
A guest's first packet to a destination that no goal state names waits while the controller is asked for it \
(RequestGoalStates), and goes on when its goal state is here. Without this setting such packets are dropped and counted as \
`unknown_mac` or `unknown_neighbor`. The controller is also told once that this switch has started.",
        build: make!([Value::Socket(address)] => Command::Set(Setting::Ncm(*address))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("ncm"),
            Is("source"),
            arg(
                "ADDR",
                Kind::OwnAddress,
                "default: the address of `set vtep`",
            ),
        ],
        when: When::Start,
        summary: "Sets the address that the controller is asked from",
        details: "\
The controller pushes its answers to the address that the question came from, so it must be the one that it knows this \
host by.",
        build: make!([Value::OwnAddress(address)] => Command::Set(Setting::NcmSource(*address))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("on-demand"),
            arg(
                "on|off",
                Kind::OnOff,
                "default on, where there is a `set ncm`",
            ),
        ],
        when: When::Start,
        summary: "Sets whether the controller is asked for unknown destinations",
        details: "",
        build: make!([Value::OnOff(on)] => Command::Set(Setting::OnDemand(OnDemandSetting::On(*on)))),
    },
    number!(
        "hold",
        Hold,
        "MS",
        (1, 60_000),
        "milliseconds; default 2000",
        "Sets how long a packet waits for the controller's answer",
        "\
Up to 16 packets wait for one destination, and all in all as many as an eighth of `set mbufs`; what comes after is counted \
as `on_demand_full`, what waits for too long as `on_demand_expired`."
    ),
    number!(
        "rate",
        Rate,
        "COUNT",
        (1, 10_000_000),
        "destinations per second; default 1000",
        "Sets how many destinations the controller is asked for in a second",
        "A tenth of that at once. Further ones wait for their turn, as long as `set on-demand hold` says."
    ),
    number!(
        "negative",
        Negative,
        "SECONDS",
        (1, 3_600),
        "seconds; default 10",
        "Sets how long a destination is not asked for again that the controller does not know",
        "Packets to it are counted as `on_demand_unknown`."
    ),
    number!(
        "idle",
        Idle,
        "SECONDS",
        (0, 86_400),
        "seconds; default 60; 0 keeps it for ever",
        "Sets how long a destination that was asked for is kept without use",
        "\
Use is told by asking: after that time the entry is set aside, and put back when a packet misses it, which delays that \
packet; after as long again it is forgotten. What the controller sends of its own accord stays."
    ),
];
