// SPDX-License-Identifier: MIT
//! DHCP states: whether workers tell guests what they say.

use serde_json::json;
use vswitch::tables::Role;

use super::audit::Gap;
use super::port::ProgrammedPort;
use super::show::{Rows, join, state};
use super::{Obstacle, Program};
use crate::dhcp::lease::{NoLease, Offer};
use crate::state::Wanted;
use crate::state::resource::DhcpClient;

impl Program {
    /// Why the client is not, or not wholly, told what its DHCP state says.
    pub(super) fn dhcp_state(&self, wanted: &Wanted, client: &DhcpClient) -> Result<(), Obstacle> {
        let (_, offer) = self.offer(wanted, client)?;
        match offer.problems.first() {
            Some(problem) => Err(Obstacle::Told(problem.clone().into())),
            None => Ok(()),
        }
    }

    /// The client's port, and what that is told.
    fn offer(
        &self,
        wanted: &Wanted,
        client: &DhcpClient,
    ) -> Result<(&ProgrammedPort, &Offer), Obstacle> {
        let port = wanted.port_of(client).and_then(|ix| self.ports.get(&ix));
        let port = port.ok_or_else(|| Obstacle::NoClient(client.clone().into()))?;
        let no_lease = |why: &NoLease| Obstacle::NoLease(why.clone().into());
        if wanted.is_ipv6(&client.subnet) {
            return Err(no_lease(&NoLease::Ipv6(client.subnet.clone())));
        }
        let offer = port.offer.as_ref().map_err(no_lease)?;
        let subnet = wanted.subnet(offer.subnet);
        if subnet.is_none_or(|subnet| *subnet.id != *client.subnet) {
            return Err(Obstacle::OtherOffer(offer.subnet));
        }
        Ok((port, offer))
    }

    pub(super) fn audit_dhcp(&self, wanted: &Wanted, client: &DhcpClient) -> Result<(), Gap> {
        let (port, offer) = self.offer(wanted, client).map_err(Gap::Obstacle)?;
        let tables = self.writer.published();
        let told = port.role.as_ref().is_some_and(|(id, _)| {
            matches!(tables.role(*id), Role::Tenant(seen) if seen.lease.as_ref() == Some(&offer.lease))
        });
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
                    "told": offer.map(told),
                    "state": state(wanted, self.dhcp_state(wanted, client)),
                })
            });
        }
        rows
    }
}

/// What a guest is told, in short.
pub(super) fn told(offer: &Offer) -> String {
    let lease = &offer.lease;
    let options = join(lease.options.codes().map(|code| code.to_string()));
    let (address, server, seconds) = (lease.address, lease.server, lease.seconds);
    format!("{address} by {server} for {seconds} s, options {options}")
}
