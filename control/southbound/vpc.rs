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
    at.field("gateway_ids")
        .at_most(configuration.gateway_ids.len(), MAX_GATEWAYS)?;
    // Their order means nothing.
    configuration.gateway_ids.sort_unstable();
    configuration.gateway_ids.dedup();
    configuration.gateway_ids.retain(|id| !id.is_empty());
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
