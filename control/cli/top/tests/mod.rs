// SPDX-License-Identifier: MIT
//! Samples as a switch answers them, and what comes of them.

mod rates;
mod screen;

use super::figures::{Figures, Samples};
use crate::northbound::api::{
    ResourceCounts, SampleReply, SampledDrops, SampledPort, SampledWorker,
};

/// A switch with two workers and three ports, of which the second has sent everything and the third has no link.
pub(super) fn sample() -> SampleReply {
    let port = |port, device: &str, role: &str, binding: &str| SampledPort {
        port,
        device: device.to_owned(),
        role: role.to_owned(),
        binding: binding.to_owned(),
        up: port != 2,
        rx_packets: 1000,
        rx_bytes: 64_000,
        tx_packets: 500,
        tx_bytes: 50_000,
        dropped: 7,
    };
    let worker = |worker| SampledWorker {
        worker,
        core: worker + 4,
        busy_seconds: 10.0,
        packets: 5000,
        bursts: 1000,
        standing_seconds: 0.0,
    };
    SampleReply {
        version: "1.2.3".to_owned(),
        dpdk: "DPDK 22.11".to_owned(),
        pid: 77,
        uptime_seconds: 100.0,
        cycles_hz: 2_000_000_000,
        forwarding: true,
        faults: Vec::new(),
        resources: Some(ResourceCounts {
            programmed: 12,
            pending: 3,
            failed: 0,
        }),
        workers: vec![worker(0), worker(1)],
        ports: vec![
            port(0, "0000:3b:00.0", "uplink", ""),
            port(1, "net_vhost0", "tenant", "9a3c"),
            port(2, "net_vhost1", "tenant", "9a3d"),
        ],
        drops: vec![drops("no_route", 20), drops("rx_missed", 1)],
    }
}

pub(super) fn drops(reason: &str, packets: u64) -> SampledDrops {
    SampledDrops {
        reason: reason.to_owned(),
        explanation: format!("Why: {reason}."),
        packets,
    }
}

/// The same two seconds later: 3 Mpps from port 1 to port 0 by worker 0, a quarter of whose time that takes; 20 more are lost.
pub(super) fn later() -> SampleReply {
    let mut now = sample();
    now.uptime_seconds += 2.0;
    let (packets, bytes) = (6_000_000, 6_000_000 * 64);
    now.workers[0].busy_seconds += 0.5;
    now.workers[0].packets += packets;
    now.workers[0].bursts += packets / 32;
    now.ports[1].rx_packets += packets;
    now.ports[1].rx_bytes += bytes;
    now.ports[1].dropped += 20;
    now.ports[0].tx_packets += packets - 20;
    now.ports[0].tx_bytes += bytes;
    now.drops[0].packets += 1;
    now.drops[1].packets += 19;
    now
}

/// What comes of samples, the last of which is new.
pub(super) fn figures(samples: impl IntoIterator<Item = SampleReply>) -> Option<Figures> {
    let mut taken = Samples::default();
    samples.into_iter().map(|sample| taken.add(sample)).last()?
}
