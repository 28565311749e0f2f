// SPDX-License-Identifier: MIT
//! What the controller wants: resources by id, who depends on whom, revisions. Knows nothing of tables.
//!
//! * [`resource`] what goal states are made of; [`slots`] ids as small numbers; [`id`], [`index`] and [`chunks`] for
//!   those of which there are a million.
//! * [`network`] VPCs and subnets, [`router`], [`port`] and [`neighbor`]: how each changes, and whom that
//!   touches; [`gateway`]s, and [`kept`] DHCP, and what nothing is made of yet.
//! * [`age`] and [`vnis`]: who was first, and who was last.
//! * [`export`] what is wanted, in the controller's own words; [`parts`] all of it, as goal states;
//!   [`stale`] what was wanted before a restart and not since.
//!
//! [`Wanted::apply`] is the way in. What it touched is collected in [`Touched`] until [`crate::program`]
//! takes it.

pub(crate) mod age;
pub(crate) mod chunks;
pub(crate) mod export;
pub(crate) mod gateway;
pub(crate) mod id;
mod index;
pub(crate) mod kept;
pub(crate) mod neighbor;
pub(crate) mod network;
pub(crate) mod parts;
pub(crate) mod port;
pub(crate) mod resource;
pub(crate) mod router;
pub(crate) mod slots;
pub(crate) mod stale;
mod vnis;

use std::collections::BTreeSet;

use age::Clock;
use hashbrown::HashMap;
use smallvec::SmallVec;
use vswitch::tables::PortId;

use crate::proto::schema::ResourceType;
use gateway::Gateways;
use kept::{Kept, Unserved};
use neighbor::{NeighborIx, Neighbors};
use network::{SubnetIx, SubnetSlot, VpcIx, VpcSlot};
use port::{PortIx, PortSlot};
use resource::{Change, DhcpClient};
use router::{RouterIx, RouterSlot};
use slots::Slots;
use stale::Stale;
use vnis::Vnis;

/// A resource with the controller's revision of it.
#[derive(Clone, Debug)]
pub(crate) struct Revised<T, C> {
    /// The highest one seen; 0: none was ever given.
    pub revision: u32,
    /// What it says, as far as it is acted on.
    pub value: T,
    /// All that it says, updates merged.
    pub said: Box<C>,
}

impl<T, C> Revised<T, C> {
    fn new(revision: u32, value: T, said: Box<C>) -> Self {
        Self {
            revision,
            value,
            said,
        }
    }
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is older than what is known.
    #[error("revision {new} is older than {known}, which is known already")]
    Late {
        /// The highest revision that was applied.
        known: u32,
        /// The refused one.
        new: u32,
    },
    /// There are so many resources of its kind already.
    #[error("no room for more: at most {0} resources of a kind are kept")]
    TooMany(usize),
    /// It would have more of something than a goal state may say of it.
    #[error("no room for more: it has at most {0} {1}")]
    TooManyIn(usize, &'static str),
}

/// What to make of a revision that is lower than the one known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Revisions {
    /// It is older: refuse it.
    #[default]
    Check,
    /// Controllers that start to count anew send such.
    Ignore,
}

impl Revisions {
    /// The revision to keep when `new` follows `known`. Equal revisions follow each other, since Alcor sends the
    /// same one always; zero is no revision.
    fn following(self, known: u32, new: u32) -> Result<u32, Refused> {
        match self {
            _ if new == 0 => Ok(known),
            Self::Check if new < known => Err(Refused::Late { known, new }),
            Self::Check | Self::Ignore => Ok(new),
        }
    }

    /// The same for what may not be known yet.
    fn next<T, C>(self, known: Option<&Revised<T, C>>, new: u32) -> Result<u32, Refused> {
        self.following(known.map_or(0, |known| known.revision), new)
    }
}

/// Which resource a change was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// One that is gone, or never was.
    Nothing,
    /// A VPC.
    Vpc(VpcIx),
    /// A subnet.
    Subnet(SubnetIx),
    /// A router.
    Router(RouterIx),
    /// A port.
    Port(PortIx),
    /// Addresses of a neighbor.
    Neighbor(SmallVec<[NeighborIx; 1]>),
    /// What DHCP has to say to a client.
    Dhcp(DhcpClient),
    /// The gateway of this id.
    Gateway(Box<str>),
    /// One that is kept and not acted on.
    Kept(Unserved),
}

/// What has changed, or depends on something that has, and is to be looked at by [`crate::program`].
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Subnets: described otherwise, or their VPC is.
    pub subnets: BTreeSet<SubnetIx>,
    /// VPCs whose gateways may differ.
    pub grouped: BTreeSet<VpcIx>,
    /// Subnets whose routes may differ.
    pub routed: BTreeSet<SubnetIx>,
    /// Ports: described or bound otherwise.
    pub ports: BTreeSet<PortIx>,
    /// Neighbors, in the order in which they were described. May hold one several times.
    pub neighbors: Vec<NeighborIx>,
}

/// Everything the controller wants of this host.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    vpcs: Slots<VpcSlot>,
    subnets: Slots<SubnetSlot>,
    routers: Slots<RouterSlot>,
    ports: Slots<PortSlot>,
    neighbors: Neighbors,
    kept: Kept,
    gateways: Gateways,
    revisions: Revisions,
    bound: HashMap<PortId, PortIx>,
    devices: port::Devices,
    stale: Stale,
    touched: Touched,
    unused: Unused,
    vnis: Vnis,
    clock: Clock,
}

/// Slots that may have lost their last user; freed by [`Wanted::sweep`].
#[derive(Debug, Default)]
struct Unused {
    vpcs: Vec<VpcIx>,
    subnets: Vec<SubnetIx>,
    routers: Vec<RouterIx>,
    ports: Vec<PortIx>,
}

impl Wanted {
    /// Makes one change, and collects what it touches. Returns what it was about, and whether all of it is made: of a
    /// neighbor with several addresses, some may be refused. Constant time but for what the change itself lists and for
    /// the subnets of a changed VPC or router.
    pub(crate) fn apply(
        &mut self,
        id: &str,
        revision: u32,
        change: Change,
    ) -> (Subject, Result<(), Refused>) {
        let (kind, describes) = (change.kind(), change.describes());
        let made = match change {
            Change::Vpc(vpc) => self.set_vpc(id, revision, vpc),
            Change::Subnet(subnet) => self.set_subnet(id, revision, subnet),
            Change::Router(router) => self.set_router(id, revision, router),
            Change::Port(port) => self.set_port(id, revision, port),
            Change::Neighbor(neighbor) => return self.set_neighbor(revision, neighbor),
            Change::SecurityGroup(group) => self.set_security_group(id, revision, group),
            Change::Dhcp(dhcp) => self.set_dhcp(id, revision, dhcp),
            Change::Gateway(gateway) => self.set_gateway(id, revision, gateway),
        };
        // What the controller describes it wants, also when it does so in an older revision.
        if made.is_ok() || describes {
            self.stale.remove(kind, id);
        }
        match made {
            Ok(subject) => (subject, Ok(())),
            Err(refused) => (Subject::Nothing, Err(refused)),
        }
    }

    /// Asks the CPU to fetch what [`Wanted::apply`] will look for and write: whoever makes thousands of changes does well to call
    /// this [`slots::AHEAD`] changes ahead.
    pub(crate) fn prefetch(&mut self, change: &Change) {
        if let Change::Neighbor(update) = change {
            self.prefetch_neighbor(update);
        }
    }

    /// The resource of this kind and id as it stands. Not for neighbors, whose id does not tell which is meant.
    pub(crate) fn find(&self, kind: ResourceType, id: &str) -> Subject {
        let described = match kind {
            ResourceType::Subnet => self.subnets.find(id).and_then(|ix| {
                let slot = self.subnets.get(ix)?;
                slot.wanted.as_ref().map(|_| Subject::Subnet(ix))
            }),
            ResourceType::Router => self.routers.find(id).map(Subject::Router),
            ResourceType::Port => self.ports.find(id).map(Subject::Port),
            ResourceType::Securitygroup => Some(self.find_security_group(id)),
            ResourceType::Dhcp => Some(self.find_dhcp(id)),
            ResourceType::Gateway => Some(self.find_gateway(id)),
            ResourceType::Vpc => self.vpcs.find(id).and_then(|ix| {
                let slot = self.vpcs.get(ix)?;
                slot.wanted.as_ref().map(|_| Subject::Vpc(ix))
            }),
            ResourceType::Neighbor => None,
        };
        described.unwrap_or(Subject::Nothing)
    }

    /// What is made of revisions.
    pub(crate) fn revisions(&self) -> Revisions {
        self.revisions
    }

    /// Says what to make of revisions from now on.
    pub(crate) fn set_revisions(&mut self, revisions: Revisions) {
        self.revisions = revisions;
    }

    /// Takes what was touched since the last time.
    pub(crate) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Frees what nobody uses any more. After it, the numbers of deleted resources may be given to others.
    pub(crate) fn sweep(&mut self) {
        let unused = std::mem::take(&mut self.unused);
        unused
            .routers
            .into_iter()
            .for_each(|ix| self.routers.free(ix));
        unused.ports.into_iter().for_each(|ix| self.ports.free(ix));
        self.neighbors.sweep();
        unused
            .subnets
            .into_iter()
            .for_each(|ix| self.subnets.free(ix));
        unused.vpcs.into_iter().for_each(|ix| self.vpcs.free(ix));
    }
}
