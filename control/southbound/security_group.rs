// SPDX-License-Identifier: MIT
//! Validates a security group.

use ipnet::IpNet;
use prost::Message;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::security_group_configuration::{Direction, SecurityGroupRule};
use crate::proto::schema::{
    EtherType, OperationType, Protocol, SecurityGroupConfiguration, UpdateType,
};
use crate::state::kept::MAX_SECURITY_RULES;
use crate::state::resource::{Change, SecurityGroupUpdate, SecurityRuleKey};

/// Reads a security group's configuration; to delete it, only its id counts.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    mut configuration: SecurityGroupConfiguration,
) -> Result<Change, FieldError> {
    if wish == Wish::Absent {
        return Ok(Change::SecurityGroup(None));
    }
    let update: UpdateType = at
        .field("update_type")
        .one_of(configuration.update_type, "update type")?;
    at.field("vpc_id").text(&configuration.vpc_id)?;
    at.field("name").text(&configuration.name)?;
    let rules = std::mem::take(&mut configuration.security_group_rules);
    at.field("security_group_rules")
        .at_most(rules.len(), MAX_SECURITY_RULES)?;
    at.bounded(&configuration)?;
    let rules = rules.into_iter().enumerate();
    let rules = rules.map(|(i, rule)| read_rule(&at.item("security_group_rules", i), rule));
    Ok(Change::SecurityGroup(Some(SecurityGroupUpdate {
        full: update == UpdateType::Full,
        rules: rules.collect::<Result<_, _>>()?,
        said: Box::new(configuration),
    })))
}

type KeyedRule = (SecurityRuleKey, Option<SecurityGroupRule>);

fn read_rule(at: &Field<'_>, mut rule: SecurityGroupRule) -> Result<KeyedRule, FieldError> {
    let operation: OperationType = at
        .field("operation_type")
        .one_of(rule.operation_type, "operation")?;
    at.field("id").text(&rule.id)?;
    rule.operation_type = 0; // it is no part of the rule
    if operation == OperationType::Delete {
        return Ok((key(&rule), None));
    }
    at.field("security_group_id")
        .text(&rule.security_group_id)?;
    at.field("remote_group_id").text(&rule.remote_group_id)?;
    at.field("direction")
        .one_of::<Direction>(rule.direction, "direction")?;
    let ethertype = at.field("ethertype").one_of(rule.ethertype, "ether type")?;
    let protocol = at.field("protocol").one_of(rule.protocol, "protocol")?;
    ports(at, protocol, &rule)?;
    remote_prefix(&at.field("remote_ip_prefix"), ethertype, &rule)?;
    Ok((key(&rule), Some(rule)))
}

fn key(rule: &SecurityGroupRule) -> SecurityRuleKey {
    if rule.id.is_empty() {
        SecurityRuleKey::Whole(rule.encode_to_vec())
    } else {
        SecurityRuleKey::Id(rule.id.clone())
    }
}

/// A range of ports; for ICMP, Neutron's custom, the type and the code.
fn ports(at: &Field<'_>, protocol: Protocol, rule: &SecurityGroupRule) -> Result<(), FieldError> {
    let (at_min, at_max) = (at.field("port_range_min"), at.field("port_range_max"));
    let (min, max) = (rule.port_range_min, rule.port_range_max);
    if protocol == Protocol::Icmp {
        for (at, value) in [(at_min, min), (at_max, max)] {
            u8::try_from(value)
                .map_err(|_| at.error(format_args!("{value} is no ICMP type or code")))?;
        }
        return Ok(());
    }
    if at_min.l4_port(min)? > at_max.l4_port(max)? {
        return Err(at_max.error(format_args!("{max} is below port_range_min, {min}")));
    }
    Ok(())
}

fn remote_prefix(
    at: &Field<'_>,
    ethertype: EtherType,
    rule: &SecurityGroupRule,
) -> Result<(), FieldError> {
    if rule.remote_ip_prefix.is_empty() {
        return Ok(());
    }
    let family = match at.any_prefix(&rule.remote_ip_prefix)? {
        IpNet::V4(_) => EtherType::Ipv4,
        IpNet::V6(_) => EtherType::Ipv6,
    };
    if family != ethertype {
        return Err(at.error(format_args!(
            "{} is not of ethertype {}",
            rule.remote_ip_prefix,
            ethertype.as_str_name()
        )));
    }
    Ok(())
}
