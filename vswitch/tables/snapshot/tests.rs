// SPDX-License-Identifier: MIT
//! The writer against a model, with a reader that lets go at any time; and the edits one by one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::tables::{
    Attachment, DomainId, Endpoints, Full, Hop, Neighbor, NextHop, RouteTable, TenantPort, VpcId,
};
use crate::wire::{Mac, Vni};

pub(super) fn domain(id: u16) -> DomainId {
    DomainId(NonZeroU16::new(id).unwrap())
}

fn vpc(id: u16) -> VpcId {
    VpcId(NonZeroU16::new(id).unwrap())
}

pub(super) fn mac(host: u32) -> Mac {
    Mac::from_u64(0xfa16_3e00_0000 | u64::from(host))
}

pub(super) fn neighbor(host: u32, vni: u32, hop: Hop) -> Neighbor {
    let (mac, vni) = (mac(host), Vni::new(vni).unwrap());
    Neighbor { mac, vni, hop }
}

pub(super) fn local(port: u16) -> Hop {
    Hop::Local(PortId::new(port).unwrap())
}

fn next_hop(host: u8) -> NextHop {
    let (src, dst) = ([192, 0, 2, 1].into(), [192, 0, 2, host].into());
    NextHop {
        port: PortId(0),
        endpoints: Endpoints::V4 { src, dst },
        src_mac: mac(1),
        dst_mac: mac(u32::from(host)),
        mtu: 1500,
    }
}

fn tenant(vni: u32) -> Role {
    let attachment = Attachment {
        vni: Vni::new(vni).unwrap(),
        domain: domain(vni as u16),
        vpc: vpc(1),
        cidr: "10.1.0.0/16".parse().unwrap(),
        gateway_mac: None,
        gateway_ip: None,
        gateways: [].into(),
        host_dvr_mac: None,
        routes: Arc::new(RouteTable::empty()),
        advertisement: Arc::default(),
        group: None,
        replication: None,
    };
    let mut guest = TenantPort::default();
    guest.attachments.push(attachment);
    Role::Tenant(Arc::new(guest))
}

#[test]
fn an_edit_of_the_snapshot_is_visible_after_the_commit_and_not_before() {
    let (mut writer, registrar) = tables(None, 100);
    let mut reader = registrar.reader("worker 0").unwrap();
    let port = PortId::new(3).unwrap();
    writer.set_role(port, tenant(5));
    assert!(matches!(reader.pin().role(port), Role::Unbound));
    let commit = writer.commit();
    let guard = reader.pin();
    assert!(matches!(guard.role(port), Role::Tenant(_)));
    assert_eq!(guard.vnis.get(Vni::new(5).unwrap()), Some(domain(5)));
    drop(guard);
    assert!(writer.settled(&commit));
}

#[test]
fn an_empty_edit_publishes_nothing() {
    let (mut writer, registrar) = tables(None, 100);
    let mut reader = registrar.reader("worker 0").unwrap();
    let role = tenant(5);
    writer.set_role(PortId::new(3).unwrap(), role.clone());
    let first = writer.commit();
    assert_eq!(writer.publications(), 1);
    drop(reader.pin());
    writer.set_role(PortId::new(3).unwrap(), role);
    writer.set_role(PortId::new(4).unwrap(), Role::Unbound);
    writer.remove_mac(domain(1), mac(1));
    let again = writer.commit();
    assert_eq!(again, first);
    assert_eq!(writer.publications(), 1);
    assert!(writer.settled(&again));
}

#[test]
fn a_neighbor_leaves_only_after_every_reader_let_go_of_the_snapshot_before() {
    let (mut writer, registrar) = tables(None, 100);
    let mut reader = registrar.reader("worker 0").unwrap();
    let value = neighbor(1, 5, local(2));
    writer.upsert_mac(domain(1), mac(1), value).unwrap();
    let commit = writer.commit();
    let guard = reader.pin();
    assert_eq!(guard.neighbors.find_mac(domain(1), mac(1)), Some(value));
    assert!(writer.settled(&commit));
    writer.remove_mac(domain(1), mac(1));
    let commit = writer.commit();
    assert!(!writer.settled(&commit));
    assert_eq!(guard.neighbors.find_mac(domain(1), mac(1)), Some(value));
    assert_eq!(writer.lagging().len(), 1);
    assert_eq!(writer.lagging()[0].name, "worker 0");
    drop(guard);
    assert!(!writer.settled(&commit));
    let guard = reader.pin();
    assert_eq!(guard.neighbors.find_mac(domain(1), mac(1)), None);
    drop(guard);
    assert!(writer.settled(&commit));
    assert_eq!(writer.memory().tables[0].leaving, 0);
}

#[test]
fn a_worker_that_stands_still_costs_memory_up_to_the_cap_and_the_writer_never_waits() {
    const CAPACITY: usize = 500;
    let (mut writer, registrar) = tables(None, CAPACITY);
    let (mut stuck, mut other) = (
        registrar.reader("stuck").unwrap(),
        registrar.reader("other").unwrap(),
    );
    writer
        .upsert_mac(domain(1), mac(0), neighbor(0, 1, local(0)))
        .unwrap();
    let _ = writer.commit();
    let guard = stuck.pin();
    let mut full = None;
    for n in 1..1_000_000 {
        // A key comes and goes; its slots cannot be used again.
        writer.remove_mac(domain(1), mac(n - 1));
        if let Err(error) = writer.upsert_mac(domain(1), mac(n), neighbor(n, 1, local(0))) {
            full = Some(error);
            break;
        }
        let _ = writer.commit();
        drop(other.pin());
    }
    let full = full.unwrap();
    assert_eq!(
        (full.table, full.capacity),
        (Full::NeighborsByMac, CAPACITY)
    );
    assert!(guard.neighbors.find_mac(domain(1), mac(0)).is_some());
    // 64 bytes per bucket of three, filled to 70 %.
    assert!(writer.memory().tables[0].bytes <= CAPACITY * 64 / 2);
    assert_eq!(
        writer
            .lagging()
            .iter()
            .map(|lagging| &*lagging.name)
            .collect::<Vec<_>>(),
        ["stuck"]
    );
    drop(guard);
    let commit = writer.commit();
    while !writer.settled(&commit) {
        drop((stuck.pin(), other.pin()));
    }
    assert_eq!(
        (
            writer.memory().old_snapshots,
            writer.memory().tables[0].leaving
        ),
        (0, 0)
    );
    for n in 0..CAPACITY as u32 / 2 {
        writer
            .upsert_mac(domain(2), mac(n), neighbor(n, 1, local(0)))
            .unwrap();
    }
}

#[test]
fn snapshots_that_a_worker_stands_still_on_cost_memory_up_to_a_limit_and_none_is_lost() {
    const LIMIT: usize = 1 << 20;
    let (mut writer, registrar) = tables(None, 100);
    let (mut stuck, mut other) = (
        registrar.reader("stuck").unwrap(),
        registrar.reader("other").unwrap(),
    );
    let port = PortId::new(3).unwrap();
    let mut publish = |writer: &mut Writer, n: u32| {
        writer.set_role(port, tenant(n));
        let commit = writer.commit();
        drop(other.pin());
        let pinned = writer.memory();
        let seen = other.pin().vnis.get(Vni::new(n).unwrap()).is_some();
        (commit, pinned, seen)
    };
    let _ = publish(&mut writer, 1);
    let guard = stuck.pin();
    let each = size_of::<Tables>() + size_of::<TenantPort>() + RouteTable::empty().memory();
    let mut last = 1;
    let held_back = loop {
        last += 1;
        let (commit, memory, seen) = publish(&mut writer, last);
        assert!(memory.old_bytes >= memory.old_snapshots * each);
        assert!(memory.old_bytes < LIMIT + 2 * each);
        if !seen {
            break commit;
        }
    };
    let full = writer.memory();
    (last..last + 1000).for_each(|n| assert!(!publish(&mut writer, n).2));
    assert_eq!(writer.memory(), full, "nothing more is kept");
    assert!(!writer.settled(&held_back));
    drop(guard);
    let (commit, _, seen) = publish(&mut writer, last + 1000);
    drop(stuck.pin());
    assert!(seen && writer.settled(&held_back) && writer.settled(&commit));
    assert_eq!(
        (writer.memory().old_snapshots, writer.memory().old_bytes),
        (0, 0)
    );
}

/// Address `n` of one of the tables by address.
fn ip(table: usize, n: u32) -> IpAddr {
    match table {
        1 => Ipv4Addr::from(n).into(),
        _ => Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(n)).into(),
    }
}

/// What the property test does next. Keys and values are few, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Upsert {
        table: usize,
        key: u32,
        value: Neighbor,
    },
    Remove {
        table: usize,
        key: u32,
    },
    Commit,
    Poll,
}

const TABLES: usize = 3;
const KEYS: u32 = 400;
const CAPACITY: usize = 300;

fn step() -> impl Strategy<Value = Step> {
    let value = (0..4u32, prop_oneof![1..3u32, Just(0x12_0001)], 0..3u16)
        .prop_map(|(host, vni, port)| neighbor(host, vni, local(port)));
    prop_oneof![
        20 => (0..TABLES, 0..KEYS, value).prop_map(|(table, key, value)| Step::Upsert { table, key, value }),
        10 => (0..TABLES, 0..KEYS).prop_map(|(table, key)| Step::Remove { table, key }),
        2 => Just(Step::Commit),
        1 => Just(Step::Poll),
    ]
}

/// What the tables should hold, and what a reader may find meanwhile.
#[derive(Default)]
struct Model {
    now: HashMap<(usize, u32), Neighbor>,
    /// Of keys that were touched since everything was settled: all that was true of them since.
    since: HashMap<(usize, u32), Vec<Option<Neighbor>>>,
}

impl Model {
    fn set(&mut self, at: (usize, u32), value: Option<Neighbor>) {
        let before = match value {
            Some(value) => self.now.insert(at, value),
            None => self.now.remove(&at),
        };
        self.since
            .entry(at)
            .or_insert_with(|| vec![before])
            .push(value);
    }

    fn allows(&self, at: (usize, u32), found: Option<Neighbor>) -> bool {
        self.since
            .get(&at)
            .map_or(self.now.get(&at) == found.as_ref(), |since| {
                since.contains(&found)
            })
    }
}

fn take(writer: &mut Writer, model: &mut Model, step: &Step) {
    use Full::{NeighborsByIp, NeighborsByIp6, NeighborsByMac};
    match *step {
        Step::Upsert { table, key, value } => {
            let result = match table {
                0 => writer.upsert_mac(domain(1), mac(key), value),
                _ => writer.upsert_ip(vpc(1), ip(table, key), value),
            };
            let Err(full) = result else {
                return model.set((table, key), Some(value));
            };
            let tables = [NeighborsByMac, NeighborsByIp, NeighborsByIp6];
            assert_eq!(full.table, tables[table]);
            assert_ne!(model.now.get(&(table, key)), Some(&value));
        }
        Step::Remove { table, key } => {
            match table {
                0 => writer.remove_mac(domain(1), mac(key)),
                _ => writer.remove_ip(vpc(1), ip(table, key)),
            }
            model.set((table, key), None);
        }
        Step::Commit => {
            let _ = writer.commit();
        }
        Step::Poll => writer.poll(),
    }
}

fn find(tables: &Tables, table: usize, key: u32) -> Option<Neighbor> {
    if table == 0 {
        tables.neighbors.find_mac(domain(1), mac(key))
    } else {
        tables.neighbors.find_ip(vpc(1), ip(table, key))
    }
}

fn all_keys() -> impl Iterator<Item = (usize, u32)> {
    (0..TABLES).flat_map(|table| (0..KEYS).map(move |key| (table, key)))
}

proptest! {
    /// Each burst is a pin with edits under it; between bursts the reader has let go.
    #[test]
    fn readers_find_what_a_map_allows_and_settled_tables_are_what_it_is(
        bursts in prop::collection::vec(prop::collection::vec(step(), 0..300), 1..30),
        settles in prop::collection::vec(any::<bool>(), 30),
    ) {
        let (mut writer, registrar) = tables(None, CAPACITY);
        let mut reader = registrar.reader("worker 0").unwrap();
        let mut model = Model::default();
        for (burst, settle) in bursts.iter().zip(settles) {
            let guard = reader.pin();
            for step in burst {
                take(&mut writer, &mut model, step);
                let (Step::Upsert { table, key, .. } | Step::Remove { table, key }) = *step else { continue };
                prop_assert!(model.allows((table, key), find(&guard, table, key)));
            }
            for at in all_keys() {
                prop_assert!(model.allows(at, find(&guard, at.0, at.1)), "{:?}", at);
            }
            drop(guard);
            if !settle {
                continue;
            }
            let commit = writer.commit();
            for _ in 0..8 {
                drop(reader.pin());
                writer.poll();
            }
            prop_assert!(writer.settled(&commit));
            model.since.clear();
            for (table, usage) in writer.memory().tables[..TABLES].iter().enumerate() {
                prop_assert_eq!(usage.leaving, 0);
                prop_assert_eq!(usage.entries, model.now.keys().filter(|(of, _)| *of == table).count());
                prop_assert!(usage.entries <= CAPACITY);
            }
        }
    }
}

#[test]
fn a_next_hop_is_shared_and_its_slot_used_again_only_when_settled() {
    let (mut writer, registrar) = tables(None, 100);
    let mut reader = registrar.reader("worker 0").unwrap();
    let one = writer.acquire_hop(next_hop(9)).unwrap();
    assert_eq!(writer.acquire_hop(next_hop(9)), Ok(one));
    writer
        .upsert_mac(domain(1), mac(1), neighbor(1, 5, Hop::Remote(one)))
        .unwrap();
    let _ = writer.commit();
    let guard = reader.pin();
    writer.remove_mac(domain(1), mac(1));
    writer.release_hop(one);
    writer.release_hop(one);
    let commit = writer.commit();
    let two = writer.acquire_hop(next_hop(10)).unwrap();
    assert_ne!(one, two);
    drop(guard);
    while !writer.settled(&commit) {
        drop(reader.pin());
    }
    assert_eq!(writer.acquire_hop(next_hop(11)), Ok(one));
}
