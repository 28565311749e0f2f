// SPDX-License-Identifier: MIT
//! [`Keeper`]: the thread that writes.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::journal::{Compaction, Entry, Journal, StoreError};
use super::{Job, Shared};

/// The journal is replaced when so many bytes were recorded since the last time, and as many as then. Builds for development do so
/// much sooner: their tests kill the switch meanwhile.
const WORTHWHILE: u64 = if cfg!(debug_assertions) {
    64 << 10
} else {
    64 << 20
};

/// Time between two attempts to write out what could not be recorded.
const RETRY: Duration = Duration::from_secs(10);

/// What the thread that writes has.
pub(super) struct Keeper {
    journal: Journal,
    shared: Arc<Shared>,
    wake: Box<dyn Fn() + Send>,
    compaction: Option<Compaction>,
    /// When it was last tried to make it so again.
    tried: Option<Instant>,
    /// Bytes recorded since the last compaction began, or read at start; and bytes that it wrote.
    recorded: u64,
    compacted: u64,
}

impl Keeper {
    /// Writes to this journal, which was read; calls `wake` when a compaction is wanted.
    pub(super) fn new(journal: Journal, shared: Arc<Shared>, wake: Box<dyn Fn() + Send>) -> Self {
        let recorded = journal.bytes_read();
        Self {
            journal,
            shared,
            wake,
            compaction: None,
            tried: None,
            recorded,
            compacted: 0,
        }
    }

    /// Does what is to be done until nobody can ask for more.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        loop {
            match queue.recv_timeout(RETRY) {
                Ok(first) => self.serve(std::iter::once(first).chain(queue.try_iter())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_after();
        }
    }

    /// Takes all that waits, writes it at once, and says so.
    fn serve(&mut self, jobs: impl Iterator<Item = Job>) {
        let (mut batch, mut then, mut bytes) = (Vec::new(), Vec::new(), 0);
        for job in jobs {
            let of_job = job.bytes();
            bytes += of_job;
            match job {
                Job::Record(entry) => {
                    self.recorded += of_job;
                    batch.push(entry);
                }
                Job::Compact(entry) => {
                    if self.compaction.is_some() {
                        self.compacted += of_job;
                        batch.push(entry);
                    }
                }
                Job::Then(call, _) => then.push(call),
                Job::Lost => {
                    self.give_up();
                    self.shared.lost.store(false, SeqCst);
                }
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
        then.into_iter().for_each(|then| then(self.is_sound()));
        self.shared.queued.fetch_sub(bytes, SeqCst);
    }

    /// Asks for a compaction if there is a reason, after a failure of the journal as soon as it is open again.
    fn look_after(&mut self) {
        let due = self.tried.is_none_or(|tried| tried.elapsed() >= RETRY);
        let again = !self.is_sound() && due;
        if again {
            self.tried = Some(Instant::now());
            let result = self.journal.reopen();
            self.report(result);
        }
        let long = self.recorded > self.compacted.max(WORTHWHILE);
        let wanted = self.compaction.is_none() && self.journal.is_open() && (long || again);
        if wanted && !self.shared.wants_compaction.swap(true, SeqCst) {
            (self.wake)();
        }
    }

    /// Writes what came, in its order: a part says what is wanted at its place.
    fn write(&mut self, batch: &mut Vec<Entry>) {
        let batch = std::mem::take(batch);
        if !batch.is_empty() && self.journal.is_open() {
            let result = self.journal.append(&batch);
            self.report(result);
        }
    }

    fn begin_compaction(&mut self) {
        if self.journal.is_open() {
            self.compaction = Some(self.journal.begin_compaction());
            (self.recorded, self.compacted) = (0, 0);
        }
    }

    fn end_compaction(&mut self) {
        if let Some(compaction) = self.compaction.take() {
            let result = self.journal.end_compaction(&compaction);
            if result.is_ok() {
                tracing::debug!("the journal was replaced by {} bytes", self.compacted);
                if !self.is_sound() {
                    tracing::info!("goal states are kept again");
                    self.shared.unsound.store(false, SeqCst);
                }
            }
            self.report(result);
        }
    }

    fn report(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            tracing::error!("goal states are not kept, and replies say PENDING: {error}");
            self.give_up();
        }
    }

    /// Something is not kept. What was to replace it is not whole either.
    fn give_up(&mut self) {
        self.shared.unsound.store(true, SeqCst);
        self.compaction = None;
    }

    /// True if everything that was recorded is on the disk, or in what a compaction wrote since.
    fn is_sound(&self) -> bool {
        !self.shared.unsound.load(SeqCst)
    }
}
