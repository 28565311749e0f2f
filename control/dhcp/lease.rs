// SPDX-License-Identifier: MIT
//! What a guest is told by DHCPv4. Where a DHCP state and its subnet disagree:
//!
//! * The **address** is one of the port's own in that subnet, for forwarding and anti-spoofing go by those: the one that
//!   the DHCP state says, or, if that is none of them, the first, and the state's is a problem to report.
//! * **Option by option**, the subnet's `extra_dhcp_options` win over what follows from other fields, but for the host
//!   name, which a DHCP state says for one port. A port's `name` is for people, and is no host name.
//! * The **routes** of routers are the switch's own to follow: guests send to their gateway. Static routes of option 121
//!   are those that `extra_dhcp_options` say, and the default route, without which clients would have none (RFC 3442
//!   tells them to ignore option 3 then). Option 249, Microsoft's number for the same, follows 121 unless it is said.
//! * An **MTU** above what the network carries is refused, and the network's is told. Workers know what the guest's port
//!   takes, and tell that if it is less.
//!
//! A value that is wrong costs that value and no more: the rest is served, and the problem names its field.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use vswitch::tables::{Lease, LeaseOptions};
use vswitch::wire::Mac;

use super::offer::{Client, NoLease, Offer, choose, first_served, within};
use super::told::Told;
use crate::proto::schema::SubnetConfiguration;
use crate::southbound::field::Field;
use crate::state::Wanted;
use crate::state::port::PortIx;

/// How long a lease is by default, in seconds: that of Alcor's agent.
pub(super) const DEFAULT_SECONDS: u32 = 86_400;

/// Smallest MTU of a network with DHCP, in bytes: what a client must take (RFC 2131 section 2).
pub(crate) const MIN_MTU: u16 = 576;

/// Options that are told first where not all fit: what a guest cannot do without, by code. Others come by number.
const IMPORTANT: [u8; 9] = [26, 121, 3, 6, 249, 12, 15, 119, 42];

/// A lease in the making.
#[derive(Debug)]
pub(super) struct Terms {
    /// The guest's MAC.
    pub mac: Mac,
    /// Its address, and the length of its subnet's prefix.
    pub address: Ipv4Net,
    /// The server identifier: the subnet's gateway, since the switch answers ARP for it, so that a client that renews
    /// its lease by unicast reaches the switch. Without a gateway, the first host address of the subnet that is not the
    /// guest's own: the client renews by broadcast when its time for unicast is over.
    pub server: Ipv4Addr,
    /// The MAC of the gateway; without one, one that no vendor gave away.
    pub server_mac: Mac,
    /// How long it may be used, in seconds.
    pub seconds: u32,
    /// Longest IP packet that gets through, in bytes.
    pub mtu: u16,
    /// From where to boot, 0.0.0.0 for nowhere: the header's `siaddr`, `sname` and `file`.
    pub boot_address: Ipv4Addr,
    /// At most 63 bytes.
    pub boot_server: Vec<u8>,
    /// At most 127 bytes.
    pub boot_file: Vec<u8>,
    /// What else a client may ask for, as it stands in a message, by code.
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Offer {
    /// What `port` is told: in the first of its subnets in which it is served, or else why it is not in the first of all.
    pub(crate) fn of_port(wanted: &Wanted, port: PortIx, mtu: u16) -> Result<Self, NoLease> {
        let served = |client: Client<'_>| Self::of(client, mtu);
        first_served(wanted, port, IpAddr::is_ipv4, served).unwrap_or(Err(NoLease::NoAddress))
    }

    /// What a client is told, as things stand, where IP packets may be `mtu` bytes long; and what the controller says wrong of
    /// it, and is left out. Takes time in proportion to what is said of it.
    fn of(client: Client<'_>, mtu: u16) -> Result<Self, NoLease> {
        let Client {
            mac,
            id,
            subnet,
            described,
            own,
            state,
        } = client;
        let IpNet::V4(cidr) = described.value.cidr else {
            return Err(NoLease::NoAddress);
        };
        let own = own.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let own: Vec<_> = own.collect();
        let first = *own.first().ok_or(NoLease::NoAddress)?;
        if mtu < MIN_MTU {
            return Err(NoLease::Mtu(mtu));
        }
        let mut problems = Vec::new();
        let said = state.and_then(|state| {
            let text = &state.said.ipv4_address;
            choose(
                &own,
                state,
                ("ipv4_address", text),
                format_args!("{first} is served"),
                &mut problems,
            )
        });
        let address = said.unwrap_or(first);
        within(&id, address.into(), described.value.cidr)?;
        let gateway = gateway(&described.said);
        let server = gateway.or_else(|| cidr.hosts().find(|host| *host != address));
        let server = server.ok_or_else(|| NoLease::NoServer(id.clone()))?;
        let gateway_mac = described.value.gateway.map(|gateway| gateway.mac);
        let mut terms = Terms {
            mac,
            address: Ipv4Net::new(address, cidr.prefix_len())
                .map_err(|_| NoLease::NoServer(id.clone()))?,
            server,
            server_mac: gateway_mac.unwrap_or_else(|| local_mac(server)),
            seconds: DEFAULT_SECONDS,
            mtu,
            boot_address: Ipv4Addr::UNSPECIFIED,
            boot_server: Vec::new(),
            boot_file: Vec::new(),
            options: BTreeMap::new(),
        };
        let at = Field::entry("subnet_states", &id);
        Told::new(&mut terms, &mut problems).all(
            &at.field("configuration"),
            &described.said,
            gateway,
            state.map(|state| &*state.said),
        );
        Ok(Self {
            lease: Arc::new(terms.into()),
            subnet,
            problems,
        })
    }
}

impl From<Terms> for Lease {
    fn from(terms: Terms) -> Self {
        let all = &terms.options;
        let important = IMPORTANT.iter().filter_map(|code| all.get_key_value(code));
        let options = important
            .chain(all)
            .map(|(code, option)| (*code, &**option));
        Self {
            mac: terms.mac,
            address: terms.address,
            server: terms.server,
            server_mac: terms.server_mac,
            seconds: terms.seconds,
            mtu: terms.mtu,
            boot: (
                terms.boot_address,
                terms.boot_server.into(),
                terms.boot_file.into(),
            ),
            options: LeaseOptions::new(options),
        }
    }
}

/// A locally administered MAC for a server that has none.
fn local_mac(server: Ipv4Addr) -> Mac {
    let [a, b, c, d] = server.octets();
    Mac::new([0xfe, 0, a, b, c, d])
}

/// The gateway that guests are told, also one that the switch does not play, since the controller gave no MAC for it.
fn gateway(said: &SubnetConfiguration) -> Option<Ipv4Addr> {
    let gateway: Ipv4Addr = said.gateway.as_ref()?.ip_address.parse().ok()?;
    (!gateway.is_unspecified()).then_some(gateway)
}
