// SPDX-License-Identifier: MIT
//! Wanted state -> edits of the workers' tables -> one publication.
//!
//! [`Program::update`] is the way in: it looks at what was touched, in the order in which things depend on
//! each other: [`subnet`]s (VNI and VPC as numbers), [`routes`], VPCs' gateways ([`group`]), [`port`]s, [`neighbor`]s, and whom
//! these are copied to ([`replicas`]). Each of them is worked out anew from the wanted state, compared with what was programmed, and the difference
//! becomes edits. What lacks something is left out and waits ([`Obstacle`]); it is looked at again when
//! what it lacks is touched.
//!
//! [`addresses`] says in the tables who has an address; [`claims`] and [`ips`] decide between resources that want
//! the same one; [`numbers`] gives VPCs and VNIs short names; [`obstacle`] says what is missing; [`audit`] looks whether it is
//! all there, and [`census`] counts it.

pub(crate) mod addresses;
pub(crate) mod audit;
pub(crate) mod census;
#[cfg(test)]
mod check;
mod claimant;
pub(crate) mod claims;
mod dhcp;
pub(crate) mod explain;
mod group;
mod ips;
pub(crate) mod neighbor;
pub(crate) mod numbers;
pub(crate) mod obstacle;
pub(crate) mod port;
mod replicas;
pub(crate) mod routes;
pub(crate) mod show;
mod show_kept;
pub(crate) mod subnet;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use vswitch::tables::rcu::Lagging;
use vswitch::tables::snapshot::{Commit, Memory, Writer};
use vswitch::tables::{DomainId, HopId, PortId, Role, RouteTable, VpcId};
use vswitch::wire::{Mac, Vni};

use crate::core::{OnLink, PortNews, PortRules, Site};
use crate::state::chunks::Chunks;
use crate::state::neighbor::NeighborIx;
use crate::state::network::{SubnetIx, VpcIx};
use crate::state::port::PortIx;
use crate::state::slots::AHEAD;
use crate::state::{Subject, Touched, Wanted};
use claims::Claims;
use group::Group;
use ips::IpClaims;
use neighbor::Placement;
use numbers::Numbers;
pub(crate) use obstacle::Obstacle;
use port::ProgrammedPort;
use replicas::Replicas;
use routes::{SubnetRoutes, Worked};
use subnet::Resolved;

/// A machine's address as tables know it.
type IpKey = (VpcId, IpAddr);
/// A machine's MAC as tables know it.
type MacKey = (DomainId, Mac);

/// What is programmed, and the writer of the tables it is programmed in.
pub(crate) struct Program {
    site: Site,
    writer: Writer,
    vpcs: Numbers<VpcIx>,
    domains: Numbers<Vni>,
    /// The VPC that each VNI with a number belongs to in the tables.
    vni_owners: HashMap<Vni, VpcIx>,
    /// Subnets whose VNI belongs to another VPC. Looked at with every update: the other may have left.
    contested: BTreeSet<SubnetIx>,
    subnets: HashMap<SubnetIx, Result<Resolved, Obstacle>>,
    routes: HashMap<SubnetIx, SubnetRoutes>,
    no_routes: Arc<RouteTable>,
    groups: HashMap<VpcIx, Group>,
    replicas: Replicas,
    ports: HashMap<PortIx, ProgrammedPort>,
    neighbors: Chunks<Placement>,
    /// Neighbors that are kept out of the tables since nobody used them, see `core::on_demand`.
    idle: HashSet<NeighborIx>,
    by_ip: IpClaims,
    by_mac: Claims<MacKey>,
    /// What is to be told of ports, if anybody asked for it.
    port_news: Option<Vec<PortNews>>,
    /// Ports whose role workers may not see yet.
    unseen: HashSet<PortId>,
    /// Keys whose entry is brought in line after the next commit, and next hops that their entries may name
    /// until then.
    late_ips: Vec<IpKey>,
    late_macs: Vec<MacKey>,
    late_hops: Vec<HopId>,
    /// Neighbors that found no room; what leaves may make some.
    crowded: Vec<NeighborIx>,
    /// Neighbors whose way has changed with what was learned, and that stay on the old one until there is room for the new.
    moving: Vec<NeighborIx>,
    /// VPCs whose gateways found no room for a next hop.
    crowded_groups: BTreeSet<VpcIx>,
    /// A next hop was given back, and with the commit after that others may have room.
    hops_left: bool,
    /// Addresses of the underlay that a MAC is needed for.
    needed: HashSet<OnLink>,
}

impl Program {
    /// Programs nothing but the roles of the ports that `site` names.
    pub(crate) fn new(site: Site, mut writer: Writer) -> Self {
        for uplink in &site.uplinks {
            writer.set_role(uplink.port, Role::Uplink);
        }
        if let Some(port) = site.host_port {
            writer.set_role(port, Role::Host);
        }
        Self {
            site,
            writer,
            vpcs: Numbers::default(),
            domains: Numbers::default(),
            vni_owners: HashMap::new(),
            contested: BTreeSet::new(),
            subnets: HashMap::new(),
            routes: HashMap::new(),
            no_routes: Arc::new(RouteTable::empty()),
            groups: HashMap::new(),
            replicas: Replicas::default(),
            ports: HashMap::new(),
            neighbors: Chunks::default(),
            idle: HashSet::new(),
            by_ip: IpClaims::default(),
            by_mac: Claims::default(),
            port_news: None,
            unseen: HashSet::new(),
            late_ips: Vec::new(),
            late_macs: Vec::new(),
            late_hops: Vec::new(),
            crowded: Vec::new(),
            moving: Vec::new(),
            crowded_groups: BTreeSet::new(),
            hops_left: false,
            needed: HashSet::new(),
        }
    }

    /// Takes the memory of so many neighbors in all now, instead of when they come.
    pub(crate) fn reserve_neighbors(&mut self, count: usize) {
        self.neighbors.reserve(count);
        self.by_ip.reserve(count);
        self.by_mac.reserve(count);
        self.writer.reserve(count);
    }

    /// Brings the tables in line with what changed in `wanted`. Visible after [`Program::commit`] only, but
    /// for neighbors that are added or that move: these are seen at once, before anything that leads to them.
    pub(crate) fn update(&mut self, wanted: &mut Wanted) {
        let touched = wanted.take_touched();
        self.look_at(wanted, touched);
    }

    /// Works out anew what was touched and what depends on it, each thing once.
    fn look_at(&mut self, wanted: &Wanted, touched: Touched) {
        let Touched {
            subnets,
            mut grouped,
            mut routed,
            mut ports,
            mut neighbors,
        } = touched;
        let in_port = |ix: &PortIx| wanted.port(*ix)?.wanted.as_ref();
        let of_ports = ports.iter().filter_map(in_port);
        let of_ports = of_ports.flat_map(|port| port.value.fixed_ips.iter().map(|(ix, _)| ix));
        let all = of_ports.chain(&subnets).chain(&routed);
        grouped.extend(all.filter_map(|ix| Self::vpc_of(wanted, *ix)));
        let mut routers = BTreeSet::new();
        let mut changed = Vec::new();
        for subnet in subnets {
            changed.extend(self.update_subnet(wanted, subnet).then_some(subnet));
        }
        // These last: the subnet that had their VNI may just have left.
        for subnet in std::mem::take(&mut self.contested) {
            changed.extend(self.update_subnet(wanted, subnet).then_some(subnet));
        }
        for slot in changed.iter().filter_map(|ix| wanted.subnet(*ix)) {
            routers.extend(&slot.routers);
            ports.extend(&slot.ports);
            neighbors.extend(&slot.neighbors);
        }
        for router in routers
            .iter()
            .filter_map(|ix| wanted.router(*ix)?.wanted.as_ref())
        {
            routed.extend(router.value.subnets.keys());
        }
        let mut worked = Worked::new();
        for subnet in routed {
            if self.update_routes(wanted, subnet, &mut worked)
                && let Some(slot) = wanted.subnet(subnet)
            {
                ports.extend(&slot.ports);
            }
        }
        for vpc in grouped {
            ports.extend(self.update_group(wanted, vpc));
        }
        ports
            .into_iter()
            .for_each(|port| self.update_port(wanted, port));
        for (n, neighbor) in neighbors.iter().enumerate() {
            // Of thousands, the first have left the cache again since they were taken in.
            if let Some(far) = neighbors.get(n + 2 * AHEAD) {
                wanted.prefetch_slot(*far);
            }
            if let Some(ahead) = neighbors.get(n + AHEAD) {
                self.prefetch(wanted, *ahead);
            }
            self.update_neighbor(wanted, *neighbor);
        }
        self.update_replicas(wanted, &changed);
    }

    /// This host's place in the network.
    pub(crate) const fn site(&self) -> &Site {
        &self.site
    }

    /// Says what holds at a port, from its next update on.
    pub(crate) fn set_rules(&mut self, port: PortId, rules: PortRules) {
        self.site.rules.insert(port, rules);
    }

    /// Publishes what [`Program::update`] prepared. Publishes nothing when there is nothing.
    pub(crate) fn commit(&mut self) -> Commit {
        self.writer.commit()
    }

    /// True when every worker sees the commit, and nothing that it removed. Never blocks; call it until it
    /// is true.
    pub(crate) fn settled(&mut self, commit: &Commit) -> bool {
        let settled = self.writer.settled(commit);
        if settled {
            self.vpcs.recycle();
            self.domains.recycle();
        }
        settled
    }

    /// What the tables take.
    pub(crate) fn memory(&mut self) -> Memory {
        self.writer.memory()
    }

    /// True when workers that do let go see the last commit.
    pub(crate) fn is_published(&self) -> bool {
        !self.writer.is_held_back()
    }

    /// Workers that hold something back now.
    pub(crate) fn lagging(&self) -> Vec<Lagging> {
        self.writer.lagging()
    }

    /// True if a controller's port may be bound to `port`: it is neither an uplink nor the host port.
    pub(crate) fn is_tenant(&self, port: PortId) -> bool {
        let mut uplinks = self.site.uplinks.iter();
        uplinks.all(|uplink| uplink.port != port) && self.site.host_port != Some(port)
    }

    /// Why the resource is not programmed, or `Ok` if it is.
    pub(crate) fn state(&self, wanted: &Wanted, subject: &Subject) -> Result<(), Obstacle> {
        match subject {
            Subject::Nothing => Ok(()),
            Subject::Vpc(ix) => self.vpc_state(wanted, *ix),
            Subject::Subnet(ix) => self.subnet_state(wanted, *ix),
            Subject::Router(ix) => self
                .router_obstacles(wanted, *ix)
                .next()
                .map_or(Ok(()), Err),
            Subject::Port(ix) => self.port_state(wanted, *ix),
            Subject::Neighbor(all) => all
                .iter()
                .try_for_each(|ix| self.neighbor_state(wanted, *ix)),
            Subject::Dhcp(client) => self.dhcp_state(wanted, client),
            Subject::Gateway(id) => self.gateway_state(wanted, id),
            Subject::Kept(unserved) => Err(Obstacle::Unserved(*unserved)),
        }
    }
}
