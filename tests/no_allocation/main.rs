// SPDX-License-Identifier: MIT
//! Workers allocate nothing, and free nothing but frames: whatever arrives, and whatever is committed meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test ends where it fails

mod copies;
mod counter;
mod dhcp;
#[allow(dead_code, reason = "the packet path's tests use the rest of it")]
#[path = "../packet_path/lab.rs"]
mod lab;
mod meanwhile;
#[allow(dead_code, reason = "the packet path's tests use the rest of it")]
#[path = "../packet_path/ipv6/net.rs"]
mod net;
mod over_ipv6;
mod traffic;
mod uplinks;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use vswitch::counters::capture::Wanted;
use vswitch::counters::{DropReason, PortTotals, WorkerCounters, total};
use vswitch::io::Unfinished;
use vswitch::io::memory::{MemoryFrame, MemoryRx, MemoryTx, wire};
use vswitch::stage::punt::{PORT_SHARE, PuntQueues};
use vswitch::stage::transmit::{HANDOFF_CAPACITY, Handoff, Link};
use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;
use vswitch::worker::Worker;

use counter::{Counts, counted};
use lab::*;

type MemoryWorker = Worker<MemoryRx, MemoryTx>;

/// Frames and where each arrives.
type Arrivals = Vec<(PortId, MemoryFrame)>;

/// Two workers that share the lab's ports: the first has the tx queues, the second hands its frames over.
struct Pair {
    lab: Lab,
    workers: [MemoryWorker; 2],
    counters: [Arc<WorkerCounters>; 2],
}

impl Pair {
    /// The second worker polls the uplink and port 3, the first the others. No worker can send by port 7.
    fn new(lab: Lab) -> Self {
        let handoffs: Vec<Handoff<MemoryFrame>> = (0..PORTS)
            .map(|_| Arc::new(ArrayQueue::new(HANDOFF_CAPACITY)))
            .collect();
        let counters = [(); 2].map(|()| Arc::new(WorkerCounters::default()));
        let workers = [0, 1].map(|n| {
            let reader = lab.registrar.reader("pair").unwrap();
            let mut worker = Worker::new(reader, Arc::clone(&counters[n]), 32);
            for (i, handoff) in (0..PORTS).zip(&handoffs) {
                let (rx, tx) = (&lab.rx[usize::from(i)], &lab.tx[usize::from(i)]);
                let polls = usize::from([0, 3].contains(&i)) == n;
                let queue = polls.then(|| MemoryRx(Arc::clone(rx)));
                let link = match n {
                    0 => Link::Shared(MemoryTx(Arc::clone(tx)), Arc::clone(handoff)),
                    _ => Link::Borrowed(Arc::clone(handoff)),
                };
                worker.add_port(
                    port(i),
                    queue.into_iter().collect(),
                    (i != 7).then_some(link),
                );
            }
            worker
        });
        Self {
            lab,
            workers,
            counters,
        }
    }

    /// Lets the workers deal with what arrives, 32 frames at a time; what they allocate and free, and how many
    /// frames left.
    fn forward(&mut self, arrivals: Arrivals) -> (Counts, u64) {
        let (mut counts, mut sent) = (Counts::default(), 0);
        let mut arrivals = arrivals.into_iter().peekable();
        while arrivals.peek().is_some() {
            for (at, frame) in arrivals.by_ref().take(32) {
                self.lab.rx[at.index()].push(frame).unwrap();
            }
            let workers = &mut self.workers;
            let (_, more) =
                counted(|| while workers.iter_mut().map(Worker::poll).sum::<usize>() != 0 {});
            counts.allocations += more.allocations;
            counts.frees += more.frees;
            for wire in &self.lab.tx {
                sent += std::iter::from_fn(|| wire.pop()).count() as u64;
            }
        }
        (counts, sent)
    }

    fn totals(&self) -> Vec<PortTotals> {
        (0..PORTS).map(|i| total(&self.counters, port(i))).collect()
    }

    /// Packets forwarded, answered and dropped so far.
    fn fates(&self) -> [u64; 3] {
        let totals = self.totals();
        let sum = |fate: fn(&PortTotals) -> u64| totals.iter().map(fate).sum();
        [
            sum(|at| at.forwarded),
            sum(|at| at.answered),
            sum(PortTotals::dropped),
        ]
    }

    /// Why packets were dropped so far.
    fn reasons(&self) -> BTreeSet<&'static str> {
        let totals = self.totals();
        let counted =
            |reason: &&DropReason| totals.iter().any(|port| port.drops_for(**reason) != 0);
        let reasons = DropReason::ALL.iter().filter(counted);
        reasons.map(|reason| reason.name()).collect()
    }
}

#[test]
fn the_counter_counts_what_this_thread_does() {
    let (_, counts) = counted(|| drop(black_box(Box::new(7))));
    assert_eq!(
        counts,
        Counts {
            allocations: 1,
            frees: 1
        }
    );
    let (mut list, counts) = counted(|| black_box(vec![1u8]));
    assert_eq!(
        counts,
        Counts {
            allocations: 1,
            frees: 0
        }
    );
    let (_, counts) = counted(|| list.reserve(1000));
    assert_eq!(
        counts,
        Counts {
            allocations: 1,
            frees: 1
        }
    );
    let other = std::thread::spawn(|| drop(black_box(vec![0u8; 100])));
    let (_, counts) = counted(|| while !other.is_finished() {});
    assert_eq!(counts, Counts::default());
}

#[test]
fn workers_allocate_nothing_and_free_only_the_frames_they_drop() {
    let (mut reasons, mut was_told) = (BTreeSet::new(), false);
    let scenes: [fn() -> traffic::Scene; 5] = [
        traffic::with_host_port,
        traffic::without_host_port,
        traffic::in_a_vlan,
        over_ipv6::scene,
        uplinks::scene,
    ];
    for scene in scenes {
        let mut scene = scene(); // one at a time: workers are large
        let kinds = scene.arrivals.clone();
        let bursts = kinds
            .iter()
            .flat_map(|kind| std::iter::repeat_n(kind.clone(), 32));
        // Each kind alone; then all of them in one burst after another.
        let mixed = (0..32).flat_map(|_| kinds.clone());
        for (captured, arrivals) in [
            (false, bursts.collect::<Arrivals>()),
            (true, mixed.collect()),
        ] {
            if captured {
                let counters = scene.pair.counters.iter();
                counters.for_each(|it| it.capture.start(1, &Wanted::ALL));
            }
            let (before, arrived) = (scene.pair.fates(), arrivals.len() as u64);
            let (counts, left) = scene.pair.forward(arrivals);
            let [forwarded, answered, dropped] = {
                let after = scene.pair.fates();
                std::array::from_fn(|i| after[i] - before[i])
            };
            assert_eq!(forwarded + answered + dropped, arrived);
            assert_eq!(
                (forwarded, answered),
                (32 * scene.sent, 32 * scene.answered)
            );
            assert_eq!(counts.allocations, 0);
            assert_eq!(
                counts.frees,
                arrived - left,
                "a frame in memory is one allocation"
            );
            let told = left - forwarded - answered; // of what was dropped
            assert!(told < dropped);
            was_told |= told != 0;
        }
        reasons.extend(scene.pair.reasons());
    }
    assert!(was_told, "a guest is told of drops");
    reasons.extend(misses());
    reasons.extend(limited());
    reasons.extend(fragments());
    reasons.extend(copies::copies());
    reasons.extend(unfinished());
    // The control side drops for these.
    let others = [DropReason::OnDemandExpired, DropReason::OnDemandUnknown];
    let workers = DropReason::ALL
        .iter()
        .filter(|reason| !others.contains(reason));
    let all: BTreeSet<_> = workers.map(|reason| reason.name()).collect();
    assert_eq!(reasons, all, "every way to drop a frame was taken");
}

/// A packet that is cut, with enough buffers for its fragments and with too few; and the first segment of a connection,
/// whose size is lowered. Why some were dropped.
fn fragments() -> BTreeSet<&'static str> {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.guest(port(2), 1, std::slice::from_ref(&subnet));
    lab.mtu = 576;
    lab.remote(9, &subnet);
    lab.commit();
    (
        lab.worker.limits_mut().fragment,
        lab.worker.limits_mut().clamp_mss,
    ) = (true, true);
    let longest = traffic::long(&subnet, 65_535);
    let most = 65_515usize.div_ceil(504);
    for (buffers, sent, freed) in [(most, most, 1), (most - 1, 0, most as u64)] {
        let pool = wire(buffers);
        while pool.push(MemoryFrame::new(&[0; 2048])).is_ok() {}
        let frame = MemoryFrame::new(&longest).of_pool(&pool);
        lab.rx[2].push(frame).unwrap();
        let (_, counts) = counted(|| while lab.worker.poll() != 0 {});
        assert_eq!((counts.allocations, counts.frees), (0, freed));
        assert_eq!(lab.out(UPLINK).len(), sent);
    }
    assert_eq!(lab.totals(port(2)).drops_for(DropReason::NoBuffers), 1);
    lab.inject(port(2), &traffic::syn(&subnet));
    let (_, counts) = counted(|| while lab.worker.poll() != 0 {});
    assert_eq!(counts, Counts::default());
    let [sent] = lab.out(UPLINK).try_into().unwrap();
    // The option of the inner TCP header, behind 50 bytes: 576 less these and 40.
    assert_eq!(sent[50 + 54..50 + 58], [2, 4, 0x01, 0xe6]);
    BTreeSet::from([DropReason::NoBuffers.name()])
}

/// What a guest left undone: a checksum, segments with enough buffers for them and with too few, and nonsense. Why some was
/// dropped.
fn unfinished() -> BTreeSet<&'static str> {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.guest(port(2), 1, std::slice::from_ref(&subnet));
    lab.remote(9, &subnet);
    lab.commit();
    let (from, to) = (guest_mac(7, 1), guest_mac(7, 9));
    let (src, dst) = (subnet.ip(1), subnet.ip(9));
    let mut long = Vec::new();
    etherparse::PacketBuilder::ethernet2(from, to)
        .ipv4(src.octets(), dst.octets(), 64)
        .tcp(1000, 80, 5, 4096)
        .write(&mut long, &[7; 60_000])
        .unwrap();
    let udp = udp(from, to, src, dst);
    let mut nonsense = udp.clone();
    nonsense[23] = 1; // ICMP, whose checksum is nobody else's
    let (checksum, segments) = (Unfinished::Checksum, Unfinished::Segments(600));
    for (bytes, left, buffers, sent, freed) in [
        (&udp, checksum, 0, 1, 0),
        (&long, segments, 100, 100, 1),
        (&long, segments, 99, 64, 1 + 35),
        (&nonsense, checksum, 0, 0, 1),
    ] {
        let pool = wire(buffers.max(1));
        while pool.len() < buffers {
            pool.push(MemoryFrame::new(&[0; 2048])).unwrap();
        }
        let frame = MemoryFrame::new(bytes).of_pool(&pool).left(left);
        lab.rx[2].push(frame).unwrap();
        let (_, counts) = counted(|| while lab.worker.poll() != 0 {});
        assert_eq!((counts.allocations, counts.frees), (0, freed));
        assert_eq!(lab.out(UPLINK).len(), sent);
    }
    lab.balanced();
    let totals = lab.totals(port(2));
    assert_eq!(totals.drops_for(DropReason::NoBuffers), 1);
    assert_eq!(totals.drops_for(DropReason::BadOffload), 1);
    BTreeSet::from([DropReason::BadOffload.name()])
}

#[test]
fn subports_allocate_nothing() {
    let mut lab = Lab::new();
    let subnets = [Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 2, 0)];
    let (parent, subport) = (port(2), port(4));
    for (at, n, subnet) in [(parent, 1, 0), (subport, 1, 1), (port(3), 2, 1)] {
        lab.guest(at, n, std::slice::from_ref(&subnets[subnet]));
    }
    lab.remote(9, &subnets[1]);
    lab.commit();
    lab.worker.remove_port(subport);
    let vlan = 101;
    lab.worker.add_subport(subport, Subport { parent, vlan });
    let red = |from, to| {
        let macs = [from, to].map(|n| guest_mac(8, n));
        udp(macs[0], macs[1], subnets[1].ip(from), subnets[1].ip(to))
    };
    let in_vlan = |frame: &[u8]| [&frame[..12], &[0x81, 0, 0, 101], &frame[12..]].concat();
    for _ in 0..40 {
        lab.inject(parent, &in_vlan(&red(1, 9))); // to another host
        lab.inject(parent, &in_vlan(&red(1, 77))); // to nobody
        lab.inject(parent, &red(1, 9)); // in the other network, to nobody
        lab.inject(port(3), &red(2, 1));
    }
    let (_, counts) = counted(|| while lab.worker.poll() != 0 {});
    assert_eq!((counts.allocations, counts.frees), (0, 80));
    assert_eq!((lab.out(UPLINK).len(), lab.out(parent).len()), (40, 40));
    lab.balanced();
}

/// More frames for the host than its rate. Why some were dropped.
fn limited() -> BTreeSet<&'static str> {
    let mut lab = Lab::new();
    lab.worker.host_gate_mut().set_rate(1);
    (0..32).for_each(|_| lab.inject(UPLINK, &traffic::ssh()));
    let (_, counts) = counted(|| while lab.worker.poll() != 0 {});
    let dropped = lab.totals(UPLINK).drops_for(DropReason::HostLimited);
    assert!(dropped != 0);
    assert_eq!((counts.allocations, counts.frees), (0, dropped));
    BTreeSet::from([DropReason::HostLimited.name()])
}

/// Frames that lack a neighbor, to the control side and back. Why some were dropped.
fn misses() -> BTreeSet<&'static str> {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.guest(port(2), 1, std::slice::from_ref(&subnet));
    lab.commit();
    let queues = Arc::new(PuntQueues::default());
    lab.worker.punt_to(Arc::clone(&queues));
    let (from, to) = (guest_mac(7, 1), guest_mac(7, 9));
    let frame = udp(from, to, subnet.ip(1), subnet.ip(9));
    (0..PORT_SHARE + 32).for_each(|_| lab.inject(port(2), &frame));
    let (_, out) = counted(|| while lab.worker.poll() != 0 {});
    assert_eq!((out.allocations, out.frees), (0, 32));
    lab.remote(9, &subnet);
    lab.commit();
    let held: Vec<_> = std::iter::from_fn(|| queues.next_miss()).collect();
    for miss in held {
        queues.give_back(miss).unwrap();
    }
    let (_, back) = counted(|| while lab.worker.poll() != 0 {});
    assert_eq!(back, Counts::default());
    let totals = lab.totals(port(2));
    assert_eq!(totals.forwarded, PORT_SHARE as u64);
    assert_eq!(totals.drops_for(DropReason::OnDemandFull), 32);
    BTreeSet::from([DropReason::OnDemandFull.name()])
}
