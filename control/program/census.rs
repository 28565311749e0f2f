// SPDX-License-Identifier: MIT
//! [`Census`]: how many resources of each kind are programmed, how many wait, how many cannot be; and what is in snapshots.

use std::sync::Arc;

use hashbrown::HashMap;
use vswitch::tables::PortId;

use super::show_kept::kept;
use super::{Obstacle, Program};
use crate::proto::schema::OperationStatus;
use crate::state::Wanted;

/// The kinds of resources, as metrics call them.
pub(crate) const KINDS: [&str; 8] = [
    "vpc",
    "subnet",
    "port",
    "neighbor",
    "router",
    "dhcp",
    "gateway",
    "security_group",
];

/// Resources of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Count {
    /// Workers act on them.
    pub(crate) programmed: u64,
    /// They wait for something.
    pub(crate) pending: u64,
    /// Waiting does not help.
    pub(crate) failed: u64,
}

impl Count {
    fn add(&mut self, state: Result<(), Obstacle>) {
        let count = match state.map_err(|obstacle| obstacle.status()) {
            Ok(()) => &mut self.programmed,
            Err(OperationStatus::Pending) => &mut self.pending,
            Err(_) => &mut self.failed,
        };
        *count += 1;
    }
}

/// What there is, counted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Census {
    /// By [`KINDS`].
    pub(crate) resources: [Count; KINDS.len()],
    /// The VNI of each port that has one: of several, that of its first address.
    pub(crate) vnis: Vec<(PortId, u32)>,
    /// VNIs that ports of this host are in, and the bytes of their table.
    pub(crate) vni_table: (usize, usize),
    /// Routes of all subnets here, those that share a table counted once, and the tables' bytes.
    pub(crate) routes: (usize, usize),
}

impl Program {
    /// Counts. Looks at every resource: some tens of nanoseconds each.
    pub(crate) fn census(&self, wanted: &Wanted) -> Census {
        let [mut vpcs, mut subnets, mut ports, mut neighbors] = [Count::default(); 4];
        let [mut routers, mut dhcp, mut gateways, mut groups] = [Count::default(); 4];
        for (ix, _) in wanted.vpcs().filter(|(_, slot)| slot.wanted.is_some()) {
            vpcs.add(self.vpc_state(wanted, ix));
        }
        for (ix, _) in wanted.subnets().filter(|(_, slot)| slot.wanted.is_some()) {
            subnets.add(self.subnet_state(wanted, ix));
        }
        for (ix, _) in wanted.ports().filter(|(_, slot)| slot.wanted.is_some()) {
            ports.add(self.port_state(wanted, ix));
        }
        for (ix, _) in wanted.neighbors() {
            neighbors.add(self.neighbor_state(wanted, ix));
        }
        for (ix, _) in wanted.routers().filter(|(_, slot)| slot.wanted.is_some()) {
            let worst = self.router_obstacles(wanted, ix).next();
            routers.add(worst.map_or(Ok(()), Err));
        }
        for (client, _) in wanted.dhcp() {
            dhcp.add(self.dhcp_state(wanted, client));
        }
        for (id, _) in wanted.gateways() {
            gateways.add(self.gateway_state(wanted, id));
        }
        for (_, _, unserved) in kept(wanted) {
            groups.add(Err(Obstacle::Unserved(unserved)));
        }
        let vnis = &self.writer.published().vnis;
        Census {
            resources: [
                vpcs, subnets, ports, neighbors, routers, dhcp, gateways, groups,
            ],
            vnis: self.vnis_of_ports(wanted),
            vni_table: (vnis.len(), vnis.memory()),
            routes: self.count_routes(),
        }
    }

    fn vnis_of_ports(&self, wanted: &Wanted) -> Vec<(PortId, u32)> {
        let ports = wanted.ports().filter_map(|(_, slot)| {
            let (subnet, _) = slot.wanted.as_ref()?.value.fixed_ips.first()?;
            Some((slot.bound?, self.resolved(*subnet).ok()?.vni.get()))
        });
        ports.collect()
    }

    fn count_routes(&self) -> (usize, usize) {
        let routes = self.routes.values();
        let tables: HashMap<_, _> = routes
            .map(|routes| (Arc::as_ptr(&routes.table), routes))
            .collect();
        let add = |(count, bytes), routes: &&super::routes::SubnetRoutes| {
            (count + routes.list().len(), bytes + routes.table.memory())
        };
        tables.values().fold((0, 0), add)
    }
}
