// SPDX-License-Identifier: MIT
//! Files of commands, and what they `load`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::command::Command;
use super::error::{ConfigError, ConfigErrors, LoadError};
use super::line::{Line, Place, Source};
use super::parse::parse_line;

/// Largest file, in bytes: some 100,000 lines of `set underlay neighbor`.
pub(crate) const MAX_FILE: u64 = 4 << 20;

/// How deep `load` may nest.
pub(crate) const MAX_DEPTH: usize = 8;

/// Most files that one file may load, directly or not, each time counted.
pub(crate) const MAX_FILES: usize = 64;

/// The commands of a file, those of the files it loads in the place of its `load` lines.
///
/// # Errors
/// All that are in the files.
pub(crate) fn parse_file(path: &Path) -> Result<Vec<(Line, Command)>, ConfigErrors> {
    let mut reading = Reading::default();
    match reading.open(path) {
        Ok(source) => reading.commands_of(&Arc::new(source), path.parent()),
        Err(error) => reading.errors.push(ConfigError {
            place: None,
            fault: error.into(),
            notes: Vec::new(),
        }),
    }
    reading.finish(path.display().to_string())
}

/// The commands of a text that an operator would call `name`. Relative paths after `load` are of the process's
/// working folder.
///
/// # Errors
/// All that are in the text and the files it loads.
pub(crate) fn parse_text(name: &str, text: &str) -> Result<Vec<(Line, Command)>, ConfigErrors> {
    let mut reading = Reading::default();
    reading.commands_of(
        &Arc::new(Source {
            name: name.to_owned(),
            text: text.to_owned(),
        }),
        None,
    );
    reading.finish(name.to_owned())
}

/// The command of one line, which errors call line `number` of `name`; `load` is not followed. `None`: it is empty or only a
/// comment.
///
/// # Errors
/// It is no command.
pub(crate) fn parse_command(
    name: &str,
    number: usize,
    line: &str,
) -> Result<Option<Command>, ConfigErrors> {
    parse_line(line).map_err(|error| {
        let text = line.lines().next().unwrap_or_default().to_owned();
        let line = Line::only(name.to_owned(), number, text);
        let error = ConfigError::syntax(line, error);
        let name = name.to_owned();
        ConfigErrors {
            name,
            errors: vec![error],
        }
    })
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    /// The files that are being read, each loaded by the one before, without `.`, `..` and symbolic links.
    open: Vec<PathBuf>,
    files: usize,
    commands: Vec<(Line, Command)>,
    errors: Vec<ConfigError>,
}

impl Reading {
    fn finish(self, name: String) -> Result<Vec<(Line, Command)>, ConfigErrors> {
        if self.errors.is_empty() {
            Ok(self.commands)
        } else {
            Err(ConfigErrors {
                name,
                errors: self.errors,
            })
        }
    }

    fn commands_of(&mut self, source: &Arc<Source>, folder: Option<&Path>) {
        for line in Line::all(source) {
            match parse_line(line.text()) {
                Ok(None) => {}
                Ok(Some(Command::Load(path))) => {
                    self.load(&line, &folder.map_or(path.clone(), |f| f.join(&path)))
                }
                Ok(Some(command)) => self.commands.push((line, command)),
                Err(error) => {
                    self.errors.push(ConfigError::syntax(line, error));
                }
            }
        }
    }

    fn load(&mut self, line: &Line, path: &Path) {
        match self.open(path) {
            Ok(source) => {
                self.commands_of(&Arc::new(source), path.parent());
                self.open.pop();
            }
            Err(error) => {
                let place = Some(Place::whole(line));
                self.errors.push(ConfigError {
                    place,
                    fault: error.into(),
                    notes: Vec::new(),
                });
            }
        }
    }

    /// Reads a file and enters it in `open`; on an error that is as before.
    fn open(&mut self, path: &Path) -> Result<Source, LoadError> {
        let read = |error| LoadError::Read {
            path: path.to_owned(),
            error,
        };
        let real = path.canonicalize().map_err(read)?;
        if let Some(first) = self.open.iter().position(|open| *open == real) {
            let circle = self.open[first..]
                .iter()
                .chain([&real])
                .map(|path| path.display().to_string());
            return Err(LoadError::Circle(circle.collect::<Vec<_>>().join(" -> ")));
        }
        if self.open.len() > MAX_DEPTH {
            return Err(LoadError::TooDeep);
        }
        if self.files > MAX_FILES {
            return Err(LoadError::TooMany);
        }
        // Asked before it is opened: to open a pipe waits for its other end.
        if !real.metadata().map_err(read)?.is_file() {
            return Err(LoadError::NotAFile(path.to_owned()));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(&real)
            .map_err(read)?
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(LoadError::TooLarge(path.to_owned()));
        }
        self.files += 1;
        self.open.push(real);
        // What is not UTF-8 becomes U+FFFD, which the lexer refuses and points at.
        Ok(Source {
            name: path.display().to_string(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}
