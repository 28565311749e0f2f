// SPDX-License-Identifier: MIT
//! DHCP states: whether workers tell guests what they say.

use std::fmt;

use serde_json::json;
use vswitch::tables::{Lease6, Role, TenantPort};
use vswitch::wire::nd;

use super::audit::Gap;
use super::port::ProgrammedPort;
use super::show::{Rows, join, state};
use super::{Obstacle, Program};
use crate::dhcp::offer::{NoLease, Offer};
use crate::southbound::field::FieldError;
use crate::state::Wanted;
use crate::state::resource::DhcpClient;

impl Program {
    /// Why the client is not, or not wholly, told what its DHCP state says.
    pub(super) fn dhcp_state(&self, wanted: &Wanted, client: &DhcpClient) -> Result<(), Obstacle> {
        let (_, offer) = self.offer(wanted, client)?;
        match offer.problems().first() {
            Some(problem) => Err(Obstacle::Told(problem.clone())),
            None => Ok(()),
        }
    }

    /// The client's port, and what that is told.
    fn offer<'a>(
        &'a self,
        wanted: &Wanted,
        client: &DhcpClient,
    ) -> Result<(&'a ProgrammedPort, Told<'a>), Obstacle> {
        let port = wanted.port_of(client).and_then(|ix| self.ports.get(&ix));
        let port = port.ok_or_else(|| Obstacle::NoClient(client.clone().into()))?;
        let no_lease = |why: &NoLease| Obstacle::NoLease(why.clone().into());
        let (offer, ix) = match wanted.is_ipv6(&client.subnet) {
            true => {
                let offer = port.offer6.as_ref().map_err(no_lease)?;
                (Told::V6(offer), offer.subnet)
            }
            false => {
                let offer = port.offer.as_ref().map_err(no_lease)?;
                (Told::V4(offer), offer.subnet)
            }
        };
        let subnet = wanted.subnet(ix);
        if subnet.is_none_or(|subnet| *subnet.id != *client.subnet) {
            return Err(Obstacle::OtherOffer(ix));
        }
        Ok((port, offer))
    }

    pub(super) fn audit_dhcp(&self, wanted: &Wanted, client: &DhcpClient) -> Result<(), Gap> {
        let (port, offer) = self.offer(wanted, client).map_err(Gap::Obstacle)?;
        let tables = self.writer.published();
        let told = port.role.as_ref().is_some_and(
            |(id, _)| matches!(tables.role(*id), Role::Tenant(seen) if offer.is_told(seen)),
        );
        told.then_some(()).ok_or(Gap::Lost)
    }

    pub(super) fn show_dhcp(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        for (client, dhcp) in wanted.dhcp() {
            rows.push(|| {
                let offer = self.offer(wanted, client).ok().map(|(_, offer)| offer);
                json!({
                    "mac": client.mac.to_string(),
                    "subnet": client.subnet,
                    "ipv4": dhcp.said.ipv4_address,
                    "ipv6": dhcp.said.ipv6_address,
                    "host_name": dhcp.said.port_host_name,
                    "id": dhcp.said.id,
                    "told": offer.map(|offer| offer.to_string()),
                    "state": state(wanted, self.dhcp_state(wanted, client)),
                })
            });
        }
        rows
    }
}

/// What a client is told, by the version of DHCP that its subnet has.
#[derive(Clone, Copy)]
pub(super) enum Told<'a> {
    /// By DHCPv4.
    V4(&'a Offer),
    /// By DHCPv6.
    V6(&'a Offer<Lease6>),
}

impl Told<'_> {
    fn problems(&self) -> &[FieldError] {
        match self {
            Self::V4(offer) => &offer.problems,
            Self::V6(offer) => &offer.problems,
        }
    }

    /// Whether workers tell it to this guest.
    fn is_told(&self, guest: &TenantPort) -> bool {
        match self {
            Self::V4(offer) => guest.lease.as_ref() == Some(&offer.lease),
            Self::V6(offer) => guest.lease6.as_ref() == Some(&offer.lease),
        }
    }
}

/// In short.
impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (addresses, server, seconds, options) = match self {
            Self::V4(offer) => {
                let lease = &offer.lease;
                let options = join(lease.options.codes().map(|code| code.to_string()));
                let (address, server) = (lease.address.to_string(), lease.server.to_string());
                (address, server, lease.seconds, options)
            }
            Self::V6(offer) => {
                let lease = &offer.lease;
                let options = join(lease.options.iter().map(|(code, _)| code.to_string()));
                let addresses = join(lease.addresses.iter().map(ToString::to_string));
                let server = nd::link_local(lease.server_mac).to_string();
                (addresses, server, lease.seconds, options)
            }
        };
        write!(
            f,
            "{addresses} by {server} for {seconds} s, options {options}"
        )
    }
}
