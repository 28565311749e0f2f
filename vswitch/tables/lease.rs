// SPDX-License-Identifier: MIT
//! [`Lease`]: what a guest is told by DHCP (RFC 2131), worked out in advance.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::wire::Mac;

/// What the guest of one port is told. Made by the control plane, never changed; workers put answers together of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The guest's MAC.
    pub mac: Mac,
    /// Its address, with the length of its subnet's prefix.
    pub address: Ipv4Net,
    /// The server's address, which the guest renews its lease at.
    pub server: Ipv4Addr,
    /// The MAC that answers come from: the gateway's.
    pub server_mac: Mac,
    /// How long the address may be used, in seconds; `u32::MAX`: for ever.
    pub seconds: u32,
    /// Longest IP packet that gets through, in bytes: no answer is longer.
    pub mtu: u16,
    /// From where to boot: the header's `siaddr`, `sname` and `file`. Unspecified and empty: from nowhere.
    pub boot: (Ipv4Addr, Box<[u8]>, Box<[u8]>),
    /// What else it may ask for.
    pub options: LeaseOptions,
}

/// Options as they stand in a message, found by code at once.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    wire: Box<[u8]>,
    /// Where each ends in `wire`, in the order of importance; each begins where the one before ends.
    ends: Box<[(u8, u16)]>,
    /// Which of them has a code, counted from 1; 0: none.
    places: Box<[u8; 256]>,
}

impl LeaseOptions {
    /// These options, the most important first: of each its code, and all of its bytes with code and length, in several
    /// parts if that is how long it is (RFC 3396). Left out are a code that was there already, and what would make
    /// more than 65,535 bytes or 255 options.
    pub fn new<'a>(options: impl IntoIterator<Item = (u8, &'a [u8])>) -> Self {
        let (mut wire, mut ends, mut places) = (Vec::new(), Vec::new(), Box::new([0; 256]));
        for (code, option) in options {
            let place = &mut places[usize::from(code)];
            let (end, next) = (
                u16::try_from(wire.len() + option.len()),
                u8::try_from(ends.len() + 1),
            );
            if let (Ok(end), Ok(next), 0) = (end, next, *place) {
                wire.extend_from_slice(option);
                ends.push((code, end));
                *place = next;
            }
        }
        Self {
            wire: wire.into(),
            ends: ends.into(),
            places,
        }
    }

    /// The option of this code.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        let place = usize::from(self.places[usize::from(code)]).checked_sub(1)?;
        let start = place
            .checked_sub(1)
            .map_or(0, |before| usize::from(self.ends[before].1));
        self.wire.get(start..self.ends[place].1.into())
    }

    /// The codes, that of the most important option first.
    pub fn codes(&self) -> impl Iterator<Item = u8> {
        self.ends.iter().map(|(code, _)| *code)
    }
}

impl std::fmt::Debug for LeaseOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.codes().map(|code| (code, self.get(code))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_keep_their_order_and_are_found_by_code() {
        let (long, router) = ([7; 700], [3, 4, 10, 7, 1, 1]);
        let options = LeaseOptions::new([
            (26, &[26, 2, 5, 170][..]),
            (3, &router),
            (210, &long),
            (3, &[]),
        ]);
        assert_eq!(options.codes().collect::<Vec<_>>(), [26, 3, 210]);
        assert_eq!(options.get(26), Some(&[26, 2, 5, 170][..]));
        assert_eq!(options.get(3), Some(&router[..]));
        assert_eq!(options.get(210), Some(&long[..]));
        assert_eq!((options.get(0), options.get(255)), (None, None));
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        let part = vec![1; 30_000];
        let options = LeaseOptions::new([(1, &*part), (2, &*part), (3, &*part), (4, &[4, 1, 9])]);
        assert_eq!(options.codes().collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(options.get(4), Some(&[4, 1, 9][..]));
        let all = LeaseOptions::new((0..=255).map(|code| (code, &[][..])));
        assert_eq!(all.codes().count(), 255);
        assert_eq!(LeaseOptions::new([]).get(1), None);
    }
}
