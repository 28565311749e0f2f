// SPDX-License-Identifier: MIT
//! Rows for ports.

use super::super::argument::{Kind, Value};
use super::super::command::{Command, PortItem, Setting};
use super::Part::Is;
use super::{PORT, PORTS, Part, Spec, When, arg};

/// Most queues of one direction of a port (DPDK: RTE_MAX_QUEUES_PER_PORT).
const MAX_QUEUES: u32 = 1024;

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
    "descriptors per queue; default: what the driver prefers",
);
const BYTES: Part = arg(
    "BYTES",
    Kind::Number(68, 65_535),
    "largest packet without its Ethernet header; default: the device's, usually 1500",
);

const QUEUE_DETAILS: &str = "\
A worker polls whole queues, so a port feeds no more workers than it has receive queues; with more than one, the \
device spreads packets by their addresses and ports (RSS). The switch refuses numbers that the device does not have. A \
vhost-user guest chooses by itself which of its queues it sends by: all that `queues=` names are polled. A memif port has one \
of each kind unless more are set, as its peer has to, too. \
In the start-up file this follows the `port attach` that makes the port.";
const RING_DETAILS: &str = "\
More descriptors survive longer bursts and cost latency and packet buffers (`set mbufs`). In the start-up file this \
follows the `port attach` that makes the port.";
const MTU_DETAILS: &str = "\
The longest packet that may leave by the port, also where the driver has no MTU to set; VLAN tags of the host's own frames do \
not count. A longer one of a guest is fragmented, or its sender told what fits; one of another host or of this host itself is \
dropped as `too_big`. Guests have 50 bytes less than the uplink for packets to other hosts: outer IPv4 20, UDP 8, VXLAN 8, \
inner Ethernet 14. In the start-up file this follows the `port attach` that makes the port; the uplink's is fixed at start.";

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

const DEVARGS: Part = arg(
    "DEVARGS",
    Kind::Text,
    "the device: a PCI address or a DPDK virtual device with its arguments; or a VLAN of another port",
);

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[Is("port"), Is("attach"), DEVARGS],
        when: When::Always,
        summary: "Adds a device; its port gets the lowest number that is free",
        details: "\
Examples: `port attach 0000:3b:00.0` (a NIC bound to vfio-pci), `port attach \
net_vhost0,iface=/run/alkaid/vm1.sock,client=1,queues=1` (a virtual machine; without `client=1` it connects to the switch, and has \
to do so again after a restart; it may have as many pairs of queues as `queues=` says, one by default; `tso=1` \
lets it leave TCP to be cut), `port attach net_tap0,iface=tap0`, \
`port attach net_af_packet0,iface=veth0`, `port attach net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap`. `port attach vlan101@3` \
makes a subport: what the guest at port 3 sends with the 802.1Q tag of VLAN 101 loses it and arrives on the new port, and what \
leaves by that leaves by port 3 with the tag. It is bound, guarded and counted as any port; queues, MTU and promiscuous mode \
are those of port 3.

A device that vanishes while the switch runs is noticed within half a second, as far as its driver or the kernel's list of \
interfaces tell, and attached again when it is back; `show ports` says how often the device or its link was lost.",
        build: make!([Value::Text(device)] => Command::PortAttach { device: device.clone(), late: false }),
    },
    Spec {
        parts: &[Is("port"), Is("attach"), DEVARGS, Is("late")],
        when: When::Always,
        summary: "The same for a device that may not be there yet",
        details: "\
What keeps it from being attached is no error: the port waits, `show ports` says for what, and it is attached, set up and, \
where it is to be, started as soon as that is possible. An interface of the kernel's (net_af_packet, net_af_xdp) is looked for \
four times a second, other devices after a pause that grows from half a second to half a minute. What the controller says of such a \
port is PENDING until then. Not for an uplink.",
        build: make!([Value::Text(device)] => Command::PortAttach { device: device.clone(), late: true }),
    },
    Spec {
        parts: &[Is("port"), Is("detach"), PORT],
        when: When::Running,
        summary: "Stops and unbinds a port, and gives its device and its number back",
        details: "\
The next `port attach` may get the number. Subports go before their port; uplinks, the host port and ports of `set vport \
template` stay. At most 1,024 ports are attached at once, subports included; of these, at most 32 by DPDK's drivers, which is its limit for \
one process, and 511 by vhost-user sockets that guests connect to.",
        build: make!([Value::Port(port)] => Command::PortDetach(*port)),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("vport"),
            Is("template"),
            arg(
                "DEVARGS",
                Kind::Text,
                "a device with its arguments, in which `{n}` is a free number, and `{id}` and `{name}` the port's; default: none",
            ),
        ],
        when: When::Start,
        summary: "Makes a device for each port that the controller describes",
        details: "\
For `set vport template net_vhost{n},iface=/run/alkaid/{name}.sock,client=1,queues=2` the controller's port `web1` gets a device for \
QEMU's socket /run/alkaid/web1.sock as soon as it is described, unless `port bind` names it, and loses it when it is deleted. Until its \
device is there the port is PENDING, and `show pending` says why; what fails is tried again after a pause that grows to half a \
minute. `{n}` has to be in the device's name. `{name}` is the id where the controller gives no name. In either, what is no \
letter, digit, `-`, `_` or `.` becomes `_`; one with a `/`, a control character or a dot in front is refused. After a restart \
devices are made of the goal states that `set store` has kept, with the same names; `{n}` may be another. A port that is given \
another name keeps its device until then. `set portlist` does not count for these ports.",
        build: make!([Value::Text(text)] => Command::Set(Setting::VportTemplate(text.clone()))),
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
        parts: &[
            Is("port"),
            Is("config"),
            PORTS,
            Is("tx-offload"),
            arg(
                "on|off",
                Kind::OnOff,
                "default: on with virtio (net_vhost, net_virtio, net_virtio_user), else off",
            ),
        ],
        when: When::Always,
        summary: "Says whether checksums and TCP segments that a guest left undone are left to a port's device",
        details: "\
Guests behind virtio may leave these to their port. A guest of this host whose port has this on gets them as they are, if it said that \
it takes such. All else the switch finishes in software, also what goes into VXLAN: `show port stats` counts \
`checksums_finished` and `segments_made`. Other devices may make checksums, but many of them then send all frames by a slower \
function, and net_tap makes them in a loop on the worker. `show port info` says what a device does. In the start-up file this \
follows the `port attach` that makes the port; a running port is stopped first.",
        build: make!([Value::Ports(ports), Value::OnOff(on)] => Command::TxOffload { ports: *ports, on: *on }),
    },
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
        parts: &[Is("clear"), Is("port"), Is("stats"), PORTS],
        when: When::Running,
        summary: "Counts a port's statistics from zero",
        details: "",
        build: make!([Value::Ports(ports)] => Command::ClearPortStats(*ports)),
    },
];
