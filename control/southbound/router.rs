// SPDX-License-Identifier: MIT
//! Validates a router.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vswitch::tables::routes::MAX_ROUTES;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::router_configuration::{RoutingRule, SubnetRoutingTable};
use crate::proto::schema::{OperationType, RouterConfiguration, UpdateType};
use crate::state::resource::{Change, RouterUpdate, Rule, RuleKey, SubnetRules};

/// Most subnets of one router: as many as VNIs that this switch can tell apart.
const MAX_SUBNETS: usize = 1 << 16;

/// Reads a router's configuration; to delete it, only its id counts.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    configuration: RouterConfiguration,
) -> Result<Change, FieldError> {
    if wish == Wish::Absent {
        return Ok(Change::Router(None));
    }
    let full = match UpdateType::try_from(configuration.update_type) {
        Ok(UpdateType::Full) => true,
        Ok(UpdateType::Delta) => false,
        Err(_) => {
            return Err(at.field("update_type").error(format_args!(
                "{} is no update type",
                configuration.update_type
            )));
        }
    };
    let dvr_mac = match configuration.host_dvr_mac_address.as_str() {
        "" => None,
        text => Some(at.field("host_dvr_mac_address").mac(text)?),
    };
    let at_tables = at.field("subnet_routing_tables");
    at_tables.at_most(configuration.subnet_routing_tables.len(), MAX_SUBNETS)?;
    let tables = configuration.subnet_routing_tables.into_iter().enumerate();
    let subnets = tables.map(|(i, table)| subnet(&at.item("subnet_routing_tables", i), table));
    Ok(Change::Router(Some(RouterUpdate {
        full,
        dvr_mac,
        subnets: subnets.collect::<Result<_, _>>()?,
    })))
}

fn subnet(at: &Field<'_>, table: SubnetRoutingTable) -> Result<SubnetRules, FieldError> {
    at.field("subnet_id").id(&table.subnet_id)?;
    at.field("routing_rules")
        .at_most(table.routing_rules.len(), MAX_ROUTES)?;
    let rules = table.routing_rules.into_iter().enumerate();
    let rules = rules.map(|(i, rule)| read_rule(&at.item("routing_rules", i), rule));
    Ok(SubnetRules {
        subnet: table.subnet_id,
        rules: rules.collect::<Result<_, _>>()?,
    })
}

fn read_rule(at: &Field<'_>, rule: RoutingRule) -> Result<(RuleKey, Option<Rule>), FieldError> {
    let deleted = match OperationType::try_from(rule.operation_type) {
        Ok(operation) => operation == OperationType::Delete,
        Err(_) => {
            return Err(at
                .field("operation_type")
                .error(format_args!("{} is no operation", rule.operation_type)));
        }
    };
    at.field("id").text(&rule.id)?;
    if deleted && !rule.id.is_empty() {
        return Ok((RuleKey::Id(rule.id), None));
    }
    let destination = destination(&at.field("destination"), &rule.destination)?;
    let next_hop = next_hop(&at.field("next_hop_ip"), &rule.next_hop_ip)?;
    let key = if rule.id.is_empty() {
        RuleKey::Path(destination, next_hop)
    } else {
        RuleKey::Id(rule.id)
    };
    Ok((
        key,
        (!deleted).then_some(Rule {
            destination,
            next_hop,
            priority: rule.priority,
        }),
    ))
}

/// A prefix, or one address.
fn destination(at: &Field<'_>, text: &str) -> Result<Ipv4Net, FieldError> {
    match text.parse::<Ipv4Addr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => at.prefix(text),
    }
}

/// No next hop, or 0.0.0.0, is Neutron's way to say that the destination is on the link.
fn next_hop(at: &Field<'_>, text: &str) -> Result<Option<Ipv4Addr>, FieldError> {
    match text {
        "" | "0.0.0.0" => Ok(None),
        text => at.host(text).map(Some),
    }
}
