// SPDX-License-Identifier: MIT
//! [`Work`]: how workers work, which an operator may change while they do.

use std::fmt;

use super::command::{Setting, on_off};

/// Microseconds of the longest sleep, unless another is said: a ring of 1,024 descriptors takes ten million packets per second
/// for twice as long.
pub(crate) const DEFAULT_SLEEP: u32 = 50;

/// Frames per second and worker that go to the host port, unless another number is said. A tap device takes some two
/// microseconds of a worker's time for each (measured over net_tap), so a flood takes a fifth of it, and the host has a gigabit per
/// second and more in full frames.
pub(crate) const DEFAULT_HOST_RATE: u32 = 100_000;

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Work {
    /// How long a worker sleeps at once while nothing arrives, in microseconds; `None`: it does not.
    pub(crate) sleep: Option<u32>,
    /// Frames per second that each worker gives to the host port; `None`: any number.
    pub(crate) host_rate: Option<u32>,
    /// Rx queues move by themselves from workers that have too much to do.
    pub(crate) rebalance: bool,
}

/// One thing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WorkSetting {
    /// See [`Work::sleep`].
    Poll(Option<u32>),
    /// See [`Work::host_rate`].
    HostRate(Option<u32>),
    /// See [`Work::rebalance`].
    Rebalance(bool),
}

impl Default for Work {
    fn default() -> Self {
        Self {
            sleep: None,
            host_rate: Some(DEFAULT_HOST_RATE),
            rebalance: false,
        }
    }
}

impl Work {
    /// Changes one thing of it.
    pub(crate) fn set(&mut self, setting: WorkSetting) {
        match setting {
            WorkSetting::Poll(sleep) => self.sleep = sleep,
            WorkSetting::HostRate(rate) => self.host_rate = rate,
            WorkSetting::Rebalance(on) => self.rebalance = on,
        }
    }

    /// What makes it, defaults left out.
    pub(crate) fn settings(&self) -> impl Iterator<Item = Setting> + use<> {
        let default = Self::default();
        let all = [
            (self.sleep != default.sleep).then_some(WorkSetting::Poll(self.sleep)),
            (self.host_rate != default.host_rate).then_some(WorkSetting::HostRate(self.host_rate)),
            (self.rebalance != default.rebalance).then_some(WorkSetting::Rebalance(self.rebalance)),
        ];
        all.into_iter().flatten().map(Setting::Work)
    }
}

impl WorkSetting {
    /// Its words before the value.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Poll(_) => "poll",
            Self::HostRate(_) => "host rate",
            Self::Rebalance(_) => "rebalance auto",
        }
    }
}

impl fmt::Display for WorkSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())?;
        match self {
            Self::Poll(None) => f.write_str(" busy"),
            Self::Poll(Some(us)) => write!(f, " adaptive max-sleep {us}"),
            Self::HostRate(None) => f.write_str(" off"),
            Self::HostRate(Some(rate)) => write!(f, " {rate}"),
            Self::Rebalance(on) => write!(f, " {}", on_off(*on)),
        }
    }
}
