// SPDX-License-Identifier: MIT
//! Every interleaving of one worker and the writer over tables of nine slots, or of six with IPv6 addresses; those of two
//! workers, and with IPv6 addresses, up to a number of preemptions; and the faults that must be found.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use loom::thread;

use super::*;
use crate::tables::neighbors::Ip6Key;
use crate::tables::sync::Fault;
use crate::tables::sync::model::{check, check_up_to, fails, fails_up_to};
use crate::tables::{Endpoints, Hop, HopId, Neighbor, NextHop, VpcId};
use crate::wire::{Mac, Vni};

const VPC: VpcId = VpcId(NonZeroU16::MIN);
/// Fits the slots of a new table, which then never grows.
const FIXED: usize = 6;
const FIXED_V6: usize = 4;
/// Of the models with two workers.
const PREEMPTIONS: usize = 2;
/// Of those with wide keys.
const PREEMPTIONS_V6: usize = 3;

fn neighbor(mac: u64, hop: Hop) -> Neighbor {
    Neighbor {
        mac: Mac::from_u64(mac),
        vni: Vni::new(0x01_0001).unwrap(),
        hop,
    }
}

fn local(mac: u64, port: u16) -> Neighbor {
    neighbor(mac, Hop::Local(PortId::new(port).unwrap()))
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

/// The tables of a model by one version of IP.
fn fixed<const V6: bool>() -> (Writer, Registrar) {
    tables(None, if V6 { FIXED_V6 } else { FIXED })
}

/// Addresses whose home is one and the same bucket, which is not the last.
fn same_home<const V6: bool, const N: usize>(writer: &Writer) -> [IpAddr; N] {
    let neighbors = writer.neighbors();
    let home = |ip| match ip {
        IpAddr::V4(ip) => neighbors.by_ip.home(Neighbors::ip_key(VPC, ip.to_bits())),
        IpAddr::V6(ip) => neighbors.by_ip6.home(Ip6Key::new(VPC, ip)),
    };
    let mut found = (1..u32::MAX)
        .map(|n| match V6 {
            false => IpAddr::V4(Ipv4Addr::from(n)),
            true => IpAddr::V6(Ipv6Addr::from(1 << 127 | u128::from(n))),
        })
        .filter(|ip| home(*ip) == Default::default());
    std::array::from_fn(|_| found.next().unwrap())
}

/// Of the table by that version of IP.
fn leaving<const V6: bool>(writer: &mut Writer) -> usize {
    writer.memory().tables[1 + usize::from(V6)].leaving
}

/// So many workers, each on a thread of its own.
fn workers<T: 'static>(
    count: usize,
    registrar: &Registrar,
    work: impl Fn(Reader<Tables>) -> T + Clone + 'static,
) -> Vec<thread::JoinHandle<T>> {
    let start = |_| {
        let (reader, work) = (registrar.reader("worker").unwrap(), work.clone());
        thread::spawn(move || work(reader))
    };
    (0..count).map(start).collect()
}

fn settle(writer: &mut Writer) {
    let commit = writer.commit();
    assert!(writer.settled(&commit), "no reader is online");
}

/// A new entry.
fn insert<const WORKERS: usize, const V6: bool>() {
    let (mut writer, registrar) = fixed::<V6>();
    let [ip] = same_home::<V6, 1>(&writer);
    let reading = workers(WORKERS, &registrar, move |mut reader| {
        reader.pin().neighbors.find_ip(VPC, ip)
    });
    writer.upsert_ip(VPC, ip, local(0xa, 3)).unwrap();
    for reading in reading {
        let found = reading.join().unwrap();
        assert!(found.is_none() || found == Some(local(0xa, 3)), "{found:?}");
    }
}

/// An entry goes, another one takes its slot.
fn reuse<const WORKERS: usize, const V6: bool>() {
    let (mut writer, registrar) = fixed::<V6>();
    let [one, other] = same_home::<V6, 2>(&writer);
    writer.upsert_ip(VPC, one, local(0xa, 3)).unwrap();
    settle(&mut writer);
    let reading = workers(WORKERS, &registrar, move |mut reader| {
        let first = reader.pin().neighbors.find_ip(VPC, one);
        let second = reader.pin().neighbors.find_ip(VPC, one);
        assert!(first.is_none() || first == Some(local(0xa, 3)), "{first:?}");
        assert!(second.is_none() || second == first, "{second:?}");
    });
    writer.remove_ip(VPC, one);
    let _ = writer.commit();
    writer.poll();
    writer.poll();
    writer.upsert_ip(VPC, other, local(0xb, 4)).unwrap();
    reading
        .into_iter()
        .for_each(|reading| reading.join().unwrap());
    settle(&mut writer);
    assert_eq!(leaving::<V6>(&mut writer), 0);
}

/// An entry gets another MAC, and its new copy lies before the old one.
fn change<const WORKERS: usize, const V6: bool>() {
    let (mut writer, registrar) = fixed::<V6>();
    let [gone, changed] = same_home::<V6, 2>(&writer);
    writer.upsert_ip(VPC, gone, local(0xf, 1)).unwrap();
    writer.upsert_ip(VPC, changed, local(0xa, 3)).unwrap();
    writer.remove_ip(VPC, gone);
    settle(&mut writer);
    let reading = workers(WORKERS, &registrar, move |mut reader| {
        for _ in 0..2 {
            let found = reader.pin().neighbors.find_ip(VPC, changed);
            assert!(
                found == Some(local(0xa, 3)) || found == Some(local(0xb, 4)),
                "{found:?}"
            );
        }
    });
    writer.upsert_ip(VPC, changed, local(0xb, 4)).unwrap();
    let _ = writer.commit();
    writer.poll();
    reading
        .into_iter()
        .for_each(|reading| reading.join().unwrap());
    settle(&mut writer);
    assert_eq!(leaving::<V6>(&mut writer), 0);
}

/// Two entries are behind a full bucket, one of them goes.
fn overflow<const WORKERS: usize, const V6: bool>() {
    let (mut writer, registrar) = fixed::<V6>();
    let keys: [_; 5] = same_home::<V6, 5>(&writer);
    let keys = &keys[usize::from(V6)..]; // two more than the bucket's slots
    for &ip in keys {
        writer.upsert_ip(VPC, ip, local(0xa, 3)).unwrap();
    }
    settle(&mut writer);
    let [.., stays, goes] = *keys else {
        panic!("too few")
    };
    let reading = workers(WORKERS, &registrar, move |mut reader| {
        reader.pin().neighbors.find_ip(VPC, stays)
    });
    writer.remove_ip(VPC, goes);
    let _ = writer.commit();
    writer.poll();
    for reading in reading {
        assert_eq!(reading.join().unwrap(), Some(local(0xa, 3)));
    }
}

/// An entry is removed and added again, at any stage of its removal.
fn add_again<const WORKERS: usize, const V6: bool>() {
    let (mut writer, registrar) = fixed::<V6>();
    let [ip] = same_home::<V6, 1>(&writer);
    writer.upsert_ip(VPC, ip, local(0xa, 3)).unwrap();
    settle(&mut writer);
    let reading = workers(WORKERS, &registrar, move |mut reader| {
        for _ in 0..2 {
            let found = reader.pin().neighbors.find_ip(VPC, ip);
            assert!(
                found.is_none() || found == Some(local(0xa, 3)) || found == Some(local(0xb, 4)),
                "{found:?}"
            );
        }
    });
    writer.remove_ip(VPC, ip);
    let _ = writer.commit();
    writer.poll();
    writer.upsert_ip(VPC, ip, local(0xb, 4)).unwrap();
    writer.poll();
    reading
        .into_iter()
        .for_each(|reading| reading.join().unwrap());
    settle(&mut writer);
    assert_eq!(leaving::<V6>(&mut writer), 0);
    assert_eq!(writer.neighbors().find_ip(VPC, ip), Some(local(0xb, 4)));
}

/// The table grows while one entry stays and another one is on its way out.
fn grow<const WORKERS: usize>() {
    let (mut writer, registrar) = tables(None, 2 * FIXED);
    let keys: [_; 7] = same_home::<false, 7>(&writer);
    for ip in &keys[..5] {
        writer.upsert_ip(VPC, *ip, local(0xa, 3)).unwrap();
    }
    settle(&mut writer);
    let [stays, goes, .., last_but_one, last] = keys;
    let reading = workers(WORKERS, &registrar, move |mut reader| {
        for _ in 0..2 {
            assert_eq!(
                reader.pin().neighbors.find_ip(VPC, stays),
                Some(local(0xa, 3))
            );
        }
    });
    writer.remove_ip(VPC, goes);
    let _ = writer.commit();
    for ip in [last_but_one, last] {
        writer.upsert_ip(VPC, ip, local(0xa, 3)).unwrap();
    }
    let _ = writer.commit();
    writer.poll();
    reading
        .into_iter()
        .for_each(|reading| reading.join().unwrap());
    settle(&mut writer);
    assert_eq!(writer.publications(), 1);
    assert_eq!(writer.neighbors().find_ip(VPC, goes), None);
    assert_eq!(leaving::<false>(&mut writer), 0);
}

/// An entry moves to another next hop, whose slot then serves a third.
fn next_hops<const WORKERS: usize, const V6: bool>() {
    let (mut writer, registrar) = fixed::<V6>();
    let [ip] = same_home::<V6, 1>(&writer);
    let one = writer.acquire_hop(next_hop(8)).unwrap();
    writer
        .upsert_ip(VPC, ip, neighbor(0xa, Hop::Remote(one)))
        .unwrap();
    settle(&mut writer);
    let reading = workers(WORKERS, &registrar, move |mut reader| {
        let guard = reader.pin();
        let found = guard.neighbors.find_ip(VPC, ip).unwrap();
        let Hop::Remote(id) = found.hop else {
            panic!("not remote: {found:?}")
        };
        let words = guard.neighbors.hops.template(id).words;
        let expected = if id == HopId(0) {
            next_hop(8)
        } else {
            next_hop(9)
        };
        assert_eq!(
            words,
            crate::tables::neighbors::Template::new(&expected, &crate::tables::Tunnel::default())
                .words
        );
    });
    let other = writer.acquire_hop(next_hop(9)).unwrap();
    writer
        .upsert_ip(VPC, ip, neighbor(0xa, Hop::Remote(other)))
        .unwrap();
    writer.release_hop(one);
    let commit = writer.commit();
    let settled = writer.settled(&commit);
    let third = writer.acquire_hop(next_hop(10));
    assert!(!settled || third == Ok(one));
    reading
        .into_iter()
        .for_each(|reading| reading.join().unwrap());
}

#[test]
fn loom_a_new_entry_is_seen_whole_or_not_at_all() {
    check(None, insert::<1, false>);
}

#[test]
fn loom_a_slot_is_used_again_only_when_nobody_looks() {
    check(None, reuse::<1, false>);
}

#[test]
fn loom_a_changed_entry_is_always_there_and_never_a_mix() {
    check(None, change::<1, false>);
}

#[test]
fn loom_an_entry_behind_a_full_bucket_is_found_while_others_go() {
    check(None, overflow::<1, false>);
}

#[test]
fn loom_an_entry_can_be_added_again_at_any_stage_of_its_removal() {
    check(None, add_again::<1, false>);
}

#[test]
fn loom_an_entry_is_found_while_the_table_grows() {
    check(None, grow::<1>);
}

#[test]
fn loom_a_next_hop_is_written_before_an_entry_names_it_and_not_while_one_does() {
    check(None, next_hops::<1, false>);
}

#[test]
fn loom_entries_of_wide_keys_are_as_safe() {
    // A key of three parts has too many interleavings for all of them.
    check_up_to(PREEMPTIONS_V6, insert::<1, true>);
    check_up_to(PREEMPTIONS_V6, reuse::<1, true>);
    check_up_to(PREEMPTIONS_V6, change::<1, true>);
    check_up_to(PREEMPTIONS_V6, overflow::<1, true>);
    check_up_to(PREEMPTIONS_V6, add_again::<1, true>);
    check_up_to(PREEMPTIONS_V6, next_hops::<1, true>);
}

#[test]
fn loom_finds_each_fault_of_wide_keys() {
    let faults: [(Fault, fn()); 9] = [
        (Fault::KeyFirst, insert::<1, true>),
        (Fault::MarkFirst, reuse::<1, true>),
        (Fault::KeyRelaxed, insert::<1, true>),
        (Fault::ReuseAtOnce, reuse::<1, true>),
        (Fault::CopyGoesAtOnce, change::<1, true>),
        (Fault::OverwriteInPlace, change::<1, true>),
        (Fault::OverflowCleared, overflow::<1, true>),
        (Fault::HopRelaxed, next_hops::<1, true>),
        (Fault::HopReusedAtOnce, next_hops::<1, true>),
    ];
    for (fault, model) in faults {
        assert!(fails(fault, model), "{fault:?}");
    }
}

#[test]
fn loom_finds_each_fault_of_the_tables() {
    let faults: [(Fault, fn()); 12] = [
        (Fault::KeyFirst, insert::<1, false>),
        (Fault::KeyRelaxed, insert::<1, false>),
        (Fault::ReuseAtOnce, reuse::<1, false>),
        (Fault::CopyGoesAtOnce, change::<1, false>),
        (Fault::OverwriteInPlace, change::<1, false>),
        (Fault::OverflowCleared, overflow::<1, false>),
        (Fault::HopRelaxed, next_hops::<1, false>),
        (Fault::HopReusedAtOnce, next_hops::<1, false>),
        (Fault::PassedEarly, reuse::<1, false>),
        (Fault::EpochRelaxed, reuse::<1, false>),
        (Fault::OnlineWithoutFence, reuse::<1, false>),
        (Fault::TicketWithoutFence, reuse::<1, false>),
    ];
    for (fault, model) in faults {
        assert!(fails(fault, model), "{fault:?}");
    }
}

#[test]
fn loom_two_workers_see_whole_entries_while_one_comes_goes_changes_or_moves() {
    check_up_to(PREEMPTIONS, insert::<2, false>);
    check_up_to(PREEMPTIONS, change::<2, false>);
    check_up_to(PREEMPTIONS, overflow::<2, false>);
    check_up_to(PREEMPTIONS, next_hops::<2, false>);
}

#[test]
fn loom_a_slot_is_used_again_only_when_neither_of_two_workers_looks() {
    check_up_to(PREEMPTIONS, reuse::<2, false>);
    check_up_to(PREEMPTIONS, add_again::<2, false>);
}

#[test]
fn loom_two_workers_find_an_entry_while_the_table_grows() {
    check_up_to(PREEMPTIONS, grow::<2>);
}

#[test]
fn loom_finds_each_fault_of_the_tables_with_two_workers() {
    // The others take more preemptions than these models have time for; `rcu` finds them with two readers.
    let faults: [(Fault, fn()); 9] = [
        (Fault::KeyFirst, insert::<2, false>),
        (Fault::KeyRelaxed, insert::<2, false>),
        (Fault::ReuseAtOnce, reuse::<2, false>),
        (Fault::CopyGoesAtOnce, change::<2, false>),
        (Fault::OverwriteInPlace, change::<2, false>),
        (Fault::OverflowCleared, overflow::<2, false>),
        (Fault::HopRelaxed, next_hops::<2, false>),
        (Fault::HopReusedAtOnce, next_hops::<2, false>),
        (Fault::PassedEarly, reuse::<2, false>),
    ];
    for (fault, model) in faults {
        assert!(fails_up_to(PREEMPTIONS, fault, model), "{fault:?}");
    }
}
