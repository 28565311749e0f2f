// SPDX-License-Identifier: MIT
//! Alkaid: a DPDK virtual switch for cloud hosts, programmed by an Alcor controller.
//!
//! The program. Two paths run through it, and each can be read in a straight line:
//!
//! * a **packet**: `vswitch::worker`, one stage a line;
//! * a **goal state**: [`southbound`] receives and validates, [`state`] is what the controller wants, [`program`]
//!   turns that into edits of the tables, [`core`] commits and answers.
//!
//! [`switch`] brings both up from a configuration ([`config`]); [`northbound`] and [`cli`] are for operators.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod core;
mod dataset;
mod northbound;
mod ondemand;
mod program;
mod proto;
mod replay;
mod run;
mod southbound;
mod state;
mod store;
mod switch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, EXIT_FAILED, EXIT_OK, EXIT_USAGE, Subcommands};
use config::Settings;

/// A decoded goal state is many small pieces; this allocator frees them several times faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Subcommands::Run(args) => with_settings(&args.file, run::run),
        Subcommands::Replay(args) => {
            with_settings(&args.config, |settings| replay::run(settings, &args))
        }
        Subcommands::Client(client) => client.run(),
    }
}

/// Reads a configuration, and does something with it if nothing in it is wrong.
fn with_settings(
    file: &std::path::Path,
    body: impl FnOnce(Settings) -> Result<bool, Box<dyn std::error::Error>>,
) -> ExitCode {
    let settings = match config::read(file) {
        Ok(settings) => settings,
        Err(errors) => {
            eprintln!("{:?}", miette::Report::new(errors));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    log_to_stderr(&settings);
    match body(settings) {
        Ok(true) => ExitCode::from(EXIT_OK),
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            tracing::error!("{}: {error}", file.display());
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Logs to stderr, as much as `set log` says; the variable `RUST_LOG` says it more finely.
fn log_to_stderr(settings: &Settings) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(settings.log.word()));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .init();
}
