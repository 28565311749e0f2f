// SPDX-License-Identifier: MIT
//! Executes operators' commands on the running switch.

mod ports;
mod rules;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::block_in_place;
use vswitch::counters::capture::Wanted;
use vswitch::dpdk::Mbuf;
use vswitch::tables::PortId;

use super::{DeviceError, Devices, Switch, report};
use crate::audit::part::Part;
use crate::capture::{Captures, PortName, Session};
use crate::config::{Command, Level, PortSettings, Ports, Setting, Settings, Show};
use crate::core::{self, CoreHandle, Gone, Replicated};
use crate::explain::{Explanation, Links, Packet};
use crate::log;
use crate::northbound::api::SampleReply;
use crate::northbound::{ExecError, Executor, Output};
use crate::ondemand::desk as on_demand;
use crate::southbound::subscribe::Subscriptions;
use crate::state::Revisions;
use crate::state::parts::Position;
use crate::underlay;
use crate::watch::Watch;

/// The running switch, for operators.
pub(crate) struct Operator {
    /// What it was started with; what operators changed since is with the devices and the core.
    settings: Settings,
    devices: Arc<Devices>,
    core: CoreHandle,
    /// As set last.
    level: Mutex<Level>,
    /// Likewise.
    revisions: Mutex<Revisions>,
    /// Likewise.
    replicated: Mutex<Replicated>,
    on_demand: Option<Arc<on_demand::Shared<Mbuf>>>,
    underlay: Option<underlay::Known>,
    watch: Arc<Watch>,
    subscriptions: Arc<Subscriptions>,
    captures: Arc<Captures>,
    quit: watch::Sender<bool>,
}

impl From<DeviceError> for ExecError {
    fn from(error: DeviceError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Operator {
    /// Of this switch; `quit` is told when an operator ends it.
    pub(crate) fn new(
        switch: &Switch,
        core: CoreHandle,
        on_demand: Option<Arc<on_demand::Shared<Mbuf>>>,
        underlay: Option<underlay::Known>,
        watch: Arc<Watch>,
        subscriptions: Arc<Subscriptions>,
        quit: watch::Sender<bool>,
    ) -> Self {
        let (settings, devices) = (switch.settings.clone(), Arc::clone(&switch.devices));
        Self {
            level: Mutex::new(settings.log),
            revisions: Mutex::new(settings.revisions),
            replicated: Mutex::new(settings.replicated.clone()),
            settings,
            devices,
            core,
            on_demand,
            underlay,
            watch,
            subscriptions,
            captures: Arc::default(),
            quit,
        }
    }

    /// The workers' links and limits, see [`super::workers`].
    fn links(&self) -> Result<Links, DeviceError> {
        let (mut limits, mut started) = (self.settings.limits(), Vec::new());
        for port in self.devices.ids() {
            let of_port = || Ok((self.devices.mtu(port)?, self.devices.is_started(port)?));
            let Some((mtu, is_started)) = unless_gone(Ports::All, of_port()).transpose()? else {
                continue;
            };
            limits.set_mtu(port, mtu);
            if is_started {
                started.push(port);
            }
        }
        let subports = self.devices.subports();
        Ok(Links {
            limits,
            started,
            subports,
        })
    }

    async fn show(&self, show: Show) -> Result<Output, ExecError> {
        let rows = match show {
            Show::PortInfo(ports) => self.each(ports, |port| self.info(port))?,
            Show::PortStats(ports) => {
                self.each(ports, |port| Ok(self.devices.totals(port)?.row()))?
            }
            Show::Stats => self.each(Ports::All, |port| Ok(self.devices.totals(port)?.row()))?,
            Show::Drops => {
                let drops = self.each(Ports::All, |port| {
                    Ok(self.devices.totals(port)?.drops().collect())
                })?;
                drops
                    .as_array()
                    .into_iter()
                    .flatten()
                    .flat_map(Value::as_array)
                    .flatten()
                    .cloned()
                    .collect()
            }
            Show::Ports => self.show_ports().await?,
            Show::Rxq => block_in_place(|| self.devices.rxqs()),
            Show::Rebalance => block_in_place(|| self.devices.show_rebalance())?,
            Show::Workers => block_in_place(|| report::workers(&self.devices)),
            Show::Health => self.watch.health().await.rows(),
            Show::Subscriptions => self.subscriptions.rows(),
            Show::GoalState => {
                let why = "a goal state is too long for one answer: ask with the call GoalState";
                return Err(ExecError::Failed(why.to_owned()));
            }
            Show::Config => return Ok(Output::Text(block_in_place(|| self.config()))),
            Show::Vpcs => self.goal_state(core::Show::Vpcs).await?,
            Show::Subnets => self.goal_state(core::Show::Subnets).await?,
            Show::Neighbors => self.goal_state(core::Show::Neighbors).await?,
            Show::Routes => self.goal_state(core::Show::Routes).await?,
            Show::SecurityGroups => self.goal_state(core::Show::SecurityGroups).await?,
            Show::Dhcp => self.goal_state(core::Show::Dhcp).await?,
            Show::Gateways => self.goal_state(core::Show::Gateways).await?,
            Show::Pending => self.goal_state(core::Show::Pending).await?,
            Show::Stale => self.goal_state(core::Show::Stale).await?,
            Show::Memory => {
                let mut rows = self.goal_state(core::Show::Memory).await?;
                let (in_use, free) = self.devices.buffers();
                let all = in_use + free;
                let buffers =
                    json!({ "table": "packet buffers", "entries": in_use, "capacity": all });
                rows.as_array_mut()
                    .into_iter()
                    .for_each(|rows| rows.push(buffers.clone()));
                rows
            }
            Show::Underlay => {
                let known = self.underlay.as_ref();
                known.map_or_else(|| Value::Array(Vec::new()), underlay::Known::rows)
            }
            Show::OnDemand => {
                let shared = self.on_demand.as_ref();
                let figures = shared.map(|shared| block_in_place(|| shared.figures()).row());
                figures.into_iter().collect()
            }
        };
        Ok(Output::Rows(rows))
    }

    async fn goal_state(&self, what: core::Show) -> Result<Value, ExecError> {
        self.core
            .show(what)
            .await
            .map_err(|Gone| ExecError::ShuttingDown)
    }

    /// The ports that a command is about.
    fn chosen(&self, ports: Ports) -> Vec<PortId> {
        match ports {
            Ports::All => self.devices.ids(),
            Ports::One(port) => vec![port],
        }
    }

    /// Rows for the ports that a command is about.
    fn each(
        &self,
        ports: Ports,
        row: impl Fn(PortId) -> Result<Value, DeviceError>,
    ) -> Result<Value, DeviceError> {
        let rows = || {
            let chosen = self.chosen(ports).into_iter();
            chosen
                .filter_map(|port| unless_gone(ports, row(port)))
                .collect()
        };
        block_in_place(rows)
    }

    /// Does something with each port that a command is about, until one refuses.
    fn all(
        &self,
        ports: Ports,
        act: impl Fn(PortId) -> Result<(), DeviceError>,
    ) -> Result<Output, ExecError> {
        let act = |port| unless_gone(ports, act(port)).unwrap_or(Ok(()));
        block_in_place(|| self.chosen(ports).into_iter().try_for_each(act))?;
        Ok(Output::Done)
    }

    /// The same with what devices have: `all` leaves subports out.
    fn all_devices(
        &self,
        ports: Ports,
        act: impl Fn(PortId) -> Result<(), DeviceError>,
    ) -> Result<Output, ExecError> {
        self.all(ports, |port| {
            match ports == Ports::All && self.devices.subport(port)?.is_some() {
                true => Ok(()),
                false => act(port),
            }
        })
    }

    /// The settings in force, as commands.
    fn config(&self) -> String {
        let settings = Settings {
            start: self.devices.workers().forwarding(),
            work: self.devices.workers().work(),
            log: *lock(&self.level),
            revisions: *lock(&self.revisions),
            replicated: lock(&self.replicated).clone(),
            ..self.settings.clone()
        };
        settings
            .with_ports(self.devices.settings())
            .commands()
            .iter()
            .map(|command| format!("{command}\n"))
            .collect()
    }
}

impl Executor for Operator {
    async fn audit(&self, position: Position) -> Result<(Position, Option<Part>), ExecError> {
        let part = self.core.audit(position).await;
        part.map_err(|Gone| ExecError::ShuttingDown)
    }

    async fn explain(&self, from: PortId, packet: Packet) -> Result<Explanation, ExecError> {
        block_in_place(|| self.devices.read(from, |_| ()))?;
        let links = block_in_place(|| self.links())?;
        let explained = self.core.explain(from, packet, links).await;
        let explained = explained.map_err(|Gone| ExecError::ShuttingDown)?;
        explained.map_err(|error| ExecError::Failed(error.to_string()))
    }

    fn capture(&self, wanted: &Wanted) -> Result<Session, ExecError> {
        let counters = self.devices.workers().counters();
        Session::begin(&self.captures, counters, wanted).ok_or_else(|| {
            ExecError::Failed("another client captures; one can at a time".to_owned())
        })
    }

    async fn sample(&self) -> SampleReply {
        self.watch.sample().await
    }

    fn port_names(&self) -> Vec<PortName> {
        let named = |port| {
            let attached_ns = self.devices.attached_ns(port); // before the rest, which may be of a later one
            let PortSettings { device, id, .. } = self.devices.port_settings(port).ok()?;
            Some(PortName {
                port,
                device: device.split(',').next().unwrap_or_default().to_owned(),
                binding: id.unwrap_or_default(),
                attached_ns,
            })
        };
        block_in_place(|| self.devices.ids().into_iter().filter_map(named).collect())
    }

    fn attached_ns(&self, port: PortId) -> u64 {
        self.devices.attached_ns(port)
    }

    async fn execute(&self, command: Command) -> Result<Output, ExecError> {
        // Devices are behind a lock that a starting port may hold for seconds: what touches them blocks in place.
        match command {
            Command::Show(show) => self.show(show).await,
            Command::ClearPortStats(ports) => self.all(ports, |port| self.devices.clear(port)),
            Command::Start => {
                self.devices.workers().start();
                Ok(Output::Done)
            }
            Command::Stop => {
                self.devices.workers().stop();
                Ok(Output::Done)
            }
            Command::PortAttach { device, late } => self.attach(device, late).await,
            Command::PortDetach(port) => self.detach(port).await,
            Command::PortConfig { ports, item, value } => {
                let value = u16::try_from(value)
                    .map_err(|_| ExecError::Failed(format!("{value} is too large")))?;
                self.all_devices(ports, |port| self.devices.size(port, item, value))
            }
            Command::TxOffload { ports, on } => {
                self.all_devices(ports, |port| self.devices.set_tx_offload(port, on))
            }
            Command::Affinity { ports, affinity } => {
                self.all_devices(ports, |port| self.devices.set_affinity(port, &affinity))
            }
            Command::Rebalance => {
                let rows = block_in_place(|| self.devices.rebalance())?;
                Ok(Output::Rows(rows))
            }
            Command::Set(Setting::Work(setting)) => {
                let workers = self.devices.workers();
                workers.change_work(|work| work.set(setting));
                Ok(Output::Done)
            }
            Command::PortStart(ports) => self.all(ports, |port| self.devices.start(port)),
            Command::PortStop(ports) => self.all(ports, |port| self.devices.stop(port)),
            Command::PortRule { ports, rule } => self.rule(ports, rule).await,
            Command::PortBind { port, id } => {
                block_in_place(|| self.devices.check_operators(port))?;
                let bound = self.core.bind(port, id.clone()).await;
                self.note_binding(port, Some(id), bound)
                    .map(|()| Output::Done)
            }
            Command::PortUnbind(port) => {
                block_in_place(|| self.devices.check_operators(port))?;
                let unbound = self.core.unbind(port).await;
                self.note_binding(port, None, unbound)
                    .map(|()| Output::Done)
            }
            Command::Set(Setting::Promisc { ports, on }) => {
                self.all_devices(ports, |port| self.devices.set_promiscuous(port, on))
            }
            Command::Set(Setting::Log(level)) => {
                log::set_level(level);
                *lock(&self.level) = level;
                Ok(Output::Done)
            }
            Command::Set(Setting::Revisions(revisions)) => {
                let set = self.core.set_revisions(revisions).await;
                set.map_err(|Gone| ExecError::ShuttingDown)?;
                *lock(&self.revisions) = revisions;
                Ok(Output::Done)
            }
            Command::Set(Setting::Replicate { subnet, rate }) => self.replicate(subnet, rate).await,
            Command::Quit => {
                let _ = self.quit.send(true);
                Ok(Output::Done)
            }
            other => Err(ExecError::Unsupported(other.to_string())),
        }
    }
}

/// Whoever held the lock and panicked left what it is about whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was asked of a port; `None`: it is one of all, and was detached since these were looked up.
fn unless_gone<T>(ports: Ports, asked: Result<T, DeviceError>) -> Option<Result<T, DeviceError>> {
    match asked {
        Err(DeviceError::Unknown(_)) if ports == Ports::All => None,
        asked => Some(asked),
    }
}

/// Whether it holds, though a worker may not see it yet.
fn holds(result: &Result<Result<(), core::NotDone>, Gone>) -> bool {
    matches!(result, Ok(Ok(()) | Err(core::NotDone::NotSeen)))
}

fn done(result: Result<Result<(), core::NotDone>, Gone>) -> Result<(), ExecError> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ExecError::Failed(error.to_string())),
        Err(Gone) => Err(ExecError::ShuttingDown),
    }
}
