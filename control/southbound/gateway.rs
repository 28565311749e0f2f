// SPDX-License-Identifier: MIT
//! Validates a gateway.

use std::net::IpAddr;

use vswitch::wire::Vni;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::gateway_configuration::{Arion, Destination, ExtraInfo};
use crate::proto::schema::{GatewayConfiguration, GatewayType};
use crate::state::resource::{Change, Described};

/// Most machines that one gateway may be.
const MAX_DESTINATIONS: usize = 1024;

/// Reads a gateway's configuration; to delete it, only its id counts.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    mut configuration: GatewayConfiguration,
) -> Result<Change, FieldError> {
    if wish == Wish::Absent {
        return Ok(Change::Gateway(None));
    }
    at.bounded(&configuration)?;
    at.field("gateway_type")
        .one_of::<GatewayType>(configuration.gateway_type, "gateway type")?;
    let destinations = &configuration.destinations;
    at.field("destinations")
        .at_most(destinations.len(), MAX_DESTINATIONS)?;
    let machines = destinations.iter().enumerate().map(|(i, destination)| {
        let at = at.item("destinations", i);
        let ip = at.field("ip_address");
        let ip = ip.host(&destination.ip_address)?;
        let mac = at.field("mac_address").mac(&destination.mac_address)?;
        Ok((ip, mac))
    });
    let mut machines = machines.collect::<Result<Vec<_>, FieldError>>()?;
    match &configuration.extra_info {
        None => {}
        Some(ExtraInfo::ZetaInfo(zeta)) => {
            let at = at.field("zeta_info");
            at.field("port_inband_operation")
                .l4_port(zeta.port_inband_operation)?;
        }
        Some(ExtraInfo::ArionInfo(arion)) => arion_info(&at.field("arion_info"), arion)?,
    }
    // Their order means nothing.
    machines.sort_by_key(|(ip, _)| *ip);
    let ip = |it: &Destination| it.ip_address.parse::<IpAddr>().ok();
    configuration.destinations.sort_by_key(ip);
    Ok(Change::Gateway(Some(Described {
        value: machines,
        said: Box::new(configuration),
    })))
}

fn arion_info(at: &Field<'_>, arion: &Arion) -> Result<(), FieldError> {
    at.field("vpc_id").text(&arion.vpc_id)?;
    at.field("subnet_id").text(&arion.subnet_id)?;
    if Vni::new(arion.vni).is_none() {
        return Err(at.field("vni").error(format_args!(
            "{} is not a VNI: 1 to {} are",
            arion.vni,
            Vni::MAX
        )));
    }
    at.field("port_inband_operation")
        .l4_port(arion.port_inband_operation)
        .map(|_| ())
}
