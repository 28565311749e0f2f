// SPDX-License-Identifier: MIT
//! Completion of a line that is being typed for a running switch, from the command table.

use super::argument::Kind;
use super::lexer::{self, BadWord, Word};
use super::parse::after;
use super::table::{Part, When};

/// What the word under the cursor may become.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Completion {
    /// Where the word begins, in bytes of the line.
    pub(crate) start: usize,
    /// The word so far, without quotes.
    pub(crate) partial: String,
    /// The words that it may become.
    pub(crate) words: Vec<&'static str>,
    /// Or the path of a file, of which this is the beginning.
    pub(crate) path: bool,
    /// Names of arguments that may stand here: nothing to complete, but good to know.
    pub(crate) hints: Vec<&'static str>,
}

/// Completes the last word of `line`, which is what stands before the cursor.
pub(crate) fn complete(line: &str) -> Completion {
    let nothing = Completion {
        start: line.len(),
        ..Completion::default()
    };
    let cut = lexer::cut(line);
    if matches!(cut.error, Some((_, BadWord::Control | BadWord::TooLong)))
        || ends_in_comment(line, &cut.words)
    {
        return nothing;
    }
    let (before, partial, start) = match cut.words.split_last() {
        Some((last, before)) if last.span.end == line.len() => {
            (before, last.text.as_str(), last.span.start)
        }
        _ => (cut.words.as_slice(), "", line.len()),
    };
    let Ok(state) = after(before) else {
        return nothing;
    };
    let mut completion = Completion {
        start,
        partial: partial.to_owned(),
        ..nothing
    };
    for part in state.parts_of(|spec| spec.when != When::Start) {
        match part {
            Part::Is(word) => completion
                .words
                .extend(word.starts_with(partial).then_some(word)),
            Part::Arg(argument) => {
                let words = argument
                    .kind
                    .words()
                    .iter()
                    .filter(|word| word.starts_with(partial));
                completion.words.extend(words);
                completion.path |= argument.kind == Kind::Path;
                completion.hints.push(argument.name);
                if argument.kind == Kind::Topic {
                    completion.words.extend(topics(&before[1..], partial));
                }
            }
        }
    }
    completion.words.sort_unstable();
    completion.words.dedup();
    completion
}

/// Words that go on with `words` as the beginning of a command.
fn topics(words: &[Word], partial: &str) -> Vec<&'static str> {
    let parts = after(words)
        .map(|state| state.parts_of(|_| true))
        .unwrap_or_default();
    let begun = |part| match part {
        Part::Is(word) if word.starts_with(partial) => Some(word),
        _ => None,
    };
    parts.into_iter().filter_map(begun).collect()
}

/// True if the end of `line` is in a comment: something follows the last word that is not white space.
fn ends_in_comment(line: &str, words: &[Word]) -> bool {
    let end = words.last().map_or(0, |word| word.span.end);
    line.get(end..).is_some_and(|rest| !rest.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&'static str> {
        complete(line).words
    }

    #[test]
    fn words_are_completed_at_any_place() {
        assert_eq!(words("sh"), ["show"]);
        assert_eq!(words("show port "), ["info", "stats"]);
        assert_eq!(words("port config 0 r"), ["rxd", "rxq", "rxq-affinity"]);
        assert_eq!(
            words("port config all anti-spoofing "),
            ["default", "off", "on"]
        );
        assert_eq!(words("show port stats a"), ["all"]);
        assert_eq!(words("set promisc 1 o"), ["off", "on"]);
        assert_eq!(words("set log d"), ["debug"]);
        assert_eq!(words("show su"), ["subnets", "subscriptions"]);
        assert_eq!(complete("show port st").start, 10);
    }

    #[test]
    fn what_a_running_switch_refuses_is_not_offered() {
        let always = [
            "host",
            "log",
            "poll",
            "promisc",
            "rebalance",
            "replicate",
            "revisions",
        ];
        assert_eq!(words("set "), always);
        assert!(words("help set ").contains(&"burst"));
        assert_eq!(words("help set southbound tls cert x "), ["key"]);
    }

    #[test]
    fn help_completes_commands() {
        assert_eq!(words("help port con"), ["config"]);
        assert!(words("help ").contains(&"quit"));
    }

    #[test]
    fn nothing_completes_after_nonsense_or_in_a_comment() {
        assert!(words("shwo po").is_empty());
        assert!(words("show po # po").is_empty());
        assert!(words("start st").is_empty());
    }

    #[test]
    fn a_path_is_known_for_one_also_in_an_open_quote() {
        assert!(complete("load conf").path);
        assert!(complete("load \"my conf").path);
        assert_eq!(complete("port bind 1 ").hints, ["ID"]);
    }
}
