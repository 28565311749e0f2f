// SPDX-License-Identifier: MIT
//! The goal state as rows for people and scripts: arrays of flat objects, keys in the order of columns.

use hashbrown::HashMap;
use serde_json::{Value, json};
use vswitch::tables::VpcId;
use vswitch::tables::routes::{Route, Target};

use super::dhcp::Told;
use super::neighbor::Placement;
use super::show_kept::{kept, show_gateways, show_security_groups};
use super::{Obstacle, Program};
use crate::core::{MAX_ROWS, Show};
use crate::state::network::SubnetIx;
use crate::state::{Revised, Wanted};

/// Rows of an answer, up to [`MAX_ROWS`].
#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<Value>,
    left_out: usize,
}

impl Rows {
    pub(super) fn push(&mut self, row: impl FnOnce() -> Value) {
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
            Show::SecurityGroups => show_security_groups(wanted).finish("id"),
            Show::Dhcp => self.show_dhcp(wanted).finish("mac"),
            Show::Gateways => show_gateways(self, wanted).finish("id"),
            Show::Stale => show_stale(wanted).finish("kind"),
            Show::Pending => self.show_pending(wanted).finish("kind"),
            Show::Memory => self.show_memory(),
        }
    }

    fn show_vpcs(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        for (ix, slot) in wanted.vpcs() {
            let vpc = slot.wanted.as_ref();
            rows.push(|| {
                json!({
                    "id": slot.id,
                    "name": vpc.map(|vpc| &vpc.said.name),
                    "cidr": vpc.map(|vpc| &vpc.said.cidr).filter(|cidr| !cidr.is_empty()),
                    "vni": vpc.and_then(|vpc| vpc.value.vni).map(|vni| vni.get()),
                    "subnets": slot.subnets.len(),
                    "gateways": join(wanted.gateways_of(ix).into_iter().map(str::to_owned)),
                    "state": match vpc {
                        Some(_) => state(wanted, self.vpc_state(wanted, ix)),
                        None => "waiting: the controller has not described it yet".to_owned(),
                    },
                })
            });
        }
        rows
    }

    fn show_subnets(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        for (ix, slot) in wanted.subnets() {
            let Some(Revised {
                value: subnet,
                said,
                ..
            }) = &slot.wanted
            else {
                continue;
            };
            rows.push(|| {
                json!({
                    "id": slot.id,
                    "name": said.name,
                    "vpc": subnet.vpc,
                    "cidr": subnet.cidr.to_string(),
                    "vni": self.resolved(ix).ok().map(|here| here.vni.get()),
                    "gateway": subnet.gateway.and_then(|gateway| gateway.ip).map(|ip| ip.to_string()),
                    "gateway_mac": subnet.gateway.map(|gateway| gateway.mac.to_string()),
                    "routers": slot.routers.len(),
                    "ports": slot.ports.len(),
                    "neighbors": slot.neighbors.len(),
                    "state": state(wanted, self.subnet_state(wanted, ix)),
                })
            });
        }
        rows
    }

    fn show_ports(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        for (ix, slot) in wanted.ports() {
            let said = slot.wanted.as_ref().map(|port| &port.said);
            let port = slot.wanted.as_ref().map(|port| &port.value);
            let fixed_ips = || port.into_iter().flat_map(|port| &port.fixed_ips);
            rows.push(|| {
                json!({
                    "id": slot.id,
                    "port": slot.bound.map(|port| port.get()),
                    "name": said.map(|said| &said.name),
                    "mac": port.map(|port| port.mac.to_string()),
                    "addresses": join(fixed_ips().map(|(_, ip)| ip.to_string())),
                    "subnets": join(fixed_ips().map(|(subnet, _)| subnet_id(wanted, *subnet))),
                    "dhcp": self.ports.get(&ix).map(|port| match &port.offer {
                        Ok(offer) => Told::V4(offer).to_string(),
                        Err(why) => format!("not served: {why}"),
                    }),
                    "dhcpv6": self.ports.get(&ix).map(|port| match &port.offer6 {
                        Ok(offer) => Told::V6(offer).to_string(),
                        Err(why) => format!("not served: {why}"),
                    }),
                    "mtu": self.site.tenant_mtu(),
                    "admin": port.map(|port| if port.admin_up { "up" } else { "down" }),
                    "state": match port {
                        Some(_) => state(wanted, self.port_state(wanted, ix)),
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
                    "mtu": self.site.tenant_mtu(),
                    "type": if slot.routed { "L3" } else { "L2" },
                    "subnet": subnet_id(wanted, slot.subnet),
                    "id": slot.id.to_string(),
                    "state": match self.neighbors.get(ix.get()) {
                        Some(Placement::Here) => "on this host".to_owned(),
                        Some(Placement::Idle) => "idle".to_owned(),
                        _ => state(wanted, self.neighbor_state(wanted, ix)),
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
                    Target::Connected(vpc) => (Some(vpc), "connected".to_owned()),
                    Target::Via(vpc, hop) => (Some(vpc), hop.to_string()),
                    Target::Blackhole => (None, "blackhole".to_owned()),
                };
                rows.push(|| {
                    json!({
                        "subnet": subnet,
                        "destination": prefix.to_string(),
                        "via": via,
                        "vpc": vpc.and_then(|vpc| vpcs.get(vpc)),
                        "priority": priority,
                    })
                });
            }
        }
        rows
    }

    fn show_pending(&self, wanted: &Wanted) -> Rows {
        let mut rows = Rows::default();
        let mut push = |kind: &str, id: &str, obstacle: Obstacle| {
            rows.push(|| {
                let reason = obstacle.explain(wanted).to_string();
                json!({ "kind": kind, "id": id, "reason": reason })
            });
        };
        for (ix, slot) in wanted.vpcs() {
            if let Some(obstacle) = self.vpc_state(wanted, ix).err() {
                push("vpc", &slot.id, obstacle);
            }
        }
        for (ix, slot) in wanted.subnets().filter(|(_, slot)| slot.wanted.is_some()) {
            if let Some(obstacle) = self.subnet_state(wanted, ix).err() {
                push("subnet", &slot.id, obstacle);
            }
        }
        for (ix, slot) in wanted.routers() {
            self.router_obstacles(wanted, ix)
                .for_each(|obstacle| push("router", &slot.id, obstacle));
        }
        for (ix, slot) in wanted.ports() {
            if let Some(obstacle) = self.port_state(wanted, ix).err() {
                push("port", &slot.id, obstacle);
            }
        }
        for (ix, slot) in wanted.neighbors() {
            if let Some(obstacle) = self.neighbor_state(wanted, ix).err() {
                push("neighbor", &slot.id.to_string(), obstacle);
            }
        }
        for (client, dhcp) in wanted.dhcp() {
            if let Some(obstacle) = self.dhcp_state(wanted, client).err() {
                push("dhcp", &dhcp.said.id, obstacle);
            }
        }
        for (id, _) in wanted.gateways() {
            if let Some(obstacle) = self.gateway_state(wanted, id).err() {
                push("gateway", id, obstacle);
            }
        }
        for (kind, id, unserved) in kept(wanted) {
            push(kind, id, Obstacle::Unserved(unserved));
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

fn show_stale(wanted: &Wanted) -> Rows {
    let mut rows = Rows::default();
    for (kind, id) in wanted.stale_names() {
        rows.push(|| json!({ "kind": kind.to_lowercase(), "id": id }));
    }
    rows
}

pub(super) fn state(wanted: &Wanted, state: Result<(), Obstacle>) -> String {
    match state {
        Ok(()) => "ready".to_owned(),
        Err(obstacle) if obstacle.is_failure() => format!("failed: {}", obstacle.explain(wanted)),
        Err(obstacle) => format!("waiting: {}", obstacle.explain(wanted)),
    }
}

fn subnet_id(wanted: &Wanted, ix: SubnetIx) -> String {
    wanted
        .subnet(ix)
        .map(|slot| slot.id.to_string())
        .unwrap_or_default()
}

pub(super) fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
