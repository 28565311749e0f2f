// SPDX-License-Identifier: MIT
//! The clients, against a switch that only notes what it is told, and against a southbound server that answers.

mod agent;
mod arguments;
mod commands;
mod goals;
mod pushes;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{SocketArgs, Streams};

/// A stream that keeps what is written to it.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// What was written since the last call.
    pub(super) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Streams, and what is written to them: stdout and stderr.
pub(super) fn streams() -> (Streams, Kept, Kept) {
    let (out, err) = (Kept::default(), Kept::default());
    (
        Streams {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            failed: None,
        },
        out,
        err,
    )
}

pub(super) fn at(path: &Path) -> SocketArgs {
    SocketArgs {
        socket: Some(path.to_owned()),
    }
}
