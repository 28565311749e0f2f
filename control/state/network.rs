// SPDX-License-Identifier: MIT
//! VPCs and their subnets.

use std::collections::BTreeSet;

use vswitch::wire::Vni;

use super::neighbor::NeighborIx;
use super::port::PortIx;
use super::resource::{Described, Subnet, Vpc};
use super::router::RouterIx;
use super::slots::{Ix, Slot};
use super::vnis::Named;
use super::{Refused, Revised, Subject, Wanted};
use crate::proto::schema::{SubnetConfiguration, VpcConfiguration};

/// Number of a VPC's slot.
pub(crate) type VpcIx = Ix<VpcSlot>;
/// Number of a subnet's slot.
pub(crate) type SubnetIx = Ix<SubnetSlot>;

/// A VPC that was described, or that a subnet names.
#[derive(Debug)]
pub(crate) struct VpcSlot {
    /// As the controller calls it.
    pub id: Box<str>,
    /// What the controller says of it.
    pub wanted: Option<Revised<Vpc, VpcConfiguration>>,
    /// Subnets that say they are in it.
    pub subnets: BTreeSet<SubnetIx>,
}

/// A subnet that was described, or that another resource names.
#[derive(Debug)]
pub(crate) struct SubnetSlot {
    /// As the controller calls it.
    pub id: Box<str>,
    /// What the controller says of it.
    pub wanted: Option<Revised<Subnet, SubnetConfiguration>>,
    /// Its VPC, while it is described.
    pub vpc: Option<VpcIx>,
    /// The VNI that it names, and for which VPC.
    pub(super) named: Option<Named>,
    /// Ports with an address in it.
    pub ports: BTreeSet<PortIx>,
    /// Routers that connect it.
    pub routers: BTreeSet<RouterIx>,
    /// Neighbors in it; each knows its place here.
    pub neighbors: Vec<NeighborIx>,
}

impl Slot for VpcSlot {
    fn new(id: Box<str>) -> Self {
        Self {
            id,
            wanted: None,
            subnets: BTreeSet::new(),
        }
    }
    fn id(&self) -> &str {
        &self.id
    }
    fn in_use(&self) -> bool {
        self.wanted.is_some() || !self.subnets.is_empty()
    }
}

impl Slot for SubnetSlot {
    fn new(id: Box<str>) -> Self {
        let (ports, routers) = (BTreeSet::new(), BTreeSet::new());
        Self {
            id,
            wanted: None,
            vpc: None,
            named: None,
            ports,
            routers,
            neighbors: Vec::new(),
        }
    }
    fn id(&self) -> &str {
        &self.id
    }
    fn in_use(&self) -> bool {
        let alone = self.ports.is_empty() && self.routers.is_empty() && self.neighbors.is_empty();
        self.wanted.is_some() || !alone
    }
}

impl Wanted {
    /// The VPC of this number.
    pub(crate) fn vpc(&self, ix: VpcIx) -> Option<&VpcSlot> {
        self.vpcs.get(ix)
    }

    /// The subnet of this number.
    pub(crate) fn subnet(&self, ix: SubnetIx) -> Option<&SubnetSlot> {
        self.subnets.get(ix)
    }

    /// True for the id of a subnet of IPv6 addresses.
    pub(crate) fn is_ipv6(&self, id: &str) -> bool {
        let slot = self.subnets.find(id).and_then(|ix| self.subnets.get(ix));
        let subnet = slot.and_then(|slot| slot.wanted.as_ref());
        subnet.is_some_and(|subnet| subnet.value.cidr.addr().is_ipv6())
    }

    /// All VPCs.
    pub(crate) fn vpcs(&self) -> impl Iterator<Item = (VpcIx, &VpcSlot)> {
        self.vpcs.iter()
    }

    /// All subnets.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = (SubnetIx, &SubnetSlot)> {
        self.subnets.iter()
    }

    pub(super) fn set_vpc(
        &mut self,
        id: &str,
        revision: u32,
        vpc: Option<Described<Vpc, VpcConfiguration>>,
    ) -> Result<Subject, Refused> {
        let now = self.clock.tick();
        let Some(ix) = self.vpcs.slot_for(id, vpc.is_some())? else {
            return Ok(Subject::Nothing);
        };
        let Some(slot) = self.vpcs.get_mut(ix) else {
            return Ok(Subject::Nothing);
        };
        let revision = self.revisions.next(slot.wanted.as_ref(), revision)?;
        let old = slot.wanted.take();
        let new = vpc.map(|Described { value, mut said }| {
            // A controller that leaves the VNI out does not take it back: Alcor often does not know it.
            let vni = value.vni.or(old.as_ref().and_then(|old| old.value.vni));
            said.tunnel_id = vni.map_or(0, Vni::get);
            Revised::new(revision, Vpc { vni }, said)
        });
        let gateways = |vpc: Option<&Revised<Vpc, VpcConfiguration>>| {
            vpc.map(|vpc| vpc.said.gateway_ids.clone())
                .unwrap_or_default()
        };
        let (before, after) = (gateways(old.as_ref()), gateways(new.as_ref()));
        let differs = old.as_ref().map(|old| &old.value) != new.as_ref().map(|new| &new.value);
        let subnets = differs.then(|| slot.subnets.clone());
        self.unused.vpcs.push(ix);
        let subject = if new.is_some() {
            Subject::Vpc(ix)
        } else {
            Subject::Nothing
        };
        slot.wanted = new;
        self.set_gateways_of(ix, &before, &after);
        for subnet in subnets.into_iter().flatten() {
            self.touched.subnets.insert(subnet);
            self.name_vni(subnet, now);
        }
        Ok(subject)
    }

    pub(super) fn set_subnet(
        &mut self,
        id: &str,
        revision: u32,
        subnet: Option<Described<Subnet, SubnetConfiguration>>,
    ) -> Result<Subject, Refused> {
        let now = self.clock.tick();
        let Some(ix) = self.subnets.slot_for(id, subnet.is_some())? else {
            return Ok(Subject::Nothing);
        };
        let Some(slot) = self.subnets.get_mut(ix) else {
            return Ok(Subject::Nothing);
        };
        let revision = self.revisions.next(slot.wanted.as_ref(), revision)?;
        self.touched.subnets.insert(ix);
        self.unused.subnets.push(ix);
        let old = slot.wanted.take();
        if let Some(old_vpc) = slot.vpc.take() {
            self.unused.vpcs.push(old_vpc);
            self.touched.grouped.insert(old_vpc);
            if let Some(vpc) = self.vpcs.get_mut(old_vpc) {
                vpc.subnets.remove(&ix);
            }
        }
        let Some(Described {
            value: mut subnet,
            mut said,
        }) = subnet
        else {
            self.name_vni(ix, now);
            return Ok(Subject::Nothing);
        };
        let vpc = self.vpcs.intern(&subnet.vpc);
        if let Some(vpc) = self.vpcs.get_mut(vpc) {
            vpc.subnets.insert(ix);
        }
        // As with a VPC's: a placeholder takes nothing back.
        let known = old
            .as_ref()
            .filter(|old| old.value.vpc == subnet.vpc)
            .and_then(|old| old.value.vni);
        subnet.vni = subnet.vni.or(known);
        if let Some(vni) = subnet.vni {
            said.tunnel_id = vni.get().into();
        }
        // What its ports are told by DHCP.
        if old.is_none_or(|old| old.said != said) {
            self.touched.ports.extend(&slot.ports);
        }
        slot.vpc = Some(vpc);
        slot.wanted = Some(Revised::new(revision, subnet, said));
        match self.clock.is_given() {
            true => self.name_vni_since(ix, now),
            false => self.name_vni(ix, now),
        }
        Ok(Subject::Subnet(ix))
    }
}
