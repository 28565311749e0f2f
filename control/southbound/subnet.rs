// SPDX-License-Identifier: MIT
//! Validates a subnet.

use ipnet::IpNet;
use vswitch::wire::Vni;

use super::decode::Wish;
use super::field::{Field, FieldError};
use crate::proto::schema::subnet_configuration::Gateway as GatewayField;
use crate::proto::schema::{NetworkType, SubnetConfiguration};
use crate::state::resource::{Change, Described, Gateway, Subnet};

/// What Alcor writes for a tunnel id that it does not know: Java's `Long.MAX_VALUE`.
const UNKNOWN_TUNNEL_ID: u64 = i64::MAX as u64;

/// Reads a subnet's configuration; to delete it, only its id counts.
pub(crate) fn read(
    at: &Field<'_>,
    wish: Wish,
    configuration: SubnetConfiguration,
) -> Result<Change, FieldError> {
    if wish == Wish::Absent {
        return Ok(Change::Subnet(None));
    }
    if configuration.network_type != NetworkType::Vxlan as i32 {
        return Err(at.field("network_type").error("only VXLAN is served"));
    }
    at.bounded(&configuration)?;
    at.field("vpc_id").id(&configuration.vpc_id)?;
    at.field("name").text(&configuration.name)?;
    let cidr = at.field("cidr").prefix(&configuration.cidr)?;
    Ok(Change::Subnet(Some(Described {
        value: Subnet {
            cidr,
            vni: vni(&at.field("tunnel_id"), configuration.tunnel_id)?,
            gateway: gateway(&at.field("gateway"), cidr, configuration.gateway.as_ref())?,
            vpc: configuration.vpc_id.clone(),
        },
        said: Box::new(configuration),
    })))
}

fn vni(at: &Field<'_>, tunnel_id: u64) -> Result<Option<Vni>, FieldError> {
    match tunnel_id {
        0 | UNKNOWN_TUNNEL_ID | u64::MAX => Ok(None),
        id => match u32::try_from(id).ok().and_then(Vni::new) {
            Some(vni) => Ok(Some(vni)),
            None => Err(at.error(format_args!("{id} is not a VNI: 1 to {} are", Vni::MAX))),
        },
    }
}

/// A subnet without a gateway comes with empty fields, or with the address 0.0.0.0 or ::. An IPv6 gateway may have a
/// link-local address alone.
fn gateway(
    at: &Field<'_>,
    cidr: IpNet,
    said: Option<&GatewayField>,
) -> Result<Option<Gateway>, FieldError> {
    let Some(said) = said else { return Ok(None) };
    let at_ip = at.field("ip_address");
    let ip = match said.ip_address.as_str() {
        "" => None,
        text if at_ip.ip(text)?.is_unspecified() => return Ok(None),
        text => {
            let ip = at_ip.link_host(text)?;
            at_ip.like(ip, "cidr", cidr)?;
            Some(ip)
        }
    };
    if said.mac_address.is_empty() {
        return Ok(None);
    }
    Ok(Some(Gateway {
        ip,
        mac: at.field("mac_address").mac(&said.mac_address)?,
    }))
}
