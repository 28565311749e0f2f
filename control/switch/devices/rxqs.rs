// SPDX-License-Identifier: MIT
//! Which workers poll ports' rx queues, and what these take: `show rxq`, `rebalance`, `port config N rxq-affinity`.

use std::time::Instant;

use serde_json::{Value, json};
use vswitch::dpdk::{PortInfo, tsc_hz};
use vswitch::tables::PortId;

use super::devargs::MEMIF;
use super::device::Kind;
use super::{DeviceError, Devices};
use crate::config::affinity::Affinity;
use crate::switch::workers::{Balance, Stuck, Taken};

/// A worker with a higher load has too much to do, and rx queues move by themselves if this takes so much off it: shares of its
/// time.
const OVERLOADED: f64 = 0.9;
const WORTH_IT: f64 = 0.1;

/// Receive and send queues of a port unless its settings say otherwise: one for each worker, where the device has so many. With
/// fewer send queues, workers hand frames over.
pub(super) fn default_queues(info: &PortInfo, workers: usize) -> (u16, u16) {
    let workers = u16::try_from(workers).unwrap_or(u16::MAX);
    let of = |most: u16| workers.clamp(1, most.max(1));
    match info.driver.as_str() {
        // It sends by any, so all are polled.
        _ if info.peer_chooses => (info.max_rxq, of(info.max_txq)),
        // Both ends have to have the same number: the driver refuses fewer, and serves rings that there are not.
        MEMIF => (1, 1),
        _ => (of(info.max_rxq), of(info.max_txq)),
    }
}

impl From<Stuck> for DeviceError {
    fn from(Stuck { worker }: Stuck) -> Self {
        Self::StuckWorker(worker)
    }
}

impl Devices {
    /// Says which workers poll a port's rx queues: from now on, if it is started.
    pub(crate) fn set_affinity(&self, id: PortId, affinity: &Affinity) -> Result<(), DeviceError> {
        self.with(id, |device| {
            let rxq = match &device.port {
                Kind::Absent(_) => device.settings.rxq,
                _ => {
                    let port = device.own(id)?;
                    let rxq = port.info().rxq;
                    port.is_started().then_some(rxq).or(device.settings.rxq)
                }
            };
            self.check_affinity(id, affinity, rxq)?;
            device.settings.affinity = affinity.clone();
            match device.port.is_started() {
                true => Ok(self.workers.pin(id, affinity)?),
                false => Ok(()),
            }
        })
    }

    /// An error unless each core has a worker, and each queue is there, if it is known how many are.
    pub(super) fn check_affinity(
        &self,
        id: PortId,
        affinity: &Affinity,
        rxq: Option<u16>,
    ) -> Result<(), DeviceError> {
        let port = id.get();
        for (&queue, &core) in &affinity.0 {
            if let Some(rxq) = rxq.filter(|rxq| queue >= *rxq) {
                return Err(DeviceError::NoQueue { port, queue, rxq });
            }
            if self.workers.on_core(core).is_none() {
                let cores = self.workers.seats().iter().map(|seat| seat.core).collect();
                return Err(DeviceError::NoWorkerOn { port, core, cores });
            }
        }
        Ok(())
    }

    /// `show rxq`. Of a queue that came or moved less than a second ago it is not known yet what it takes.
    pub(crate) fn rxqs(&self) -> Value {
        let hz = tsc_hz(&self.eal) as f64;
        let rows = self
            .workers
            .taken()
            .into_iter()
            .map(|(worker, queue, taken)| {
                let seat = &self.workers.seats()[worker];
                let seconds = |taken: &Taken| taken.ticks as f64 / hz;
                let pps = |taken: &Taken| (taken.packets as f64 / seconds(taken)).round() as u64;
                let taken = taken.as_ref();
                json!({
                    "port": queue.port.get(),
                    "queue": queue.number,
                    "worker": worker,
                    "core": seat.core,
                    "core_socket": seat.socket,
                    "port_socket": queue.socket,
                    "pinned": queue.pinned,
                    "rx_packets": queue.load.packets(),
                    "seconds": taken.map(|taken| tenths(seconds(taken))),
                    "pps": taken.map(pps),
                    "load_percent": taken.map(|taken| percent(taken.share)),
                })
            });
        rows.collect()
    }

    /// `show rebalance`.
    pub(crate) fn show_rebalance(&self) -> Result<Value, DeviceError> {
        let balance = self.workers.balance().ok_or(DeviceError::LoadUnknown)?;
        Ok(self.rows(&balance))
    }

    /// Spreads rx queues over the workers, and says as `show rebalance` what has become of it.
    pub(crate) fn rebalance(&self) -> Result<Value, DeviceError> {
        // No port comes or goes meanwhile.
        let _ports = self.lock();
        let balance = self.workers.balance().ok_or(DeviceError::LoadUnknown)?;
        self.workers.rebalance(&balance)?;
        Ok(self.rows(&balance))
    }

    fn rows(&self, balance: &Balance) -> Value {
        let seats = self.workers.seats().iter().zip(&balance.loads).enumerate();
        let rows = seats.map(|(worker, (seat, (now, then)))| {
            let having = |which: fn(&(usize, usize)) -> usize| {
                let all = balance.queues.iter();
                let its = all.filter(|(_, from, to)| which(&(*from, *to)) == worker);
                let names = its.map(|((port, queue), ..)| format!("{}/{queue}", port.get()));
                names.collect::<Vec<_>>().join(" ")
            };
            json!({
                "worker": worker,
                "core": seat.core,
                "socket": seat.socket,
                "load_percent": percent(*now),
                "load_percent_then": percent(*then),
                "queues": having(|(from, _)| *from),
                "queues_then": having(|(_, to)| *to),
            })
        });
        rows.collect()
    }

    /// Looks at what rx queues take, and moves them if that is to be and a worker has too much to do.
    pub(crate) fn tend_queues(&self, now: Instant) {
        if !self.workers.look(now) || !self.workers.work().rebalance {
            return;
        }
        let _ports = self.lock();
        let Some(balance) = self.workers.balance_of_a_minute() else {
            return;
        };
        if balance.highest() < OVERLOADED || balance.gain() < WORTH_IT {
            return;
        }
        match self.workers.rebalance(&balance) {
            Ok(()) => tracing::info!(
                "a worker was overloaded: receive queues have moved, {} % less for the busiest",
                percent(balance.gain())
            ),
            Err(Stuck { worker }) => {
                tracing::warn!(worker, "receive queues do not move: it stands still");
            }
        }
    }
}

fn percent(share: f64) -> f64 {
    tenths(share * 100.0)
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
