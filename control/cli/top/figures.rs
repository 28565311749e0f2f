// SPDX-License-Identifier: MIT
//! Two samples of a switch to [`Figures`]: what happened between them, per second of the switch's own clock.

use std::collections::HashMap;

use crate::northbound::api::{ResourceCounts, SampleReply, SampledPort, SampledWorker};

/// The last sample of a switch.
#[derive(Default)]
pub(super) struct Samples(Option<SampleReply>);

impl Samples {
    /// What happened since the sample before; `None` if there is none, or not of this run of the switch.
    pub(super) fn add(&mut self, sample: SampleReply) -> Option<Figures> {
        let before = self.0.replace(sample)?;
        Figures::between(&before, self.0.as_ref()?)
    }
}

/// What a switch does.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Figures {
    /// The switch's version, and DPDK's.
    pub(super) version: [String; 2],
    pub(super) uptime_seconds: f64,
    /// Workers are to forward.
    pub(super) forwarding: bool,
    /// What is wrong with the switch.
    pub(super) faults: Vec<String>,
    pub(super) resources: ResourceCounts,
    /// Of all ports.
    pub(super) rx: Rate,
    /// Of all ports.
    pub(super) tx: Rate,
    /// Packets lost per second, for all reasons.
    pub(super) dropped: f64,
    pub(super) workers: Vec<Worker>,
    pub(super) ports: Vec<Port>,
    pub(super) drops: Vec<Drops>,
}

/// What passes, per second.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Rate {
    pub(super) packets: f64,
    /// Without preamble, checksum and gap.
    pub(super) bits: f64,
}

/// A worker.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Worker {
    pub(super) worker: u32,
    pub(super) core: u32,
    /// Share of the time in which it had packets, at most 1.
    pub(super) busy: f64,
    /// Cycles per packet of that time. `None`: there was no packet.
    pub(super) cycles: Option<f64>,
    /// Packets per burst, likewise.
    pub(super) burst: Option<f64>,
    /// Packets received per second.
    pub(super) packets: f64,
    /// Time since it moved, if it is to forward and does not.
    pub(super) standing_seconds: f64,
}

/// A port.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Port {
    pub(super) port: u32,
    pub(super) device: String,
    pub(super) role: String,
    pub(super) binding: String,
    pub(super) up: bool,
    pub(super) rx: Rate,
    pub(super) tx: Rate,
    /// Packets lost per second.
    pub(super) dropped: f64,
}

/// What is lost for one reason.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Drops {
    pub(super) reason: String,
    pub(super) explanation: String,
    /// Packets per second.
    pub(super) rate: f64,
    /// Packets since the switch serves.
    pub(super) total: u64,
}

impl Figures {
    /// `None`: the switch was restarted, or its clock did not move.
    fn between(before: &SampleReply, now: &SampleReply) -> Option<Self> {
        let seconds = now.uptime_seconds - before.uptime_seconds;
        if now.pid != before.pid || seconds <= 0.0 {
            return None;
        }
        let ports = ports(before, now, seconds);
        let drops = drops(before, now, seconds);
        Some(Self {
            version: [now.version.clone(), now.dpdk.clone()],
            uptime_seconds: now.uptime_seconds,
            forwarding: now.forwarding,
            faults: now.faults.clone(),
            resources: now.resources.unwrap_or_default(),
            rx: ports.iter().map(|port| port.rx).sum(),
            tx: ports.iter().map(|port| port.tx).sum(),
            dropped: drops.iter().map(|drops| drops.rate).sum(),
            workers: workers(before, now, seconds),
            ports,
            drops,
        })
    }
}

impl std::iter::Sum for Rate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::default(), |sum, rate| Self {
            packets: sum.packets + rate.packets,
            bits: sum.bits + rate.bits,
        })
    }
}

// A port or a worker that was not there before is compared with itself: it has done nothing yet.

/// How much a counter grew. One that went back was begun again: 0.
fn grown(before: u64, now: u64) -> f64 {
    now.saturating_sub(before) as f64
}

fn workers(before: &SampleReply, now: &SampleReply, seconds: f64) -> Vec<Worker> {
    let cycles_hz = now.cycles_hz as f64;
    let known: HashMap<_, _> = before.workers.iter().map(|it| (it.worker, it)).collect();
    let row = |now: &SampledWorker| {
        let before = known.get(&now.worker).copied().unwrap_or(now);
        let busy = (now.busy_seconds - before.busy_seconds).max(0.0);
        let packets = grown(before.packets, now.packets);
        let bursts = grown(before.bursts, now.bursts);
        let any = packets > 0.0 && bursts > 0.0;
        Worker {
            worker: now.worker,
            core: now.core,
            busy: (busy / seconds).min(1.0),
            cycles: any.then(|| busy * cycles_hz / packets),
            burst: any.then(|| packets / bursts),
            packets: packets / seconds,
            standing_seconds: now.standing_seconds,
        }
    };
    now.workers.iter().map(row).collect()
}

fn ports(before: &SampleReply, now: &SampleReply, seconds: f64) -> Vec<Port> {
    // Another device by the same number has counters of its own.
    let known = before.ports.iter().map(|it| ((it.port, &*it.device), it));
    let known: HashMap<_, _> = known.collect();
    let row = |now: &SampledPort| {
        let before = known.get(&(now.port, &*now.device)).copied().unwrap_or(now);
        let rate = |packets: fn(&SampledPort) -> u64, bytes: fn(&SampledPort) -> u64| Rate {
            packets: grown(packets(before), packets(now)) / seconds,
            bits: grown(bytes(before), bytes(now)) * 8.0 / seconds,
        };
        Port {
            port: now.port,
            device: now.device.clone(),
            role: now.role.clone(),
            binding: now.binding.clone(),
            up: now.up,
            rx: rate(|it| it.rx_packets, |it| it.rx_bytes),
            tx: rate(|it| it.tx_packets, |it| it.tx_bytes),
            dropped: grown(before.dropped, now.dropped) / seconds,
        }
    };
    now.ports.iter().map(row).collect()
}

/// Most per second first.
fn drops(before: &SampleReply, now: &SampleReply, seconds: f64) -> Vec<Drops> {
    let known = before.drops.iter().map(|it| (&*it.reason, it.packets));
    let known: HashMap<_, _> = known.collect();
    let rows = now.drops.iter().map(|now| {
        let before = known.get(&*now.reason).copied().unwrap_or(0);
        Drops {
            reason: now.reason.clone(),
            explanation: now.explanation.clone(),
            rate: grown(before, now.packets) / seconds,
            total: now.packets,
        }
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| (b.rate.total_cmp(&a.rate)).then(b.total.cmp(&a.total)));
    rows
}
