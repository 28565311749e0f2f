// SPDX-License-Identifier: MIT
//! What operators say of guests' ports and of subnets, for which the controller has no word.

use std::sync::PoisonError;

use tokio::task::block_in_place;

use super::{Operator, done, holds, unless_gone};
use crate::config::Ports;
use crate::config::rule::PortRule;
use crate::core;
use crate::northbound::{ExecError, Output};

impl Operator {
    /// Says what holds at guests' ports.
    pub(super) async fn rule(&self, ports: Ports, rule: PortRule) -> Result<Output, ExecError> {
        let no_guests: Vec<_> = (self.settings.uplinks())
            .chain(self.settings.host_port)
            .collect();
        // What a worker does not see yet is done, and holds up no other port.
        let mut unseen = Ok(());
        for port in block_in_place(|| self.chosen(ports)) {
            if ports == Ports::All && no_guests.contains(&port) {
                continue;
            }
            let rules = block_in_place(|| self.devices.rules(port));
            let Some(mut rules) = unless_gone(ports, rules).transpose()? else {
                continue;
            };
            rule.apply(&mut rules);
            let ruled = self.core.set_rules(port, rules).await;
            if holds(&ruled) {
                block_in_place(|| self.devices.note_rules(port, rules))?;
            }
            match ruled {
                Ok(Err(core::NotDone::NotSeen)) => unseen = done(ruled),
                ruled => done(ruled)?,
            }
        }
        unseen.map(|()| Output::Done)
    }

    /// Says of a subnet, or of all others, whether there is replication.
    pub(super) async fn replicate(
        &self,
        subnet: Option<String>,
        rate: Option<u32>,
    ) -> Result<Output, ExecError> {
        let said = self.core.set_replicated(subnet.clone(), rate).await;
        if holds(&said) {
            let noted = self.replicated.lock();
            let mut noted = noted.unwrap_or_else(PoisonError::into_inner);
            // As many are named as the core has taken.
            let _ = noted.say(subnet.as_deref(), rate);
        }
        done(said).map(|()| Output::Done)
    }
}
