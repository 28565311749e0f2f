// SPDX-License-Identifier: MIT
//! Subnets: the VNI, the L2 domain and the VPC that everything in them uses.

use std::net::IpAddr;

use ipnet::IpNet;
use vswitch::tables::{Advertisement, DomainId, VpcId};
use vswitch::wire::{Mac, Vni};

use super::{Obstacle, Program};
use crate::dhcp::advertisement::advertisement;
use crate::southbound::field::FieldError;
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
    pub cidr: IpNet,
    /// Its gateway's MAC, if it has one.
    pub gateway_mac: Option<Mac>,
    /// Its gateway's address, if it has one and it was said.
    pub gateway_ip: Option<IpAddr>,
    /// Whom the VPC's number was given to.
    pub(super) vpc_ix: VpcIx,
}

impl Resolved {
    /// Whether an address that is said to be in the subnet is of its version of IP.
    pub(super) fn takes(&self, ip: IpAddr) -> bool {
        self.cidr.addr().is_ipv4() == ip.is_ipv4()
    }
}

impl Program {
    /// Why the subnet is not, or not wholly, programmed.
    pub(super) fn subnet_state(&self, wanted: &Wanted, ix: SubnetIx) -> Result<(), Obstacle> {
        self.resolved(ix)?;
        let (_, problems) = self.advertisement(wanted, ix);
        let problem = problems.into_iter().next();
        problem.map_or(Ok(()), |problem| Err(Obstacle::Told(problem)))
    }

    /// What the gateway says, if it is an IPv6 subnet's, and what is wrong with that.
    pub(super) fn advertisement(
        &self,
        wanted: &Wanted,
        ix: SubnetIx,
    ) -> (Advertisement, Vec<FieldError>) {
        let slot = wanted.subnet(ix);
        let described = slot.and_then(|slot| Some((slot, slot.wanted.as_ref()?)));
        match described {
            Some((slot, subnet)) if subnet.value.cidr.addr().is_ipv6() => {
                advertisement(&slot.id, &subnet.said, self.site.tenant_mtu())
            }
            _ => Default::default(),
        }
    }

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
