// SPDX-License-Identifier: MIT
//! `alkaid doctor`: whether this machine is fit for a configuration, what is wrong with it, and the command that mends it.
//!
//! Nothing is changed and nothing is started: everything is read from `/proc` and `/sys` ([`host`]).

mod cores;
mod devices;
mod host;
mod memory;
mod system;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::config::Settings;
pub(crate) use host::Host;

/// How serious it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// The switch runs, and is slower, or loses packets, or has less protection.
    Warning,
    /// The switch does not start, or carries nothing.
    Wrong,
}

/// What was found out about one thing.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    /// Of what: `hugepages`, `port 0`.
    pub(crate) about: String,
    /// How serious it is.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) found: String,
    /// The command or setting that mends it, unless it is fine.
    pub(crate) mend: Option<String>,
}

impl Finding {
    fn ok(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            verdict: Verdict::Ok,
            found: found.into(),
            mend: None,
        }
    }

    fn warning(
        about: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Warning,
            mend: Some(mend.into()),
            ..Self::ok(about, found)
        }
    }

    fn wrong(about: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Wrong,
            mend: Some(mend.into()),
            ..Self::ok(about, found)
        }
    }

    /// As `--json` says it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "about": self.about,
            "verdict": self.verdict.word(),
            "found": self.found,
            "mend": self.mend,
        })
    }
}

impl Verdict {
    /// `ok`, `warning` or `wrong`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        }
    }
}

/// Examines a machine for a configuration.
pub(crate) fn examine(host: &Host, settings: &Settings) -> Vec<Finding> {
    let mut findings = system::examine(host);
    findings.extend(memory::examine(host, settings));
    findings.extend(cores::examine(host, settings));
    findings.extend(devices::examine(host, settings));
    findings
}
