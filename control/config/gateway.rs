// SPDX-License-Identifier: MIT
//! [`Gateway`]: a router of the underlay, and whose it is.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use vswitch::tables::PortId;
use vswitch::wire::Mac;

use crate::southbound::field::is_link_local;

/// `set underlay gateway`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gateway {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Its MAC; `None`: it is asked for.
    pub(crate) mac: Option<Mac>,
    /// The uplink that it is reached by; `None`: each on whose link it is.
    pub(crate) port: Option<PortId>,
}

impl Gateway {
    /// True if it is on the link of this VTEP, of the uplink at `port`. On a link of one address nothing else is, and the
    /// gateway is reached by its MAC alone.
    pub(crate) fn is_on_link(&self, vtep: IpNet, port: PortId) -> bool {
        let alone = vtep.prefix_len() == vtep.max_prefix_len();
        let there = alone || vtep.contains(&self.ip) || is_link_local(self.ip);
        there && self.is_of(vtep, port)
    }

    /// True if it may be this VTEP's, if it is on its link.
    pub(crate) fn is_of(&self, vtep: IpNet, port: PortId) -> bool {
        let like = vtep.addr().is_ipv4() == self.ip.is_ipv4();
        like && self.port.is_none_or(|only| only == port)
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        self.mac.iter().try_for_each(|mac| write!(f, " {mac}"))?;
        let mut port = self.port.iter();
        port.try_for_each(|port| write!(f, " port {}", port.get()))
    }
}
