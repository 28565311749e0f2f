// SPDX-License-Identifier: MIT
//! The control thread and who watches the uplinks' links ([`crate::underlay`]): neither waits for the other.

use std::sync::Arc;

use tokio::sync::mpsc;
use vswitch::tables::Live;

use super::{Core, Need};

impl Core {
    /// Tells the receiver, from now on, which addresses of the underlay need a MAC: each when it is needed first, and
    /// maybe again; and when it is asked, which of them still do.
    pub(crate) fn resolve_by(&mut self, needs: mpsc::UnboundedSender<Need>) {
        self.listeners.needs = Some(needs);
    }

    /// Which uplinks are used: to be set without waiting for the control thread.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.program.live()
    }

    /// Says which addresses need a MAC that did not before.
    pub(super) fn tell_new_needs(&mut self) {
        let needed = self.program.take_needed();
        self.tell_needs(needed.into_iter().map(Need::Mac));
    }

    /// Says which of all addresses still do.
    pub(super) fn tell_all_needs(&mut self) {
        let needed = self.program.needed(&self.wanted);
        self.tell_needs([Need::Only(needed)]);
    }

    fn tell_needs(&self, needs: impl IntoIterator<Item = Need>) {
        let Some(told) = &self.listeners.needs else {
            return;
        };
        for need in needs {
            let _ = told.send(need); // at the end nobody asks any more
        }
    }
}
