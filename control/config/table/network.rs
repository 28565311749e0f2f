// SPDX-License-Identifier: MIT
//! Rows for the underlay, the controller and the neighbors.

use std::net::IpAddr;
use std::path::PathBuf;

use vswitch::tables::PortId;
use vswitch::wire::Mac;

use super::super::argument::{Kind, Value};
use super::super::command::{Command, Setting};
use super::super::gateway::Gateway;
use super::Part::Is;
use super::{Part, Spec, When, arg};
use crate::state::Revisions;

/// Largest neighbor capacity: 2^24 entries are 1 GiB of tables.
const MAX_NEIGHBORS: u32 = 1 << 24;

/// Longest wait for a controller, in seconds: a day.
const MAX_RESYNC: u32 = 86_400;

const IP: Part = arg("IP", Kind::Address, "its address in the underlay");
const MAC: Part = arg("MAC", Kind::Mac, "its MAC");
const UPLINK: Part = arg("PORT", Kind::Port, "the uplink that it is reached by");

const fn gateway(ip: IpAddr, mac: Option<Mac>, port: Option<PortId>) -> Command {
    Command::Set(Setting::UnderlayGateway(Gateway { ip, mac, port }))
}

pub(super) const ROWS: &[Spec] = &[
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
are not VXLAN go to `set host port`. Given twice, with an IPv4 and an IPv6 address and the same port, the host has both, and \
each neighbor is reached by the one of its own host's kind. Packets over IPv6 have 20 bytes less for guests: with an IPv6 \
address all guests are told the MTU of that.

With another port it is a second uplink, of two at most, with addresses of its own: flows are spread over the uplinks that \
have a link and a way to the neighbor's host, and what arrives by one for the address of the other is taken. A link that is \
lost, or `port stop` of an uplink, moves all flows to the other within a fraction of a second; one that is back is used again \
when it has been up for a second. While one is out, the other answers for its address if that is of its own prefix, and \
announces it. The least MTU of both counts for both, and there is no host port. `show ports` says which are used; drivers differ \
in what they know of a link (`show port info`).",
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
connection, ssh. Without it the switch answers ARP and neighbor discovery for its VTEPs, and drops the rest as `not_for_us`.",
        build: make!([Value::Port(port)] => Command::Set(Setting::HostPort(*port))),
    },
    Spec {
        parts: &[Is("set"), Is("underlay"), Is("neighbor"), IP, MAC],
        when: When::Start,
        summary: "Names the MAC of another host on the underlay",
        details: "\
Used for neighbors whose goal state has no host_mac_address. A MAC in the goal state wins over it, and it wins over \
`set underlay gateway`. Hosts of the VTEP's prefix that nobody names a MAC for are asked for it by ARP or neighbor discovery, and \
`show underlay` lists them, unless `set underlay gateway` has the router's MAC: then it is the router's to bring it to them.",
        build: make!([Value::Address(ip), Value::Mac(mac)] => Command::Set(Setting::UnderlayNeighbor { ip: *ip, mac: *mac })),
    },
    Spec {
        parts: &[Is("set"), Is("underlay"), Is("gateway"), IP, MAC],
        when: When::Start,
        summary: "Names the underlay's router and its MAC: the way to all hosts that are not named otherwise",
        details: "\
Of its own version of IP; there may be one of each on each uplink's link, and a link-local address is on all, as is any where \
the VTEP has a prefix of its own address alone (/32, /128): there `port` says whose router it is.",
        build: make!([Value::Address(ip), Value::Mac(mac)] => gateway(*ip, Some(*mac), None)),
    },
    Spec {
        parts: &[Is("set"), Is("underlay"), Is("gateway"), IP],
        when: When::Start,
        summary: "Names the underlay's router, which is asked for its MAC: the way to hosts beyond the VTEP's prefix",
        details: "",
        build: make!([Value::Address(ip)] => gateway(*ip, None, None)),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("underlay"),
            Is("gateway"),
            IP,
            MAC,
            Is("port"),
            UPLINK,
        ],
        when: When::Start,
        summary: "Names the router of one uplink, and its MAC",
        details: "",
        build: make!([Value::Address(ip), Value::Mac(mac), Value::Port(port)] => gateway(*ip, Some(*mac), Some(*port))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("underlay"),
            Is("gateway"),
            IP,
            Is("port"),
            UPLINK,
        ],
        when: When::Start,
        summary: "Names the router of one uplink, which is asked for its MAC",
        details: "",
        build: make!([Value::Address(ip), Value::Port(port)] => gateway(*ip, None, Some(*port))),
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
Without `set southbound tls` the connection has no authentication: name an address of the management network, or keep \
others out with a firewall.",
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
        parts: &[Is("set"), Is("revisions"), Is("check")],
        when: When::Always,
        summary: "Refuses a resource whose revision is lower than the one known: OUT_OF_ORDER (the default)",
        details: "Equal revisions apply, and so does 0, which is none.",
        build: make!([] => Command::Set(Setting::Revisions(Revisions::Check))),
    },
    Spec {
        parts: &[Is("set"), Is("revisions"), Is("ignore")],
        when: When::Always,
        summary: "Takes resources as they come, whatever their revision",
        details: "For a controller that was restarted and counts from the beginning again.",
        build: make!([] => Command::Set(Setting::Revisions(Revisions::Ignore))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("store"),
            arg(
                "PATH",
                Kind::Path,
                "a file, made if it is not there; default: none",
            ),
        ],
        when: When::Start,
        summary: "Keeps goal states across a restart or a crash",
        details: "\
What was answered SUCCESS is in the file, and is programmed again at start before the controller connects. A relative path \
is relative to the working directory. Without it the controller has to send everything again after a restart.",
        build: make!([Value::Text(path)] => Command::Set(Setting::Store(PathBuf::from(path)))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("resync"),
            arg(
                "SECONDS",
                Kind::Number(0, MAX_RESYNC),
                "seconds after start; default 0: never",
            ),
        ],
        when: When::Start,
        summary: "Sets when resources from the store are deleted that the controller has not sent again",
        details: "\
What comes from the store is stale until the controller says it again, and forwards like everything else. Set this only with \
a controller that sends everything again after a restart; Alcor's does not.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Resync(*n))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("anti-spoofing"),
            arg("on|off", Kind::OnOff, "default: off"),
        ],
        when: When::Start,
        summary: "Drops what guests send from addresses that they do not have",
        details: "\
A guest may send from its port's MAC and fixed addresses, from the port's allowed address pairs, and from the IPv6 link-local \
addresses of these MACs; ARP and neighbor discovery too. It is neither DHCP server nor router. `show drops` counts \
`spoofed_mac`, `spoofed_ip`, `spoofed_arp` and `rogue_server`. A port may have a rule of its own: `port config 1 anti-spoofing off`.",
        build: make!([Value::OnOff(on)] => Command::Set(Setting::AntiSpoofing(*on))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("fragment"),
            arg("on|off", Kind::OnOff, "default: on"),
        ],
        when: When::Start,
        summary: "Fragments IPv4 packets that are too long for their way and may be fragmented",
        details: "\
As routers do (RFC 1812 section 5.2.6). Off, they are dropped and their senders told what fits, as are those that must not \
be fragmented. The way to another host \
takes 50 bytes less than the uplink's MTU, or 70 over IPv6, the way to a guest of this host what its port's is. Of a packet in fragments the \
last counts as forwarded, the others as `tx_own` of the port that they leave by.",
        build: make!([Value::OnOff(on)] => Command::Set(Setting::Fragment(*on))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("clamp-mss"),
            arg("on|off", Kind::OnOff, "default: off"),
        ],
        when: When::Start,
        summary: "Lowers the segment size that TCP connections of guests agree on to what their way takes",
        details: "\
A connection whose first packets announce a maximum segment size of more than the path MTU minus 40, or 60 over IPv6, then \
announces that much. For guests whose MTU is too large and who do not hear, or not heed, ICMP.",
        build: make!([Value::OnOff(on)] => Command::Set(Setting::ClampMss(*on))),
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
        details: "\
The tables grow as neighbors come, at about 64 bytes each, or 80 with an IPv6 address. Beyond this number, of addresses of \
either version of IP, a neighbor is answered FAILURE.",
        build: make!([Value::Number(n)] => Command::Set(Setting::NeighborsCapacity(*n))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("neighbors"),
            Is("reserve"),
            arg(
                "COUNT",
                Kind::Number(0, MAX_NEIGHBORS),
                "neighbors; default 0",
            ),
        ],
        when: When::Start,
        summary: "Takes the memory of so many neighbors at start",
        details: "\
At most as many as `set neighbors capacity` says. About 320 bytes each, of some 420 that they take in all; what is found by \
IPv6 address takes its memory as it comes. Without it memory is taken as neighbors come, which costs time then: much of it in a \
virtual machine whose host gives it memory when that is first touched.",
        build: make!([Value::Number(n)] => Command::Set(Setting::NeighborsReserve(*n))),
    },
];
