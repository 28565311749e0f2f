// SPDX-License-Identifier: MIT
//! What systemd is told (`sd_notify(3)`): when the switch is ready, what it does, that it lives. Nothing, if nobody asked for it
//! by `$NOTIFY_SOCKET`.
//!
//! It lives as long as the control thread takes requests and every worker that is to forward moves. With one that stands still for
//! longer than `WatchdogSec=` systemd ends the switch and starts it again: its queues are not polled, so the guests at them are
//! cut off in any case, and what other workers cannot free grows.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState::{self, Ready, Reloading, Status, Stopping, Watchdog};

use super::Watch;

/// Time between two signs of life where no watchdog waits for them: the status is told anew.
const PERIOD: Duration = Duration::from_secs(10);

/// Signs of life in the time after which the watchdog ends the switch.
const SIGNS: u32 = 4;

/// Pause between looks at workers that are to begin.
const PAUSE: Duration = Duration::from_millis(5);

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}

/// Says that the switch is ready, once its workers forward if they are to; and then that it lives, again and again. Does not end.
pub(crate) async fn run(watch: Arc<Watch>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return std::future::pending().await;
    }
    while watch.settings.start && !watch.every_worker_polls() {
        tokio::time::sleep(PAUSE).await;
    }
    tell(&[Ready]);
    let watchdog = sd_notify::watchdog_enabled();
    let period = watchdog.map_or(PERIOD, |it| it / SIGNS);
    loop {
        let (status, lives) = watch.sign_of_life(period).await;
        tell(&[Status(&status)]);
        if lives && watchdog.is_some() {
            tell(&[Watchdog]);
        }
        tokio::time::sleep(period).await;
    }
}

/// Says that the switch ends.
pub(crate) fn stopping() {
    tell(&[Stopping]);
}

/// Says that files are read again while `read` does it.
pub(crate) fn reloading(read: impl FnOnce()) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[Reloading, now]);
    }
    read();
    tell(&[Ready]);
}

impl Watch {
    fn every_worker_polls(&self) -> bool {
        let mut seats = self.devices.workers().seats().iter();
        seats.all(|seat| seat.counters.load.polls().1 > 0)
    }

    /// What the switch does, in a line, and whether it lives. A worker that moved since the last time, `period` ago, does.
    async fn sign_of_life(&self, period: Duration) -> (String, bool) {
        let (answered, works) = self.figures(period).await;
        let standing = self.look_at_workers();
        let still = standing.iter().find(|(_, since)| *since >= period);
        let workers = self.devices.workers();
        let status = match (&answered, still) {
            (None, _) if !works => "the control thread does not answer".to_owned(),
            (_, Some((worker, since))) => {
                let seconds = since.as_secs_f64();
                format!("worker {worker} has stood still for {seconds:.1} s")
            }
            (None, None) => format!(
                "{} requests wait for the control thread",
                self.core.queued()
            ),
            (Some(figures), None) => {
                let counts = figures.census.resources.iter();
                let [done, pending, failed] = counts.fold([0; 3], |sum, count| {
                    [
                        sum[0] + count.programmed,
                        sum[1] + count.pending,
                        sum[2] + count.failed,
                    ]
                });
                let what = match workers.forwarding() {
                    true => "forwarding",
                    false => "not forwarding: `alkaid exec start` starts it",
                };
                format!("{what}; resources: {done} programmed, {pending} waiting, {failed} failed")
            }
        };
        (status, works && still.is_none())
    }
}
