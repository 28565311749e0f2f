// SPDX-License-Identifier: MIT
//! [`Id`]: what a million neighbors are called.

use std::fmt;
use std::hash::{Hash, Hasher};

use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// A resource's id as it is kept. Alcor's are UUIDs but for those that people make up: these take 16 bytes, no memory
/// of their own, and are compared without looking anywhere else.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Id {
    /// A UUID that is written as RFC 9562 says (section 4): lower case, with hyphens.
    Uuid(Uuid),
    /// Any other text.
    Text(Box<str>),
}

impl Id {
    /// True if there is none: old controllers' neighbors have no id.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }
}

impl Hash for Id {
    /// A UUID as a number: hashers take bytes with how many they are, and byte by byte.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Uuid(uuid) => state.write_u128(uuid.as_u128()),
            Self::Text(text) => text.hash(state),
        }
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        let written = |uuid: &Uuid| {
            let mut buffer = [0; Hyphenated::LENGTH];
            uuid.as_hyphenated().encode_lower(&mut buffer) == text
        };
        match Uuid::try_parse(text).ok().filter(written) {
            Some(uuid) => Self::Uuid(uuid),
            None => Self::Text(text.into()),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.as_hyphenated().fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_is_written_as_alcor_does_is_kept_as_a_number() {
        let uuid = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
        assert!(matches!(Id::from(uuid), Id::Uuid(_)));
        for text in [
            "",
            "port",
            "3FA85F64-5717-4562-b3fc-2c963f66afa6",
            "3fa85f6457174562b3fc2c963f66afa6",
            "{3fa85f64-5717-4562-b3fc-2c963f66afa6}",
            "urn:uuid:3fa85f64-5717-4562-b3fc-2c963f66afa6",
            "3fa85f64-5717-4562-b3fc-2c963f66afa6_n",
        ] {
            assert!(matches!(Id::from(text), Id::Text(_)), "{text}");
            assert_ne!(Id::from(text), Id::from(uuid));
        }
    }

    proptest! {
        #[test]
        fn an_id_is_said_as_it_was_said(
            id in prop_oneof![
                ".{0,40}",
                "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-fA-F]{4}-[0-9a-f]{12}",
                "[0-9a-f]{32}",
            ],
        ) {
            prop_assert_eq!(Id::from(id.as_str()).to_string(), id);
        }
    }
}
