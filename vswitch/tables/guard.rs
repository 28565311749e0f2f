// SPDX-License-Identifier: MIT
//! [`Guard`]: who a guest may say it is.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::wire::{Mac, nd};

/// Addresses that a guest may send from, each with the MAC that it may send them from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressPair {
    /// The MAC.
    pub mac: Mac,
    /// The addresses; one, or a prefix.
    pub prefix: IpNet,
}

/// All that a guest may send from. A guest has one or two pairs, mostly; with more, a packet costs some nanoseconds each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guard {
    /// MAC ([`Mac::word`]) and IPv4 address of the first pair, if that is one: what nearly all packets come from.
    first: Option<(u64, u32)>,
    pairs: Box<[AddressPair]>,
}

impl Guard {
    /// Allows these, and nothing else. The first is the fastest.
    pub fn new(pairs: &[AddressPair]) -> Self {
        let first = pairs.first().and_then(|pair| match pair.prefix {
            IpNet::V4(prefix) if prefix.prefix_len() == 32 => {
                Some((pair.mac.word(), u32::from(prefix.addr())))
            }
            _ => None,
        });
        Self {
            first,
            pairs: pairs.into(),
        }
    }

    /// True for the address that nearly all packets come from. `mac` as [`Mac::word`].
    #[inline]
    pub fn is_usual(&self, mac: u64, ip: u32) -> bool {
        self.first == Some((mac, ip))
    }

    /// Whether it may send from this MAC ([`Mac::word`]).
    pub fn allows(&self, mac: u64) -> bool {
        self.of(mac).next().is_some()
    }

    /// Whether it may send from this address, with this MAC ([`Mac::word`]).
    pub fn allows_ipv4(&self, mac: u64, ip: Ipv4Addr) -> bool {
        self.of(mac)
            .any(|pair| matches!(pair.prefix, IpNet::V4(prefix) if prefix.contains(&ip)))
    }

    /// The same of an IPv6 address. Every machine has the link-local one that is made of its MAC (RFC 4291 appendix A).
    pub fn allows_ipv6(&self, mac: u64, ip: Ipv6Addr) -> bool {
        self.of(mac).any(|pair| {
            let listed = matches!(pair.prefix, IpNet::V6(prefix) if prefix.contains(&ip));
            listed || ip == nd::link_local(pair.mac)
        })
    }

    fn of(&self, mac: u64) -> impl Iterator<Item = &AddressPair> {
        self.pairs.iter().filter(move |pair| pair.mac.word() == mac)
    }
}

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_pair_holds_for_its_own_mac_only() {
        let [own, other] = [1, 2].map(|n| Mac::new([2, 0, 0, 0, 0, n]));
        let pair = |mac, prefix: &str| AddressPair {
            mac,
            prefix: prefix.parse().unwrap(),
        };
        let guard = Guard::new(&[
            pair(own, "10.7.0.5/32"),
            pair(own, "10.9.0.0/16"),
            pair(other, "10.7.0.6/32"),
            pair(other, "2001:db8::/64"),
        ]);
        let (own, other) = (own.word(), other.word());
        let ip = |text: &str| text.parse().unwrap();
        assert!(guard.is_usual(own, u32::from(Ipv4Addr::new(10, 7, 0, 5))));
        assert!(!guard.is_usual(other, u32::from(Ipv4Addr::new(10, 7, 0, 5))));
        for (mac, address, allowed) in [
            (own, "10.7.0.5", true),
            (own, "10.9.255.1", true),
            (own, "10.10.0.1", false),
            (own, "10.7.0.6", false),
            (other, "10.7.0.6", true),
            (other, "10.7.0.5", false),
            (3, "10.7.0.5", false),
        ] {
            assert_eq!(guard.allows_ipv4(mac, ip(address)), allowed, "{address}");
        }
        let ip = |text: &str| text.parse().unwrap();
        for (mac, address, allowed) in [
            (other, "2001:db8::1", true),
            (own, "2001:db8::1", false),
            (own, "fe80::ff:fe00:1", true),
            (own, "fe80::ff:fe00:2", false),
            (other, "fe80::ff:fe00:2", true),
            (other, "::", false),
        ] {
            assert_eq!(guard.allows_ipv6(mac, ip(address)), allowed, "{address}");
        }
        assert!(guard.allows(own) && guard.allows(other) && !guard.allows(7));
    }
}
