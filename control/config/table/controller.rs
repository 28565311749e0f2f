// SPDX-License-Identifier: MIT
//! Rows for what an Alcor controller expects besides goal states, for transport security, and for goal states from
//! files.

use std::path::PathBuf;

use super::super::argument::{Kind, Value};
use super::super::command::{ClientTls, Command, ServerTls, Setting, TlsFiles};
use super::Part::Is;
use super::{Part, Spec, When, arg};

const CERT: Part = arg(
    "CERT",
    Kind::Path,
    "this switch's certificate and those between it and the authority's, PEM",
);
const KEY: Part = arg(
    "KEY",
    Kind::Path,
    "the private key of that certificate, PEM",
);
const CA: Part = arg(
    "CA",
    Kind::Path,
    "the authorities that the other side's certificate may be of, PEM",
);

const SERVER_DETAILS: &str = "\
For `set southbound listen` and `set subscribe listen`. A caller needs a certificate of the authority; with names, one \
of them must be a DNS name of its certificate, or its common name. Files are read again when they change and on \
SIGHUP: connections made from then on use them. If the new ones are wrong, the log says so and the old ones stay.";

const CLIENT_DETAILS: &str = "\
The manager's certificate must be of the authority, and be for NAME; without one, for the address of `set ncm`. Files \
are read for each connection that is made.";

/// The files of a row.
fn files(cert: &str, key: &str, ca: &str) -> TlsFiles {
    let [cert, key, ca] = [cert, key, ca].map(PathBuf::from);
    TlsFiles { cert, key, ca }
}

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[
            Is("set"),
            Is("southbound"),
            Is("tls"),
            Is("cert"),
            CERT,
            Is("key"),
            KEY,
            Is("ca"),
            CA,
        ],
        when: When::Start,
        summary: "Takes calls only over TLS, of callers with a certificate; default: plain, from anyone",
        details: SERVER_DETAILS,
        build: make!([Value::Text(cert), Value::Text(key), Value::Text(ca)] => Command::Set(
            Setting::SouthboundTls(ServerTls { files: files(cert, key, ca), allow: Vec::new() })
        )),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("southbound"),
            Is("tls"),
            Is("cert"),
            CERT,
            Is("key"),
            KEY,
            Is("ca"),
            CA,
            Is("allow"),
            arg(
                "NAMES",
                Kind::Names,
                "callers: DNS names or common names of their certificates",
            ),
        ],
        when: When::Start,
        summary: "Takes calls only over TLS, of callers with a certificate of one of these names",
        details: SERVER_DETAILS,
        build: make!([Value::Text(cert), Value::Text(key), Value::Text(ca), Value::Names(allow)] => Command::Set(
            Setting::SouthboundTls(ServerTls { files: files(cert, key, ca), allow: allow.clone() })
        )),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("subscribe"),
            Is("listen"),
            arg(
                "ADDR:PORT",
                Kind::Socket,
                "address and TCP port; an Alcor controller connects to port 50002",
            ),
        ],
        when: When::Start,
        summary: "Sets where the controller says which message-queue topics to listen to (gRPC)",
        details: "\
Default: nowhere; 0.0.0.0:50002 when the switch is started with the Alcor Control Agent's flags. What comes is recorded, \
answered, and shown by `show subscriptions`; no message queue is read.",
        build: make!([Value::Socket(address)] => Command::Set(Setting::Subscribe(Some(*address)))),
    },
    Spec {
        parts: &[Is("set"), Is("subscribe"), Is("off")],
        when: When::Start,
        summary: "Takes no subscriptions: the default, but with the Alcor Control Agent's flags",
        details: "",
        build: make!([] => Command::Set(Setting::Subscribe(None))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("ncm"),
            Is("tls"),
            Is("cert"),
            CERT,
            Is("key"),
            KEY,
            Is("ca"),
            CA,
        ],
        when: When::Start,
        summary: "Talks to the network configuration manager over TLS, with a certificate",
        details: CLIENT_DETAILS,
        build: make!([Value::Text(cert), Value::Text(key), Value::Text(ca)] => Command::Set(
            Setting::NcmTls(ClientTls { files: files(cert, key, ca), name: None })
        )),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("ncm"),
            Is("tls"),
            Is("cert"),
            CERT,
            Is("key"),
            KEY,
            Is("ca"),
            CA,
            Is("name"),
            arg("NAME", Kind::Text, "the name in the manager's certificate"),
        ],
        when: When::Start,
        summary: "Talks over TLS to a network configuration manager whose certificate has this name",
        details: CLIENT_DETAILS,
        build: make!([Value::Text(cert), Value::Text(key), Value::Text(ca), Value::Text(name)] => Command::Set(
            Setting::NcmTls(ClientTls { files: files(cert, key, ca), name: Some(name.clone()) })
        )),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("goal-state"),
            Is("watch"),
            arg(
                "PATH",
                Kind::Path,
                "a file, or a folder of `*.json` and `*.pb`; default: none",
            ),
        ],
        when: When::Start,
        summary: "Applies the goal states of a file or folder, at start and whenever one changes",
        details: "\
Those of a folder in the order of their names, except those that begin with a dot. JSON as `alkaid push` takes it, or \
the message itself (`*.pb`). A file is read once it has not changed for a second, or at once when it is moved there \
complete. To remove a file removes nothing: that takes a goal state with DELETE.",
        build: make!([Value::Text(path)] => Command::Set(Setting::GoalStateWatch(PathBuf::from(path)))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("metrics-log"),
            arg(
                "on|off",
                Kind::OnOff,
                "default off; on with the Alcor Control Agent's flags",
            ),
        ],
        when: When::Start,
        summary: "Logs size and times of each goal state in the Alcor Control Agent's words ([METRICS])",
        details: "",
        build: make!([Value::OnOff(on)] => Command::Set(Setting::MetricsLog(*on))),
    },
];
