// SPDX-License-Identifier: MIT
//! What commits replace is freed by who commits, while a worker forwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use vswitch::io::memory::{MemoryFrame, Wire};
use vswitch::tables::snapshot::Commit;
use vswitch::tables::{PortId, RouteTable};
use vswitch::wire::Mac;

use super::counter::{Counts, counted};
use super::lab::*;
use super::traffic::{populate, routed, switched};

const A: PortId = port(2);

/// Frames on their way at most: fewer than a wire holds, so that none is dropped.
const IN_FLIGHT: u64 = 256;

/// Commits go on for so long, or until there are so many that the neighbors that stay would fill the tables.
const TIME: Duration = Duration::from_secs(2);
const MAX_ROUNDS: u32 = 1500;

/// Keeps the worker busy with frames that all leave.
#[derive(Default)]
struct Feed {
    injected: u64,
    collected: u64,
}

impl Feed {
    fn turn(&mut self, kinds: &[MemoryFrame], rx: &Wire, tx: &[Wire]) {
        while self.injected - self.collected < IN_FLIGHT {
            let kind = &kinds[self.injected as usize % kinds.len()];
            rx.push(kind.clone()).unwrap();
            self.injected += 1;
        }
        for wire in tx {
            self.collected += std::iter::from_fn(|| wire.pop()).count() as u64;
        }
    }
}

/// Changes of every kind: a route table, neighbors that come, move and go, next hops, a table that grows.
fn edit(lab: &mut Lab, round: u32, blue: &Subnet) -> (Commit, Weak<RouteTable>) {
    let mut red = Subnet::new(8, 2, 1, 1);
    let mut blue = blue.clone();
    let further: Vec<_> = (0..[0, 40, 5000][round as usize % 3])
        .map(|n: u32| {
            let mut route = red.connected();
            route.prefix = std::net::IpAddr::from((0xac10_0000 + n).to_be_bytes()).into();
            route
        })
        .collect();
    router(&mut [&mut blue, &mut red], &further);
    lab.guest(A, 1, std::slice::from_ref(&blue));
    let host = (round % 100) as u8 + 10;
    let hop = lab.hop([192, 0, 2, host], [2, 0xaa, 0, 0, 0, host]);
    let vswitch::tables::Hop::Remote(id) = hop else {
        unreachable!()
    };
    let other = Subnet::new(9, 3, 2, 0);
    let address = |n: u32| match n % 2 {
        0 => IpAddr::from(Ipv4Addr::from(0x0a09_0000 + n)),
        _ => IpAddr::from(Ipv6Addr::from(0xfd00 << 112 | u128::from(n))),
    };
    let neighbor = |mac| vswitch::tables::Neighbor {
        mac,
        vni: vswitch::wire::Vni::new(other.vni).unwrap(),
        hop,
    };
    for n in 0..100 {
        let n = round * 100 + n;
        let mac = Mac::from_u64(0x0202_0000_0000 + u64::from(n));
        lab.writer
            .upsert_mac(domain(3), mac, neighbor(mac))
            .unwrap();
        lab.writer
            .upsert_ip(vpc(2), address(n), neighbor(mac))
            .unwrap();
    }
    // All but what the tables grow by is gone a round later.
    for n in (round.saturating_sub(1) * 100..round * 100).filter(|n| n % 4 != 0) {
        let mac = Mac::from_u64(0x0202_0000_0000 + u64::from(n));
        lab.writer.remove_mac(domain(3), mac);
        lab.writer.remove_ip(vpc(2), address(n));
    }
    lab.writer.release_hop(id);
    (lab.writer.commit(), Arc::downgrade(&blue.routes))
}

#[test]
fn commits_make_no_worker_allocate_or_free() {
    let mut lab = Lab::new();
    let (blue, red) = populate(&mut lab);
    let kinds = [
        switched(&blue, 1, 2),
        switched(&blue, 1, 9),
        routed(&blue, red.ip(9), 64),
        routed(&blue, red.ip(3), 64),
    ]
    .map(|bytes| MemoryFrame::new(&bytes));
    let idle = Lab::with(None).worker;
    let mut worker = std::mem::replace(&mut lab.worker, idle);
    let running = Arc::new(AtomicBool::new(true));
    let thread = {
        let running = Arc::clone(&running);
        std::thread::spawn(move || {
            let poll = || {
                while running.load(Ordering::Relaxed) {
                    if worker.poll() == 0 {
                        std::thread::yield_now();
                    }
                }
            };
            counted(poll).1
        })
    };
    let (mut feed, mut round, mut replaced) = (Feed::default(), 0, Vec::new());
    let begun = Instant::now();
    while round < 50 || (begun.elapsed() < TIME && round < MAX_ROUNDS) {
        let (commit, routes) = edit(&mut lab, round, &blue);
        replaced.push(routes);
        round += 1;
        while !lab.writer.settled(&commit) {
            feed.turn(&kinds, &lab.rx[A.index()], &lab.tx);
        }
        feed.turn(&kinds, &lab.rx[A.index()], &lab.tx);
    }
    while feed.collected < feed.injected {
        for wire in &lab.tx {
            feed.collected += std::iter::from_fn(|| wire.pop()).count() as u64;
        }
    }
    running.store(false, Ordering::Relaxed);
    let counts = thread.join().unwrap();
    println!("{round} commits, {} packets", feed.injected);
    assert_eq!(counts, Counts::default());
    assert_eq!(lab.totals(A).forwarded, feed.injected);
    // What was replaced is gone, so someone freed it: not the worker.
    replaced.pop();
    assert!(replaced.iter().all(|routes| routes.strong_count() == 0));
    assert!(lab.writer.publications() >= u64::from(round));
}
