// SPDX-License-Identifier: MIT
//! Which of the controller's neighbors an entry of the neighbor tables comes from.

use std::net::IpAddr;

use vswitch::stage::punt::Sought;
use vswitch::tables::Neighbor;

use super::Program;
use super::neighbor::Placement;
use super::subnet::Resolved;
use crate::state::Wanted;
use crate::state::neighbor::NeighborSlot;

impl Program {
    /// The neighbor that says `entry` of what was sought for a packet to `to`; of several the latest. Nearly always it is in
    /// a subnet that has the address: looks at the neighbors of these, and at all of the VPC, or of the L2 domain, only if it
    /// is not.
    pub(super) fn claimant<'a>(
        &self,
        wanted: &'a Wanted,
        sought: Sought,
        entry: Neighbor,
        to: Option<IpAddr>,
    ) -> Option<&'a NeighborSlot> {
        let address = match sought {
            Sought::Ip(_, ip) => Some(ip),
            Sought::Mac(..) => to,
        };
        let has_it = |subnet: &Resolved| address.is_some_and(|ip| subnet.cidr.contains(&ip));
        let near = self.claimant_in(wanted, sought, entry, has_it);
        near.or_else(|| self.claimant_in(wanted, sought, entry, |_| true))
    }

    /// The same of the neighbors `among` the subnets.
    fn claimant_in<'a>(
        &self,
        wanted: &'a Wanted,
        sought: Sought,
        entry: Neighbor,
        among: impl Fn(&Resolved) -> bool,
    ) -> Option<&'a NeighborSlot> {
        let may_have = |subnet: &Resolved| match sought {
            Sought::Ip(vpc, _) => subnet.vpc == vpc,
            Sought::Mac(domain, _) => subnet.domain == domain,
        };
        let subnets = wanted.subnets().filter(|(ix, _)| {
            let subnet = self.resolved(*ix);
            subnet.is_ok_and(|subnet| may_have(subnet) && among(subnet))
        });
        let says_so = |placement: &Placement| match (placement, sought) {
            (Placement::Placed(placed), Sought::Ip(vpc, ip)) => {
                placed.value == entry && placed.ip == (vpc, ip)
            }
            (Placement::Placed(placed), Sought::Mac(domain, mac)) => {
                placed.value == entry && placed.mac() == (domain, mac)
            }
            _ => false,
        };
        let neighbors = subnets.flat_map(|(_, subnet)| &subnet.neighbors);
        let claimants = neighbors.filter(|ix| self.neighbors.get(ix.get()).is_some_and(says_so));
        let slots = claimants.filter_map(|ix| wanted.neighbor(*ix));
        slots.max_by_key(|slot| slot.changed)
    }
}
