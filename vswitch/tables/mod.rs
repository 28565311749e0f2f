// SPDX-License-Identifier: MIT
//! What a burst sees of the goal state, and how it changes under the workers' feet.
//!
//! [`Tables`] is one immutable snapshot behind one pointer; a burst reads one from start to end.
//! Inside it [`neighbors::Neighbors`] is shared between snapshots and updated in place, since copying a
//! million entries per update is out of the question.

mod group;
mod guard;
mod lease;
mod lease6;
mod live;
pub mod neighbors;
mod port_set;
#[allow(unsafe_code)]
pub mod rcu;
mod replication;
pub mod routes;
pub mod snapshot;
mod sync;
mod tunnel;
mod vnis;

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use arrayvec::ArrayVec;
use ipnet::IpNet;

use crate::wire::{Mac, Vni};

pub use group::{GatewayGroup, MAX_MEMBERS};
pub use guard::{AddressPair, Guard};
pub use lease::{Lease, LeaseOptions};
pub use lease6::Lease6;
pub use live::{Choice, Live};
pub use neighbors::{Neighbors, prefetch, prefetch_whole};
pub use port_set::{PortSet, SharedPortSet};
pub use replication::{MAX_REPLICATED_HOSTS, Replication};
pub use routes::RouteTable;
pub use snapshot::Tables;
pub use tunnel::{ENCAPSULATION, ENCAPSULATION6, Tunnel};
pub use vnis::{MAX_VNIS, VniTable};

/// Most ports of one switch, a power of two. Of them, drivers of DPDK's have 32 at most in Debian's build (RTE_MAX_ETHPORTS), and
/// guests behind vhost-user sockets 511. (The model checker's threads have stacks of 32 KiB, and tables are made on them.)
pub const MAX_PORTS: usize = if cfg!(vswitch_loom) { 64 } else { 1024 };

/// Most uplinks: of a host that is connected to two switches of the network.
pub const MAX_UPLINKS: usize = 2;

/// Most subnets one tenant port can have addresses in.
pub const MAX_ATTACHMENTS: usize = 8;

/// A port's number, by the order in which ports are attached: below [`MAX_PORTS`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PortId(u16);

impl PortId {
    /// `None` when there can be no such port.
    #[inline]
    pub const fn new(id: u16) -> Option<Self> {
        if (id as usize) < MAX_PORTS {
            Some(Self(id))
        } else {
            None
        }
    }

    /// All that there can be, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_PORTS as u16).map(Self)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The number, to index with.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something for each port, by [`PortId::index`]. It is on the heap from the start: there are more ports than a stack has room for.
pub fn by_port<T>(make: impl FnMut() -> T) -> Box<[T; MAX_PORTS]> {
    let all: Box<[T]> = std::iter::repeat_with(make).take(MAX_PORTS).collect();
    match all.try_into() {
        Ok(all) => all,
        Err(_) => unreachable!("as many as were taken"),
    }
}

/// An L2 domain of this host: all subnets that share a VNI. A dense number given by the control plane,
/// which neighbor entries use in the VNI's place to fit domain and MAC in one 64-bit key. Never 0xffff.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DomainId(pub NonZeroU16);

/// A VPC of this host: one address space, of IPv4 and of IPv6. A dense number given by the control plane, never 0xffff.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct VpcId(pub NonZeroU16);

/// Where a neighbor is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hop {
    /// On this host, behind a port.
    Local(PortId),
    /// On another host: an index into the next hops ([`neighbors::NextHops`]).
    Remote(HopId),
}

/// Index of a next hop, below [`neighbors::MAX_NEXT_HOPS`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HopId(pub(crate) u32);

/// What the neighbor table knows of a virtual machine's address: all that forwarding to it needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    /// Its MAC.
    pub mac: Mac,
    /// The VNI of its subnet: a routed packet travels in the destination's.
    pub vni: Vni,
    /// Where it is.
    pub hop: Hop,
}

/// A remote VTEP, and how to reach it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The uplink it is reached by.
    pub port: PortId,
    /// The outer addresses.
    pub endpoints: Endpoints,
    /// Source MAC: the uplink's.
    pub src_mac: Mac,
    /// Destination MAC: the neighbor's host, or the underlay gateway.
    pub dst_mac: Mac,
    /// The longest IP packet that gets there, the outer one, in bytes.
    pub mtu: u16,
}

/// Of what next hops differ by: the rest is the uplink's. A million neighbors each look for theirs.
impl Hash for NextHop {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.dst_mac.word() | u64::from(self.port.get()) << 48);
        match self.endpoints {
            Endpoints::V4 { dst, .. } => state.write_u32(dst.to_bits()),
            Endpoints::V6 { dst, .. } => state.write_u128(dst.to_bits()),
        }
    }
}

/// The ways to a remote VTEP, one by each uplink, in the order of [`Underlay::uplinks`]. By an uplink that has none it is the
/// other's.
pub type Ways = [NextHop; MAX_UPLINKS];

/// The outer addresses of a tunnel, which decide what IP it runs over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endpoints {
    /// IPv4.
    V4 {
        /// This host's VTEP.
        src: Ipv4Addr,
        /// The neighbor's host.
        dst: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// This host's VTEP.
        src: Ipv6Addr,
        /// The neighbor's host.
        dst: Ipv6Addr,
    },
}

/// One subnet as a local port sees it. A subnet is of one version of IP; a guest that speaks both is in two.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The subnet's VNI.
    pub vni: Vni,
    /// The L2 domain of that VNI.
    pub domain: DomainId,
    /// The VPC, to find neighbors by address.
    pub vpc: VpcId,
    /// The subnet's addresses.
    pub cidr: IpNet,
    /// The MAC of the subnet's gateway: frames to it are routed. `None`: the subnet has no gateway.
    pub gateway_mac: Option<Mac>,
    /// Its address, which the switch answers for (ARP, neighbor discovery, echo, ICMP errors). `None`: nobody said. In an
    /// IPv6 subnet it answers for the link-local address that is made of the MAC too.
    pub gateway_ip: Option<IpAddr>,
    /// The addresses of all gateways that the subnet's routers have, its own included, in order: they answer echo requests.
    pub gateways: Arc<[IpAddr]>,
    /// This host's distributed-router MAC: inner source of routed frames that leave for another host
    /// (Alcor: RouterConfiguration.host_dvr_mac_address). `None`: the subnet is in no router.
    pub host_dvr_mac: Option<Mac>,
    /// The subnet's route table (empty when it is in no router).
    pub routes: Arc<RouteTable>,
    /// What its gateway says of an IPv6 subnet when it is solicited.
    pub advertisement: Arc<Advertisement>,
    /// Who knows the neighbors of the VPC that the tables lack (Alcor: VpcConfiguration.gateway_ids). `None`: nobody.
    pub group: Option<Arc<GatewayGroup>>,
    /// Whom broadcast and multicast are copied to. `None`: nobody, they are dropped.
    pub replication: Option<Replication>,
}

/// What a router says of an IPv6 subnet besides its prefix and its own MAC (RFC 4861 section 4.2).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Advertisement {
    /// Longest IP packet that gets through, in bytes; a guest is told no more than its port takes, and nothing below 1280
    /// (RFC 8200 section 5). `None`: it is told nothing.
    pub mtu: Option<u16>,
    /// Recursive DNS servers (RFC 8106), the preferred one first; what is behind the first [`MAX_DNS`] is left out.
    pub dns: Vec<Ipv6Addr>,
}

/// Most DNS servers that a router tells of. Resolvers use three.
pub const MAX_DNS: usize = 8;

/// What goal state a tenant port carries.
#[derive(Clone, Default, Debug)]
pub struct TenantPort {
    /// The guest's MAC.
    pub mac: Mac,
    /// False: administratively down, nothing passes (Alcor: PortConfiguration.admin_state_up).
    pub admin_up: bool,
    /// True: frames with VLAN tags are carried from it and given to it as they are. False: they are dropped.
    pub takes_tags: bool,
    /// Who it may say it is. `None`: anybody.
    pub guard: Option<Guard>,
    /// What it is told by DHCP. `None`: it is not served.
    pub lease: Option<Arc<Lease>>,
    /// What it is told by DHCPv6, which its gateway says is to be asked then (RFC 4861: the M and O flags). `None`: it is
    /// not served.
    pub lease6: Option<Arc<Lease6>>,
    /// The subnets that its fixed IPs are in; at least one. Its frames are switched in the one that their
    /// source address is in, the first if in none.
    pub attachments: ArrayVec<Attachment, MAX_ATTACHMENTS>,
}

impl TenantPort {
    /// True if it gets the broadcasts of an L2 domain, and those of its guest go there: it is in a subnet of it with
    /// replication.
    pub fn gets_copies(&self, domain: DomainId) -> bool {
        let mut subnets = self.attachments.iter();
        subnets.any(|subnet| subnet.domain == domain && subnet.replication.is_some())
    }
}

/// What a port is for.
#[derive(Clone, Debug, Default)]
pub enum Role {
    /// Nobody said yet: what arrives is counted and dropped.
    #[default]
    Unbound,
    /// Towards the underlay; carries VXLAN.
    Uplink,
    /// Towards the host's own network stack: what arrives on an uplink and is not VXLAN for us goes there.
    Host,
    /// A guest's.
    Tenant(Arc<TenantPort>),
}

/// An uplink and its VTEP addresses, of which it has one at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// Its port.
    pub port: PortId,
    /// Its address of IPv4.
    pub vtep: Option<Ipv4Addr>,
    /// Its address of IPv6.
    pub vtep6: Option<Ipv6Addr>,
}

/// This host's place in the underlay. Fixed at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Underlay {
    /// The first uplink's VTEP address of IPv4, if it has one.
    pub vtep: Option<Ipv4Addr>,
    /// The same of IPv6. It has one of the two at least.
    pub vtep6: Option<Ipv6Addr>,
    /// The first uplink.
    pub uplink: PortId,
    /// The second uplink, if there is one.
    pub second: Option<Uplink>,
    /// Where traffic of the underlay that is not ours goes, if there is a host port.
    pub host_port: Option<PortId>,
    /// What the outer headers of this host have besides addresses.
    pub tunnel: Tunnel,
}

impl Underlay {
    /// Bytes that an outer packet has in front of the inner one, by whichever IP takes more of those that this host has a
    /// VTEP of: what guests are told has to fit on every way.
    pub fn encapsulation(&self) -> u16 {
        if self.uplinks().any(|uplink| uplink.vtep6.is_some()) {
            ENCAPSULATION6
        } else {
            ENCAPSULATION
        }
    }

    /// The uplinks, in order: one, or two.
    pub fn uplinks(&self) -> impl Iterator<Item = Uplink> + use<> {
        std::iter::once(self.first()).chain(self.second)
    }

    /// The uplink at a port; the first for any other.
    #[inline]
    pub fn uplink_at(&self, port: PortId) -> Uplink {
        let second = self.second.filter(|second| second.port == port);
        second.unwrap_or(self.first())
    }

    /// True for a VTEP address of this host, of any uplink.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.uplinks().any(|uplink| match ip {
            IpAddr::V4(ip) => uplink.vtep == Some(ip),
            IpAddr::V6(ip) => uplink.vtep6 == Some(ip),
        })
    }

    #[inline]
    const fn first(&self) -> Uplink {
        Uplink {
            port: self.uplink,
            vtep: self.vtep,
            vtep6: self.vtep6,
        }
    }
}

/// A table that can be full.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Full {
    /// Neighbors by L2 domain and MAC.
    NeighborsByMac,
    /// Neighbors by VPC and IPv4 address.
    NeighborsByIp,
    /// Neighbors by VPC and IPv6 address.
    NeighborsByIp6,
    /// Next hops.
    NextHops,
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NeighborsByMac => "neighbors by MAC",
            Self::NeighborsByIp => "neighbors by IPv4 address",
            Self::NeighborsByIp6 => "neighbors by IPv6 address",
            Self::NextHops => "next hops",
        })
    }
}

/// Why an entry was refused. The table is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "no room for more {table}: at most {capacity}, and {leaving} removed ones wait for workers to let go of them"
)]
pub struct TableFull {
    /// Which table.
    pub table: Full,
    /// Most entries.
    pub capacity: usize,
    /// Entries removed or changed whose slots are not free yet, since a worker may still look at them.
    pub leaving: usize,
}
