// SPDX-License-Identifier: MIT
//! Reads and validates a neighbor, straight from the wire.

use std::net::IpAddr;
use std::sync::Arc;

use prost::Message;
use smallvec::SmallVec;

use super::decode::{Resource, Wish, lossy, wish};
use super::field::{Field, FieldError};
use super::port::{MAX_FIXED_IPS, address_pair};
use super::wire::{Damaged, Fields, Value};
use crate::proto::schema::neighbor_configuration::AllowAddressPair;
use crate::proto::schema::{NeighborType, ResourceType};
use crate::state::resource::{
    Change, NeighborAddress, NeighborDetails, NeighborPlace, NeighborSaid, NeighborUpdate,
};

/// A NeighborState as it was sent: the fields that matter, in place. What is sent twice counts as protobuf says: the last
/// of a value, all of a list, messages merged.
#[derive(Default)]
struct Sent<'a> {
    operation: i32,
    configured: bool,
    revision: u32,
    id: &'a [u8],
    name: &'a [u8],
    mac: &'a [u8],
    host_mac: &'a [u8],
    host: &'a [u8],
    fixed_ips: SmallVec<[&'a [u8]; 1]>,
    pairs: Vec<&'a [u8]>,
}

/// Why a state cannot be read.
enum Unreadable {
    /// Its bytes make no sense.
    Damaged,
    /// A field is of another type than the schema says.
    Type(&'static str),
}

impl From<Damaged> for Unreadable {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// The neighbor of one encoded NeighborState. `subnet`: of the neighbor before, if there was one.
pub(super) fn resource(at: &Field<'_>, state: &[u8], subnet: &mut Option<Arc<str>>) -> Resource {
    let mut sent = Sent::default();
    let read = sent.state(state);
    let id = str::from_utf8(sent.id);
    let operation = sent.operation;
    let revision = sent.revision;
    let configuration = at.field("configuration");
    let change = match read {
        Err(Unreadable::Damaged) => Err(at.error(Damaged)),
        Err(Unreadable::Type(field)) => Err(configuration
            .field(field)
            .error("is of another type than Alcor's schema says")),
        Ok(()) if !sent.configured => Err(configuration.error("is missing")),
        Ok(()) => wish(at, ResourceType::Neighbor, operation).and_then(|wish| {
            // A neighbor without an id is still told apart by its addresses; old controllers send such.
            let at_id = configuration.field("id");
            let id = id.map_err(|_| at_id.error(NOT_UTF8))?;
            at_id.text(id)?;
            wish.map(|wish| update(&configuration, wish, id, &sent, subnet))
                .transpose()
        }),
    };
    Resource {
        kind: ResourceType::Neighbor,
        id: id.map_or_else(|_| lossy(sent.id).into_owned(), str::to_owned),
        operation,
        revision,
        change,
    }
}

impl<'a> Sent<'a> {
    fn state(&mut self, bytes: &'a [u8]) -> Result<(), Unreadable> {
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Number(operation)) => self.operation = operation as i32,
                (2, Value::Bytes(bytes)) => {
                    self.configured = true;
                    self.configuration(bytes)?;
                }
                (1, _) => return Err(Unreadable::Type("operation_type")),
                (2, _) => return Err(Unreadable::Type("configuration")),
                _ => {}
            }
        }
        Ok(())
    }

    fn configuration(&mut self, bytes: &'a [u8]) -> Result<(), Unreadable> {
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Number(revision)) => self.revision = revision as u32,
                (3, Value::Bytes(id)) => self.id = id,
                (6, Value::Bytes(name)) => self.name = name,
                (7, Value::Bytes(mac)) => self.mac = mac,
                (8, Value::Bytes(mac)) => self.host_mac = mac,
                (9, Value::Bytes(host)) => self.host = host,
                (10, Value::Bytes(fixed_ip)) => self.fixed_ips.push(fixed_ip),
                (11, Value::Bytes(pair)) => self.pairs.push(pair),
                (1, _) => return Err(Unreadable::Type("revision_number")),
                (3, _) => return Err(Unreadable::Type("id")),
                (6, _) => return Err(Unreadable::Type("name")),
                (7, _) => return Err(Unreadable::Type("mac_address")),
                (8, _) => return Err(Unreadable::Type("host_mac_address")),
                (9, _) => return Err(Unreadable::Type("host_ip_address")),
                (10, _) => return Err(Unreadable::Type("fixed_ips")),
                (11, _) => return Err(Unreadable::Type("allow_address_pairs")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What to make so; to delete it, only its addresses count.
fn update(
    at: &Field<'_>,
    wish: Wish,
    id: &str,
    sent: &Sent<'_>,
    subnet: &mut Option<Arc<str>>,
) -> Result<Change, FieldError> {
    refuse_old_numbers(at, sent)?;
    let place = match wish {
        Wish::Absent => None,
        Wish::Present | Wish::Updated => Some(place(at, sent)?),
    };
    if sent.fixed_ips.is_empty() {
        return Err(at.field("fixed_ips").error("is empty"));
    }
    at.field("fixed_ips")
        .at_most(sent.fixed_ips.len(), MAX_FIXED_IPS)?;
    let said = said(at, sent)?;
    let addresses = sent.fixed_ips.iter().enumerate();
    let addresses = addresses
        .map(|(i, fixed_ip)| address(&at.item("fixed_ips", i), fixed_ip, said.as_ref(), subnet));
    Ok(Change::Neighbor(NeighborUpdate {
        id: id.into(),
        addresses: addresses.collect::<Result<_, _>>()?,
        place,
    }))
}

/// Before August 2022 Alcor had no host_mac_address: host_ip_address was field 8 and fixed_ips was field 9.
fn refuse_old_numbers(at: &Field<'_>, sent: &Sent<'_>) -> Result<(), FieldError> {
    let is_address =
        |bytes| std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
    let is_fixed_ip = |bytes| {
        let fields: Result<Vec<_>, _> = Fields::of(bytes).collect();
        fields.is_ok_and(|fields| fields.iter().any(|(number, _)| *number == 2))
    };
    let instead_of_host = sent.fixed_ips.is_empty() && is_fixed_ip(sent.host);
    if !is_address(sent.host_mac) && !instead_of_host {
        return Ok(());
    }
    Err(at.error(
        "has host_ip_address as field 8 and fixed_ips as field 9: the sender speaks Alcor's protocol of before \
         August 2022, which had no host_mac_address; this switch speaks the present one",
    ))
}

fn place(at: &Field<'_>, sent: &Sent<'_>) -> Result<NeighborPlace, FieldError> {
    let mac = at.field("mac_address");
    let host = at.field("host_ip_address");
    let host_mac = at.field("host_mac_address");
    Ok(NeighborPlace {
        mac: mac.mac(text(&mac, sent.mac)?)?,
        host: host.host(text(&host, sent.host)?)?,
        host_mac: match text(&host_mac, sent.host_mac)? {
            "" => None,
            text => Some(host_mac.mac(text)?),
        },
    })
}

/// What is said of all its addresses, and Alcor usually does not say. Each address is kept, and told again, by itself: so pairs count
/// once for each.
fn said(at: &Field<'_>, sent: &Sent<'_>) -> Result<Option<Arc<NeighborSaid>>, FieldError> {
    let at_name = at.field("name");
    let name = text(&at_name, sent.name)?;
    at_name.text(name)?;
    let (pairs, addresses) = (sent.pairs.len(), sent.fixed_ips.len());
    if pairs * addresses > MAX_FIXED_IPS {
        return Err(at.field("allow_address_pairs").error(format_args!(
            "has {pairs} entries for each of {addresses} addresses, at most {MAX_FIXED_IPS} in all are served"
        )));
    }
    let pairs = sent.pairs.iter().enumerate().map(|(i, bytes)| {
        let at = at.item("allow_address_pairs", i);
        let pair = AllowAddressPair::decode(*bytes).map_err(|error| at.error(error))?;
        address_pair(&at, &pair.ip_address, &pair.mac_address)?;
        Ok(pair)
    });
    let said = NeighborSaid {
        name: name.to_owned(),
        allow_address_pairs: pairs.collect::<Result<_, _>>()?,
    };
    Ok((said != NeighborSaid::default()).then(|| Arc::new(said)))
}

fn address(
    at: &Field<'_>,
    bytes: &[u8],
    said: Option<&Arc<NeighborSaid>>,
    subnet_before: &mut Option<Arc<str>>,
) -> Result<NeighborAddress, FieldError> {
    let (mut kind, mut subnet, mut ip): (_, &[u8], &[u8]) = (0, &[], &[]);
    let (mut arion_group, mut tunnel_id): (&[u8], _) = (&[], 0);
    for field in Fields::of(bytes) {
        match field.map_err(|damaged| at.error(damaged))? {
            (1, Value::Number(number)) => kind = number as i32,
            (2, Value::Bytes(bytes)) => subnet = bytes,
            (3, Value::Bytes(bytes)) => ip = bytes,
            (4, Value::Bytes(bytes)) => arion_group = bytes,
            (5, Value::Number(number)) => tunnel_id = number as u32,
            (1..=5, _) => return Err(at.error("is of another type than Alcor's schema says")),
            _ => {}
        }
    }
    let kind: NeighborType = at.field("neighbor_type").one_of(kind, "neighbor type")?;
    let (at_subnet, at_ip) = (at.field("subnet_id"), at.field("ip_address"));
    let subnet = text(&at_subnet, subnet)?;
    at_subnet.id(subnet)?;
    let at_group = at.field("arion_group");
    let arion_group = text(&at_group, arion_group)?;
    at_group.text(arion_group)?;
    let details = NeighborDetails {
        of_all: said.cloned(),
        arion_group: arion_group.to_owned(),
        tunnel_id,
    };
    Ok(NeighborAddress {
        routed: kind == NeighborType::L3,
        subnet: shared(subnet_before, subnet),
        ip: at_ip.host(text(&at_ip, ip)?)?,
        details: (details != NeighborDetails::default()).then(|| Box::new(details)),
    })
}

/// The subnet before, if it is the same.
fn shared(before: &mut Option<Arc<str>>, id: &str) -> Arc<str> {
    match before {
        Some(before) if &**before == id => Arc::clone(before),
        _ => Arc::clone(before.insert(id.into())),
    }
}

fn text<'a>(at: &Field<'_>, bytes: &'a [u8]) -> Result<&'a str, FieldError> {
    std::str::from_utf8(bytes).map_err(|_| at.error(NOT_UTF8))
}

const NOT_UTF8: &str = "is not UTF-8";
