// SPDX-License-Identifier: MIT
//! Lines of texts, and places in them: what an error points at.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// One line of a text. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    source: Arc<Source>,
    /// Its number, from 1.
    pub(crate) number: usize,
    bytes: Range<usize>,
}

/// A text and where it comes from.
#[derive(Debug)]
pub(crate) struct Source {
    /// A path, or what an operator would call it.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
}

impl Line {
    /// The lines of `source`, without their ends.
    pub(crate) fn all(source: &Arc<Source>) -> Vec<Self> {
        let mut at = 0;
        let mut lines = Vec::new();
        for (i, text) in source.text.split_inclusive('\n').enumerate() {
            let body = text.strip_suffix('\n').unwrap_or(text);
            let body = body.strip_suffix('\r').unwrap_or(body);
            lines.push(Self {
                source: Arc::clone(source),
                number: i + 1,
                bytes: at..at + body.len(),
            });
            at += text.len();
        }
        lines
    }

    /// A line by itself.
    pub(crate) fn only(name: String, number: usize, text: String) -> Self {
        let bytes = 0..text.len();
        Self {
            source: Arc::new(Source { name, text }),
            number,
            bytes,
        }
    }

    /// The line, without its end.
    pub(crate) fn text(&self) -> &str {
        self.source.text.get(self.bytes.clone()).unwrap_or_default()
    }

    /// Where it comes from.
    pub(crate) fn source_name(&self) -> &str {
        &self.source.name
    }

    /// What tells it from all other lines.
    pub(crate) fn key(&self) -> (*const Source, usize) {
        (Arc::as_ptr(&self.source), self.number)
    }

    /// All of it but a comment and the space around: what an error about a whole command points at.
    fn whole(&self) -> Range<usize> {
        let words = super::lexer::cut(self.text()).words;
        match (words.first(), words.last()) {
            (Some(first), Some(last)) => first.span.start..last.span.end,
            _ => 0..self.text().len(),
        }
    }
}

impl SourceCode for Line {
    /// Only this line is shown, under its number in the file. Cheap however long the file is.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.text();
        let end = span.offset().saturating_add(span.len());
        let meant = text
            .get(span.offset()..end)
            .ok_or(MietteError::OutOfBounds)?;
        // Without context miette asks for the place alone, to head the excerpt with `file:line:column`.
        let (data, bytes, column) = match before {
            0 => (meant, *span, text[..span.offset()].chars().count()),
            _ => (text, (0, text.len()).into(), 0),
        };
        Ok(Box::new(MietteSpanContents::new_named(
            self.source.name.clone(),
            data.as_bytes(),
            bytes,
            self.number - 1,
            column,
            1,
        )))
    }
}

/// A place in a line.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The line.
    pub(crate) line: Line,
    /// The bytes of it that are meant.
    pub(crate) span: Range<usize>,
}

impl Place {
    /// The whole command of a line.
    pub(crate) fn whole(line: &Line) -> Self {
        Self {
            line: line.clone(),
            span: line.whole(),
        }
    }
}

impl fmt::Display for Place {
    /// `file:line:column`, the column counted in characters from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self
            .line
            .text()
            .get(..self.span.start)
            .map_or(0, |before| before.chars().count());
        write!(
            f,
            "{}:{}:{}",
            self.line.source.name,
            self.line.number,
            column + 1
        )
    }
}
