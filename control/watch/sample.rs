// SPDX-License-Identifier: MIT
//! What was [`Seen`], as the answer to the call Sample.

use vswitch::counters::DropReason;

use super::Watch;
use super::collect::{PortSeen, Seen, WorkerSeen};
use crate::northbound::api::{
    ResourceCounts, SampleReply, SampledDrops, SampledPort, SampledWorker,
};

/// What a port loses elsewhere than in a stage: its name in `show port stats`, what it is, and how much.
type Loss = (&'static str, &'static str, fn(&PortSeen) -> u64);

#[rustfmt::skip] // a row each
const LOSSES: [Loss; 4] = [
    ("rx_missed", "The device lost it since nobody fetched it in time.", |it| it.device.map_or(0, |device| device.rx_missed)),
    ("rx_errors", "It arrived broken.", |it| it.device.map_or(0, |device| device.rx_errors)),
    ("tx_errors", "The device took it and did not send it, or its driver cannot.", |it| it.device.map_or(0, |device| device.tx_lost())),
    ("tx_unsent", "A message, fragment or copy of the switch's own that the port did not take.", |it| it.totals.unsent),
];

impl Watch {
    /// All counters. Takes as long as [`Self::collect`].
    pub(crate) async fn sample(&self) -> SampleReply {
        reply(&self.collect().await)
    }
}

/// The answer.
pub(super) fn reply(seen: &Seen) -> SampleReply {
    SampleReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dpdk: seen.dpdk.clone(),
        pid: std::process::id(),
        uptime_seconds: seen.uptime.as_secs_f64(),
        cycles_hz: seen.cycles_hz,
        forwarding: seen.forwarding,
        faults: seen.health.reasons().map(str::to_owned).collect(),
        resources: seen.figures.as_ref().map(|figures| {
            let counts = figures.census.resources.iter();
            counts.fold(ResourceCounts::default(), |sum, count| ResourceCounts {
                programmed: sum.programmed + count.programmed,
                pending: sum.pending + count.pending,
                failed: sum.failed + count.failed,
            })
        }),
        workers: (0..).zip(&seen.workers).map(worker).collect(),
        ports: seen.ports.iter().map(port).collect(),
        drops: drops(seen),
    }
}

fn worker((number, seen): (u32, &WorkerSeen)) -> SampledWorker {
    SampledWorker {
        worker: number,
        core: seen.core.try_into().unwrap_or(u32::MAX),
        busy_seconds: seen.busy_seconds,
        packets: seen.frames,
        bursts: seen.bursts.iter().sum(),
        standing_seconds: seen.standing_seconds,
    }
}

fn port(seen: &PortSeen) -> SampledPort {
    let [_, device, binding] = seen.labels.clone();
    let lost: u64 = LOSSES.iter().map(|(_, _, count)| count(seen)).sum();
    SampledPort {
        port: seen.port.get().into(),
        device,
        role: seen.role.to_owned(),
        binding,
        up: seen.up,
        rx_packets: seen.totals.rx,
        rx_bytes: seen.totals.rx_bytes,
        tx_packets: seen.totals.tx,
        tx_bytes: seen.totals.tx_bytes,
        dropped: seen.totals.dropped() + lost,
    }
}

fn drops(seen: &Seen) -> Vec<SampledDrops> {
    let row = |reason: &str, explanation: &str, packets| SampledDrops {
        reason: reason.to_owned(),
        explanation: explanation.to_owned(),
        packets,
    };
    let dropped = DropReason::ALL.iter().zip(&seen.drops);
    let dropped =
        dropped.map(|(reason, packets)| row(reason.name(), reason.explanation(), *packets));
    let lost = LOSSES.iter().map(|(reason, explanation, count)| {
        row(reason, explanation, seen.ports.iter().map(count).sum())
    });
    let all = dropped.chain(lost);
    all.filter(|drops| drops.packets > 0).collect()
}
