// SPDX-License-Identifier: MIT
//! Completion and hints while a line is typed.

use std::borrow::Cow;
use std::path::Path;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::validate::Validator;
use rustyline::{Context, Result};

use crate::config::complete::complete;
use crate::config::lexer::quoted;

/// Most files that are offered: more than fit on a screen help nobody.
const MAX_FILES: usize = 200;

/// Most words that are shown before they are asked for.
const MAX_HINTS: usize = 4;

/// Completes from the command table.
pub(super) struct Helper;

impl rustyline::Helper for Helper {}
impl Highlighter for Helper {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        // Dim: it is not typed yet.
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

impl Validator for Helper {}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let completion = complete(line.get(..pos).unwrap_or(line));
        let word = |word: &&'static str| Pair {
            display: (*word).to_owned(),
            replacement: format!("{word} "),
        };
        let mut candidates: Vec<Pair> = completion.words.iter().map(word).collect();
        if completion.path {
            candidates.extend(files(&completion.partial));
        }
        Ok((completion.start, candidates))
    }
}

/// The files and folders that `partial` is the beginning of.
fn files(partial: &str) -> Vec<Pair> {
    let (folder, name) = match partial.rfind('/') {
        Some(slash) => partial.split_at(slash + 1),
        None => ("", partial),
    };
    let within = if folder.is_empty() {
        Path::new(".")
    } else {
        Path::new(folder)
    };
    let Ok(entries) = std::fs::read_dir(within) else {
        return Vec::new();
    };
    let candidate = |entry: std::fs::DirEntry| {
        let found = entry.file_name().into_string().ok()?;
        // Hidden files only if asked for.
        let wanted = found.starts_with(name) && (!found.starts_with('.') || name.starts_with('.'));
        let end = if entry.path().is_dir() { "/" } else { "" };
        let replacement = quoted(&format!("{folder}{found}{end}")).into_owned();
        wanted.then(|| Pair {
            display: format!("{found}{end}"),
            replacement,
        })
    };
    let mut pairs: Vec<Pair> = entries
        .flatten()
        .filter_map(candidate)
        .take(MAX_FILES)
        .collect();
    pairs.sort_by(|a, b| a.display.cmp(&b.display));
    pairs
}

/// The names of the arguments that come next. It is shown, never inserted.
pub(super) struct Names(String);

impl Hint for Names {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Helper {
    type Hint = Names;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Names> {
        let begins_word = line.is_empty() || line.ends_with(char::is_whitespace);
        if pos < line.len() || !begins_word || line.trim().is_empty() {
            return None;
        }
        let completion = complete(line);
        // A long list belongs to the Tab key.
        let words = if completion.words.len() > MAX_HINTS {
            &[]
        } else {
            completion.words.as_slice()
        };
        let text = words
            .iter()
            .chain(&completion.hints)
            .copied()
            .collect::<Vec<_>>()
            .join(" | ");
        (!text.is_empty()).then_some(Names(text))
    }
}
