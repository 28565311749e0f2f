// SPDX-License-Identifier: MIT
//! What the operator says: which of the controller's ports a port is, what holds for its guest, what to make of revisions. The
//! controller has no word for it.

use vswitch::tables::PortId;

use super::{Core, NotDone, Site};
use crate::state::Revisions;

/// What holds at one port, whichever of the controller's ports it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PortRules {
    /// Whether its guest sends from its own addresses only; `None`: as at every port ([`Site::anti_spoofing`]).
    pub anti_spoofing: Option<bool>,
    /// Whether frames with VLAN tags are carried from and to its guest as they are. Otherwise they are dropped.
    pub takes_tags: bool,
}

impl Site {
    /// What the operator says of a port.
    pub(crate) fn rules(&self, port: PortId) -> PortRules {
        self.rules.get(&port).copied().unwrap_or_default()
    }

    /// Whether the guest at a port sends from its own addresses only.
    pub(crate) fn is_guarded(&self, port: PortId) -> bool {
        let own = self.rules(port).anti_spoofing;
        own.unwrap_or(self.anti_spoofing)
    }
}

impl Core {
    /// Binds a port; visible with the next goal state.
    pub(crate) fn bind(&mut self, port: PortId, id: &str) -> Result<(), NotDone> {
        if !self.program.is_tenant(port) {
            return Err(NotDone::NotTenant(port.get()));
        }
        self.wanted.bind(port, id)?;
        self.program.update(&mut self.wanted);
        Ok(())
    }

    /// Takes that back.
    ///
    /// # Errors
    /// Nothing is bound to it.
    pub(super) fn unbind(&mut self, port: PortId) -> Result<(), NotDone> {
        self.wanted.unbind(port)?;
        self.program.update(&mut self.wanted);
        Ok(())
    }

    /// Says what to make of revisions that go back.
    pub(crate) fn set_revisions(&mut self, revisions: Revisions) {
        self.wanted.set_revisions(revisions);
    }

    /// Says what holds at a port from now on; visible with the next commit.
    ///
    /// # Errors
    /// No guest can be there.
    pub(crate) fn set_rules(&mut self, port: PortId, rules: PortRules) -> Result<(), NotDone> {
        if !self.program.is_tenant(port) {
            return Err(NotDone::NotTenant(port.get()));
        }
        self.program.set_rules(port, rules);
        self.wanted.touch_bound(port);
        self.program.update(&mut self.wanted);
        Ok(())
    }
}
