// SPDX-License-Identifier: MIT
//! Validates a neighbor.

use prost::Message;

use super::decode::Wish;
use super::field::{Field, FieldError};
use super::port::{MAX_FIXED_IPS, address_pair};
use crate::proto::schema::neighbor_configuration::FixedIp;
use crate::proto::schema::{NeighborConfiguration, NeighborType};
use crate::state::resource::{
    Change, NeighborAddress, NeighborDetails, NeighborPlace, NeighborUpdate,
};

/// Reads a neighbor's configuration; to delete it, only its id and addresses count.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    mut configuration: NeighborConfiguration,
) -> Result<Change, FieldError> {
    refuse_old_numbers(at, &configuration)?;
    let place = match wish {
        Wish::Absent => None,
        Wish::Present | Wish::Updated => Some(place(at, &configuration)?),
    };
    if configuration.fixed_ips.is_empty() {
        return Err(at.field("fixed_ips").error("is empty"));
    }
    let details = details(at, &mut configuration)?;
    let addresses = configuration.fixed_ips.into_iter().enumerate();
    let addresses =
        addresses.map(|(i, fixed_ip)| address(&at.item("fixed_ips", i), fixed_ip, &details));
    Ok(Change::Neighbor(NeighborUpdate {
        addresses: addresses.collect::<Result<_, _>>()?,
        place,
    }))
}

/// Before August 2022 Alcor had no host_mac_address: host_ip_address was field 8 and fixed_ips was field 9.
fn refuse_old_numbers(
    at: &Field<'_>,
    configuration: &NeighborConfiguration,
) -> Result<(), FieldError> {
    let ip_for_mac = configuration
        .host_mac_address
        .parse::<std::net::Ipv4Addr>()
        .is_ok();
    let fixed_ip_for_ip = configuration.fixed_ips.is_empty()
        && FixedIp::decode(configuration.host_ip_address.as_slice())
            .is_ok_and(|fixed_ip| !fixed_ip.subnet_id.is_empty());
    if ip_for_mac || fixed_ip_for_ip {
        return Err(at.error(
            "has host_ip_address as field 8 and fixed_ips as field 9: the sender speaks Alcor's protocol of before \
             August 2022, which had no host_mac_address; this switch speaks the present one",
        ));
    }
    Ok(())
}

fn place(
    at: &Field<'_>,
    configuration: &NeighborConfiguration,
) -> Result<NeighborPlace, FieldError> {
    let at_host = at.field("host_ip_address");
    let host = String::from_utf8_lossy(&configuration.host_ip_address);
    Ok(NeighborPlace {
        mac: at.field("mac_address").mac(&configuration.mac_address)?,
        host: at_host.host(&host)?,
        host_mac: match configuration.host_mac_address.as_str() {
            "" => None,
            text => Some(at.field("host_mac_address").mac(text)?),
        },
    })
}

/// What is said of all its addresses, and Alcor usually does not say.
fn details(
    at: &Field<'_>,
    configuration: &mut NeighborConfiguration,
) -> Result<NeighborDetails, FieldError> {
    at.field("name").text(&configuration.name)?;
    let pairs = std::mem::take(&mut configuration.allow_address_pairs);
    at.field("allow_address_pairs")
        .at_most(pairs.len(), MAX_FIXED_IPS)?;
    for (i, pair) in pairs.iter().enumerate() {
        let at = at.item("allow_address_pairs", i);
        address_pair(&at, &pair.ip_address, &pair.mac_address)?;
    }
    Ok(NeighborDetails {
        name: std::mem::take(&mut configuration.name),
        allow_address_pairs: pairs,
        ..NeighborDetails::default()
    })
}

fn address(
    at: &Field<'_>,
    fixed_ip: FixedIp,
    details: &NeighborDetails,
) -> Result<NeighborAddress, FieldError> {
    let kind: NeighborType = at
        .field("neighbor_type")
        .one_of(fixed_ip.neighbor_type, "neighbor type")?;
    at.field("subnet_id").id(&fixed_ip.subnet_id)?;
    let ip = at.field("ip_address").host(&fixed_ip.ip_address)?;
    at.field("arion_group").text(&fixed_ip.arion_group)?;
    let details = NeighborDetails {
        arion_group: fixed_ip.arion_group,
        tunnel_id: fixed_ip.tunnel_id,
        ..details.clone()
    };
    Ok(NeighborAddress {
        routed: kind == NeighborType::L3,
        subnet: fixed_ip.subnet_id,
        ip,
        details: (details != NeighborDetails::default()).then(|| Box::new(details)),
    })
}
