// SPDX-License-Identifier: MIT
//! Validates a port of this host.

use std::collections::HashSet;

use vswitch::tables::MAX_ATTACHMENTS;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::PortConfiguration;
use crate::state::resource::{Change, FixedIp, Port};

/// Most addresses of one port. Far above any machine's; bounds the work that one port can cause.
const MAX_FIXED_IPS: usize = 1024;

/// Reads a port's configuration; to delete it, only its id counts.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    configuration: PortConfiguration,
) -> Result<Change, FieldError> {
    if wish == Wish::Absent {
        return Ok(Change::Port(None));
    }
    at.field("name").text(&configuration.name)?;
    let mac = at.field("mac_address").mac(&configuration.mac_address)?;
    let count = configuration.fixed_ips.len();
    if count == 0 {
        return Err(at.field("fixed_ips").error("is empty"));
    }
    at.field("fixed_ips").at_most(count, MAX_FIXED_IPS)?;
    let mut fixed_ips = Vec::with_capacity(count);
    for (i, fixed_ip) in configuration.fixed_ips.into_iter().enumerate() {
        let at = at.item("fixed_ips", i);
        at.field("subnet_id").id(&fixed_ip.subnet_id)?;
        let ip = at.field("ip_address").host(&fixed_ip.ip_address)?;
        fixed_ips.push(FixedIp {
            subnet: fixed_ip.subnet_id,
            ip,
        });
    }
    let subnets = fixed_ips
        .iter()
        .map(|f| &f.subnet)
        .collect::<HashSet<_>>()
        .len();
    if subnets > MAX_ATTACHMENTS {
        return Err(at.field("fixed_ips").error(format_args!(
            "are in {subnets} subnets, at most {MAX_ATTACHMENTS} are served"
        )));
    }
    Ok(Change::Port(Some(Port {
        name: configuration.name,
        mac,
        admin_up: configuration.admin_state_up,
        fixed_ips,
    })))
}
