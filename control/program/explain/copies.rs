// SPDX-License-Identifier: MIT
//! Whom a broadcast or multicast was copied to.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, SlicedPacket};
use vswitch::stage::trunk::Subports;
use vswitch::tables::{PortId, Role};

use super::Explainer;
use crate::explain::Trace;

impl Explainer<'_> {
    /// The receivers of what left, in the order in which it did.
    pub(super) fn copied(&self, trace: &Trace) -> String {
        let receivers = trace
            .sent
            .iter()
            .map(|(port, frame)| self.receiver(*port, frame));
        let receivers: Vec<_> = receivers.collect();
        match receivers.is_empty() {
            true => "for everybody: no receiver's port takes a copy".to_owned(),
            false => format!("for everybody: copied to {}", receivers.join(", ")),
        }
    }

    fn receiver(&self, port: PortId, frame: &[u8]) -> String {
        if let Role::Uplink = self.program.writer.published().role(port)
            && let Ok(outer) = SlicedPacket::from_ethernet(frame)
        {
            match outer.net {
                Some(NetSlice::Ipv4(ip)) => {
                    return format!("host {}", Ipv4Addr::from(ip.header().destination()));
                }
                Some(NetSlice::Ipv6(ip)) => {
                    return format!("host {}", Ipv6Addr::from(ip.header().destination()));
                }
                _ => {}
            }
        }
        let mut subports = Subports::default();
        for (subport, it) in self.subports {
            subports.set(*subport, Some(*it));
        }
        let port = subports.of(port, frame).unwrap_or(port);
        format!("port {}", self.place(port))
    }
}
