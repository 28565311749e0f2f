// SPDX-License-Identifier: MIT
//! `completions` and `man`: made of the command line's own description, for the package.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, EXIT_FAILED, EXIT_OK, Streams};

/// Prints what a shell completes.
pub(super) fn completions(shell: Shell, streams: &mut Streams) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "alkaid", &mut script);
    streams.out(&String::from_utf8_lossy(&script));
    EXIT_OK
}

/// Writes `alkaid.1`, and a page for each of its commands.
pub(super) fn pages(folder: &Path, streams: &mut Streams) -> u8 {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    match written {
        Ok(()) => EXIT_OK,
        Err(error) => {
            streams.err(&format!("alkaid: {}: {error}\n", folder.display()));
            EXIT_FAILED
        }
    }
}
