// SPDX-License-Identifier: MIT
//! Ports of this host: their role in the snapshot, and their claims on addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use vswitch::tables::{
    AddressPair, Attachment, Guard, Hop, Lease, Lease6, Neighbor, PortId, Role, TenantPort,
};

use super::claims::Rank;
use super::{IpKey, MacKey, Obstacle, Program};
use crate::core::PortNews;
use crate::dhcp::offer::{NoLease, Offer};
use crate::state::Wanted;
use crate::state::network::SubnetIx;
use crate::state::port::{PortIx, PortSlot, WantedPort};

/// What is programmed of a port.
#[derive(Debug)]
pub(crate) struct ProgrammedPort {
    /// The switch's port that has the role; `None`: none has.
    pub(super) role: Option<(PortId, Arc<TenantPort>)>,
    claims: PortClaims,
    /// What it is told by DHCP, or why nothing.
    pub(super) offer: Result<Offer, NoLease>,
    /// The same of DHCPv6.
    pub(super) offer6: Result<Offer<Lease6>, NoLease>,
    /// What is missing, if anything.
    obstacle: Option<Obstacle>,
}

impl ProgrammedPort {
    /// What it says of addresses.
    pub(super) fn ips(&self) -> impl Iterator<Item = (&IpKey, &Neighbor)> {
        self.claims.ips.iter()
    }

    /// What it says of MACs.
    pub(super) fn macs(&self) -> impl Iterator<Item = (&MacKey, &Neighbor)> {
        self.claims.macs.iter()
    }
}

#[cfg(test)]
impl ProgrammedPort {
    /// How many MACs and addresses it claims.
    pub(super) fn claims(&self) -> [usize; 2] {
        [self.claims.macs.len(), self.claims.ips.len()]
    }

    /// True if this is what gave the switch's port `n` the role of `tenant`.
    pub(super) fn has_role(&self, n: usize, tenant: &Arc<TenantPort>) -> bool {
        self.role
            .as_ref()
            .is_some_and(|role| role.0.index() == n && Arc::ptr_eq(&role.1, tenant))
    }
}

/// The addresses that a port claims.
#[derive(Debug, Default)]
struct PortClaims {
    rank: Option<Rank>,
    ips: BTreeMap<IpKey, Neighbor>,
    macs: BTreeMap<MacKey, Neighbor>,
}

impl Program {
    /// Why the port is not, or not wholly, programmed.
    pub(super) fn port_state(&self, wanted: &Wanted, ix: PortIx) -> Result<(), Obstacle> {
        let own = self.ports.get(&ix).and_then(|port| port.obstacle.clone());
        let lacks_device = || self.ports.contains_key(&ix) && !wanted.has_device(ix);
        let obstacle = own
            .or_else(|| lacks_device().then_some(Obstacle::NoDevice(ix)))
            .or_else(|| self.group_obstacle(wanted, ix));
        obstacle.map_or(Ok(()), Err)
    }

    /// Keeps, from now on, what there is to know of ports for whoever makes devices.
    pub(crate) fn note_ports(&mut self) {
        self.port_news = Some(Vec::new());
    }

    /// What was kept since this was asked for last.
    pub(crate) fn take_port_news(&mut self) -> Vec<PortNews> {
        self.port_news
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Works the port out anew and programs the difference.
    pub(super) fn update_port(&mut self, wanted: &Wanted, ix: PortIx) {
        let described = wanted
            .port(ix)
            .and_then(|slot| Some((slot, &slot.wanted.as_ref()?.value)));
        let mut new = described.map(|(slot, port)| self.resolve_port(wanted, ix, slot, port));
        if let (Some(news), Some(slot)) = (&mut self.port_news, wanted.port(ix)) {
            news.push(PortNews {
                id: slot.id.clone(),
                name: (slot.wanted.as_ref()).map(|port| port.said.name.clone()),
                bound: slot.bound,
            });
        }
        let old = self.ports.remove(&ix);
        self.switch_roles(old.as_ref(), new.as_mut());
        let full = new.as_mut().and_then(|new| self.claim_all(&mut new.claims));
        if let Some(old) = old {
            self.withdraw_all(&old.claims, new.as_ref().map(|new| &new.claims));
        }
        if let Some(mut new) = new {
            new.obstacle = full.or(new.obstacle);
            self.ports.insert(ix, new);
        }
    }

    /// The port with this role has no room in a table for `ip` or `mac`.
    pub(super) fn void(
        &mut self,
        role: PortId,
        ip: Option<IpKey>,
        mac: Option<MacKey>,
        full: Obstacle,
    ) {
        let has_role = |port: &&mut ProgrammedPort| port.role.as_ref().is_some_and(|r| r.0 == role);
        let Some(port) = self.ports.values_mut().find(has_role) else {
            return;
        };
        port.obstacle = Some(full);
        let Some(rank) = port.claims.rank else { return };
        let ip = ip.filter(|key| port.claims.ips.remove(key).is_some());
        let mac = mac.filter(|key| port.claims.macs.remove(key).is_some());
        ip.into_iter().for_each(|key| self.withdraw_ip(key, rank));
        mac.into_iter().for_each(|key| self.withdraw_mac(key, rank));
    }

    /// What there is to program of the port, on tables with room for all.
    pub(super) fn resolve_port(
        &self,
        wanted: &Wanted,
        ix: PortIx,
        slot: &PortSlot,
        port: &WantedPort,
    ) -> ProgrammedPort {
        let Some(id) = slot.bound else {
            return ProgrammedPort {
                role: None,
                claims: PortClaims::default(),
                offer: Err(NoLease::NoAddress),
                offer6: Err(NoLease::NoIpv6),
                obstacle: Some(Obstacle::NoDevice(ix)),
            };
        };
        let mut obstacle = None;
        let mut claims = PortClaims {
            rank: Some(Rank::port(slot.changed)),
            ..PortClaims::default()
        };
        let mut attachments: ArrayVec<Attachment, _> = ArrayVec::new();
        let mut attached = Vec::new();
        for &(subnet, ip) in &port.fixed_ips {
            let here = match self.resolved(subnet) {
                Ok(here) if here.takes(ip) => here,
                Ok(_) => {
                    obstacle = Some(Obstacle::OtherVersion(subnet, ip));
                    continue;
                }
                // What makes no sense is to be told before what is missing.
                Err(missing) => {
                    obstacle = obstacle.filter(Obstacle::is_invalid).or(Some(missing));
                    continue;
                }
            };
            let value = Neighbor {
                mac: port.mac,
                vni: here.vni,
                hop: Hop::Local(id),
            };
            claims.ips.entry((here.vpc, ip)).or_insert(value);
            claims.macs.entry((here.domain, port.mac)).or_insert(value);
            if !attached.contains(&subnet)
                && attachments
                    .try_push(self.attachment(wanted, subnet, here))
                    .is_ok()
            {
                attached.push(subnet);
            }
        }
        let offer = Offer::<Lease>::of_port(wanted, ix, self.site.tenant_mtu());
        // What it cannot use yet, it is not told.
        let offer = offer.and_then(|offer| match attached.contains(&offer.subnet) {
            true => Ok(offer),
            false => Err(NoLease::NoAddress),
        });
        let offer6 = Offer::<Lease6>::of_port(wanted, ix);
        let offer6 = offer6.and_then(|offer| match attached.contains(&offer.subnet) {
            true => Ok(offer),
            false => Err(NoLease::NoIpv6),
        });
        let tenant = TenantPort {
            mac: port.mac,
            admin_up: port.admin_up,
            takes_tags: self.site.rules(id).takes_tags,
            guard: self.site.is_guarded(id).then(|| guard(port)),
            lease: offer.as_ref().ok().map(|offer| offer.lease.clone()),
            lease6: offer6.as_ref().ok().map(|offer| offer.lease.clone()),
            attachments,
        };
        // Without a single subnet there is nothing to switch in.
        let role = (!tenant.attachments.is_empty()).then(|| (id, Arc::new(tenant)));
        ProgrammedPort {
            role,
            claims,
            offer,
            offer6,
            obstacle,
        }
    }

    fn attachment(&self, wanted: &Wanted, subnet: SubnetIx, here: &super::Resolved) -> Attachment {
        let routes = self.routes.get(&subnet);
        Attachment {
            vni: here.vni,
            domain: here.domain,
            vpc: here.vpc,
            cidr: here.cidr,
            gateway_mac: here.gateway_mac,
            gateway_ip: here.gateway_ip,
            gateways: match routes {
                Some(routes) => routes.gateways.clone(),
                None => here.gateway_ip.into_iter().collect(),
            },
            host_dvr_mac: routes.map(|routes| routes.dvr_mac),
            routes: routes.map_or_else(|| self.no_routes.clone(), |routes| routes.table.clone()),
            advertisement: self.advertisement(wanted, subnet).0.into(),
            group: self.group_of(here.vpc_ix),
            replication: self.replication_of(subnet, here.domain),
        }
    }

    /// Gives the role that `new` asks for and takes the one of `old`, as far as they differ for workers.
    fn switch_roles(&mut self, old: Option<&ProgrammedPort>, new: Option<&mut ProgrammedPort>) {
        let old = old.and_then(|old| old.role.as_ref());
        let new = new.and_then(|new| new.role.as_mut());
        if let Some((port, _)) = old.filter(|old| new.as_ref().is_none_or(|new| new.0 != old.0)) {
            self.writer.set_role(*port, Role::Unbound);
        }
        let Some(new) = new else { return };
        match old.filter(|old| old.0 == new.0) {
            Some(old) if same(&old.1, &new.1) => *new = old.clone(),
            Some(_) => self.writer.set_role(new.0, Role::Tenant(new.1.clone())),
            None => {
                self.unseen.insert(new.0);
                self.writer.set_role(new.0, Role::Tenant(new.1.clone()));
            }
        }
    }

    /// Claims everything there is room for, and forgets the rest; returns the first error, if any.
    fn claim_all(&mut self, new: &mut PortClaims) -> Option<Obstacle> {
        let rank = new.rank?;
        let mut full = None;
        let mut claimed = |result: Result<(), Obstacle>| {
            let claimed = result.is_ok();
            full = full.take().or(result.err());
            claimed
        };
        new.ips
            .retain(|key, value| claimed(self.claim_ip(*key, rank, *value)));
        new.macs
            .retain(|key, value| claimed(self.claim_mac(*key, rank, *value)));
        full
    }

    /// Withdraws what is in `old` and not in `new`.
    fn withdraw_all(&mut self, old: &PortClaims, new: Option<&PortClaims>) {
        let Some(rank) = old.rank else { return };
        let kept = new.filter(|new| new.rank == old.rank);
        for key in old
            .ips
            .keys()
            .filter(|key| kept.is_none_or(|kept| !kept.ips.contains_key(*key)))
        {
            self.withdraw_ip(*key, rank);
        }
        for key in old
            .macs
            .keys()
            .filter(|key| kept.is_none_or(|kept| !kept.macs.contains_key(*key)))
        {
            self.withdraw_mac(*key, rank);
        }
    }
}

/// What the guest may send from: its own addresses first, which nearly all packets come from, and of these the IPv4 ones.
/// The link-local address that is made of its MAC is the guard's to know.
fn guard(port: &WantedPort) -> Guard {
    let mut own: Vec<_> = port.fixed_ips.iter().map(|(_, ip)| *ip).collect();
    own.sort_by_key(IpAddr::is_ipv6); // the others stay in their order
    let own = own.into_iter().map(|ip| AddressPair {
        mac: port.mac,
        prefix: ip.into(),
    });
    let allowed = port.pairs.iter().map(|pair| AddressPair {
        mac: pair.mac.unwrap_or(port.mac),
        prefix: pair.prefix,
    });
    Guard::new(&own.chain(allowed).collect::<Vec<_>>())
}

/// Whether workers would behave the same with either.
pub(super) fn same(a: &TenantPort, b: &TenantPort) -> bool {
    let same_attachment = |(a, b): (&Attachment, &Attachment)| {
        (
            a.vni,
            a.domain,
            a.vpc,
            a.cidr,
            a.gateway_mac,
            a.gateway_ip,
            &a.gateways,
            a.host_dvr_mac,
            &a.advertisement,
            &a.replication,
        ) == (
            b.vni,
            b.domain,
            b.vpc,
            b.cidr,
            b.gateway_mac,
            b.gateway_ip,
            &b.gateways,
            b.host_dvr_mac,
            &b.advertisement,
            &b.replication,
        ) && Arc::ptr_eq(&a.routes, &b.routes)
            && a.group.as_ref().map(Arc::as_ptr) == b.group.as_ref().map(Arc::as_ptr)
    };
    a.mac == b.mac
        && a.admin_up == b.admin_up
        && a.takes_tags == b.takes_tags
        && a.guard == b.guard
        && a.lease == b.lease
        && a.lease6 == b.lease6
        && a.attachments.len() == b.attachments.len()
        && a.attachments
            .iter()
            .zip(&b.attachments)
            .all(same_attachment)
}
