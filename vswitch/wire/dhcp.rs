// SPDX-License-Identifier: MIT
//! DHCP for IPv4 (RFC 2131), and its options (RFC 2132).

use std::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Mac;

/// UDP port that servers have.
pub const SERVER: u16 = 67;
/// UDP port that clients have.
pub const CLIENT: u16 = 68;

/// Kinds of messages (RFC 2132 section 9.6).
pub mod kind {
    #![allow(missing_docs)] // they are the RFC's
    pub const DISCOVER: u8 = 1;
    pub const OFFER: u8 = 2;
    pub const REQUEST: u8 = 3;
    pub const DECLINE: u8 = 4;
    pub const ACK: u8 = 5;
    pub const NAK: u8 = 6;
    pub const RELEASE: u8 = 7;
    pub const INFORM: u8 = 8;
}

/// Codes of options.
pub mod code {
    #![allow(missing_docs)] // they are IANA's
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const MTU: u8 = 26;
    pub const REQUESTED: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const KIND: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const PARAMETERS: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAX_SIZE: u8 = 57;
    pub const RENEWAL: u8 = 58;
    pub const REBINDING: u8 = 59;
    pub const CLIENT_ID: u8 = 61;
    pub const RAPID_COMMIT: u8 = 80;
    pub const RELAY: u8 = 82;
    pub const IPV6_ONLY: u8 = 108;
    pub const END: u8 = 255;
}

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// What comes before the options: `op(8) htype(8) hlen(8) hops(8) xid(32) secs(16) flags(16) ciaddr(32) yiaddr(32)
/// siaddr(32) giaddr(32) chaddr(128) sname(512) file(1024) cookie(32)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct DhcpHdr {
    op: u8,
    hardware: u8,
    hardware_len: u8,
    hops: u8,
    xid: [u8; 4],
    secs: U16,
    flags: U16,
    ciaddr: [u8; 4],
    yiaddr: [u8; 4],
    siaddr: [u8; 4],
    giaddr: [u8; 4],
    chaddr: [u8; 16],
    sname: [u8; 64],
    file: [u8; 128],
    cookie: [u8; 4],
}
const _: () = assert!(size_of::<DhcpHdr>() == 240);

impl DhcpHdr {
    /// Bytes of it.
    pub const LEN: usize = size_of::<Self>();

    /// True for what an Ethernet interface asks by DHCP, not by BOOTP alone.
    pub fn is_request(&self) -> bool {
        let of_ethernet = self.hardware == ETHERNET && self.hardware_len == 6;
        self.op == REQUEST && of_ethernet && self.cookie == COOKIE
    }

    /// The MAC of an Ethernet interface that it is about.
    pub const fn mac(&self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.chaddr;
        Mac::new([a, b, c, d, e, f])
    }

    /// The address that the client has; unspecified: none.
    pub const fn client(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.ciaddr)
    }

    /// The relay agent that it came by; unspecified: none.
    pub const fn relay(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.giaddr)
    }

    /// True if the client hears nothing but broadcasts yet.
    pub const fn wants_broadcast(&self) -> bool {
        self.flags.get() & 0x8000 != 0
    }

    /// The boot file's name, in whose place there may be options (option 52).
    pub const fn file(&self) -> &[u8] {
        &self.file
    }

    /// The server's name, in whose place there may be options.
    pub const fn server_name(&self) -> &[u8] {
        &self.sname
    }

    /// What answers this one, with nothing but what is the client's own (RFC 2131 table 3).
    pub const fn reply(&self) -> Self {
        Self {
            op: REPLY,
            hops: 0,
            secs: U16::ZERO,
            ciaddr: [0; 4],
            yiaddr: [0; 4],
            siaddr: [0; 4],
            sname: [0; 64],
            file: [0; 128],
            ..*self
        }
    }

    /// Says which address the client has, and which it gets.
    pub const fn set_addresses(&mut self, has: Ipv4Addr, gets: Ipv4Addr) {
        (self.ciaddr, self.yiaddr) = (has.octets(), gets.octets());
    }

    /// Says from where to boot. Names that are too long for the header are left out.
    pub fn set_boot(&mut self, from: Ipv4Addr, server: &[u8], file: &[u8]) {
        self.siaddr = from.octets();
        for (field, text) in [(&mut self.sname[..], server), (&mut self.file[..], file)] {
            if let Some(field) = field.get_mut(..text.len()) {
                field.copy_from_slice(text);
            }
        }
    }
}

/// The options in a part of a message, up to their end mark, or else to the part's end.
pub struct Options<'a>(pub &'a [u8]);

/// An option reaches beyond its part of the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

impl<'a> Iterator for Options<'a> {
    type Item = Result<(u8, &'a [u8]), TooLong>;

    /// Code and value.
    fn next(&mut self) -> Option<Self::Item> {
        while let [code::PAD, rest @ ..] = self.0 {
            self.0 = rest;
        }
        let (code, rest) = self
            .0
            .split_first()
            .filter(|(code, _)| **code != code::END)?;
        let value = rest
            .split_first()
            .and_then(|(len, rest)| rest.split_at_checked((*len).into()));
        self.0 = value.map_or(&[], |(_, rest)| rest);
        Some(value.map(|(value, _)| (*code, value)).ok_or(TooLong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> [u8; DhcpHdr::LEN] {
        let mut bytes = [0xa5; DhcpHdr::LEN];
        bytes[..12].copy_from_slice(&[1, 1, 6, 3, 0x12, 0x34, 0xab, 0xcd, 0, 9, 0x80, 0]);
        bytes[12..16].copy_from_slice(&[10, 7, 1, 10]);
        bytes[24..28].copy_from_slice(&[0; 4]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 10]);
        bytes[236..].copy_from_slice(&COOKIE);
        bytes
    }

    #[test]
    fn fields_stand_where_the_wire_has_them() {
        let hdr = DhcpHdr::read_from_bytes(&request()).unwrap();
        assert!(hdr.is_request() && hdr.wants_broadcast());
        assert_eq!(hdr.client(), Ipv4Addr::new(10, 7, 1, 10));
        assert_eq!(
            (hdr.relay(), hdr.mac()),
            (Ipv4Addr::UNSPECIFIED, Mac::new([2, 0, 0, 0, 0, 10]))
        );
        assert_eq!((hdr.server_name().len(), hdr.file().len()), (64, 128));
        for (offset, value) in [(0, 2), (1, 6), (2, 16), (239, 0)] {
            let mut bytes = request();
            bytes[offset] = value;
            assert!(!DhcpHdr::read_from_bytes(&bytes).unwrap().is_request());
        }
    }

    #[test]
    fn a_reply_has_nothing_of_the_request_but_what_is_the_clients_own() {
        let mut hdr = DhcpHdr::read_from_bytes(&request()).unwrap().reply();
        hdr.set_addresses(Ipv4Addr::new(1, 2, 3, 4), Ipv4Addr::new(5, 6, 7, 8));
        hdr.set_boot(Ipv4Addr::new(9, 9, 9, 9), b"server", &[7; 129]);
        let mut expected = request();
        expected[0] = 2;
        expected[3] = 0;
        expected[8..10].fill(0);
        expected[12..24].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9]);
        expected[44..236].fill(0);
        expected[44..50].copy_from_slice(b"server");
        assert_eq!(hdr.as_bytes(), expected);
    }

    #[test]
    fn options_end_with_their_mark_or_their_part_and_none_reaches_beyond() {
        let read = |bytes| Options(bytes).collect::<Vec<_>>();
        assert_eq!(
            read(&[0, 53, 1, 3, 0, 80, 0, 255, 9]),
            [Ok((53, &[3][..])), Ok((80, &[]))]
        );
        assert_eq!(read(&[53, 1, 3]), [Ok((53, &[3][..]))]);
        assert_eq!(read(&[53, 1, 3, 12]), [Ok((53, &[3][..])), Err(TooLong)]);
        assert_eq!(read(&[12, 3, 1, 2]), [Err(TooLong)]);
        assert_eq!(read(&[]), []);
    }
}
