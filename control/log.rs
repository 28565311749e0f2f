// SPDX-License-Identifier: MIT
//! The log on stderr: what is written, which an operator may change while the switch runs, and how.

use std::io;
use std::sync::OnceLock;

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};
use vswitch::dpdk::Severity;

use crate::config::{Level, LogFormat, Settings};
use crate::core;

/// The program's only log, once it is written.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    filter: Handle<EnvFilter, Registry>,
    /// `set metrics-log`.
    metrics: bool,
}

/// Begins it, as much as `set log` says; the variable `RUST_LOG` says it more finely.
pub(crate) fn start(settings: &Settings) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| of_level(settings.log));
    let metrics = settings.metrics_log;
    let (filter, handle) = reload::Layer::new(with_metrics(filter, metrics));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => {
            let terminal = io::IsTerminal::is_terminal(&io::stderr());
            lines.with_ansi(terminal).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    let _ = LOG.set(Log {
        filter: handle,
        metrics,
    });
    if settings.log_format == LogFormat::Json {
        vswitch::dpdk::log_to(log_of_dpdk);
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    }
}

/// Writes as much as this from now on, whatever `RUST_LOG` said.
pub(crate) fn set_level(level: Level) {
    if let Some(log) = LOG.get() {
        // It fails only without the subscriber, which stays until the program ends.
        let _ = log
            .filter
            .reload(with_metrics(of_level(level), log.metrics));
    }
}

fn of_level(level: Level) -> EnvFilter {
    EnvFilter::new(match level {
        // Not each frame of each connection: an Alcor controller always starts its agents with -d.
        Level::Debug => "info,alkaid=debug",
        level => level.word(),
    })
}

/// Those lines are written however much else is, or never: scripts read them.
fn with_metrics(filter: EnvFilter, on: bool) -> EnvFilter {
    let level = if on { "info" } else { "off" };
    match format!("{}={level}", core::METRICS).parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// A line of DPDK's log, as one of ours.
fn log_of_dpdk(severity: Severity, line: &str) {
    match severity {
        Severity::Error => tracing::error!(target: "dpdk", "{line}"),
        Severity::Warning => tracing::warn!(target: "dpdk", "{line}"),
        Severity::Info => tracing::info!(target: "dpdk", "{line}"),
        Severity::Debug => tracing::debug!(target: "dpdk", "{line}"),
    }
}
