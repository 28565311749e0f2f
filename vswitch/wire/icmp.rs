// SPDX-License-Identifier: MIT
//! ICMP for IPv4 (RFC 792).

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ipv4;

/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type of "destination unreachable".
pub const UNREACHABLE: u8 = 3;
/// Type of an echo request.
pub const ECHO: u8 = 8;
/// Type of "time exceeded".
pub const TIME_EXCEEDED: u8 = 11;

/// Code of [`UNREACHABLE`]: no route.
pub const NET: u8 = 0;
/// Code of [`UNREACHABLE`]: a route, and nobody there.
pub const HOST: u8 = 1;
/// Code of [`UNREACHABLE`]: the machine does not speak this protocol.
pub const PROTOCOL: u8 = 2;
/// Code of [`UNREACHABLE`]: nobody listens on this port of the machine.
pub const PORT: u8 = 3;
/// Code of [`UNREACHABLE`]: too long for the way, and not to be fragmented.
pub const FRAGMENTATION_NEEDED: u8 = 4;

/// `type(8) code(8) checksum(16) rest(32)`, in network order.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct IcmpHdr {
    kind: u8,
    code: u8,
    checksum: U16,
    rest: [u8; 4],
}
const _: () = assert!(size_of::<IcmpHdr>() == 8);

impl IcmpHdr {
    /// Bytes of the header.
    pub const LEN: usize = size_of::<Self>();

    /// The header of an error message whose body, the packet that it is about, is `quote`. `mtu`: the longest packet that
    /// passes, in bytes (RFC 1191 section 4); zero in any message but [`FRAGMENTATION_NEEDED`].
    pub fn error(kind: u8, code: u8, mtu: u16, quote: &[u8]) -> Self {
        let first = u16::from_be_bytes([kind, code]);
        let sum = u32::from(first) + u32::from(mtu) + u32::from(ipv4::sum(quote));
        let [high, low] = mtu.to_be_bytes();
        Self {
            kind,
            code,
            checksum: U16::new(!ipv4::fold(sum)),
            rest: [0, 0, high, low],
        }
    }

    /// What the message is.
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// True for an echo request.
    pub const fn is_echo(&self) -> bool {
        self.kind == ECHO && self.code == 0
    }

    /// True for a message that asks or answers, as opposed to one that reports an error (RFC 1122 section 3.2.2).
    pub const fn is_query(&self) -> bool {
        matches!(self.kind, ECHO_REPLY | ECHO | 9 | 10 | 13..=18)
    }

    /// Makes an echo request the reply. A wrong checksum stays wrong (RFC 1624 equation 3).
    pub fn turn_around(&mut self) {
        self.kind = ECHO_REPLY;
        let sum = u32::from(!self.checksum.get()) + u32::from(!(u16::from(ECHO) << 8));
        self.checksum = U16::new(!ipv4::fold(sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_reply_has_the_right_checksum_if_the_request_had() {
        for payload in 0..=u16::MAX {
            let mut bytes = [ECHO, 0, 0, 0, 0x12, 0x34, 0, 0];
            bytes[6..].copy_from_slice(&payload.to_be_bytes());
            let checksum = !ipv4::sum(&bytes);
            bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
            let mut hdr = IcmpHdr::read_from_bytes(&bytes).unwrap();
            assert!(hdr.is_echo());
            hdr.turn_around();
            assert_eq!(
                (hdr.kind(), ipv4::sum(hdr.as_bytes())),
                (ECHO_REPLY, 0xffff)
            );
            bytes[2] ^= 1;
            let mut hdr = IcmpHdr::read_from_bytes(&bytes).unwrap();
            hdr.turn_around();
            assert_ne!(ipv4::sum(hdr.as_bytes()), 0xffff);
        }
    }

    #[test]
    fn an_errors_checksum_covers_its_quote() {
        for quote in [&[][..], &[1, 2, 3], &[0xff; 40]] {
            for (code, mtu) in [(PORT, 0), (FRAGMENTATION_NEEDED, 0xfffe)] {
                let header = IcmpHdr::error(UNREACHABLE, code, mtu, quote);
                let bytes = [header.as_bytes(), quote].concat();
                assert_eq!((bytes[0], bytes[1]), (3, code));
                assert_eq!(bytes[4..8], u32::from(mtu).to_be_bytes());
                assert_eq!(ipv4::sum(&bytes), 0xffff);
            }
        }
    }
}
