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

mod audit;
mod capture;
mod cli;
mod config;
mod core;
mod dataset;
mod dhcp;
mod doctor;
mod explain;
mod families;
mod goal_watch;
mod listener;
mod log;
mod northbound;
mod ondemand;
mod program;
mod proto;
mod replay;
mod run;
mod server;
mod southbound;
mod stamp;
mod state;
mod store;
mod switch;
mod tls;
mod underlay;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::agent::{Agent, AgentFlags};
use cli::{Cli, EXIT_FAILED, EXIT_OK, EXIT_USAGE, Subcommands};
use config::Settings;

/// A decoded goal state is many small pieces, which this allocator frees several times faster than the system's. It also asks
/// the kernel for huge pages, so that look-ups among a million neighbors need no walk through the page tables.
#[cfg(not(test))] // tests count
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if Agent::is_called() {
        return with_settings(&Agent::file(), Some(&Agent::parse().flags), run::run);
    }
    match Cli::parse().command {
        Subcommands::Run(args) => {
            let flags = args.agent.are_given().then_some(&args.agent);
            with_settings(&args.file, flags, run::run)
        }
        Subcommands::Replay(args) => {
            with_settings(&args.config, None, |settings| replay::run(settings, &args))
        }
        Subcommands::Client(client) => client.run(),
    }
}

/// Reads a configuration, and does something with it if nothing in it is wrong. Flags of the Alcor Control Agent win over
/// it.
fn with_settings(
    file: &std::path::Path,
    flags: Option<&AgentFlags>,
    body: impl FnOnce(Settings) -> Result<bool, Box<dyn std::error::Error>>,
) -> ExitCode {
    let base = flags.map_or_else(Settings::default, |_| Settings::of_agent());
    let read =
        config::read(file, base).map_err(|errors| format!("{:?}", miette::Report::new(errors)));
    let settings = read.and_then(|settings| match flags {
        Some(flags) => flags
            .applied(settings)
            .map_err(|error| format!("alkaid: {error}")),
        None => Ok(settings),
    });
    let settings = match settings {
        Ok(settings) => settings,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    log::start(&settings);
    for ignored in flags.iter().flat_map(|flags| flags.ignored()) {
        tracing::warn!("{ignored}");
    }
    match body(settings) {
        Ok(true) => ExitCode::from(EXIT_OK),
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            tracing::error!("{}: {error}", file.display());
            ExitCode::from(EXIT_FAILED)
        }
    }
}
