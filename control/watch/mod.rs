// SPDX-License-Identifier: MIT
//! For those who watch the switch: figures for Prometheus, health for whoever starts and replaces it.
//!
//! * [`collect`] reads what there is, once a request; [`text`] writes it down, each metric with its meaning. docs/metrics.md lists
//!   them.
//! * [`sample`] has the counters of them for `alkaid top`.
//! * [`health`] says whether the switch does what it is for, and why not; [`progress`] whether workers move.
//! * [`http`] answers whoever asks; [`notify`] tells systemd.
//!
//! Nothing of it touches workers: they count in memory of their own, and this reads it.

mod collect;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod notify;
mod out;
mod progress;
mod sample;
#[cfg(test)]
mod tests;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use vswitch::dpdk::Mbuf;

use crate::config::Settings;
use crate::core::{CoreHandle, Figures, Replies};
use crate::ondemand::desk::Shared;
use crate::switch::{Devices, Switch};
use crate::underlay;
use health::Health;
use progress::Progress;

/// How long the control thread may take to answer, or to take another request, before it is said not to. A goal state of a million
/// neighbors keeps it busy for some seconds: whoever ends a switch for that should ask more than once.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time between two looks at the workers.
const LOOK: Duration = Duration::from_millis(250);

/// What the control thread says within so long; and whether it works: it says that, or has taken requests that came before.
async fn ask(core: &CoreHandle, patience: Duration) -> (Option<Figures>, bool) {
    let taken = core.taken();
    let asked = tokio::time::timeout(patience, core.figures());
    let figures = asked.await.ok().and_then(Result::ok);
    let works = figures.is_some() || core.taken() > taken;
    (figures, works)
}

/// The running switch, to be watched.
pub(crate) struct Watch {
    /// The switch serves since then.
    since: Instant,
    settings: Settings,
    devices: Arc<Devices>,
    core: CoreHandle,
    replies: Replies,
    on_demand: Option<Arc<Shared<Mbuf>>>,
    underlay: Option<underlay::Known>,
    progress: Mutex<Progress>,
    /// What the control thread said last, for when it does not.
    last: Mutex<Option<Figures>>,
    /// One reads at a time.
    turn: tokio::sync::Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Of this switch.
    pub(crate) fn new(
        switch: &Switch,
        core: CoreHandle,
        replies: Replies,
        on_demand: Option<Arc<Shared<Mbuf>>>,
        underlay: Option<underlay::Known>,
    ) -> Arc<Self> {
        Arc::new(Self {
            since: Instant::now(),
            settings: switch.settings().clone(),
            devices: switch.devices(),
            core,
            replies,
            on_demand,
            underlay,
            progress: Mutex::default(),
            last: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Looks at the workers again and again. Does not end.
    pub(crate) async fn look(&self) {
        loop {
            self.look_at_workers();
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The workers that do not move, by number, and since when.
    fn look_at_workers(&self) -> Vec<(usize, Duration)> {
        let workers = self.devices.workers();
        let seats = workers.seats().iter();
        let polls = seats.map(|seat| seat.counters.load.polls().1).collect();
        let mut progress = lock(&self.progress);
        progress.look(Instant::now(), polls, workers.forwarding())
    }

    /// What the control thread says, and whether it works.
    async fn figures(&self, patience: Duration) -> (Option<Figures>, bool) {
        let (figures, works) = ask(&self.core, patience).await;
        if figures.is_some() {
            lock(&self.last).clone_from(&figures);
        }
        (figures, works)
    }

    /// What the control thread said last, of a moment ago if it is busy; and whether it works.
    async fn latest(&self) -> (Option<Figures>, bool) {
        let (figures, works) = self.figures(PATIENCE).await;
        (figures.or_else(|| lock(&self.last).clone()), works)
    }

    /// Whether the switch does what it is for.
    pub(crate) async fn health(&self) -> Health {
        let (figures, works) = self.latest().await;
        block_in_place(|| self.judge(figures.as_ref(), works))
    }
}
