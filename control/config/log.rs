// SPDX-License-Identifier: MIT
//! How much is logged ([`Level`]), and what a line looks like ([`LogFormat`]).

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Level {
    /// What makes the switch fail.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And what happens once: starts, stops, connections.
    #[default]
    Info,
    /// And what explains them: streams that broke, the store's work.
    Debug,
    /// Everything.
    Trace,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object, for programs.
    Json,
}

impl LogFormat {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Level {
    /// All, from little to much.
    pub(crate) const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The word for it, which `tracing` and `RUST_LOG` use as well.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
