// SPDX-License-Identifier: MIT
//! Whether what is wanted is what workers see: looked up in their tables, not concluded from what was once done.

use std::net::IpAddr;

use vswitch::tables::{Neighbor, Role};
use vswitch::wire::Vni;

use super::neighbor::Placement;
use super::port::same;
use super::{Obstacle, Program};
use crate::proto::schema::OperationStatus;
use crate::state::neighbor::NeighborIx;
use crate::state::network::{SubnetIx, VpcIx};
use crate::state::port::PortIx;
use crate::state::{Subject, Wanted};

/// Why a resource is not, or not wholly, in the workers' tables.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// It lacks something.
    Obstacle(Obstacle),
    /// Nobody used it for long, see `core::on_demand`.
    Idle,
    /// Another resource has its address, or the same one by a later entry.
    Taken,
    /// It was there, and is not.
    Lost,
}

impl Gap {
    /// The status that it stands for.
    pub(crate) fn status(&self) -> OperationStatus {
        match self {
            Self::Obstacle(obstacle) => obstacle.status(),
            Self::Idle | Self::Taken => OperationStatus::Pending,
            Self::Lost => OperationStatus::Failure,
        }
    }

    /// The same in words.
    pub(crate) fn explain(&self, wanted: &Wanted) -> String {
        let words = match self {
            Self::Obstacle(obstacle) => return obstacle.explain(wanted).to_string(),
            Self::Idle => "nobody has used it for long; the next packet to it puts it back",
            Self::Taken => "a port or a later entry has its address",
            Self::Lost => "the workers' tables have it no longer, or otherwise",
        };
        words.to_owned()
    }
}

impl Program {
    /// Whether workers see the resource as it is wanted, when all that was committed is settled. What leaves no trace of
    /// its own in their tables (VPCs, subnets, routers, gateways) is seen in those of the ports that use it.
    pub(crate) fn audit(&self, wanted: &Wanted, subject: &Subject) -> Result<(), Gap> {
        self.state(wanted, subject).map_err(Gap::Obstacle)?;
        match subject {
            Subject::Port(ix) => self.audit_port(wanted, *ix),
            Subject::Neighbor(all) => all.iter().try_for_each(|ix| self.audit_neighbor(*ix)),
            Subject::Dhcp(client) => self.audit_dhcp(wanted, client),
            _ => Ok(()),
        }
    }

    /// Next hops of rules that nobody has: router, subnet of the rule if it is not one of the router's default table, next hop.
    pub(crate) fn unknown_next_hops<'a>(
        &'a self,
        wanted: &'a Wanted,
    ) -> impl Iterator<Item = (&'a str, Option<SubnetIx>, IpAddr)> {
        wanted.routers().flat_map(move |(ix, slot)| {
            let missing = self.missing_hops(wanted, ix);
            missing.map(move |(is_default, subnet, hop)| {
                (&*slot.id, (!is_default).then_some(subnet), hop)
            })
        })
    }

    /// Subnets whose VNI another VPC has.
    pub(crate) fn taken_vnis(&self) -> impl Iterator<Item = (SubnetIx, Vni, VpcIx)> {
        self.subnets.iter().filter_map(|(ix, state)| match state {
            Err(Obstacle::VniTaken(vni, owner)) => Some((*ix, *vni, *owner)),
            _ => None,
        })
    }

    /// The VNI that the subnet is behind, if it has one.
    pub(crate) fn vni_of(&self, subnet: SubnetIx) -> Option<Vni> {
        Some(self.resolved(subnet).ok()?.vni)
    }

    fn audit_port(&self, wanted: &Wanted, ix: PortIx) -> Result<(), Gap> {
        let described = wanted.port(ix);
        let described = described.and_then(|slot| Some((slot, &slot.wanted.as_ref()?.value)));
        let Some((slot, port)) = described else {
            return Ok(());
        };
        let tables = self.writer.published();
        let due = self.resolve_port(wanted, ix, slot, port);
        if let Some((id, tenant)) = &due.role {
            match tables.role(*id) {
                Role::Tenant(seen) if same(seen, tenant) => {}
                _ => return Err(Gap::Lost),
            }
        }
        for (key, value) in due.ips() {
            let seen = tables.neighbors.find_ip(key.0, key.1);
            compare(*value, self.by_ip.winner(*key), seen)?;
        }
        for (key, value) in due.macs() {
            let seen = tables.neighbors.find_mac(key.0, key.1);
            compare(*value, self.by_mac.winner(*key), seen)?;
        }
        Ok(())
    }

    fn audit_neighbor(&self, ix: NeighborIx) -> Result<(), Gap> {
        let placed = match self.neighbors.get(ix.get()) {
            Some(Placement::Placed(placed)) => placed,
            Some(Placement::Here) => return Ok(()),
            Some(Placement::Idle) => return Err(Gap::Idle),
            Some(Placement::Waiting(obstacle)) => return Err(Gap::Obstacle(obstacle.clone())),
            Some(Placement::Unknown) | None => return Err(Gap::Lost),
        };
        let tables = &self.writer.published().neighbors;
        let (ip, mac) = (placed.ip, placed.mac());
        let seen = tables.find_ip(ip.0, ip.1);
        compare(placed.value, self.by_ip.winner(ip), seen)?;
        let seen = tables.find_mac(mac.0, mac.1);
        compare(placed.value, self.by_mac.winner(mac), seen)
    }
}

/// Whether workers see what a resource says of a key, given who has it.
fn compare(due: Neighbor, winner: Option<Neighbor>, seen: Option<Neighbor>) -> Result<(), Gap> {
    match seen {
        Some(seen) if seen == due => Ok(()),
        Some(seen) if winner == Some(seen) => Err(Gap::Taken),
        _ => Err(Gap::Lost),
    }
}
