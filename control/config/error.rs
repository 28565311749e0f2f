// SPDX-License-Identifier: MIT
//! What is wrong with a configuration: every error with its file, line and column.

use std::fmt;
use std::path::PathBuf;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use super::line::{Line, Place};
use super::parse::{Problem, SyntaxError, or};
use super::settings::Conflict;

/// Why a file's commands cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A device, a pipe or a folder: reading it may never end.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Larger than any configuration is.
    #[error("{} is larger than {} MiB", .0.display(), super::file::MAX_FILE >> 20)]
    TooLarge(PathBuf),
    /// Files load each other in a circle.
    #[error("the files load each other in a circle: {0}")]
    Circle(String),
    /// Files load files load files ...
    #[error("`load` is nested more than {} deep", super::file::MAX_DEPTH)]
    TooDeep,
    /// Too many files in all.
    #[error("more than {} files are loaded", super::file::MAX_FILES)]
    TooMany,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A line is no command.
    #[error("{}", .0.problem)]
    Syntax(SyntaxError),
    /// A file cannot be loaded.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// A command contradicts the others.
    #[error("{0}")]
    Conflict(#[from] Conflict),
}

/// One error.
#[derive(Debug)]
pub(crate) struct ConfigError {
    /// Where. `None`: it is about the configuration as a whole.
    pub(crate) place: Option<Place>,
    /// What.
    pub(crate) fault: Fault,
    /// Other lines that have to do with it.
    pub(crate) notes: Vec<Note>,
}

/// Another line that has to do with an error.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// The line.
    pub(crate) place: Place,
    /// What is there.
    pub(crate) text: &'static str,
}

impl std::error::Error for ConfigError {}
impl std::error::Error for Note {}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl ConfigError {
    /// A line that is no command.
    pub(crate) fn syntax(line: Line, error: SyntaxError) -> Self {
        // Inside the line, whatever happened.
        let end = error.span.end.min(line.text().len());
        let span = error.span.start.min(end)..end;
        Self {
            place: Some(Place { line, span }),
            fault: Fault::Syntax(error),
            notes: Vec::new(),
        }
    }

    /// What to do about it, if that can be said.
    fn advice(&self) -> Option<String> {
        match &self.fault {
            Fault::Syntax(error) => error.nearest.map(|word| format!("did you mean `{word}`?")),
            Fault::Conflict(conflict) => conflict.advice().map(str::to_owned),
            Fault::Load(_) => None,
        }
    }

    fn label(&self) -> Option<String> {
        match &self.fault {
            Fault::Syntax(error) if error.problem == Problem::Missing => {
                Some(format!("expected after this: {}", or(&error.expected)))
            }
            Fault::Syntax(error) if !error.expected.is_empty() => {
                Some(format!("expected {}", or(&error.expected)))
            }
            _ => Some("here".to_owned()),
        }
    }

    /// All of it in one line: `file:line:column: what; what else`.
    pub(crate) fn line(&self) -> String {
        let mut text = self
            .place
            .as_ref()
            .map_or_else(String::new, |place| format!("{place}: "));
        match &self.fault {
            Fault::Syntax(error) => text.push_str(&error.to_string()),
            fault => {
                text.push_str(&fault.to_string());
                self.notes
                    .iter()
                    .for_each(|note| text.push_str(&format!(" ({}: {})", note.place, note.text)));
                self.advice()
                    .into_iter()
                    .for_each(|advice| text.push_str(&format!("; {advice}")));
            }
        }
        text
    }
}

fn underline(place: &Place, label: Option<String>) -> Box<dyn Iterator<Item = LabeledSpan>> {
    let span = LabeledSpan::new(label, place.span.start, place.span.len());
    Box::new(std::iter::once(span))
}

impl Diagnostic for Note {
    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Advice)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.place.line)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(underline(&self.place, None))
    }
}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.advice()
            .map(|advice| Box::new(advice) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place
            .as_ref()
            .map(|place| &place.line as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.place
            .as_ref()
            .map(|place| underline(place, self.label()) as Box<dyn Iterator<Item = LabeledSpan>>)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(
            self.notes.iter().map(|note| note as &dyn Diagnostic),
        ))
    }
}

/// All errors of a configuration, at least one.
#[derive(Debug)]
pub(crate) struct ConfigErrors {
    /// What was read: a path, or what an operator would call it.
    pub(crate) name: String,
    /// The errors, in the order of the lines.
    pub(crate) errors: Vec<ConfigError>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => write!(f, "{} has an error; nothing of it is applied", self.name),
            n => write!(f, "{} has {n} errors; nothing of it is applied", self.name),
        }
    }
}

impl Diagnostic for ConfigErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(
            self.errors.iter().map(|error| error as &dyn Diagnostic),
        ))
    }
}

impl ConfigErrors {
    /// As text with the lines concerned, without colors: what travels over the local socket.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        // One error says all of it itself.
        let rendered = match self.errors.as_slice() {
            [error] => handler.with_width(110).render_report(&mut text, error),
            _ => handler.with_width(110).render_report(&mut text, self),
        };
        match rendered {
            Ok(()) => text,
            Err(fmt::Error) => self.lines(),
        }
    }

    /// One line per error, see [`ConfigError::line`]: for logs.
    pub(crate) fn lines(&self) -> String {
        self.errors
            .iter()
            .map(|error| error.line() + "\n")
            .collect()
    }
}
