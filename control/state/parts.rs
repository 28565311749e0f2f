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

/// Most resources of a part: some milliseconds' work, and a megabyte. To begin with a million neighbors takes a tenth of a
/// second, since they are sorted.
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

/// Numbers in the order in which the slots were described last: of those that claim one address the last has it.
fn by_age<T>(slots: impl Iterator<Item = (Ix<T>, u64)>) -> Vec<u32> {
    let mut aged: Vec<_> = slots.map(|(ix, changed)| (changed, ix.number())).collect();
    aged.sort_unstable();
    aged.into_iter().map(|(_, number)| number).collect()
}

/// The entries of a part: what `$get` gives of each number.
macro_rules! entries {
    ($state:ident, $entry:ident, $part:expr, $get:expr) => {
        $part
            .into_iter()
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
                let part = position.take(|| self.vpcs.numbers());
                let get = |n| self.vpc_configuration(Ix::new(n));
                goal.vpc_states = entries!(VpcState, VpcStatesEntry, part, get);
            }
            1 => {
                let part = position.take(|| self.subnets.numbers());
                let get = |n| self.subnet_configuration(Ix::new(n));
                goal.subnet_states = entries!(SubnetState, SubnetStatesEntry, part, get);
            }
            2 => {
                let part = position.take(|| self.routers.numbers());
                let get = |n| self.router_configuration(Ix::new(n));
                goal.router_states = entries!(RouterState, RouterStatesEntry, part, get);
            }
            3 => {
                let ports = || by_age(self.ports().map(|(ix, slot)| (ix, slot.changed)));
                let part = position.take(ports);
                let get = |n| self.port_configuration(Ix::new(n));
                goal.port_states = entries!(PortState, PortStatesEntry, part, get);
            }
            4 => {
                let neighbors = || by_age(self.neighbors().map(|(ix, slot)| (ix, slot.changed)));
                let part = position.take(neighbors);
                let get = |n| self.neighbor_configuration(Ix::new(n));
                goal.neighbor_states = entries!(NeighborState, NeighborStatesEntry, part, get);
            }
            // What nothing is made of yet is few; and has no numbers.
            5 => {
                let all = self.security_group_configurations();
                goal.security_group_states =
                    entries!(SecurityGroupState, SecurityGroupStatesEntry, all, Some);
                position.next_kind();
            }
            6 => {
                let all = self.dhcp_configurations();
                goal.dhcp_states = entries!(DhcpState, DhcpStatesEntry, all, Some);
                position.next_kind();
            }
            7 => {
                let all = self.gateway_configurations();
                goal.gateway_states = entries!(GatewayState, GatewayStatesEntry, all, Some);
                position.next_kind();
            }
            _ => return None,
        }
        Some(goal)
    }
}
