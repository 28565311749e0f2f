// SPDX-License-Identifier: MIT
//! [`PortRule`]: what `port config` says of a guest's port besides sizes.

use std::fmt;

use super::command::on_off;
use crate::core::PortRules;

/// One such thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PortRule {
    /// Whether the guest sends from its own addresses only; `None`: as `set anti-spoofing` says.
    AntiSpoofing(Option<bool>),
    /// Whether frames with VLAN tags pass.
    Vlan { pass: bool },
}

impl PortRule {
    /// The words of all.
    pub(crate) const WORDS: [&str; 2] = ["anti-spoofing", "vlan"];

    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::AntiSpoofing(_) => Self::WORDS[0],
            Self::Vlan { .. } => Self::WORDS[1],
        }
    }

    /// Makes it so.
    pub(crate) const fn apply(self, rules: &mut PortRules) {
        match self {
            Self::AntiSpoofing(on) => rules.anti_spoofing = on,
            Self::Vlan { pass } => rules.takes_tags = pass,
        }
    }

    /// Those that make `rules` of a port of which nothing was said.
    pub(crate) fn of(rules: &PortRules) -> impl Iterator<Item = Self> {
        let own = |on| Self::AntiSpoofing(Some(on));
        let pass = rules.takes_tags.then_some(Self::Vlan { pass: true });
        rules.anti_spoofing.map(own).into_iter().chain(pass)
    }
}

impl fmt::Display for PortRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::AntiSpoofing(Some(on)) => write!(f, " {}", on_off(*on)),
            Self::AntiSpoofing(None) => f.write_str(" default"),
            Self::Vlan { pass: true } => f.write_str(" pass"),
            Self::Vlan { pass: false } => f.write_str(" drop"),
        }
    }
}
