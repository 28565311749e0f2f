// SPDX-License-Identifier: MIT
//! Executes operators' commands on the running switch.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use serde_json::{Value, json};
use tokio::sync::watch;
use vswitch::counters::{self, PortTotals};
use vswitch::dpdk::{PortStats, tsc, tsc_hz};
use vswitch::tables::PortId;

use super::workers::Workers;
use super::{Ports as Devices, Switch, Totals, lock, report};
use crate::config::{Command, Ports, Setting, Settings, Show};
use crate::core::{self, CoreHandle, Gone};
use crate::northbound::{ExecError, Executor, Output};

/// The running switch, for operators.
pub(crate) struct Operator {
    settings: Settings,
    ports: Devices,
    workers: Arc<Workers>,
    core: CoreHandle,
    /// Ticks of the time-stamp counter per second.
    tsc_hz: u64,
    /// What `clear port stats` takes for zero: counters themselves never go back, since workers own them.
    zero: Mutex<HashMap<PortId, (PortTotals, PortStats)>>,
    quit: watch::Sender<bool>,
}

impl Operator {
    /// Of this switch; `quit` is told when an operator ends it.
    pub(crate) fn new(switch: &Switch, core: CoreHandle, quit: watch::Sender<bool>) -> Self {
        Self {
            settings: switch.settings.clone(),
            ports: Arc::clone(&switch.ports),
            workers: Arc::clone(&switch.workers),
            core,
            tsc_hz: tsc_hz(&switch.eal),
            zero: Mutex::default(),
            quit,
        }
    }

    async fn show(&self, show: Show) -> Result<Output, ExecError> {
        let rows = match show {
            Show::PortInfo(ports) => {
                self.each(ports, |index| report::info(&lock(&self.ports)[index]))?
            }
            Show::PortStats(ports) => self.each(ports, |index| self.totals(index).row())?,
            Show::Stats => self.each(Ports::All, |index| self.totals(index).row())?,
            Show::Drops => {
                let totals: Vec<_> = (0..self.settings.ports.len())
                    .map(|index| self.totals(index))
                    .collect();
                totals.iter().flat_map(Totals::drops).collect()
            }
            Show::Ports => self.show_ports().await?,
            Show::Workers => self.show_workers(),
            Show::Config => {
                let lines: Vec<_> = self
                    .settings
                    .commands()
                    .iter()
                    .map(|command| format!("{command}\n"))
                    .collect();
                return Ok(Output::Text(lines.concat()));
            }
            Show::Vpcs => self.goal_state(core::Show::Vpcs).await?,
            Show::Subnets => self.goal_state(core::Show::Subnets).await?,
            Show::Neighbors => self.goal_state(core::Show::Neighbors).await?,
            Show::Routes => self.goal_state(core::Show::Routes).await?,
            Show::Pending => self.goal_state(core::Show::Pending).await?,
            Show::Memory => self.goal_state(core::Show::Memory).await?,
        };
        Ok(Output::Rows(rows))
    }

    async fn goal_state(&self, what: core::Show) -> Result<Value, ExecError> {
        self.core
            .show(what)
            .await
            .map_err(|Gone| ExecError::ShuttingDown)
    }

    /// Rows for the ports that a command is about.
    fn each(&self, ports: Ports, row: impl Fn(usize) -> Value) -> Result<Value, ExecError> {
        Ok(self.indexes(ports)?.into_iter().map(row).collect())
    }

    fn indexes(&self, ports: Ports) -> Result<Vec<usize>, ExecError> {
        let attached = self.settings.ports.len();
        match ports {
            Ports::All => Ok((0..attached).collect()),
            Ports::One(port) if port.index() < attached => Ok(vec![port.index()]),
            Ports::One(port) => Err(ExecError::Failed(format!(
                "there is no port {}",
                port.get()
            ))),
        }
    }

    /// A port's counters since they were cleared.
    fn totals(&self, index: usize) -> Totals {
        let (port, mut switch, mut device) = self.raw(index);
        if let Some((zero, device_zero)) = self
            .zero
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&port)
        {
            switch = switch.since(zero);
            device = since(&device, device_zero);
        }
        Totals {
            port,
            switch,
            device,
        }
    }

    fn raw(&self, index: usize) -> (PortId, PortTotals, PortStats) {
        // `index` comes from `indexes`, and settings have no port beyond PortId's range.
        let port = u16::try_from(index)
            .ok()
            .and_then(PortId::new)
            .unwrap_or(const { PortId::new(0).unwrap() });
        (
            port,
            counters::total(&self.workers.counters(), port),
            lock(&self.ports)[index].stats(),
        )
    }

    async fn show_ports(&self) -> Result<Value, ExecError> {
        let goal_state = self.goal_state(core::Show::Ports).await?;
        let described = |key: &Value| {
            goal_state
                .as_array()
                .into_iter()
                .flatten()
                .find(|row| row["port"] == *key)
        };
        self.each(Ports::All, |index| {
            let info = report::info(&lock(&self.ports)[index]);
            let row = described(&info["port"]).unwrap_or(&Value::Null);
            let role = match PortId::new(index as u16) {
                port if port == self.settings.vtep.map(|vtep| vtep.port) => "uplink",
                port if port == self.settings.host_port && port.is_some() => "host",
                _ => "tenant",
            };
            json!({
                "port": info["port"],
                "device": info["device"],
                "link": info["link"],
                "role": role,
                "mac": if role == "tenant" { &row["mac"] } else { &info["mac"] },
                "addresses": row["addresses"],
                "id": row["id"],
                "state": if role == "tenant" { row.get("state").cloned().unwrap_or_else(|| "unbound".into()) } else { "ready".into() },
            })
        })
    }

    fn show_workers(&self) -> Value {
        let row = |(number, worker): (usize, &super::workers::Seat)| {
            let queues: Vec<_> = worker
                .queues
                .iter()
                .map(|(port, queue)| format!("{}/{queue}", port.get()))
                .collect();
            let (idle, polls) = worker.counters.polls();
            let counters = std::slice::from_ref(&worker.counters);
            let rx: u64 = worker
                .queues
                .iter()
                .map(|(port, _)| counters::total(counters, *port).rx)
                .sum();
            json!({
                "worker": number,
                "core": worker.core,
                "forwarding": self.workers.forwarding(),
                "queues": queues.join(" "),
                "rx_packets": rx,
                "polls": polls,
                "idle_polls": idle,
                "tsc": tsc(),
                "tsc_hz": self.tsc_hz,
            })
        };
        self.workers.seats().iter().enumerate().map(row).collect()
    }

    fn clear(&self, ports: Ports) -> Result<Output, ExecError> {
        for index in self.indexes(ports)? {
            let (port, switch, device) = self.raw(index);
            self.zero
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(port, (switch, device));
        }
        Ok(Output::Done)
    }

    fn promisc(&self, ports: Ports, on: bool) -> Result<Output, ExecError> {
        for index in self.indexes(ports)? {
            let set = lock(&self.ports)[index].set_promiscuous(on);
            set.map_err(|error| ExecError::Failed(format!("port {index}: {error}")))?;
        }
        Ok(Output::Done)
    }
}

impl Executor for Operator {
    async fn execute(&self, command: Command) -> Result<Output, ExecError> {
        match command {
            Command::Show(show) => self.show(show).await,
            Command::ClearPortStats(ports) => self.clear(ports),
            Command::Start => {
                self.workers.start();
                Ok(Output::Done)
            }
            Command::Stop => {
                self.workers.stop();
                Ok(Output::Done)
            }
            Command::PortBind { port, id } => done(self.core.bind(port, id).await),
            Command::PortUnbind(port) => done(self.core.unbind(port).await),
            Command::Set(Setting::Promisc { ports, on }) => self.promisc(ports, on),
            Command::Quit => {
                let _ = self.quit.send(true);
                Ok(Output::Done)
            }
            other => Err(ExecError::Unsupported(other.to_string())),
        }
    }
}

fn done(result: Result<Result<(), core::BindError>, Gone>) -> Result<Output, ExecError> {
    match result {
        Ok(Ok(())) => Ok(Output::Done),
        Ok(Err(error)) => Err(ExecError::Failed(error.to_string())),
        Err(Gone) => Err(ExecError::ShuttingDown),
    }
}

/// What the device lost since `zero`.
fn since(stats: &PortStats, zero: &PortStats) -> PortStats {
    PortStats {
        rx_missed: stats.rx_missed.saturating_sub(zero.rx_missed),
        rx_errors: stats.rx_errors.saturating_sub(zero.rx_errors),
        rx_nombuf: stats.rx_nombuf.saturating_sub(zero.rx_nombuf),
        tx_errors: stats.tx_errors.saturating_sub(zero.tx_errors),
        tx_unsendable: stats.tx_unsendable.saturating_sub(zero.tx_unsendable),
        ..*stats
    }
}
