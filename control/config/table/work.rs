// SPDX-License-Identifier: MIT
//! Rows for how workers work, also while they do.

use super::super::argument::{Kind, Value};
use super::super::command::{Command, Setting};
use super::super::work::{DEFAULT_SLEEP, WorkSetting};
use super::Part::Is;
use super::{PORTS, Spec, When, arg};

/// Longest sleep, in microseconds. Nothing waits for a worker longer than for one that is preempted.
const MAX_SLEEP: u32 = 1000;

/// Most frames per second to the host port.
const MAX_RATE: u32 = 10_000_000;

const fn work(setting: WorkSetting) -> Command {
    Command::Set(Setting::Work(setting))
}

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[Is("set"), Is("poll"), Is("busy")],
        when: When::Always,
        summary: "Has workers poll without a pause (the default)",
        details: "Each takes all of its core, and what arrives is seen at once.",
        build: make!([] => work(WorkSetting::Poll(None))),
    },
    Spec {
        parts: &[Is("set"), Is("poll"), Is("adaptive")],
        when: When::Always,
        summary: "Has workers sleep while nothing arrives, for 50 microseconds at once at most",
        details: "\
After 512 rounds in vain a worker sleeps for a microsecond, then for twice as long each time. What arrives then waits until it \
ends, and until the kernel has woken the worker (make latency measures it); from then on it polls until nothing arrives again. A \
worker with packets all the time never sleeps. Receive queues (`rxd` of `port config`) have to hold what may come in that time. \
Devices' receive interrupts are not used: many virtual ones have none.",
        build: make!([] => work(WorkSetting::Poll(Some(DEFAULT_SLEEP)))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("poll"),
            Is("adaptive"),
            Is("max-sleep"),
            arg(
                "MICROSECONDS",
                Kind::Number(1, MAX_SLEEP),
                "the longest sleep; default 50",
            ),
        ],
        when: When::Always,
        summary: "The same with another longest sleep",
        details: "",
        build: make!([Value::Number(us)] => work(WorkSetting::Poll(Some(*us)))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("host"),
            Is("rate"),
            arg(
                "PPS",
                Kind::Number(1, MAX_RATE),
                "frames per second of each worker; default 100000",
            ),
        ],
        when: When::Always,
        summary: "Limits what goes from the uplink to the host port",
        details: "\
Each frame to the kernel takes a system call of a worker's time, which a flood would take from the guests. What is too much is dropped as \
`host_limited`. A quarter of what may come at once is for ARP and neighbor discovery alone, and another for these and TCP, so \
that a flood of anything else holds up neither them nor the controller's connection. What the host sends is not limited.",
        build: make!([Value::Number(rate)] => work(WorkSetting::HostRate(Some(*rate)))),
    },
    Spec {
        parts: &[Is("set"), Is("host"), Is("rate"), Is("off")],
        when: When::Always,
        summary: "Gives the host port all that is for it",
        details: "",
        build: make!([] => work(WorkSetting::HostRate(None))),
    },
    Spec {
        parts: &[
            Is("port"),
            Is("config"),
            PORTS,
            Is("rxq-affinity"),
            arg(
                "QUEUE:CORE,...",
                Kind::Affinity,
                "receive queues and the cores of the workers that poll them; `none` for no queue; default: none",
            ),
        ],
        when: When::Always,
        summary: "Says which workers poll a port's receive queues",
        details: "\
`rebalance` leaves these queues where they are. Other queues go to the worker that has fewest when the port starts, on the NUMA \
node of its device if any is there. At once, also on a running port. In the start-up file this follows the `port attach` that \
makes the port.",
        build: make!([Value::Ports(ports), Value::Affinity(affinity)] =>
            Command::Affinity { ports: *ports, affinity: affinity.clone() }),
    },
    Spec {
        parts: &[Is("rebalance")],
        when: When::Running,
        summary: "Moves receive queues from workers with much to do to those with little",
        details: "\
By what each queue took of its worker's time over the last minute, or since a queue moved, which has to be a second ago (`show \
rxq`); `show rebalance` says what it would do. Queues stay on the NUMA node of their device, if it has a worker, and where their \
`rxq-affinity` has them. A queue is moved between two rounds: nothing is lost, and what was taken from it before leaves before, \
unless a device with several transmit queues turns that around.",
        build: make!([] => Command::Rebalance),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("rebalance"),
            Is("auto"),
            arg("on|off", Kind::OnOff, "default off"),
        ],
        when: When::Always,
        summary: "Has `rebalance` done by itself where a worker is overloaded",
        details: "\
Once a minute at most: when a worker was busy for 90 % of it, and that would be 10 % less.",
        build: make!([Value::OnOff(on)] => work(WorkSetting::Rebalance(*on))),
    },
];
