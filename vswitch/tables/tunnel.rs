// SPDX-License-Identifier: MIT
//! [`Tunnel`]: what this host's operator sets of the outer header.

use crate::wire::vxlan;

/// What outer headers have besides addresses. The same for all next hops, and fixed at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// UDP destination port, of what is sent and of what is taken; not 0.
    pub udp_port: u16,
    /// DSCP, 0 to 63 (pipe model of RFC 2983). `None`: the inner packet's (uniform model).
    pub dscp: Option<u8>,
    /// The VLAN of the underlay, 1 to 4094, whose tag all frames on the uplink have, the host's own and ARP too.
    pub vlan: Option<u16>,
}

impl Default for Tunnel {
    /// As RFC 7348 has it.
    fn default() -> Self {
        Self {
            udp_port: vxlan::UDP_PORT,
            dscp: None,
            vlan: None,
        }
    }
}
