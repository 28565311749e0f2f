// SPDX-License-Identifier: MIT
//! What the switch starts with: a file's commands folded into one value, and what contradicts in them.

mod check;
mod conflict;
mod fold;
mod numbers;
mod on_demand;
mod replicated;
mod rules;
mod site;
mod vxlan;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use vswitch::tables::{PortId, Tunnel};
use vswitch::wire::Mac;

use super::affinity::Affinity;
use super::command::{ClientTls, Command, PortItem, Ports, ServerTls, Setting};
use super::gateway::Gateway;
use super::log::{Level, LogFormat};
use super::rule::PortRule;
use super::vport::Template;
use super::work::Work;

use crate::core::{PortRules, Replicated};
use crate::families::Families;
use crate::state::Revisions;
pub(crate) use conflict::Conflict;
pub(crate) use on_demand::{NCM_PORT, OnDemand};

/// Packets taken at once without `set burst`: testpmd's number.
pub(crate) const DEFAULT_BURST: u16 = 32;

/// Neighbors without `set neighbors capacity`.
pub(crate) const DEFAULT_NEIGHBORS: u32 = 1 << 20;

/// Packet buffers without `set mbufs`: some 38 MB, which fits into the 64 MB that DPDK takes without hugepages.
pub(crate) const DEFAULT_MBUFS: u32 = 16_383;

/// Where the controller connects without `set southbound`.
pub(crate) const DEFAULT_SOUTHBOUND: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 50_001);

/// Where the controller connects when the switch is started with the Alcor Control Agent's flags.
pub(crate) const AGENT_SUBSCRIBE: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 50_002);

/// What a start-up file says of one port. `None`: nothing, the device decides.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PortSettings {
    /// The device, with its arguments, or a [subport](super::subport).
    pub(crate) device: String,
    /// It may not be there yet.
    pub(crate) late: bool,
    /// Receive queues.
    pub(crate) rxq: Option<u16>,
    /// Transmit queues.
    pub(crate) txq: Option<u16>,
    /// Descriptors of each receive queue.
    pub(crate) rxd: Option<u16>,
    /// Descriptors of each transmit queue.
    pub(crate) txd: Option<u16>,
    /// Largest packet without its Ethernet header, bytes.
    pub(crate) mtu: Option<u16>,
    /// Whether it receives frames for other stations.
    pub(crate) promisc: Option<bool>,
    /// Whether checksums and segments that a guest left undone are left to it in turn.
    pub(crate) tx_offload: Option<bool>,
    /// Which workers poll its rx queues.
    pub(crate) affinity: Affinity,
    /// What holds for its guest.
    pub(crate) rules: PortRules,
    /// The controller's id of it.
    pub(crate) id: Option<String>,
}

/// This host's VXLAN tunnel endpoint at one uplink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vtep {
    /// Its addresses, of which it has one at least, and the prefix lengths of its link.
    pub(crate) addresses: Families<IpNet>,
    /// The uplink.
    pub(crate) port: PortId,
}

/// What the switch starts with. All port numbers in it are below `ports.len()`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    /// Arguments of DPDK's environment, as given. See [`Settings::eal_args`].
    pub(crate) eal: Vec<String>,
    /// The ports, by number.
    pub(crate) ports: Vec<PortSettings>,
    /// Number of workers, at least 1.
    pub(crate) workers: u16,
    /// Their cores, one each; `None`: any.
    pub(crate) corelist: Option<Vec<u16>>,
    /// Packets taken from a queue at once, 1 to [`vswitch::io::MAX_BURST`].
    pub(crate) burst: u16,
    /// How they work.
    pub(crate) work: Work,
    /// The ports that workers poll; `None`: all.
    pub(crate) portlist: Option<Vec<PortId>>,
    /// This host's tunnel endpoints: by uplink, [`vswitch::tables::MAX_UPLINKS`] at most.
    pub(crate) vteps: Vec<Vtep>,
    /// The port towards the host's network stack.
    pub(crate) host_port: Option<PortId>,
    /// MACs of other hosts on the underlay.
    pub(crate) underlay_neighbors: BTreeMap<IpAddr, Mac>,
    /// The underlay's routers.
    pub(crate) underlay_gateways: Vec<Gateway>,
    /// What outer headers have besides addresses.
    pub(crate) tunnel: Tunnel,
    /// Where goal states arrive; `None`: nowhere.
    pub(crate) southbound: Option<SocketAddr>,
    /// What becomes of a resource whose revision goes back.
    pub(crate) revisions: Revisions,
    /// What the controller is asked for.
    pub(crate) on_demand: OnDemand,
    /// Who may call the southbound servers; `None`: anyone, in plain.
    pub(crate) southbound_tls: Option<ServerTls>,
    /// Where subscriptions arrive; `None`: nowhere.
    pub(crate) subscribe: Option<SocketAddr>,
    /// How the network configuration manager is talked to; `None`: in plain.
    pub(crate) ncm_tls: Option<ClientTls>,
    /// A file or folder of goal states to apply.
    pub(crate) goal_state: Option<PathBuf>,
    /// Whether the log has the agent's `[METRICS]` lines.
    pub(crate) metrics_log: bool,
    /// Where figures and health are told; `None`: nowhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// Guests send from their own addresses only.
    pub(crate) anti_spoofing: bool,
    /// Subnets whose broadcast and multicast are copied to all.
    pub(crate) replicated: Replicated,
    /// Packets that are too long for their way are fragmented if they may be.
    pub(crate) fragment: bool,
    /// TCP connections are told to send segments that fit.
    pub(crate) clamp_mss: bool,
    /// The local socket; `None`: [`crate::northbound::socket::default_path`].
    pub(crate) control_socket: Option<PathBuf>,
    /// The file that keeps goal states across a restart; `None`: nothing does.
    pub(crate) store: Option<PathBuf>,
    /// Seconds after a restart until what the controller has not said again is deleted; 0: never.
    pub(crate) resync: u32,
    /// Most neighbors.
    pub(crate) neighbors_capacity: u32,
    /// Neighbors whose memory is taken at start.
    pub(crate) neighbors_reserve: u32,
    /// Packet buffers.
    pub(crate) mbufs: u32,
    /// The devices of ports that the controller describes and nothing is bound to; `None`: they have none.
    pub(crate) vports: Option<Template>,
    /// How much is logged.
    pub(crate) log: Level,
    /// What its lines look like.
    pub(crate) log_format: LogFormat,
    /// Whether forwarding starts by itself.
    pub(crate) start: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            eal: Vec::new(),
            ports: Vec::new(),
            workers: 1,
            corelist: None,
            burst: DEFAULT_BURST,
            work: Work::default(),
            portlist: None,
            vteps: Vec::new(),
            host_port: None,
            underlay_neighbors: BTreeMap::new(),
            underlay_gateways: Vec::new(),
            tunnel: Tunnel::default(),
            southbound: Some(DEFAULT_SOUTHBOUND),
            revisions: Revisions::default(),
            on_demand: OnDemand::default(),
            southbound_tls: None,
            subscribe: None,
            ncm_tls: None,
            goal_state: None,
            metrics_log: false,
            metrics: None,
            anti_spoofing: false,
            replicated: Replicated::default(),
            fragment: true,
            clamp_mss: false,
            control_socket: None,
            store: None,
            resync: 0,
            neighbors_capacity: DEFAULT_NEIGHBORS,
            neighbors_reserve: 0,
            mbufs: DEFAULT_MBUFS,
            vports: None,
            log: Level::default(),
            log_format: LogFormat::default(),
            start: false,
        }
    }
}

impl Settings {
    /// What the file starts from when the switch is started with the Alcor Control Agent's flags.
    pub(crate) fn of_agent() -> Self {
        Self {
            subscribe: Some(AGENT_SUBSCRIBE),
            metrics_log: true,
            ..Self::default()
        }
    }

    /// The arguments to start DPDK with (without a program name). Unless they say something of PCI devices, DPDK is
    /// kept from taking all that it finds: those would become ports, and `port attach` gives ports their numbers.
    pub(crate) fn eal_args(&self) -> Vec<String> {
        // Its data path logs from workers, a line a packet when buffers run out: counters say so too. What `eal` says wins.
        let mut args = vec!["--log-level=lib.vhost.data:critical".to_owned()];
        args.extend_from_slice(&self.eal);
        let says_of_pci =
            |arg: &String| arg == "--no-pci" || arg.starts_with("-b") || arg.starts_with("--block");
        if !args.iter().any(says_of_pci) {
            // An allow-list of one device that is no NIC: 0000:00:00.0 is the host bridge.
            args.extend(["-a".to_owned(), "0000:00:00.0".to_owned()]);
        }
        args
    }

    /// What contradicts in where the controller connects.
    pub(crate) fn listening_conflict(&self) -> Option<Conflict> {
        let southbound = self.southbound?;
        if self.vteps.is_empty() {
            return Some(Conflict::NoVtep);
        }
        let overlaps = |other: &SocketAddr| {
            let (ip, other_ip) = (southbound.ip(), other.ip());
            let same = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
            same && southbound.port() == other.port()
        };
        self.subscribe.filter(overlaps).map(Conflict::SameSocket)
    }

    /// What contradicts in how the controller is asked.
    pub(crate) fn asking_conflict(&self) -> Option<Conflict> {
        let OnDemand { ncm, source, .. } = self.on_demand;
        match (ncm, self.asking_source()) {
            (None, _) => source.map(|_| Conflict::NeedsNcm),
            (Some(_), None) => Some(Conflict::NeedsVtep),
            (Some(ncm), Some(from)) => {
                let reached = ncm.is_ipv4() == from.is_ipv4();
                (!reached).then_some(Conflict::TwoFamilies { ncm, from })
            }
        }
    }

    /// The address that the controller is asked from: as said, or a VTEP's, of the kind that the controller's is if there is
    /// one.
    pub(crate) fn asking_source(&self) -> Option<IpAddr> {
        let addresses = || self.addresses().map(IpNet::addr);
        let like = |ncm: SocketAddr| addresses().find(|own| own.is_ipv4() == ncm.is_ipv4());
        let own = self.on_demand.ncm.and_then(like);
        let own = own.or_else(|| addresses().next());
        self.on_demand.source.or(own)
    }

    /// All tunnel endpoints' addresses and links.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &IpNet> {
        self.vteps.iter().flat_map(|vtep| vtep.addresses.iter())
    }

    /// Commands that make these settings: defaults are left out, but what was chosen is in.
    pub(crate) fn commands(&self) -> Vec<Command> {
        let mut all = Vec::new();
        if !self.eal.is_empty() {
            all.push(Command::Eal(self.eal.clone()));
        }
        all.extend(self.globals().into_iter().map(Command::Set));
        for (i, port) in self.ports.iter().enumerate() {
            all.push(Command::PortAttach {
                device: port.device.clone(),
                late: port.late,
            });
            if let Some(id) = u16::try_from(i).ok().and_then(PortId::new) {
                all.extend(port.commands(id));
            }
        }
        all.extend(self.roles().into_iter().map(Command::Set));
        all.extend(self.start.then_some(Command::Start));
        all
    }

    /// Settings that are of no port.
    fn globals(&self) -> Vec<Setting> {
        let changed = |differs: bool, setting: Setting| differs.then_some(setting);
        let cores = self.corelist.as_ref();
        [
            changed(
                cores.map_or(1, Vec::len) != usize::from(self.workers),
                Setting::Nbcore(self.workers),
            ),
            cores.map(|cores| Setting::Corelist(cores.clone())),
            changed(self.burst != DEFAULT_BURST, Setting::Burst(self.burst)),
            changed(
                self.southbound != Some(DEFAULT_SOUTHBOUND),
                Setting::Southbound(self.southbound),
            ),
            changed(
                self.revisions != Revisions::default(),
                Setting::Revisions(self.revisions),
            ),
            self.southbound_tls.clone().map(Setting::SouthboundTls),
            self.subscribe
                .map(|address| Setting::Subscribe(Some(address))),
            self.ncm_tls.clone().map(Setting::NcmTls),
            self.goal_state.clone().map(Setting::GoalStateWatch),
            self.metrics_log.then_some(Setting::MetricsLog(true)),
            self.metrics.map(|address| Setting::Metrics(Some(address))),
            (!self.fragment).then_some(Setting::Fragment(false)),
            self.clamp_mss.then_some(Setting::ClampMss(true)),
            self.anti_spoofing.then_some(Setting::AntiSpoofing(true)),
            self.control_socket.clone().map(Setting::ControlSocket),
            self.store.clone().map(Setting::Store),
            changed(self.resync != 0, Setting::Resync(self.resync)),
            changed(
                self.neighbors_capacity != DEFAULT_NEIGHBORS,
                Setting::NeighborsCapacity(self.neighbors_capacity),
            ),
            changed(
                self.neighbors_reserve != 0,
                Setting::NeighborsReserve(self.neighbors_reserve),
            ),
            changed(self.mbufs != DEFAULT_MBUFS, Setting::Mbufs(self.mbufs)),
            (self.vports.as_ref()).map(|it| Setting::VportTemplate(it.to_string())),
            changed(self.log != Level::default(), Setting::Log(self.log)),
            changed(
                self.log_format != LogFormat::default(),
                Setting::LogFormat(self.log_format),
            ),
        ]
        .into_iter()
        .flatten()
        .chain(self.work.settings())
        .chain(self.on_demand.settings())
        .chain(vxlan::settings(&self.tunnel))
        .chain(replicated::settings(&self.replicated))
        .collect()
    }

    /// Settings that name ports, which are attached before.
    fn roles(&self) -> Vec<Setting> {
        let mut all: Vec<Setting> = self
            .portlist
            .clone()
            .map(Setting::Portlist)
            .into_iter()
            .collect();
        for &Vtep { addresses, port } in &self.vteps {
            let vtep = |&address: &IpNet| Setting::Vtep { address, port };
            all.extend(addresses.iter().map(vtep));
        }
        all.extend(self.host_port.map(Setting::HostPort));
        all.extend(
            self.underlay_neighbors
                .iter()
                .map(|(&ip, &mac)| Setting::UnderlayNeighbor { ip, mac }),
        );
        all.extend(
            self.underlay_gateways
                .iter()
                .map(|gateway| Setting::UnderlayGateway(*gateway)),
        );
        all
    }
}

impl PortSettings {
    /// What `port config` of this item sets.
    pub(crate) fn item(&mut self, item: PortItem) -> &mut Option<u16> {
        match item {
            PortItem::Rxq => &mut self.rxq,
            PortItem::Txq => &mut self.txq,
            PortItem::Rxd => &mut self.rxd,
            PortItem::Txd => &mut self.txd,
            PortItem::Mtu => &mut self.mtu,
        }
    }

    fn commands(&self, id: PortId) -> Vec<Command> {
        let ports = Ports::One(id);
        let items = [
            (PortItem::Rxq, self.rxq),
            (PortItem::Txq, self.txq),
            (PortItem::Rxd, self.rxd),
            (PortItem::Txd, self.txd),
            (PortItem::Mtu, self.mtu),
        ];
        let config = |(item, value): (PortItem, Option<u16>)| {
            value.map(|value| Command::PortConfig {
                ports,
                item,
                value: value.into(),
            })
        };
        let mut all: Vec<Command> = items.into_iter().filter_map(config).collect();
        all.extend(self.tx_offload.map(|on| Command::TxOffload { ports, on }));
        let affinity = Some(self.affinity.clone()).filter(|it| !it.0.is_empty());
        all.extend(affinity.map(|affinity| Command::Affinity { ports, affinity }));
        all.extend(
            self.promisc
                .map(|on| Command::Set(Setting::Promisc { ports, on })),
        );
        all.extend(PortRule::of(&self.rules).map(|rule| Command::PortRule { ports, rule }));
        all.extend(
            self.id
                .clone()
                .map(|bind| Command::PortBind { port: id, id: bind }),
        );
        all
    }
}
