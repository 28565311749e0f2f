// SPDX-License-Identifier: MIT
//! Executes operators' commands on the running switch.

mod rules;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::block_in_place;
use vswitch::counters::{self, PortTotals};
use vswitch::dpdk::{Mbuf, PortStats};
use vswitch::tables::PortId;

use super::{DeviceError, Devices, Switch, Totals, report};
use crate::audit::part::Part;
use crate::config::{Command, PortSettings, Ports, Setting, Settings, Show};
use crate::core::{self, CoreHandle, Gone, Replicated};
use crate::explain::{Explanation, Links, Packet};
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
    revisions: Mutex<Revisions>,
    /// Likewise.
    replicated: Mutex<Replicated>,
    on_demand: Option<Arc<on_demand::Shared<Mbuf>>>,
    underlay: Option<underlay::Known>,
    watch: Arc<Watch>,
    subscriptions: Arc<Subscriptions>,
    /// What `clear port stats` takes for zero: counters themselves never go back, since workers own them.
    zero: Mutex<HashMap<PortId, (PortTotals, PortStats)>>,
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
            revisions: Mutex::new(settings.revisions),
            replicated: Mutex::new(settings.replicated.clone()),
            settings,
            devices,
            core,
            on_demand,
            underlay,
            watch,
            subscriptions,
            zero: Mutex::default(),
            quit,
        }
    }

    /// The workers' links and limits, see [`super::workers`].
    fn links(&self) -> Result<Links, DeviceError> {
        let (mut limits, mut started) = (self.settings.limits(), Vec::new());
        for port in self.devices.ids() {
            limits.set_mtu(port, self.devices.mtu(port)?);
            if self.devices.is_started(port)? {
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
            Show::PortStats(ports) => self.each(ports, |port| Ok(self.totals(port)?.row()))?,
            Show::Stats => self.each(Ports::All, |port| Ok(self.totals(port)?.row()))?,
            Show::Drops => {
                let drops =
                    self.each(Ports::All, |port| Ok(self.totals(port)?.drops().collect()))?;
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
            Show::Memory => self.goal_state(core::Show::Memory).await?,
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
        block_in_place(|| self.chosen(ports).into_iter().map(row).collect())
    }

    /// Does something with each port that a command is about, until one refuses.
    fn all(
        &self,
        ports: Ports,
        act: impl Fn(PortId) -> Result<(), DeviceError>,
    ) -> Result<Output, ExecError> {
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

    /// A port's counters since they were cleared.
    fn totals(&self, port: PortId) -> Result<Totals, DeviceError> {
        let (mut switch, mut device) = self.raw(port)?;
        if let Some((zero, device_zero)) = lock(&self.zero).get(&port) {
            switch = switch.since(zero);
            device = report::since(&device, device_zero);
        }
        Ok(Totals {
            port,
            switch,
            device,
        })
    }

    fn raw(&self, port: PortId) -> Result<(PortTotals, PortStats), DeviceError> {
        let device = self.devices.stats(port)?;
        Ok((
            counters::total(&self.devices.workers().counters(), port),
            device,
        ))
    }

    fn clear(&self, port: PortId) -> Result<(), DeviceError> {
        let now = self.raw(port)?;
        lock(&self.zero).insert(port, now);
        Ok(())
    }

    /// A port's device, with the MTU that counts.
    fn info(&self, port: PortId) -> Result<Value, DeviceError> {
        let mtu = self.devices.mtu(port)?;
        let subport = self.devices.subport(port)?;
        let mut row = (self.devices).read(port, |device| report::info(port, device, mtu))?;
        if let Some(subport) = subport {
            report::make_subport(&mut row, subport, self.devices.is_started(port)?);
        }
        Ok(row)
    }

    /// The settings in force, as commands.
    fn config(&self) -> String {
        let settings = Settings {
            ports: self.devices.settings(),
            start: self.devices.workers().forwarding(),
            revisions: *lock(&self.revisions),
            replicated: lock(&self.replicated).clone(),
            ..self.settings.clone()
        };
        settings
            .commands()
            .iter()
            .map(|command| format!("{command}\n"))
            .collect()
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
        let rows = self.each(Ports::All, |port| {
            let info = self.info(port)?;
            let row = described(&info["port"]).unwrap_or(&Value::Null);
            let role = self.settings.role(port);
            let guest = role == "tenant";
            let out = self.underlay.as_ref().is_some_and(|it| it.is_out(port));
            let other = if out { "not used: no link" } else { "ready" };
            let rules = self.devices.rules(port)?;
            let guarded = rules.anti_spoofing.unwrap_or(self.settings.anti_spoofing);
            let state = row
                .get("state")
                .cloned()
                .unwrap_or_else(|| "unbound".into());
            Ok(json!({
                "port": info["port"],
                "device": info["device"],
                "link": info["link"],
                "role": role,
                "mac": if guest { &row["mac"] } else { &info["mac"] },
                "mtu": if guest { report::least(&row["mtu"], &info["mtu"]) } else { &info["mtu"] },
                "addresses": row["addresses"],
                "id": row["id"],
                "vlan": guest.then_some(if rules.takes_tags { "pass" } else { "drop" }),
                "anti_spoofing": guest.then_some(if guarded { "on" } else { "off" }),
                "state": if guest { state } else { other.into() },
                "dhcp": row["dhcp"],
                "dhcpv6": row["dhcpv6"],
            }))
        });
        Ok(rows?)
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
            Command::ClearPortStats(ports) => self.all(ports, |port| self.clear(port)),
            Command::Start => {
                self.devices.workers().start();
                Ok(Output::Done)
            }
            Command::Stop => {
                self.devices.workers().stop();
                Ok(Output::Done)
            }
            Command::PortAttach(device) => {
                let settings = PortSettings {
                    device,
                    ..PortSettings::default()
                };
                let port = block_in_place(|| self.devices.attach(settings))?;
                Ok(Output::Text(format!("port {}, stopped\n", port.get())))
            }
            Command::PortConfig { ports, item, value } => {
                let value = u16::try_from(value)
                    .map_err(|_| ExecError::Failed(format!("{value} is too large")))?;
                self.all_devices(ports, |port| self.devices.size(port, item, value))
            }
            Command::TxOffload { ports, on } => {
                self.all_devices(ports, |port| self.devices.set_tx_offload(port, on))
            }
            Command::PortStart(ports) => self.all(ports, |port| self.devices.start(port)),
            Command::PortStop(ports) => self.all(ports, |port| self.devices.stop(port)),
            Command::PortRule { ports, rule } => self.rule(ports, rule).await,
            Command::PortBind { port, id } => {
                block_in_place(|| self.devices.read(port, |_| ()))?;
                done(self.core.bind(port, id.clone()).await)?;
                Ok(self
                    .devices
                    .note_binding(port, Some(id))
                    .map(|()| Output::Done)?)
            }
            Command::PortUnbind(port) => {
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

fn done(result: Result<Result<(), core::BindError>, Gone>) -> Result<(), ExecError> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ExecError::Failed(error.to_string())),
        Err(Gone) => Err(ExecError::ShuttingDown),
    }
}
