// SPDX-License-Identifier: MIT
//! Validates a gateway.

use vswitch::wire::Vni;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::gateway_configuration::{Arion, ExtraInfo};
use crate::proto::schema::{GatewayConfiguration, GatewayType};
use crate::state::resource::Change;

/// Most machines that one gateway may be.
const MAX_DESTINATIONS: usize = 1024;

/// Reads a gateway's configuration; to delete it, only its id counts.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    configuration: GatewayConfiguration,
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
    for (i, destination) in destinations.iter().enumerate() {
        let at = at.item("destinations", i);
        at.field("ip_address").host(&destination.ip_address)?;
        at.field("mac_address").mac(&destination.mac_address)?;
    }
    match &configuration.extra_info {
        None => {}
        Some(ExtraInfo::ZetaInfo(zeta)) => {
            let at = at.field("zeta_info");
            at.field("port_inband_operation")
                .l4_port(zeta.port_inband_operation)?;
        }
        Some(ExtraInfo::ArionInfo(arion)) => arion_info(&at.field("arion_info"), arion)?,
    }
    Ok(Change::Gateway(Some(Box::new(configuration))))
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
