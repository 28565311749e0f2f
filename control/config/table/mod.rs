// SPDX-License-Identifier: MIT
//! The command table: the one place that says which commands there are. Parsing, help, completion and
//! suggestions all read it, for files, `alkaid console` and `alkaid exec` alike.
//!
//! Where DPDK's testpmd has a command for the thing, it is that command with the same words.

use super::argument::{Argument, Kind, Value};
use super::command::Command;

/// A row's `build`: the command, if the values are these.
macro_rules! make {
    ([$($value:pat),*] => $command:expr) => {
        |values| match values {
            [$($value),*] => Some($command),
            _ => None,
        }
    };
}

mod controller;
mod general;
mod network;
mod on_demand;
mod ports;
mod replicated;
mod rules;
mod show;
mod vxlan;
mod work;
mod workers;

/// A word of a command: itself or a place for an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// This word.
    Is(&'static str),
    /// An argument.
    Arg(Argument),
}

/// When a command may be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// In the file that the switch starts with.
    Start,
    /// To a running switch.
    Running,
    /// Both.
    Always,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Its words.
    pub(crate) parts: &'static [Part],
    /// When it may be given.
    pub(crate) when: When,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// What an operator should know beyond that; may be empty.
    pub(crate) details: &'static str,
    /// The command, of its arguments' values in order. `None` only if a row contradicts itself, which a test
    /// excludes.
    pub(crate) build: fn(&[Value]) -> Option<Command>,
}

impl Spec {
    /// Its arguments, in order.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static Argument> {
        self.parts.iter().filter_map(|part| match part {
            Is(_) => None,
            Arg(argument) => Some(argument),
        })
    }

    /// Its words as help shows them, as in `set burst COUNT`.
    pub(crate) fn syntax(&self) -> String {
        let mut text = String::new();
        for part in self.parts {
            if !text.is_empty() {
                text.push(' ');
            }
            match part {
                Is(word) => text.push_str(word),
                Arg(argument) if argument.kind == Kind::Topic => {
                    text.push_str(&format!("[{}]", argument.name))
                }
                Arg(argument) if argument.kind.takes_the_rest() => {
                    text.push_str(&format!("{}...", argument.name))
                }
                Arg(argument) => text.push_str(argument.name),
            }
        }
        text
    }
}

use Part::{Arg, Is};

/// Rows that belong together.
pub(crate) struct Group {
    /// Their heading in help.
    pub(crate) title: &'static str,
    /// The rows.
    pub(crate) rows: &'static [Spec],
}

/// All rows, in groups.
pub(crate) static GROUPS: &[Group] = &[
    Group {
        title: "DPDK and workers",
        rows: workers::ROWS,
    },
    Group {
        title: "Ports",
        rows: ports::ROWS,
    },
    Group {
        title: "Guests' ports",
        rows: rules::ROWS,
    },
    Group {
        title: "Workers at work",
        rows: work::ROWS,
    },
    Group {
        title: "Underlay and controller",
        rows: network::ROWS,
    },
    Group {
        title: "Outer header",
        rows: vxlan::ROWS,
    },
    Group {
        title: "Broadcast and multicast",
        rows: replicated::ROWS,
    },
    Group {
        title: "Asking the controller",
        rows: on_demand::ROWS,
    },
    Group {
        title: "Edges of the controller's contract",
        rows: controller::ROWS,
    },
    Group {
        title: "What is going on",
        rows: show::ROWS,
    },
    Group {
        title: "General",
        rows: general::ROWS,
    },
];

/// All rows.
pub(crate) fn rows() -> impl Iterator<Item = &'static Spec> + Clone {
    GROUPS.iter().flat_map(|group| group.rows)
}

const fn arg(name: &'static str, kind: Kind, about: &'static str) -> Part {
    Arg(Argument { name, kind, about })
}

const PORT: Part = arg(
    "PORT",
    Kind::Port,
    "a port: the first `port attach` makes port 0, the next port 1, ...; later ones take the lowest number that is free",
);
const PORTS: Part = arg(
    "PORT|all",
    Kind::Ports,
    "a port's number, or all ports that are attached",
);

/// When `command` may be given.
pub(crate) fn when(command: &Command) -> When {
    // By its words, so that nothing but the table says so.
    let words = super::lexer::cut(&command.to_string()).words;
    let spec = super::parse::after(&words)
        .ok()
        .and_then(|state| state.specs().next());
    spec.map_or(When::Always, |spec| spec.when)
}
