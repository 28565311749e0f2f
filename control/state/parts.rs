// SPDX-License-Identifier: MIT
//! Everything that is wanted as goal states, a part at a time, so that whoever writes it out can do other things between.
//!
//! What changes between two parts is in one of them or not. Who applies all parts, and then every goal state that came
//! since the first, has what is wanted.

use super::Wanted;
use super::slots::Ix;
use crate::proto::schema::goal_state_v2::{
    DhcpStatesEntry, GatewayStatesEntry, NeighborStatesEntry, PortStatesEntry, RouterStatesEntry,
    SecurityGroupStatesEntry, SubnetStatesEntry, VpcStatesEntry,
};
use crate::proto::schema::{
    DhcpState, GatewayState, GoalStateV2, NeighborState, OperationType, PortState, RouterState,
    SecurityGroupState, SubnetState, VpcState,
};

/// Most resources of a part: some milliseconds' work, and a megabyte.
const PART: u32 = 4096;

/// Which part is next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    kind: u8,
    at: u32,
}

impl Position {
    /// The numbers of this part, of a kind that has some up to `end`; then it stands behind them.
    fn take(&mut self, end: usize) -> std::ops::Range<u32> {
        let end = end as u32; // slots are numbered by u32
        let part = self.at..self.at.saturating_add(PART).min(end);
        self.at = part.end;
        if part.end >= end {
            *self = Self {
                kind: self.kind + 1,
                at: 0,
            };
        }
        part
    }
}

/// The entries of a part: what `$get` gives of each number.
macro_rules! entries {
    ($state:ident, $entry:ident, $part:expr, $get:expr) => {
        $part
            .filter_map($get)
            .map(|configuration| $entry {
                key: configuration.id.clone(),
                value: Some($state {
                    operation_type: OperationType::Create.into(),
                    configuration: Some(configuration),
                }),
            })
            .collect()
    };
}

impl Wanted {
    /// The part at `position`, which moves on. `None`: that was all. A part may be empty.
    pub(crate) fn part(&self, position: &mut Position) -> Option<GoalStateV2> {
        let mut goal = GoalStateV2::default();
        match position.kind {
            0 => {
                let part = position.take(self.vpcs.end());
                let get = |n| self.vpc_configuration(Ix::new(n));
                goal.vpc_states = entries!(VpcState, VpcStatesEntry, part, get);
            }
            1 => {
                let part = position.take(self.subnets.end());
                let get = |n| self.subnet_configuration(Ix::new(n));
                goal.subnet_states = entries!(SubnetState, SubnetStatesEntry, part, get);
            }
            2 => {
                let part = position.take(self.routers.end());
                let get = |n| self.router_configuration(Ix::new(n));
                goal.router_states = entries!(RouterState, RouterStatesEntry, part, get);
            }
            3 => {
                let part = position.take(self.ports.end());
                let get = |n| self.port_configuration(Ix::new(n));
                goal.port_states = entries!(PortState, PortStatesEntry, part, get);
            }
            4 => {
                let part = position.take(self.neighbors.end());
                let get = |n| self.neighbor_configuration(Ix::new(n));
                goal.neighbor_states = entries!(NeighborState, NeighborStatesEntry, part, get);
            }
            // What nothing is made of yet is few; and has no numbers.
            5 => {
                let all = self.security_group_configurations();
                goal.security_group_states =
                    entries!(SecurityGroupState, SecurityGroupStatesEntry, all, Some);
                position.kind += 1;
            }
            6 => {
                let all = self.dhcp_configurations();
                goal.dhcp_states = entries!(DhcpState, DhcpStatesEntry, all, Some);
                position.kind += 1;
            }
            7 => {
                let all = self.gateway_configurations();
                goal.gateway_states = entries!(GatewayState, GatewayStatesEntry, all, Some);
                position.kind += 1;
            }
            _ => return None,
        }
        Some(goal)
    }
}
