// SPDX-License-Identifier: MIT
//! Broadcasts that are copied, in buffers of a pool.

use std::collections::BTreeSet;

use vswitch::counters::DropReason;
use vswitch::io::memory::{MemoryFrame, wire};
use vswitch::tables::{Hop, Replication};

use super::counter::counted;
use super::lab::*;

/// Guests 1 and 2 and a host are one subnet's, guest 3 is alone in another. Why some broadcasts were dropped.
pub(crate) fn copies() -> BTreeSet<&'static str> {
    let mut lab = Lab::new();
    let (mut subnet, mut lonely) = (Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 1, 1));
    let Hop::Remote(host) = lab.hop(PEER, PEER_MAC) else {
        panic!("a hop is remote");
    };
    let to = |hosts: &[_]| Replication {
        rate: 3,
        hosts: hosts.into(),
    };
    subnet.replication = Some(to(&[host]));
    lonely.replication = Some(to(&[]));
    lab.guest(port(2), 1, std::slice::from_ref(&subnet));
    lab.guest(port(3), 2, std::slice::from_ref(&subnet));
    lab.guest(port(4), 3, std::slice::from_ref(&lonely));
    lab.commit();
    let to_all = |subnet: &Subnet, n| {
        let src = guest_mac(subnet.vni, n);
        udp(src, [0xff; 6], subnet.ip(n), subnet.ip(255))
    };
    let (own, others) = (to_all(&subnet, 1), to_all(&subnet, 9));
    let arriving = [
        (2, own.clone(), 1, 0), // to the host and to guest 2
        (2, own.clone(), 0, 0), // the same without a buffer
        (2, own.clone(), 1, 0),
        (2, own, 1, 1), // too many
        (0, from_peer(7, 0, &others), 1, 0),
        (4, to_all(&lonely, 3), 1, 1), // to nobody
    ];
    let (empty, full) = (wire(1), wire(8));
    while full.push(MemoryFrame::new(&[0; 2048])).is_ok() {}
    for (at, frame, buffers, freed) in arriving {
        let pool = if buffers == 0 { &empty } else { &full };
        lab.rx[at]
            .push(MemoryFrame::new(&frame).of_pool(pool))
            .unwrap();
        let (_, counts) = counted(|| while lab.worker.poll() != 0 {});
        assert_eq!((counts.allocations, counts.frees), (0, freed));
    }
    let left = [0, 2, 3].map(|at| lab.out(port(at)).len());
    assert_eq!(left, [2, 1, 4]);
    lab.balanced();
    let reasons = [DropReason::ReplicationLimited, DropReason::NoReceivers];
    BTreeSet::from(reasons.map(DropReason::name))
}
