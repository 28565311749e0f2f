// SPDX-License-Identifier: MIT
//! A command as a value. What words make it is in [`super::table`]; `Display` writes those words again.

mod items;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use vswitch::tables::PortId;
use vswitch::wire::Mac;

use super::affinity::Affinity;
use super::gateway::Gateway;
use super::lexer::quoted;
use super::log::{Level, LogFormat};
use super::rule::PortRule;
use super::work::WorkSetting;
use crate::state::Revisions;
pub(crate) use items::{OnDemandSetting, VxlanSetting};

/// The ports that a command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ports {
    /// One.
    One(PortId),
    /// All that are attached.
    All,
}

/// What `port config` changes on a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum PortItem {
    /// Receive queues.
    Rxq,
    /// Transmit queues.
    Txq,
    /// Descriptors of each receive queue.
    Rxd,
    /// Descriptors of each transmit queue.
    Txd,
    /// Largest packet, in bytes, without the Ethernet header.
    Mtu,
}

/// What `set` sets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Setting {
    /// Number of workers.
    Nbcore(u16),
    /// The CPU cores that workers run on, one each, in this order.
    Corelist(Vec<u16>),
    /// Packets taken from a queue at once, 1 to [`vswitch::io::MAX_BURST`].
    Burst(u16),
    /// How workers work.
    Work(WorkSetting),
    /// The ports that forward.
    Portlist(Vec<PortId>),
    /// Whether ports receive frames for other stations.
    Promisc {
        /// Which ports.
        ports: Ports,
        /// On or off.
        on: bool,
    },
    /// This host's address in the underlay and the port that has it.
    Vtep {
        /// The address (host bits kept) and the prefix length of its link.
        address: IpNet,
        /// The uplink.
        port: PortId,
    },
    /// The port towards the host's own network stack.
    HostPort(PortId),
    /// The MAC of another host on the underlay.
    UnderlayNeighbor {
        /// Its address.
        ip: IpAddr,
        /// Its MAC.
        mac: Mac,
    },
    /// The router of the underlay.
    UnderlayGateway(Gateway),
    /// What outer headers have besides addresses.
    Vxlan(VxlanSetting),
    /// Where the controller's goal states arrive; `None` is off.
    Southbound(Option<SocketAddr>),
    /// What becomes of a resource whose revision goes back.
    Revisions(Revisions),
    /// Where the controller is asked (NCM).
    Ncm(SocketAddr),
    /// The address to ask from.
    NcmSource(IpAddr),
    /// How it is asked.
    OnDemand(OnDemandSetting),
    /// Who may call the southbound servers.
    SouthboundTls(ServerTls),
    /// Where the controller says which topics to listen to; `None` is off.
    Subscribe(Option<SocketAddr>),
    /// How the network configuration manager is talked to.
    NcmTls(ClientTls),
    /// A file or folder of goal states.
    GoalStateWatch(PathBuf),
    /// Whether the log has the agent's `[METRICS]` lines.
    MetricsLog(bool),
    /// Where figures and health are told; `None` is off.
    Metrics(Option<SocketAddr>),
    /// `set anti-spoofing`.
    AntiSpoofing(bool),
    /// Whether broadcast and multicast of a subnet are copied to all.
    Replicate {
        /// The subnet's id; `None`: all of which nothing is said.
        subnet: Option<String>,
        /// Frames per second; `None`: off.
        rate: Option<u32>,
    },
    /// Whether packets that are too long are fragmented.
    Fragment(bool),
    /// Whether TCP connections are told to send segments that fit.
    ClampMss(bool),
    /// Where `alkaid exec` and `alkaid console` reach this switch.
    ControlSocket(PathBuf),
    /// The file that keeps goal states across a restart.
    Store(PathBuf),
    /// Seconds after a restart until what was not said again is deleted; 0: never.
    Resync(u32),
    /// Most neighbors.
    NeighborsCapacity(u32),
    /// Neighbors whose memory is taken at start.
    NeighborsReserve(u32),
    /// Packet buffers.
    Mbufs(u32),
    /// The device of each port that the controller describes, see [`super::vport`].
    VportTemplate(String),
    /// How much is logged.
    Log(Level),
    /// What the log's lines look like.
    LogFormat(LogFormat),
}

/// One side's certificate, and who vouches for the other side's. All are PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TlsFiles {
    /// This side's certificate, with those between it and the authority's.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// The authorities that the other side's certificate may be of.
    pub(crate) ca: PathBuf,
}

/// Mutual TLS of the southbound servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ServerTls {
    /// The files.
    pub(crate) files: TlsFiles,
    /// Names of callers; empty: whoever has a certificate of the authority.
    pub(crate) allow: Vec<String>,
}

/// Mutual TLS towards a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClientTls {
    /// The files.
    pub(crate) files: TlsFiles,
    /// The name in the server's certificate; `None`: its address.
    pub(crate) name: Option<String>,
}

/// What `show` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Show {
    /// `show port info`: driver, link, queues, offloads.
    PortInfo(Ports),
    /// `show port stats`: packets, bytes, errors of the port.
    PortStats(Ports),
    /// Every port, its role and what is bound to it.
    Ports,
    /// All ports' packets, rates and drops.
    Stats,
    /// The controller's VPCs.
    Vpcs,
    /// The controller's subnets.
    Subnets,
    /// The controller's neighbors.
    Neighbors,
    /// The routes of each subnet.
    Routes,
    /// All that the controller wants, in its own shape, and whether it is programmed.
    GoalState,
    /// Dropped packets by port and reason.
    Drops,
    /// The controller's security groups.
    SecurityGroups,
    /// What the controller has ports told by DHCP.
    Dhcp,
    /// The controller's gateways.
    Gateways,
    /// Resources of the controller that wait for another one.
    Pending,
    /// `show stale`: what the controller has not sent since the restart.
    Stale,
    /// Bytes that the tables hold.
    Memory,
    /// Hosts and routers of the underlay that are asked for their MAC.
    Underlay,
    /// What the controller is asked for.
    OnDemand,
    /// Each worker: its core, its queues, how busy it is.
    Workers,
    /// Every rx queue, who polls it, and what it takes.
    Rxq,
    /// What `rebalance` would do.
    Rebalance,
    /// Whether the switch does what it is for, and why not.
    Health,
    /// The topics that the controller subscribed this host to.
    Subscriptions,
    /// The settings in force, as commands.
    Config,
}

/// One command of the configuration language.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// Arguments for DPDK's environment (EAL).
    Eal(Vec<String>),
    /// Adds the port of a device.
    PortAttach {
        /// The device, with its arguments, or a subport.
        device: String,
        /// It may not be there yet.
        late: bool,
    },
    /// Gives a port's device and number back.
    PortDetach(PortId),
    /// Sizes a port's queues or frames.
    PortConfig {
        /// Which ports.
        ports: Ports,
        /// What.
        item: PortItem,
        /// To which value.
        value: u32,
    },
    /// Says whether checksums and segments are left to a port's device.
    TxOffload {
        /// Which ports.
        ports: Ports,
        /// They are.
        on: bool,
    },
    /// Says which workers poll ports' rx queues.
    Affinity {
        /// Which ports.
        ports: Ports,
        /// Which cores' workers.
        affinity: Affinity,
    },
    /// Spreads rx queues over workers by what they take.
    Rebalance,
    /// Says what holds at a guest's port.
    PortRule {
        /// Which ports.
        ports: Ports,
        /// What.
        rule: PortRule,
    },
    /// Says which of the controller's ports a port is.
    PortBind {
        /// The port.
        port: PortId,
        /// The controller's id of it (PortConfiguration.id).
        id: String,
    },
    /// Takes that back.
    PortUnbind(PortId),
    /// Starts ports.
    PortStart(Ports),
    /// Stops ports.
    PortStop(Ports),
    /// Sets something.
    Set(Setting),
    /// Starts forwarding.
    Start,
    /// Stops forwarding.
    Stop,
    /// Shows something.
    Show(Show),
    /// Counts a port's statistics from zero.
    ClearPortStats(Ports),
    /// Executes the commands of a file.
    Load(PathBuf),
    /// Explains the commands that begin with these words; all, without a word.
    Help(Vec<String>),
    /// Ends the program.
    Quit,
}

impl PortItem {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Rxq => "rxq",
            Self::Txq => "txq",
            Self::Rxd => "rxd",
            Self::Txd => "txd",
            Self::Mtu => "mtu",
        }
    }
}

/// A switch, as it is said.
pub(super) const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(port) => port.get().fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

/// Writes `items` as the grammar's lists are: with commas and no space.
fn list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
) -> fmt::Result {
    for (i, item) in items.enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { "," })?;
    }
    Ok(())
}

impl fmt::Display for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [cert, key, ca] = [&self.cert, &self.key, &self.ca].map(|path| path.to_string_lossy());
        write!(
            f,
            "cert {} key {} ca {}",
            quoted(&cert),
            quoted(&key),
            quoted(&ca)
        )
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nbcore(n) => write!(f, "nbcore {n}"),
            Self::Corelist(cores) => f
                .write_str("corelist ")
                .and_then(|()| list(f, cores.iter())),
            Self::Burst(n) => write!(f, "burst {n}"),
            Self::Work(item) => item.fmt(f),
            Self::Portlist(ports) => f
                .write_str("portlist ")
                .and_then(|()| list(f, ports.iter().map(|p| p.get()))),
            Self::Promisc { ports, on } => {
                write!(f, "promisc {ports} {}", on_off(*on))
            }
            Self::Vtep { address, port } => write!(f, "vtep {address} port {}", port.get()),
            Self::HostPort(port) => write!(f, "host port {}", port.get()),
            Self::UnderlayNeighbor { ip, mac } => write!(f, "underlay neighbor {ip} {mac}"),
            Self::UnderlayGateway(gateway) => write!(f, "underlay gateway {gateway}"),
            Self::Vxlan(item) => write!(f, "vxlan {item}"),
            Self::Southbound(Some(address)) => write!(f, "southbound listen {address}"),
            Self::Southbound(None) => f.write_str("southbound off"),
            Self::Revisions(Revisions::Check) => f.write_str("revisions check"),
            Self::Revisions(Revisions::Ignore) => f.write_str("revisions ignore"),
            Self::Ncm(address) => write!(f, "ncm {address}"),
            Self::NcmSource(address) => write!(f, "ncm source {address}"),
            Self::OnDemand(item) => write!(f, "on-demand{item}"),
            Self::SouthboundTls(ServerTls { files, allow }) => {
                write!(f, "southbound tls {files}")?;
                match allow.is_empty() {
                    true => Ok(()),
                    false => write!(f, " allow {}", quoted(&allow.join(","))),
                }
            }
            Self::Subscribe(Some(address)) => write!(f, "subscribe listen {address}"),
            Self::Subscribe(None) => f.write_str("subscribe off"),
            Self::NcmTls(ClientTls { files, name }) => {
                write!(f, "ncm tls {files}")?;
                name.iter()
                    .try_for_each(|name| write!(f, " name {}", quoted(name)))
            }
            Self::GoalStateWatch(path) => {
                write!(f, "goal-state watch {}", quoted(&path.to_string_lossy()))
            }
            Self::AntiSpoofing(on) => {
                write!(f, "anti-spoofing {}", on_off(*on))
            }
            Self::Replicate { subnet, rate } => {
                let subnet = subnet.as_deref().map_or("all".into(), quoted);
                write!(f, "replicate subnet {subnet} ")?;
                match rate {
                    Some(rate) => write!(f, "on rate {rate}"),
                    None => f.write_str("off"),
                }
            }
            Self::Fragment(on) => write!(f, "fragment {}", on_off(*on)),
            Self::ClampMss(on) => write!(f, "clamp-mss {}", on_off(*on)),
            Self::MetricsLog(on) => write!(f, "metrics-log {}", on_off(*on)),
            Self::Metrics(Some(address)) => write!(f, "metrics listen {address}"),
            Self::Metrics(None) => f.write_str("metrics off"),
            Self::ControlSocket(path) => {
                write!(f, "control socket {}", quoted(&path.to_string_lossy()))
            }
            Self::Store(path) => write!(f, "store {}", quoted(&path.to_string_lossy())),
            Self::Resync(seconds) => write!(f, "resync {seconds}"),
            Self::NeighborsCapacity(n) => write!(f, "neighbors capacity {n}"),
            Self::NeighborsReserve(n) => write!(f, "neighbors reserve {n}"),
            Self::Mbufs(n) => write!(f, "mbufs {n}"),
            Self::Log(level) => write!(f, "log {}", level.word()),
            Self::LogFormat(format) => write!(f, "log format {}", format.word()),
            Self::VportTemplate(text) => write!(f, "vport template {}", quoted(text)),
        }
    }
}

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::PortInfo(ports) => return write!(f, "port info {ports}"),
            Self::PortStats(ports) => return write!(f, "port stats {ports}"),
            Self::Ports => "ports",
            Self::Stats => "stats",
            Self::Vpcs => "vpcs",
            Self::Subnets => "subnets",
            Self::Neighbors => "neighbors",
            Self::Routes => "routes",
            Self::GoalState => "goal-state",
            Self::Drops => "drops",
            Self::SecurityGroups => "security-groups",
            Self::Dhcp => "dhcp",
            Self::Gateways => "gateways",
            Self::Pending => "pending",
            Self::Stale => "stale",
            Self::Memory => "memory",
            Self::Underlay => "underlay",
            Self::OnDemand => "on-demand",
            Self::Workers => "workers",
            Self::Rxq => "rxq",
            Self::Rebalance => "rebalance",
            Self::Health => "health",
            Self::Subscriptions => "subscriptions",
            Self::Config => "config",
        };
        f.write_str(word)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |f: &mut fmt::Formatter<'_>, words: &[String]| {
            words
                .iter()
                .try_for_each(|word| write!(f, " {}", quoted(word)))
        };
        match self {
            Self::Eal(args) => f.write_str("eal").and_then(|()| words(f, args)),
            Self::PortAttach { device, late } => {
                let late = if *late { " late" } else { "" };
                write!(f, "port attach {}{late}", quoted(device))
            }
            Self::PortDetach(port) => write!(f, "port detach {}", port.get()),
            Self::PortConfig { ports, item, value } => {
                write!(f, "port config {ports} {} {value}", item.word())
            }
            Self::TxOffload { ports, on } => {
                write!(f, "port config {ports} tx-offload {}", on_off(*on))
            }
            Self::Affinity { ports, affinity } => {
                write!(f, "port config {ports} rxq-affinity {affinity}")
            }
            Self::Rebalance => f.write_str("rebalance"),
            Self::PortRule { ports, rule } => write!(f, "port config {ports} {rule}"),
            Self::PortBind { port, id } => write!(f, "port bind {} {}", port.get(), quoted(id)),
            Self::PortUnbind(port) => write!(f, "port unbind {}", port.get()),
            Self::PortStart(ports) => write!(f, "port start {ports}"),
            Self::PortStop(ports) => write!(f, "port stop {ports}"),
            Self::Set(setting) => write!(f, "set {setting}"),
            Self::Start => f.write_str("start"),
            Self::Stop => f.write_str("stop"),
            Self::Show(what) => write!(f, "show {what}"),
            Self::ClearPortStats(ports) => write!(f, "clear port stats {ports}"),
            Self::Load(path) => write!(f, "load {}", quoted(&path.to_string_lossy())),
            Self::Help(topic) => f.write_str("help").and_then(|()| words(f, topic)),
            Self::Quit => f.write_str("quit"),
        }
    }
}
