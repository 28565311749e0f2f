// SPDX-License-Identifier: MIT
//! One line to one [`Command`], by the [command table](super::table).

use std::fmt;
use std::ops::Range;

use super::argument::Value;
use super::command::Command;
use super::lexer::{self, BadWord, Word};
use super::table::{Part, Spec, rows};

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// It cannot be cut into words.
    #[error("{0}")]
    Word(#[from] BadWord),
    /// No command has this word here.
    #[error("unknown word `{0}`")]
    Unknown(String),
    /// This is not a value of the argument that belongs here.
    #[error("`{word}` is not allowed as {argument}")]
    Value {
        /// The word.
        word: String,
        /// The argument's name.
        argument: &'static str,
    },
    /// The command is not complete.
    #[error("the command ends too early")]
    Missing,
    /// The command is complete before this word.
    #[error("unexpected word `{0}`: the command ends before it")]
    Excess(String),
}

/// Why a line is no command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SyntaxError {
    /// What to point at, in bytes of the line; the last word when one is missing after it.
    pub(crate) span: Range<usize>,
    /// What is wrong.
    pub(crate) problem: Problem,
    /// What could stand there, each one part of a sentence: a word in backquotes, or an argument in words.
    pub(crate) expected: Vec<String>,
    /// The known word that the wrong one is most like.
    pub(crate) nearest: Option<&'static str>,
}

impl std::error::Error for SyntaxError {}

impl fmt::Display for SyntaxError {
    /// All of it in one line, for logs and for terminals without a caret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.problem)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", or(&self.expected))?;
        }
        self.nearest
            .map_or(Ok(()), |word| write!(f, "; did you mean `{word}`?"))
    }
}

/// Joins `a, b or c`.
pub(crate) fn or(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// What a line may go on with after some words, see [`after`].
pub(crate) struct State {
    /// The rows that agree with all words so far, and the values of the arguments among those words.
    matches: Vec<(&'static Spec, Vec<Value>)>,
    /// Number of words so far.
    depth: usize,
}

impl State {
    fn new() -> Self {
        Self {
            matches: rows().map(|spec| (spec, Vec::new())).collect(),
            depth: 0,
        }
    }

    /// The part that each matching row has at the present place, in the table's order, each once.
    fn parts(&self) -> Vec<Part> {
        self.parts_of(|_| true)
    }

    /// As [`State::parts`], of the rows that are `wanted`.
    pub(crate) fn parts_of(&self, wanted: impl Fn(&Spec) -> bool) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for spec in self.specs().filter(|spec| wanted(spec)) {
            if let Some(part) = part_at(spec, self.depth)
                && !parts.contains(&part)
            {
                parts.push(part);
            }
        }
        parts
    }

    /// The rows that agree with all words so far.
    pub(crate) fn specs(&self) -> impl Iterator<Item = &'static Spec> {
        self.matches.iter().map(|(spec, _)| *spec)
    }

    /// Goes on by one word. A row that has this very word wins over one that has an argument here.
    fn advance(&mut self, word: &Word) -> Result<(), SyntaxError> {
        let parts = self.parts();
        let literal = parts
            .iter()
            .any(|part| matches!(part, Part::Is(is) if *is == word.text));
        let mut next = Vec::new();
        for (spec, values) in &self.matches {
            match part_at(spec, self.depth) {
                Some(Part::Is(is)) if is == word.text => next.push((*spec, values.clone())),
                Some(Part::Arg(argument)) if !literal => {
                    if let Some(value) = argument.kind.value(&word.text) {
                        let mut values = values.clone();
                        collect(&mut values, value, self.depth >= spec.parts.len());
                        next.push((*spec, values));
                    }
                }
                _ => {}
            }
        }
        if next.is_empty() {
            return Err(self.refuse(word, &parts));
        }
        self.matches = next;
        self.depth += 1;
        Ok(())
    }

    fn refuse(&self, word: &Word, parts: &[Part]) -> SyntaxError {
        let problem = match parts {
            [] => Problem::Excess(word.text.clone()),
            [Part::Arg(argument)] => Problem::Value {
                word: word.text.clone(),
                argument: argument.name,
            },
            _ => Problem::Unknown(word.text.clone()),
        };
        let known = parts.iter().flat_map(|part| match part {
            Part::Is(is) => std::slice::from_ref(is),
            Part::Arg(argument) => argument.kind.words(),
        });
        SyntaxError {
            span: word.span.clone(),
            problem,
            expected: expected(parts),
            nearest: nearest(&word.text, known.copied()),
        }
    }

    /// The command, if the words so far are a whole one.
    fn finish(self, last: &Word) -> Result<Command, SyntaxError> {
        let whole = self
            .matches
            .iter()
            .find(|(spec, _)| match spec.parts.get(self.depth) {
                None => true,
                Some(Part::Arg(argument)) => argument.kind == super::argument::Kind::Topic,
                Some(Part::Is(_)) => false,
            });
        let command = whole.and_then(|(spec, values)| {
            let mut values = values.clone();
            if spec.parts.len() > self.depth {
                values.push(Value::Words(Vec::new()));
            }
            (spec.build)(&values)
        });
        let expected = expected(&self.parts());
        command.ok_or(SyntaxError {
            span: last.span.clone(),
            problem: Problem::Missing,
            expected,
            nearest: None,
        })
    }
}

/// What `spec` has at place `depth`: an argument that takes the rest is at all places behind it as well.
fn part_at(spec: &Spec, depth: usize) -> Option<Part> {
    spec.parts
        .get(depth)
        .or_else(|| spec.parts.last().filter(|part| takes_the_rest(part)))
        .copied()
}

fn takes_the_rest(part: &Part) -> bool {
    matches!(part, Part::Arg(argument) if argument.kind.takes_the_rest())
}

/// Adds `value` to `values`; `more`: as a further word of the last argument.
fn collect(values: &mut Vec<Value>, value: Value, more: bool) {
    match (value, values.last_mut()) {
        (Value::Words(words), Some(Value::Words(all))) if more => all.extend(words),
        (value, _) => values.push(value),
    }
}

fn expected(parts: &[Part]) -> Vec<String> {
    let text = |part: &Part| match part {
        Part::Is(word) => format!("`{word}`"),
        Part::Arg(argument) => argument.kind.to_string(),
    };
    parts.iter().map(text).collect()
}

/// The one of `known` that `word` was most likely meant to be, if any is close.
pub(crate) fn nearest(
    word: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    // A third of the letters wrong, or two of a short word, is still that word; more is another one.
    let limit = (length / 3).max(if length > 3 { 2 } else { 1 });
    let close = known.map(|known| (strsim::damerau_levenshtein(&lower, known), known));
    let begun = |known: &str| length >= 2 && known.starts_with(&lower);
    close
        .filter(|&(distance, known)| distance <= limit || begun(known))
        .min()
        .map(|(_, known)| known)
}

/// What may follow `words`, or why nothing may.
pub(crate) fn after(words: &[Word]) -> Result<State, SyntaxError> {
    let mut state = State::new();
    words.iter().try_for_each(|word| state.advance(word))?;
    Ok(state)
}

/// Reads one line. `None`: it is empty or only a comment.
pub(crate) fn parse_line(line: &str) -> Result<Option<Command>, SyntaxError> {
    let cut = lexer::cut(line);
    if let Some((span, bad)) = cut.error {
        return Err(SyntaxError {
            span,
            problem: bad.into(),
            expected: Vec::new(),
            nearest: None,
        });
    }
    let Some(last) = cut.words.last() else {
        return Ok(None);
    };
    after(&cut.words)?.finish(last).map(Some)
}
