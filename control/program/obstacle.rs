// SPDX-License-Identifier: MIT
//! [`Obstacle`]: what a resource waits for, as a few bytes; put into words when somebody asks.

use std::fmt;
use std::net::IpAddr;

use vswitch::tables::TableFull;
use vswitch::wire::Vni;

use super::{numbers, routes};
use crate::dhcp::offer::NoLease;
use crate::proto::schema::OperationStatus;
use crate::southbound::field::{FieldError, Quote, version};
use crate::state::Wanted;
use crate::state::gateway::Unusable;
use crate::state::kept::Unserved;
use crate::state::network::{SubnetIx, VpcIx};
use crate::state::port::PortIx;
use crate::state::resource::DhcpClient;

/// Why a resource is not, or not wholly, programmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A subnet that it names is not described.
    NoSubnet(SubnetIx),
    /// The subnet has no VNI of its own, and its VPC none or is not described.
    NoVni(SubnetIx),
    /// No port of the switch is bound to the port's id, or one whose device is not there.
    NoDevice(PortIx),
    /// An L3 neighbor's subnet, to which no router leads.
    NoRouter(SubnetIx),
    /// Nobody has the address that a rule of the subnet leads to.
    NoNextHop(SubnetIx, IpAddr),
    /// The address is said to be in the subnet, which is of the other version of IP.
    OtherVersion(SubnetIx, IpAddr),
    /// The neighbor, or the gateway, is on another host and this one has no VTEP.
    NoVtep,
    /// Nobody said which MAC the neighbor's host, or the gateway's machine, is reached by.
    NoMac(IpAddr),
    /// The neighbor's host, or the gateway's machine, is reached over the version of IP of which this one has no VTEP.
    NoVtepLike(IpAddr),
    /// No room.
    Full(TableFull),
    /// The subnet's routers have more routes for it than a table takes.
    TooManyRoutes(SubnetIx),
    /// The subnet's VNI is that of another VPC, from which tenants are kept apart by it.
    VniTaken(Vni, VpcIx),
    /// No number left for a VPC or a VNI.
    NoNumber,
    /// No port of the switch is the client that DHCP has something to say to.
    NoClient(Box<DhcpClient>),
    /// The client's port is not served by DHCP.
    NoLease(Box<NoLease>),
    /// The client's port is served in another of its subnets, which it lists first.
    OtherOffer(SubnetIx),
    /// What a port is told by DHCP lacks something that the controller says wrong.
    Told(FieldError),
    /// The VPC names a gateway of this id, which is not described.
    NoGateway(Box<str>),
    /// No VPC names the gateway.
    NoVpc,
    /// The gateway has no machines.
    NoMachine,
    /// The VPC's gateways have more machines than a group takes.
    TooManyMachines(VpcIx),
    /// The gateway is kept, and of no use.
    Unusable(Unusable),
    /// It is kept for a version that acts on it.
    Unserved(Unserved),
}

impl From<TableFull> for Obstacle {
    fn from(full: TableFull) -> Self {
        Self::Full(full)
    }
}

impl Obstacle {
    /// The status of what it stands in the way of.
    pub(crate) fn status(&self) -> OperationStatus {
        if self.is_invalid() {
            OperationStatus::InvalidArg
        } else if self.is_failure() {
            OperationStatus::Failure
        } else {
            OperationStatus::Pending
        }
    }

    /// True if waiting does not help: the controller has to know.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Full(_) | Self::TooManyRoutes(_) | Self::TooManyMachines(_) | Self::NoNumber
        )
    }

    /// True if the resource itself makes no sense.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(
            self,
            Self::VniTaken(..) | Self::OtherVersion(..) | Self::Told(_) | Self::Unusable(_)
        )
    }

    /// The same in words, with the names of what is concerned.
    pub(crate) fn explain<'a>(&'a self, wanted: &'a Wanted) -> Explained<'a> {
        Explained {
            obstacle: self,
            wanted,
        }
    }
}

/// An [`Obstacle`] in words.
pub(crate) struct Explained<'a> {
    obstacle: &'a Obstacle,
    wanted: &'a Wanted,
}

impl Explained<'_> {
    fn subnet(&self, ix: SubnetIx) -> Quote<'_> {
        Quote(self.wanted.subnet(ix).map_or("", |slot| &slot.id))
    }

    fn no_vni(&self, f: &mut fmt::Formatter<'_>, ix: SubnetIx) -> fmt::Result {
        let vpc = self.wanted.subnet(ix).and_then(|slot| slot.vpc);
        let vpc = vpc.and_then(|vpc| self.wanted.vpc(vpc));
        let (subnet, id) = (self.subnet(ix), Quote(vpc.map_or("", |vpc| &vpc.id)));
        if vpc.is_some_and(|vpc| vpc.wanted.is_some()) {
            write!(f, "neither subnet {subnet} nor its VPC {id} has a VNI yet")
        } else {
            write!(
                f,
                "subnet {subnet} has no VNI, and its VPC {id} is not known yet"
            )
        }
    }
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.obstacle {
            Obstacle::NoSubnet(ix) => write!(f, "its subnet {} is not known yet", self.subnet(*ix)),
            Obstacle::NoVni(ix) => self.no_vni(f, *ix),
            Obstacle::NoDevice(ix) => {
                if let Some(waits) = self.wanted.device_waits(*ix) {
                    return f.write_str(&waits);
                }
                let id = self.wanted.port(*ix).map_or("", |slot| &slot.id);
                write!(f, "no port of the switch is bound to {} yet", Quote(id))
            }
            Obstacle::NoRouter(ix) => {
                write!(f, "its subnet {} is in no router yet", self.subnet(*ix))
            }
            Obstacle::NoNextHop(ix, hop) => write!(
                f,
                "next hop {hop} of a rule for subnet {} is no port and no neighbor that is reached yet",
                self.subnet(*ix)
            ),
            Obstacle::OtherVersion(ix, ip) => {
                let subnet = self.wanted.subnet(*ix);
                let cidr = subnet.and_then(|slot| Some(slot.wanted.as_ref()?.value.cidr));
                write!(
                    f,
                    "fixed_ips: ip_address {ip} is an {} address, and subnet {} has the cidr {}",
                    version(*ip),
                    self.subnet(*ix),
                    cidr.map(|cidr| cidr.to_string()).unwrap_or_default()
                )
            }
            Obstacle::NoVtep => f.write_str("this switch has no VTEP"),
            Obstacle::NoMac(host) => write!(f, "no underlay MAC for {host}"),
            Obstacle::NoVtepLike(host) => {
                let version = version(*host);
                write!(
                    f,
                    "{host} is reached over {version}, and this switch has no {version} VTEP"
                )
            }
            Obstacle::Full(full) => full.fmt(f),
            Obstacle::TooManyRoutes(ix) => write!(
                f,
                "more than {} routes for subnet {}",
                routes::MAX_ROUTES,
                self.subnet(*ix)
            ),
            Obstacle::VniTaken(vni, owner) => {
                let owner = self.wanted.vpc(*owner).map_or("", |slot| &slot.id);
                write!(f, "VNI {vni} belongs to another VPC, {}", Quote(owner))
            }
            Obstacle::NoNumber => write!(
                f,
                "more VPCs or VNIs than this switch can tell apart ({})",
                numbers::MAX_NUMBERS
            ),
            Obstacle::NoClient(client) => write!(
                f,
                "no port of the switch is bound to one with the MAC {} in subnet {} yet",
                client.mac,
                Quote(&client.subnet)
            ),
            Obstacle::NoLease(why) => why.fmt(f),
            Obstacle::OtherOffer(ix) => write!(
                f,
                "its port is served in subnet {}, which comes first",
                self.subnet(*ix)
            ),
            Obstacle::Told(problem) => write!(f, "served, but for {problem}"),
            Obstacle::NoGateway(id) => write!(f, "its gateway {} is not known yet", Quote(id)),
            Obstacle::NoVpc => f.write_str("no VPC names it yet"),
            Obstacle::NoMachine => f.write_str("it has no destinations yet"),
            Obstacle::TooManyMachines(ix) => {
                let vpc = self.wanted.vpc(*ix).map_or("", |slot| &slot.id);
                let (vpc, most) = (Quote(vpc), vswitch::tables::MAX_MEMBERS);
                write!(
                    f,
                    "the gateways of VPC {vpc} have more than {most} destinations"
                )
            }
            Obstacle::Unusable(why) => why.fmt(f),
            Obstacle::Unserved(why) => why.fmt(f),
        }
    }
}
