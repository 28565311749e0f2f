// SPDX-License-Identifier: MIT
//! What a file says of guests' ports.

use super::super::rule::PortRule;
use super::Conflict;
use super::fold::Fold;
use crate::core::PortRules;

impl Fold<'_> {
    /// Nothing can be said of an uplink and the host port, but `all` may mean them too.
    pub(super) fn check_rules(&mut self) {
        let uplinks = self.settings.uplinks();
        let no_guests: Vec<_> = uplinks.chain(self.settings.host_port).collect();
        for port in no_guests {
            for word in PortRule::WORDS {
                if let Some(at) = self.line(&format!("port config {} {word}", port.get())) {
                    self.error(Some(at), Conflict::NoGuest(port.get()), &[]);
                }
            }
            if let Some(port) = self.settings.ports.get_mut(port.index()) {
                port.rules = PortRules::default();
            }
        }
    }
}
