// SPDX-License-Identifier: MIT
//! Neighbor discovery for IPv6 (RFC 4861) over Ethernet (RFC 2464).

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{EthernetHdr, Icmpv6Hdr, Ipv6Hdr, Mac, ethernet, icmpv6, ipv6};

/// Type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type of a neighbor solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Type of a neighbor advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Type of a redirect.
pub const REDIRECT: u8 = 137;

/// Hop limit of all messages: who receives another one knows that the message is not from its link (RFC 4861 section 3.1).
pub const HOP_LIMIT: u8 = 255;

/// Types of options (RFC 4861 section 4.6, RFC 8106 section 5.1).
pub mod option {
    /// The MAC of who sends the message.
    pub const SOURCE: u8 = 1;
    /// The MAC of who the message is about.
    pub const TARGET: u8 = 2;
    /// A prefix of the link.
    pub const PREFIX: u8 = 3;
    /// The link's MTU.
    pub const MTU: u8 = 5;
    /// Recursive DNS servers.
    pub const DNS: u8 = 25;
}

/// All nodes of the link (RFC 4291 section 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The group that a machine with this address is in, to be asked there for its MAC (RFC 4291 section 2.7.1).
pub const fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = ip.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// The link-local address that is made of a MAC (RFC 4291 appendix A).
pub const fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.bytes();
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(0xfe80 << 112 | id as u128)
}

/// The inverse of [`link_local`]; `None` for an address that is made of something else.
pub const fn mac_of(ip: Ipv6Addr) -> Option<Mac> {
    let [a, b, c, 0xff, 0xfe, d, e, f] = (ip.to_bits() as u64).to_be_bytes() else {
        return None;
    };
    let mac = Mac::new([a ^ 2, b, c, d, e, f]);
    if ip.to_bits() >> 64 == 0xfe80 << 48 {
        Some(mac)
    } else {
        None
    }
}

/// The MAC that stands for a group (RFC 2464 section 7).
pub const fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac::new([0x33, 0x33, a, b, c, d])
}

/// Neighbor solicitation and advertisement: `icmp(64) target(128)`; the header's last word is flags, and otherwise zero.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct NeighborHdr {
    icmp: Icmpv6Hdr,
    target: [u8; 16],
}
const _: () = assert!(size_of::<NeighborHdr>() == 24);

impl NeighborHdr {
    /// Bytes without options.
    pub const LEN: usize = size_of::<Self>();

    /// What a message begins with, and its options. `None`: it is shorter.
    pub fn in_message(message: &[u8]) -> Option<(&Self, &[u8])> {
        Self::ref_from_prefix(message).ok()
    }

    /// What kind of message it is.
    pub const fn kind(&self) -> u8 {
        self.icmp.kind()
    }

    /// True for an advertisement that answers somebody: it has the S flag.
    pub const fn is_solicited(&self) -> bool {
        let [flags, ..] = self.icmp.rest();
        flags & 1 << 6 != 0
    }

    /// True for an advertisement that counts whatever was known before: it has the O flag.
    pub const fn overrides(&self) -> bool {
        let [flags, ..] = self.icmp.rest();
        flags & 1 << 5 != 0
    }

    /// Whose MAC is asked for, or told.
    pub const fn target(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.target)
    }
}

/// A solicitation with the option that tells who asks, without its checksum.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Solicitation {
    header: NeighborHdr,
    mac: LinkOption,
}
const _: () = assert!(size_of::<Solicitation>() == 32);

impl Solicitation {
    /// Asks for the MAC of `target`. `mac` is who asks.
    pub const fn new(target: Ipv6Addr, mac: Mac) -> Self {
        Self {
            header: NeighborHdr {
                icmp: Icmpv6Hdr::new(NEIGHBOR_SOLICITATION, 0, [0; 4]),
                target: target.octets(),
            },
            mac: LinkOption::new(option::SOURCE, mac),
        }
    }
}

/// An advertisement with the option that tells the target's MAC, without its checksum.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Advertisement {
    header: NeighborHdr,
    mac: LinkOption,
}
const _: () = assert!(size_of::<Advertisement>() == 32);

impl Advertisement {
    /// Says that `target` is at `mac`, whatever was known before (the O flag). `router`: it is one (R); `solicited`: the
    /// receiver asked for it (S).
    pub const fn new(target: Ipv6Addr, mac: Mac, router: bool, solicited: bool) -> Self {
        let flags = (router as u8) << 7 | (solicited as u8) << 6 | 1 << 5;
        Self {
            header: NeighborHdr {
                icmp: Icmpv6Hdr::new(NEIGHBOR_ADVERTISEMENT, 0, [flags, 0, 0, 0]),
                target: target.octets(),
            },
            mac: LinkOption::new(option::TARGET, mac),
        }
    }
}

/// Option that tells a MAC: `type(8) length(8) mac(48)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct LinkOption {
    kind: u8,
    len: u8,
    mac: [u8; 6],
}

impl LinkOption {
    /// [`option::SOURCE`] or [`option::TARGET`].
    pub const fn new(kind: u8, mac: Mac) -> Self {
        Self {
            kind,
            len: 1,
            mac: mac.bytes(),
        }
    }
}

/// Router advertisement without options and checksum (RFC 4861 section 4.2): `icmp(64) reachable_time(32)
/// retransmission_timer(32)`. The header's last word: `hop_limit(8) flags(8) lifetime(16)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct RouterHdr {
    icmp: Icmpv6Hdr,
    times: [U32; 2],
}
const _: () = assert!(size_of::<RouterHdr>() == 16);

impl RouterHdr {
    /// Of a router that may be used for so many seconds, with packets of `hop_limit` hops; of times nothing is said.
    /// `by_dhcp`: addresses, and all else that there is to know, are to be had by DHCPv6 (the M and O flags).
    pub const fn new(hop_limit: u8, by_dhcp: bool, lifetime: u16) -> Self {
        let [high, low] = lifetime.to_be_bytes();
        let flags = if by_dhcp { 0xc0 } else { 0 };
        Self {
            icmp: Icmpv6Hdr::new(ROUTER_ADVERTISEMENT, 0, [hop_limit, flags, high, low]),
            times: [U32::ZERO; 2],
        }
    }
}

/// Option that tells a prefix of the link (RFC 4861 section 4.6.2): `type(8) length(8) prefix_length(8) flags(8)
/// valid_lifetime(32) preferred_lifetime(32) reserved(32) prefix(128)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PrefixOption {
    kind: u8,
    len: u8,
    prefix_len: u8,
    flags: u8,
    lifetimes: [U32; 2],
    reserved: U32,
    prefix: [u8; 16],
}
const _: () = assert!(size_of::<PrefixOption>() == 32);

impl PrefixOption {
    /// All of whose addresses are on the link (the L flag), for ever, and none of which is to be made up by a machine itself
    /// (no A flag).
    pub fn on_link(prefix: Ipv6Net) -> Self {
        Self {
            kind: option::PREFIX,
            len: 4,
            prefix_len: prefix.prefix_len(),
            flags: 1 << 7,
            lifetimes: [U32::MAX_VALUE; 2],
            reserved: U32::ZERO,
            prefix: prefix.network().octets(),
        }
    }
}

/// Option that tells the link's MTU (RFC 4861 section 4.6.4): `type(8) length(8) reserved(16) mtu(32)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct MtuOption {
    kind: u8,
    len: u8,
    reserved: U16,
    mtu: U32,
}

impl MtuOption {
    /// Of so many bytes of an IP packet.
    pub const fn new(mtu: u32) -> Self {
        Self {
            kind: option::MTU,
            len: 1,
            reserved: U16::ZERO,
            mtu: U32::new(mtu),
        }
    }
}

/// What the option that tells DNS servers begins with (RFC 8106 section 5.1), before their addresses: `type(8) length(8)
/// reserved(16) lifetime(32)`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct DnsOption {
    kind: u8,
    len: u8,
    reserved: U16,
    lifetime: U32,
}

impl DnsOption {
    /// Of so many servers, at most 127, which may be used for ever.
    pub const fn new(servers: u8) -> Self {
        Self {
            kind: option::DNS,
            len: 1 + 2 * servers,
            reserved: U16::ZERO,
            lifetime: U32::MAX_VALUE,
        }
    }
}

/// Options of a message: type, and all bytes with type and length. An error ends them: a length that makes no sense (RFC
/// 4861 section 4.6).
#[derive(Clone, Debug)]
pub struct Options<'a>(pub &'a [u8]);

/// An option's length is zero, or leads out of the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadOption;

impl<'a> Iterator for Options<'a> {
    type Item = Result<(u8, &'a [u8]), BadOption>;

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, len) = match *self.0 {
            [] => return None,
            [kind, len, ..] => (kind, 8 * usize::from(len)),
            [_] => (0, 0),
        };
        let Some((option, rest)) = self.0.split_at_checked(len).filter(|_| len != 0) else {
            self.0 = &[];
            return Some(Err(BadOption));
        };
        self.0 = rest;
        Some(Ok((kind, option)))
    }
}

/// The headers of a frame, and its message, whose fixed part has `fixed` bytes, if it is one that passes the checks that all
/// messages share (RFC 4861 sections 6.1 and 7.1), without extension headers (RFC 6980 section 5).
pub fn sound(head: &[u8], fixed: usize) -> Option<(&EthernetHdr, &Ipv6Hdr, &[u8])> {
    let (ethernet, packet) = EthernetHdr::ref_from_prefix(head).ok()?;
    let (ip, message) = Ipv6Hdr::ref_from_prefix(packet).ok()?;
    let message = message.get(..ip.payload_len())?;
    let (icmp, _) = Icmpv6Hdr::ref_from_prefix(message).ok()?;
    let good = ethernet.ethertype() == ethernet::IPV6
        && ip.is_v6()
        && ip.next_header() == ipv6::ICMP
        && ip.hop_limit() == HOP_LIMIT
        && icmp.code() == 0
        && !ip.src().is_multicast()
        && icmpv6::checksum_is_right((ip.src(), ip.dst()), message);
    if !good {
        return None;
    }
    for read in Options(message.get(fixed..)?) {
        let (kind, _) = read.ok()?;
        if kind == option::SOURCE && ip.src().is_unspecified() {
            return None;
        }
    }
    Some((ethernet, ip, message))
}

/// The MAC that an option tells, of which these are all bytes; `None` if it has none.
pub fn mac_in(option: &[u8]) -> Option<Mac> {
    Some(Mac::new(*option.get(2..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac::new([0xfa, 0x16, 0x3e, 1, 2, 3]);

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_made_of_macs_and_groups_of_addresses() {
        assert_eq!(link_local(MAC), ip("fe80::f816:3eff:fe01:203"));
        assert_eq!(mac_of(link_local(MAC)), Some(MAC));
        for other in [
            "fe80::f816:3eff:fd01:203",
            "fe80:0:0:1:f816:3eff:fe01:203",
            "::",
        ] {
            assert_eq!(mac_of(ip(other)), None, "{other}");
        }
        assert_eq!(
            solicited_node(ip("2001:db8::abcd:1234")),
            ip("ff02::1:ffcd:1234")
        );
        let group = group_mac(ip("ff02::1:ffcd:1234"));
        assert_eq!(group.bytes(), [0x33, 0x33, 0xff, 0xcd, 0x12, 0x34]);
    }

    #[test]
    fn messages_stand_as_the_wire_has_them() {
        let told = Advertisement::new(ip("2001:db8::5"), MAC, true, false);
        let mut expected = [0; 32];
        (expected[0], expected[4]) = (136, 0xa0);
        expected[8..24].copy_from_slice(&ip("2001:db8::5").octets());
        expected[24..].copy_from_slice(&[2, 1, 0xfa, 0x16, 0x3e, 1, 2, 3]);
        assert_eq!(told.as_bytes(), expected);
        let told = Advertisement::new(ip("2001:db8::5"), MAC, false, true);
        assert_eq!(told.as_bytes()[4], 0x60);
        assert_eq!(told.header.target(), ip("2001:db8::5"));

        let asks = Solicitation::new(ip("2001:db8::5"), MAC);
        let mut expected = [0; 32];
        expected[0] = 135;
        expected[8..24].copy_from_slice(&ip("2001:db8::5").octets());
        expected[24..].copy_from_slice(&[1, 1, 0xfa, 0x16, 0x3e, 1, 2, 3]);
        assert_eq!(asks.as_bytes(), expected);
        assert!(told.header.overrides() && !asks.header.overrides());

        let router = RouterHdr::new(64, true, 0x0708);
        let mut expected = [0; 16];
        expected[..8].copy_from_slice(&[134, 0, 0, 0, 64, 0xc0, 7, 8]);
        assert_eq!(router.as_bytes(), expected);

        let prefix = PrefixOption::on_link("2001:db8:1::/56".parse().unwrap());
        let mut expected = [0; 32];
        expected[..4].copy_from_slice(&[3, 4, 56, 0x80]);
        expected[4..12].fill(0xff);
        expected[16..].copy_from_slice(&ip("2001:db8:1::").octets());
        assert_eq!(prefix.as_bytes(), expected);

        assert_eq!(MtuOption::new(1450).as_bytes(), [5, 1, 0, 0, 0, 0, 5, 170]);
        let dns = [25, 5, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(DnsOption::new(2).as_bytes(), dns);
    }

    #[test]
    fn options_end_where_they_make_no_sense() {
        let read = |bytes: &[u8]| {
            Options(bytes)
                .map(|option| option.map(|(kind, option)| (kind, option.len())))
                .collect::<Vec<_>>()
        };
        let own = LinkOption::new(option::SOURCE, MAC);
        assert_eq!(mac_in(own.as_bytes()), Some(MAC));
        assert_eq!(mac_in(&[1, 1, 2]), None);
        let two = [own.as_bytes(), &[14, 2], &[0; 14]].concat();
        assert_eq!(read(&two), [Ok((1, 8)), Ok((14, 16))]);
        assert_eq!(read(&two[..23]), [Ok((1, 8)), Err(BadOption)]);
        assert_eq!(read(&[1, 0, 0, 0, 0, 0, 0, 0]), [Err(BadOption)]);
        assert_eq!(read(&[1]), [Err(BadOption)]);
        assert_eq!(read(&[]), []);
    }
}
