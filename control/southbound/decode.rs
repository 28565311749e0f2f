// SPDX-License-Identifier: MIT
//! A goal state, in either form, as a list of validated resources.
//!
//! The entries of the controller's maps (second form) are taken in the order in which they were sent. A key
//! serves to name the entry in an error, and nothing else: it is not always the resource's id.

use std::borrow::Cow;
use std::sync::Arc;

use prost::Message;
use prost::bytes::Bytes;

use super::field::{Field, FieldError};
use super::wire::{Fields, Value};
use super::{dhcp, gateway, neighbor, port, router, security_group, subnet, vpc};
use crate::proto::schema::goal_state_v2::{
    DhcpStatesEntry, GatewayStatesEntry, PortStatesEntry, RouterStatesEntry,
    SecurityGroupStatesEntry, SubnetStatesEntry, VpcStatesEntry,
};
use crate::proto::schema::{
    DhcpConfiguration, DhcpState, GatewayConfiguration, GatewayState, GoalState, GoalStateV2,
    OperationType, PortConfiguration, PortState, ResourceType, RouterConfiguration, RouterState,
    SecurityGroupConfiguration, SecurityGroupState, SubnetConfiguration, SubnetState,
    VpcConfiguration, VpcState,
};
use crate::state::resource::Change;

/// One state of a goal state, read.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Which kind.
    pub kind: ResourceType,
    /// The id in its configuration, as sent.
    pub id: String,
    /// The operation, as sent: statuses repeat it even when it is none.
    pub operation: i32,
    /// The controller's revision of it, 0 when unset.
    pub revision: u32,
    /// What to make so: `None` when only the status is asked for (GET).
    pub change: Result<Option<Change>, FieldError>,
}

/// What the state has to become, by its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// As the configuration says.
    Present,
    /// Likewise, and the operation was UPDATE.
    Updated,
    /// Gone.
    Absent,
}

/// One kind of state: what its message has in common with the others, and how its configuration is validated.
trait State: Sized {
    const KIND: ResourceType;
    type Configuration;
    /// An entry of the map that holds such states.
    type Entry;
    fn of_entry(entry: Self::Entry) -> (String, Self);
    fn parts(self) -> (i32, Option<Self::Configuration>);
    /// Revision and id.
    fn head(configuration: &mut Self::Configuration) -> (u32, String);
    fn read(
        at: &Field<'_>,
        wish: Wish,
        configuration: Self::Configuration,
    ) -> Result<Change, FieldError>;
}

macro_rules! state {
    ($state:ty, $configuration:ty, $entry:ty, $kind:ident, $read:expr) => {
        impl State for $state {
            const KIND: ResourceType = ResourceType::$kind;
            type Configuration = $configuration;
            type Entry = $entry;
            fn of_entry(entry: $entry) -> (String, Self) {
                (entry.key, entry.value.unwrap_or_default())
            }
            fn parts(self) -> (i32, Option<$configuration>) {
                (self.operation_type, self.configuration)
            }
            fn head(configuration: &mut $configuration) -> (u32, String) {
                (
                    configuration.revision_number,
                    std::mem::take(&mut configuration.id),
                )
            }
            fn read(
                at: &Field<'_>,
                wish: Wish,
                configuration: $configuration,
            ) -> Result<Change, FieldError> {
                $read(at, wish, configuration)
            }
        }
    };
}

state!(VpcState, VpcConfiguration, VpcStatesEntry, Vpc, vpc::read);
state!(
    SubnetState,
    SubnetConfiguration,
    SubnetStatesEntry,
    Subnet,
    subnet::read
);
state!(
    RouterState,
    RouterConfiguration,
    RouterStatesEntry,
    Router,
    router::read
);
state!(
    PortState,
    PortConfiguration,
    PortStatesEntry,
    Port,
    port::read
);
state!(
    SecurityGroupState,
    SecurityGroupConfiguration,
    SecurityGroupStatesEntry,
    Securitygroup,
    security_group::read
);
state!(
    DhcpState,
    DhcpConfiguration,
    DhcpStatesEntry,
    Dhcp,
    dhcp::read
);
state!(
    GatewayState,
    GatewayConfiguration,
    GatewayStatesEntry,
    Gateway,
    gateway::read
);

/// The two forms of a goal state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// GoalState: lists of states.
    V1,
    /// GoalStateV2: maps of states.
    V2,
}

/// A goal state as it is on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Encoded {
    /// Which message it is.
    pub form: Form,
    /// Its bytes. Not checked in any way.
    pub bytes: Bytes,
}

/// The bytes are no goal state at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a goal state: {0}")]
pub(crate) struct Malformed(String);

#[cfg(test)]
mod tests;

/// States of a message may have fewer bytes than [`LEAST`] on average if there are no more than so many.
const FEW: usize = 4096;

/// Fewer bytes than any state with an id has. Without this, a message of empty states would take hundreds of times its
/// length.
const LEAST: usize = 16;

/// Most bytes of all states but neighbors; a port has some 500. They are decoded into messages first, where an empty
/// element of a list takes two bytes on the wire and more than a hundred in memory.
const MAX_OTHERS: usize = 64 << 20;

/// All resources of a goal state that somebody sent, what others depend on first.
///
/// Takes at most 32 times the memory that the message has if all of it are neighbors, else at most 128 times as much, and
/// in each case up to 4 MiB. More than [`MAX_OTHERS`] bytes of what is no neighbor, nor `host_resources`, are refused. The runtime decodes two at a
/// time (`run::RPC_THREADS`).
///
/// # Errors
/// It is none, or has more of something than that allows.
pub(crate) fn received(goal: &Encoded) -> Result<Vec<Resource>, Malformed> {
    let parts = split(goal)?;
    parts.check(goal.bytes.len())?;
    resources_of(goal, parts)
}

/// The same of a goal state that was accepted before, or made by this program: however much of it is no neighbor.
pub(crate) fn resources(goal: &Encoded) -> Result<Vec<Resource>, Malformed> {
    resources_of(goal, split(goal)?)
}

/// A goal state on the wire, its neighbors set aside.
struct Parts<'a> {
    others: Vec<u8>,
    neighbors: Vec<&'a [u8]>,
    states: usize,
}

impl Parts<'_> {
    /// Refuses what would take too much memory.
    fn check(&self, bytes: usize) -> Result<(), Malformed> {
        let (states, others) = (self.states, self.others.len());
        if states > FEW.max(bytes / LEAST) {
            return Err(Malformed(format!("{states} states in {bytes} bytes")));
        }
        if others > MAX_OTHERS {
            return Err(Malformed(format!(
                "{others} bytes of states that are no neighbors, at most {MAX_OTHERS} are read"
            )));
        }
        Ok(())
    }
}

fn resources_of(goal: &Encoded, parts: Parts<'_>) -> Result<Vec<Resource>, Malformed> {
    let (rest, neighbors) = (parts.others, parts.neighbors);
    let malformed = |error: prost::DecodeError| Malformed(error.to_string());
    let (mut all, mut subnet) = (Vec::with_capacity(parts.states), None);
    match goal.form {
        Form::V1 => {
            let goal = GoalState::decode(rest.as_slice()).map_err(malformed)?;
            all.extend(list("vpc_states", goal.vpc_states));
            all.extend(list("subnet_states", goal.subnet_states));
            all.extend(list("router_states", goal.router_states));
            all.extend(list("port_states", goal.port_states));
            let states = neighbors.into_iter().enumerate();
            all.extend(states.map(|(index, state)| {
                let at = Field::element("neighbor_states", index);
                neighbor::resource(&at, state, &mut subnet)
            }));
            all.extend(list("security_group_states", goal.security_group_states));
            all.extend(list("dhcp_states", goal.dhcp_states));
            all.extend(list("gateway_states", goal.gateway_states));
        }
        Form::V2 => {
            let goal = GoalStateV2::decode(rest.as_slice()).map_err(malformed)?;
            all.extend(map::<VpcState>("vpc_states", goal.vpc_states));
            all.extend(map::<SubnetState>("subnet_states", goal.subnet_states));
            all.extend(map::<RouterState>("router_states", goal.router_states));
            all.extend(map::<PortState>("port_states", goal.port_states));
            let entries = neighbors.into_iter();
            all.extend(entries.map(|entry| neighbor_entry(entry, &mut subnet)));
            all.extend(map::<SecurityGroupState>(
                "security_group_states",
                goal.security_group_states,
            ));
            all.extend(map::<DhcpState>("dhcp_states", goal.dhcp_states));
            all.extend(map::<GatewayState>("gateway_states", goal.gateway_states));
        }
    }
    Ok(all)
}

/// Sets the neighbors aside, each a state (first form) or an entry of the map (second form), and returns all other fields
/// as they were; without `host_resources`, which lists the ids of all that follows by host, as its relays need it. Nothing is
/// made of that here, and to decode a million ids takes as long as to decode their neighbors.
fn split(goal: &Encoded) -> Result<Parts<'_>, Malformed> {
    let (neighbor_states, host_resources) = match goal.form {
        Form::V1 => (5, None),
        Form::V2 => (7, Some(2)),
    };
    let (mut others, mut neighbors, mut states) = (Vec::new(), Vec::new(), 0);
    let mut fields = Fields::of(&goal.bytes);
    let mut before = fields.rest();
    while let Some(field) = fields.next() {
        match field.map_err(|damaged| Malformed(damaged.to_string()))? {
            (number, Value::Bytes(neighbor)) if number == neighbor_states => {
                neighbors.push(neighbor);
            }
            (number, Value::Bytes(_)) if Some(number) == host_resources => {}
            _ => others.extend_from_slice(&before[..before.len() - fields.rest().len()]),
        }
        states += 1;
        before = fields.rest();
    }
    Ok(Parts {
        others,
        neighbors,
        states,
    })
}

/// A neighbor of the second form's map.
fn neighbor_entry(entry: &[u8], subnet: &mut Option<Arc<str>>) -> Resource {
    let (mut key, mut state): (&[u8], &[u8]) = (&[], &[]);
    let mut damaged = None;
    for field in Fields::of(entry) {
        match field {
            Ok((1, Value::Bytes(bytes))) => key = bytes,
            Ok((2, Value::Bytes(bytes))) => state = bytes,
            Ok(_) => {}
            Err(error) => damaged = Some(error),
        }
    }
    let at = Field::entry("neighbor_states", key);
    let resource = neighbor::resource(&at, state, subnet);
    match damaged {
        None => resource,
        Some(damaged) => Resource {
            change: Err(at.error(damaged)),
            ..resource
        },
    }
}

/// The text, whatever is in it. Checked as a whole first: the lossy look at it alone takes longer than all else that is done
/// with a neighbor's id.
pub(super) fn lossy(text: &[u8]) -> Cow<'_, str> {
    str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed)
}

fn list<S: State>(name: &'static str, states: Vec<S>) -> impl Iterator<Item = Resource> {
    states
        .into_iter()
        .enumerate()
        .map(move |(index, state)| resource(&Field::element(name, index), state))
}

fn map<S: State>(name: &'static str, states: Vec<S::Entry>) -> impl Iterator<Item = Resource> {
    states.into_iter().map(move |entry| {
        let (key, state) = S::of_entry(entry);
        resource(&Field::entry(name, &key), state)
    })
}

fn resource<S: State>(at: &Field<'_>, state: S) -> Resource {
    let (operation, configuration) = state.parts();
    let mut resource = Resource {
        kind: S::KIND,
        id: String::new(),
        operation,
        revision: 0,
        change: Ok(None),
    };
    let at_configuration = at.field("configuration");
    let Some(mut configuration) = configuration else {
        resource.change = Err(at_configuration.error("is missing"));
        return resource;
    };
    (resource.revision, resource.id) = S::head(&mut configuration);
    resource.change = wish(at, S::KIND, operation).and_then(|wish| {
        let Some(wish) = wish else { return Ok(None) };
        at_configuration.field("id").id(&resource.id)?;
        S::read(&at_configuration, wish, configuration).map(Some)
    });
    resource
}

/// INFO means a state to keep, like CREATE and UPDATE: Alcor leaves a router's operation unset, which is
/// INFO. GET asks for nothing, but for neighbors, where Alcor means "here is the next hop's neighbor".
pub(super) fn wish(
    at: &Field<'_>,
    kind: ResourceType,
    operation: i32,
) -> Result<Option<Wish>, FieldError> {
    match OperationType::try_from(operation) {
        Ok(OperationType::Info | OperationType::Create) => Ok(Some(Wish::Present)),
        Ok(OperationType::Update) => Ok(Some(Wish::Updated)),
        Ok(OperationType::Get) if kind == ResourceType::Neighbor => Ok(Some(Wish::Present)),
        Ok(OperationType::Get) => Ok(None),
        Ok(OperationType::Delete) => Ok(Some(Wish::Absent)),
        Err(_) => Err(at
            .field("operation_type")
            .error(format_args!("{operation} is no operation"))),
    }
}
