// SPDX-License-Identifier: MIT
//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Mac;

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
    /// True if it is about IPv4 addresses, over Ethernet.
    pub const fn is_of_ipv4(&self) -> bool {
        self.hardware.get() == 1
            && self.protocol.get() == super::ethernet::IPV4
            && self.hardware_len == 6
            && self.protocol_len == 4
    }

    /// True for a request for the MAC of an IPv4 address, over Ethernet.
    pub const fn is_request(&self) -> bool {
        self.is_of_ipv4() && self.operation.get() == 1
    }

    /// A request for the MAC of `target`. `sender` is who asks: its MAC and its address.
    pub const fn request((mac, ip): (Mac, Ipv4Addr), target: Ipv4Addr) -> Self {
        Self {
            hardware: U16::new(1),
            protocol: U16::new(super::ethernet::IPV4),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(1),
            sender_mac: mac.bytes(),
            sender_ip: ip.octets(),
            target_mac: [0; 6],
            target_ip: target.octets(),
        }
    }

    /// What the host at `mac`, which has address `ip`, is told when it asks for `sender`.
    pub const fn reply(sender: (Mac, Ipv4Addr), (mac, ip): (Mac, Ipv4Addr)) -> Self {
        Self {
            operation: U16::new(2),
            target_mac: mac.bytes(),
            ..Self::request(sender, ip)
        }
    }

    /// The MAC of who sent it, by its own account.
    pub const fn sender_mac(&self) -> Mac {
        Mac::new(self.sender_mac)
    }

    /// True for a probe: a host asks whether anybody has the address that it is about to take (RFC 5227 section 2.1.1).
    pub const fn is_probe(&self) -> bool {
        self.is_request() && self.sender_ip().is_unspecified()
    }

    /// True for an announcement: a host says that it has the address (RFC 5227 section 2.3).
    pub fn is_announcement(&self) -> bool {
        self.sender_ip == self.target_ip
    }

    /// Makes a request the reply that `mac` is at the address that was asked for (RFC 826, "packet reception").
    pub const fn answer(&mut self, mac: Mac) {
        self.operation = U16::new(2);
        self.target_mac = self.sender_mac;
        self.sender_mac = mac.bytes();
        (self.sender_ip, self.target_ip) = (self.target_ip, self.sender_ip);
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
    fn requests_and_replies_stand_as_the_wire_has_them() {
        let ip = |n| Ipv4Addr::new(10, 7, 0, n);
        let mac = |n| Mac::new([2, 0, 0, 0, 0, n]);
        let request = ArpHdr::request((mac(1), ip(1)), ip(9));
        assert_eq!(request.as_bytes(), REQUEST);
        let mut answer = request;
        answer.answer(mac(9));
        let reply = ArpHdr::reply((mac(9), ip(9)), (mac(1), ip(1)));
        assert_eq!(reply.as_bytes(), answer.as_bytes());
    }

    #[test]
    fn an_answer_tells_who_asked_what_it_asked_for() {
        let mut arp = ArpHdr::read_from_bytes(&REQUEST).unwrap();
        arp.answer(Mac::new([2, 0, 0, 0, 0, 9]));
        #[rustfmt::skip]
        let reply = [
            0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 10, 7, 0, 9, 2, 0, 0, 0, 0, 1, 10, 7, 0, 1,
        ];
        assert_eq!(arp.as_bytes(), reply);
    }

    #[test]
    fn probes_and_announcements_are_told_from_questions() {
        let arp = ArpHdr::read_from_bytes(&REQUEST).unwrap();
        assert!(!arp.is_probe() && !arp.is_announcement());
        let mut bytes = REQUEST;
        bytes[14..18].fill(0);
        let arp = ArpHdr::read_from_bytes(&bytes).unwrap();
        assert!(arp.is_probe() && !arp.is_announcement());
        bytes[14..18].copy_from_slice(&REQUEST[24..]);
        let arp = ArpHdr::read_from_bytes(&bytes).unwrap();
        assert!(!arp.is_probe() && arp.is_announcement());
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
