// SPDX-License-Identifier: MIT
//! What goes into one message, and the two forms of a message.

use prost::Message;
use serde::Serialize;

use super::Form;
use crate::proto::schema::goal_state_v2::*;
use crate::proto::schema::*;

/// `format_version` of messages of the first form, and of the second.
const FORMAT_V1: u32 = 101;
const FORMAT_V2: u32 = 102;

/// How many resources of each kind there are.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Resources {
    pub(crate) vpcs: usize,
    pub(crate) subnets: usize,
    pub(crate) routers: usize,
    pub(crate) security_groups: usize,
    pub(crate) ports: usize,
    pub(crate) dhcps: usize,
    pub(crate) neighbors: usize,
}

impl std::ops::AddAssign for Resources {
    fn add_assign(&mut self, more: Self) {
        self.vpcs += more.vpcs;
        self.subnets += more.subnets;
        self.routers += more.routers;
        self.security_groups += more.security_groups;
        self.ports += more.ports;
        self.dhcps += more.dhcps;
        self.neighbors += more.neighbors;
    }
}

/// A state under the key that it has in a map.
pub(super) type Keyed<S> = (String, S);

/// The states of a message.
#[derive(Default)]
pub(super) struct States {
    pub(super) vpcs: Vec<Keyed<VpcState>>,
    pub(super) subnets: Vec<Keyed<SubnetState>>,
    pub(super) routers: Vec<Keyed<RouterState>>,
    pub(super) security_groups: Vec<Keyed<SecurityGroupState>>,
    pub(super) ports: Vec<Keyed<PortState>>,
    pub(super) dhcps: Vec<Keyed<DhcpState>>,
    pub(super) neighbors: Vec<Keyed<NeighborState>>,
}

/// Entries of a map.
macro_rules! entries {
    ($entry:ident, $states:expr) => {
        $states
            .into_iter()
            .map(|(key, state)| $entry {
                key,
                value: Some(state),
            })
            .collect()
    };
}

/// Items of a list.
fn items<S>(states: Vec<Keyed<S>>) -> Vec<S> {
    states.into_iter().map(|(_, state)| state).collect()
}

impl States {
    pub(super) fn resources(&self) -> Resources {
        Resources {
            vpcs: self.vpcs.len(),
            subnets: self.subnets.len(),
            routers: self.routers.len(),
            security_groups: self.security_groups.len(),
            ports: self.ports.len(),
            dhcps: self.dhcps.len(),
            neighbors: self.neighbors.len(),
        }
    }

    /// The message for the host with that address.
    pub(super) fn encode(self, form: Form, host: &str) -> Vec<u8> {
        match form {
            Form::V1 => self.v1().encode_to_vec(),
            Form::V2 => self.v2(host).encode_to_vec(),
        }
    }

    fn v1(self) -> GoalState {
        GoalState {
            format_version: FORMAT_V1,
            vpc_states: items(self.vpcs),
            subnet_states: items(self.subnets),
            port_states: items(self.ports),
            neighbor_states: items(self.neighbors),
            security_group_states: items(self.security_groups),
            dhcp_states: items(self.dhcps),
            router_states: items(self.routers),
            gateway_states: Vec::new(),
        }
    }

    fn v2(self, host: &str) -> GoalStateV2 {
        let host_resources = HostResourcesEntry {
            key: host.to_owned(),
            value: Some(HostResources {
                resources: self.names(),
            }),
        };
        GoalStateV2 {
            format_version: FORMAT_V2,
            host_resources: vec![host_resources],
            vpc_states: entries!(VpcStatesEntry, self.vpcs),
            subnet_states: entries!(SubnetStatesEntry, self.subnets),
            port_states: entries!(PortStatesEntry, self.ports),
            dhcp_states: entries!(DhcpStatesEntry, self.dhcps),
            neighbor_states: entries!(NeighborStatesEntry, self.neighbors),
            security_group_states: entries!(SecurityGroupStatesEntry, self.security_groups),
            router_states: entries!(RouterStatesEntry, self.routers),
            gateway_states: Vec::new(),
        }
    }

    /// Type and id of each, which the second form lists beside the states. A neighbor that is there as L2 and as L3 is
    /// named once.
    fn names(&self) -> Vec<ResourceIdType> {
        fn keys<S>(
            kind: ResourceType,
            states: &[Keyed<S>],
        ) -> impl Iterator<Item = ResourceIdType> + '_ {
            states.iter().map(move |(key, _)| name(kind, key))
        }
        let neighbors = self
            .neighbors
            .iter()
            .filter_map(|(_, state)| state.configuration.as_ref());
        let mut names: Vec<_> = keys(ResourceType::Vpc, &self.vpcs)
            .chain(keys(ResourceType::Subnet, &self.subnets))
            .chain(keys(ResourceType::Router, &self.routers))
            .chain(keys(ResourceType::Securitygroup, &self.security_groups))
            .chain(keys(ResourceType::Port, &self.ports))
            .chain(keys(ResourceType::Dhcp, &self.dhcps))
            .chain(neighbors.map(|neighbor| name(ResourceType::Neighbor, &neighbor.id)))
            .collect();
        names.dedup();
        names
    }
}

fn name(kind: ResourceType, id: &str) -> ResourceIdType {
    ResourceIdType {
        r#type: kind.into(),
        id: id.to_owned(),
    }
}
