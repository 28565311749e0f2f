// SPDX-License-Identifier: MIT
//! Validates a neighbor.

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::neighbor_configuration::FixedIp;
use crate::proto::schema::{NeighborConfiguration, NeighborType};
use crate::state::resource::{Change, NeighborAddress, NeighborPlace, NeighborUpdate};

/// Reads a neighbor's configuration; to delete it, only its id and addresses count.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    configuration: NeighborConfiguration,
) -> Result<Change, FieldError> {
    let place = match wish {
        Wish::Absent => None,
        Wish::Present => Some(place(at, &configuration)?),
    };
    if configuration.fixed_ips.is_empty() {
        return Err(at.field("fixed_ips").error("is empty"));
    }
    let addresses = configuration.fixed_ips.into_iter().enumerate();
    let addresses = addresses.map(|(i, fixed_ip)| address(&at.item("fixed_ips", i), fixed_ip));
    Ok(Change::Neighbor(NeighborUpdate {
        addresses: addresses.collect::<Result<_, _>>()?,
        place,
    }))
}

fn place(
    at: &Field<'_>,
    configuration: &NeighborConfiguration,
) -> Result<NeighborPlace, FieldError> {
    Ok(NeighborPlace {
        mac: at.field("mac_address").mac(&configuration.mac_address)?,
        host: at
            .field("host_ip_address")
            .host(&configuration.host_ip_address)?,
        host_mac: match configuration.host_mac_address.as_str() {
            "" => None,
            text => Some(at.field("host_mac_address").mac(text)?),
        },
    })
}

fn address(at: &Field<'_>, fixed_ip: FixedIp) -> Result<NeighborAddress, FieldError> {
    let routed = match NeighborType::try_from(fixed_ip.neighbor_type) {
        Ok(NeighborType::L2) => false,
        Ok(NeighborType::L3) => true,
        Err(_) => {
            return Err(at.field("neighbor_type").error(format_args!(
                "{} is no neighbor type",
                fixed_ip.neighbor_type
            )));
        }
    };
    at.field("subnet_id").id(&fixed_ip.subnet_id)?;
    let ip = at.field("ip_address").host(&fixed_ip.ip_address)?;
    Ok(NeighborAddress {
        routed,
        subnet: fixed_ip.subnet_id,
        ip,
    })
}
