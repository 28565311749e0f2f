// SPDX-License-Identifier: MIT
//! [`Lease6`]: what a guest is told by DHCPv6 (RFC 8415), worked out in advance.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use crate::wire::{Mac, dhcp6};

/// What the guest of one port is told. Made by the control plane, never changed; workers put answers together of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease6 {
    /// The guest's MAC.
    pub mac: Mac,
    /// Its addresses; what is behind the first [`MAX_ADDRESSES`](Self::MAX_ADDRESSES) is not told.
    pub addresses: Box<[Ipv6Addr]>,
    /// The subnet that they are in: other addresses are not good on the guest's link.
    pub subnet: Ipv6Net,
    /// The MAC that answers come from, and that the server's DUID and its link-local address are made of: the gateway's.
    pub server_mac: Mac,
    /// How long the addresses may be used, in seconds: their preferred and valid lifetime. Not for ever.
    pub seconds: u32,
    /// What else it may ask for, the most important first: of each its code, and all of its bytes with code and length. At
    /// most [`MAX_OPTIONS`](Self::MAX_OPTIONS).
    pub options: Box<[(u16, Box<[u8]>)]>,
}

impl Lease6 {
    /// Most addresses that one guest is told.
    pub const MAX_ADDRESSES: usize = 8;

    /// Most options: each may be looked for in all that a guest asks for.
    pub const MAX_OPTIONS: usize = 64;

    /// The server's DUID.
    pub const fn server_id(&self) -> [u8; 10] {
        dhcp6::duid(self.server_mac)
    }
}
