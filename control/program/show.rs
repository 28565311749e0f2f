// SPDX-License-Identifier: MIT
//! The goal state as rows for people and scripts: arrays of flat objects, keys in the order of columns.

use hashbrown::HashMap;
use serde_json::{Value, json};
use vswitch::tables::VpcId;
use vswitch::tables::routes::{Route, Target};

use super::neighbor::Placement;
use super::{Obstacle, Program};
use crate::core::{MAX_ROWS, Show};
use crate::state::Wanted;
use crate::state::network::SubnetIx;

/// Rows of an answer, up to [`MAX_ROWS`].
#[derive(Default)]
struct Rows {
    rows: Vec<Value>,
    left_out: usize,
}

impl Rows {
    fn push(&mut self, row: impl FnOnce() -> Value) {
        if self.rows.len() < MAX_ROWS {
            self.rows.push(row())
        } else {
            self.left_out += 1
        }
    }

    /// The array; `column` is the first, where a last row says how many are left out.
    fn finish(mut self, column: &str) -> Value {
        if self.left_out > 0 {
            self.rows
                .push(json!({ column: format!("... and {} more", self.left_out) }));
        }
        Value::Array(self.rows)
    }
}

impl Program {
    /// The rows of `what`.
    pub(crate) fn show(&mut self, wanted: &Wanted, what: Show) -> Value {
        match what {
            Show::Vpcs => self.show_vpcs(wanted).finish("id"),
            Show::Subnets => self.show_subnets(wanted).finish("id"),
            Show::Ports => self.show_ports(wanted).finish("id"),
            Show::Neighbors => self.show_neighbors(wanted).finish("address"),
            Show::Routes => self.show_routes(wanted).finish("subnet"),
            Show::Pending => self.show_pending(wanted).finish("kind"),
            Show::Memory => self.show_memory(),
        }
    }

    fn show_vpcs(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        for (_, slot) in wanted.vpcs() {
            let vpc = slot.wanted.as_ref().map(|vpc| &vpc.value);
            rows.push(|| {
                json!({
                    "id": slot.id,
                    "name": vpc.map(|vpc| &vpc.name),
                    "cidr": vpc.and_then(|vpc| vpc.cidr).map(|cidr| cidr.to_string()),
                    "vni": vpc.and_then(|vpc| vpc.vni).map(|vni| vni.get()),
                    "subnets": slot.subnets.len(),
                })
            });
        }
        rows
    }

    fn show_subnets(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        for (ix, slot) in wanted.subnets() {
            let Some(subnet) = slot.wanted.as_ref().map(|subnet| &subnet.value) else {
                continue;
            };
            rows.push(|| {
                json!({
                    "id": slot.id,
                    "name": subnet.name,
                    "vpc": subnet.vpc,
                    "cidr": subnet.cidr.to_string(),
                    "vni": self.resolved(ix).ok().map(|here| here.vni.get()),
                    "gateway": subnet.gateway.and_then(|gateway| gateway.ip).map(|ip| ip.to_string()),
                    "gateway_mac": subnet.gateway.map(|gateway| gateway.mac.to_string()),
                    "routers": slot.routers.len(),
                    "ports": slot.ports.len(),
                    "neighbors": slot.neighbors.len(),
                    "state": state(self.resolved(ix).map(|_| ())),
                })
            });
        }
        rows
    }

    fn show_ports(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        for (ix, slot) in wanted.ports() {
            let port = slot.wanted.as_ref().map(|port| &port.value);
            let fixed_ips = || port.into_iter().flat_map(|port| &port.fixed_ips);
            rows.push(|| {
                json!({
                    "id": slot.id,
                    "port": slot.bound.map(|port| port.get()),
                    "name": port.map(|port| &port.name),
                    "mac": port.map(|port| port.mac.to_string()),
                    "addresses": join(fixed_ips().map(|(_, ip)| ip.to_string())),
                    "subnets": join(fixed_ips().map(|(subnet, _)| subnet_id(wanted, *subnet))),
                    "admin": port.map(|port| if port.admin_up { "up" } else { "down" }),
                    "state": match port {
                        Some(_) => state(self.port_state(ix)),
                        None => "waiting: the controller has not described it yet".to_owned(),
                    },
                })
            });
        }
        rows
    }

    fn show_neighbors(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        for (ix, slot) in wanted.neighbors() {
            rows.push(|| {
                json!({
                    "address": slot.ip.to_string(),
                    "mac": slot.place.mac.to_string(),
                    "vni": self.resolved(slot.subnet).ok().map(|here| here.vni.get()),
                    "host": slot.place.host.to_string(),
                    "type": if slot.routed { "L3" } else { "L2" },
                    "subnet": subnet_id(wanted, slot.subnet),
                    "id": slot.id,
                    "state": match self.neighbors.get(ix.get()) {
                        Some(Placement::Here) => "on this host".to_owned(),
                        Some(Placement::Idle) => "idle".to_owned(),
                        _ => state(self.neighbor_state(ix)),
                    },
                })
            });
        }
        rows
    }

    fn show_routes(&self, wanted: &Wanted) -> Rows {
        let vpcs: HashMap<VpcId, String> = wanted
            .subnets()
            .filter_map(|(ix, slot)| {
                Some((
                    self.resolved(ix).ok()?.vpc,
                    slot.wanted.as_ref()?.value.vpc.clone(),
                ))
            })
            .collect();
        let mut rows = Rows::default();
        let mut subnets: Vec<_> = self
            .routes
            .iter()
            .map(|(ix, routes)| (subnet_id(wanted, *ix), routes))
            .collect();
        subnets.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (subnet, routes) in subnets {
            for Route {
                prefix,
                priority,
                target,
            } in routes.list()
            {
                let (vpc, via) = match target {
                    Target::Connected(vpc) => (vpc, "connected".to_owned()),
                    Target::Via(vpc, hop) => (vpc, hop.to_string()),
                };
                rows.push(|| {
                    json!({
                        "subnet": subnet,
                        "destination": prefix.to_string(),
                        "via": via,
                        "vpc": vpcs.get(vpc),
                        "priority": priority,
                    })
                });
            }
        }
        rows
    }

    fn show_pending(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        let mut push = |kind: &str, id: &str, state: Result<(), Obstacle>| {
            if let Err(obstacle) = state {
                rows.push(|| json!({ "kind": kind, "id": id, "reason": obstacle.to_string() }));
            }
        };
        for (ix, slot) in wanted.subnets().filter(|(_, slot)| slot.wanted.is_some()) {
            push("subnet", &slot.id, self.resolved(ix).map(|_| ()));
        }
        for (ix, slot) in wanted.routers() {
            push("router", &slot.id, self.router_state(wanted, ix));
        }
        for (ix, slot) in wanted.ports() {
            push("port", &slot.id, self.port_state(ix));
        }
        for (ix, slot) in wanted.neighbors() {
            push("neighbor", &slot.id, self.neighbor_state(ix));
        }
        rows
    }

    fn show_memory(&mut self) -> Value {
        let memory = self.writer.memory();
        let rows = memory.tables.iter().map(|usage| {
            json!({
                "table": usage.table.to_string(),
                "entries": usage.entries,
                "leaving": usage.leaving,
                "capacity": usage.capacity,
                "bytes": usage.bytes,
            })
        });
        let old = json!({
            "table": "replaced snapshots",
            "entries": memory.old_snapshots,
            "bytes": memory.old_bytes,
        });
        Value::Array(rows.chain([old]).collect())
    }
}

fn state(state: Result<(), Obstacle>) -> String {
    match state {
        Ok(()) => "ready".to_owned(),
        Err(obstacle) if obstacle.is_failure() => format!("failed: {obstacle}"),
        Err(obstacle) => format!("waiting: {obstacle}"),
    }
}

fn subnet_id(wanted: &Wanted, ix: SubnetIx) -> String {
    wanted
        .subnet(ix)
        .map(|slot| slot.id.to_string())
        .unwrap_or_default()
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
