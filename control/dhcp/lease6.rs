// SPDX-License-Identifier: MIT
//! What a guest is told by DHCPv6. Where a DHCP state and its subnet disagree, the rules are those of DHCPv4, but that a guest
//! is told all of its port's addresses in the subnet, unless the DHCP state says one of them.
//!
//! Routes, and the MTU, are the gateway's to tell ([`mod@super::advertisement`]).

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use vswitch::tables::Lease6;
use vswitch::wire::Mac;

use super::lease::DEFAULT_SECONDS;
use super::offer::{Client, NoLease, Offer, choose, first_served, within};
use super::told6::Told6;
use crate::southbound::field::Field;
use crate::state::Wanted;
use crate::state::port::PortIx;

/// Options that are told first where not all fit: what a guest cannot do without, by code. Others come by number.
const IMPORTANT: [u16; 8] = [23, 24, 59, 60, 39, 56, 31, 32];

impl Offer<Lease6> {
    /// What `port` is told: in the first of its subnets in which it is served, or else why it is not in the first of all.
    pub(crate) fn of_port(wanted: &Wanted, port: PortIx) -> Result<Self, NoLease> {
        let served = first_served(wanted, port, IpAddr::is_ipv6, Self::of);
        served
            .unwrap_or(Err(NoLease::NoIpv6))
            .map_err(|why| match why {
                NoLease::NoAddress => NoLease::NoIpv6,
                why => why,
            })
    }

    /// What a client is told, as things stand; and what the controller says wrong of it, and is left out. Takes time in
    /// proportion to what is said of it.
    fn of(client: Client<'_>) -> Result<Self, NoLease> {
        let Client {
            id,
            described,
            state,
            ..
        } = client;
        let IpNet::V6(cidr) = described.value.cidr else {
            return Err(NoLease::NoIpv6);
        };
        let mut seen = HashSet::new();
        let own = client.own.iter().filter_map(|address| match address {
            IpAddr::V6(address) => seen.insert(*address).then_some(*address),
            IpAddr::V4(_) => None,
        });
        let own: Vec<_> = own.collect();
        if own.is_empty() {
            return Err(NoLease::NoIpv6);
        }
        let mut problems = Vec::new();
        let said = state.and_then(|state| {
            let text = &state.said.ipv6_address;
            choose(
                &own,
                state,
                ("ipv6_address", text),
                "its own are served",
                &mut problems,
            )
        });
        let mut addresses = said.map_or(own, |said| vec![said]);
        let outside = addresses.extract_if(.., |address| !cidr.contains(&*address));
        let outside: Vec<_> = outside.collect();
        let gateway_mac = described.value.gateway.map(|gateway| gateway.mac);
        let at = Field::entry("subnet_states", &id);
        let at = at.field("configuration");
        if let Some(address) = outside.first() {
            if addresses.is_empty() {
                within(&id, (*address).into(), described.value.cidr)?;
            }
            problems.push(at.error(format_args!(
                "one port has {address}, which is not in {cidr} and is not told"
            )));
        }
        if addresses.len() > Lease6::MAX_ADDRESSES {
            problems.push(at.error(format_args!(
                "one port has {} addresses there, of which {} are told",
                addresses.len(),
                Lease6::MAX_ADDRESSES
            )));
            addresses.truncate(Lease6::MAX_ADDRESSES);
        }
        let mut told = Told6::new(&mut problems, DEFAULT_SECONDS);
        told.all(&at, &described.said, state.map(|state| &*state.said));
        let (seconds, options) = told.into_parts();
        let lease = Lease6 {
            mac: client.mac,
            addresses: addresses.into(),
            subnet: cidr,
            server_mac: gateway_mac.unwrap_or_else(|| local_mac(cidr)),
            seconds,
            options: in_order(&options),
        };
        Ok(Self {
            lease: Arc::new(lease),
            subnet: client.subnet,
            problems,
        })
    }
}

/// Options as they stand in a message, of codes and values.
fn in_order(all: &BTreeMap<u16, Vec<u8>>) -> Box<[(u16, Box<[u8]>)]> {
    let important = IMPORTANT.iter().filter_map(|code| all.get_key_value(code));
    let others = all.iter().filter(|(code, _)| !IMPORTANT.contains(code));
    let wire = |(code, value): (&u16, &Vec<u8>)| {
        let len = value.len() as u16; // there is less room in a message
        let head = [code.to_be_bytes(), len.to_be_bytes()].concat();
        (*code, [head, value.clone()].concat().into())
    };
    important.chain(others).map(wire).collect()
}

/// A locally administered MAC for the server of a subnet whose gateway has none.
fn local_mac(subnet: Ipv6Net) -> Mac {
    let bits = subnet.network().to_bits();
    let folded = (bits >> 96) ^ (bits >> 64) ^ (bits >> 32) ^ bits;
    let [a, b, c, d] = (folded as u32).to_be_bytes();
    Mac::new([0xfe, 0, a, b, c, d])
}
