// SPDX-License-Identifier: MIT
//! The thread between workers and controller. It polls the workers' queues: a worker wakes nobody, since that is a system
//! call. Others wake it: an answer that came, a commit that workers see.
//!
//! It looks at the workers' tables as a worker does, by a reader of its own; what it finds there, every worker finds that
//! takes a frame back from it.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use vswitch::counters::WorkerCounters;
use vswitch::io::Frame;
use vswitch::stage::punt::{Destination, PUNT_CAPACITY, PuntQueues};
use vswitch::tables::Tables;
use vswitch::tables::rcu::Reader;

use super::client::Outcome;
use super::engine::{Call, Engine, Figures, Held, Limits};
use crate::core::{Aged, CoreHandle};

/// Sleep between two polls while something waits, or did a moment ago.
const BUSY: Duration = Duration::from_micros(50);

/// The same when nothing does: the most that is added to a first packet's time, but for the kernel's slack, for some 3,000 wake-ups a
/// second, which take a few percent of a core; of a virtual machine's 6 %. A third of it is 17 %.
const QUIET: Duration = Duration::from_micros(250);

/// How long after the last frame it still counts as busy.
const LINGER: Duration = Duration::from_millis(20);

/// How long it does not sleep at all after the first frame. A question and its answer go through several threads: on a processor
/// that went to sleep between them, each would have to wait until that is awake again, some 100 us.
const AWAKE: Duration = Duration::from_millis(1);

/// What the thread shares with others.
pub(crate) struct Shared<F> {
    engine: Mutex<Engine<F>>,
    outcomes: Mutex<Vec<Outcome>>,
    /// Counts changes of what workers see.
    changes: AtomicU64,
    end: AtomicBool,
    thread: OnceLock<Thread>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: Frame> Shared<F> {
    /// Workers may see more than before.
    pub(crate) fn tables_changed(&self) {
        self.changes.fetch_add(1, SeqCst);
        self.wake();
    }

    /// A call came to something.
    pub(crate) fn outcome(&self, outcome: Outcome) {
        lock(&self.outcomes).push(outcome); // at most one per call under way
        self.wake();
    }

    /// What happened so far.
    pub(crate) fn figures(&self) -> Figures {
        lock(&self.engine).figures()
    }

    /// Ends the thread.
    pub(crate) fn end(&self) {
        self.end.store(true, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// The thread's own.
pub(crate) struct Desk<F: Frame> {
    shared: Arc<Shared<F>>,
    /// One for each worker.
    queues: Vec<Arc<PuntQueues<F>>>,
    /// Released frames that do not fit into those queues yet: their worker does not look.
    back: Vec<VecDeque<Held<F>>>,
    tables: Reader<Tables>,
    /// What it lets go of and drops. Nobody else writes them.
    counters: Arc<WorkerCounters>,
    calls: mpsc::Sender<Call>,
    core: CoreHandle,
    /// Of which the control thread is to be told. Bounded by the calls under way: there are no more while it is not.
    closed: Vec<(Destination, bool)>,
    ageing: Option<Ageing>,
    seen: u64,
    active: Instant,
}

/// When the control thread is to look for entries that nobody uses.
struct Ageing {
    idle: Duration,
    due: Instant,
    answer: Option<oneshot::Receiver<Aged>>,
}

impl<F: Frame> Desk<F> {
    /// Nothing waits yet. `idle`: entries that came in answer to a question age after that time; zero for never.
    pub(crate) fn new(
        limits: Limits,
        idle: Duration,
        queues: Vec<Arc<PuntQueues<F>>>,
        tables: Reader<Tables>,
        counters: Arc<WorkerCounters>,
        calls: mpsc::Sender<Call>,
        core: CoreHandle,
    ) -> Self {
        let now = Instant::now();
        let shared = Shared {
            engine: Mutex::new(Engine::new(limits, now)),
            outcomes: Mutex::default(),
            changes: AtomicU64::new(0),
            end: AtomicBool::new(false),
            thread: OnceLock::new(),
        };
        let ageing = Ageing {
            idle,
            due: now + idle,
            answer: None,
        };
        Self {
            shared: Arc::new(shared),
            back: queues.iter().map(|_| VecDeque::new()).collect(),
            queues,
            tables,
            counters,
            calls,
            core,
            closed: Vec::new(),
            ageing: (!idle.is_zero()).then_some(ageing),
            seen: 0,
            active: now,
        }
    }

    /// What others need of it.
    pub(crate) fn shared(&self) -> Arc<Shared<F>> {
        Arc::clone(&self.shared)
    }

    /// The body of the thread. What still waits in the end is freed.
    pub(crate) fn run(mut self) {
        let _ = self.shared.thread.set(std::thread::current());
        let mut first = self.active;
        while !self.shared.end.load(SeqCst) {
            let now = Instant::now();
            let was_busy = now < self.active + LINGER;
            if self.poll(now) {
                self.active = now;
                if !was_busy {
                    first = now;
                }
            }
            if now < first + AWAKE {
                std::thread::yield_now();
            } else {
                let busy = now < self.active + LINGER;
                std::thread::park_timeout(if busy { BUSY } else { QUIET });
            }
        }
        // Others may still share it, and packet buffers must be free before DPDK ends.
        lock(&self.shared.engine).clear();
    }

    /// One round; true if something waits.
    fn poll(&mut self, now: Instant) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut engine = lock(&shared.engine);
        let changes = shared.changes.load(SeqCst); // before the tables are looked at
        let tables = self.tables.pin();
        let found = |destination: &Destination| destination.sought.is_found(&tables.neighbors);
        for (worker, queue) in self.queues.iter().enumerate() {
            for miss in std::iter::from_fn(|| queue.next_miss()).take(PUNT_CAPACITY) {
                let found = found(&miss.destination);
                engine.miss(now, worker, miss, found);
            }
        }
        for Outcome { first, statuses } in std::mem::take(&mut *lock(&shared.outcomes)) {
            engine.replied(now, first, statuses, found);
        }
        if self.seen != changes {
            self.seen = changes;
            engine.recheck(now, found);
        }
        drop(tables);
        self.tables.offline();
        engine.sweep(now);
        self.act(now, &mut engine);
        self.ask(now, &mut engine);
        self.age(now, &mut engine);
        engine.is_busy()
    }

    /// Does what the engine wants done with frames.
    fn act(&mut self, now: Instant, engine: &mut Engine<F>) {
        let todo = engine.todo();
        if self.ageing.is_some() {
            self.closed.extend(todo.closed);
        }
        if !todo.wakes.is_empty() {
            // When the control thread has no time the entries are asked for, after a moment.
            self.core.wake(todo.wakes);
        }
        for held in todo.releases {
            if let Some(back) = self.back.get_mut(held.worker) {
                back.push_back(held);
            }
        }
        for (queue, back) in self.queues.iter().zip(&mut self.back) {
            while let Some(held) = back.pop_front() {
                let (from, buffers) = (held.miss.from, held.buffers());
                if let Err(miss) = queue.give_back(held.miss) {
                    back.push_front(Held { miss, ..held });
                    break;
                }
                engine.let_go(from, buffers);
            }
            while back.front().is_some_and(|held| held.until <= now)
                && let Some(held) = back.pop_front()
            {
                engine.expire(held);
            }
        }
        let expired = engine.todo().drops;
        for (held, reason) in todo.drops.into_iter().chain(expired) {
            let from = held.miss.from;
            self.counters.port(from).add_released(1);
            self.counters.count_drop(from, reason, &held.miss.frame);
        }
    }

    /// Makes the calls that may be made now. The control thread is told first what is asked for, and before that what no
    /// answer is to be expected to any more.
    fn ask(&mut self, now: Instant, engine: &mut Engine<F>) {
        if !self.closed.is_empty() {
            let Some(note) = self.core.try_note() else {
                return;
            };
            note.closed(std::mem::take(&mut self.closed));
        }
        while let Ok(permit) = self.calls.try_reserve()
            && let Some(note) = self.core.try_note()
            && let Some(call) = engine.next_call(now)
        {
            if self.ageing.is_some() {
                note.asking(engine.asked(call.first).to_vec());
            }
            permit.send(call);
        }
    }

    /// Lets the control thread look for entries that nobody uses, from time to time.
    fn age(&mut self, now: Instant, engine: &mut Engine<F>) {
        let Some(ageing) = &mut self.ageing else {
            return;
        };
        if let Some(answer) = &mut ageing.answer {
            match answer.try_recv() {
                Ok(Aged { idle, gone }) => engine.set_idle(&idle, &gone),
                Err(oneshot::error::TryRecvError::Empty) => return,
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
            ageing.answer = None;
        } else if ageing.due <= now {
            ageing.due = now + (ageing.idle / 8).max(Duration::from_millis(100));
            ageing.answer = self.core.age(ageing.idle);
        }
    }
}
