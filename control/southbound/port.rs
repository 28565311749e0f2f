// SPDX-License-Identifier: MIT
//! Validates a port of this host.

use std::collections::HashSet;

use vswitch::tables::MAX_ATTACHMENTS;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::PortConfiguration;
use crate::state::resource::{AllowedPair, Change, Described, FixedIp, Port};

/// Most addresses of one port, and most allowed address pairs. Far above any machine's; bounds the work that one port
/// can cause.
pub(super) const MAX_FIXED_IPS: usize = 1024;

/// Reads a port's configuration; to delete it, only its id counts.
///
/// An update that names neither device nor owner is how Neutron detaches a port: as Alcor's agent does, it is taken
/// for a deletion. Any other update is the port as it is to be.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    configuration: PortConfiguration,
) -> Result<Change, FieldError> {
    let detached = wish == Wish::Updated
        && configuration.device_id.is_empty()
        && configuration.device_owner.is_empty();
    if wish == Wish::Absent || detached {
        return Ok(Change::Port(None));
    }
    at.bounded(&configuration)?;
    at.field("name").text(&configuration.name)?;
    let mac = at.field("mac_address").mac(&configuration.mac_address)?;
    let count = configuration.fixed_ips.len();
    if count == 0 {
        return Err(at.field("fixed_ips").error("is empty"));
    }
    at.field("fixed_ips").at_most(count, MAX_FIXED_IPS)?;
    let mut fixed_ips = Vec::with_capacity(count);
    for (i, fixed_ip) in configuration.fixed_ips.iter().enumerate() {
        let at = at.item("fixed_ips", i);
        at.field("subnet_id").id(&fixed_ip.subnet_id)?;
        let ip = at.field("ip_address").host(&fixed_ip.ip_address)?;
        fixed_ips.push(FixedIp {
            subnet: fixed_ip.subnet_id.clone(),
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
    let pairs = &configuration.allow_address_pairs;
    at.field("allow_address_pairs")
        .at_most(pairs.len(), MAX_FIXED_IPS)?;
    let pairs = pairs.iter().enumerate().map(|(i, pair)| {
        let at = at.item("allow_address_pairs", i);
        address_pair(&at, &pair.ip_address, &pair.mac_address)
    });
    let pairs = pairs.collect::<Result<_, _>>()?;
    let value = Port {
        mac,
        admin_up: configuration.admin_state_up,
        fixed_ips,
        pairs,
    };
    Ok(Change::Port(Some(Described {
        value,
        said: Box::new(configuration),
    })))
}

/// An allowed address pair: addresses, and the MAC that may send from them, if it is not the port's.
pub(super) fn address_pair(at: &Field<'_>, ip: &str, mac: &str) -> Result<AllowedPair, FieldError> {
    Ok(AllowedPair {
        prefix: at.field("ip_address").any_prefix(ip)?,
        mac: match mac {
            "" => None,
            mac => Some(at.field("mac_address").mac(mac)?),
        },
    })
}
