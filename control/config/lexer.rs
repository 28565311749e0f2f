// SPDX-License-Identifier: MIT
//! Cuts a line into words. Words end at white space; `"..."` and `'...'` keep it, also in the middle of a word
//! (`net_pcap0,rx_pcap="my capture.pcap"`). Inside `"..."` a backslash stands before `"` and `\`.
//! `#` at the beginning of a word starts a comment.

use std::borrow::Cow;
use std::ops::Range;

/// Longest line, in bytes. Generous for devargs and EAL arguments, and small enough for any message about it.
pub(crate) const MAX_LINE: usize = 4096;

/// One word of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    /// The word, without its quotes.
    pub(crate) text: String,
    /// Where it stands in the line, with its quotes, in bytes.
    pub(crate) span: Range<usize>,
}

/// Why a line cannot be cut into words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadWord {
    /// A quote opens and does not close.
    #[error("the quote is never closed")]
    OpenQuote,
    /// A character that no terminal should be sent, or bytes that are no UTF-8.
    #[error("a control character, or bytes that are not UTF-8")]
    Control,
    /// More than [`MAX_LINE`] bytes.
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
}

/// The words of a line and, if it ends inside an open quote or otherwise badly, where and why.
pub(crate) struct Words {
    /// The words up to there. The last one may be unfinished.
    pub(crate) words: Vec<Word>,
    /// What stopped the cutting.
    pub(crate) error: Option<(Range<usize>, BadWord)>,
}

/// Cuts `line` into words.
pub(crate) fn cut(line: &str) -> Words {
    let mut words = Vec::new();
    if line.len() > MAX_LINE {
        let end = line.ceil_char_boundary(MAX_LINE);
        return Words {
            words,
            error: Some((end..line.len(), BadWord::TooLong)),
        };
    }
    if let Some((at, c)) = line.char_indices().find(|&(_, c)| is_refused(c)) {
        return Words {
            words,
            error: Some((at..at + c.len_utf8(), BadWord::Control)),
        };
    }
    let mut at = 0;
    while let Some(start) = line[at..]
        .find(|c: char| !c.is_whitespace())
        .map(|skip| at + skip)
    {
        if line[start..].starts_with('#') {
            break;
        }
        let (word, open_quote) = one(line, start);
        at = word.span.end;
        words.push(word);
        if let Some(quote) = open_quote {
            return Words {
                words,
                error: Some((quote..line.len(), BadWord::OpenQuote)),
            };
        }
    }
    Words { words, error: None }
}

/// U+FFFD is what bytes that are not UTF-8 were read as.
fn is_refused(c: char) -> bool {
    (c.is_control() && c != '\t') || c == char::REPLACEMENT_CHARACTER
}

/// Reads the word that begins at `start`, and says where a quote was opened that never closes.
fn one(line: &str, start: usize) -> (Word, Option<usize>) {
    let mut text = String::new();
    let mut open: Option<(char, usize)> = None;
    let mut chars = line[start..]
        .char_indices()
        .map(|(i, c)| (start + i, c))
        .peekable();
    while let Some((i, c)) = chars.next() {
        match (open, c) {
            (None, '"' | '\'') => open = Some((c, i)),
            (None, c) if c.is_whitespace() => {
                return (
                    Word {
                        text,
                        span: start..i,
                    },
                    None,
                );
            }
            (Some((quote, _)), c) if c == quote => open = None,
            (Some(('"', _)), '\\') => match chars.next_if(|&(_, next)| next == '"' || next == '\\')
            {
                Some((_, escaped)) => text.push(escaped),
                None => text.push('\\'),
            },
            (_, c) => text.push(c),
        }
    }
    (
        Word {
            text,
            span: start..line.len(),
        },
        open.map(|(_, at)| at),
    )
}

/// `word` as [`cut`] reads it back: in quotes if it needs them.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    let special = |c: char| c.is_whitespace() || c == '"' || c == '\'';
    if !word.is_empty() && !word.starts_with('#') && !word.contains(special) {
        return Cow::Borrowed(word);
    }
    let mut text = String::with_capacity(word.len() + 2);
    text.push('"');
    for c in word.chars() {
        if c == '"' || c == '\\' {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        cut(line).words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_cut_at_white_space_and_quotes_keep_it() {
        assert_eq!(texts("  set\tburst  32 # comment"), ["set", "burst", "32"]);
        assert_eq!(texts(r#"a "b c" d' e'f """#), ["a", "b c", "d ef", ""]);
        assert_eq!(
            texts(r#""say \"hi\" C:\dir\\" x#y"#),
            [r#"say "hi" C:\dir\"#, "x#y"]
        );
        assert!(texts("# all of it").is_empty());
    }

    #[test]
    fn spans_include_the_quotes() {
        let words = cut(r#"load "a b""#).words;
        assert_eq!(words[1].span, 5..10);
    }

    #[test]
    fn an_open_quote_is_pointed_at() {
        assert_eq!(cut("load 'abc").error, Some((5..9, BadWord::OpenQuote)));
    }

    #[test]
    fn control_characters_and_long_lines_are_refused() {
        assert_eq!(cut("show \x1b[2J").error, Some((5..6, BadWord::Control)));
        let long = "é".repeat(MAX_LINE);
        let (span, why) = cut(&long).error.unwrap();
        assert_eq!((span.end, why), (long.len(), BadWord::TooLong));
        assert!(long.is_char_boundary(span.start));
    }
}
