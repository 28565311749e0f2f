// SPDX-License-Identifier: MIT
//! Workers on threads of their own look things up while the writer does what it can to them. What loom
//! shows for nine slots, this shows for a whole table, on the real machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use super::*;
use crate::tables::{Endpoints, Hop, Neighbor, NextHop, VpcId};
use crate::wire::{Mac, Vni};

const VPC: VpcId = VpcId(NonZeroU16::MIN);
/// Keys `0..STATIC` never change, `STATIC..KEYS` always do.
const STATIC: u32 = 500;
const KEYS: u32 = 2000;
const ROUNDS: u32 = 400;
const EDITS: u32 = 250;

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % u64::from(sides)) as u32
    }
}

/// Every other key is an IPv6 address.
fn ip(key: u32) -> IpAddr {
    match key % 2 {
        0 => Ipv4Addr::from(key).into(),
        _ => Ipv6Addr::from(0xfd00 << 112 | u128::from(key)).into(),
    }
}

/// What version `version` of a key has: MAC and VNI (all 24 bits) tell the key and the version.
fn entry(key: u32, version: u32, hop: Hop) -> Neighbor {
    let vni = Vni::new(1 + (key * 64 + version) * 100).unwrap();
    Neighbor {
        mac: Mac::from_u64(u64::from(key) << 24 | u64::from(version)),
        vni,
        hop,
    }
}

fn next_hop(host: u32) -> NextHop {
    NextHop {
        port: PortId::new((host % 32) as u16).unwrap(),
        endpoints: Endpoints::V4 {
            src: Ipv4Addr::new(192, 0, 2, 1),
            dst: Ipv4Addr::from(0xc633_0000 + host),
        },
        src_mac: Mac::from_u64(1),
        dst_mac: Mac::from_u64(0x0200_0000_0000 + u64::from(host)),
        mtu: 1500,
    }
}

/// Local to a port that follows from the key, or remote: then the next hop must be whole.
fn check(tables: &Tables, key: u32, found: Neighbor) {
    let version = found.mac.to_u64() as u32 & 0xff_ffff;
    assert!(version < 64);
    assert_eq!(found, entry(key, version, found.hop), "a mix of two values");
    match found.hop {
        Hop::Local(port) => assert_eq!(u32::from(port.get()), key % 32),
        Hop::Remote(id) => {
            let template = tables.neighbors.hops.template(id);
            // Where the destination's address is: bytes 30 to 34.
            let bytes: Vec<u8> = template
                .words
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect();
            let host =
                u32::from_be_bytes([bytes[30], bytes[31], bytes[32], bytes[33]]) - 0xc633_0000;
            assert_eq!(
                template.words,
                crate::tables::neighbors::Template::new(
                    &next_hop(host),
                    &crate::tables::Tunnel::default()
                )
                .words,
                "a torn template"
            );
        }
    }
}

/// Looks up until told to stop, and at least once, however late it gets a CPU; how many entries it found.
fn work(mut reader: Reader<Tables>, seed: u64, sleeps: bool, stop: &AtomicBool) -> u64 {
    let (mut dice, mut hits) = (Dice(seed), 0);
    loop {
        let guard = reader.pin();
        for _ in 0..64 {
            let key = dice.roll(KEYS);
            let found = guard.neighbors.find_ip(VPC, ip(key));
            assert!(found.is_some() || key >= STATIC, "static key {key} is lost");
            if let Some(found) = found {
                check(&guard, key, found);
                hits += 1;
            }
        }
        drop(guard);
        if sleeps && dice.roll(50) == 0 {
            reader.offline();
            thread::yield_now();
        }
        if stop.load(Relaxed) {
            return hits;
        }
    }
}

/// One edit of a key that may change.
fn edit(writer: &mut Writer, dice: &mut Dice) {
    let key = STATIC + dice.roll(KEYS - STATIC);
    let ip = ip(key);
    if dice.roll(3) == 0 {
        writer.remove_ip(VPC, ip);
        return;
    }
    let acquired = (dice.roll(2) == 0)
        .then(|| writer.acquire_hop(next_hop(dice.roll(500))))
        .transpose()
        .unwrap();
    let hop = acquired.map_or(
        Hop::Local(PortId::new((key % 32) as u16).unwrap()),
        Hop::Remote,
    );
    // Full when a worker stands still: then it is as it was.
    let _ = writer.upsert_ip(VPC, ip, entry(key, dice.roll(64), hop));
}

#[test]
fn workers_lose_no_static_entry_and_read_no_mix_under_full_churn() {
    let (mut writer, registrar) = tables(None, KEYS as usize);
    for key in 0..STATIC {
        let hop = Hop::Local(PortId::new((key % 32) as u16).unwrap());
        writer.upsert_ip(VPC, ip(key), entry(key, 0, hop)).unwrap();
    }
    let _ = writer.commit();
    let stop = Arc::new(AtomicBool::new(false));
    let workers = [false, true].map(|sleeps| {
        let (reader, stop) = (registrar.reader("worker").unwrap(), Arc::clone(&stop));
        thread::spawn(move || work(reader, 0x9e37_79b9 + u64::from(sleeps), sleeps, &stop))
    });
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for _ in 0..ROUNDS {
        for _ in 0..EDITS {
            edit(&mut writer, &mut dice);
        }
        let commit = writer.commit();
        // Mostly waits, sometimes lets commits pile up.
        while dice.roll(4) != 0 && !writer.settled(&commit) {
            thread::yield_now();
        }
    }
    stop.store(true, Relaxed);
    for worker in workers {
        assert!(worker.join().unwrap() > 0);
    }
    let commit = writer.commit();
    assert!(writer.settled(&commit));
    assert_eq!(writer.memory().leaving(), 0);
}
