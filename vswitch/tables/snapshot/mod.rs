// SPDX-License-Identifier: MIT
//! [`Tables`], what a burst sees, and the [`Writer`], by which the control plane changes it.

mod leaving;
mod table;
mod writer;

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod growth_tests;
#[cfg(test)]
#[cfg(vswitch_loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod stress_tests;
#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests;

use std::sync::Arc;

use super::rcu::{self, Reader, TooManyReaders};
use super::{MAX_PORTS, Neighbors, PortId, PortSet, Role, Tunnel, Underlay, VniTable};

pub use writer::{Commit, MAX_NEIGHBORS, Memory, Usage, Writer};

/// One immutable snapshot of what the packet path knows; only [`Tables::neighbors`] changes under it.
///
/// # Contract
///
/// * Workers read it under a [`Guard`](rcu::Guard), one per burst. The [`Writer`] replaces it.
/// * Copying it for a publication costs a reference count per port; nothing large is in it.
#[derive(Clone, Debug)]
pub struct Tables {
    /// By [`PortId::index`].
    pub ports: [Role; MAX_PORTS],
    /// The VNIs that a port of this host is in.
    pub vnis: VniTable,
    /// The guests' ports that are in a subnet with replication.
    pub replicated: PortSet,
    /// Who is where.
    pub neighbors: Arc<Neighbors>,
    /// This host in the underlay. `None`: it has none, and nothing leaves the host.
    pub underlay: Option<Underlay>,
}

impl Tables {
    /// What a port is for.
    #[inline]
    pub fn role(&self, port: PortId) -> &Role {
        // Port ids are below the cap; the remainder spares the hot path a panic.
        &self.ports[port.index() % MAX_PORTS]
    }

    /// What the outer headers of this host have besides addresses.
    pub fn tunnel(&self) -> Tunnel {
        self.underlay
            .map_or_else(Tunnel::default, |underlay| underlay.tunnel)
    }
}

/// Makes workers' readers.
#[derive(Clone)]
pub struct Registrar(rcu::Registry<Tables>);

impl Registrar {
    /// A reader for a worker; `name` is what [`Writer::lagging`] calls it.
    pub fn reader(&self, name: &str) -> Result<Reader<Tables>, TooManyReaders> {
        self.0.reader(name)
    }
}

/// Empty tables: the one who writes them, and where their readers come from. `capacity` is the most
/// neighbors that each of the neighbor tables takes, 1 to [`MAX_NEIGHBORS`]; what is outside counts as
/// the nearest of these. Aborts when there is no memory for empty tables (about 50 KiB touched).
pub fn tables(underlay: Option<Underlay>, capacity: usize) -> (Writer, Registrar) {
    let (writer, registry) = Writer::new(underlay, capacity);
    (writer, Registrar(registry))
}
