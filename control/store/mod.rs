// SPDX-License-Identifier: MIT
//! What the controller wants, kept across a crash.
//!
//! What is kept are the goal states themselves, as they came ([`journal`]): applied again in their order they make the
//! wanted state again, since saying something twice changes nothing. When they have become much longer than what they
//! say, they are replaced by goal states that the wanted state is written out as.
//!
//! One thread writes ([`keeper`]). The control thread hands each goal state over before it programs it, and its reply
//! after; the replies go out when what was handed over before them is on the disk. So nothing waits for a disk but replies.
//!
//! What cannot be written, or waits for the disk beyond [`MAX_QUEUED`], is not kept: replies say PENDING from then on,
//! until all that is wanted has been written out anew.

mod journal;
mod keeper;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

pub(crate) use journal::{Entry, Journal, StoreError};

use keeper::Keeper;

/// Most bytes that wait for the disk when another goal state comes: some seconds of a controller that sends as fast as it can, and so
/// much memory.
const MAX_QUEUED: u64 = 256 << 20;

/// Bytes that wait for the disk when no more of the wanted state is written out.
const BEHIND: u64 = 16 << 20;

/// What to do when everything before it is on the disk, or (false) is not kept.
type Then = Box<dyn FnOnce(bool) + Send>;

/// Work for the thread that writes, in order.
enum Job {
    Record(Entry),
    /// With the bytes that it has in memory.
    Then(Then, u64),
    /// What was to be recorded next was too much.
    Lost,
    BeginCompaction,
    Compact(Entry),
    EndCompaction,
}

impl Job {
    /// Bytes that wait with it.
    fn bytes(&self) -> u64 {
        match self {
            Self::Record(entry) | Self::Compact(entry) => entry.len() as u64,
            Self::Then(_, bytes) => *bytes,
            Self::Lost | Self::BeginCompaction | Self::EndCompaction => 0,
        }
    }
}

/// What both threads look at.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes of jobs that are not done.
    queued: AtomicU64,
    /// Set by the control thread when it drops what it should have recorded, and taken back when the other one knows.
    lost: AtomicBool,
    wants_compaction: AtomicBool,
    /// Something that was handed over is not on the disk. Set and taken back by the thread that writes.
    unsound: AtomicBool,
}

/// The way to the thread that writes. The thread ends, when all is written, after this is dropped.
#[derive(Debug)]
pub(crate) struct Store {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    max_queued: u64,
}

impl Store {
    /// Starts the thread. It calls `wake` when [`Store::wants_compaction`] has become true.
    pub(crate) fn start(
        journal: Journal,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        Self::with_room(journal, wake, MAX_QUEUED)
    }

    fn with_room(
        journal: Journal,
        wake: impl Fn() + Send + 'static,
        max_queued: u64,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let shared = Arc::new(Shared::default());
        let keeper = Keeper::new(journal, shared.clone(), Box::new(wake));
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || keeper.run(&queue))?;
        let store = Self {
            jobs,
            shared,
            max_queued,
        };
        Ok((store, thread))
    }

    /// Keeps a goal state, however large, unless too much waits for the disk before it.
    pub(crate) fn record(&self, entry: Entry) {
        let job = Job::Record(entry);
        if self.is_lost() {
            return;
        }
        if self.shared.queued.load(SeqCst) >= self.max_queued {
            tracing::error!(
                "goal states are not kept, and replies say PENDING: {} MiB wait for the disk",
                self.max_queued >> 20
            );
            self.shared.lost.store(true, SeqCst);
            self.send(Job::Lost);
        } else {
            self.send(job);
        }
    }

    /// Calls `then`, which has so many bytes in memory, when all that was recorded before is on the disk; with false if
    /// it is not kept, for which the log has the reason. On the thread that writes, or at once: it must not wait for
    /// anything.
    pub(crate) fn then(&self, bytes: u64, then: impl FnOnce(bool) + Send + 'static) {
        if self.is_lost() {
            then(false);
        } else {
            self.send(Job::Then(Box::new(then), bytes));
        }
    }

    /// True when what was recorded should be replaced: it is long, or there is a gap in it.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.shared.wants_compaction.load(SeqCst)
    }

    /// True while the disk is slower than what it is given. Then nothing of a compaction may be given to it.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_lost() || self.shared.queued.load(SeqCst) > BEHIND.min(self.max_queued)
    }

    /// Begins to replace what was recorded so far.
    pub(crate) fn begin_compaction(&self) {
        self.shared.wants_compaction.store(false, SeqCst);
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

    /// Bytes that wait for the disk.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.shared.queued.load(SeqCst)
    }

    /// True if what was answered SUCCESS is on the disk, as far as is known.
    pub(crate) fn keeps(&self) -> bool {
        !self.is_lost() && !self.shared.unsound.load(SeqCst)
    }

    fn is_lost(&self) -> bool {
        self.shared.lost.load(SeqCst)
    }

    fn send(&self, job: Job) {
        self.shared.queued.fetch_add(job.bytes(), SeqCst);
        // The thread ends when this is dropped, not before.
        let _ = self.jobs.send(job);
    }
}
