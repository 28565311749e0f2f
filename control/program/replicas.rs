// SPDX-License-Identifier: MIT
//! Head-end replication: the hosts that broadcasts are copied to, of subnets of which the operator wants it. Each neighbor counts
//! for its host, in constant time, and only in such subnets; workers get a new list when a host comes or goes. Subnets that share
//! a VNI share the list.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;
use vswitch::tables::snapshot::Writer;
use vswitch::tables::{DomainId, Endpoints, Hop, HopId, MAX_REPLICATED_HOSTS, Replication, Role};

use super::Program;
use super::neighbor::Placement;
use crate::core::TooManyNamed;
use crate::state::Wanted;
use crate::state::network::SubnetIx;
use crate::state::port::PortIx;

/// All subnets with replication that are programmed.
#[derive(Default)]
pub(crate) struct Replicas {
    subnets: HashMap<SubnetIx, Replica>,
    domains: HashMap<DomainId, Domain>,
    /// L2 domains whose list may be another by now.
    stale: BTreeSet<DomainId>,
}

/// A subnet.
struct Replica {
    rate: u32,
    domain: DomainId,
    /// How many neighbors are reached by a next hop.
    neighbors: HashMap<HopId, u32>,
    /// Next hops by host, each with the MAC it leads to first: one, unless its neighbors disagree on that. Then the highest
    /// counts, so that it does not matter who came first.
    hosts: BTreeMap<IpAddr, SmallVec<[(u64, HopId); 1]>>,
}

/// An L2 domain.
#[derive(Default)]
struct Domain {
    subnets: BTreeSet<SubnetIx>,
    /// What workers see, up to [`MAX_REPLICATED_HOSTS`]; each is held.
    hosts: Arc<[HopId]>,
    /// There are more.
    left_out: bool,
}

/// What operators are shown of a subnet.
pub(super) struct Shown {
    pub(super) rate: u32,
    /// Hosts and ports here that a frame of a guest elsewhere would get to.
    pub(super) receivers: usize,
}

impl Replica {
    /// A neighbor is reached by this next hop. True: it is the first.
    fn add(&mut self, hop: HopId, writer: &Writer) -> bool {
        let count = self.neighbors.entry(hop).or_default();
        *count += 1;
        let first = *count == 1;
        if first && let Some((host, mac)) = host(writer, hop) {
            self.hosts.entry(host).or_default().push((mac, hop));
        }
        first
    }

    /// One is no longer. True: it was the last.
    fn remove(&mut self, hop: HopId, writer: &Writer) -> bool {
        let Some(count) = self.neighbors.get_mut(&hop) else {
            return false;
        };
        *count -= 1;
        if *count != 0 {
            return false;
        }
        self.neighbors.remove(&hop);
        if let Some((host, _)) = host(writer, hop)
            && let Some(hops) = self.hosts.get_mut(&host)
        {
            hops.retain(|(_, other)| *other != hop);
            if hops.is_empty() {
                self.hosts.remove(&host);
            }
        }
        true
    }
}

/// The host that a next hop, which somebody holds, leads to, and the MAC by which it does ([`Mac::word`](vswitch::wire::Mac)).
fn host(writer: &Writer, hop: HopId) -> Option<(IpAddr, u64)> {
    let [first, _] = writer.ways(hop)?;
    let host = match first.endpoints {
        Endpoints::V4 { dst, .. } => dst.into(),
        Endpoints::V6 { dst, .. } => dst.into(),
    };
    Some((host, first.dst_mac.word()))
}

impl Program {
    /// True if the hosts of a subnet's neighbors get copies of broadcasts.
    pub(crate) fn replicates(&self, subnet: SubnetIx) -> bool {
        self.replicas.subnets.contains_key(&subnet)
    }

    /// Says in which subnets there is replication, see [`Replicated::say`](crate::core::Replicated::say). To switch it on takes
    /// time linear in the subnet's neighbors, once.
    pub(crate) fn set_replicated(
        &mut self,
        wanted: &Wanted,
        id: Option<&str>,
        rate: Option<u32>,
    ) -> Result<(), TooManyNamed> {
        self.site.replicated.say(id, rate)?;
        let subnets: Vec<_> = self.subnets.keys().copied().collect();
        self.update_replicas(wanted, &subnets);
        Ok(())
    }

    /// A neighbor is programmed otherwise. Its next hops are still held, the former and the new one.
    pub(super) fn count_replicas(&mut self, old: &Placement, new: &Placement) {
        if self.replicas.subnets.is_empty() {
            return;
        }
        let [old, new] = [old, new].map(|placement| match placement {
            Placement::Placed(placed) => Some((placed.subnet, placed.value.hop)),
            _ => None,
        });
        if old == new {
            return;
        }
        let Replicas { subnets, stale, .. } = &mut self.replicas;
        if let Some((subnet, Hop::Remote(hop))) = new
            && let Some(replica) = subnets.get_mut(&subnet)
            && replica.add(hop, &self.writer)
        {
            stale.insert(replica.domain);
        }
        if let Some((subnet, Hop::Remote(hop))) = old
            && let Some(replica) = subnets.get_mut(&subnet)
            && replica.remove(hop, &self.writer)
        {
            stale.insert(replica.domain);
        }
    }

    /// Looks whether there is replication in these subnets, whose neighbors are programmed, and tells workers.
    pub(super) fn update_replicas(&mut self, wanted: &Wanted, subnets: &[SubnetIx]) {
        let mut ports = BTreeSet::new();
        for &ix in subnets {
            let slot = wanted.subnet(ix);
            let here = self.resolved(ix).ok().zip(slot);
            let new = here
                .and_then(|(here, slot)| Some((self.site.replicated.rate(&slot.id)?, here.domain)));
            let old = self.replicas.subnets.get(&ix);
            if old.map(|old| (old.rate, old.domain)) == new {
                continue;
            }
            if let Some(old) = self.replicas.subnets.remove(&ix) {
                self.replicas.stale.insert(old.domain);
                if let Some(domain) = self.replicas.domains.get_mut(&old.domain) {
                    domain.subnets.remove(&ix);
                }
            }
            if let Some((rate, domain)) = new {
                let replica = self.replica(wanted, ix, rate, domain);
                self.replicas.subnets.insert(ix, replica);
                self.replicas.stale.insert(domain);
                let domain = self.replicas.domains.entry(domain).or_default();
                domain.subnets.insert(ix);
            }
            ports.extend(slot.into_iter().flat_map(|slot| &slot.ports));
        }
        self.refresh_replicas(wanted, ports);
    }

    /// Tells workers of hosts that came or went, and of what changed for these ports.
    pub(super) fn refresh_replicas(&mut self, wanted: &Wanted, mut ports: BTreeSet<PortIx>) {
        while let Some(domain) = self.replicas.stale.pop_first() {
            if self.update_hosts(domain) {
                let domain = self.replicas.domains.get(&domain);
                let subnets = domain.into_iter().flat_map(|domain| &domain.subnets);
                let slots = subnets.filter_map(|ix| wanted.subnet(*ix));
                ports.extend(slots.flat_map(|slot| &slot.ports));
            }
        }
        for port in ports {
            self.update_port(wanted, port);
        }
    }

    /// What workers see of a subnet's replication, which is in this domain by now.
    pub(super) fn replication_of(&self, ix: SubnetIx, domain: DomainId) -> Option<Replication> {
        let replica = self.replicas.subnets.get(&ix)?;
        let hosts = &self.replicas.domains.get(&replica.domain)?.hosts;
        (replica.domain == domain).then(|| Replication {
            rate: replica.rate,
            hosts: Arc::clone(hosts),
        })
    }

    /// What operators are shown of it. `None`: there is none.
    pub(super) fn shown_replication(&self, ix: SubnetIx) -> Option<Shown> {
        let replica = self.replicas.subnets.get(&ix)?;
        let hosts = self.replicas.domains.get(&replica.domain)?.hosts.len();
        let ports = self.writer.published().ports.iter();
        let ports = ports.filter(|role| match role {
            Role::Tenant(guest) => guest.admin_up && guest.gets_copies(replica.domain),
            _ => false,
        });
        Some(Shown {
            rate: replica.rate,
            receivers: hosts + ports.count(),
        })
    }

    /// The subnet with all neighbors that are programmed.
    fn replica(&self, wanted: &Wanted, ix: SubnetIx, rate: u32, domain: DomainId) -> Replica {
        let mut replica = Replica {
            rate,
            domain,
            neighbors: HashMap::new(),
            hosts: BTreeMap::new(),
        };
        let neighbors = wanted.subnet(ix).into_iter();
        for neighbor in neighbors.flat_map(|slot| &slot.neighbors) {
            if let Some(Placement::Placed(placed)) = self.neighbors.get(neighbor.get())
                && let Hop::Remote(hop) = placed.value.hop
            {
                replica.add(hop, &self.writer);
            }
        }
        replica
    }

    /// Makes the list of a domain's hosts anew. True: it is another.
    fn update_hosts(&mut self, id: DomainId) -> bool {
        let Replicas {
            subnets, domains, ..
        } = &mut self.replicas;
        let Some(domain) = domains.get_mut(&id) else {
            return false;
        };
        let mut all = BTreeMap::new();
        for replica in domain.subnets.iter().filter_map(|ix| subnets.get(ix)) {
            let hosts = replica.hosts.iter().take(MAX_REPLICATED_HOSTS + 1);
            all.extend(hosts.filter_map(|(host, hops)| Some((*host, *hops.iter().max()?))));
        }
        let left_out = all.len() > MAX_REPLICATED_HOSTS;
        if left_out && !domain.left_out {
            tracing::warn!(
                "a replicated subnet has guests on more than {MAX_REPLICATED_HOSTS} other hosts: those of the highest addresses \
                 get no broadcast"
            );
        }
        domain.left_out = left_out;
        let hops = all.into_values().take(MAX_REPLICATED_HOSTS);
        let hops: Vec<_> = hops.map(|(_, hop)| hop).collect();
        if *domain.hosts == *hops {
            if domain.subnets.is_empty() {
                domains.remove(&id);
            }
            return false;
        }
        let held = hops.iter().filter(|hop| self.writer.hold_hop(**hop));
        let held: Arc<[HopId]> = held.copied().collect();
        let former = std::mem::replace(&mut domain.hosts, held);
        if domain.subnets.is_empty() {
            domains.remove(&id);
        }
        for hop in &*former {
            self.release_hop(*hop);
        }
        true
    }
}
