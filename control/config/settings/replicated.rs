// SPDX-License-Identifier: MIT
//! What a file says of replication.

use super::super::command::Setting;
use super::super::line::Line;
use super::fold::Fold;
use crate::core::Replicated;

impl<'a> Fold<'a> {
    /// Of a subnet; `None`: of all that nothing is said of.
    pub(super) fn replicate(&mut self, line: &'a Line, subnet: Option<&str>, rate: Option<u32>) {
        self.once(
            line,
            format!("set replicate subnet {}", subnet.unwrap_or("all")),
        );
        if let Err(error) = self.settings.replicated.say(subnet, rate) {
            self.error(Some(line), error.into(), &[]);
        }
    }
}

/// What makes it, defaults left out.
pub(super) fn settings(replicated: &Replicated) -> impl Iterator<Item = Setting> {
    let others = replicated.others.map(|rate| (None, Some(rate)));
    let named = replicated.subnets.iter();
    let named = named.map(|(id, rate)| (Some(id.clone()), *rate));
    let all = others.into_iter().chain(named);
    all.map(|(subnet, rate)| Setting::Replicate { subnet, rate })
}
