// SPDX-License-Identifier: MIT
//! [`LogFormat`]: what a line of the log looks like.

/// What a line of the log looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object, for programs.
    Json,
}

impl LogFormat {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}
