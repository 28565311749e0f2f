// SPDX-License-Identifier: MIT
//! [`Figures`]: what only the control thread knows, for those who watch the switch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use vswitch::tables::snapshot::Memory;

use super::{Answer, Core, Replies};
use crate::program::census::Census;

/// Least time between two counts of all resources.
const RECOUNT: Duration = Duration::from_secs(1);

/// A count is repeated after so many times what it took at the earliest: so it takes 2 % of the control thread's time at most.
const PAUSES: u32 = 50;

/// What there is, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// The resources and what is made of them, counted a short while ago: a second, or fifty times what counting takes.
    pub(crate) census: Arc<Census>,
    /// The tables, and what workers that stand still keep from being freed.
    pub(crate) memory: Memory,
    /// Workers that have been standing still for long, while a commit waits for them.
    pub(crate) stuck: Vec<String>,
    /// Replies that wait for workers.
    pub(crate) late: usize,
    /// The store, if goal states are to be kept.
    pub(crate) kept: Option<Kept>,
}

/// How far goal states are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    /// Bytes that wait for the disk.
    pub(crate) queued_bytes: u64,
    /// Everything that was answered SUCCESS will be there after a crash.
    pub(crate) keeps: bool,
}

/// A count.
pub(super) struct Counted {
    at: Instant,
    took: Duration,
    census: Arc<Census>,
}

impl Core {
    /// What goal states were answered, from now on.
    pub(crate) fn replies(&self) -> Replies {
        self.replies.clone()
    }

    /// Answers at once.
    pub(super) fn tell_figures(&mut self, reply: oneshot::Sender<Figures>) -> Option<Answer> {
        drop(reply.send(self.figures()));
        None
    }

    fn figures(&mut self) -> Figures {
        Figures {
            census: self.census(),
            memory: self.program.memory(),
            stuck: (self.watchdog.stuck_workers()).map(str::to_owned).collect(),
            late: self.late.len(),
            kept: self.store.as_ref().map(|store| Kept {
                queued_bytes: store.queued_bytes(),
                keeps: store.keeps(),
            }),
        }
    }

    fn census(&mut self) -> Arc<Census> {
        let fresh = |counted: &&Counted| counted.at.elapsed() < RECOUNT.max(counted.took * PAUSES);
        if let Some(counted) = self.counted.as_ref().filter(fresh) {
            return Arc::clone(&counted.census);
        }
        let begun = Instant::now();
        let census = Arc::new(self.program.census(&self.wanted));
        self.counted = Some(Counted {
            at: Instant::now(),
            took: begun.elapsed(),
            census: Arc::clone(&census),
        });
        census
    }
}
