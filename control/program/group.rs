// SPDX-License-Identifier: MIT
//! Groups of gateways: the machines that know the neighbors of a VPC that this host was not told of. They are made for VPCs
//! with a port of the switch, of the gateways of type ZETA that the VPC names, whichever of the three comes last.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use vswitch::tables::{GatewayGroup, Hop, HopId, MAX_MEMBERS, Neighbor};

use super::{Obstacle, Program};
use crate::state::Wanted;
use crate::state::gateway::{Gateway, Unusable};
use crate::state::network::{SubnetIx, VpcIx, VpcSlot};
use crate::state::port::PortIx;

/// What is programmed of a VPC's gateways.
#[derive(Debug)]
pub(crate) struct Group {
    /// Machines by address, each once; each holds its next hop.
    members: Vec<(IpAddr, HopId)>,
    /// Compiled. Stays the same object as long as the members do, and is shared by VPCs with the same.
    pub(super) table: Option<Arc<GatewayGroup>>,
    /// What gateways lack, by their ids.
    lacking: Vec<(Box<str>, Obstacle)>,
}

impl Program {
    /// Why the gateway is not, or not wholly, programmed.
    pub(super) fn gateway_state(&self, wanted: &Wanted, id: &str) -> Result<(), Obstacle> {
        let Some(gateway) = wanted.gateway(id) else {
            return Ok(());
        };
        if let Some(unusable) = Unusable::of(&gateway.said) {
            return Err(Obstacle::Unusable(unusable));
        }
        if gateway.value.is_empty() {
            return Err(Obstacle::NoMachine);
        }
        let mut users = wanted.gateway_users(id).peekable();
        if users.peek().is_none() {
            return Err(Obstacle::NoVpc);
        }
        let groups = users.filter_map(|vpc| self.groups.get(&vpc));
        let mut lacking = groups.flat_map(|group| &group.lacking);
        let of_it = lacking.find(|(of, _)| **of == *id);
        of_it.map_or(Ok(()), |(_, obstacle)| Err(obstacle.clone()))
    }

    /// Why the VPC is not wholly programmed: also for what its gateways lack, whether they came before it or after.
    pub(super) fn vpc_state(&self, wanted: &Wanted, ix: VpcIx) -> Result<(), Obstacle> {
        let mut ids = wanted.gateways_of(ix).into_iter();
        if let Some(missing) = ids.find(|id| wanted.gateway(id).is_none()) {
            return Err(Obstacle::NoGateway(missing.into()));
        }
        let group = self.groups.get(&ix);
        let lacking = group.and_then(|group| group.lacking.first());
        lacking.map_or(Ok(()), |(_, obstacle)| Err(obstacle.clone()))
    }

    /// What the gateways of a port's VPC lack: they are made when the VPC has a port, and that may come last.
    pub(super) fn group_obstacle(&self, wanted: &Wanted, ix: PortIx) -> Option<Obstacle> {
        let port = &wanted.port(ix)?.wanted.as_ref()?.value;
        let subnets = port.fixed_ips.iter();
        let vpcs = subnets.filter_map(|(subnet, _)| Self::vpc_of(wanted, *subnet));
        let mut lacking = vpcs.filter_map(|vpc| self.groups.get(&vpc)?.lacking.first());
        lacking.next().map(|(_, obstacle)| obstacle.clone())
    }

    /// The gateways of a subnet's VPC.
    pub(super) fn group_of(&self, vpc: VpcIx) -> Option<Arc<GatewayGroup>> {
        self.groups.get(&vpc)?.table.clone()
    }

    /// The VPC and the address of the gateway that a packet was left to, as its `neighbor` says.
    pub(super) fn gateway_at(&self, neighbor: Neighbor) -> Option<(VpcIx, IpAddr)> {
        let Hop::Remote(hop) = neighbor.hop else {
            return None;
        };
        let vpc = *self.vni_owners.get(&neighbor.vni)?;
        let members = &self.groups.get(&vpc)?.members;
        let (ip, _) = members.iter().find(|(_, of)| *of == hop)?;
        Some((vpc, *ip))
    }

    /// Next hops of all groups, once for each.
    #[cfg(test)]
    pub(super) fn group_hops(&self) -> impl Iterator<Item = HopId> {
        let members = self.groups.values().flat_map(|group| &group.members);
        members.map(|(_, hop)| *hop)
    }

    /// VPCs with ports here one of whose gateways is a machine of this kind.
    pub(super) fn grouped<'a>(
        &'a self,
        wanted: &'a Wanted,
        is_one: impl Fn(IpAddr) -> bool + 'a,
    ) -> impl Iterator<Item = VpcIx> + 'a {
        self.groups.keys().copied().filter(move |vpc| {
            let mut gateways = Self::machines_of(wanted, *vpc);
            gateways.any(|(_, gateway)| gateway.value.iter().any(|(ip, _)| is_one(*ip)))
        })
    }

    /// The machines of the gateways that a VPC names, by the ids of the gateways.
    pub(super) fn machines_of(
        wanted: &Wanted,
        vpc: VpcIx,
    ) -> impl Iterator<Item = (&str, &Gateway)> {
        let ids = wanted.gateways_of(vpc).into_iter();
        let gateways = ids.filter_map(|id| Some((id, wanted.gateway(id)?)));
        gateways.filter(|(_, gateway)| Unusable::of(&gateway.said).is_none())
    }

    /// Works the group of a VPC anew. The ports that have to know.
    pub(super) fn update_group(&mut self, wanted: &Wanted, ix: VpcIx) -> Vec<PortIx> {
        let mut new = self.resolve_group(wanted, ix);
        let is_full = |(_, obstacle): &(_, Obstacle)| matches!(obstacle, Obstacle::Full(_));
        match new
            .as_ref()
            .is_some_and(|new| new.lacking.iter().any(is_full))
        {
            true => self.crowded_groups.insert(ix),
            false => self.crowded_groups.remove(&ix),
        };
        let old = self.groups.remove(&ix);
        let both = old.as_ref().zip(new.as_ref());
        let unchanged = both.is_some_and(|(old, new)| old.members == new.members);
        let same = match (&old, &mut new) {
            (None, None) => true,
            (Some(old), Some(new)) if unchanged => {
                new.table.clone_from(&old.table);
                true
            }
            (_, Some(new)) => {
                let mut others = self.groups.values();
                new.table = match others.find(|other| other.members == new.members) {
                    Some(other) => other.table.clone(),
                    None => GatewayGroup::new(&new.members).map(Arc::new),
                };
                new.table.is_none() && old.as_ref().is_none_or(|old| old.table.is_none())
            }
            (Some(old), None) => old.table.is_none(),
        };
        let hops_left = self.hops_left;
        for (_, hop) in old.into_iter().flat_map(|old| old.members) {
            self.release_hop(hop);
        }
        if unchanged {
            self.hops_left = hops_left; // the new group has them all
        }
        self.groups.extend(new.map(|new| (ix, new)));
        match wanted.vpc(ix) {
            Some(slot) if !same => bound_ports(wanted, slot).collect(),
            _ => Vec::new(),
        }
    }

    /// `None`: the VPC names no gateway, or no port of the switch is in it.
    fn resolve_group(&mut self, wanted: &Wanted, ix: VpcIx) -> Option<Group> {
        let slot = wanted.vpc(ix)?;
        let named = !slot.wanted.as_ref()?.said.gateway_ids.is_empty();
        if !named || bound_ports(wanted, slot).next().is_none() {
            return None;
        }
        let mut group = Group {
            members: Vec::new(),
            table: None,
            lacking: Vec::new(),
        };
        // What is described counts, not what can be reached from here: hosts agree on who is in the group.
        let mut described = HashSet::new();
        let mut reached = HashMap::new();
        for (id, gateway) in Self::machines_of(wanted, ix) {
            let ips = gateway.value.iter().map(|(ip, _)| *ip);
            let more: HashSet<_> = ips.filter(|ip| !described.contains(ip)).collect();
            if described.len() + more.len() > MAX_MEMBERS {
                let obstacle = Obstacle::TooManyMachines(ix);
                group.lacking.push((id.into(), obstacle));
                continue;
            }
            described.extend(more);
            let (mut works, mut lacking) = (false, Vec::new());
            for (ip, mac) in &gateway.value {
                // What this host itself would be asked for, it has no neighbor for either.
                if self.site.is_own(*ip) {
                    continue;
                }
                let hop = reached.entry(*ip);
                match hop.or_insert_with(|| self.hop_towards(*ip, Some(*mac))) {
                    Ok(_) => works = true,
                    Err(obstacle) => lacking.push(obstacle.clone()),
                }
            }
            // Machines of the version that this host has no VTEP of are other hosts'.
            lacking.retain(|obstacle| !works || !matches!(obstacle, Obstacle::NoVtepLike(_)));
            let lacking = lacking.into_iter().map(|obstacle| (id.into(), obstacle));
            group.lacking.extend(lacking);
        }
        let members = reached.into_iter();
        let members = members.filter_map(|(ip, hop)| Some((ip, hop.ok()?)));
        group.members.extend(members);
        group.members.sort_unstable_by_key(|(ip, _)| *ip);
        Some(group)
    }

    /// The VPC of a subnet.
    pub(super) fn vpc_of(wanted: &Wanted, subnet: SubnetIx) -> Option<VpcIx> {
        wanted.subnet(subnet)?.vpc
    }
}

/// The ports of a VPC that are plugged into the switch.
fn bound_ports<'a>(wanted: &'a Wanted, vpc: &'a VpcSlot) -> impl Iterator<Item = PortIx> + 'a {
    let subnets = vpc.subnets.iter().filter_map(|ix| wanted.subnet(*ix));
    let ports = subnets.flat_map(|subnet| subnet.ports.iter().copied());
    ports.filter(|ix| wanted.port(*ix).is_some_and(|port| port.bound.is_some()))
}
