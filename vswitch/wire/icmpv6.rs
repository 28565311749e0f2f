// SPDX-License-Identifier: MIT
//! ICMP for IPv6 (RFC 4443).

use std::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{ipv4, ipv6};

/// Type of "destination unreachable".
pub const UNREACHABLE: u8 = 1;
/// Type of "packet too big".
pub const TOO_BIG: u8 = 2;
/// Type of "time exceeded"; its code 0 is about hops.
pub const TIME_EXCEEDED: u8 = 3;
/// Type of "parameter problem".
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type of an echo request.
pub const ECHO: u8 = 128;
/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 129;

/// Code of [`UNREACHABLE`]: no route.
pub const NO_ROUTE: u8 = 0;
/// Code of [`UNREACHABLE`]: the source address is good on its own link only.
pub const BEYOND_SCOPE: u8 = 2;
/// Code of [`UNREACHABLE`]: a route, and nobody there.
pub const ADDRESS: u8 = 3;
/// Code of [`UNREACHABLE`]: nobody listens on this port of the machine.
pub const PORT: u8 = 4;

/// Code of [`PARAMETER_PROBLEM`]: the machine does not speak this protocol.
pub const NEXT_HEADER: u8 = 1;

/// Messages that report errors have types below this one (RFC 4443 section 2.1).
const FIRST_QUERY: u8 = 128;

/// `type(8) code(8) checksum(16) rest(32)`, in network order.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Icmpv6Hdr {
    kind: u8,
    code: u8,
    checksum: U16,
    rest: [u8; 4],
}
const _: () = assert!(size_of::<Icmpv6Hdr>() == 8);

impl Icmpv6Hdr {
    /// Bytes of the header.
    pub const LEN: usize = size_of::<Self>();

    /// A header without its checksum. `rest` is what the kind of message has in its second word.
    pub const fn new(kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self {
            kind,
            code,
            checksum: U16::ZERO,
            rest,
        }
    }

    /// The header of an error message from one address to another, whose body, the packet that it is about, is `quote`.
    /// `value`: the MTU of [`TOO_BIG`], the offset of what [`PARAMETER_PROBLEM`] is about, zero in others.
    pub fn error(
        kind: u8,
        code: u8,
        value: u32,
        addresses: (Ipv6Addr, Ipv6Addr),
        quote: &[u8],
    ) -> Self {
        Self::new(kind, code, value.to_be_bytes()).sealed(addresses, quote)
    }

    /// The same with its checksum (RFC 4443 section 2.3), for a message of which this is the beginning and `body` the rest,
    /// at most 65,527 bytes.
    #[must_use]
    pub fn sealed(mut self, (src, dst): (Ipv6Addr, Ipv6Addr), body: &[u8]) -> Self {
        self.checksum = U16::ZERO;
        let len = (Self::LEN + body.len()) as u16;
        let pseudo = ipv6::pseudo_sum(src, dst, ipv6::ICMP, len);
        let sums = [pseudo, ipv4::sum(self.as_bytes()), ipv4::sum(body)].map(u32::from);
        self.checksum = U16::new(!ipv4::fold(sums.into_iter().sum()));
        self
    }

    /// What the kind of message has in its second word.
    pub const fn rest(&self) -> [u8; 4] {
        self.rest
    }

    /// What the message is.
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// What kind of that.
    pub const fn code(&self) -> u8 {
        self.code
    }

    /// True for an echo request.
    pub const fn is_echo(&self) -> bool {
        self.kind == ECHO && self.code == 0
    }

    /// True for a message that reports an error, as opposed to one that asks or answers (RFC 4443 section 2.1).
    pub const fn is_error(&self) -> bool {
        self.kind < FIRST_QUERY
    }

    /// Makes an echo request the reply, between the same addresses. A wrong checksum stays wrong (RFC 1624 equation 3).
    pub fn turn_around(&mut self) {
        let old = u16::from_be_bytes([self.kind, self.code]);
        self.kind = ECHO_REPLY;
        let new = u16::from_be_bytes([self.kind, self.code]);
        let sum = u32::from(!self.checksum.get()) + u32::from(!old) + u32::from(new);
        self.checksum = U16::new(!ipv4::fold(sum));
    }
}

/// True if the checksum of a whole message between these addresses is right.
pub fn checksum_is_right((src, dst): (Ipv6Addr, Ipv6Addr), message: &[u8]) -> bool {
    let Ok(len) = u16::try_from(message.len()) else {
        return false;
    };
    let pseudo = ipv6::pseudo_sum(src, dst, ipv6::ICMP, len);
    ipv4::fold(u32::from(pseudo) + u32::from(ipv4::sum(message))) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv6Type, PacketBuilder};

    const SRC: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xffff);
    const DST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xff, 0xfe00, 1, 2);

    /// The ICMPv6 message that etherparse makes.
    fn message(kind: Icmpv6Type, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv6(SRC.octets(), DST.octets(), 64)
            .icmpv6(kind)
            .write(&mut packet, payload)
            .unwrap();
        packet.split_off(40)
    }

    #[test]
    fn an_errors_checksum_covers_addresses_and_quote() {
        for quote in [&[][..], &[1, 2, 3], &[0xff; 1232]] {
            let expected = message(Icmpv6Type::PacketTooBig { mtu: 0x1_0500 }, quote);
            let header = Icmpv6Hdr::error(TOO_BIG, 0, 0x1_0500, (SRC, DST), quote);
            assert_eq!([header.as_bytes(), quote].concat(), expected);
            assert!(header.is_error() && checksum_is_right((SRC, DST), &expected));
            assert!(!checksum_is_right((SRC, SRC), &expected));
        }
    }

    #[test]
    fn an_echo_reply_has_the_right_checksum_if_the_request_had() {
        for seq in 0..=u16::MAX {
            let header = etherparse::IcmpEchoHeader { id: 0x1234, seq };
            let bytes = message(Icmpv6Type::EchoRequest(header), &[]);
            let mut hdr = Icmpv6Hdr::read_from_bytes(&bytes).unwrap();
            assert!(hdr.is_echo() && !hdr.is_error());
            hdr.turn_around();
            assert_eq!((hdr.kind(), hdr.code()), (ECHO_REPLY, 0));
            assert!(checksum_is_right((DST, SRC), hdr.as_bytes()));
            let mut bytes = bytes;
            bytes[2] ^= 1;
            let mut hdr = Icmpv6Hdr::read_from_bytes(&bytes).unwrap();
            hdr.turn_around();
            assert!(!checksum_is_right((DST, SRC), hdr.as_bytes()));
        }
    }
}
