// SPDX-License-Identifier: MIT
//! Reads and validates a neighbor, straight from the wire.

use super::decode::{Resource, Wish, wish};
use super::field::{Field, FieldError};
use super::wire::{Damaged, Fields, Value};
use crate::proto::schema::{NeighborType, ResourceType};
use crate::state::resource::{Change, NeighborAddress, NeighborPlace, NeighborUpdate};

/// Most addresses of one neighbor. Alcor sends one; bounds what one neighbor can cause.
const MAX_FIXED_IPS: usize = 1024;

/// A NeighborState as it was sent: the fields that matter, in place. What is sent twice counts as protobuf says: the last
/// of a value, all of a list, messages merged.
#[derive(Default)]
struct Sent<'a> {
    operation: i32,
    configured: bool,
    revision: u32,
    id: &'a [u8],
    mac: &'a [u8],
    host_mac: &'a [u8],
    host: &'a [u8],
    fixed_ips: Vec<&'a [u8]>,
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

/// The neighbor of one encoded NeighborState.
pub(super) fn resource(at: &Field<'_>, state: &[u8]) -> Resource {
    let mut sent = Sent::default();
    let read = sent.state(state);
    let id = String::from_utf8_lossy(sent.id).into_owned();
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
            configuration
                .field("id")
                .text(text(&configuration.field("id"), sent.id)?)?;
            wish.map(|wish| update(&configuration, wish, &sent))
                .transpose()
        }),
    };
    Resource {
        kind: ResourceType::Neighbor,
        id,
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
                (7, Value::Bytes(mac)) => self.mac = mac,
                (8, Value::Bytes(mac)) => self.host_mac = mac,
                (9, Value::Bytes(host)) => self.host = host,
                (10, Value::Bytes(fixed_ip)) => self.fixed_ips.push(fixed_ip),
                (1, _) => return Err(Unreadable::Type("revision_number")),
                (3, _) => return Err(Unreadable::Type("id")),
                (7, _) => return Err(Unreadable::Type("mac_address")),
                (8, _) => return Err(Unreadable::Type("host_mac_address")),
                (9, _) => return Err(Unreadable::Type("host_ip_address")),
                (10, _) => return Err(Unreadable::Type("fixed_ips")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What to make so; to delete it, only its addresses count.
fn update(at: &Field<'_>, wish: Wish, sent: &Sent<'_>) -> Result<Change, FieldError> {
    let place = match wish {
        Wish::Absent => None,
        Wish::Present => Some(place(at, sent)?),
    };
    if sent.fixed_ips.is_empty() {
        return Err(at.field("fixed_ips").error("is empty"));
    }
    at.field("fixed_ips")
        .at_most(sent.fixed_ips.len(), MAX_FIXED_IPS)?;
    let addresses = sent.fixed_ips.iter().enumerate();
    let addresses = addresses.map(|(i, fixed_ip)| address(&at.item("fixed_ips", i), fixed_ip));
    Ok(Change::Neighbor(NeighborUpdate {
        addresses: addresses.collect::<Result<_, _>>()?,
        place,
    }))
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

fn address(at: &Field<'_>, bytes: &[u8]) -> Result<NeighborAddress, FieldError> {
    let (mut kind, mut subnet, mut ip): (_, &[u8], &[u8]) = (0, &[], &[]);
    for field in Fields::of(bytes) {
        match field.map_err(|damaged| at.error(damaged))? {
            (1, Value::Number(number)) => kind = number as i32,
            (2, Value::Bytes(bytes)) => subnet = bytes,
            (3, Value::Bytes(bytes)) => ip = bytes,
            (1..=3, _) => return Err(at.error("is of another type than Alcor's schema says")),
            _ => {}
        }
    }
    let routed = match NeighborType::try_from(kind) {
        Ok(NeighborType::L2) => false,
        Ok(NeighborType::L3) => true,
        Err(_) => {
            return Err(at
                .field("neighbor_type")
                .error(format_args!("{kind} is no neighbor type")));
        }
    };
    let (at_subnet, at_ip) = (at.field("subnet_id"), at.field("ip_address"));
    let subnet = text(&at_subnet, subnet)?;
    at_subnet.id(subnet)?;
    Ok(NeighborAddress {
        routed,
        subnet: subnet.to_owned(),
        ip: at_ip.host(text(&at_ip, ip)?)?,
    })
}

fn text<'a>(at: &Field<'_>, bytes: &'a [u8]) -> Result<&'a str, FieldError> {
    std::str::from_utf8(bytes).map_err(|_| at.error("is not UTF-8"))
}
