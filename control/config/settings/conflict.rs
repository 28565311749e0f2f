// SPDX-License-Identifier: MIT
//! What contradicts in a start-up file, line by line correct as it may be.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use vswitch::tables::{ENCAPSULATION, MAX_PORTS, MAX_UPLINKS};
use vswitch::wire::ipv6;

use crate::core::TooManyNamed;
use crate::southbound::field::version;

use super::super::subport::SubportError;
use super::super::vport::VportError;

/// A contradiction.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Conflict {
    /// The same thing is said twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// A port that no line before attaches.
    #[error("there is no port {port}: {}", preceding(*.attached))]
    NoSuchPort {
        /// The number.
        port: u16,
        /// How many `port attach` precede.
        attached: usize,
    },
    /// `all` while no port is attached.
    #[error("`all` is no port: no `port attach` precedes")]
    NoPorts,
    /// More ports than there can be.
    #[error("more than {MAX_PORTS} ports")]
    TooManyPorts,
    /// The same device for two ports.
    #[error("the device `{0}` is attached twice")]
    SameDevice(String),
    /// No subport, or something that it does not have.
    #[error(transparent)]
    Subport(#[from] SubportError),
    /// The template for guests' ports.
    #[error(transparent)]
    Template(VportError),
    /// An uplink's MAC and MTU are needed at start.
    #[error(
        "port {0} is an uplink: its device cannot come late, since the other hosts are told of it at start"
    )]
    LateUplink(u16),
    /// The uplink or the host port.
    #[error("port {0} is a subport: it has no device to be the uplink or the host port")]
    SubportRole(u16),
    /// Too many subnets.
    #[error(transparent)]
    TooManyNamed(#[from] TooManyNamed),
    /// The same of the controller's ports for two ports.
    #[error("two ports are bound to `{0}`")]
    SameId(String),
    /// A device among the arguments of `eal`.
    #[error("`eal {0}` would add ports outside the numbering")]
    DeviceInEal(String),
    /// Too many uplinks.
    #[error("there are {MAX_UPLINKS} uplinks at most, and this is another")]
    TooManyUplinks,
    /// A host port, which stands for one uplink.
    #[error("with several uplinks there is no host port: it could stand for one of them only")]
    HostPortOfSeveral,
    /// Fewer cores than workers.
    #[error("{cores} cores for {workers} workers")]
    FewCores {
        /// Cores of `set corelist`.
        cores: usize,
        /// Workers of `set nbcore`.
        workers: u16,
    },
    /// Goal states would be taken, and no tunnel endpoint is known.
    #[error("the controller's goal states are taken, and there is no `set vtep`")]
    NoVtep,
    /// Two servers with one address.
    #[error("goal states and subscriptions cannot both arrive at {0}")]
    SameSocket(SocketAddr),
    /// Something about the underlay, without a tunnel endpoint.
    #[error("this needs a tunnel endpoint, and there is no `set vtep`")]
    NeedsVtep,
    /// Somebody on the underlay of whose kind this host has no address there.
    #[error("{0} is reached from an {v} address only, and no `set vtep` gives this host one", v = version(*.0))]
    NeedsVtepLike(IpAddr),
    /// An address to ask from, and nobody to ask.
    #[error("this says where the controller is asked from, and there is no `set ncm`")]
    NeedsNcm,
    /// No connection leads from one to the other.
    #[error("{ncm} cannot be reached from {from}")]
    TwoFamilies {
        /// Where the controller is asked.
        ncm: SocketAddr,
        /// From where.
        from: IpAddr,
    },
    /// Nothing is left of the underlay's packets for guests.
    #[error(
        "the uplink's MTU of {0} leaves guests less than IPv4's least of 68 bytes: VXLAN takes {ENCAPSULATION}"
    )]
    ShortUplink(u16),
    /// IPv6 does not run over such an uplink.
    #[error(
        "the uplink's MTU of {0} is less than IPv6's least of {least} bytes (RFC 8200), and this host has an IPv6 tunnel endpoint",
        least = ipv6::LEAST_MTU
    )]
    ShortUplink6(u16),
    /// More memory than neighbors.
    #[error("memory for {reserve} neighbors, and room for {capacity}")]
    Reserve {
        /// Neighbors of `set neighbors reserve`.
        reserve: u32,
        /// Neighbors of `set neighbors capacity`.
        capacity: u32,
    },
    /// A port that is to be two things.
    #[error("port {0} cannot be both")]
    TwoRoles(u16),
    /// Something about a guest, of a port that has none.
    #[error("port {0} is no guest's: it is the uplink or the host port")]
    NoGuest(u16),
    /// A port with a role that is not polled.
    #[error("port {0} is not in `set portlist`, so nothing would poll it")]
    NotPolled(u16),
    /// The address is the link's own name or its broadcast.
    #[error("{} is no host's address in {}", .0.addr(), .0.trunc())]
    NotAHost(IpNet),
    /// Another host with this host's address.
    #[error("{0} is this host's own address")]
    OwnAddress(IpAddr),
    /// A gateway that cannot be reached.
    #[error("{gateway} is not on the uplink's link {link}")]
    GatewayOffLink {
        /// The gateway.
        gateway: IpAddr,
        /// The link.
        link: IpNet,
    },
    /// The way to it is no uplink.
    #[error("port {0} is no uplink: no `set vtep` names it")]
    NoUplink(u16),
    /// A command for a running switch.
    #[error("`{0}` is for a running switch, not for the file it starts with")]
    NotAtStart(String),
    /// A command for the start-up file.
    #[error("`{0}` is for the file that the switch starts with")]
    OnlyAtStart(String),
}

fn preceding(count: usize) -> String {
    match count {
        0 => "no `port attach` precedes".to_owned(),
        1 => "only one `port attach` precedes, it made port 0".to_owned(),
        n => format!(
            "only {n} `port attach` precede, they made ports 0 to {}",
            n - 1
        ),
    }
}

impl Conflict {
    /// What to do about it, if that can be said in general.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoSuchPort { .. } | Self::NoPorts => {
                "ports are numbered in the order of their `port attach` lines"
            }
            Self::DeviceInEal(_) => "name the device with `port attach`",
            Self::FewCores { .. } => "name more cores or lower `set nbcore`",
            Self::NoVtep => "add `set vtep ADDR/LEN port N`, or `set southbound off`",
            Self::SameSocket(_) => {
                "give them different ports; an Alcor controller uses 50001 and 50002"
            }
            Self::NeedsVtep | Self::NeedsVtepLike(_) => "add `set vtep ADDR/LEN port N`",
            Self::NeedsNcm => "add `set ncm ADDR`",
            Self::TwoFamilies { .. } => "name an address of the same kind with `set ncm source`",
            Self::NotPolled(_) => "add it there, or leave `set portlist` out",
            Self::NotAtStart(_) => "give it with `alkaid exec` or in `alkaid console`",
            Self::OnlyAtStart(_) => "change it there and restart the switch",
            _ => return None,
        })
    }
}
