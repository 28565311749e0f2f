// SPDX-License-Identifier: MIT
//! The configuration language: testpmd's manner, one command per line, the same in files, `alkaid console` and
//! `alkaid exec`.
//!
//! * [`table`] says which commands there are: **start there**. [`argument`] what their arguments may be.
//! * [`lexer`] line to words; [`parse`] words to a [`Command`] ([`rule`] has those of guests' ports); [`mod@file`] files to commands, `load` included.
//! * [`affinity`] which workers poll a port's queues; [`work`] how they do.
//! * [`subport`] ports that are VLANs of others; [`gateway`] routers of the underlay; [`vport`] devices for ports that the controller
//!   describes.
//! * [`settings`] a start-up file's commands to one [`Settings`], contradictions found.
//! * [`help`] and [`complete`] explain and complete, from the table.
//! * [`line`](mod@line) a place in a file; [`error`] every error has its file, line and column; all of a file are reported, and nothing of it is applied.

pub(crate) mod affinity;
pub(crate) mod argument;
pub(crate) mod command;
pub(crate) mod complete;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod gateway;
pub(crate) mod help;
pub(crate) mod lexer;
pub(crate) mod line;
mod log;
pub(crate) mod parse;
pub(crate) mod rule;
pub(crate) mod settings;
pub(crate) mod subport;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod vport;
pub(crate) mod work;

use std::path::Path;

pub(crate) use command::{ClientTls, Command, PortItem, Ports, ServerTls, Setting, Show, TlsFiles};
pub(crate) use error::ConfigErrors;
pub(crate) use file::{parse_command, parse_file, parse_text};
pub(crate) use line::Line;
pub(crate) use log::{Level, LogFormat};
#[cfg(test)]
pub(crate) use settings::Vtep;
pub(crate) use settings::{
    Conflict, DEFAULT_SOUTHBOUND, NCM_PORT, OnDemand, PortSettings, Settings,
};
pub(crate) use subport::SubportError;

/// The settings that a start-up file makes of `base`.
///
/// # Errors
/// All that are in the file and in those that it loads.
pub(crate) fn read(path: &Path, base: Settings) -> Result<Settings, ConfigErrors> {
    let name = path.display().to_string();
    base.with_commands(&parse_file(path)?)
        .map_err(|errors| ConfigErrors { name, ..errors })
}
