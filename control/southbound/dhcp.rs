// SPDX-License-Identifier: MIT
//! Validates what a port is told by DHCP.

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::DhcpConfiguration;
use crate::state::resource::{Change, DhcpClient, DhcpUpdate};

/// Reads a DHCP configuration. To delete it, subnet and MAC count, and its id if one of them is left out.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    configuration: DhcpConfiguration,
) -> Result<Change, FieldError> {
    let named = !configuration.subnet_id.is_empty() && !configuration.mac_address.is_empty();
    if wish == Wish::Absent && !named {
        return Ok(Change::Dhcp(DhcpUpdate {
            client: None,
            said: None,
        }));
    }
    at.field("subnet_id").id(&configuration.subnet_id)?;
    let client = DhcpClient {
        subnet: configuration.subnet_id.clone(),
        mac: at.field("mac_address").mac(&configuration.mac_address)?,
    };
    if wish == Wish::Absent {
        return Ok(Change::Dhcp(DhcpUpdate {
            client: Some(client),
            said: None,
        }));
    }
    at.bounded(&configuration)?;
    at.field("port_host_name")
        .text(&configuration.port_host_name)?;
    if !configuration.ipv6_address.is_empty() {
        at.field("ipv6_address")
            .ipv6_host(&configuration.ipv6_address)?;
    }
    if !configuration.ipv4_address.is_empty() || configuration.ipv6_address.is_empty() {
        at.field("ipv4_address")
            .ipv4_host(&configuration.ipv4_address)?;
    }
    Ok(Change::Dhcp(DhcpUpdate {
        client: Some(client),
        said: Some(Box::new(configuration)),
    }))
}
