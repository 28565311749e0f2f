// SPDX-License-Identifier: MIT
//! [`Seen`]: all that is told, read once.

use std::time::Duration;

use procfs::process::Process;
use tokio::task::block_in_place;
use vswitch::counters::{BURST_SIZES, DropReason, PortTotals, total};
use vswitch::dpdk::{Port, PortStats, tsc, tsc_hz};
use vswitch::tables::PortId;

use super::Watch;
use super::health::Health;
use crate::config::PortSettings;
use crate::core::Figures;
use crate::ondemand::engine::Figures as OnDemand;
use crate::underlay::Asked;

/// What there is, at one moment: of each counter, not over all of them.
#[derive(Debug)]
pub(super) struct Seen {
    /// When: since the switch serves.
    pub(super) uptime: Duration,
    /// Cycles per second of the workers' clock.
    pub(super) cycles_hz: u64,
    pub(super) ports: Vec<PortSeen>,
    pub(super) workers: Vec<WorkerSeen>,
    pub(super) forwarding: bool,
    /// Dropped packets of all ports, in the order of [`DropReason::ALL`].
    pub(super) drops: Vec<u64>,
    /// Of a moment ago if the control thread does not answer; `None`: it never did.
    pub(super) figures: Option<Figures>,
    /// Requests that wait for the control thread.
    pub(super) queued: usize,
    pub(super) on_demand: Option<OnDemand>,
    pub(super) underlay: Vec<Asked>,
    /// Packet buffers: in use, and free.
    pub(super) buffers: (u32, u32),
    pub(super) process: Option<ProcessSeen>,
    pub(super) health: Health,
    /// The DPDK that runs.
    pub(super) dpdk: String,
}

/// A port.
#[derive(Debug)]
pub(super) struct PortSeen {
    pub(super) port: PortId,
    /// Its number, its device's name, and the controller's port that it is.
    pub(super) labels: [String; 3],
    /// An uplink's number.
    pub(super) uplink: Option<PortId>,
    pub(super) role: &'static str,
    /// The VNI of its guest; empty if it has none.
    pub(super) vni: String,
    pub(super) mac: String,
    /// It is started, and its device says that frames can pass.
    pub(super) up: bool,
    pub(super) totals: PortTotals,
    /// `None`: a subport, which has no device.
    pub(super) device: Option<PortStats>,
}

/// A worker.
#[derive(Debug)]
pub(super) struct WorkerSeen {
    pub(super) core: usize,
    /// Its number and its core.
    pub(super) labels: [String; 2],
    pub(super) busy_seconds: f64,
    /// Of the idle time.
    pub(super) asleep_seconds: f64,
    pub(super) idle_seconds: f64,
    pub(super) polls: u64,
    pub(super) idle_polls: u64,
    pub(super) bursts: [u64; BURST_SIZES.len()],
    /// Frames in them.
    pub(super) frames: u64,
    /// It has not ended a round for so long.
    pub(super) standing_seconds: f64,
}

/// The process, as the kernel sees it.
#[derive(Debug)]
pub(super) struct ProcessSeen {
    pub(super) cpu_seconds: f64,
    pub(super) start_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_fds: u64,
    pub(super) threads: i64,
}

impl Watch {
    /// Reads everything. Takes a fraction of a millisecond, or as long as a port is being started.
    pub(super) async fn collect(&self) -> Seen {
        let (figures, works) = self.latest().await;
        let _turn = self.turn.lock().await;
        block_in_place(|| self.read(figures, works))
    }

    fn read(&self, figures: Option<Figures>, works: bool) -> Seen {
        let health = self.judge(figures.as_ref(), works);
        // What workers count, at one moment: to read of ports what they are takes as long as one of them is being started.
        let uptime = self.since.elapsed();
        let workers = self.read_workers();
        // Also of ports that were detached: a sum never goes back.
        let counters = self.devices.workers().counters();
        let all: Vec<_> = (self.devices.numbers().map(|port| total(&counters, port))).collect();
        let drops = |reason: &DropReason| all.iter().map(|port| port.drops_for(*reason)).sum();
        let ports = self.devices.ids().into_iter();
        let ports = ports.filter_map(|port| {
            // One that was attached a moment ago has counted nothing yet.
            let counted = all.get(port.index()).cloned().unwrap_or_default();
            self.read_port(port, &counted, figures.as_ref())
        });
        let ports = ports.collect();
        Seen {
            uptime,
            cycles_hz: tsc_hz(self.devices.eal()),
            drops: DropReason::ALL.iter().map(drops).collect(),
            workers,
            ports,
            forwarding: self.devices.workers().forwarding(),
            queued: self.core.queued(),
            on_demand: self.on_demand.as_ref().map(|shared| shared.figures()),
            underlay: (self.underlay.iter())
                .flat_map(|known| known.counts())
                .collect(),
            buffers: self.devices.buffers(),
            process: process().ok(),
            health,
            figures,
            dpdk: vswitch::dpdk::version(),
        }
    }

    /// `None`: it was detached. One whose device is not there has no MAC.
    fn read_port(
        &self,
        port: PortId,
        counted: &PortTotals,
        figures: Option<&Figures>,
    ) -> Option<PortSeen> {
        let devices = &self.devices;
        let PortSettings { device, id, .. } = devices.port_settings(port).ok()?;
        let subport = devices.subport(port).ok()?.is_some();
        let started = devices.is_started(port).ok()?;
        let up = |device: &Port| device.is_started() && device.link().up;
        let name = device.split(',').next().unwrap_or(&device);
        let vnis = figures.into_iter().flat_map(|it| &it.census.vnis);
        let vni = vnis.filter(|(of, _)| *of == port).map(|(_, vni)| vni);
        Some(PortSeen {
            port,
            labels: [
                port.get().to_string(),
                name.to_owned(),
                id.unwrap_or_default().to_owned(),
            ],
            role: self.settings.role(port),
            uplink: Some(port).filter(|port| self.settings.uplinks().any(|it| it == *port)),
            vni: vni.map(u32::to_string).next().unwrap_or_default(),
            mac: (devices.read(port, Port::mac))
                .map_or_else(|_| String::new(), |mac| mac.to_string()),
            up: started && devices.read(port, up).unwrap_or(false),
            totals: counted.since(&devices.base(port).ok()?),
            device: match subport {
                true => None,
                false => devices.stats(port).ok(),
            },
        })
    }

    fn read_workers(&self) -> Vec<WorkerSeen> {
        let standing = self.look_at_workers();
        let seconds = |ticks: u64| ticks as f64 / tsc_hz(self.devices.eal()) as f64;
        let seats = self.devices.workers().seats().iter().enumerate();
        let seen = seats.map(|(number, seat)| {
            let load = &seat.counters.load;
            let (idle_polls, polls) = load.polls();
            let (busy, idle) = load.times(tsc());
            let counters = std::slice::from_ref(&seat.counters);
            let still = standing.iter().find(|(worker, _)| *worker == number);
            WorkerSeen {
                core: seat.core,
                labels: [number.to_string(), seat.core.to_string()],
                busy_seconds: seconds(busy),
                asleep_seconds: seconds(load.asleep()),
                idle_seconds: seconds(idle),
                polls,
                idle_polls,
                bursts: load.bursts(),
                frames: (self.devices.numbers().map(|port| total(counters, port).rx)).sum(),
                standing_seconds: still.map_or(0.0, |(_, since)| since.as_secs_f64()),
            }
        });
        seen.collect()
    }
}

fn process() -> Result<ProcessSeen, procfs::ProcError> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    Ok(ProcessSeen {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        start_seconds: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        open_fds: process.fd_count()? as u64,
        threads: stat.num_threads,
    })
}
