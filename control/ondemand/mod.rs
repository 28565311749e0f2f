// SPDX-License-Identifier: MIT
//! On demand: packets whose destination nobody told this switch of wait while the controller is asked for it.
//!
//! ```text
//!   worker ── miss ──► desk ── engine ── call ──► client ── RequestGoalStates ──► NCM
//!     ▲                 │  ▲                                                       │
//!     └── frames ◄──────┘  └── commit visible ◄── core ◄── southbound ◄── push ────┘
//! ```
//!
//! * [`desk`] the thread between the workers' queues and everything else;
//! * [`engine`] decides: what is asked for, what waits, what is given up;
//! * [`question`] what the controller is told of a packet; [`client`] tells it.
//!
//! Entries that came this way and that nobody uses for some time age: see `core::on_demand`.

pub(crate) mod client;
pub(crate) mod desk;
pub(crate) mod engine;
mod question;

use std::error::Error;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use vswitch::dpdk::Mbuf;

use crate::config::{ClientTls, Settings};
use crate::core::{Core, CoreHandle};
use crate::switch::Switch;
use client::Ncm;
use desk::{Desk, Shared};
use engine::{Call, Limits, MAX_CALLS};

/// Of all packet buffers, the share that may wait: one in so many.
const HELD_SHARE: u32 = 8;

/// The thread, running.
pub(crate) struct OnDemand {
    shared: Arc<Shared<Mbuf>>,
    thread: JoinHandle<()>,
}

/// The calls that the thread wants made.
pub(crate) struct Client {
    ncm: Ncm,
    tls: Option<ClientTls>,
    calls: mpsc::Receiver<Call>,
    shared: Arc<Shared<Mbuf>>,
}

impl OnDemand {
    /// Starts the thread, if the switch is to ask somebody.
    pub(crate) fn start(
        switch: &Switch,
        core: &mut Core,
        handle: &CoreHandle,
    ) -> Result<Option<(Self, Client)>, Box<dyn Error>> {
        let (Some(ncm), Some((punt, tables))) = (ncm(switch.settings()), switch.punt()?) else {
            return Ok(None);
        };
        let (sender, calls) = mpsc::channel(MAX_CALLS);
        let desk = Desk::new(
            limits(switch.settings()),
            Duration::from_secs(switch.settings().on_demand.idle.into()),
            punt.queues,
            tables,
            punt.counters,
            sender,
            handle.clone(),
        );
        let shared = desk.shared();
        let told = Arc::clone(&shared);
        core.on_commit(move || told.tables_changed());
        let name = "on-demand".to_owned();
        let thread = std::thread::Builder::new().name(name);
        let thread = thread.spawn(move || desk.run())?;
        tracing::info!("asking {} from {}", ncm.address, ncm.source);
        let client = Client {
            ncm,
            tls: switch.settings().ncm_tls.clone(),
            calls,
            shared: Arc::clone(&shared),
        };
        Ok(Some((Self { shared, thread }, client)))
    }

    /// Ends the thread; what still waits is freed.
    pub(crate) fn end(self) {
        self.shared.end();
        if self.thread.join().is_err() {
            tracing::error!("the thread that asks the controller panicked");
        }
    }
}

impl Client {
    /// What is known of the thread.
    pub(crate) fn shared(&self) -> Arc<Shared<Mbuf>> {
        Arc::clone(&self.shared)
    }

    /// Makes the calls, until the thread ends.
    pub(crate) async fn run(self) {
        let outcome = |outcome| self.shared.outcome(outcome);
        client::run(self.ncm, self.tls, self.calls, outcome).await;
    }
}

/// Whom to ask, and from where.
fn ncm(settings: &Settings) -> Option<Ncm> {
    Some(Ncm {
        address: settings.on_demand.ncm?,
        source: settings.asking_source()?,
    })
}

fn limits(settings: &Settings) -> Limits {
    let on_demand = &settings.on_demand;
    Limits {
        hold: Duration::from_millis(on_demand.hold.into()),
        rate: on_demand.rate,
        negative: Duration::from_secs(on_demand.negative.into()),
        frames: (settings.mbufs / HELD_SHARE) as usize,
    }
}
