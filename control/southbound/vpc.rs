// SPDX-License-Identifier: MIT
//! Validates a VPC.

use vswitch::wire::Vni;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::VpcConfiguration;
use crate::state::resource::{Change, Described, Vpc};

/// Most gateways of one VPC.
const MAX_GATEWAYS: usize = 64;

/// Reads a VPC's configuration; to delete it, only its id counts.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    mut configuration: VpcConfiguration,
) -> Result<Change, FieldError> {
    if wish == Wish::Absent {
        return Ok(Change::Vpc(None));
    }
    at.bounded(&configuration)?;
    at.field("name").text(&configuration.name)?;
    if !configuration.cidr.is_empty() {
        at.field("cidr").prefix(&configuration.cidr)?;
    }
    let gateways = &mut configuration.gateway_ids;
    for (i, id) in gateways.iter().enumerate() {
        at.item("gateway_ids", i).text(id)?;
    }
    // Their order means nothing.
    gateways.retain(|id| !id.is_empty());
    gateways.sort_unstable();
    gateways.dedup();
    at.field("gateway_ids")
        .at_most(gateways.len(), MAX_GATEWAYS)?;
    let vni = match configuration.tunnel_id {
        0 => None,
        id => Some(Vni::new(id).ok_or_else(|| {
            at.field("tunnel_id")
                .error(format_args!("{id} is not a VNI: 1 to {} are", Vni::MAX))
        })?),
    };
    Ok(Change::Vpc(Some(Described {
        value: Vpc { vni },
        said: Box::new(configuration),
    })))
}
