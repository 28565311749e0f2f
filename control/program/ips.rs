// SPDX-License-Identifier: MIT
//! Claims on addresses of both versions of IP.

use std::net::{IpAddr, Ipv6Addr};

use vswitch::tables::{Neighbor, VpcId};

use super::IpKey;
use super::claims::{Claims, Rank};

/// [`Claims`] by address, a table for each version: a million neighbors of one take no room for the other's addresses.
#[derive(Debug, Default)]
pub(crate) struct IpClaims {
    /// By number, which is hashed faster.
    v4: Claims<(VpcId, u32)>,
    v6: Claims<(VpcId, Ipv6Addr)>,
}

impl IpClaims {
    /// As [`Claims::reserve`], for IPv4.
    pub(crate) fn reserve(&mut self, keys: usize) {
        self.v4.reserve(keys);
    }

    /// As [`Claims::prefetch`].
    pub(crate) fn prefetch(&mut self, key: IpKey) {
        match key {
            (vpc, IpAddr::V4(ip)) => self.v4.prefetch((vpc, ip.to_bits())),
            (vpc, IpAddr::V6(ip)) => self.v6.prefetch((vpc, ip)),
        }
    }

    /// As [`Claims::claim`].
    pub(crate) fn claim(&mut self, key: IpKey, rank: Rank, value: Neighbor) -> Neighbor {
        match key {
            (vpc, IpAddr::V4(ip)) => self.v4.claim((vpc, ip.to_bits()), rank, value),
            (vpc, IpAddr::V6(ip)) => self.v6.claim((vpc, ip), rank, value),
        }
    }

    /// As [`Claims::withdraw`].
    pub(crate) fn withdraw(&mut self, key: IpKey, rank: Rank) -> Option<Neighbor> {
        match key {
            (vpc, IpAddr::V4(ip)) => self.v4.withdraw((vpc, ip.to_bits()), rank),
            (vpc, IpAddr::V6(ip)) => self.v6.withdraw((vpc, ip), rank),
        }
    }

    /// As [`Claims::winner`].
    pub(crate) fn winner(&self, key: IpKey) -> Option<Neighbor> {
        match key {
            (vpc, IpAddr::V4(ip)) => self.v4.winner((vpc, ip.to_bits())),
            (vpc, IpAddr::V6(ip)) => self.v6.winner((vpc, ip)),
        }
    }
}

#[cfg(test)]
impl IpClaims {
    /// As [`Claims::iter`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpKey, Neighbor)> {
        let v4 = self
            .v4
            .iter()
            .map(|((vpc, ip), value)| ((vpc, IpAddr::V4(ip.into())), value));
        let v6 = self
            .v6
            .iter()
            .map(|((vpc, ip), value)| ((vpc, ip.into()), value));
        v4.chain(v6)
    }

    /// As [`Claims::len`].
    pub(crate) fn len(&self) -> (usize, usize) {
        let (v4, v6) = (self.v4.len(), self.v6.len());
        (v4.0 + v6.0, v4.1 + v6.1)
    }
}
