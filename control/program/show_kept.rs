// SPDX-License-Identifier: MIT
//! Rows of security groups, which are kept and not acted on, and of gateways.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use serde_json::json;

use super::show::{Rows, join, state};
use super::{Obstacle, Program};
use crate::proto::schema::gateway_configuration::ExtraInfo;
use crate::proto::schema::security_group_configuration::Direction;
use crate::state::Wanted;
use crate::state::kept::Unserved;

/// Kind, id, and why it is not acted on, of each such resource.
pub(super) fn kept(wanted: &Wanted) -> impl Iterator<Item = (&'static str, &str, Unserved)> {
    let groups = wanted.security_groups();
    groups.map(|(id, _)| ("security-group", id, Unserved::SecurityGroup))
}

pub(super) fn show_security_groups(wanted: &Wanted) -> Rows {
    let mut users = HashMap::<&str, usize>::new();
    for port in wanted.ports().filter_map(|(_, slot)| slot.wanted.as_ref()) {
        for group in &port.said.security_group_ids {
            *users.entry(&group.id).or_default() += 1;
        }
    }
    let mut rows = Rows::default();
    for (id, group) in wanted.security_groups() {
        let rules = |direction| {
            let rules = group.value.values();
            rules.filter(|rule| rule.direction() == direction).count()
        };
        rows.push(|| {
            json!({
                "id": id,
                "name": group.said.name,
                "vpc": group.said.vpc_id,
                "ingress_rules": rules(Direction::Ingress),
                "egress_rules": rules(Direction::Egress),
                "ports": users.get(id).copied().unwrap_or_default(),
                "state": Unserved::SecurityGroup.to_string(),
            })
        });
    }
    rows
}

pub(super) fn show_gateways(program: &Program, wanted: &Wanted) -> Rows {
    let mut rows = Rows::default();
    for (id, gateway) in wanted.gateways() {
        let said = &gateway.said;
        let users = wanted.gateway_users(id);
        let users = users.filter_map(|vpc| Some(wanted.vpc(vpc)?.id.to_string()));
        let users: BTreeSet<_> = users.collect();
        let destinations = said.destinations.iter();
        let (vni, subnet, oam_port) = match &said.extra_info {
            None => (None, None, None),
            Some(ExtraInfo::ZetaInfo(zeta)) => (None, None, Some(zeta.port_inband_operation)),
            Some(ExtraInfo::ArionInfo(arion)) => (
                Some(arion.vni),
                Some(&arion.subnet_id),
                Some(arion.port_inband_operation),
            ),
        };
        rows.push(|| {
            json!({
                "id": id,
                "type": said.gateway_type().as_str_name(),
                "destinations": join(destinations.map(|d| format!("{} {}", d.ip_address, d.mac_address))),
                "vpcs": join(users.into_iter()),
                "vni": vni,
                "subnet": subnet,
                "oam_port": oam_port,
                "state": match program.gateway_state(wanted, id) {
                    Err(Obstacle::Unusable(why)) => why.to_string(),
                    other => state(wanted, other),
                },
            })
        });
    }
    rows
}
