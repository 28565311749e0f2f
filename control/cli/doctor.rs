// SPDX-License-Identifier: MIT
//! `doctor`: what [`crate::doctor`] finds, for people or as JSON.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::{DoctorArgs, EXIT_FAILED, EXIT_OK, EXIT_USAGE, Streams};
use crate::config::{Settings, read};
use crate::doctor::{Finding, Host, Verdict, examine};

/// Where the service's configuration is.
const DEFAULT: &str = "/etc/alkaid/alkaid.conf";

/// Examines this machine; 1 if something is wrong.
pub(super) fn run(args: &DoctorArgs, streams: &mut Streams) -> u8 {
    let default = Path::new(DEFAULT);
    let file = args.file.as_deref().or(default.exists().then_some(default));
    let settings = match file.map_or_else(
        || Ok(Settings::default()),
        |it| read(it, Settings::default()),
    ) {
        Ok(settings) => settings,
        Err(errors) => {
            streams.err(&format!("{:?}\n", miette::Report::new(errors)));
            return EXIT_USAGE;
        }
    };
    let findings = examine(&Host::new("/"), &settings);
    streams.out(&match args.json {
        true => format!("{}\n", Value::from_iter(findings.iter().map(Finding::json))),
        false => text(&findings, file),
    });
    match findings.iter().any(|it| it.verdict == Verdict::Wrong) {
        true => EXIT_FAILED,
        false => EXIT_OK,
    }
}

fn text(findings: &[Finding], file: Option<&Path>) -> String {
    let mut text = match file {
        Some(file) => format!("This machine, for {}:\n", file.display()),
        None => "This machine, for a switch with default settings and no ports:\n".to_owned(),
    };
    for finding in findings {
        let _ = writeln!(
            text,
            "{:8} {}: {}",
            finding.verdict.word(),
            finding.about,
            finding.found
        );
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "{:8} -> {mend}", "");
        }
    }
    text
}
