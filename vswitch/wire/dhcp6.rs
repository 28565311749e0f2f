// SPDX-License-Identifier: MIT
//! DHCP for IPv6 (RFC 8415). A message of a client or a server is `kind(8) transaction(24)` and options; an option is
//! `code(16) length(16) value`.

use std::net::Ipv6Addr;

use super::Mac;

/// UDP port that clients have.
pub const CLIENT: u16 = 546;
/// UDP port that servers and relay agents have.
pub const SERVER: u16 = 547;

/// All servers and relay agents of the link (section 7.1).
pub const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Bytes of a message in front of its options.
pub const HEADER_LEN: usize = 4;

/// Bytes of an option in front of its value.
pub const OPTION_HEADER_LEN: usize = 4;

/// Bytes of an identity association in front of its options: of addresses or prefixes its number and two times, of temporary
/// addresses its number (sections 21.4, 21.5, 21.21).
pub const IA_LEN: usize = 12;
/// The latter.
pub const IA_TA_LEN: usize = 4;

/// Bytes of an address in an association, with its two lifetimes, in front of its options (section 21.6).
pub const IA_ADDRESS_LEN: usize = 24;

/// Least and most bytes of a DUID: its type, and 1 to 128 more (section 11.1).
pub const DUID_LEN: std::ops::RangeInclusive<usize> = 3..=130;

/// Kinds of messages (section 7.3).
pub mod kind {
    #![allow(missing_docs)] // they are the RFC's
    pub const SOLICIT: u8 = 1;
    pub const ADVERTISE: u8 = 2;
    pub const REQUEST: u8 = 3;
    pub const CONFIRM: u8 = 4;
    pub const RENEW: u8 = 5;
    pub const REBIND: u8 = 6;
    pub const REPLY: u8 = 7;
    pub const RELEASE: u8 = 8;
    pub const DECLINE: u8 = 9;
    pub const INFORMATION_REQUEST: u8 = 11;
}

/// Codes of options.
pub mod code {
    #![allow(missing_docs)] // they are IANA's
    pub const CLIENT_ID: u16 = 1;
    pub const SERVER_ID: u16 = 2;
    pub const IA_NA: u16 = 3;
    pub const IA_TA: u16 = 4;
    pub const IA_ADDRESS: u16 = 5;
    pub const REQUESTED: u16 = 6;
    pub const PREFERENCE: u16 = 7;
    pub const STATUS: u16 = 13;
    pub const RAPID_COMMIT: u16 = 14;
    pub const IA_PD: u16 = 25;
    pub const REFRESH_TIME: u16 = 32;
    pub const FQDN: u16 = 39;
}

/// Values of the status option (section 21.13).
pub mod status {
    #![allow(missing_docs)] // they are the RFC's
    pub const SUCCESS: u16 = 0;
    pub const NO_ADDRESSES: u16 = 2;
    pub const NO_BINDING: u16 = 3;
    pub const NOT_ON_LINK: u16 = 4;
    pub const USE_MULTICAST: u16 = 5;
    pub const NO_PREFIX: u16 = 6;
}

/// The DUID of who has this MAC: DUID-LL, of Ethernet (section 11.4).
pub const fn duid(mac: Mac) -> [u8; 10] {
    let [a, b, c, d, e, f] = mac.bytes();
    [0, 3, 0, 1, a, b, c, d, e, f]
}

/// Options, up to the end. An error ends them.
#[derive(Clone, Debug)]
pub struct Options<'a>(pub &'a [u8]);

/// An option reaches beyond what it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

impl<'a> Iterator for Options<'a> {
    type Item = Result<(u16, &'a [u8]), TooLong>;

    /// Code and value.
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.0.split_first_chunk().and_then(|(header, rest)| {
            let [a, b, c, d] = *header;
            let len = u16::from_be_bytes([c, d]).into();
            let (value, rest) = rest.split_at_checked(len)?;
            Some((u16::from_be_bytes([a, b]), value, rest))
        });
        self.0 = read.map_or(&[], |(_, _, rest)| rest);
        Some(read.map(|(code, value, _)| (code, value)).ok_or(TooLong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_with_what_they_are_in_and_none_reaches_beyond() {
        let read = |bytes| Options(bytes).collect::<Vec<_>>();
        let two = [0, 14, 0, 0, 1, 0, 0, 2, 8, 9];
        assert_eq!(read(&two), [Ok((14, &[][..])), Ok((256, &[8, 9]))]);
        assert_eq!(read(&two[..9]), [Ok((14, &[][..])), Err(TooLong)]);
        assert_eq!(read(&two[..3]), [Err(TooLong)]);
        assert_eq!(read(&[]), []);
    }

    #[test]
    fn a_duid_is_made_of_a_mac() {
        let mac = Mac::new([0xfa, 0x16, 0x3e, 1, 2, 3]);
        assert_eq!(duid(mac), [0, 3, 0, 1, 0xfa, 0x16, 0x3e, 1, 2, 3]);
    }
}
