// SPDX-License-Identifier: MIT
//! [`Families`]: what there may be of each version of IP.

use std::net::IpAddr;

/// One of IPv4, one of IPv6, both or neither.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Families<T> {
    /// Of IPv4.
    pub(crate) v4: Option<T>,
    /// Of IPv6.
    pub(crate) v6: Option<T>,
}

impl<T> Default for Families<T> {
    fn default() -> Self {
        Self { v4: None, v6: None }
    }
}

impl<T> Families<T> {
    /// The one of the same version as this address.
    pub(crate) const fn like(&self, ip: IpAddr) -> Option<&T> {
        match ip {
            IpAddr::V4(_) => self.v4.as_ref(),
            IpAddr::V6(_) => self.v6.as_ref(),
        }
    }

    /// Where that one is.
    pub(crate) const fn place_like(&mut self, ip: IpAddr) -> &mut Option<T> {
        match ip {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }

    /// Those that there are, IPv4's first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.v4.iter().chain(&self.v6)
    }
}
