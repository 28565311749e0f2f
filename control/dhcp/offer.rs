// SPDX-License-Identifier: MIT
//! Who is served, and in which of its subnets, by DHCP of either version.
//!
//! A guest is served if there is a DHCP state for its subnet and MAC, whatever the subnet's `dhcp_enable` says, since
//! that is about this one guest, and what Alcor's own agent goes by; or if `dhcp_enable` is on.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use vswitch::tables::Lease;
use vswitch::wire::Mac;

use super::lease::MIN_MTU;
use crate::proto::schema::SubnetConfiguration;
use crate::southbound::field::{Field, FieldError, Quote};
use crate::state::kept::Dhcp;
use crate::state::network::SubnetIx;
use crate::state::port::{PortIx, WantedPort};
use crate::state::resource::{DhcpClient, Subnet};
use crate::state::{Revised, Wanted};

/// What one port is told by DHCP, or by DHCPv6, and what that is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer<L = Lease> {
    /// For workers.
    pub lease: Arc<L>,
    /// The subnet that the addresses are in.
    pub subnet: SubnetIx,
    /// What the controller says wrong of it, and is left out.
    pub problems: Vec<FieldError>,
}

/// Why a guest is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLease {
    /// The port or the subnet is not described, or the one is not in the other.
    #[error("the port has no IPv4 address in a known subnet")]
    NoAddress,
    /// The same for IPv6.
    #[error("the port has no IPv6 address in a known subnet")]
    NoIpv6,
    /// Neither a DHCP state nor `dhcp_enable`.
    #[error("subnet {0}: dhcp_enable is off, and no DHCP state is for the port's MAC")]
    Off(String),
    /// The controller's addresses contradict each other.
    #[error("subnet {subnet}: {address} is not in its cidr, {cidr}")]
    Outside {
        /// The subnet's id.
        subnet: String,
        /// The port's address.
        address: IpAddr,
        /// The subnet's addresses.
        cidr: IpNet,
    },
    /// The subnet is one address.
    #[error("subnet {0}: without a gateway, no address is left to serve it from")]
    NoServer(String),
    /// The network is no IPv4 network.
    #[error("an MTU of {0} bytes is below {MIN_MTU}, which DHCP needs")]
    Mtu(u16),
}

/// A port in one of its subnets, which says by one word or another that it is to be served there.
pub(super) struct Client<'a> {
    /// The guest's MAC.
    pub mac: Mac,
    /// The subnet's id, and what it is known by.
    pub id: String,
    pub subnet: SubnetIx,
    pub described: &'a Revised<Subnet, SubnetConfiguration>,
    /// The port's addresses in it.
    pub own: Vec<IpAddr>,
    pub state: Option<&'a Dhcp>,
}

impl<'a> Client<'a> {
    fn find(wanted: &'a Wanted, port: &WantedPort, subnet: SubnetIx) -> Result<Self, NoLease> {
        let slot = wanted.subnet(subnet).ok_or(NoLease::NoAddress)?;
        let described = slot.wanted.as_ref().ok_or(NoLease::NoAddress)?;
        let (mac, id) = (port.mac, slot.id.to_string());
        let client = DhcpClient {
            subnet: id.clone(),
            mac,
        };
        let state = wanted.dhcp_of(&client);
        if state.is_none() && !described.said.dhcp_enable {
            return Err(NoLease::Off(id));
        }
        let own = port.fixed_ips.iter().filter(|(of, _)| *of == subnet);
        Ok(Self {
            mac,
            id,
            subnet,
            described,
            own: own.map(|(_, address)| *address).collect(),
            state,
        })
    }
}

/// What a port is told in the first of its subnets in which it is served, or else why it is not in the first of all; `None`
/// if it has no address `of_version`.
pub(super) fn first_served<L>(
    wanted: &Wanted,
    port: PortIx,
    of_version: impl Fn(&IpAddr) -> bool,
    serve: impl Fn(Client<'_>) -> Result<Offer<L>, NoLease>,
) -> Option<Result<Offer<L>, NoLease>> {
    let port = &wanted.port(port)?.wanted.as_ref()?.value;
    // Few, of addresses that may be a thousand.
    let mut subnets = Vec::new();
    for (subnet, _) in port.fixed_ips.iter().filter(|(_, ip)| of_version(ip)) {
        if !subnets.contains(subnet) {
            subnets.push(*subnet);
        }
    }
    let mut offers = subnets
        .into_iter()
        .map(|subnet| Client::find(wanted, port, subnet).and_then(&serve));
    let first = offers.next()?;
    Some(first.or_else(|why| offers.find_map(Result::ok).ok_or(why)))
}

/// The address that the state says in a field, if it says one, and it is the port's own; otherwise that is a problem, and
/// something else is `served`.
pub(super) fn choose<A: Copy + PartialEq + FromStr>(
    own: &[A],
    state: &Dhcp,
    (field, text): (&'static str, &str),
    served: impl Display,
    problems: &mut Vec<FieldError>,
) -> Option<A> {
    let said = text.parse().ok().filter(|said| own.contains(said));
    if said.is_none() && !text.is_empty() {
        let at = Field::entry("dhcp_states", &state.said.id);
        let at = at.field("configuration");
        let problem = format_args!("{} is not the port's: {served}", Quote(text));
        problems.push(at.field(field).error(problem));
    }
    said
}

/// An error if an address is not in its subnet.
pub(super) fn within(subnet: &str, address: IpAddr, cidr: IpNet) -> Result<(), NoLease> {
    let outside = || NoLease::Outside {
        subnet: subnet.to_owned(),
        address,
        cidr,
    };
    cidr.contains(&address).then_some(()).ok_or_else(outside)
}
