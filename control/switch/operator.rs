// SPDX-License-Identifier: MIT
//! Executes operators' commands on the running switch.

mod ports;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::block_in_place;
use vswitch::counters;
use vswitch::dpdk::{Mbuf, tsc, tsc_hz};
use vswitch::tables::PortId;

use super::workers::Seat;
use super::{DeviceError, Devices, Switch};
use crate::audit::part::Part;
use crate::config::rule::PortRule;
use crate::config::{Command, Ports, Setting, Settings, Show};
use crate::core::{self, CoreHandle, Gone};
use crate::explain::{Explanation, Links, Packet};
use crate::northbound::{ExecError, Executor, Output};
use crate::ondemand::desk as on_demand;
use crate::southbound::subscribe::Subscriptions;
use crate::state::Revisions;
use crate::state::parts::Position;
use crate::underlay;

/// The running switch, for operators.
pub(crate) struct Operator {
    /// What it was started with; what operators changed since is with the devices and the core.
    settings: Settings,
    devices: Arc<Devices>,
    core: CoreHandle,
    /// As set last.
    revisions: Mutex<Revisions>,
    on_demand: Option<Arc<on_demand::Shared<Mbuf>>>,
    underlay: Option<underlay::Known>,
    subscriptions: Arc<Subscriptions>,
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
        subscriptions: Arc<Subscriptions>,
        quit: watch::Sender<bool>,
    ) -> Self {
        let (settings, devices) = (switch.settings.clone(), Arc::clone(&switch.devices));
        Self {
            revisions: Mutex::new(settings.revisions),
            settings,
            devices,
            core,
            on_demand,
            underlay,
            subscriptions,
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
            Show::Workers => block_in_place(|| self.show_workers()),
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
                let (in_use, all) = block_in_place(|| self.devices.buffers());
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
            revisions: *self
                .revisions
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
            ..self.settings.clone()
        };
        settings
            .with_ports(self.devices.settings())
            .commands()
            .iter()
            .map(|command| format!("{command}\n"))
            .collect()
    }

    /// Says what holds at guests' ports.
    async fn rule(&self, ports: Ports, rule: PortRule) -> Result<Output, ExecError> {
        let no_guests: Vec<_> = (self.settings.uplinks())
            .chain(self.settings.host_port)
            .collect();
        // What a worker does not see yet is done, and holds up no other port.
        let mut unseen = Ok(());
        for port in block_in_place(|| self.chosen(ports)) {
            if ports == Ports::All && no_guests.contains(&port) {
                continue;
            }
            let rules = block_in_place(|| self.devices.rules(port));
            let Some(mut rules) = unless_gone(ports, rules).transpose()? else {
                continue;
            };
            rule.apply(&mut rules);
            let ruled = self.core.set_rules(port, rules).await;
            if matches!(ruled, Ok(Ok(()) | Err(core::BindError::NotSeen))) {
                block_in_place(|| self.devices.note_rules(port, rules))?;
            }
            match ruled {
                Ok(Err(core::BindError::NotSeen)) => unseen = done(ruled),
                ruled => done(ruled)?,
            }
        }
        unseen.map(|()| Output::Done)
    }

    fn show_workers(&self) -> Value {
        let workers = self.devices.workers();
        let row = |(number, seat): (usize, &Arc<Seat>)| {
            let queues: Vec<_> = seat
                .queues()
                .iter()
                .map(|(port, queue)| format!("{}/{queue}", port.get()))
                .collect();
            let (idle, polls) = seat.counters.polls();
            let counters = std::slice::from_ref(&seat.counters);
            let rx: u64 = self
                .devices
                .ids()
                .into_iter()
                .map(|port| counters::total(counters, port).rx)
                .sum();
            json!({
                "worker": number,
                "core": seat.core,
                "forwarding": workers.forwarding(),
                "queues": queues.join(" "),
                "rx_packets": rx,
                "polls": polls,
                "idle_polls": idle,
                "tsc": tsc(),
                "tsc_hz": tsc_hz(self.devices.eal()),
            })
        };
        workers.seats().iter().enumerate().map(row).collect()
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
            Command::PortAttach { device, late } => self.attach(device, late),
            Command::PortDetach(port) => self.detach(port).await,
            Command::PortConfig { ports, item, value } => {
                let value = u16::try_from(value)
                    .map_err(|_| ExecError::Failed(format!("{value} is too large")))?;
                self.all_devices(ports, |port| self.devices.size(port, item, value))
            }
            Command::PortStart(ports) => self.all(ports, |port| self.devices.start(port)),
            Command::PortStop(ports) => self.all(ports, |port| self.devices.stop(port)),
            Command::PortRule { ports, rule } => self.rule(ports, rule).await,
            Command::PortBind { port, id } => {
                block_in_place(|| self.devices.check_operators(port))?;
                done(self.core.bind(port, id.clone()).await)?;
                Ok(self
                    .devices
                    .note_binding(port, Some(id))
                    .map(|()| Output::Done)?)
            }
            Command::PortUnbind(port) => {
                block_in_place(|| self.devices.check_operators(port))?;
                done(self.core.unbind(port).await)?;
                Ok(self
                    .devices
                    .note_binding(port, None)
                    .map(|()| Output::Done)?)
            }
            Command::Set(Setting::Promisc { ports, on }) => {
                self.all_devices(ports, |port| self.devices.set_promiscuous(port, on))
            }
            Command::Set(Setting::Revisions(revisions)) => {
                let set = self.core.set_revisions(revisions).await;
                set.map_err(|Gone| ExecError::ShuttingDown)?;
                *self
                    .revisions
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = revisions;
                Ok(Output::Done)
            }
            Command::Quit => {
                let _ = self.quit.send(true);
                Ok(Output::Done)
            }
            other => Err(ExecError::Unsupported(other.to_string())),
        }
    }
}

/// What was asked of a port; `None`: it is one of all, and was detached since these were looked up.
fn unless_gone<T>(ports: Ports, asked: Result<T, DeviceError>) -> Option<Result<T, DeviceError>> {
    match asked {
        Err(DeviceError::Unknown(_)) if ports == Ports::All => None,
        asked => Some(asked),
    }
}

fn done(result: Result<Result<(), core::BindError>, Gone>) -> Result<(), ExecError> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ExecError::Failed(error.to_string())),
        Err(Gone) => Err(ExecError::ShuttingDown),
    }
}
