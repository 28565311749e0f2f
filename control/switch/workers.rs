// SPDX-License-Identifier: MIT
//! The workers' threads: each is pinned, polls its share of the rx queues while the switch forwards, and is parked
//! while it does not. Ports are given to them and taken back between two rounds.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use hashbrown::HashMap;
use vswitch::counters::WorkerCounters;
use vswitch::dpdk::{Eal, Mbuf, Port, PortError, PortRx, PortTx, tsc};
use vswitch::stage::link::{HEARD_CAPACITY, Hearing};
use vswitch::stage::punt::PuntQueues;
use vswitch::stage::transmit::{HANDOFF_CAPACITY, Handed, Handoff, Link};
use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;
use vswitch::tables::snapshot::Registrar;
use vswitch::worker::Worker;

use super::{BringUpError, cores};
use crate::config::Settings;

/// How long a worker may take to give a port back. It looks after each round, which takes microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// All workers of the switch.
pub(crate) struct Workers {
    seats: Vec<Arc<Seat>>,
    /// Workers are to forward.
    forward: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    punt: Option<PuntSide>,
    uplinks: Vec<PortId>,
    /// How others than the port's workers send by it.
    handoffs: Mutex<HashMap<PortId, Handoff<Mbuf>>>,
}

/// What workers leave with the control side, and what that counts.
#[derive(Clone, Default)]
pub(crate) struct PuntSide {
    /// By worker.
    pub(crate) queues: Vec<Arc<PuntQueues<Mbuf>>>,
    /// Of those that the control side drops and lets go of.
    pub(crate) counters: Arc<WorkerCounters>,
}

/// What is known of one worker from outside.
pub(crate) struct Seat {
    /// The core it is pinned to.
    pub(crate) core: usize,
    /// What it counts.
    pub(crate) counters: Arc<WorkerCounters>,
    /// The rx queues that it polls: port and number.
    queues: Mutex<Vec<(PortId, u16)>>,
    /// Changes that it is to make before it goes on.
    mail: Mutex<Vec<Change>>,
    /// False: it is to come out of its loop and look at its mail and what it is told.
    run: AtomicBool,
    /// Its thread is to end.
    end: AtomicBool,
}

/// A change of a worker.
enum Change {
    Add {
        port: PortId,
        mtu: u16,
        queues: Vec<PortRx>,
        link: Option<Link<PortTx>>,
    },
    Remove {
        port: PortId,
        done: SyncSender<()>,
    },
    AddSubport {
        port: PortId,
        subport: Subport,
        mtu: u16,
    },
    Tell(Hearing),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    /// The rx queues that the worker polls: port and number.
    pub(crate) fn queues(&self) -> Vec<(PortId, u16)> {
        lock(&self.queues).clone()
    }
}

impl Workers {
    /// Starts a worker on each core, parked and without ports. With `punt`, what lacks a neighbor is not dropped but left
    /// with the control side.
    pub(super) fn spawn(
        eal: &Eal,
        settings: &Settings,
        registrar: &Registrar,
        cores: &[usize],
        punt: bool,
    ) -> Result<Self, BringUpError> {
        let mut punt = punt.then(PuntSide::default);
        let forward = Arc::new(AtomicBool::new(false));
        let (mut seats, mut threads) = (Vec::new(), Vec::new());
        for (number, &core) in cores.iter().enumerate() {
            let name = format!("worker{number}");
            let counters = Arc::new(WorkerCounters::default());
            let mut worker = Worker::new(
                registrar.reader(&name)?,
                Arc::clone(&counters),
                settings.burst.into(),
            );
            *worker.limits_mut() = settings.limits();
            worker.time_by(tsc);
            if let Some(punt) = &mut punt {
                let queues = Arc::<PuntQueues<Mbuf>>::default();
                worker.punt_to(Arc::clone(&queues));
                punt.queues.push(queues);
            }
            let (queues, mail) = (Mutex::default(), Mutex::default());
            let (run, end) = (AtomicBool::new(false), AtomicBool::new(false));
            let seat = Arc::new(Seat {
                core,
                counters,
                queues,
                mail,
                run,
                end,
            });
            seats.push(Arc::clone(&seat));
            let (forward, eal) = (Arc::clone(&forward), eal.clone());
            let thread = std::thread::Builder::new().name(name);
            threads.push(thread.spawn(move || attend(worker, &seat, &forward, &eal))?);
        }
        Ok(Self {
            seats,
            forward,
            threads: Mutex::new(threads),
            punt,
            uplinks: settings.uplinks().collect(),
            handoffs: Mutex::default(),
        })
    }

    /// Each worker, by number.
    pub(crate) fn seats(&self) -> &[Arc<Seat>] {
        &self.seats
    }

    /// What workers leave with the control side, if they do.
    pub(super) fn punt(&self) -> Option<&PuntSide> {
        self.punt.as_ref()
    }

    /// Has workers tell from now on what they hear on uplinks: by worker.
    pub(super) fn hear(&self) -> Vec<Hearing> {
        let hearing = self.seats.iter().map(|seat| {
            let hearing = Hearing::new(ArrayQueue::new(HEARD_CAPACITY));
            lock(&seat.mail).push(Change::Tell(Arc::clone(&hearing)));
            hearing
        });
        let hearing = hearing.collect();
        self.wake();
        hearing
    }

    /// Sends a frame of the switch's own by an uplink: a worker does so in its next round. False: it is dropped, since the
    /// uplink is stopped or its workers do not look.
    pub(super) fn send_by_uplink(&self, uplink: PortId, frame: Mbuf) -> bool {
        let handoffs = lock(&self.handoffs);
        let handed = Handed {
            frame,
            from: None,
            out: uplink,
        };
        let handoff = handoffs.get(&uplink);
        handoff.is_some_and(|handoff| handoff.push(handed).is_ok())
    }

    /// What the workers count, and the control side for them.
    pub(crate) fn counters(&self) -> Vec<Arc<WorkerCounters>> {
        let workers = self.seats.iter().map(|seat| &seat.counters);
        let punt = self.punt.iter().map(|punt| &punt.counters);
        workers.chain(punt).map(Arc::clone).collect()
    }

    /// True while workers forward.
    pub(crate) fn forwarding(&self) -> bool {
        self.forward.load(SeqCst)
    }

    /// Lets workers forward.
    pub(crate) fn start(&self) {
        self.forward.store(true, SeqCst);
        self.wake();
    }

    /// Lets workers pause after their present round. What arrives meanwhile stays in the devices, as far as it fits.
    pub(crate) fn stop(&self) {
        self.forward.store(false, SeqCst);
        self.wake();
    }

    /// Gives the queues of a started port, and its MTU, to the workers: each rx queue to the one that has fewest, unless the
    /// port is not to be polled, and a tx queue to each. Where there are too few of these, workers without one hand their
    /// frames to the first.
    pub(super) fn add_port(
        &self,
        id: PortId,
        port: &mut Port,
        mtu: u16,
        poll: bool,
    ) -> Result<(), PortError> {
        let info = port.info();
        let shared = self.uplinks.contains(&id) || usize::from(info.txq) < self.seats.len();
        let handoff = shared.then(|| Handoff::new(ArrayQueue::new(HANDOFF_CAPACITY)));
        let queues = usize::from(info.txq);
        let mut links = links(port, queues, self.seats.len(), handoff.as_ref())?.into_iter();
        if let Some(handoff) = handoff {
            lock(&self.handoffs).insert(id, handoff);
        }
        let mut queues: Vec<Vec<PortRx>> = self.seats.iter().map(|_| Vec::new()).collect();
        for queue in 0..if poll { info.rxq } else { 0 } {
            let fewest =
                (0..self.seats.len()).min_by_key(|&seat| lock(&self.seats[seat].queues).len());
            let Some(seat) = fewest else { break };
            queues[seat].push(port.take_rx(queue)?);
            lock(&self.seats[seat].queues).push((id, queue));
        }
        for (seat, queues) in self.seats.iter().zip(queues) {
            lock(&seat.mail).push(Change::Add {
                port: id,
                mtu,
                queues,
                link: links.next().flatten(),
            });
        }
        self.wake();
        Ok(())
    }

    /// Tells the workers of a subport, and its MTU.
    pub(super) fn add_subport(&self, port: PortId, subport: Subport, mtu: u16) {
        for seat in &self.seats {
            lock(&seat.mail).push(Change::AddSubport { port, subport, mtu });
        }
        self.wake();
    }

    /// Takes a port's queues from the workers. False: one did not give them back in time.
    pub(super) fn remove_port(&self, port: PortId) -> bool {
        lock(&self.handoffs).remove(&port);
        // The first worker last: it sends what the others hand over until they have let go of the port.
        let (first, others) = self.seats.split_at(1);
        [others, first].into_iter().all(|seats| {
            let (done, given_back) = sync_channel(seats.len());
            for seat in seats {
                lock(&seat.queues).retain(|(of, _)| *of != port);
                let done = done.clone();
                lock(&seat.mail).push(Change::Remove { port, done });
            }
            self.wake();
            seats
                .iter()
                .all(|_| given_back.recv_timeout(PATIENCE).is_ok())
        })
    }

    /// Ends the workers' threads, after which the ports' queues are free. The first one last, as above.
    pub(crate) fn end(&self) {
        let mut threads = std::mem::take(&mut *lock(&self.threads));
        for seat in self.seats.iter().rev() {
            seat.end.store(true, SeqCst);
            seat.run.store(false, SeqCst);
            let Some(thread) = threads.pop() else { return };
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }

    /// Makes every worker look at its mail and what it is told.
    fn wake(&self) {
        for seat in &self.seats {
            seat.run.store(false, SeqCst);
        }
        for thread in lock(&self.threads).iter() {
            thread.thread().unpark();
        }
    }
}

/// A worker's thread.
fn attend(mut worker: Worker<PortRx, PortTx>, seat: &Seat, forward: &AtomicBool, eal: &Eal) {
    if !cores::pin(seat.core) {
        tracing::warn!(core = seat.core, "a worker cannot be pinned to its core");
    }
    // For the guard's lifetime the thread has mempool caches of its own. Without, it is slower, not wrong.
    let registered = eal.register_thread();
    if let Err(error) = &registered {
        tracing::warn!(core = seat.core, "a worker is slow: {error}");
    }
    while !seat.end.load(SeqCst) {
        // Before the rest is looked at: whoever changes that clears this after, so nothing is overlooked.
        seat.run.store(true, SeqCst);
        for change in std::mem::take(&mut *lock(&seat.mail)) {
            match change {
                Change::Add {
                    port,
                    mtu,
                    queues,
                    link,
                } => {
                    worker.limits_mut().set_mtu(port, mtu);
                    worker.add_port(port, queues, link);
                }
                Change::AddSubport { port, subport, mtu } => {
                    worker.limits_mut().set_mtu(port, mtu);
                    worker.add_subport(port, subport);
                }
                Change::Tell(hearing) => worker.tell(hearing),
                Change::Remove { port, done } => {
                    worker.remove_port(port);
                    let _ = done.send(());
                }
            }
        }
        if forward.load(SeqCst) {
            worker = worker.run(&seat.run);
        } else {
            std::thread::park();
        }
    }
    worker.drain();
}

/// A way out by this port for each worker. The first one also sends what is in `handoff`.
fn links(
    port: &mut Port,
    queues: usize,
    workers: usize,
    handoff: Option<&Handoff<Mbuf>>,
) -> Result<Vec<Option<Link<PortTx>>>, PortError> {
    let mut links = Vec::new();
    for worker in (0..).take(workers) {
        links.push(if usize::from(worker) < queues {
            let tx = port.take_tx(worker)?;
            Some(match handoff {
                Some(handoff) if worker == 0 => Link::Shared(tx, Arc::clone(handoff)),
                _ => Link::Own(tx),
            })
        } else {
            handoff.map(|handoff| Link::Borrowed(Arc::clone(handoff)))
        });
    }
    Ok(links)
}
