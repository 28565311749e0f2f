// SPDX-License-Identifier: MIT
//! [`Polled`]: an rx queue on its way from worker to worker. There is one of it, so two workers never poll one queue.

use std::sync::Arc;

use super::Worker;
use crate::counters::QueueLoad;
use crate::io::{MAX_BURST, RxQueue, TxQueue};
use crate::stage::transmit::HANDOFF_CAPACITY;
use crate::tables::PortId;

/// An rx queue, and what it is known by.
pub struct Polled<R> {
    /// Its port.
    pub port: PortId,
    /// The queue.
    pub queue: R,
    /// What is counted of it. No two queues share it.
    pub load: Arc<QueueLoad>,
}

impl<R> Polled<R> {
    /// A queue of which nothing is counted yet.
    pub fn new(port: PortId, queue: R) -> Self {
        let load = Arc::default();
        Self { port, queue, load }
    }
}

impl<R: RxQueue, T: TxQueue<Frame = R::Frame>, O> Worker<R, T, O> {
    /// Sends what other workers have handed over by now, and what they do meanwhile only as far as it comes along: there may be no
    /// end to it at ports that stay. A pass may find nothing though there is something: behind what another is about to hand over.
    pub fn drain(&mut self) {
        for _ in 0..HANDOFF_CAPACITY.div_ceil(MAX_BURST) {
            self.lane.egress.send_handed_over(&self.lane.counters);
        }
    }

    /// Gives it an rx queue of a port that it has. What the worker that had the queue handed over leaves before. Not while it
    /// polls.
    pub fn add_queue(&mut self, queue: Polled<R>) {
        self.drain();
        self.queues.push(queue);
    }

    /// Takes the rx queue away of which this is counted, for another worker. What the device has received meanwhile stays there;
    /// what came before is sent. `None`: it has no such queue. Not while it polls.
    pub fn take_queue(&mut self, load: &Arc<QueueLoad>) -> Option<Polled<R>> {
        let mut queues = self.queues.iter();
        let at = queues.position(|polled| Arc::ptr_eq(&polled.load, load))?;
        Some(self.queues.remove(at))
    }
}
