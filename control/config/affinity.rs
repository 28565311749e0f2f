// SPDX-License-Identifier: MIT
//! [`Affinity`]: which workers poll a port's rx queues, as an operator says it.

use std::collections::BTreeMap;
use std::fmt;

use super::argument::MAX_CORE;

/// By rx queue, the core of the worker that polls it. Of other queues nothing is said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Affinity(pub(crate) BTreeMap<u16, u16>);

impl Affinity {
    /// `0:2,1:3`, or `none`. `None` for anything else, also if a queue comes twice.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut cores = BTreeMap::new();
        if text == "none" {
            return Some(Self(cores));
        }
        for item in text.split(',') {
            let (queue, core) = item.split_once(':')?;
            // `parse` alone would take a sign.
            let number = |text: &str| {
                let digits = text.starts_with(|c: char| c.is_ascii_digit());
                digits.then(|| text.parse::<u16>().ok())?
            };
            let core = number(core).filter(|core| *core <= MAX_CORE)?;
            if cores.insert(number(queue)?, core).is_some() {
                return None;
            }
        }
        Some(Self(cores))
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, (queue, core)) in self.0.iter().enumerate() {
            write!(f, "{}{queue}:{core}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_have_a_core_each_and_are_said_in_order() {
        for (text, said) in [
            ("0:2,1:3", "0:2,1:3"),
            ("7:1,0:1", "0:1,7:1"),
            ("none", "none"),
        ] {
            assert_eq!(Affinity::of(text).unwrap().to_string(), said);
        }
        for text in [
            "", "0", "0:", ":1", "0:1,", "0:1,0:2", "+0:1", "0:1024", "65536:0", "0:1:2", "0-1:2",
        ] {
            assert_eq!(Affinity::of(text), None, "{text}");
        }
    }
}
