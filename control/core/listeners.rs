// SPDX-License-Identifier: MIT
//! Whom the control thread tells what, after a commit.

use tokio::sync::mpsc;
use vswitch::tables::PortId;

use super::{Core, Need};

/// What there is to know of a port for whoever makes devices: said each time that it is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PortNews {
    /// The controller's id of it.
    pub(crate) id: Box<str>,
    /// The controller's name of it; `None`: it is not described any more.
    pub(crate) name: Option<String>,
    /// Which of the switch's ports it is.
    pub(crate) bound: Option<PortId>,
}

/// Who is told.
#[derive(Default)]
pub(super) struct Listeners {
    /// That there was a commit.
    commits: Option<Box<dyn Fn() + Send>>,
    /// Which addresses of the underlay need a MAC.
    pub(super) needs: Option<mpsc::UnboundedSender<Need>>,
    /// Which ports need a device.
    ports: Option<mpsc::UnboundedSender<PortNews>>,
}

impl Core {
    /// Has `told` called after each commit, when all workers that do not lag see it.
    pub(crate) fn on_commit(&mut self, told: impl Fn() + Send + 'static) {
        self.listeners.commits = Some(Box::new(told));
    }

    /// Tells the receiver, from now on, of each port that is described, deleted, bound or unbound, and maybe again. Ports that
    /// nothing is bound to wait for a device that is on its way.
    pub(crate) fn devices_by(&mut self, news: mpsc::UnboundedSender<PortNews>) {
        self.wanted.expect_devices();
        self.program.note_ports();
        self.listeners.ports = Some(news);
    }

    /// Says that workers may see more than before, and what they could see if it were known.
    pub(super) fn tell(&mut self) {
        self.tell_new_needs();
        if let Some(ports) = &self.listeners.ports {
            let news = self.program.take_port_news();
            news.into_iter().for_each(|port| _ = ports.send(port));
        }
        if let Some(told) = &self.listeners.commits {
            told();
        }
    }
}
