// SPDX-License-Identifier: MIT
//! What the controller wants, kept across a crash.
//!
//! What is kept are the goal states themselves, as they came ([`journal`]): applied again in their order they make the
//! wanted state again, since saying something twice changes nothing. When they have become much longer than what they
//! say, they are replaced by goal states that the wanted state is written out as.
//!
//! One thread writes. The control thread hands each goal state over before it programs it, and its reply after; the
//! replies go out when what was handed over before them is on the disk. So nothing waits for a disk but replies.

mod journal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) use journal::{Entry, Journal, StoreError};

use journal::Compaction;

/// The journal is replaced when so many bytes were recorded since the last time, and as many as then.
const WORTHWHILE: u64 = 64 << 20;

/// Time between two attempts to write out what could not be recorded.
const RETRY: Duration = Duration::from_secs(10);

/// What to do when everything before it is on the disk, or (false) could not be written.
type Then = Box<dyn FnOnce(bool) + Send>;

/// Work for the thread that writes, in order.
enum Job {
    Record(Entry),
    Then(Then),
    BeginCompaction,
    Compact(Entry),
    EndCompaction,
}

/// The way to the thread that writes. The thread ends, when all is written, after this is dropped.
#[derive(Debug)]
pub(crate) struct Store {
    jobs: Sender<Job>,
    wants_compaction: Arc<AtomicBool>,
}

impl Store {
    /// Starts the thread.
    pub(crate) fn start(journal: Journal) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let wants_compaction = Arc::new(AtomicBool::new(false));
        let recorded = journal.bytes_read();
        let keeper = Keeper {
            journal,
            wants_compaction: wants_compaction.clone(),
            compaction: None,
            sound: true,
            whole: true,
            begun: Instant::now(),
            recorded,
            compacted: 0,
        };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || keeper.run(&queue))?;
        let store = Self {
            jobs,
            wants_compaction,
        };
        Ok((store, thread))
    }

    /// Keeps a goal state.
    pub(crate) fn record(&self, entry: Entry) {
        self.send(Job::Record(entry));
    }

    /// Calls `then` when all that was recorded before is on the disk; with false if it is not, for which the log has
    /// the reason. On the thread that writes: it must not wait for anything.
    pub(crate) fn then(&self, then: impl FnOnce(bool) + Send + 'static) {
        self.send(Job::Then(Box::new(then)));
    }

    /// True when what was recorded should be replaced: it is long, or there is a gap in it.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.wants_compaction.load(Relaxed)
    }

    /// Begins to replace what was recorded so far.
    pub(crate) fn begin_compaction(&self) {
        self.wants_compaction.store(false, Relaxed);
        self.send(Job::BeginCompaction);
    }

    /// One of the goal states that replace it.
    pub(crate) fn compact(&self, entry: Entry) {
        self.send(Job::Compact(entry));
    }

    /// Those were all.
    pub(crate) fn end_compaction(&self) {
        self.send(Job::EndCompaction);
    }

    fn send(&self, job: Job) {
        // The thread ends when this is dropped, not before.
        let _ = self.jobs.send(job);
    }
}

/// What the thread that writes has.
struct Keeper {
    journal: Journal,
    wants_compaction: Arc<AtomicBool>,
    compaction: Option<Compaction>,
    /// Everything that was recorded is on the disk, or in what a compaction wrote since.
    sound: bool,
    /// Nothing failed since the last compaction began.
    whole: bool,
    /// When that was.
    begun: Instant,
    /// Bytes recorded since the last compaction began, or read at start; and bytes that it wrote.
    recorded: u64,
    compacted: u64,
}

/// What is written together.
#[derive(Default)]
struct Batch {
    records: Vec<Entry>,
    compacted: Vec<Entry>,
}

impl Keeper {
    /// Takes all that waits, writes it at once, and says so.
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let (mut batch, mut then) = (Batch::default(), Vec::new());
            for job in std::iter::once(first).chain(queue.try_iter()) {
                match job {
                    Job::Record(entry) => batch.records.push(entry),
                    Job::Compact(entry) => batch.compacted.push(entry),
                    Job::Then(call) => then.push(call),
                    Job::BeginCompaction => {
                        self.write(&mut batch);
                        self.begin_compaction();
                    }
                    Job::EndCompaction => {
                        self.write(&mut batch);
                        self.end_compaction();
                    }
                }
            }
            self.write(&mut batch);
            then.into_iter().for_each(|then| then(self.sound));
            let long = self.recorded > self.compacted.max(WORTHWHILE);
            let again = !self.sound && self.begun.elapsed() >= RETRY;
            if self.compaction.is_none() && (long || again) {
                self.wants_compaction.store(true, Relaxed);
            }
        }
    }

    fn write(&mut self, batch: &mut Batch) {
        let records = std::mem::take(&mut batch.records);
        let compacted = std::mem::take(&mut batch.compacted);
        if !records.is_empty() {
            self.recorded += bytes(&records);
            let result = self.journal.append(&records);
            self.report(result);
        }
        if let Some(compaction) = &mut self.compaction
            && !compacted.is_empty()
        {
            self.compacted += bytes(&compacted);
            let result = self.journal.compact(compaction, &compacted);
            self.report(result);
        }
    }

    fn begin_compaction(&mut self) {
        self.compaction = Some(self.journal.begin_compaction());
        (self.recorded, self.compacted) = (0, 0);
        (self.whole, self.begun) = (true, Instant::now());
    }

    fn end_compaction(&mut self) {
        // What was not written whole must not replace anything.
        if let Some(compaction) = self.compaction.take()
            && self.whole
        {
            let result = self.journal.end_compaction(compaction);
            self.sound |= result.is_ok();
            self.report(result);
        }
    }

    fn report(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            tracing::error!("goal states are not kept, and replies say PENDING: {error}");
            (self.sound, self.whole) = (false, false);
        }
    }
}

fn bytes(entries: &[Entry]) -> u64 {
    let lengths = entries.iter().map(|entry| entry.goal.bytes.len() as u64);
    lengths.sum()
}
