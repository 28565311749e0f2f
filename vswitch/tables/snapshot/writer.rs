// SPDX-License-Identifier: MIT
//! [`Writer`]: edits, commits, and the way of what leaves the tables.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;

use super::Tables;
use super::leaving::Leaving;
use super::table::{All, AnyTable};
use crate::tables::neighbors::{Ip6Key, MAX_NEXT_HOPS, Neighbors, NextHops, References};
use crate::tables::rcu::{self, Lagging};
use crate::tables::{
    Attachment, DomainId, Full, HopId, Live, MAX_PORTS, MAX_UPLINKS, Neighbor, NextHop, PortId,
    PortSet, Role, TableFull, TenantPort, Tunnel, Underlay, VniTable, VpcId, Ways,
};
use crate::wire::Mac;

/// Most neighbors of one table: 16 Mi, half a gigabyte.
pub const MAX_NEIGHBORS: usize = 1 << 24;

/// Bytes of replaced snapshots, with the ports and route tables that only they refer to, that may wait for a worker to
/// let go of them; beyond it, snapshots are not replaced. Few in tests. Replaced neighbor tables are not counted:
/// tables grow by a factor, so that all that one outgrew take no more than a few times what it takes.
const MAX_PINNED: usize = if cfg!(test) { 1 << 20 } else { 256 << 20 };

/// What [`Writer::commit`] gave out; [`Writer::settled`] says when it is visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Commit(u64);

/// The one that changes the tables.
///
/// # Contract
///
/// * One per switch, on the control thread. **Never waits for workers**: a worker that does not let go
///   holds back [`Writer::settled`] and memory. Memory up to a limit: when replaced snapshots take 256 MiB, a
///   commit that needs another one does nothing, and never settles; what was edited stays, for the first
///   commit after the worker has let go.
/// * **Adding** a neighbor, or changing one, is visible to workers as it happens (after a growth of the
///   table: with the commit). Everything else is with the [`Writer::commit`] that follows, at once for a
///   burst: it sees all or nothing of the snapshot.
/// * **Removing** happens after every worker sees the commit's snapshot: no packet meets a route or a
///   port that still needs the neighbor. A removal that is not done yet is undone by adding the key again.
/// * A removed neighbor counts against the capacity until its removal is settled.
/// * A neighbor, a role's gateway group, or its replication, may name a next hop from [`Writer::acquire_hop`] until the commit
///   before which the [`Writer::release_hop`] was called.
/// * Someone has to call [`Writer::settled`] or [`Writer::poll`] from time to time: they do the work.
/// * **Cost:** an edit of a neighbor is O(1), except when the table grows; a commit copies
///   [`MAX_PORTS`] roles if the snapshot changed, and nothing otherwise.
pub struct Writer {
    rcu: rcu::Writer<Tables>,
    /// The next snapshot, but for its neighbor tables.
    next: Tables,
    /// `next` is not what readers see.
    snapshot_changed: bool,
    /// A neighbor was added or changed since the last commit.
    neighbors_changed: bool,
    neighbors: All,
    references: References,
    live: Arc<Live>,
    leaving: Leaving,
    /// The number of the last commit.
    committed: u64,
    publications: u64,
}

/// How full one table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Which one.
    pub table: Full,
    /// Entries.
    pub entries: usize,
    /// Slots taken by entries that were removed or changed and wait for workers.
    pub leaving: usize,
    /// Most entries.
    pub capacity: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

/// How much memory the tables take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Neighbors by MAC, by IPv4 address, by IPv6 address; next hops.
    pub tables: [Usage; 4],
    /// Replaced snapshots that a worker may still look at.
    pub old_snapshots: usize,
    /// What they take in bytes, with what only they refer to.
    pub old_bytes: usize,
}

impl Memory {
    /// Entries that were removed or changed and wait for workers.
    pub fn leaving(&self) -> usize {
        self.tables[..3].iter().map(|usage| usage.leaving).sum()
    }
}

impl Writer {
    pub(super) fn new(
        underlay: Option<Underlay>,
        capacity: usize,
    ) -> (Self, rcu::Registry<Tables>) {
        let capacity = capacity.clamp(1, MAX_NEIGHBORS);
        let seed = (random(), random());
        let neighbors = All::new(capacity, seed);
        let tunnel = underlay.map_or_else(Tunnel::default, |underlay| underlay.tunnel);
        let uplinks = underlay.map_or(1, |underlay| underlay.uplinks().count());
        let hops = || Arc::new(NextHops::new(tunnel));
        let hops: Vec<_> = std::iter::repeat_with(hops).take(uplinks).collect();
        let live = Arc::new(Live::new(underlay.as_ref()));
        let next = Tables {
            ports: std::array::from_fn(|_| Role::Unbound),
            vnis: VniTable::default(),
            replicated: PortSet::default(),
            neighbors: neighbors.snapshot(&hops, &live),
            underlay,
        };
        let (rcu, registry) = rcu::new(next.clone());
        let writer = Self {
            rcu,
            next,
            snapshot_changed: false,
            neighbors_changed: false,
            neighbors,
            references: References::new(hops, MAX_NEXT_HOPS),
            live,
            leaving: Leaving::default(),
            committed: 0,
            publications: 0,
        };
        (writer, registry)
    }

    /// Takes the memory of so many neighbors with IPv4 addresses, at most the capacity, now instead of when they come: about
    /// 64 bytes each. Of no effect when there are neighbors already. What IPv6 addresses take is taken when they come.
    pub fn reserve(&mut self, neighbors: usize) {
        self.neighbors.by_mac.reserve(neighbors);
        self.neighbors.by_ip.reserve(neighbors);
    }

    /// Says what a port is for, from the next commit on. The same `Arc` again changes nothing.
    pub fn set_role(&mut self, port: PortId, role: Role) {
        let present = &mut self.next.ports[port.index() % MAX_PORTS];
        if !same(present, &role) {
            *present = role;
            self.snapshot_changed = true;
        }
    }

    /// Adds a neighbor by MAC, or changes it. Nothing changes on an error.
    pub fn upsert_mac(
        &mut self,
        domain: DomainId,
        mac: Mac,
        neighbor: Neighbor,
    ) -> Result<(), TableFull> {
        let key = Neighbors::mac_key(domain, mac);
        self.neighbors_changed |= self.neighbors.by_mac.upsert(key, neighbor)?;
        Ok(())
    }

    /// Adds a neighbor by address, or changes it. Nothing changes on an error.
    pub fn upsert_ip(
        &mut self,
        vpc: VpcId,
        ip: IpAddr,
        neighbor: Neighbor,
    ) -> Result<(), TableFull> {
        let tables = &mut self.neighbors;
        self.neighbors_changed |= match ip {
            IpAddr::V4(ip) => {
                let key = Neighbors::ip_key(vpc, ip.to_bits());
                tables.by_ip.upsert(key, neighbor)?
            }
            IpAddr::V6(ip) => tables.by_ip6.upsert(Ip6Key::new(vpc, ip), neighbor)?,
        };
        Ok(())
    }

    /// Asks the CPU to fetch what the edits of these two will touch: whoever edits thousands does well to
    /// call this some entries ahead.
    pub fn prefetch(&self, (domain, mac): (DomainId, Mac), (vpc, ip): (VpcId, IpAddr)) {
        let tables = &self.neighbors;
        let by_mac = tables.by_mac.newest();
        by_mac.prefetch(Neighbors::mac_key(domain, mac));
        match ip {
            IpAddr::V4(ip) => {
                let by_ip = tables.by_ip.newest();
                by_ip.prefetch(Neighbors::ip_key(vpc, ip.to_bits()));
            }
            IpAddr::V6(ip) => tables.by_ip6.newest().prefetch(Ip6Key::new(vpc, ip)),
        }
    }

    /// Removes a neighbor by MAC with the next commit. Nothing if there is none.
    pub fn remove_mac(&mut self, domain: DomainId, mac: Mac) {
        let key = Neighbors::mac_key(domain, mac);
        self.neighbors.by_mac.remove(key);
    }

    /// Removes a neighbor by address with the next commit. Nothing if there is none.
    pub fn remove_ip(&mut self, vpc: VpcId, ip: IpAddr) {
        let tables = &mut self.neighbors;
        match ip {
            IpAddr::V4(ip) => tables.by_ip.remove(Neighbors::ip_key(vpc, ip.to_bits())),
            IpAddr::V6(ip) => tables.by_ip6.remove(Ip6Key::new(vpc, ip)),
        }
    }

    /// The id of a next hop, for neighbors to name; equal next hops have one id. Each call is a reference,
    /// to be given back by [`Writer::release_hop`].
    pub fn acquire_hop(&mut self, hop: NextHop) -> Result<HopId, TableFull> {
        self.acquire_ways([hop; MAX_UPLINKS])
    }

    /// The same of one that is reached by each uplink in its own way.
    pub fn acquire_ways(&mut self, ways: Ways) -> Result<HopId, TableFull> {
        self.references.acquire(ways, self.leaving.settled())
    }

    /// True if a next hop that is not there yet finds room now.
    pub fn has_room_for_hop(&self) -> bool {
        self.references.has_room(self.leaving.settled())
    }

    /// True if there is, or will be when what was released has gone, room for less than a sixteenth of what there is room for
    /// in all.
    pub fn is_nearly_full_of_hops(&self) -> bool {
        self.references.is_nearly_full()
    }

    /// One more reference to a next hop that somebody has one to, to be given back likewise. False: there is none to be had.
    pub fn hold_hop(&mut self, id: HopId) -> bool {
        self.references.hold(id)
    }

    /// The ways of a next hop that somebody has a reference to.
    pub fn ways(&self, id: HopId) -> Option<Ways> {
        self.references.ways(id)
    }

    /// Which uplinks are used. It may be set from any thread, and no commit is needed.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Gives a reference back with the next commit, after which no neighbor may need it.
    pub fn release_hop(&mut self, id: HopId) {
        self.references.release(id, self.committed + 1);
    }

    /// True when the last commit left the snapshot as it is, since too much memory waits for a worker that does not let go.
    pub fn is_held_back(&self) -> bool {
        self.snapshot_changed
    }

    /// Makes the edits since the last commit visible. Publishes a snapshot only if one of them changed it.
    pub fn commit(&mut self) -> Commit {
        self.poll();
        let grown = !self.neighbors.are_published();
        let ticket = if self.snapshot_changed || grown {
            if !grown && self.rcu.reclaim().bytes >= MAX_PINNED {
                return Commit(self.committed + 1);
            }
            self.publish()
        } else if self.neighbors_changed || !self.neighbors.nothing_staged() {
            self.rcu.ticket()
        } else {
            return Commit(self.committed);
        };
        self.neighbors_changed = false;
        self.committed += 1;
        let tables = &mut self.neighbors;
        self.leaving.commit(self.committed, ticket, grown, tables);
        Commit(self.committed)
    }

    /// True when all that the commit did, and all commits before it, is visible to every worker, and what
    /// it removed to none. Does what can be done now and never waits.
    pub fn settled(&mut self, commit: &Commit) -> bool {
        self.poll();
        commit.0 <= self.leaving.settled()
    }

    /// Removes, frees and drops what grace periods have passed for.
    pub fn poll(&mut self) {
        self.leaving.advance(&mut self.rcu, &mut self.neighbors);
        self.rcu.reclaim();
    }

    /// What readers see: the last snapshot, and the neighbor tables as they are.
    pub fn published(&self) -> &Tables {
        self.rcu.current()
    }

    /// Snapshots published since start.
    pub fn publications(&self) -> u64 {
        self.publications
    }

    /// Workers that hold something back now.
    pub fn lagging(&self) -> Vec<Lagging> {
        self.rcu.lagging()
    }

    /// What the tables take.
    pub fn memory(&mut self) -> Memory {
        let hops = Usage {
            table: Full::NextHops,
            entries: self.references.in_use(),
            leaving: self.references.touched() - self.references.in_use(),
            capacity: MAX_NEXT_HOPS,
            bytes: self.references.touched() * 64 * self.references.hops().len(),
        };
        let old = self.rcu.reclaim();
        let tables = self.neighbors.each();
        let outgrown: usize = tables.iter().map(|table| table.outgrown()).sum();
        let [by_mac, by_ip, by_ip6] = tables.map(|table| table.usage());
        Memory {
            tables: [by_mac, by_ip, by_ip6, hops],
            old_snapshots: old.values,
            old_bytes: old.bytes + outgrown,
        }
    }

    /// The newest tables by address.
    #[cfg(all(test, vswitch_loom))]
    pub(super) fn neighbors(&self) -> Arc<Neighbors> {
        self.newest()
    }

    fn newest(&self) -> Arc<Neighbors> {
        let hops = self.references.hops();
        self.neighbors.snapshot(hops, &self.live)
    }

    fn publish(&mut self) -> rcu::Ticket {
        if !self.neighbors.are_published() {
            self.next.neighbors = self.newest();
        }
        if self.snapshot_changed {
            self.next.vnis = vnis(&self.next.ports);
            self.next.replicated = replicated(&self.next.ports);
        }
        let bytes = bytes_only_in(self.rcu.current(), &self.next);
        let ticket = self.rcu.publish(self.next.clone(), bytes);
        for table in self.neighbors.each_mut() {
            table.set_published();
        }
        self.snapshot_changed = false;
        self.publications += 1;
        ticket
    }
}

/// The VNIs of all tenant ports.
fn vnis(ports: &[Role; MAX_PORTS]) -> VniTable {
    let attachments = ports.iter().flat_map(attachments);
    VniTable::build(attachments.map(|attachment| (attachment.vni, attachment.domain)))
}

/// The ports that are in a subnet with replication.
fn replicated(ports: &[Role; MAX_PORTS]) -> PortSet {
    let copied = |role| attachments(role).iter().any(|it| it.replication.is_some());
    let ports = PortId::all().zip(ports);
    ports
        .filter_map(|(port, role)| copied(role).then_some(port))
        .collect()
}

fn attachments(role: &Role) -> &[Attachment] {
    match role {
        Role::Tenant(tenant) => &tenant.attachments,
        Role::Unbound | Role::Uplink | Role::Host => &[],
    }
}

/// Bytes that `old` takes with what `new` does not refer to any more, neighbor tables aside.
fn bytes_only_in(old: &Tables, new: &Tables) -> usize {
    let routes = |attachment: &Attachment| Arc::as_ptr(&attachment.routes);
    let groups = |attachment: &Attachment| attachment.group.as_ref().map(Arc::as_ptr);
    let hosts = |attachment: &Attachment| Some(attachment.replication.as_ref()?.hosts.as_ptr());
    // Large, and shared by many ports: each counts once.
    let mut counted: HashSet<_> = new.ports.iter().flat_map(attachments).map(routes).collect();
    let kept = new.ports.iter().flat_map(attachments);
    let mut counted_groups: HashSet<_> = kept.filter_map(groups).collect();
    let kept = new.ports.iter().flat_map(attachments);
    let mut counted_hosts: HashSet<_> = kept.filter_map(hosts).collect();
    let replaced = old.ports.iter().zip(&new.ports);
    let replaced = replaced.filter(|(old, new)| !same(old, new));
    let mut bytes = size_of::<Tables>() + old.vnis.memory();
    for (role, _) in replaced {
        bytes += size_of::<TenantPort>();
        for attachment in attachments(role) {
            if counted.insert(routes(attachment)) {
                bytes += attachment.routes.memory();
            }
            if let Some(group) = &attachment.group
                && counted_groups.insert(Arc::as_ptr(group))
            {
                bytes += group.memory();
            }
            if let Some(replication) = &attachment.replication
                && counted_hosts.insert(replication.hosts.as_ptr())
            {
                bytes += size_of_val(&*replication.hosts);
            }
        }
    }
    bytes
}

/// True when the two are the same to readers.
fn same(one: &Role, other: &Role) -> bool {
    match (one, other) {
        (Role::Tenant(one), Role::Tenant(other)) => Arc::ptr_eq(one, other),
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// From the system's source of randomness, by way of the standard library's hash maps. The same always
/// under loom, which explores only what is deterministic.
fn random() -> u64 {
    if cfg!(vswitch_loom) {
        1
    } else {
        RandomState::new().build_hasher().finish()
    }
}
