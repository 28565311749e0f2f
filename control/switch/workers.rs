// SPDX-License-Identifier: MIT
//! The workers' threads: each is pinned, polls its share of the rx queues while the switch forwards, and is parked
//! while it does not. Ports are given to them and taken back between two rounds.

mod history;
mod moving;
mod plan;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use hashbrown::HashMap;
use nix::sys::prctl::set_timerslack;
use vswitch::counters::{QueueLoad, WorkerCounters};
use vswitch::dpdk::{Eal, Mbuf, Port, PortError, PortRx, PortTx, tsc, tsc_hz};
use vswitch::stage::link::{HEARD_CAPACITY, Hearing};
use vswitch::stage::punt::PuntQueues;
use vswitch::stage::transmit::{HANDOFF_CAPACITY, Handed, Handoff, Link};
use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;
use vswitch::tables::snapshot::Registrar;
use vswitch::worker::{Polled, Worker};

use super::numa::{self, Socket};
use super::{BringUpError, cores};
use crate::config::Settings;
use crate::config::affinity::Affinity;
use crate::config::work::Work;
pub(crate) use history::Taken;
use history::{History, Name};
use moving::Order;
pub(crate) use moving::{Balance, Stuck};

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
    history: Mutex<History>,
    work: Mutex<Work>,
}

/// An rx queue that a worker polls.
#[derive(Clone)]
pub(crate) struct Queue {
    pub(crate) port: PortId,
    pub(crate) number: u16,
    /// The NUMA node of its device.
    pub(crate) socket: Socket,
    /// An operator said which worker polls it.
    pub(crate) pinned: bool,
    /// When it was taken, by the workers' clock.
    since: u64,
    /// What is counted of it.
    pub(crate) load: Arc<QueueLoad>,
}

impl Queue {
    fn name(&self) -> Name {
        (self.port, self.number)
    }
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
    /// The core's NUMA node.
    pub(crate) socket: Socket,
    /// What it counts.
    pub(crate) counters: Arc<WorkerCounters>,
    /// The rx queues that it polls.
    queues: Mutex<Vec<Queue>>,
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
        queues: Vec<Polled<PortRx>>,
        link: Option<Link<PortTx>>,
    },
    AddQueue(Polled<PortRx>),
    Move(Order),
    Answer(SyncSender<()>),
    Work(Work),
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
    /// The rx queues that the worker polls.
    pub(crate) fn queues(&self) -> Vec<Queue> {
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
            set_work(&mut worker, settings.work);
            if let Some(punt) = &mut punt {
                let queues = Arc::<PuntQueues<Mbuf>>::default();
                worker.punt_to(Arc::clone(&queues));
                punt.queues.push(queues);
            }
            let (queues, mail) = (Mutex::default(), Mutex::default());
            let (run, end) = (AtomicBool::new(false), AtomicBool::new(false));
            let seat = Arc::new(Seat {
                core,
                socket: numa::of_core(core),
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
            history: Mutex::new(History::new(tsc_hz(eal))),
            work: Mutex::new(settings.work),
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

    /// Changes how workers work from now on.
    pub(crate) fn change_work(&self, change: impl FnOnce(&mut Work)) {
        {
            // Until all are told: who changes it next tells them later.
            let mut work = lock(&self.work);
            change(&mut work);
            for seat in &self.seats {
                lock(&seat.mail).push(Change::Work(*work));
            }
        }
        self.wake();
    }

    /// How they work.
    pub(crate) fn work(&self) -> Work {
        *lock(&self.work)
    }

    /// Looks at what rx queues take, every now and then; true: it did.
    pub(crate) fn look(&self, now: Instant) -> bool {
        let queues: Vec<_> = self.seats.iter().flat_map(|seat| seat.queues()).collect();
        lock(&self.history).look(now, tsc(), queues.iter())
    }

    /// Forgets what rx queues took: one is with another worker now, and those that either has take more or less.
    fn look_anew(&self) {
        let queues: Vec<_> = self.seats.iter().flat_map(|seat| seat.queues()).collect();
        lock(&self.history).restart(Instant::now(), tsc(), queues.iter());
    }

    /// Gives the queues of a started port, and its MTU, to the workers: each rx queue as [`Workers::place`] says, unless the
    /// port is not to be polled, and a tx queue to each. Where there are too few of these, or the peer takes from fewer, workers
    /// without one hand their frames to the first.
    pub(super) fn add_port(
        &self,
        id: PortId,
        port: &mut Port,
        mtu: u16,
        poll: bool,
        affinity: &Affinity,
    ) -> Result<(), PortError> {
        let info = port.info();
        let shared = self.uplinks.contains(&id)
            || usize::from(info.txq) < self.seats.len()
            || info.peer_chooses && self.seats.len() > 1;
        let handoff = shared.then(|| Handoff::new(ArrayQueue::new(HANDOFF_CAPACITY)));
        let queues = usize::from(info.txq);
        let mut links = links(port, queues, self.seats.len(), handoff.as_ref())?.into_iter();
        if let Some(handoff) = handoff {
            lock(&self.handoffs).insert(id, handoff);
        }
        let mut queues: Vec<Vec<Polled<PortRx>>> = self.seats.iter().map(|_| Vec::new()).collect();
        let socket = numa::of_device(&info);
        for number in 0..if poll { info.rxq } else { 0 } {
            let pin = affinity.0.get(&number).copied();
            let seat = self.place(socket, pin);
            let polled = Polled::new(id, port.take_rx(number)?);
            lock(&self.seats[seat].queues).push(Queue {
                port: id,
                number,
                socket,
                pinned: pin.is_some(),
                since: tsc(),
                load: Arc::clone(&polled.load),
            });
            queues[seat].push(polled);
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
                lock(&seat.queues).retain(|queue| queue.port != port);
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

fn set_work(worker: &mut Worker<PortRx, PortTx>, work: Work) {
    worker.sleep_at_most(work.sleep.unwrap_or(0));
    worker.host_gate_mut().set_rate(work.host_rate.unwrap_or(0));
}

/// A worker's thread.
fn attend(mut worker: Worker<PortRx, PortTx>, seat: &Seat, forward: &AtomicBool, eal: &Eal) {
    if !cores::pin(seat.core) {
        tracing::warn!(core = seat.core, "a worker cannot be pinned to its core");
    }
    // The kernel may end a sleep that much late (50 microseconds by default).
    if let Err(error) = set_timerslack(1) {
        tracing::warn!("workers that sleep wake late: {error}");
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
                    worker.add_port(port, Vec::new(), link);
                    queues.into_iter().for_each(|queue| worker.add_queue(queue));
                }
                Change::AddQueue(queue) => worker.add_queue(queue),
                Change::Move(order) => order.carry_out(&mut worker, seat),
                Change::Answer(done) => _ = done.send(()),
                Change::Work(work) => set_work(&mut worker, work),
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
                Some(handoff) => Link::Spare(tx, Arc::clone(handoff)),
                None => Link::Own(tx),
            })
        } else {
            handoff.map(|handoff| Link::Borrowed(Arc::clone(handoff)))
        });
    }
    Ok(links)
}
