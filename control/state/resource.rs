// SPDX-License-Identifier: MIT
//! What the controller says of each kind of resource, validated: the values that goal states are made of.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use smallvec::SmallVec;
use vswitch::wire::{Mac, Vni};

use super::gateway::Machines;
use super::id::Id;
use crate::proto::schema::neighbor_configuration::AllowAddressPair;
use crate::proto::schema::router_configuration::RoutingRule;
use crate::proto::schema::security_group_configuration::SecurityGroupRule;
use crate::proto::schema::{
    DhcpConfiguration, GatewayConfiguration, PortConfiguration, RouterConfiguration,
    SecurityGroupConfiguration, SubnetConfiguration, VpcConfiguration,
};

/// One resource as a goal state describes it, or `None` where it is to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A VPC.
    Vpc(Option<Described<Vpc, VpcConfiguration>>),
    /// A subnet.
    Subnet(Option<Described<Subnet, SubnetConfiguration>>),
    /// A port of this host.
    Port(Option<Described<Port, PortConfiguration>>),
    /// A router.
    Router(Option<RouterUpdate>),
    /// A neighbor's addresses, each of them a resource of its own.
    Neighbor(NeighborUpdate),
    /// A security group.
    SecurityGroup(Option<SecurityGroupUpdate>),
    /// What a port is told by DHCP.
    Dhcp(DhcpUpdate),
    /// A gateway.
    Gateway(Option<Described<Machines, GatewayConfiguration>>),
}

/// A resource: what this switch makes of it, and all that was said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Described<T, C> {
    /// What is acted on.
    pub value: T,
    /// The controller's own words, without id and revision: also what is only shown, and what a later version may
    /// act on.
    pub said: Box<C>,
}

/// A VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vpc {
    /// VNI of its subnets that have none of their own.
    pub vni: Option<Vni>,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// Id of its VPC.
    pub vpc: String,
    /// Its addresses.
    pub cidr: IpNet,
    /// Its VNI; `None`: the VPC's.
    pub vni: Option<Vni>,
    /// Its gateway, if it has one.
    pub gateway: Option<Gateway>,
}

/// The gateway of a subnet: an address that the switch itself plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// Its address, if known: of the same version of IP as the subnet's. An IPv6 one may be link-local.
    pub ip: Option<IpAddr>,
    /// Frames to this MAC are routed.
    pub mac: Mac,
}

/// A port of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// The guest's MAC.
    pub mac: Mac,
    /// False: nothing passes.
    pub admin_up: bool,
    /// Its addresses; at least one.
    pub fixed_ips: Vec<FixedIp>,
    /// What else it may send from (Alcor: allow_address_pairs).
    pub pairs: Vec<AllowedPair>,
}

/// Addresses that a port may send from besides its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AllowedPair {
    /// The addresses.
    pub prefix: IpNet,
    /// The MAC that it may send them from; `None`: its own.
    pub mac: Option<Mac>,
}

/// An address of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FixedIp {
    /// Id of its subnet.
    pub subnet: String,
    /// The address.
    pub ip: IpAddr,
}

/// What a goal state says of a router. The update is merged into what is known, or replaces it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouterUpdate {
    /// True: replaces what was said before. False: what is not mentioned stays.
    pub full: bool,
    /// Source MAC of routed frames that leave this host, if said.
    pub dvr_mac: Option<Mac>,
    /// What is said of each subnet; being mentioned connects it.
    pub subnets: Vec<SubnetRules>,
    /// The controller's own words, without the subnets' tables.
    pub said: Box<RouterConfiguration>,
}

/// What a router update says of one subnet, or of all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SubnetRules {
    /// Id of the subnet. `None`: the router's default table, of subnets without rules of their own.
    pub subnet: Option<String>,
    /// Rules by key; `None`: delete it.
    pub rules: Vec<(RuleKey, Option<Rule>)>,
}

/// What tells rules of one subnet apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RuleKey {
    /// The rule's id.
    Id(String),
    /// Destination and next hop, of a rule without an id.
    Path(IpNet, NextHop),
}

/// Where a rule leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NextHop {
    /// The destination is reached directly.
    Link,
    /// Via this machine, of the same version of IP.
    Via(IpAddr),
    /// Nowhere: what is sent there is dropped.
    Blackhole,
}

impl NextHop {
    /// The machine, if there is one.
    pub(crate) const fn machine(self) -> Option<IpAddr> {
        match self {
            Self::Via(machine) => Some(machine),
            Self::Link | Self::Blackhole => None,
        }
    }
}

/// A route of a subnet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// Where to.
    pub destination: IpNet,
    /// By which way.
    pub next_hop: NextHop,
    /// The lower number wins among equal destinations; of equal ones that lead via machines, each flow takes one.
    pub priority: u32,
    /// The controller's own words.
    pub said: Box<RoutingRule>,
}

/// What a goal state says of a neighbor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NeighborUpdate {
    /// As the controller calls it: its port's id, possibly empty.
    pub id: Id,
    /// Which addresses it is about; at least one.
    pub addresses: SmallVec<[NeighborAddress; 1]>,
    /// Where it is; `None`: it is to be deleted.
    pub place: Option<NeighborPlace>,
}

/// One address of a neighbor. Together with the neighbor's id it identifies what the controller talks of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NeighborAddress {
    /// True: in another subnet than the ports that want it (Alcor: L3).
    pub routed: bool,
    /// Id of its subnet, which it shares with thousands.
    pub subnet: Arc<str>,
    /// The address.
    pub ip: IpAddr,
    /// What else is said, if anything.
    pub details: Option<Box<NeighborDetails>>,
}

/// What a controller may say of a neighbor and Alcor's usually does not. Only kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NeighborDetails {
    /// What is said once for all addresses of the neighbor, if anything: they share it.
    pub of_all: Option<Arc<NeighborSaid>>,
    /// The group of Arion gateways that serves the address.
    pub arion_group: String,
    /// The VNI that those know it by.
    pub tunnel_id: u32,
}

/// What a controller may say of all addresses of a neighbor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NeighborSaid {
    /// For people.
    pub name: String,
    /// Further addresses it may send from.
    pub allow_address_pairs: Vec<AllowAddressPair>,
}

/// What is known of a neighbor, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeighborPlace {
    /// Its own MAC.
    pub mac: Mac,
    /// The VTEP of its host.
    pub host: IpAddr,
    /// The MAC of its host, if said.
    pub host_mac: Option<Mac>,
}

/// What a goal state says of a security group. The update is merged into what is known, or replaces it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecurityGroupUpdate {
    /// True: replaces what was said before. False: what is not mentioned stays.
    pub full: bool,
    /// Rules by key; `None`: delete it.
    pub rules: Vec<(SecurityRuleKey, Option<SecurityGroupRule>)>,
    /// The controller's own words, without the rules.
    pub said: Box<SecurityGroupConfiguration>,
}

/// What tells rules of one security group apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SecurityRuleKey {
    /// The rule's id.
    Id(String),
    /// The rule itself as protobuf, when it has no id.
    Whole(Vec<u8>),
}

/// What a goal state says of DHCP for a port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DhcpUpdate {
    /// Whom it is for. Told to delete, the controller may leave it out.
    pub client: Option<DhcpClient>,
    /// What it is told; `None`: nothing any more.
    pub said: Option<Box<DhcpConfiguration>>,
}

/// Whom DHCP serves: the id of a subnet, and a MAC in it. Alcor makes up a new id for every push of the same state, so
/// that this is what tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DhcpClient {
    /// Id of its subnet.
    pub subnet: String,
    /// Its MAC.
    pub mac: Mac,
}
