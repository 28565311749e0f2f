// SPDX-License-Identifier: MIT
//! Everything that is wanted as goal states, a part at a time, so that whoever writes it out can do other things between.
//!
//! What changes between two parts is in one of them or not. Who applies all parts, each with its ages, and between them
//! the goal states that came between them, has what is wanted: also who was first and who was last, see [`super::age`].

use super::Wanted;
use super::age::Ages;
use super::slots::Ix;
use crate::proto::schema::goal_state_v2::{
    DhcpStatesEntry, GatewayStatesEntry, NeighborStatesEntry, PortStatesEntry, RouterStatesEntry,
    SecurityGroupStatesEntry, SubnetStatesEntry, VpcStatesEntry,
};
use crate::proto::schema::{
    DhcpState, GatewayState, GoalStateV2, NeighborState, OperationType, PortState, ResourceType,
    RouterState, SecurityGroupState, SubnetState, VpcState,
};

/// Most resources of a part: some milliseconds' work, and a megabyte.
const PART: usize = 4096;

/// Which part is next.
#[derive(Debug, Default)]
pub(crate) struct Position {
    kind: u8,
    /// Numbers of this kind's slots that are still to come, the next one last. `None`: it has not begun.
    left: Option<Vec<u32>>,
}

impl Position {
    /// The numbers of this part, of a kind that has those that `all` gives; then it stands behind them.
    fn take(&mut self, all: impl FnOnce() -> Vec<u32>) -> Vec<u32> {
        let left = self.left.get_or_insert_with(|| {
            let mut all = all();
            all.reverse();
            all
        });
        let mut part = left.split_off(left.len().saturating_sub(PART));
        part.reverse();
        if left.is_empty() {
            self.next_kind();
        }
        part
    }

    fn next_kind(&mut self) {
        self.kind += 1;
        self.left = None;
    }
}

/// Which resources a part has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// All, as they are wanted.
    All,
    /// Stale ones, to be deleted.
    Stale,
}

impl Which {
    fn operation(self) -> i32 {
        match self {
            Self::All => OperationType::Create.into(),
            Self::Stale => OperationType::Delete.into(),
        }
    }
}

/// The entries of a part, of these configurations.
macro_rules! entries {
    ($state:ident, $entry:ident, $which:expr, $configurations:expr) => {
        $configurations
            .map(|configuration| $entry {
                key: configuration.id.clone(),
                value: Some($state {
                    operation_type: $which.operation(),
                    configuration: Some(configuration),
                }),
            })
            .collect()
    };
}

impl Wanted {
    /// The part at `position`, which moves on, and the ages of its resources. `None`: that was all. A part may be empty.
    pub(crate) fn part(
        &self,
        position: &mut Position,
        which: Which,
    ) -> Option<(GoalStateV2, Ages)> {
        let mut goal = GoalStateV2::default();
        let mut of_each = Vec::new();
        let of = |kind, id: &str| which == Which::All || self.stale.is(kind, id);
        match position.kind {
            0 => {
                let part = position.take(|| self.vpcs.numbers()).into_iter();
                let part = part.filter_map(|n| self.vpc_configuration(Ix::new(n)));
                let part = part.filter(|vpc| of(ResourceType::Vpc, &vpc.id));
                goal.vpc_states = entries!(VpcState, VpcStatesEntry, which, part);
            }
            1 => {
                let part = position.take(|| self.subnets.numbers()).into_iter();
                let part = part.filter_map(|n| {
                    let subnet = self.subnet_configuration(Ix::new(n))?;
                    let of = of(ResourceType::Subnet, &subnet.id);
                    of.then(|| of_each.push(self.vni_since(Ix::new(n))));
                    of.then_some(subnet)
                });
                goal.subnet_states = entries!(SubnetState, SubnetStatesEntry, which, part);
            }
            2 => {
                let part = position.take(|| self.routers.numbers()).into_iter();
                let part = part.filter_map(|n| self.router_configuration(Ix::new(n)));
                let part = part.filter(|router| of(ResourceType::Router, &router.id));
                goal.router_states = entries!(RouterState, RouterStatesEntry, which, part);
            }
            3 => {
                let part = position.take(|| self.ports.numbers()).into_iter();
                let part = part.filter_map(|n| {
                    let port = self.port_configuration(Ix::new(n))?;
                    let of = of(ResourceType::Port, &port.id);
                    of.then(|| of_each.extend(self.port(Ix::new(n)).map(|slot| slot.changed)));
                    of.then_some(port)
                });
                goal.port_states = entries!(PortState, PortStatesEntry, which, part);
            }
            4 => {
                let neighbors = || self.neighbors().map(|(ix, _)| ix.number()).collect();
                let part = position.take(neighbors).into_iter().map(Ix::new);
                let part = part.filter(|ix| which == Which::All || self.stale.is_neighbor(*ix));
                let part = part.filter_map(|ix| {
                    let neighbor = self.neighbor_configuration(ix)?;
                    of_each.extend(self.neighbor(ix).map(|slot| slot.changed));
                    Some(neighbor)
                });
                goal.neighbor_states = entries!(NeighborState, NeighborStatesEntry, which, part);
            }
            // What nothing is made of yet is few, and has no numbers.
            5 => {
                let all = self.security_group_configurations();
                let all = all.filter(|group| of(ResourceType::Securitygroup, &group.id));
                goal.security_group_states =
                    entries!(SecurityGroupState, SecurityGroupStatesEntry, which, all);
                position.next_kind();
            }
            6 => {
                let all = self.dhcp_configurations();
                let all = all.filter(|dhcp| of(ResourceType::Dhcp, &dhcp.id));
                goal.dhcp_states = entries!(DhcpState, DhcpStatesEntry, which, all);
                position.next_kind();
            }
            7 => {
                let all = self.gateway_configurations();
                let all = all.filter(|gateway| of(ResourceType::Gateway, &gateway.id));
                goal.gateway_states = entries!(GatewayState, GatewayStatesEntry, which, all);
                position.next_kind();
            }
            _ => return None,
        }
        let clock = self.clock();
        Some((goal, Ages { clock, of_each }))
    }
}
