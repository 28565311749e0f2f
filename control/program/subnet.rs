// SPDX-License-Identifier: MIT
//! Subnets: the VNI, the L2 domain and the VPC that everything in them uses.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vswitch::tables::{DomainId, VpcId};
use vswitch::wire::{Mac, Vni};

use super::{Obstacle, Program};
use crate::state::Wanted;
use crate::state::network::{SubnetIx, VpcIx};

/// A subnet as tables know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Its VNI: its own, or its VPC's.
    pub vni: Vni,
    /// The number of that VNI.
    pub domain: DomainId,
    /// The number of its VPC.
    pub vpc: VpcId,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// Its gateway's MAC, if it has one.
    pub gateway_mac: Option<Mac>,
    /// Its gateway's address, if it has one and it was said.
    pub gateway_ip: Option<Ipv4Addr>,
    /// Whom the VPC's number was given to.
    vpc_ix: VpcIx,
}

impl Program {
    /// The subnet as tables know it, or why they do not.
    pub(super) fn resolved(&self, ix: SubnetIx) -> Result<&Resolved, Obstacle> {
        match self.subnets.get(&ix) {
            Some(Ok(resolved)) => Ok(resolved),
            Some(Err(obstacle)) => Err(obstacle.clone()),
            None => Err(Obstacle::NoSubnet(ix)),
        }
    }

    /// Works the subnet out anew. True: it is another than before for those in it.
    pub(super) fn update_subnet(&mut self, wanted: &Wanted, ix: SubnetIx) -> bool {
        // First the new numbers, then the old ones back: what stays the same keeps its number.
        let new = self.resolve_subnet(wanted, ix);
        let old = match new.clone() {
            Some(new) => self.subnets.insert(ix, new),
            None => self.subnets.remove(&ix),
        };
        if let Some(Ok(old)) = &old {
            self.vpcs.release(&old.vpc_ix);
            if self.domains.release(&old.vni) {
                self.vni_owners.remove(&old.vni);
            }
        }
        old != new
    }

    /// `None`: it is not described.
    fn resolve_subnet(
        &mut self,
        wanted: &Wanted,
        ix: SubnetIx,
    ) -> Option<Result<Resolved, Obstacle>> {
        let slot = wanted.subnet(ix)?;
        let subnet = &slot.wanted.as_ref()?.value;
        let vpc_ix = slot.vpc?;
        let vpc = wanted.vpc(vpc_ix)?.wanted.as_ref();
        let Some(vni) = subnet.vni.or(vpc.and_then(|vpc| vpc.value.vni)) else {
            return Some(Err(Obstacle::NoVni(ix)));
        };
        // Also while the tables still have it as another's, who is about to leave.
        let owners = [wanted.vni_owner(vni), self.vni_owners.get(&vni).copied()];
        if let Some(owner) = owners.into_iter().flatten().find(|owner| *owner != vpc_ix) {
            self.contested.insert(ix);
            return Some(Err(Obstacle::VniTaken(vni, owner)));
        }
        let Some(vpc) = self.vpcs.acquire(vpc_ix).map(VpcId) else {
            return Some(Err(Obstacle::NoNumber));
        };
        let Some(domain) = self.domains.acquire(vni).map(DomainId) else {
            self.vpcs.release(&vpc_ix);
            return Some(Err(Obstacle::NoNumber));
        };
        self.vni_owners.insert(vni, vpc_ix);
        Some(Ok(Resolved {
            vni,
            domain,
            vpc,
            cidr: subnet.cidr,
            gateway_mac: subnet.gateway.map(|gateway| gateway.mac),
            gateway_ip: subnet.gateway.and_then(|gateway| gateway.ip),
            vpc_ix,
        }))
    }
}
