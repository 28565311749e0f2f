// SPDX-License-Identifier: MIT
//! NUMA nodes of cores, devices and packet buffers: what crosses from one to another takes longer.

use vswitch::dpdk::{Eal, Mbuf, Mempool, PoolError, PortInfo};

/// A NUMA node; `None`: unknown, or of no matter.
pub(crate) type Socket = Option<u32>;

/// Bytes of a packet buffer: DPDK's default, a frame of 1,920 bytes behind the headroom of 128. Longer frames take
/// several buffers.
const DATA_ROOM: u16 = 2048 + 128;

/// Buffers that each worker keeps at hand: DPDK's own programs take this or the maximum, 512.
const POOL_CACHE: u32 = 256;

/// That of a core; `None`: the kernel does not say.
pub(crate) fn of_core(core: usize) -> Socket {
    let entries = std::fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}")).ok()?;
    listed(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
}

/// That of a core whose folder in `/sys/devices/system/cpu` has entries of these names.
pub(crate) fn listed(mut names: impl Iterator<Item = String>) -> Socket {
    names.find_map(|name| name.strip_prefix("node")?.parse().ok())
}

/// That of a device, if it has a place: a virtual one says the node of the core that made it. PCI addresses have a colon.
pub(crate) fn of_device(info: &PortInfo) -> Socket {
    info.socket.filter(|_| info.name.contains(':'))
}

/// Packet buffers: a pool on each node that has workers.
pub(crate) struct Pools<P = Mempool> {
    first: (Socket, P),
    others: Vec<(Socket, P)>,
}

impl<P> Pools<P> {
    /// The pool for what a device receives: that of its node, or the first.
    pub(crate) fn near(&self, device: Socket) -> &P {
        let mut all = self.others.iter();
        let near = all.find(|(node, _)| device.is_some() && *node == device);
        &near.unwrap_or(&self.first).1
    }

    /// There is no other than the first.
    pub(crate) fn is_one(&self) -> bool {
        self.others.is_empty()
    }
}

impl Pools {
    /// So many buffers on each node of these cores. Where a node has too little memory they are elsewhere, and where there is none,
    /// the first node's are for all.
    pub(crate) fn new(eal: &Eal, count: u32, cores: &[usize]) -> Result<Self, PoolError> {
        let make = |(number, node): (usize, Socket)| {
            let name = match number {
                0 => "packets".to_owned(),
                _ => format!("packets{number}"),
            };
            let pool = |socket| Mempool::new(eal, &name, count, POOL_CACHE, DATA_ROOM, socket);
            let there = node.and_then(|node| i32::try_from(node).ok());
            let made = pool(there).or_else(|error| match there {
                None => Err(error),
                Some(node) => {
                    tracing::warn!(
                        "packet buffers are not on NUMA node {node}, where workers are: {error}"
                    );
                    pool(None)
                }
            });
            Ok((node, made?))
        };
        let (first, others) = nodes(cores.iter().map(|&core| of_core(core)));
        let first = make((0, first))?;
        let others = (1..).zip(others).filter_map(|at| {
            let made = make(at);
            made.inspect_err(|error| tracing::warn!("one pool less of packet buffers: {error}"))
                .ok()
        });
        Ok(Self {
            first,
            others: others.collect(),
        })
    }

    /// An empty frame, if there is a buffer.
    pub(crate) fn alloc(&self) -> Option<Mbuf> {
        self.first.1.alloc()
    }

    /// Buffers: in use, and free.
    pub(crate) fn buffers(&self) -> (u32, u32) {
        let all = std::iter::once(&self.first).chain(&self.others);
        let counts = all.map(|(_, pool)| (pool.in_use(), pool.available()));
        counts.fold((0, 0), |(a, b), (in_use, free)| (a + in_use, b + free))
    }
}

/// The nodes that there are to be pools on, by those of the workers: each once, or anywhere if one is unknown.
pub(crate) fn nodes(workers: impl Iterator<Item = Socket>) -> (Socket, Vec<Socket>) {
    let mut all: Vec<Socket> = workers.collect();
    if all.contains(&None) {
        return (None, Vec::new());
    }
    all.sort_unstable();
    all.dedup();
    let first = all.first().copied().flatten();
    (first, all.into_iter().skip(1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_where_workers_are() {
        let pools = |nodes_of: &[Socket]| nodes(nodes_of.iter().copied());
        assert_eq!(pools(&[Some(0), Some(0)]), (Some(0), vec![]));
        assert_eq!(pools(&[Some(1)]), (Some(1), vec![]));
        let both = (Some(0), vec![Some(1)]);
        assert_eq!(pools(&[Some(1), Some(0), Some(1)]), both);
        assert_eq!(pools(&[Some(1), None]), (None, vec![]), "anywhere");
        assert_eq!(pools(&[]), (None, vec![]));
    }

    #[test]
    fn a_device_has_the_pool_of_its_node_or_else_the_first() {
        let pools = Pools {
            first: (Some(0), "on 0"),
            others: vec![(Some(1), "on 1"), (Some(2), "on 2")],
        };
        let near = |device| *pools.near(device);
        assert_eq!([0, 1, 2].map(Some).map(near), ["on 0", "on 1", "on 2"]);
        assert_eq!([None, Some(3)].map(near), ["on 0", "on 0"]);
    }

    #[test]
    fn a_core_that_is_there_has_the_node_that_the_kernel_lists_it_under() {
        let listed = std::path::Path::new("/sys/devices/system/node/node0/cpu0").exists();
        assert_eq!(of_core(0), listed.then_some(0));
        assert_eq!(of_core(100_000), None);
    }
}
