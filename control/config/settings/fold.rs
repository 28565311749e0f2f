// SPDX-License-Identifier: MIT
//! Folds a start-up file's commands into [`Settings`]. Finds all contradictions, each with the lines concerned.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use vswitch::tables::{MAX_PORTS, MAX_UPLINKS, PortId};

use super::super::command::{Command, Ports, Setting};
use super::super::error::{ConfigError, ConfigErrors, Note};
use super::super::line::{Line, Place};
use super::super::subport::{SubportError, next_subport};
use super::{Conflict, PortSettings, Settings, Vtep, vxlan};
use crate::families::Families;

impl Settings {
    /// The settings that `commands`, in their order, make.
    ///
    /// # Errors
    /// All contradictions among them.
    #[cfg(test)]
    pub(crate) fn from_commands(commands: &[(Line, Command)]) -> Result<Self, ConfigErrors> {
        Self::default().with_commands(commands)
    }

    /// These settings, changed by `commands` in their order.
    ///
    /// # Errors
    /// All contradictions among them.
    pub(crate) fn with_commands(self, commands: &[(Line, Command)]) -> Result<Self, ConfigErrors> {
        let mut fold = Fold {
            settings: self,
            ..Fold::default()
        };
        for (line, command) in commands {
            fold.command(line, command);
        }
        fold.check();
        if fold.errors.is_empty() {
            return Ok(fold.settings);
        }
        let order: HashMap<_, _> = commands
            .iter()
            .enumerate()
            .map(|(i, (line, _))| (line.key(), i))
            .collect();
        let mut errors = fold.errors;
        errors.sort_by_key(|error| {
            error
                .place
                .as_ref()
                .and_then(|place| order.get(&place.line.key()))
        });
        let name = commands
            .first()
            .map_or("the configuration", |(line, _)| line.source_name())
            .to_owned();
        Err(ConfigErrors { name, errors })
    }
}

/// What is said once at most: the line that said it, by what it is about.
type Said<'a> = HashMap<String, &'a Line>;

/// Commands as far as they are folded.
#[derive(Default)]
pub(super) struct Fold<'a> {
    /// What they make.
    pub(super) settings: Settings,
    said: Said<'a>,
    /// `set nbcore`.
    pub(super) workers: Option<u16>,
    /// `set underlay gateway`: a line each.
    pub(super) gateways: Vec<&'a Line>,
    errors: Vec<ConfigError>,
}

impl<'a> Fold<'a> {
    /// Takes down an error at `line`, and lines that have to do with it.
    pub(super) fn error(
        &mut self,
        line: Option<&Line>,
        conflict: Conflict,
        notes: &[(Option<&Line>, &'static str)],
    ) {
        let note = |(line, text): &(Option<&Line>, &'static str)| {
            line.map(|line| Note {
                place: Place::whole(line),
                text,
            })
        };
        let notes = notes.iter().filter_map(note).collect();
        self.errors.push(ConfigError {
            place: line.map(Place::whole),
            fault: conflict.into(),
            notes,
        });
    }

    /// Takes down that `what` is said by `line`; an error if it was said before.
    pub(super) fn once(&mut self, line: &'a Line, what: impl Into<String>) {
        let what = what.into();
        match self.said.get(&what).copied() {
            Some(first) => self.error(
                Some(line),
                Conflict::Twice(what),
                &[(Some(first), "first here")],
            ),
            None => {
                self.said.insert(what, line);
            }
        }
    }

    /// The line that said `what`.
    pub(super) fn line(&self, what: &str) -> Option<&'a Line> {
        self.said.get(what).copied()
    }

    fn command(&mut self, line: &'a Line, command: &Command) {
        match command {
            Command::Eal(args) => self.eal(line, args),
            Command::PortAttach { device, late } => self.attach(line, device, *late),
            Command::PortConfig { ports, item, value } => {
                self.once(line, format!("port config {ports} {}", item.word()));
                // The grammar's ranges end below 65536.
                let value = u16::try_from(*value).unwrap_or(u16::MAX);
                self.each_device(line, *ports, |port| *port.item(*item) = Some(value));
            }
            Command::TxOffload { ports, on } => {
                self.once(line, format!("port config {ports} tx-offload"));
                self.each_device(line, *ports, |port| port.tx_offload = Some(*on));
            }
            Command::Affinity { ports, affinity } => {
                self.once(line, format!("port config {ports} rxq-affinity"));
                self.each_device(line, *ports, |port| port.affinity = affinity.clone());
            }
            Command::PortRule { ports, rule } => {
                self.once(line, format!("port config {ports} {}", rule.word()));
                self.each_port(line, *ports, |port| rule.apply(&mut port.rules));
            }
            Command::PortBind { port, id } => {
                self.once(line, format!("port bind {}", port.get()));
                if let Some(first) = self.said.insert(format!("bound to {id}"), line) {
                    self.error(
                        Some(line),
                        Conflict::SameId(id.clone()),
                        &[(Some(first), "first here")],
                    );
                }
                self.each_port(line, Ports::One(*port), |port| port.id = Some(id.clone()));
            }
            Command::Set(setting) => self.set(line, setting),
            Command::Start => {
                self.once(line, "start");
                self.settings.start = true;
            }
            other => self.error(Some(line), Conflict::NotAtStart(other.to_string()), &[]),
        }
    }

    fn eal(&mut self, line: &Line, args: &[String]) {
        let adds_port = |arg: &&String| {
            let name = arg.split('=').next().unwrap_or_default();
            // EAL takes the beginning of a long option for the option.
            let begins = |option: &str| name.len() >= 4 && option.starts_with(name);
            arg.starts_with("-a") || begins("--allow") || begins("--vdev")
        };
        if let Some(arg) = args.iter().find(adds_port) {
            self.error(Some(line), Conflict::DeviceInEal(arg.clone()), &[]);
        }
        self.settings.eal.extend_from_slice(args);
    }

    fn attach(&mut self, line: &'a Line, device: &str, late: bool) {
        let name = device.split(',').next().unwrap_or(device);
        let key = format!("port attach {name}");
        if let Some(first) = self.said.insert(key, line) {
            self.error(
                Some(line),
                Conflict::SameDevice(name.to_owned()),
                &[(Some(first), "first here")],
            );
        }
        if let Err(error) = next_subport(device, self.settings.ports_by_number(), &[]) {
            self.error(Some(line), error.into(), &[]); // its number is taken all the same
        }
        if self.settings.ports.len() == MAX_PORTS {
            return self.error(Some(line), Conflict::TooManyPorts, &[]);
        }
        self.settings.ports.push(PortSettings {
            device: device.to_owned(),
            late,
            ..PortSettings::default()
        });
    }

    /// Changes the ports that `line` names; an error if there are none.
    fn each_port(&mut self, line: &Line, ports: Ports, mut change: impl FnMut(&mut PortSettings)) {
        let attached = self.settings.ports.len();
        match ports {
            Ports::All if attached == 0 => self.error(Some(line), Conflict::NoPorts, &[]),
            Ports::All => self.settings.ports.iter_mut().for_each(change),
            Ports::One(port) => match self.settings.ports.get_mut(port.index()) {
                Some(port) => change(port),
                None => self.error(
                    Some(line),
                    Conflict::NoSuchPort {
                        port: port.get(),
                        attached,
                    },
                    &[],
                ),
            },
        }
    }

    /// The same for what only devices have: `all` leaves subports out, and to name one is an error.
    fn each_device(
        &mut self,
        line: &Line,
        ports: Ports,
        mut change: impl FnMut(&mut PortSettings),
    ) {
        let mut none = None;
        self.each_port(line, ports, |port| match (port.subport(), ports) {
            (None, _) => change(port),
            (Some(subport), Ports::One(port)) => {
                let port = port.get();
                none = Some(SubportError::NoDevice { port, subport });
            }
            (Some(_), Ports::All) => {}
        });
        if let Some(error) = none {
            self.error(Some(line), error.into(), &[]);
        }
    }

    fn set(&mut self, line: &'a Line, setting: &Setting) {
        match setting {
            Setting::UnderlayNeighbor { ip, .. } => {
                self.once(line, format!("set underlay neighbor {ip}"))
            }
            Setting::Promisc { ports, .. } => self.once(line, format!("set promisc {ports}")),
            Setting::OnDemand(item) => self.once(line, format!("set on-demand{}", item.word())),
            Setting::Vxlan(item) => self.once(line, format!("set vxlan {}", item.word())),
            Setting::Work(item) => self.once(line, format!("set {}", item.words())),
            Setting::Replicate { subnet, rate } => {
                return self.replicate(line, subnet.as_deref(), *rate);
            }
            Setting::Vtep { address, port } => return self.vtep(line, *address, *port),
            Setting::UnderlayGateway(_) => self.gateways.push(line),
            other => self.once(line, key(other)),
        }
        let settings = &mut self.settings;
        match setting {
            Setting::Nbcore(n) => self.workers = Some(*n),
            Setting::Corelist(cores) => settings.corelist = Some(cores.clone()),
            Setting::Burst(n) => settings.burst = *n,
            Setting::Work(item) => settings.work.set(*item),
            Setting::Portlist(ports) => {
                settings.portlist = Some(ports.clone());
                ports
                    .iter()
                    .for_each(|&port| self.each_device(line, Ports::One(port), |_| ()));
            }
            Setting::Promisc { ports, on } => {
                self.each_device(line, *ports, |port| port.promisc = Some(*on))
            }
            Setting::HostPort(port) => {
                settings.host_port = Some(*port);
                self.each_port(line, Ports::One(*port), |_| ());
            }
            Setting::UnderlayNeighbor { ip, mac } => {
                settings.underlay_neighbors.insert(*ip, *mac);
            }
            Setting::UnderlayGateway(gateway) => {
                settings.underlay_gateways.push(*gateway);
            }
            Setting::Vxlan(item) => vxlan::set(&mut settings.tunnel, *item),
            Setting::Southbound(address) => settings.southbound = *address,
            Setting::Revisions(revisions) => settings.revisions = *revisions,
            Setting::Ncm(address) => settings.on_demand.ncm = Some(*address),
            Setting::NcmSource(address) => settings.on_demand.source = Some(*address),
            Setting::OnDemand(item) => settings.on_demand.set(*item),
            Setting::SouthboundTls(tls) => settings.southbound_tls = Some(tls.clone()),
            Setting::Subscribe(address) => settings.subscribe = *address,
            Setting::NcmTls(tls) => settings.ncm_tls = Some(tls.clone()),
            Setting::GoalStateWatch(path) => settings.goal_state = Some(path.clone()),
            Setting::MetricsLog(on) => settings.metrics_log = *on,
            Setting::Metrics(address) => settings.metrics = *address,
            Setting::Fragment(on) => settings.fragment = *on,
            Setting::ClampMss(on) => settings.clamp_mss = *on,
            Setting::AntiSpoofing(on) => settings.anti_spoofing = *on,
            Setting::ControlSocket(path) => settings.control_socket = Some(path.clone()),
            Setting::Store(path) => settings.store = Some(path.clone()),
            Setting::Resync(seconds) => settings.resync = *seconds,
            Setting::NeighborsCapacity(n) => settings.neighbors_capacity = *n,
            Setting::NeighborsReserve(n) => settings.neighbors_reserve = *n,
            Setting::Mbufs(n) => settings.mbufs = *n,
            Setting::Log(level) => settings.log = *level,
            Setting::LogFormat(format) => settings.log_format = *format,
            Setting::VportTemplate(text) => match text.parse() {
                Ok(template) => settings.vports = Some(template),
                Err(error) => self.error(Some(line), Conflict::Template(error), &[]),
            },
            Setting::Vtep { .. } | Setting::Replicate { .. } => {}
        }
    }

    fn vtep(&mut self, line: &'a Line, address: IpNet, port: PortId) {
        let (ip, first) = (address.addr(), self.uplink_line());
        let key = vtep_key(ip, port);
        let vteps = &self.settings.vteps;
        if vteps.len() == MAX_UPLINKS && vteps.iter().all(|vtep| vtep.port != port) {
            let notes = [(first, "the first uplink")];
            return self.error(Some(line), Conflict::TooManyUplinks, &notes);
        }
        let elsewhere = self.vtep_line(ip).filter(|_| !self.said.contains_key(&key));
        if elsewhere.is_some() {
            let notes = [(elsewhere, "the tunnel endpoint")];
            self.error(Some(line), Conflict::OwnAddress(ip), &notes);
        }
        if let Some(&first) = self.said.get(&key) {
            let what = match ip {
                IpAddr::V4(_) => "set vtep",
                IpAddr::V6(_) => "set vtep IPV6/LEN",
            };
            let notes = [(Some(first), "first here")];
            self.error(Some(line), Conflict::Twice(what.to_owned()), &notes);
        } else {
            self.said.insert(key, line);
        }
        if !is_a_hosts(address) {
            self.error(Some(line), Conflict::NotAHost(address), &[]);
        }
        let vteps = &mut self.settings.vteps;
        let at = vteps.iter().position(|vtep| vtep.port == port);
        let at = at.unwrap_or_else(|| {
            let addresses = Families::default();
            vteps.push(Vtep { addresses, port });
            vteps.len() - 1
        });
        *vteps[at].addresses.place_like(ip) = Some(address);
        self.each_port(line, Ports::One(port), |_| ());
    }

    /// The line that named the first uplink.
    pub(super) fn uplink_line(&self) -> Option<&'a Line> {
        self.uplink_line_of(self.settings.vteps.first()?)
    }

    /// The line that named an uplink.
    pub(super) fn uplink_line_of(&self, vtep: &Vtep) -> Option<&'a Line> {
        let mut addresses = vtep.addresses.iter();
        addresses.find_map(|own| self.line(&vtep_key(own.addr(), vtep.port)))
    }

    /// The line that said this host's address.
    pub(super) fn vtep_line(&self, ip: IpAddr) -> Option<&'a Line> {
        let has = |vtep: &&Vtep| vtep.addresses.like(ip).is_some_and(|own| own.addr() == ip);
        let vtep = self.settings.vteps.iter().find(has)?;
        self.line(&vtep_key(ip, vtep.port))
    }
}

/// False for the address of the link itself, which routers have in IPv6, and for the broadcast's. On a link of two addresses
/// or one each is a host's.
fn is_a_hosts(address: IpNet) -> bool {
    let long = address.max_prefix_len() - address.prefix_len() < 2;
    let is_all = address.addr().is_ipv4() && address.addr() == address.broadcast();
    long || address.addr() != address.network() && !is_all
}

/// What says the address like `ip` of this host's uplink: one of each version of IP.
fn vtep_key(ip: IpAddr, port: PortId) -> String {
    let version = if ip.is_ipv4() { 4 } else { 6 };
    format!("set vtep IPv{version} port {}", port.get())
}

/// What names a router like `ip`.
pub(super) const fn gateway_key(ip: IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(_) => "set underlay gateway",
        IpAddr::V6(_) => "set underlay gateway IPV6",
    }
}

/// The words of a setting before its value.
fn key(setting: &Setting) -> &'static str {
    match setting {
        Setting::Nbcore(_) => "set nbcore",
        Setting::Corelist(_) => "set corelist",
        Setting::Burst(_) => "set burst",
        Setting::Work(_) => "set",
        Setting::Portlist(_) => "set portlist",
        Setting::Promisc { .. } => "set promisc",
        Setting::Vtep { .. } => "set vtep",
        Setting::HostPort(_) => "set host port",
        Setting::UnderlayNeighbor { .. } => "set underlay neighbor",
        Setting::UnderlayGateway(_) => "set underlay gateway",
        Setting::Vxlan(_) => "set vxlan",
        Setting::Southbound(_) => "set southbound",
        Setting::Revisions(_) => "set revisions",
        Setting::Ncm(_) => "set ncm",
        Setting::NcmSource(_) => "set ncm source",
        Setting::OnDemand(_) => "set on-demand",
        Setting::SouthboundTls(_) => "set southbound tls",
        Setting::Subscribe(_) => "set subscribe",
        Setting::NcmTls(_) => "set ncm tls",
        Setting::GoalStateWatch(_) => "set goal-state watch",
        Setting::MetricsLog(_) => "set metrics-log",
        Setting::Metrics(_) => "set metrics",
        Setting::Replicate { .. } => "set replicate subnet",
        Setting::Fragment(_) => "set fragment",
        Setting::ClampMss(_) => "set clamp-mss",
        Setting::AntiSpoofing(_) => "set anti-spoofing",
        Setting::ControlSocket(_) => "set control socket",
        Setting::Store(_) => "set store",
        Setting::Resync(_) => "set resync",
        Setting::NeighborsCapacity(_) => "set neighbors capacity",
        Setting::NeighborsReserve(_) => "set neighbors reserve",
        Setting::Mbufs(_) => "set mbufs",
        Setting::Log(_) => "set log",
        Setting::LogFormat(_) => "set log format",
        Setting::VportTemplate(_) => "set vport template",
    }
}
