// SPDX-License-Identifier: MIT
//! What a file says of guests' ports.

use super::super::rule::PortRule;
use super::Conflict;
use super::fold::Fold;
use crate::core::PortRules;

impl Fold<'_> {
    /// Nothing can be said of the uplink and the host port, but `all` may mean them too.
    pub(super) fn check_rules(&mut self) {
        let uplink = self.settings.vtep.map(|vtep| vtep.port);
        for port in uplink.into_iter().chain(self.settings.host_port) {
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
