// SPDX-License-Identifier: MIT
//! What is asked of the core to compare it with a goal.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::Core;
use super::watchdog::GRACE;
use crate::audit::conflicts::{Conflicts, conflicts};
use crate::audit::part::{Part, Refused};
use crate::southbound::decode::{self, Encoded, Malformed};
use crate::state::parts::{Position, Which};

impl Core {
    /// Applies one goal state as [`Core::apply`] does, and says only which resources were not taken, and why.
    pub(crate) fn rehearse(&mut self, goal: &Encoded) -> Result<Vec<Refused>, Malformed> {
        let resources = decode::resources(goal)?;
        let applied = self.begin_goal("a rehearsal".to_owned(), Instant::now(), resources);
        self.make_visible(GRACE);
        self.wanted.sweep();
        Ok(applied.refused())
    }

    /// The part at `position` of what is wanted, and whether workers see it; they see what was committed last only if it is
    /// `visible`. `None`: that was all.
    pub(crate) fn audit(&self, position: &mut Position, visible: bool) -> Option<Part> {
        let (goal, _) = self.wanted.part(position, Which::All)?;
        Some(Part::new(goal, &self.wanted, &self.program, visible))
    }

    /// What contradicts itself in what is wanted; `vtep` is this host's.
    pub(crate) fn conflicts(&self, vtep: Option<Ipv4Addr>) -> Conflicts {
        conflicts(&self.wanted, &self.program, vtep)
    }
}
