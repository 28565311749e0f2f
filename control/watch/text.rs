// SPDX-License-Identifier: MIT
//! What was [`Seen`], as metrics. docs/metrics.md explains them; a test compares.
//!
//! Names and units by Prometheus' conventions: seconds, bytes, counters that end in `_total` (which the library appends). They
//! never go back, also after `clear port stats`. Labels are few: ports (1,024 at most), drop reasons, workers, kinds, states.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType::Histogram;
use prometheus_client::registry::Registry;
use vswitch::counters::{BURST_SIZES, DropReason, PortTotals};
use vswitch::dpdk::PortStats;

use super::collect::{PortSeen, Seen, WorkerSeen};
use super::out::{Labels, Out};
use crate::core::{Figures, Replies};
use crate::program::census::KINDS;

/// What was seen, in OpenMetrics' format if `open`, else in Prometheus' own.
pub(super) fn write(seen: Seen, replies: &Replies, open: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    replies.register(&mut registry);
    registry.register_collector(Box::new(seen));
    let mut written = String::new();
    match open {
        true => text::encode(&mut written, &registry)?,
        false => prometheus_text::encode(&mut written, &registry)?,
    }
    Ok(written)
}

impl Collector for Seen {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        self.ports(&mut out)?;
        self.devices(&mut out)?;
        self.workers(&mut out)?;
        self.tables(&mut out)?;
        self.goal_state(&mut out)?;
        self.on_demand(&mut out)?;
        self.underlay(&mut out)?;
        self.process(&mut out)
    }
}

fn port_labels(port: &PortSeen) -> Labels<'_, 3> {
    let [number, name, binding] = &port.labels;
    [("port", number), ("name", name), ("binding", binding)]
}

fn worker_labels(worker: &WorkerSeen) -> Labels<'_, 2> {
    let [number, core] = &worker.labels;
    [("worker", number), ("core", core)]
}

/// A counter of ports: its name, what it counts, and where it is.
type PortCounter<T> = (&'static str, &'static str, fn(&T) -> u64);

#[rustfmt::skip] // a row each
const PORT_COUNTERS: &[PortCounter<PortTotals>] = &[
    ("alkaid_port_rx_packets", "Packets received on the port", |it| it.rx),
    ("alkaid_port_rx_bytes", "Their bytes, Ethernet headers included", |it| it.rx_bytes),
    ("alkaid_port_tx_packets", "Packets that left by the port", |it| it.tx),
    ("alkaid_port_tx_bytes", "Their bytes, Ethernet headers included", |it| it.tx_bytes),
    ("alkaid_port_forwarded_packets", "Packets received on the port that left by any", |it| it.forwarded),
    ("alkaid_port_answered_packets", "Packets received on the port for the switch itself, which answered, read or copied them", |it| it.answered),
    ("alkaid_port_to_gateway_packets", "Packets received on the port that lacked a neighbor and went to a gateway", |it| it.to_gateway),
    ("alkaid_port_to_replicas_packets", "Packets received on the port that were copied to all receivers of their subnet", |it| it.to_replicas),
    ("alkaid_port_checksums_finished", "Packets received on the port whose checksum was finished in software", |it| it.finished),
    ("alkaid_port_segments_made", "TCP segments that were made of packets received on the port, in software", |it| it.segments),
    ("alkaid_port_own_packets", "Packets of the switch's own, and fragments, segments and copies that it made, that left by the port", |it| it.own),
    ("alkaid_port_unsent_packets", "Such packets that the port did not take", |it| it.unsent),
];

#[rustfmt::skip] // a row each
const DEVICE_COUNTERS: &[PortCounter<PortStats>] = &[
    ("alkaid_port_device_rx_missed_packets", "Packets that the device lost since nobody fetched them in time", |it| it.rx_missed),
    ("alkaid_port_device_rx_errors", "Packets that arrived broken", |it| it.rx_errors),
    ("alkaid_port_device_rx_no_buffer", "Times that the device found no packet buffer", |it| it.rx_nombuf),
    ("alkaid_port_device_tx_errors", "Packets that the device took and did not send, or that its driver cannot send", |it| it.tx_lost()),
];

impl Seen {
    fn ports(&self, out: &mut Out) -> fmt::Result {
        let info = self.ports.iter().map(|port| {
            let more: Labels<'_, 3> = [("role", port.role), ("vni", &port.vni), ("mac", &port.mac)];
            ((port_labels(port), more), 1u64)
        });
        out.gauges(
            "alkaid_port_info",
            "1 for each port, with what it is for",
            info,
        )?;
        let up = |port| (port_labels(port), u64::from(port.up));
        out.gauges(
            "alkaid_port_up",
            "1 if the port is started and its link is up",
            self.ports.iter().map(up),
        )?;
        for (name, help, counter) in PORT_COUNTERS {
            let value = |port| (port_labels(port), counter(&port.totals));
            out.counters(name, help, self.ports.iter().map(value))?;
        }
        let held = |port| (port_labels(port), port.totals.held);
        out.gauges(
            "alkaid_port_held_packets",
            "Packets received on the port that wait for the controller now",
            self.ports.iter().map(held),
        )?;
        let drops = self.ports.iter().flat_map(|port| {
            let reasons = DropReason::ALL.iter();
            reasons.map(|reason| {
                let labels = (port_labels(port), [("reason", reason.name())]);
                (labels, port.totals.drops_for(*reason))
            })
        });
        out.counters(
            "alkaid_port_drops",
            "Packets received on the port and dropped",
            drops,
        )?;
        let reasons = DropReason::ALL.iter().zip(&self.drops);
        out.counters(
            "alkaid_drops",
            "Packets dropped, over all ports",
            reasons.map(|(reason, drops)| ([("reason", reason.name())], *drops)),
        )
    }

    fn devices(&self, out: &mut Out) -> fmt::Result {
        for (name, help, counter) in DEVICE_COUNTERS {
            let value = |port: &'_ PortSeen| Some(counter(port.device.as_ref()?));
            let rows = self.ports.iter();
            let rows = rows.filter_map(|port| Some((port_labels(port), value(port)?)));
            out.counters(name, help, rows)?;
        }
        let (used, free) = self.buffers;
        out.gauge(
            "alkaid_mempool_used_buffers",
            "Packet buffers in rings or in hands",
            Some(used),
        )?;
        out.gauge(
            "alkaid_mempool_free_buffers",
            "Packet buffers in the pool and its caches",
            Some(free),
        )
    }

    fn workers(&self, out: &mut Out) -> fmt::Result {
        out.gauge(
            "alkaid_forwarding",
            "1 while workers are to forward",
            Some(u64::from(self.forwarding)),
        )?;
        let rows = |value: fn(&WorkerSeen) -> f64| {
            let workers = self.workers.iter();
            workers.map(move |worker| (worker_labels(worker), value(worker)))
        };
        out.counters(
            "alkaid_worker_busy_seconds",
            "Time in which the worker had packets",
            rows(|worker| worker.busy_seconds),
        )?;
        out.counters(
            "alkaid_worker_idle_seconds",
            "Time in which it looked for packets in vain",
            rows(|worker| worker.idle_seconds),
        )?;
        out.counters(
            "alkaid_worker_asleep_seconds",
            "Time in which it slept since nothing arrived, of the time in vain",
            rows(|worker| worker.asleep_seconds),
        )?;
        out.gauges(
            "alkaid_worker_standing_seconds",
            "Time since it moved, if it is to forward and does not",
            rows(|worker| worker.standing_seconds),
        )?;
        let polls = |worker| (worker_labels(worker), worker.polls);
        out.counters(
            "alkaid_worker_polls",
            "Rounds over its queues",
            self.workers.iter().map(polls),
        )?;
        let empty = |worker| (worker_labels(worker), worker.idle_polls);
        out.counters(
            "alkaid_worker_empty_polls",
            "Rounds in which nothing arrived",
            self.workers.iter().map(empty),
        )?;
        let name = "alkaid_worker_burst_packets";
        let help = "Packets that arrived at once from a queue";
        let mut metric = out.0.encode_descriptor(name, help, None, Histogram)?;
        for worker in &self.workers {
            let sizes = BURST_SIZES.map(|size| size as f64).into_iter();
            let sizes = sizes.chain([f64::INFINITY]);
            let buckets: Vec<_> = sizes.zip(worker.bursts.into_iter().chain([0])).collect();
            let labels = worker_labels(worker);
            let mut one = metric.encode_family(&labels)?;
            let count = worker.bursts.iter().sum();
            one.encode_histogram::<NoLabelSet>(worker.frames as f64, count, &buckets, None)?;
        }
        Ok(())
    }

    fn tables(&self, out: &mut Out) -> fmt::Result {
        let memory = self.figures.as_ref().map(|figures| &figures.memory);
        let census = self.figures.as_ref().map(|figures| &figures.census);
        let usages: Vec<_> = memory.into_iter().flat_map(|it| &it.tables).collect();
        let names = [
            "neighbors_by_mac",
            "neighbors_by_ipv4",
            "neighbors_by_ipv6",
            "next_hops",
        ];
        let counted = census.map(|census| [("routes", census.routes), ("vnis", census.vni_table)]);
        let counted: Vec<_> = counted.into_iter().flatten().collect();
        let table = |name| [("table", name)];
        let full = || names.into_iter().zip(&usages);
        let entries = full().map(|(name, usage)| (table(name), usage.entries));
        let others = counted.iter().map(|(name, it)| (table(name), it.0));
        out.gauges(
            "alkaid_table_entries",
            "Entries of a table",
            entries.chain(others),
        )?;
        let bytes = full().map(|(name, usage)| (table(name), usage.bytes));
        let others = counted.iter().map(|(name, it)| (table(name), it.1));
        out.gauges(
            "alkaid_table_bytes",
            "Memory of a table",
            bytes.chain(others),
        )?;
        out.gauges(
            "alkaid_table_leaving_entries",
            "Slots of entries that were removed or changed, and wait for workers",
            full().map(|(name, usage)| (table(name), usage.leaving)),
        )?;
        out.gauges(
            "alkaid_table_capacity_entries",
            "Most entries of a table",
            full().map(|(name, usage)| (table(name), usage.capacity)),
        )?;
        out.gauge(
            "alkaid_pinned_snapshots",
            "Replaced snapshots of the tables that a worker may still look at",
            memory.map(|memory| memory.old_snapshots),
        )?;
        out.gauge(
            "alkaid_pinned_bytes",
            "Their memory",
            memory.map(|memory| memory.old_bytes),
        )
    }

    fn goal_state(&self, out: &mut Out) -> fmt::Result {
        let figures = self.figures.as_ref();
        let counts = figures.map(|figures| figures.census.resources);
        let counts = counts
            .into_iter()
            .flat_map(|counts| KINDS.into_iter().zip(counts));
        let rows = counts.flat_map(|(kind, count)| {
            let states = [
                ("programmed", count.programmed),
                ("pending", count.pending),
                ("failed", count.failed),
            ];
            states.map(|(state, count)| ([("kind", kind), ("state", state)], count))
        });
        out.gauges(
            "alkaid_goal_state_resources",
            "What the controller wants: programmed, waiting for something, or impossible",
            rows,
        )?;
        out.gauge(
            "alkaid_control_queued_requests",
            "Requests that wait for the control thread",
            Some(self.queued),
        )?;
        out.gauge(
            "alkaid_control_late_replies",
            "Replies that wait for workers to see what they answer",
            figures.map(|figures: &Figures| figures.late),
        )?;
        let kept = figures.and_then(|figures| figures.kept);
        out.gauge(
            "alkaid_store_queued_bytes",
            "What waits for the disk",
            kept.map(|kept| kept.queued_bytes),
        )?;
        out.gauge(
            "alkaid_store_keeps",
            "1 if what was answered SUCCESS is there after a crash",
            kept.map(|kept| u64::from(kept.keeps)),
        )
    }

    #[rustfmt::skip] // a row each
    fn on_demand(&self, out: &mut Out) -> fmt::Result {
        let it = self.on_demand.as_ref();
        out.counter("alkaid_on_demand_misses", "Packets that lacked a neighbor", it.map(|it| it.misses))?;
        out.counter("alkaid_on_demand_requests", "Destinations that the controller was asked for", it.map(|it| it.requests))?;
        out.counter("alkaid_on_demand_calls", "Calls to the controller", it.map(|it| it.calls))?;
        out.counter("alkaid_on_demand_failed_calls", "Calls that failed", it.map(|it| it.failed_calls))?;
        out.counter("alkaid_on_demand_answers", "Destinations that came while they were waited for", it.map(|it| it.answers))?;
        out.counter("alkaid_on_demand_unknown", "Destinations that the controller does not know", it.map(|it| it.unknown))?;
        out.counter("alkaid_on_demand_rate_limited", "Destinations that had to wait to be asked for", it.map(|it| it.rate_limited))?;
        out.gauge("alkaid_on_demand_held_packets", "Packets that wait for answers", it.map(|it| it.held))?;
        out.gauge("alkaid_on_demand_waiting", "Destinations that are waited for", it.map(|it| it.waiting))?;
        out.gauge("alkaid_on_demand_in_flight_calls", "Calls under way", it.map(|it| it.in_flight))?;
        out.gauge("alkaid_on_demand_negative", "Destinations that are not asked for since the controller does not know them", it.map(|it| it.negative))?;
        out.gauge("alkaid_on_demand_idle", "Neighbors that nobody used for long, kept out of the workers' tables", it.map(|it| it.idle))
    }

    fn underlay(&self, out: &mut Out) -> fmt::Result {
        let numbered = self.underlay.iter().filter_map(|asked| {
            let mut ports = self.ports.iter();
            let port = ports.find(|port| port.uplink == Some(asked.uplink))?;
            Some((&*port.labels[0], asked))
        });
        let rows: Vec<_> = numbered.collect();
        let hosts = rows.iter().flat_map(|(port, asked)| {
            let states = [("known", asked.known), ("silent", asked.silent)];
            states.map(|(state, count)| ([("port", *port), ("state", state)], count))
        });
        out.gauges(
            "alkaid_underlay_neighbors",
            "Hosts and routers of the underlay that were asked for their MAC, and said it or not",
            hosts,
        )?;
        out.gauges(
            "alkaid_uplink_used",
            "1 if flows go by the uplink",
            rows.iter()
                .map(|(port, asked)| ([("port", *port)], u64::from(asked.used))),
        )
    }

    fn process(&self, out: &mut Out) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION")), ("dpdk", &self.dpdk)];
        out.gauges(
            "alkaid_build_info",
            "1, with the versions of the switch and of DPDK",
            [(version, 1u64)],
        )?;
        let live = u64::from(self.health.is_live());
        let ready = u64::from(self.health.is_ready());
        out.gauge("alkaid_live", "1 if /healthz says ok", Some(live))?;
        out.gauge("alkaid_ready", "1 if /readyz says ok", Some(ready))?;
        let it = self.process.as_ref();
        out.counter(
            "process_cpu_seconds",
            "CPU time of the process, workers included, which take all of their cores but for `set poll adaptive`",
            it.map(|it| it.cpu_seconds),
        )?;
        out.gauge(
            "process_start_time_seconds",
            "When it was started, since 1970",
            it.map(|it| it.start_seconds),
        )?;
        out.gauge(
            "process_resident_memory_bytes",
            "Its memory, huge pages left out",
            it.map(|it| it.resident_bytes),
        )?;
        out.gauge(
            "process_virtual_memory_bytes",
            "Its address space",
            it.map(|it| it.virtual_bytes),
        )?;
        out.gauge(
            "process_open_fds",
            "Its open files",
            it.map(|it| it.open_fds),
        )?;
        out.gauge("process_threads", "Its threads", it.map(|it| it.threads))
    }
}
