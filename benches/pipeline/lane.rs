// SPDX-License-Identifier: MIT
//! One lcore's share of a [`Scene`]: a worker that receives the frames of one case, and its counters.

use std::sync::Arc;

use vswitch::counters::{PortTotals, WorkerCounters, total};
use vswitch::stage::transmit::Link;
use vswitch::worker::Worker;

use crate::port::{Sink, Source};
use crate::scene::{BURST, Case, GUEST, OTHER_GUEST, Scene, UPLINK};

pub(crate) struct Lane {
    pub(crate) worker: Worker<Source, Sink>,
    counters: Arc<WorkerCounters>,
    case: Case,
}

impl Lane {
    pub(crate) fn new(scene: &Scene, case: Case, flows: u32) -> Self {
        let counters = Arc::new(WorkerCounters::default());
        let reader = scene.registrar.reader("bench").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(&counters), BURST);
        for port in [UPLINK, GUEST, OTHER_GUEST] {
            worker.add_port(port, Vec::new(), Some(Link::Own(Sink)));
        }
        let (frame, fields) = case.frame(flows);
        let source = Source::new(frame, fields, flows);
        worker.add_port(case.arrives_at(), vec![source], Some(Link::Own(Sink)));
        Self {
            worker,
            counters,
            case,
        }
    }

    /// What arrived; all of it has left.
    pub(crate) fn forwarded(&self) -> u64 {
        let port = self.case.arrives_at();
        let at: PortTotals = total(std::slice::from_ref(&self.counters), port);
        assert!(
            at.rx != 0 && at.rx == at.forwarded,
            "{:?}: {at:?}",
            self.case
        );
        at.rx
    }
}
