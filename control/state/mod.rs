// SPDX-License-Identifier: MIT
//! What the controller wants: resources by id, who depends on whom, revisions. Knows nothing of tables.
//!
//! * [`resource`] what goal states are made of; [`slots`] ids as small numbers; [`chunks`] long lists.
//! * [`network`] VPCs and subnets, [`router`], [`port`] and [`neighbor`]: how each changes, and whom that
//!   touches.
//!
//! [`Wanted::apply`] is the way in. What it touched is collected in [`Touched`] until [`crate::program`]
//! takes it.

pub(crate) mod chunks;
pub(crate) mod neighbor;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod resource;
pub(crate) mod router;
pub(crate) mod slots;

use std::collections::BTreeSet;

use hashbrown::HashMap;
use vswitch::tables::PortId;

use neighbor::{NeighborIx, Neighbors};
use network::{SubnetIx, SubnetSlot, VpcIx, VpcSlot};
use port::{PortIx, PortSlot};
use resource::Change;
use router::{RouterIx, RouterSlot};
use slots::Slots;

/// A resource with the controller's revision of it.
#[derive(Clone, Debug)]
pub(crate) struct Revised<T> {
    /// The highest one seen; 0: none was ever given.
    pub revision: u32,
    /// What it says.
    pub value: T,
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
}

/// The revision to keep when `new` follows `known`. Equal revisions follow each other, since Alcor sends the
/// same one always; zero is no revision.
fn next_revision(known: u32, new: u32) -> Result<u32, Refused> {
    if known != 0 && new != 0 && new < known {
        return Err(Refused::Late { known, new });
    }
    Ok(known.max(new))
}

impl<T> Revised<T> {
    /// As [`next_revision`], for what may not be known yet.
    fn next(known: &Option<Self>, new: u32) -> Result<u32, Refused> {
        next_revision(known.as_ref().map_or(0, |known| known.revision), new)
    }
}

/// Which resource a change was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// One that is gone, or never was.
    Nothing,
    /// A VPC.
    Vpc,
    /// A subnet.
    Subnet(SubnetIx),
    /// A router.
    Router(RouterIx),
    /// A port.
    Port(PortIx),
    /// Addresses of a neighbor.
    Neighbor(Vec<NeighborIx>),
}

/// What has changed, or depends on something that has, and is to be looked at by [`crate::program`].
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Subnets: described otherwise, or their VPC is.
    pub subnets: BTreeSet<SubnetIx>,
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
    bound: HashMap<PortId, PortIx>,
    touched: Touched,
    unused: Unused,
    clock: u64,
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
    /// Makes one change, and collects what it touches. Constant time but for what the change itself lists
    /// and for the subnets of a changed VPC or router.
    pub(crate) fn apply(
        &mut self,
        id: &str,
        revision: u32,
        change: Change,
    ) -> Result<Subject, Refused> {
        match change {
            Change::Vpc(vpc) => self.set_vpc(id, revision, vpc),
            Change::Subnet(subnet) => self.set_subnet(id, revision, subnet),
            Change::Router(router) => self.set_router(id, revision, router),
            Change::Port(port) => self.set_port(id, revision, port),
            Change::Neighbor(neighbor) => self.set_neighbor(id, revision, neighbor),
        }
    }

    /// The latest point in time of the state's own clock.
    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }

    /// The next point in time of the state's own clock: no two changes happen at the same.
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
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
