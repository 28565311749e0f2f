// SPDX-License-Identifier: MIT
//! [`Stale`]: what was wanted before a restart, and that the controller has not said since.

use hashbrown::HashSet;

use super::Wanted;
use super::neighbor::NeighborIx;
use super::resource::Change;
use crate::proto::schema::ResourceType;

/// Stale resources. Empty but for the time after a restart.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    /// By kind and id.
    described: HashSet<(ResourceType, Box<str>)>,
    neighbors: HashSet<NeighborIx>,
}

impl Stale {
    /// Number of resources; of neighbors, each address counts.
    fn len(&self) -> usize {
        self.described.len() + self.neighbors.len()
    }

    pub(super) fn is(&self, kind: ResourceType, id: &str) -> bool {
        // No look-up takes a pair of borrowed parts; and who asks asks once per resource.
        self.described.contains(&(kind, id.into()))
    }

    pub(super) fn is_neighbor(&self, ix: NeighborIx) -> bool {
        self.neighbors.contains(&ix)
    }

    /// The controller has said it, or it is gone and its number may be another neighbor's soon.
    pub(super) fn remove_neighbor(&mut self, ix: NeighborIx) {
        if !self.neighbors.is_empty() {
            self.neighbors.remove(&ix);
        }
    }

    /// The controller has said it, or it is gone. Not for neighbors.
    pub(super) fn remove(&mut self, kind: ResourceType, id: &str) {
        if !self.described.is_empty() {
            self.described.remove(&(kind, id.into()));
        }
    }
}

impl Change {
    /// True unless it deletes.
    pub(super) const fn describes(&self) -> bool {
        match self {
            Self::Vpc(vpc) => vpc.is_some(),
            Self::Subnet(subnet) => subnet.is_some(),
            Self::Router(router) => router.is_some(),
            Self::Port(port) => port.is_some(),
            Self::Neighbor(neighbor) => neighbor.place.is_some(),
            Self::SecurityGroup(group) => group.is_some(),
            Self::Dhcp(dhcp) => dhcp.said.is_some(),
            Self::Gateway(gateway) => gateway.is_some(),
        }
    }

    /// The kind of resource that it changes.
    pub(super) const fn kind(&self) -> ResourceType {
        match self {
            Self::Vpc(_) => ResourceType::Vpc,
            Self::Subnet(_) => ResourceType::Subnet,
            Self::Router(_) => ResourceType::Router,
            Self::Port(_) => ResourceType::Port,
            Self::Neighbor(_) => ResourceType::Neighbor,
            Self::SecurityGroup(_) => ResourceType::Securitygroup,
            Self::Dhcp(_) => ResourceType::Dhcp,
            Self::Gateway(_) => ResourceType::Gateway,
        }
    }
}

impl Wanted {
    /// From now on everything is stale that the controller does not say again. Returns how much that is.
    pub(crate) fn expect_again(&mut self) -> usize {
        let described = self.described_ids().collect();
        let neighbors = self.neighbors().map(|(ix, _)| ix).collect();
        let stale = Stale {
            described,
            neighbors,
        };
        self.stale = stale;
        self.stale.len()
    }

    /// From now on nothing is stale.
    pub(crate) fn expect_nothing(&mut self) {
        self.stale = Stale::default();
    }

    /// Stale resources, to show them: kind and id, or address.
    pub(crate) fn stale_names(&self) -> impl Iterator<Item = (&'static str, String)> {
        let described = self.stale.described.iter();
        let described = described.map(|(kind, id)| (kind.as_str_name(), id.to_string()));
        let neighbors = self.stale.neighbors.iter().filter_map(|ix| {
            let slot = self.neighbor(*ix)?;
            let name = format!("{} ({})", slot.ip, slot.id);
            Some((ResourceType::Neighbor.as_str_name(), name))
        });
        described.chain(neighbors)
    }

    /// Kinds and ids of all resources that are described, but neighbors.
    fn described_ids(&self) -> impl Iterator<Item = (ResourceType, Box<str>)> {
        macro_rules! ids {
            ($kind:ident, $slots:ident) => {
                self.$slots().filter_map(|(_, slot)| {
                    let described = slot.wanted.is_some();
                    described.then(|| (ResourceType::$kind, slot.id.clone()))
                })
            };
        }
        let kept = self.security_groups();
        let groups = kept.map(|(id, _)| (ResourceType::Securitygroup, id.into()));
        let dhcp = self.dhcp();
        let dhcp = dhcp.map(|(_, dhcp)| (ResourceType::Dhcp, dhcp.said.id.as_str().into()));
        let gateways = self.gateways();
        let gateways = gateways.map(|(id, _)| (ResourceType::Gateway, id.into()));
        ids!(Vpc, vpcs)
            .chain(ids!(Subnet, subnets))
            .chain(ids!(Router, routers))
            .chain(ids!(Port, ports))
            .chain(groups)
            .chain(dhcp)
            .chain(gateways)
    }
}
