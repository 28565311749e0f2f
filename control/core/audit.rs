// SPDX-License-Identifier: MIT
//! What is asked of the core to compare it with a goal, and of what it makes of a packet.

use std::time::Instant;

use vswitch::tables::PortId;
use vswitch::tables::snapshot::Registrar;

use super::Core;
use super::watchdog::GRACE;
use crate::audit::conflicts::{Conflicts, conflicts};
use crate::audit::part::{Part, Refused};
use crate::explain::{ExplainError, Explanation, Links, Packet, Trace};
use crate::southbound::decode::{self, Encoded, Malformed};
use crate::state::parts::{Position, Which};

impl Core {
    /// Has packets explained as workers with readers from here treat them; `asks`: they leave with somebody what nobody
    /// knows, who asks the controller.
    pub(crate) fn explain_by(&mut self, registrar: Registrar, asks: bool) {
        self.explain_by = Some((registrar, asks));
    }

    /// What becomes of a packet that arrives on `from` now, and why; workers have these links.
    pub(crate) fn explain(
        &self,
        from: PortId,
        packet: &Packet,
        links: Links,
    ) -> Result<Explanation, ExplainError> {
        let (registrar, asks) = self.explain_by.as_ref().ok_or(ExplainError::NoTables)?;
        let frame = match packet {
            Packet::Words(text) => &self.program.packet(&self.wanted, from, text)?,
            Packet::Bytes(bytes) => bytes,
        };
        let (from, frame) = links.arrival(from, frame);
        let subports = links.subports.clone();
        let trace = Trace::of(registrar, *asks, links, from, &frame)?;
        let program = &self.program;
        Ok(program.explain(&self.wanted, from, &frame, trace, &subports))
    }

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

    /// What contradicts itself in what is wanted.
    pub(crate) fn conflicts(&self) -> Conflicts {
        conflicts(&self.wanted, &self.program)
    }
}
