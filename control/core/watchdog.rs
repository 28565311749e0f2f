// SPDX-License-Identifier: MIT
//! [`Watchdog`]: tells a worker that is late from one that is stuck, and says which it is and what it costs.

use std::time::{Duration, Instant};

use vswitch::tables::rcu::{Lagging, Ticket};
use vswitch::tables::snapshot::Memory;

/// A worker that stands still for so long is stuck. Workers let go within microseconds; one that is preempted
/// may take a scheduler's turn, some milliseconds.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Time between two lines of the log about one worker.
const REPEAT: Duration = Duration::from_secs(60);

/// A worker that does not let go.
struct Watched {
    worker: String,
    /// It has not let go since.
    at: Ticket,
    since: Instant,
    reported: Option<Instant>,
}

/// Watches the workers while one of them holds a commit back.
#[derive(Default)]
pub(super) struct Watchdog(Vec<Watched>);

impl Watchdog {
    /// Notes who lags at the moment `now`. To be called more often than [`GRACE`] while a commit has not settled.
    /// `memory` is asked for only when there is something to report.
    pub(super) fn look(
        &mut self,
        now: Instant,
        lagging: Vec<Lagging>,
        memory: impl FnOnce() -> Memory,
    ) {
        self.0.retain(|watched| {
            let stands = lagging
                .iter()
                .any(|worker| worker.name == watched.worker && worker.at == watched.at);
            if !stands && watched.reported.is_some() {
                let stuck = (now - watched.since).as_secs_f64();
                tracing::info!(
                    worker = watched.worker,
                    stuck_seconds = stuck,
                    "a worker goes on"
                );
            }
            stands
        });
        for worker in lagging {
            if self.0.iter().all(|watched| watched.worker != worker.name) {
                self.0.push(Watched {
                    worker: worker.name,
                    at: worker.at,
                    since: now,
                    reported: None,
                });
            }
        }
        let due = |watched: &&mut Watched| {
            now - watched.since >= GRACE && watched.reported.is_none_or(|last| now - last >= REPEAT)
        };
        let mut due = self.0.iter_mut().filter(due).peekable();
        if due.peek().is_some() {
            let memory = memory();
            for watched in due {
                watched.reported = Some(now);
                tracing::warn!(
                    worker = watched.worker,
                    stuck_seconds = (now - watched.since).as_secs_f64(),
                    old_snapshots = memory.old_snapshots,
                    old_bytes = memory.old_bytes,
                    removed_entries = memory.leaving(),
                    "a worker is stuck: what it may still look at is not freed, and statuses say PENDING"
                );
            }
        }
    }

    /// True if a worker lagged at the last look.
    pub(super) fn watches(&self) -> bool {
        !self.0.is_empty()
    }

    /// True if a worker has been standing still for longer than [`GRACE`].
    pub(super) fn stuck(&self) -> bool {
        self.stuck_workers().next().is_some()
    }

    /// The workers that have been.
    pub(super) fn stuck_workers(&self) -> impl Iterator<Item = &str> {
        let stuck = self.0.iter().filter(|watched| watched.reported.is_some());
        stuck.map(|watched| &*watched.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vswitch::tables::snapshot::tables;
    use vswitch::tables::{PortId, Role};

    #[test]
    fn a_worker_is_stuck_when_it_stands_still_for_long_and_not_when_it_lags_again_and_again() {
        let (mut writer, registrar) = tables(None, 10);
        let (mut stuck, mut slow) = (
            registrar.reader("stuck").unwrap(),
            registrar.reader("slow").unwrap(),
        );
        let (mut watchdog, begun) = (Watchdog::default(), Instant::now());
        let guard = stuck.pin();
        for second in 0..100 {
            let lag = slow.pin();
            writer.set_role(
                PortId::new(1).unwrap(),
                [Role::Uplink, Role::Host][second % 2].clone(),
            );
            let _ = writer.commit();
            let (now, lagging) = (begun + Duration::from_secs(second as u64), writer.lagging());
            assert_eq!(lagging.len(), 2);
            let mut asked = false;
            watchdog.look(now, lagging, || {
                asked = true;
                writer.memory()
            });
            assert_eq!(watchdog.stuck(), second >= 5, "after {second} s");
            assert_eq!(asked, [5, 65].contains(&second), "after {second} s");
            let reported = watchdog
                .0
                .iter()
                .filter(|watched| watched.reported.is_some());
            assert!(
                reported
                    .into_iter()
                    .all(|watched| watched.worker == "stuck")
            );
            drop(lag);
        }
        drop(guard);
        watchdog.look(begun + Duration::from_secs(100), writer.lagging(), || {
            unreachable!("nothing to report")
        });
        assert!(!watchdog.stuck());
    }
}
