// SPDX-License-Identifier: MIT
//! Rows for forwarding, files, logs and help.

use std::path::PathBuf;

use super::super::argument::{Kind, Value};
use super::super::command::{Command, Setting};
use super::super::log::LogFormat;
use super::Part::Is;
use super::{Spec, When, arg};

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[
            Is("set"),
            Is("control"),
            Is("socket"),
            arg(
                "PATH",
                Kind::Path,
                "default /run/alkaid.sock for root, else alkaid.sock in $XDG_RUNTIME_DIR",
            ),
        ],
        when: When::Start,
        summary: "Sets the Unix socket of `alkaid exec`, `console` and `show`",
        details: "Only the user that the switch runs as may open it. Clients find another path by `--socket PATH`.",
        build: make!([Value::Text(path)] => Command::Set(Setting::ControlSocket(PathBuf::from(path)))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("log"),
            arg(
                "LEVEL",
                Kind::Level,
                "error, warn, info, debug or trace; default info",
            ),
        ],
        when: When::Always,
        summary: "Sets how much is logged to stderr",
        details: "Libraries debug themselves only at `trace`. The environment variable RUST_LOG wins over it at start, and over nothing that is set later.",
        build: make!([Value::Level(level)] => Command::Set(Setting::Log(*level))),
    },
    Spec {
        parts: &[Is("set"), Is("log"), Is("format"), Is("text")],
        when: When::Start,
        summary: "Logs lines for people: the default",
        details: "",
        build: make!([] => Command::Set(Setting::LogFormat(LogFormat::Text))),
    },
    Spec {
        parts: &[Is("set"), Is("log"), Is("format"), Is("json")],
        when: When::Start,
        summary: "Logs a JSON object a line: timestamp, level, target, message, and what it is about as fields",
        details: "DPDK's own lines too, with the target `dpdk`. What is wrong with the start-up file is told as text.",
        build: make!([] => Command::Set(Setting::LogFormat(LogFormat::Json))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("metrics"),
            Is("listen"),
            arg(
                "ADDR:PORT",
                Kind::Socket,
                "address and TCP port; default: nowhere",
            ),
        ],
        when: When::Start,
        summary: "Sets where figures and health are told by HTTP: /metrics for Prometheus, /healthz, /readyz",
        details: "\
Without TLS and for anyone who can connect: an address of the management network, or 127.0.0.1. docs/metrics.md lists all \
metrics.",
        build: make!([Value::Socket(address)] => Command::Set(Setting::Metrics(Some(*address)))),
    },
    Spec {
        parts: &[Is("set"), Is("metrics"), Is("off")],
        when: When::Start,
        summary: "Tells figures and health nowhere: the default",
        details: "",
        build: make!([] => Command::Set(Setting::Metrics(None))),
    },
    Spec {
        parts: &[Is("start")],
        when: When::Always,
        summary: "Starts forwarding",
        details: "Without it in the start-up file, ports and controller are served and no packet moves.",
        build: make!([] => Command::Start),
    },
    Spec {
        parts: &[Is("stop")],
        when: When::Running,
        summary: "Stops forwarding",
        details: "Ports stay up, goal states are still taken, packets stay in the devices' queues.",
        build: make!([] => Command::Stop),
    },
    Spec {
        parts: &[
            Is("load"),
            arg(
                "FILE",
                Kind::Path,
                "its path; in a file, relative to that file's folder",
            ),
        ],
        when: When::Always,
        summary: "Executes the commands of a file",
        details: "The whole file is checked first: if a line is wrong, none is executed.",
        build: make!([Value::Text(path)] => Command::Load(PathBuf::from(path))),
    },
    Spec {
        parts: &[
            Is("help"),
            arg(
                "COMMAND",
                Kind::Topic,
                "the first words of a command; all commands without it",
            ),
        ],
        when: When::Running,
        summary: "Explains commands",
        details: "",
        build: make!([Value::Words(topic)] => Command::Help(topic.clone())),
    },
    Spec {
        parts: &[Is("quit")],
        when: When::Running,
        summary: "Ends the switch; in the console, only the console",
        details: "`alkaid exec quit` ends the switch: forwarding stops, ports are closed, the process exits.",
        build: make!([] => Command::Quit),
    },
];
