// SPDX-License-Identifier: MIT
//! [`Health`]: whether the switch does what it is for, and why not.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};
use vswitch::dpdk::Port;
use vswitch::tables::PortId;

use super::Watch;
use crate::core::Figures;

/// A worker that stands still for so long is stuck. One that is preempted may stand still for some milliseconds.
const STUCK: Duration = Duration::from_secs(2);

/// What was looked at, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Health {
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Check {
    name: &'static str,
    /// Without it the process is of no use; the others say whether traffic should come here.
    live: bool,
    /// What is wrong.
    reasons: Vec<String>,
}

impl Health {
    /// With these checks failing, for tests.
    #[cfg(test)]
    pub(super) fn of(failing: &[&str]) -> Self {
        let checks = ["control", "workers", "ports", "southbound", "store"];
        let check = |name: &'static str| Check {
            name,
            live: name == "control",
            reasons: Vec::from_iter(failing.contains(&name).then(|| "why".to_owned())),
        };
        Self {
            checks: checks.map(check).to_vec(),
        }
    }

    /// True if the process lives.
    pub(crate) fn is_live(&self) -> bool {
        self.checks.iter().all(|it| !it.live || it.is_ok())
    }

    /// True if traffic may come.
    pub(crate) fn is_ready(&self) -> bool {
        self.checks.iter().all(Check::is_ok)
    }

    /// What is wrong. Nothing: it is ready.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &str> {
        self.checks
            .iter()
            .flat_map(|check| &check.reasons)
            .map(String::as_str)
    }

    /// `show health`.
    pub(crate) fn rows(&self) -> Value {
        let row = |check: &Check| {
            json!({
                "check": check.name,
                "for": if check.live { "live" } else { "ready" },
                "ok": if check.is_ok() { "yes" } else { "no" },
                "reason": check.reasons.join("; "),
            })
        };
        self.checks.iter().map(row).collect()
    }

    /// The answer to `/healthz` (`ready`: to `/readyz`).
    pub(super) fn answer(&self, ready: bool) -> (bool, Value) {
        let asked = self.checks.iter().filter(|check| ready || check.live);
        let checks = asked.map(
            |check| json!({ "check": check.name, "ok": check.is_ok(), "reasons": check.reasons }),
        );
        let checks: Value = checks.collect();
        let ok = if ready {
            self.is_ready()
        } else {
            self.is_live()
        };
        let status = if ok { "ok" } else { "failing" };
        (ok, json!({ "status": status, "checks": checks }))
    }
}

impl Check {
    fn is_ok(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl Watch {
    /// Looks at everything. `figures`: what the control thread said last, if it ever did; `works`: it said that just now, or was
    /// busy with what came before. Blocks for as long as a port is being started.
    pub(super) fn judge(&self, figures: Option<&Figures>, works: bool) -> Health {
        let unanswered = (!works).then(|| {
            let queued = self.core.queued();
            format!("the control thread does not answer; {queued} requests wait for it")
        });
        let check = |name, reasons| Check {
            name,
            live: false,
            reasons,
        };
        Health {
            checks: vec![
                Check {
                    name: "control",
                    live: true,
                    reasons: unanswered.into_iter().collect(),
                },
                check("workers", self.still_workers(figures)),
                check("ports", self.missing_ports()),
                check("southbound", self.nowhere().into_iter().collect()),
                check("store", self.lost(figures)),
            ],
        }
    }

    /// Where the controller comes in, if no interface has the address.
    fn nowhere(&self) -> Option<String> {
        let ip = self.settings.southbound?.ip();
        let tried = UdpSocket::bind((ip, 0));
        let nowhere = tried.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable);
        nowhere.then(|| format!("no interface has the address {ip} of `set southbound listen`"))
    }

    fn still_workers(&self, figures: Option<&Figures>) -> Vec<String> {
        let workers = self.devices.workers();
        if !workers.forwarding() {
            return vec!["forwarding is stopped; `start` starts it".to_owned()];
        }
        let standing = self.look_at_workers().into_iter();
        let mut stuck: Vec<_> = standing.filter(|(_, since)| *since >= STUCK).collect();
        let known = figures.into_iter().flat_map(|figures| &figures.stuck);
        for name in known {
            let number = name
                .strip_prefix("worker")
                .and_then(|number| number.parse().ok());
            if let Some(number) = number.filter(|n| stuck.iter().all(|(known, _)| known != n)) {
                stuck.push((number, crate::core::STUCK));
            }
        }
        let reason = |(number, since): (usize, Duration)| {
            let core = workers.seats().get(number).map_or(0, |seat| seat.core);
            let seconds = since.as_secs();
            format!("worker {number} on core {core} has stood still for {seconds} s or more")
        };
        stuck.into_iter().map(reason).collect()
    }

    /// Ports that are stopped; and uplinks, if none has a link. A guest's port has none before its machine is there, and may
    /// have to wait for its device.
    fn missing_ports(&self) -> Vec<String> {
        let absent = self.devices.absent();
        let is_started = |port| self.devices.is_started(port).unwrap_or(true); // else it was detached
        let stopped = |port: &PortId| !absent.contains_key(port) && !is_started(*port);
        let ports = self.devices.ids().into_iter().filter(stopped);
        let stopped = ports.map(|port| format!("port {} is stopped", port.get()));
        let is_up = |port| {
            let up = |device: &Port| device.is_started() && device.link().up;
            self.devices.read(port, up).unwrap_or(false)
        };
        let mut uplinks = self.settings.uplinks().peekable();
        let no_link = uplinks.peek().is_some() && !uplinks.any(is_up);
        let no_link = no_link.then(|| "no uplink has a link".to_owned());
        stopped.chain(no_link).collect()
    }

    fn lost(&self, figures: Option<&Figures>) -> Vec<String> {
        let kept = figures.and_then(|figures| figures.kept);
        let lost = kept.is_some_and(|kept| !kept.keeps);
        let why = "goal states are not kept: the log says why";
        lost.then(|| why.to_owned()).into_iter().collect()
    }
}
