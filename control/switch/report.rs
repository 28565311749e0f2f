// SPDX-License-Identifier: MIT
//! What operators see of ports and workers: rows, whose keys are column names in order.

use std::sync::Arc;

use serde_json::{Value, json};
use vswitch::counters::{self, DropReason, PortTotals};
use vswitch::dpdk::{Port, PortStats, tsc, tsc_hz};
use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;

use super::Devices;
use super::workers::Seat;

/// A port's counters: the switch's own and, where the driver has any, what the device lost.
pub(crate) struct Totals {
    /// The port.
    pub(crate) port: PortId,
    /// The switch's.
    pub(crate) switch: PortTotals,
    /// The device's.
    pub(crate) device: PortStats,
}

impl Totals {
    /// `show port stats`, and the summary of a replay.
    pub(crate) fn row(&self) -> Value {
        let Self {
            port,
            switch,
            device,
        } = self;
        json!({
            "port": port.get(),
            "rx_packets": switch.rx,
            "rx_bytes": switch.rx_bytes,
            "forwarded": switch.forwarded,
            "answered": switch.answered,
            "held": switch.held,
            "dropped": switch.dropped(),
            "to_gateway": switch.to_gateway,
            "to_replicas": switch.to_replicas,
            "checksums_finished": switch.finished,
            "segments_made": switch.segments,
            "tx_packets": switch.tx,
            "tx_bytes": switch.tx_bytes,
            "rx_missed": device.rx_missed,
            "rx_errors": device.rx_errors,
            "rx_nombuf": device.rx_nombuf,
            "tx_own": switch.own,
            "tx_unsent": switch.unsent,
            "tx_errors": device.tx_lost(),
        })
    }

    /// `show drops`: the reasons that occurred.
    pub(crate) fn drops(&self) -> impl Iterator<Item = Value> + '_ {
        let occurred = DropReason::ALL
            .iter()
            .filter(|reason| self.switch.drops_for(**reason) > 0);
        occurred.map(|reason| {
            json!({
                "port": self.port.get(),
                "reason": reason.name(),
                "packets": self.switch.drops_for(*reason),
                "explanation": reason.explanation(),
            })
        })
    }
}

/// `show port info`. `mtu`: the one that counts.
pub(crate) fn info(number: PortId, port: &Port, mtu: u16) -> Value {
    let info = port.info();
    json!({
        "port": number.get(),
        "device": info.name,
        "driver": info.driver,
        "mac": info.mac.to_string(),
        "mtu": mtu,
        "link": if info.link.up { "up" } else { "down" },
        "mbps": info.link.mbps,
        "socket": info.socket,
        "rxq": info.rxq,
        "max_rxq": info.max_rxq,
        "rxd": info.rxd,
        "txq": info.txq,
        "max_txq": info.max_txq,
        "txd": info.txd,
        "offloads": info.offloads.join("; "),
        "fallbacks": info.fallbacks.join("; "),
    })
}

/// What only devices have.
const DEVICES: &[&str] = &[
    "socket",
    "rxq",
    "max_rxq",
    "rxd",
    "txq",
    "max_txq",
    "txd",
    "offloads",
    "fallbacks",
];

/// The same of a port whose device is not there.
pub(super) fn absent(number: PortId, device: &str, mtu: u16) -> Value {
    let mut row = json!({
        "port": number.get(),
        "device": device.split(',').next(),
        "driver": Value::Null,
        "mac": Value::Null,
        "mtu": mtu,
        "link": "absent",
        "mbps": Value::Null,
    });
    DEVICES.iter().for_each(|key| row[key] = Value::Null);
    row
}

/// Makes of its parent's row a subport's.
pub(crate) fn make_subport(row: &mut Value, subport: Subport, started: bool) {
    row["device"] = subport.to_string().into();
    row["driver"] = "802.1Q".into();
    if !started {
        row["link"] = "down".into();
    }
    DEVICES.iter().for_each(|key| row[key] = Value::Null);
}

/// What two devices counted.
pub(super) fn sum(a: &PortStats, b: &PortStats) -> PortStats {
    PortStats {
        rx_packets: a.rx_packets + b.rx_packets,
        rx_bytes: a.rx_bytes + b.rx_bytes,
        tx_packets: a.tx_packets + b.tx_packets,
        tx_bytes: a.tx_bytes + b.tx_bytes,
        rx_missed: a.rx_missed + b.rx_missed,
        rx_errors: a.rx_errors + b.rx_errors,
        rx_nombuf: a.rx_nombuf + b.rx_nombuf,
        tx_errors: a.tx_errors + b.tx_errors,
        tx_unsendable: a.tx_unsendable + b.tx_unsendable,
    }
}

/// `show workers`.
pub(super) fn workers(devices: &Devices) -> Value {
    let row = |(number, seat): (usize, &Arc<Seat>)| {
        let queues: Vec<_> = seat
            .queues()
            .iter()
            .map(|queue| format!("{}/{}", queue.port.get(), queue.number))
            .collect();
        let (idle, polls) = seat.counters.load.polls();
        let now = tsc();
        let (busy_tsc, idle_tsc) = seat.counters.load.times(now);
        let counters = std::slice::from_ref(&seat.counters);
        // Also of ports that were detached.
        let ports = devices.numbers();
        let rx: u64 = ports.map(|port| counters::total(counters, port).rx).sum();
        json!({
            "worker": number,
            "core": seat.core,
            "socket": seat.socket,
            "forwarding": devices.workers().forwarding(),
            "queues": queues.join(" "),
            "rx_packets": rx,
            "polls": polls,
            "idle_polls": idle,
            "busy_tsc": busy_tsc,
            "idle_tsc": idle_tsc,
            "asleep_tsc": seat.counters.load.asleep(),
            "tsc": now,
            "tsc_hz": tsc_hz(devices.eal()),
        })
    };
    let seats = devices.workers().seats();
    seats.iter().enumerate().map(row).collect()
}

/// What the device lost since `zero`.
pub(super) fn since(stats: &PortStats, zero: &PortStats) -> PortStats {
    PortStats {
        rx_missed: stats.rx_missed.saturating_sub(zero.rx_missed),
        rx_errors: stats.rx_errors.saturating_sub(zero.rx_errors),
        rx_nombuf: stats.rx_nombuf.saturating_sub(zero.rx_nombuf),
        tx_errors: stats.tx_errors.saturating_sub(zero.tx_errors),
        tx_unsendable: stats.tx_unsendable.saturating_sub(zero.tx_unsendable),
        ..*stats
    }
}

/// The lesser number of two rows, or the first one where there is none.
pub(super) fn least<'a>(a: &'a Value, b: &'a Value) -> &'a Value {
    match (a.as_u64(), b.as_u64()) {
        (Some(first), Some(second)) if second < first => b,
        _ => a,
    }
}
