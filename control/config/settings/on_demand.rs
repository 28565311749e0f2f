// SPDX-License-Identifier: MIT
//! What the switch starts with as to destinations that it has to ask the controller for.

use std::net::{IpAddr, SocketAddr};

use super::super::command::{OnDemandSetting, Setting};

/// The port of Alcor's network configuration manager, fixed in its code.
pub(crate) const NCM_PORT: u16 = 9016;

/// Asking the controller. All of it is off while [`OnDemand::ncm`] is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OnDemand {
    /// Where the controller is asked.
    pub(crate) ncm: Option<SocketAddr>,
    /// The address that it knows this host by; `None`: the VTEP's.
    pub(crate) source: Option<IpAddr>,
    /// Whether it is asked.
    pub(crate) on: bool,
    /// How long a packet waits, in milliseconds.
    pub(crate) hold: u32,
    /// Destinations asked for per second.
    pub(crate) rate: u32,
    /// How long a destination that the controller does not know is not asked for again, in seconds.
    pub(crate) negative: u32,
    /// How long an entry that was asked for stays without use, in seconds; 0: for ever.
    pub(crate) idle: u32,
}

impl Default for OnDemand {
    fn default() -> Self {
        Self {
            ncm: None,
            source: None,
            on: true,
            // A guest's second attempt comes after one second, its third after three.
            hold: 2000,
            // NCM answers some 700 a second at best.
            rate: 1000,
            negative: 10,
            idle: 60,
        }
    }
}

impl OnDemand {
    /// True if the controller is to be asked.
    pub(crate) fn asks(&self) -> bool {
        self.on && self.ncm.is_some()
    }

    /// Changes one of them.
    pub(super) fn set(&mut self, setting: OnDemandSetting) {
        match setting {
            OnDemandSetting::On(on) => self.on = on,
            OnDemandSetting::Hold(ms) => self.hold = ms,
            OnDemandSetting::Rate(rate) => self.rate = rate,
            OnDemandSetting::Negative(seconds) => self.negative = seconds,
            OnDemandSetting::Idle(seconds) => self.idle = seconds,
        }
    }

    /// What makes these settings, defaults left out.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let default = Self::default();
        let all = [
            (self.on != default.on).then_some(OnDemandSetting::On(self.on)),
            (self.hold != default.hold).then_some(OnDemandSetting::Hold(self.hold)),
            (self.rate != default.rate).then_some(OnDemandSetting::Rate(self.rate)),
            (self.negative != default.negative).then_some(OnDemandSetting::Negative(self.negative)),
            (self.idle != default.idle).then_some(OnDemandSetting::Idle(self.idle)),
        ];
        let ncm = [
            self.ncm.map(Setting::Ncm),
            self.source.map(Setting::NcmSource),
        ];
        let all = all.into_iter().flatten().map(Setting::OnDemand);
        ncm.into_iter().flatten().chain(all).collect()
    }
}
