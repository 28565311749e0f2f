// SPDX-License-Identifier: MIT
//! [`Vnis`]: which VPC has a VNI. A VNI is one L2 domain, so it is one VPC's: the one whose subnets have named it longest.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use vswitch::wire::Vni;

use super::Wanted;
use super::network::{SubnetIx, VpcIx};

/// What a subnet names: its own VNI or its VPC's, for its VPC.
pub(super) type Named = (Vni, VpcIx);

/// VPCs by the VNIs that their subnets name.
#[derive(Debug, Default)]
pub(super) struct Vnis {
    claims: HashMap<Named, Claim>,
    /// By VNI and age.
    by_age: BTreeSet<(Vni, u64, VpcIx)>,
}

/// A VPC names a VNI.
#[derive(Debug)]
struct Claim {
    since: u64,
    subnets: u32,
}

impl Vnis {
    fn owner(&self, vni: Vni) -> Option<VpcIx> {
        let mut claims = self.by_age.range((vni, 0, VpcIx::new(0))..);
        let (of, _, vpc) = claims.next()?;
        (*of == vni).then_some(*vpc)
    }

    fn since(&self, named: Named) -> Option<u64> {
        Some(self.claims.get(&named)?.since)
    }

    /// One subnet more that names it.
    fn name(&mut self, named: Named, now: u64) {
        let new = Claim {
            since: now,
            subnets: 0,
        };
        let claim = self.claims.entry(named).or_insert(new);
        claim.subnets += 1;
        self.by_age.insert((named.0, claim.since, named.1));
    }

    /// One subnet less.
    fn release(&mut self, named: Named) {
        let Some(claim) = self.claims.get_mut(&named) else {
            return;
        };
        claim.subnets -= 1;
        if claim.subnets == 0 {
            self.by_age.remove(&(named.0, claim.since, named.1));
            self.claims.remove(&named);
        }
    }

    fn set_since(&mut self, named: Named, since: u64) {
        if let Some(claim) = self.claims.get_mut(&named) {
            self.by_age.remove(&(named.0, claim.since, named.1));
            claim.since = since;
            self.by_age.insert((named.0, since, named.1));
        }
    }
}

impl Wanted {
    /// The VPC that has the VNI: of those that name it the one that has for longest.
    pub(crate) fn vni_owner(&self, vni: Vni) -> Option<VpcIx> {
        self.vnis.owner(vni)
    }

    /// Since when the subnet's VPC has named the subnet's VNI; 0 without a VNI.
    pub(super) fn vni_since(&self, ix: SubnetIx) -> u64 {
        let named = self.subnets.get(ix).and_then(|slot| slot.named);
        named
            .and_then(|named| self.vnis.since(named))
            .unwrap_or_default()
    }

    /// Notes what the subnet names after it or its VPC has changed.
    pub(super) fn name_vni(&mut self, ix: SubnetIx, now: u64) {
        let Some(slot) = self.subnets.get_mut(ix) else {
            return;
        };
        let wanted = slot.wanted.as_ref().zip(slot.vpc);
        let named = wanted.and_then(|(subnet, vpc_ix)| {
            let vpc = self.vpcs.get(vpc_ix).and_then(|vpc| vpc.wanted.as_ref());
            let vni = subnet.value.vni.or(vpc.and_then(|vpc| vpc.value.vni));
            Some((vni?, vpc_ix))
        });
        let former = std::mem::replace(&mut slot.named, named);
        if former != named {
            // First the new one: a VPC that changes only subnets goes on.
            named
                .into_iter()
                .for_each(|named| self.vnis.name(named, now));
            former
                .into_iter()
                .for_each(|named| self.vnis.release(named));
        }
    }

    /// The same for a subnet of a part, with its age: its VNI may be another VPC's then.
    pub(super) fn name_vni_since(&mut self, ix: SubnetIx, since: u64) {
        self.name_vni(ix, since);
        let Some(named) = self.subnets.get(ix).and_then(|slot| slot.named) else {
            return;
        };
        let before = self.vnis.owner(named.0);
        self.vnis.set_since(named, since);
        let after = self.vnis.owner(named.0);
        if before != after {
            for vpc in [before, after].into_iter().flatten() {
                let subnets = self.vpcs.get(vpc).map(|vpc| &vpc.subnets);
                self.touched.subnets.extend(subnets.into_iter().flatten());
            }
        }
    }
}
