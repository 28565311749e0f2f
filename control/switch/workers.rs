// SPDX-License-Identifier: MIT
//! The workers' threads: each is pinned, polls its share of the rx queues while the switch forwards, and is parked
//! while it does not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_queue::ArrayQueue;
use vswitch::counters::WorkerCounters;
use vswitch::dpdk::{Eal, Port, PortError, PortRx, PortTx};
use vswitch::stage::transmit::{Egress, HANDOFF_CAPACITY, Handoff, Link};
use vswitch::tables::PortId;
use vswitch::tables::snapshot::Registrar;
use vswitch::worker::Worker;

use super::{BringUpError, cores};
use crate::config::Settings;

/// All workers of the switch.
pub(crate) struct Workers {
    workers: Vec<Seat>,
    gate: Arc<Gate>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What is known of one worker from outside.
pub(crate) struct Seat {
    /// The core it is pinned to.
    pub(crate) core: usize,
    /// The rx queues that it polls.
    pub(crate) queues: Vec<(PortId, u16)>,
    /// What it counts.
    pub(crate) counters: Arc<WorkerCounters>,
}

/// What workers are told.
#[derive(Default)]
struct Gate {
    forward: AtomicBool,
    end: AtomicBool,
}

impl Workers {
    /// Gives each worker its queues and starts its thread, parked.
    pub(super) fn spawn(
        eal: &Eal,
        settings: &Settings,
        ports: &mut [Port],
        registrar: &Registrar,
        cores: &[usize],
    ) -> Result<Self, BringUpError> {
        let gate = Arc::new(Gate::default());
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        let mut egresses =
            egresses(ports, cores.len()).map_err(|error| in_port(settings, error))?;
        let mut shares =
            shares(settings, ports, cores.len()).map_err(|error| in_port(settings, error))?;
        for (number, &core) in cores.iter().enumerate() {
            let name = format!("worker{number}");
            let rx = std::mem::take(&mut shares[number]);
            let queues = rx.iter().map(|(port, queue, _)| (*port, *queue)).collect();
            let rx = rx.into_iter().map(|(port, _, rx)| (port, rx)).collect();
            let egress = Egress::new(std::mem::take(&mut egresses[number]));
            let counters = Arc::new(WorkerCounters::default());
            let reader = registrar.reader(&name)?;
            let worker = Worker::new(
                rx,
                egress,
                reader,
                Arc::clone(&counters),
                settings.burst.into(),
            );
            let (gate, eal) = (Arc::clone(&gate), eal.clone());
            let thread = std::thread::Builder::new().name(name);
            threads.push(thread.spawn(move || attend(worker, &gate, &eal, core))?);
            workers.push(Seat {
                core,
                queues,
                counters,
            });
        }
        Ok(Self {
            workers,
            gate,
            threads: Mutex::new(threads),
        })
    }

    /// Each worker, by number.
    pub(crate) fn seats(&self) -> &[Seat] {
        &self.workers
    }

    /// The cores that workers are pinned to.
    pub(crate) fn cores(&self) -> Vec<usize> {
        self.workers.iter().map(|worker| worker.core).collect()
    }

    /// What the workers count.
    pub(crate) fn counters(&self) -> Vec<Arc<WorkerCounters>> {
        self.workers
            .iter()
            .map(|worker| Arc::clone(&worker.counters))
            .collect()
    }

    /// True while workers forward.
    pub(crate) fn forwarding(&self) -> bool {
        self.gate.forward.load(Ordering::Relaxed)
    }

    /// Lets workers forward.
    pub(crate) fn start(&self) {
        self.gate.forward.store(true, Ordering::Relaxed);
        self.unpark();
    }

    /// Lets workers pause after their present round. What arrives meanwhile stays in the devices, as far as it fits.
    pub(crate) fn stop(&self) {
        self.gate.forward.store(false, Ordering::Relaxed);
    }

    /// Ends the workers' threads, after which the ports' queues are free.
    pub(crate) fn end(&self) {
        self.gate.end.store(true, Ordering::Relaxed);
        self.stop();
        self.unpark();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }

    fn unpark(&self) {
        for thread in self
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            thread.thread().unpark();
        }
    }
}

/// A worker's thread.
fn attend(mut worker: Worker<PortRx, PortTx>, gate: &Gate, eal: &Eal, core: usize) {
    if !cores::pin(core) {
        tracing::warn!("a worker cannot be pinned to core {core}");
    }
    // For the guard's lifetime the thread has mempool caches of its own. Without, it is slower, not wrong.
    let registered = eal.register_thread();
    if let Err(error) = &registered {
        tracing::warn!("the worker on core {core} is slow: {error}");
    }
    while !gate.end.load(Ordering::Relaxed) {
        if gate.forward.load(Ordering::Relaxed) {
            worker = worker.run(&gate.forward);
        } else {
            std::thread::park();
        }
    }
    drop(worker);
}

fn in_port(settings: &Settings, (port, error): (PortId, PortError)) -> BringUpError {
    let number = port.index();
    let device = settings
        .ports
        .get(number)
        .map(|port| port.device.clone())
        .unwrap_or_default();
    BringUpError::Port {
        number,
        device,
        error,
    }
}

/// Rx queues of one worker: port, queue number, queue.
type Share = Vec<(PortId, u16, PortRx)>;

/// Deals the rx queues of all ports that forward out to the workers, in turn.
fn shares(
    settings: &Settings,
    ports: &mut [Port],
    workers: usize,
) -> Result<Vec<Share>, (PortId, PortError)> {
    let mut shares: Vec<Share> = std::iter::repeat_with(Vec::new).take(workers).collect();
    let mut turn = (0..workers).cycle();
    for (number, port) in (0..).zip(ports) {
        let Some(id) = PortId::new(number) else { break };
        if settings
            .portlist
            .as_ref()
            .is_some_and(|list| !list.contains(&id))
        {
            continue;
        }
        for queue in 0..port.info().rxq {
            let rx = port.take_rx(queue).map_err(|error| (id, error))?;
            shares[turn.next().unwrap_or_default()].push((id, queue, rx));
        }
    }
    Ok(shares)
}

/// Ways out of one worker.
type Ways = Vec<(PortId, Link<PortTx>)>;

/// Gives each worker a tx queue of each port. Where a port has too few, those without hand their frames to the first
/// worker.
fn egresses(ports: &mut [Port], workers: usize) -> Result<Vec<Ways>, (PortId, PortError)> {
    let mut ways: Vec<Ways> = std::iter::repeat_with(Vec::new).take(workers).collect();
    for (number, port) in (0..).zip(ports) {
        let Some(id) = PortId::new(number) else { break };
        let queues = usize::from(port.info().txq);
        let handoff: Option<Handoff<_>> =
            (queues < workers).then(|| Arc::new(ArrayQueue::new(HANDOFF_CAPACITY)));
        for (worker, ways) in (0..).zip(&mut ways) {
            let link = if usize::from(worker) < queues {
                let tx = port.take_tx(worker).map_err(|error| (id, error))?;
                match &handoff {
                    Some(handoff) if worker == 0 => Link::Shared(tx, Arc::clone(handoff)),
                    _ => Link::Own(tx),
                }
            } else if let Some(handoff) = &handoff {
                Link::Borrowed(Arc::clone(handoff))
            } else {
                continue;
            };
            ways.push((id, link));
        }
    }
    Ok(ways)
}
