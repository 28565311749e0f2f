// SPDX-License-Identifier: MIT
//! Rows of what is kept and not acted on: security groups, gateways.

use hashbrown::HashMap;
use serde_json::json;

use super::show::{Rows, join};
use crate::proto::schema::gateway_configuration::ExtraInfo;
use crate::proto::schema::security_group_configuration::Direction;
use crate::state::Wanted;
use crate::state::kept::Unserved;

/// Kind, id, and why it is not acted on, of each such resource.
pub(super) fn kept(wanted: &Wanted) -> impl Iterator<Item = (&'static str, &str, Unserved)> {
    let groups = wanted.security_groups();
    let groups = groups.map(|(id, _)| ("security-group", id, Unserved::SecurityGroup));
    let gateways = wanted.gateways();
    let gateways =
        gateways.map(|(id, gateway)| ("gateway", id, Unserved::of_gateway(&gateway.said)));
    groups.chain(gateways)
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

pub(super) fn show_gateways(wanted: &Wanted) -> Rows {
    let mut users = HashMap::<&str, Vec<String>>::new();
    for (_, slot) in wanted.vpcs() {
        for gateway in slot.wanted.iter().flat_map(|vpc| &vpc.said.gateway_ids) {
            users.entry(gateway).or_default().push(slot.id.to_string());
        }
    }
    let mut rows = Rows::default();
    for (id, gateway) in wanted.gateways() {
        let said = &gateway.said;
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
                "vpcs": join(users.remove(id).unwrap_or_default().into_iter()),
                "vni": vni,
                "subnet": subnet,
                "oam_port": oam_port,
                "state": Unserved::of_gateway(said).to_string(),
            })
        });
    }
    rows
}
