// SPDX-License-Identifier: MIT
//! Validates a router.

use ipnet::IpNet;
use vswitch::tables::routes::MAX_ROUTES;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::router_configuration::{RoutingRule, SubnetRoutingTable};
use crate::proto::schema::{OperationType, RouterConfiguration, UpdateType};
use crate::state::resource::{Change, NextHop, RouterUpdate, Rule, RuleKey, SubnetRules};
use crate::state::router::MAX_SUBNETS;

/// Reads a router's configuration; to delete it, only its id counts.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    mut configuration: RouterConfiguration,
) -> Result<Change, FieldError> {
    if wish == Wish::Absent {
        return Ok(Change::Router(None));
    }
    let update: UpdateType = at
        .field("update_type")
        .one_of(configuration.update_type, "update type")?;
    let dvr_mac = match configuration.host_dvr_mac_address.as_str() {
        "" => None,
        text => Some(at.field("host_dvr_mac_address").mac(text)?),
    };
    let tables = std::mem::take(&mut configuration.subnet_routing_tables);
    at.field("subnet_routing_tables")
        .at_most(tables.len(), MAX_SUBNETS)?;
    at.bounded(&configuration)?;
    let tables = tables.into_iter().enumerate();
    let subnets = tables.map(|(i, table)| subnet(&at.item("subnet_routing_tables", i), table));
    Ok(Change::Router(Some(RouterUpdate {
        full: update == UpdateType::Full,
        dvr_mac,
        subnets: subnets.collect::<Result<_, _>>()?,
        said: Box::new(configuration),
    })))
}

fn subnet(at: &Field<'_>, table: SubnetRoutingTable) -> Result<SubnetRules, FieldError> {
    if !table.subnet_id.is_empty() {
        at.field("subnet_id").id(&table.subnet_id)?;
    }
    at.field("routing_rules")
        .at_most(table.routing_rules.len(), MAX_ROUTES)?;
    let rules = table.routing_rules.into_iter().enumerate();
    let rules = rules.map(|(i, rule)| read_rule(&at.item("routing_rules", i), rule));
    Ok(SubnetRules {
        subnet: Some(table.subnet_id).filter(|id| !id.is_empty()),
        rules: rules.collect::<Result<_, _>>()?,
    })
}

fn read_rule(at: &Field<'_>, mut said: RoutingRule) -> Result<(RuleKey, Option<Rule>), FieldError> {
    let operation: OperationType = at
        .field("operation_type")
        .one_of(said.operation_type, "operation")?;
    let deleted = operation == OperationType::Delete;
    at.field("id").text(&said.id)?;
    if deleted && !said.id.is_empty() {
        return Ok((RuleKey::Id(said.id), None));
    }
    let destination = at.field("destination").destination(&said.destination)?;
    let next_hop = next_hop(&at.field("next_hop_ip"), destination, &said.next_hop_ip)?;
    let key = if said.id.is_empty() {
        RuleKey::Path(destination, next_hop)
    } else {
        RuleKey::Id(said.id.clone())
    };
    if deleted {
        return Ok((key, None));
    }
    at.field("name").text(&said.name)?;
    if let Some(extra) = &said.routing_rule_extra_info {
        at.field("routing_rule_extra_info")
            .field("next_hop_mac")
            .text(&extra.next_hop_mac)?;
    }
    said.operation_type = 0; // it is done, and no part of the rule
    let rule = Rule {
        destination,
        next_hop,
        priority: said.priority,
        said: Box::new(said),
    };
    Ok((key, Some(rule)))
}

/// What stands for a next hop where there is none, in the words of routers: Alcor's schema has no other room for it.
const BLACKHOLE: &str = "blackhole";

/// No next hop, or 0.0.0.0 or ::, is Neutron's way to say that the destination is on the link. A next hop is found by its
/// address in the VPC: one that is link-local would be on every link.
fn next_hop(at: &Field<'_>, destination: IpNet, text: &str) -> Result<NextHop, FieldError> {
    if text == BLACKHOLE {
        return Ok(NextHop::Blackhole);
    }
    if text.is_empty() || at.ip(text)?.is_unspecified() {
        return Ok(NextHop::Link);
    }
    let next_hop = at.host(text)?;
    at.like(next_hop, "destination", destination)?;
    Ok(NextHop::Via(next_hop))
}
