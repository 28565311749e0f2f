// SPDX-License-Identifier: MIT
//! What `set` sets of the outer header, and of asking the controller.

use std::fmt;

use super::on_off;

/// What `set vxlan` sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum VxlanSetting {
    /// The UDP port.
    Port(u16),
    /// The DSCP; `None`: the inner packet's.
    Dscp(Option<u8>),
    /// The underlay's VLAN.
    Vlan(u16),
    /// Whether UDP over IPv6 has a checksum.
    Udp6Checksum(bool),
}

/// What `set on-demand` sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnDemandSetting {
    /// Whether the controller is asked.
    On(bool),
    /// How long a packet waits, in milliseconds.
    Hold(u32),
    /// Destinations asked for per second.
    Rate(u32),
    /// How long what the controller does not know is not asked for again, in seconds.
    Negative(u32),
    /// How long an entry stays without use, in seconds; 0: for ever.
    Idle(u32),
}

impl OnDemandSetting {
    /// The word for it with a space before, nothing for on and off.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::On(_) => "",
            Self::Hold(_) => " hold",
            Self::Rate(_) => " rate",
            Self::Negative(_) => " negative",
            Self::Idle(_) => " idle",
        }
    }
}

impl VxlanSetting {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Port(_) => "port",
            Self::Dscp(_) => "dscp",
            Self::Vlan(_) => "vlan",
            Self::Udp6Checksum(_) => "udp6-checksum",
        }
    }
}

impl fmt::Display for VxlanSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Port(n) | Self::Vlan(n) => write!(f, " {n}"),
            Self::Dscp(Some(dscp)) => write!(f, " {dscp}"),
            Self::Dscp(None) => f.write_str(" copy"),
            Self::Udp6Checksum(on) => write!(f, " {}", on_off(*on)),
        }
    }
}

impl fmt::Display for OnDemandSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::On(on) => write!(f, " {}", on_off(*on)),
            Self::Hold(n) | Self::Rate(n) | Self::Negative(n) | Self::Idle(n) => write!(f, " {n}"),
        }
    }
}
