// SPDX-License-Identifier: MIT
//! The parts of the writer's side one by one; all together is tested in `snapshot`.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::tables::{Endpoints, Full, Hop, HopId, Neighbor, NextHop, PortId, Tunnel};
use crate::wire::Vni;

fn value(mac: u64, vni: u32, port: u16) -> Entry {
    Entry::from(Neighbor {
        mac: Mac::from_u64(mac),
        vni: Vni::new(vni).unwrap(),
        hop: Hop::Local(PortId::new(port).unwrap()),
    })
}

fn editor(capacity: usize) -> Editor {
    Editor::new(
        Full::NeighborsByIp,
        capacity,
        (0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321),
    )
}

/// Adds keys `1..=count`, published at once.
fn filled(capacity: usize, count: u64) -> Editor {
    let mut editor = editor(capacity);
    for key in 1..=count {
        editor.upsert(key, value(key, 1, 0)).unwrap();
        editor.set_published();
    }
    editor
}

#[test]
fn a_key_that_marks_a_slot_is_refused() {
    let mut editor = editor(10);
    assert!(editor.upsert(0, value(1, 1, 0)).is_err());
    assert!(editor.upsert(u64::MAX, value(1, 1, 0)).is_err());
    assert_eq!((editor.live(), editor.leaving()), (0, 0));
}

#[test]
fn a_reserved_table_does_not_grow_and_one_with_keys_stays_as_it_is() {
    let mut editor = editor(20_000);
    editor.reserve(30_000);
    let reserved = editor.table().memory();
    editor.set_published();
    for key in 1..=20_000 {
        let upserted = editor.upsert(key, value(key, 1, 0)).unwrap();
        assert!(!upserted.rebuilt, "{key}");
    }
    assert_eq!(editor.table().memory(), reserved);
    let mut filled = filled(20_000, 1);
    let before = filled.table().memory();
    filled.reserve(20_000);
    assert_eq!(filled.table().memory(), before);
    assert_eq!(filled.table().get(1), Some(value(1, 1, 0)));
}

#[test]
fn a_table_takes_its_capacity_and_then_says_that_it_is_full() {
    for capacity in [1, 100, 134, 135, 1000, 20_000] {
        let mut editor = filled(capacity, capacity as u64);
        let full = editor.upsert(u64::MAX - 1, value(1, 1, 0)).unwrap_err();
        assert_eq!(
            (full.table, full.capacity, full.leaving),
            (Full::NeighborsByIp, capacity, 0)
        );
        assert_eq!(editor.live(), capacity);
        for key in 1..=capacity as u64 {
            assert_eq!(
                editor.table().get(key),
                Some(value(key, 1, 0)),
                "{capacity}: {key}"
            );
        }
    }
}

#[test]
fn wide_keys_are_found_by_all_their_bits_and_in_their_own_vpc() {
    let vpc = |id| VpcId(NonZeroU16::new(id).unwrap());
    let mut editor: Editor<Wide> = Editor::new(Full::NeighborsByIp6, 3000, (1, 2));
    let empty = editor.table().memory();
    let bit = |n: u32| Ip6Key::new(vpc(1), Ipv6Addr::from(1u128 << n));
    let key = |id, n: u32| Ip6Key::new(vpc(id), Ipv6Addr::from(0xfd00 << 112 | u128::from(n)));
    for n in 0..128 {
        editor.upsert(bit(n), value(n.into(), 1, 0)).unwrap();
        editor.set_published();
    }
    for n in 0..1000 {
        editor.upsert(key(1, n), value(n.into(), 2, 0)).unwrap();
        editor.upsert(key(2, n), value(n.into(), 3, 0)).unwrap();
    }
    for n in 0..128 {
        assert_eq!(editor.table().get(bit(n)), Some(value(n.into(), 1, 0)));
    }
    for n in 0..1000 {
        let found = [1, 2, 3].map(|id| editor.table().get(key(id, n)));
        let [one, two] = [2, 3].map(|vni| Some(value(n.into(), vni, 0)));
        assert_eq!(found, [one, two, None]);
    }
    let removed = editor.remove(key(1, 7)).unwrap();
    assert_eq!(editor.table().get(key(1, 7)), None);
    assert!(editor.table().get(key(2, 7)).is_some());
    editor.free(removed);
    assert_eq!((editor.live(), editor.leaving()), (2127, 0));
    assert!(editor.upsert(key(u16::MAX, 7), value(1, 1, 0)).is_err());
    assert!(empty <= 4096 && editor.table().memory() <= 2127 * 64);
}

#[test]
fn wide_keys_of_one_pattern_stay_near_their_home() {
    // Machines counted up in each of many VPCs, as many clouds have them.
    let mut editor: Editor<Wide> = Editor::new(Full::NeighborsByIp6, 100_000, (3, 4));
    for vpc in 1..=100 {
        let vpc = VpcId(NonZeroU16::new(vpc).unwrap());
        for n in 0..300 {
            let ip = Ipv6Addr::from(0x2001_0db8 << 96 | n);
            editor.upsert(Ip6Key::new(vpc, ip), value(1, 1, 0)).unwrap();
        }
    }
    let buckets = editor.table().buckets();
    let overflowed = buckets.filter(|bucket| bucket.overflowed()).count();
    assert!(overflowed * 3 < editor.table().len(), "{overflowed}");
}

#[test]
fn a_large_table_takes_at_most_40_bytes_per_entry_and_32_of_a_million() {
    let mut editor = editor(1 << 20);
    for key in 1..=1_000_000 {
        editor.upsert(key, value(key, 1, 0)).unwrap();
        let most = if key < 1_000_000 { 40 } else { 32 };
        let bytes = editor.table().memory();
        assert!(
            key <= 131_072 || bytes <= key as usize * most,
            "{key}: {bytes}"
        );
    }
}

#[test]
fn changes_without_a_grace_period_fill_the_table_to_a_limit_and_lose_nothing() {
    let mut editor = filled(1000, 1000);
    let reader = std::sync::Arc::clone(editor.table());
    let mut copies = Vec::new();
    let full = loop {
        let key = 1 + copies.len() as u64 % 1000;
        match editor.upsert(key, value(key, 2 + copies.len() as u32, 0)) {
            Ok(Upserted {
                changed: Changed::Copied(old),
                rebuilt: false,
            }) => copies.push(old),
            Ok(Upserted {
                changed: Changed::InPlace,
                rebuilt: true,
            }) => break None,
            Ok(other) => panic!("{other:?}"),
            Err(full) => break Some(full),
        }
    };
    // The first time, all entries go to a new table of the same size, without what was leaving.
    assert_eq!(full, None);
    assert!(copies.len() > 125 && editor.leaving() == 0);
    assert_eq!(editor.table().memory(), reader.memory());
    for key in 1..=1000 {
        assert!(reader.get(key).is_some());
    }
    // The second time the old table still has a reader, and this one is full.
    editor.set_published();
    let refused = (0..1000)
        .find_map(|n| editor.upsert(1 + n, value(n, 9999, 0)).err())
        .unwrap();
    assert!(refused.leaving > 125);
    assert_eq!(editor.table().memory(), reader.memory());
    assert_eq!(editor.live(), 1000);
}

#[test]
fn a_changed_hop_takes_no_second_copy_and_nothing_does_in_a_table_without_readers() {
    let mut editor = filled(1000, 1);
    let changed = |upserted: Upserted| upserted.changed;
    assert_eq!(
        editor.upsert(1, value(1, 1, 7)).map(changed),
        Ok(Changed::InPlace)
    );
    assert_eq!(
        editor.upsert(1, value(1, 1, 7)).map(changed),
        Ok(Changed::Nothing)
    );
    assert!(matches!(
        editor.upsert(1, value(1, 0x02_0001, 7)).map(changed),
        Ok(Changed::Copied(_))
    ));
    assert_eq!(
        editor.table().get(1).map(Entry::hop),
        Some(Hop::Local(PortId::new(7).unwrap()))
    );
    while editor.is_published() {
        editor
            .upsert(2 + editor.live() as u64, value(1, 1, 1))
            .unwrap();
    }
    assert_eq!(
        editor.upsert(1, value(9, 9, 9)).map(changed),
        Ok(Changed::InPlace)
    );
    assert_eq!(
        (editor.table().get(1), editor.leaving()),
        (Some(value(9, 9, 9)), 0)
    );
}

/// What the property test does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire(u8),
    Release(usize),
    Commit,
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..12u8).prop_map(Step::Acquire),
        4 => any::<usize>().prop_map(Step::Release),
        2 => Just(Step::Commit),
        2 => Just(Step::Settle),
    ]
}

fn next_hop(host: u8) -> NextHop {
    NextHop {
        port: PortId::new(0).unwrap(),
        endpoints: Endpoints::V4 {
            src: Ipv4Addr::new(192, 0, 2, 1),
            dst: Ipv4Addr::new(192, 0, 2, host),
        },
        src_mac: Mac::from_u64(1),
        dst_mac: Mac::from_u64(u64::from(host)),
        mtu: 1500,
    }
}

proptest! {
    #[test]
    fn a_next_hop_keeps_its_slot_until_nobody_can_refer_to_it(steps in prop::collection::vec(step(), 0..300)) {
        const CAPACITY: usize = 8;
        let [hops, others] = [(); 2].map(|()| Arc::new(NextHops::new(Tunnel::default())));
        let mut references = References::new(vec![Arc::clone(&hops), Arc::clone(&others)], CAPACITY);
        let (mut committed, mut settled) = (0, 0);
        let mut held: Vec<(u8, HopId)> = Vec::new();
        // Whose the slot is until which commit is settled.
        let mut lingering: HashMap<HopId, (u8, u64)> = HashMap::new();
        for step in steps {
            match step {
                Step::Acquire(host) => match references.acquire([next_hop(host), next_hop(!host)], settled) {
                    Ok(id) => {
                        for (other, same) in &held {
                            prop_assert_eq!(*other == host, *same == id);
                        }
                        let may_be_taken = lingering.remove(&id).is_none_or(|(whose, until)| whose == host || until <= settled);
                        prop_assert!(may_be_taken);
                        held.push((host, id));
                    }
                    Err(_) => {
                        let waiting = lingering.values().filter(|(_, until)| *until > settled).count();
                        let mut in_use: Vec<_> = held.iter().map(|(_, id)| id.0).collect();
                        in_use.sort_unstable();
                        in_use.dedup();
                        prop_assert_eq!(in_use.len() + waiting, CAPACITY);
                        prop_assert_eq!(references.in_use(), in_use.len());
                    }
                },
                Step::Release(which) if !held.is_empty() => {
                    let (host, id) = held.swap_remove(which % held.len());
                    references.release(id, committed + 1);
                    if held.iter().all(|(_, other)| *other != id) {
                        lingering.insert(id, (host, committed + 1));
                    }
                }
                Step::Release(_) => {}
                Step::Commit => committed += 1,
                Step::Settle => settled = committed,
            }
            for (host, id) in &held {
                prop_assert_eq!(hops.template(*id), Template::new(&next_hop(*host), &Tunnel::default()));
                prop_assert_eq!(others.template(*id), Template::new(&next_hop(!*host), &Tunnel::default()));
            }
        }
    }
}
