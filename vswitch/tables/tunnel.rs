// SPDX-License-Identifier: MIT
//! [`Tunnel`]: what this host's operator sets of the outer header.

use crate::wire::vxlan;

/// Bytes that the outer IPv4 packet has in front of the inner one: IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14.
pub const ENCAPSULATION: u16 = 50;

/// The same of IPv6: 40 instead of 20.
pub const ENCAPSULATION6: u16 = 70;

/// What outer headers have besides addresses. The same for all next hops, and fixed at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// UDP destination port, of what is sent and of what is taken; not 0.
    pub udp_port: u16,
    /// DSCP, 0 to 63 (pipe model of RFC 2983). `None`: the inner packet's (uniform model).
    pub dscp: Option<u8>,
    /// The VLAN of the underlay, 1 to 4094, whose tag all frames on the uplink have, the host's own and ARP too.
    pub vlan: Option<u16>,
    /// Outer IPv6 packets have a UDP checksum: without it they have none, as RFC 6935 allows tunnels.
    pub udp6_checksum: bool,
}

impl Default for Tunnel {
    /// As RFC 7348 has it.
    fn default() -> Self {
        Self {
            udp_port: vxlan::UDP_PORT,
            dscp: None,
            vlan: None,
            udp6_checksum: false,
        }
    }
}
