// SPDX-License-Identifier: MIT
//! Moves rx queues between workers. The worker that has a queue gives it to the other one between two of its rounds, so there is no
//! moment at which both poll it, and what arrives meanwhile stays in the device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Thread;

use vswitch::counters::QueueLoad;
use vswitch::dpdk::{PortRx, PortTx, tsc};
use vswitch::tables::PortId;
use vswitch::worker::Worker;

use super::history::{Name, Taken};
use super::plan::{Weighed, loads, near, plan};
use super::{Change, PATIENCE, Queue, Seat, Workers, lock};
use crate::config::affinity::Affinity;
use crate::switch::numa::Socket;

/// A worker does not let go of a queue, or does not come to take it. It does so later, or not at all if it gave nothing away.
#[derive(Debug)]
pub(crate) struct Stuck {
    /// Its number.
    pub(crate) worker: usize,
}

/// A queue is to go to another worker.
pub(super) struct Order {
    load: Arc<QueueLoad>,
    to: Arc<Seat>,
    thread: Thread,
    /// By who gives it away, or who gives up waiting for that: the first one.
    claimed: Arc<AtomicBool>,
    done: SyncSender<()>,
}

impl Order {
    /// Done by the worker that has the queue, which is `seat`'s.
    pub(super) fn carry_out(self, worker: &mut Worker<PortRx, PortTx>, seat: &Seat) {
        if self.claimed.swap(true, SeqCst) {
            return;
        }
        if let Some(polled) = worker.take_queue(&self.load) {
            let mut from = lock(&seat.queues);
            let at = from.iter().position(|it| Arc::ptr_eq(&it.load, &self.load));
            let queue = at.map(|at| from.remove(at));
            drop(from);
            lock(&self.to.queues).extend(queue);
            lock(&self.to.mail).push(Change::AddQueue(polled));
            self.to.run.store(false, SeqCst);
            self.thread.unpark();
        }
        let _ = self.done.send(());
    }
}

/// Who has what now, and who should.
pub(crate) struct Balance {
    /// Each queue, with the worker that has it and the one that should.
    pub(crate) queues: Vec<(Name, usize, usize)>,
    /// Each worker's load now and then, as shares of its time.
    pub(crate) loads: Vec<(f64, f64)>,
}

impl Balance {
    /// How much less the highest load would be.
    pub(crate) fn gain(&self) -> f64 {
        let highest = |loads: Vec<f64>| loads.into_iter().fold(0.0, f64::max);
        let (now, then) = self.loads.iter().copied().unzip();
        highest(now) - highest(then)
    }

    /// The highest load now.
    pub(crate) fn highest(&self) -> f64 {
        self.loads.iter().map(|(now, _)| *now).fold(0.0, f64::max)
    }
}

impl Workers {
    /// The worker for a queue that nobody has yet: the one that is asked for, or of those near its device the one that has fewest.
    pub(super) fn place(&self, socket: Socket, pin: Option<u16>) -> usize {
        let sockets = self.sockets();
        let asked = pin.and_then(|core| self.on_core(core));
        let fewest = |near: Vec<usize>| {
            let queues = |seat: &usize| lock(&self.seats[*seat].queues).len();
            near.into_iter().min_by_key(queues)
        };
        asked
            .or_else(|| fewest(near(&sockets, socket)))
            .unwrap_or(0)
    }

    /// The worker on a core.
    pub(crate) fn on_core(&self, core: u16) -> Option<usize> {
        let mut seats = self.seats.iter();
        seats.position(|seat| seat.core == usize::from(core))
    }

    fn sockets(&self) -> Vec<Socket> {
        self.seats.iter().map(|seat| seat.socket).collect()
    }

    /// Has the queues of a port that `affinity` names polled by its workers, which are there, and leaves them there.
    pub(crate) fn pin(&self, port: PortId, affinity: &Affinity) -> Result<(), Stuck> {
        for (_, queue) in self.all_queues() {
            if queue.port != port {
                continue;
            }
            let core = affinity.0.get(&queue.number).copied();
            self.set_pinned(&queue, core.is_some());
            if let Some(to) = core.and_then(|core| self.on_core(core)) {
                self.move_queue(queue.name(), to)?;
            }
        }
        Ok(())
    }

    fn set_pinned(&self, queue: &Queue, pinned: bool) {
        for seat in &self.seats {
            let mut queues = lock(&seat.queues);
            let known = queues.iter_mut().find(|it| it.name() == queue.name());
            known.into_iter().for_each(|it| it.pinned = pinned);
        }
    }

    /// Each queue with the worker that has it, by port and number.
    fn all_queues(&self) -> Vec<(usize, Queue)> {
        let of = |(worker, seat): (usize, &Arc<Seat>)| {
            let queues = seat.queues().into_iter();
            queues.map(move |queue| (worker, queue))
        };
        let mut all: Vec<_> = self.seats.iter().enumerate().flat_map(of).collect();
        all.sort_by_key(|(_, queue)| queue.name());
        all
    }

    /// Each queue with the worker that has it, and what it took lately there, if that is known.
    pub(crate) fn taken(&self) -> Vec<(usize, Queue, Option<Taken>)> {
        let (history, now) = (lock(&self.history), tsc());
        let with = |(worker, queue): (usize, Queue)| {
            let taken = history.taken(&queue, now);
            (worker, queue, taken)
        };
        self.all_queues().into_iter().map(with).collect()
    }

    /// Who has which queue, and who should; `None`: it is not known yet what one of them takes.
    pub(crate) fn balance(&self) -> Option<Balance> {
        let (sockets, taken) = (self.sockets(), self.taken());
        let weighed = |(worker, queue, taken): &(usize, Queue, Option<Taken>)| {
            Some(Weighed {
                worker: *worker,
                socket: queue.socket,
                pinned: queue.pinned,
                share: taken.as_ref()?.share,
            })
        };
        let weighed: Vec<_> = taken.iter().map(weighed).collect::<Option<_>>()?;
        let plan = plan(&sockets, &weighed);
        let then = weighed.iter().zip(&plan);
        let then: Vec<_> = then
            .map(|(it, &worker)| Weighed { worker, ..*it })
            .collect();
        let all = taken.iter().zip(plan);
        let loads = |queues| loads(sockets.len(), queues).into_iter();
        Some(Balance {
            queues: all
                .map(|((worker, queue, _), to)| (queue.name(), *worker, to))
                .collect(),
            loads: loads(&weighed).zip(loads(&then)).collect(),
        })
    }

    /// The same by what is known of a whole minute; `None`: that is not known.
    pub(crate) fn balance_of_a_minute(&self) -> Option<Balance> {
        let is_full = lock(&self.history).is_full();
        is_full.then(|| self.balance()).flatten()
    }

    /// Moves queues as it says.
    pub(crate) fn rebalance(&self, balance: &Balance) -> Result<(), Stuck> {
        for (name, _, to) in balance.queues.iter().filter(|(_, from, to)| from != to) {
            self.move_queue(*name, *to)?;
        }
        Ok(())
    }

    /// Gives a queue to another worker, if it is there still. Not while ports come and go.
    fn move_queue(&self, name: Name, to: usize) -> Result<(), Stuck> {
        let all = self.all_queues().into_iter();
        let mut named = all.filter(|(_, queue)| queue.name() == name);
        let Some((from, queue)) = named.next().filter(|(from, _)| *from != to) else {
            return Ok(());
        };
        // One that stands still would not poll it.
        self.answers(to)?;
        let Some(thread) = lock(&self.threads).get(to).map(|it| it.thread().clone()) else {
            return Err(Stuck { worker: to });
        };
        let claimed = Arc::new(AtomicBool::new(false));
        let (done, moved) = sync_channel(1);
        lock(&self.seats[from].mail).push(Change::Move(Order {
            load: queue.load,
            to: Arc::clone(&self.seats[to]),
            thread,
            claimed: Arc::clone(&claimed),
            done,
        }));
        self.wake();
        // Who claims it after the time is up has it moved in a moment.
        let in_time = moved.recv_timeout(PATIENCE).is_ok();
        match in_time || (claimed.swap(true, SeqCst) && moved.recv().is_ok()) {
            true => {
                // A queue that was held back takes more where there is room for it.
                self.look_anew();
                self.answers(to)
            }
            false => Err(Stuck { worker: from }),
        }
    }

    /// Waits until a worker has read its mail.
    fn answers(&self, worker: usize) -> Result<(), Stuck> {
        let (done, answer) = sync_channel(1);
        lock(&self.seats[worker].mail).push(Change::Answer(done));
        self.wake();
        let answer = answer.recv_timeout(PATIENCE);
        answer.map_err(|_| Stuck { worker })
    }
}
