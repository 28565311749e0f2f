// SPDX-License-Identifier: MIT
//! The command table: the one place that says which commands there are. Parsing, help, completion and
//! suggestions all read it, for files, `alkaid console` and `alkaid exec` alike.
//!
//! Where DPDK's testpmd has a command for the thing, it is that command with the same words.

use std::path::PathBuf;

use vswitch::io::MAX_BURST;

use super::argument::{Argument, Kind, Value};
use super::command::{Command, PortItem, Setting, Show};

/// Most workers: DPDK's limit of lcores in Debian's build (RTE_MAX_LCORE 128), less the main one.
pub(crate) const MAX_WORKERS: u16 = 127;

/// Most queues of one direction of a port (DPDK: RTE_MAX_QUEUES_PER_PORT).
pub(crate) const MAX_QUEUES: u32 = 1024;

/// Largest neighbor capacity: 2^24 entries are 1 GiB of tables.
pub(crate) const MAX_NEIGHBORS: u32 = 1 << 24;

/// A word of a command: itself or a place for an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// This word.
    Is(&'static str),
    /// An argument.
    Arg(Argument),
}

/// When a command may be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// In the file that the switch starts with.
    Start,
    /// To a running switch.
    Running,
    /// Both.
    Always,
}

/// One row of the table.
pub(crate) struct Spec {
    /// Its words.
    pub(crate) parts: &'static [Part],
    /// When it may be given.
    pub(crate) when: When,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// What an operator should know beyond that; may be empty.
    pub(crate) details: &'static str,
    /// The command, of its arguments' values in order. `None` only if a row contradicts itself, which a test
    /// excludes.
    pub(crate) build: fn(&[Value]) -> Option<Command>,
}

impl Spec {
    /// Its arguments, in order.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static Argument> {
        self.parts.iter().filter_map(|part| match part {
            Is(_) => None,
            Arg(argument) => Some(argument),
        })
    }

    /// Its words as help shows them, as in `set burst COUNT`.
    pub(crate) fn syntax(&self) -> String {
        let mut text = String::new();
        for part in self.parts {
            if !text.is_empty() {
                text.push(' ');
            }
            match part {
                Is(word) => text.push_str(word),
                Arg(argument) if argument.kind == Kind::Topic => {
                    text.push_str(&format!("[{}]", argument.name))
                }
                Arg(argument) if argument.kind.takes_the_rest() => {
                    text.push_str(&format!("{}...", argument.name))
                }
                Arg(argument) => text.push_str(argument.name),
            }
        }
        text
    }
}

use Part::{Arg, Is};

const fn arg(name: &'static str, kind: Kind, about: &'static str) -> Part {
    Arg(Argument { name, kind, about })
}

const PORT: Part = arg(
    "PORT",
    Kind::Port,
    "a port: the first `port attach` makes port 0, the next port 1, ...",
);
const PORTS: Part = arg(
    "PORT|all",
    Kind::Ports,
    "a port's number, or all ports that are attached",
);
const ID: Part = arg(
    "ID",
    Kind::Text,
    "the controller's id of the port (PortConfiguration.id), usually a UUID",
);
const QUEUES: Part = arg(
    "COUNT",
    Kind::Number(1, MAX_QUEUES),
    "number of queues; default: one per worker, up to what the device has",
);
const RING: Part = arg(
    "COUNT",
    Kind::Number(32, 32_768),
    "descriptors per queue; default 1024, rounded to what the device takes",
);
const BYTES: Part = arg(
    "BYTES",
    Kind::Number(68, 65_535),
    "largest packet without its Ethernet header; default: the device's, usually 1500",
);
const IP: Part = arg("IP", Kind::Address, "its address in the underlay");
const MAC: Part = arg("MAC", Kind::Mac, "its MAC");

const QUEUE_DETAILS: &str = "\
A worker polls whole queues, so a port feeds no more workers than it has receive queues; with more than one, the \
device spreads packets by their addresses and ports (RSS). The switch refuses numbers that the device does not have. \
In the start-up file this follows the `port attach` that makes the port.";
const RING_DETAILS: &str = "\
More descriptors survive longer bursts and cost latency and packet buffers (`set mbufs`). In the start-up file this \
follows the `port attach` that makes the port.";
const MTU_DETAILS: &str = "\
An uplink's must be 50 bytes more than its guests' largest: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14. In the \
start-up file this follows the `port attach` that makes the port.";

/// A row's `build`: the command, if the values are these.
macro_rules! make {
    ([$($value:pat),*] => $command:expr) => {
        |values| match values {
            [$($value),*] => Some($command),
            _ => None,
        }
    };
}

/// A row of `port config`.
macro_rules! port_config {
    ([$($part:expr),+], $item:expr, $summary:literal, $details:expr) => {
        Spec {
            parts: &[Is("port"), Is("config"), $($part),+],
            when: When::Always,
            summary: $summary,
            details: $details,
            build: make!([Value::Ports(ports), Value::Number(value)] =>
                Command::PortConfig { ports: *ports, item: $item, value: *value }),
        }
    };
}

/// A row of `show`.
macro_rules! show {
    ($word:literal, $what:expr, $summary:literal, $details:literal) => {
        Spec {
            parts: &[Is("show"), Is($word)],
            when: When::Running,
            summary: $summary,
            details: $details,
            build: make!([] => Command::Show($what)),
        }
    };
}

/// All commands.
pub(crate) static TABLE: &[Spec] = &[
    Spec {
        parts: &[
            Is("eal"),
            arg(
                "ARG",
                Kind::Words,
                "an argument of DPDK's environment, as on testpmd's command line",
            ),
        ],
        when: When::Start,
        summary: "Starts DPDK with these arguments",
        details: "\
Useful ones: `-l 0` (the core of DPDK's own threads, apart from the workers' cores), `--file-prefix NAME` (several \
switches on one host), `--no-huge -m 512` and `--no-pci` (no hugepages, no hardware: for labs), `--in-memory`, \
`--socket-mem 1024`. Given more than once, the arguments add up. Devices are not named here (`-a`, `--allow`, \
`--vdev`) but by `port attach`, so that the order of those lines gives the ports their numbers.",
        build: make!([Value::Words(args)] => Command::Eal(args.clone())),
    },
    Spec {
        parts: &[
            Is("port"),
            Is("attach"),
            arg(
                "DEVARGS",
                Kind::Text,
                "the device: a PCI address or a DPDK virtual device with its arguments",
            ),
        ],
        when: When::Always,
        summary: "Adds a device; its port gets the next number",
        details: "\
Examples: `port attach 0000:3b:00.0` (a NIC bound to vfio-pci), `port attach \
net_vhost0,iface=/run/alkaid/vm1.sock,queues=1` (a virtual machine), `port attach net_tap0,iface=tap0`, \
`port attach net_af_packet0,iface=veth0`, `port attach net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap`.",
        build: make!([Value::Text(device)] => Command::PortAttach(device.clone())),
    },
    port_config!(
        [PORTS, Is("rxq"), QUEUES],
        PortItem::Rxq,
        "Sets a port's number of receive queues",
        QUEUE_DETAILS
    ),
    port_config!(
        [PORTS, Is("txq"), QUEUES],
        PortItem::Txq,
        "Sets a port's number of transmit queues",
        QUEUE_DETAILS
    ),
    port_config!(
        [PORTS, Is("rxd"), RING],
        PortItem::Rxd,
        "Sets the length of a port's receive queues",
        RING_DETAILS
    ),
    port_config!(
        [PORTS, Is("txd"), RING],
        PortItem::Txd,
        "Sets the length of a port's transmit queues",
        RING_DETAILS
    ),
    port_config!(
        [PORTS, Is("mtu"), BYTES],
        PortItem::Mtu,
        "Sets a port's MTU",
        MTU_DETAILS
    ),
    port_config!(
        [Is("mtu"), PORTS, BYTES],
        PortItem::Mtu,
        "Sets a port's MTU (testpmd's order of words)",
        MTU_DETAILS
    ),
    Spec {
        parts: &[Is("port"), Is("bind"), PORT, ID],
        when: When::Always,
        summary: "Says which of the controller's ports a port is",
        details: "\
From then on the port forwards as the controller's goal state says for that id, at once or when that goal state \
arrives. Until it is bound, packets from a port are dropped and counted as `port_unbound`.",
        build: make!([Value::Port(port), Value::Text(id)] => Command::PortBind { port: *port, id: id.clone() }),
    },
    Spec {
        parts: &[Is("port"), Is("unbind"), PORT],
        when: When::Running,
        summary: "Takes a `port bind` back",
        details: "The port forwards nothing any more. The controller's goal state is kept.",
        build: make!([Value::Port(port)] => Command::PortUnbind(*port)),
    },
    Spec {
        parts: &[Is("port"), Is("start"), PORTS],
        when: When::Running,
        summary: "Starts a port",
        details: "All ports that the start-up file attaches are started with the switch.",
        build: make!([Value::Ports(ports)] => Command::PortStart(*ports)),
    },
    Spec {
        parts: &[Is("port"), Is("stop"), PORTS],
        when: When::Running,
        summary: "Stops a port: it neither receives nor sends",
        details: "Packets that are to leave by it are dropped and counted as `tx_full`.",
        build: make!([Value::Ports(ports)] => Command::PortStop(*ports)),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("nbcore"),
            arg(
                "COUNT",
                Kind::Number(1, MAX_WORKERS as u32),
                "number of workers; default: as many as `set corelist` names, else 1",
            ),
        ],
        when: When::Start,
        summary: "Sets the number of workers",
        details: "Each worker polls its queues on a core of its own, at 100 % of it.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Nbcore(u16::try_from(*n).ok()?))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("corelist"),
            arg(
                "CORES",
                Kind::CoreList,
                "one core per worker, in this order; default: chosen from the cores that the process may use",
            ),
        ],
        when: When::Start,
        summary: "Sets the CPU cores that workers run on",
        details: "\
Name cores that nothing else runs on (kernel command line: isolcpus, nohz_full, rcu_nocbs), on the NUMA node of the \
NIC. `set nbcore` may use fewer of them, never more.",
        build: make!([Value::CoreList(cores)] => Command::Set(Setting::Corelist(cores.clone()))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("burst"),
            arg(
                "COUNT",
                Kind::Number(1, MAX_BURST as u32),
                "packets; default 32",
            ),
        ],
        when: When::Start,
        summary: "Sets how many packets a worker takes from a queue at once",
        details: "A smaller burst has less latency, a larger one more throughput. Beyond 32 little is gained.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Burst(u16::try_from(*n).ok()?))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("portlist"),
            arg(
                "PORTS",
                Kind::PortList,
                "the ports; default: all that are attached",
            ),
        ],
        when: When::Start,
        summary: "Sets the ports that workers poll",
        details: "The uplink and the host port, if there are, must be among them.",
        build: make!([Value::PortList(ports)] => Command::Set(Setting::Portlist(ports.clone()))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("promisc"),
            PORTS,
            arg(
                "on|off",
                Kind::OnOff,
                "default off on the uplink, on on the others",
            ),
        ],
        when: When::Always,
        summary: "Sets whether a port receives frames for other stations",
        details: "Virtual devices towards guests receive everything in any case.",
        build: make!([Value::Ports(ports), Value::OnOff(on)] => Command::Set(Setting::Promisc { ports: *ports, on: *on })),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("vtep"),
            arg(
                "ADDR/LEN",
                Kind::AddressPrefix,
                "this host's address in the underlay, and the prefix length of its link",
            ),
            Is("port"),
            arg(
                "PORT",
                Kind::Port,
                "the uplink: the port that carries VXLAN",
            ),
        ],
        when: When::Start,
        summary: "Sets this host's VXLAN tunnel endpoint and its uplink",
        details: "\
The address is the one that the controller knows this host by (host_ip_address of its neighbors). Frames for it that \
are not VXLAN go to `set host port`.",
        build: make!([Value::AddressPrefix(address), Value::Port(port)] => Command::Set(Setting::Vtep { address: *address, port: *port })),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("host"),
            Is("port"),
            arg(
                "PORT",
                Kind::Port,
                "a port towards the kernel, usually a tap device; default: none",
            ),
        ],
        when: When::Start,
        summary: "Sets where the uplink's traffic goes that is not VXLAN",
        details: "\
With the uplink's only NIC given to DPDK, this is how the host itself stays reachable: ARP, the controller's \
connection, ssh. Without it such packets are dropped and counted as `not_for_us`.",
        build: make!([Value::Port(port)] => Command::Set(Setting::HostPort(*port))),
    },
    Spec {
        parts: &[Is("set"), Is("underlay"), Is("neighbor"), IP, MAC],
        when: When::Start,
        summary: "Names the MAC of another host on the underlay",
        details: "\
Used for neighbors whose goal state has no host_mac_address. A MAC in the goal state wins over it, and it wins over \
`set underlay gateway`.",
        build: make!([Value::Address(ip), Value::Mac(mac)] => Command::Set(Setting::UnderlayNeighbor { ip: *ip, mac: *mac })),
    },
    Spec {
        parts: &[Is("set"), Is("underlay"), Is("gateway"), IP, MAC],
        when: When::Start,
        summary: "Names the underlay's router: the way to all hosts that are not named otherwise",
        details: "",
        build: make!([Value::Address(ip), Value::Mac(mac)] => Command::Set(Setting::UnderlayGateway { ip: *ip, mac: *mac })),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("southbound"),
            Is("listen"),
            arg(
                "ADDR:PORT",
                Kind::Socket,
                "address and TCP port; default 0.0.0.0:50001, where an Alcor controller connects",
            ),
        ],
        when: When::Start,
        summary: "Sets where the controller's goal states arrive (gRPC)",
        details: "\
The connection has no authentication: name an address of the management network, or keep others out with a firewall.",
        build: make!([Value::Socket(address)] => Command::Set(Setting::Southbound(Some(*address)))),
    },
    Spec {
        parts: &[Is("set"), Is("southbound"), Is("off")],
        when: When::Start,
        summary: "Takes no goal states from the network",
        details: "For labs and for `alkaid replay`. Without a controller no `set vtep` is needed.",
        build: make!([] => Command::Set(Setting::Southbound(None))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("control"),
            Is("socket"),
            arg(
                "PATH",
                Kind::Path,
                "default /run/alkaid.sock for root, else alkaid.sock in $XDG_RUNTIME_DIR",
            ),
        ],
        when: When::Start,
        summary: "Sets the Unix socket of `alkaid exec`, `console` and `show`",
        details: "Only the user that the switch runs as may open it. Clients find another path by `--socket PATH`.",
        build: make!([Value::Text(path)] => Command::Set(Setting::ControlSocket(PathBuf::from(path)))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("neighbors"),
            Is("capacity"),
            arg(
                "COUNT",
                Kind::Number(1024, MAX_NEIGHBORS),
                "neighbors; default 1048576",
            ),
        ],
        when: When::Start,
        summary: "Sets how many neighbors the controller may program",
        details: "The tables grow as neighbors come, at about 64 bytes each. Beyond this number a neighbor is answered FAILURE.",
        build: make!([Value::Number(n)] => Command::Set(Setting::NeighborsCapacity(*n))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("mbufs"),
            arg(
                "COUNT",
                Kind::Number(1024, 8_388_608),
                "buffers, of about 2.3 kB each; default 16383",
            ),
        ],
        when: When::Start,
        summary: "Sets the number of packet buffers",
        details: "\
At least the sum of all queues' descriptors, plus a burst and a cache of 256 per worker; numbers of the form 2^n - 1 \
waste least memory.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Mbufs(*n))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("log"),
            arg(
                "LEVEL",
                Kind::Level,
                "error, warn, info, debug or trace; default info",
            ),
        ],
        when: When::Always,
        summary: "Sets how much is logged to stderr",
        details: "The environment variable RUST_LOG wins over it at start.",
        build: make!([Value::Level(level)] => Command::Set(Setting::Log(*level))),
    },
    Spec {
        parts: &[Is("start")],
        when: When::Always,
        summary: "Starts forwarding",
        details: "Without it in the start-up file, ports and controller are served and no packet moves.",
        build: make!([] => Command::Start),
    },
    Spec {
        parts: &[Is("stop")],
        when: When::Running,
        summary: "Stops forwarding",
        details: "Ports stay up, goal states are still taken, packets stay in the devices' queues.",
        build: make!([] => Command::Stop),
    },
    Spec {
        parts: &[Is("show"), Is("port"), Is("info"), PORTS],
        when: When::Running,
        summary: "Shows a port's device: driver, MAC, link, MTU, queues, offloads",
        details: "",
        build: make!([Value::Ports(ports)] => Command::Show(Show::PortInfo(*ports))),
    },
    Spec {
        parts: &[Is("show"), Is("port"), Is("stats"), PORTS],
        when: When::Running,
        summary: "Shows a port's packets, bytes, drops and the device's errors",
        details: "Counted since start, or since `clear port stats`.",
        build: make!([Value::Ports(ports)] => Command::Show(Show::PortStats(*ports))),
    },
    show!(
        "ports",
        Show::Ports,
        "Shows each port: device, role, binding, state",
        ""
    ),
    show!(
        "stats",
        Show::Stats,
        "Shows all ports' packets, bytes and drops",
        ""
    ),
    show!("vpcs", Show::Vpcs, "Shows the controller's VPCs", ""),
    show!(
        "subnets",
        Show::Subnets,
        "Shows the controller's subnets and their VNIs",
        ""
    ),
    show!(
        "neighbors",
        Show::Neighbors,
        "Shows the controller's neighbors and where they are",
        ""
    ),
    show!(
        "routes",
        Show::Routes,
        "Shows the routes of each subnet",
        ""
    ),
    show!(
        "drops",
        Show::Drops,
        "Shows dropped packets by port and reason",
        "Every packet that arrives and does not leave is here, under one reason."
    ),
    show!(
        "pending",
        Show::Pending,
        "Shows what the controller sent and the switch cannot program yet, and what it waits for",
        ""
    ),
    show!(
        "memory",
        Show::Memory,
        "Shows the memory of tables and packet buffers",
        ""
    ),
    show!(
        "workers",
        Show::Workers,
        "Shows each worker: core, queues, how busy it is",
        ""
    ),
    show!(
        "config",
        Show::Config,
        "Shows the settings in force, as commands",
        "Saved to a file, they start the same switch."
    ),
    Spec {
        parts: &[Is("clear"), Is("port"), Is("stats"), PORTS],
        when: When::Running,
        summary: "Counts a port's statistics from zero",
        details: "",
        build: make!([Value::Ports(ports)] => Command::ClearPortStats(*ports)),
    },
    Spec {
        parts: &[
            Is("load"),
            arg(
                "FILE",
                Kind::Path,
                "its path; in a file, relative to that file's folder",
            ),
        ],
        when: When::Always,
        summary: "Executes the commands of a file",
        details: "The whole file is checked first: if a line is wrong, none is executed.",
        build: make!([Value::Text(path)] => Command::Load(PathBuf::from(path))),
    },
    Spec {
        parts: &[
            Is("help"),
            arg(
                "COMMAND",
                Kind::Topic,
                "the first words of a command; all commands without it",
            ),
        ],
        when: When::Running,
        summary: "Explains commands",
        details: "",
        build: make!([Value::Words(topic)] => Command::Help(topic.clone())),
    },
    Spec {
        parts: &[Is("quit")],
        when: When::Running,
        summary: "Ends the switch; in the console, only the console",
        details: "`alkaid exec quit` ends the switch: forwarding stops, ports are closed, the process exits.",
        build: make!([] => Command::Quit),
    },
];

/// When `command` may be given.
pub(crate) fn when(command: &Command) -> When {
    // By its words, so that nothing but the table says so.
    let words = super::lexer::cut(&command.to_string()).words;
    let spec = super::parse::after(&words)
        .ok()
        .and_then(|state| state.specs().next());
    spec.map_or(When::Always, |spec| spec.when)
}
