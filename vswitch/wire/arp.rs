// SPDX-License-Identifier: MIT
//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `hardware(16) protocol(16) hardware_length(8) protocol_length(8) operation(16) sender_mac(48) sender_ip(32)
/// target_mac(48) target_ip(32)`, in network order.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ArpHdr {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_mac: [u8; 6],
    sender_ip: [u8; 4],
    target_mac: [u8; 6],
    target_ip: [u8; 4],
}
const _: () = assert!(size_of::<ArpHdr>() == 28);

impl ArpHdr {
    /// True for a request for the MAC of an IPv4 address, over Ethernet.
    pub const fn is_request(&self) -> bool {
        self.hardware.get() == 1
            && self.protocol.get() == super::ethernet::IPV4
            && self.hardware_len == 6
            && self.protocol_len == 4
            && self.operation.get() == 1
    }

    /// Who asks; unspecified in a probe (RFC 5227).
    pub const fn sender_ip(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.sender_ip;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Whose MAC is asked for.
    pub const fn target_ip(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.target_ip;
        Ipv4Addr::new(a, b, c, d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; 28] = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 7, 0, 1, 0, 0, 0, 0, 0, 0, 10, 7, 0, 9,
    ];

    #[test]
    fn fields_stand_where_the_wire_has_them() {
        let arp = ArpHdr::read_from_bytes(&REQUEST).unwrap();
        assert!(arp.is_request());
        assert_eq!(arp.sender_ip(), Ipv4Addr::new(10, 7, 0, 1));
        assert_eq!(arp.target_ip(), Ipv4Addr::new(10, 7, 0, 9));
    }

    #[test]
    fn only_a_request_of_ipv4_over_ethernet_is_one() {
        for (offset, value) in [(1, 6), (3, 1), (4, 8), (5, 16), (7, 2)] {
            let mut bytes = REQUEST;
            bytes[offset] = value;
            assert!(!ArpHdr::read_from_bytes(&bytes).unwrap().is_request());
        }
    }
}
