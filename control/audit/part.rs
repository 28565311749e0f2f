// SPDX-License-Identifier: MIT
//! [`Part`]: a part of what is wanted, and whether it is programmed.

use crate::program::Program;
use crate::program::audit::Gap;
use crate::proto::schema::{GoalStateV2, OperationStatus, ResourceType};
use crate::state::{Subject, Wanted};

/// Why a resource is not programmed: a status as replies have it, and the same in words.
pub(crate) type Reason = (OperationStatus, String);

/// A resource of a goal state that was not taken into what is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Which kind.
    pub(crate) kind: ResourceType,
    /// The controller's id of it.
    pub(crate) id: String,
    /// Why.
    pub(crate) reason: Reason,
}

/// Some of the resources that are wanted, of one kind.
#[derive(Debug)]
pub(crate) struct Part {
    /// The resources.
    pub(crate) goal: GoalStateV2,
    /// Whether each is programmed, in the order of [`super::canonical::entries`].
    pub(crate) states: Vec<Result<(), Reason>>,
}

impl Part {
    /// What workers see of `goal`, which `wanted` exported. They see what was programmed last only if it is `visible`.
    pub(crate) fn new(
        goal: GoalStateV2,
        wanted: &Wanted,
        program: &Program,
        visible: bool,
    ) -> Self {
        let state = |subject: Option<Subject>| {
            let seen = subject.map_or(Err(Gap::Lost), |it| program.audit(wanted, &it));
            match seen {
                // Of what was committed last, the tables may not have anything yet either.
                Ok(()) | Err(Gap::Lost) if !visible => Err((
                    OperationStatus::Pending,
                    "a worker may not see the latest changes yet".to_owned(),
                )),
                Err(gap) => Err((gap.status(), gap.explain(wanted))),
                Ok(()) => Ok(()),
            }
        };
        let mut states = Vec::new();
        macro_rules! each {
            ($states:ident, $it:ident => $subject:expr) => {
                states.extend(
                    goal.$states
                        .iter()
                        .filter_map(|it| it.value.as_ref()?.configuration.as_ref())
                        .map(|$it| state($subject)),
                );
            };
        }
        each!(vpc_states, it => Some(wanted.find(ResourceType::Vpc, &it.id)));
        each!(subnet_states, it => Some(wanted.find(ResourceType::Subnet, &it.id)));
        each!(router_states, it => Some(wanted.find(ResourceType::Router, &it.id)));
        each!(port_states, it => Some(wanted.find(ResourceType::Port, &it.id)));
        each!(neighbor_states, it => wanted.find_neighbor(it).map(|ix| Subject::Neighbor([ix].into_iter().collect())));
        each!(security_group_states, it => Some(wanted.find(ResourceType::Securitygroup, &it.id)));
        each!(dhcp_states, it => Some(wanted.find(ResourceType::Dhcp, &it.id)));
        each!(gateway_states, it => Some(wanted.find(ResourceType::Gateway, &it.id)));
        Self { goal, states }
    }
}
