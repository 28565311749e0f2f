// SPDX-License-Identifier: MIT
//! What bounds copies, and the ways that they take.

use etherparse::ArpOperation;
use vswitch::counters::DropReason;
use vswitch::io::memory::{MemoryFrame, wire};
use vswitch::stage::replicate::MAX_COPIES;
use vswitch::stage::trunk::Subport;
use vswitch::tables::{MAX_REPLICATED_HOSTS, Tunnel};

use super::*;
use crate::tunnel::tagged;

#[test]
fn more_than_the_rate_are_dropped_for_each_port_and_told_from_others() {
    let (mut lab, mut subnet) = lab();
    subnet.replication = to(3, &[]);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let frames = [flood(&subnet, 1, ALL), flood(&subnet, 2, ALL)];
    for (at, frame, other) in [(A, &frames[0], B), (B, &frames[1], A)] {
        (0..5).for_each(|_| lab.inject(at, frame));
        assert_eq!(lab.out(other).len(), 3);
        assert_eq!(lab.out(C).len(), 3);
        lab.silent();
        let limited = lab.totals(at).drops_for(DropReason::ReplicationLimited);
        assert_eq!((limited, lab.totals(at).to_replicas), (2, 3));
    }
    let ask = arp(ArpOperation::REQUEST, 1, subnet.ip(1), subnet.ip(77));
    lab.expect_drop(A, &ask, DropReason::NotFlooded);
}

#[test]
fn copies_that_do_not_fit_their_way_are_left_out_and_nobody_is_told() {
    let (mut lab, subnet) = lab();
    let frame = flood(&subnet, 1, ALL);
    lab.worker.limits_mut().set_mtu(B, 40);
    lab.inject(A, &frame);
    assert_eq!(
        (lab.out(UPLINK).len(), lab.out(C)),
        (2, vec![frame.clone()])
    );
    lab.silent();
    assert_eq!((lab.totals(B).unsent, lab.totals(A).answered), (1, 1));
    lab.mtu = 60;
    let mut narrow = subnet.clone();
    let hosts = [lab.hop(PEER, PEER_MAC), lab.hop(OTHER.1, OTHER.0)];
    narrow.replication = to(100, &hosts);
    lab.guest(A, 1, &[narrow]);
    lab.commit();
    lab.inject(A, &frame);
    assert_eq!(lab.out(C), std::slice::from_ref(&frame));
    lab.silent();
    assert_eq!(lab.totals(UPLINK).unsent, 2);
    lab.worker.limits_mut().set_mtu(C, 40);
    lab.expect_drop(A, &frame, DropReason::TooBig);
}

#[test]
fn what_a_ring_does_not_take_is_counted_and_the_others_get_it() {
    let (mut lab, subnet) = lab();
    lab.worker.remove_port(UPLINK);
    let frame = flood(&subnet, 1, ALL);
    lab.inject(A, &frame);
    assert_eq!([lab.out(B), lab.out(C)], [[frame.clone()], [frame.clone()]]);
    lab.silent();
    assert_eq!(lab.totals(UPLINK).unsent, 2);
    lab.worker.remove_port(C);
    lab.inject(A, &frame);
    assert_eq!(lab.out(B), [frame]);
    lab.silent();
    assert_eq!(lab.totals(C).unsent, 1, "also the last one");
    assert_eq!((lab.totals(A).answered, lab.totals(A).dropped()), (2, 0));
}

#[test]
fn without_buffers_the_last_receiver_gets_the_frame_itself() {
    let (mut lab, subnet) = lab();
    let frame = flood(&subnet, 1, ALL);
    let pool = wire(1);
    pool.push(MemoryFrame::new(&frame)).unwrap();
    let pooled = MemoryFrame::new(&frame).of_pool(&pool);
    lab.rx[A.index()].push(pooled).unwrap();
    let out = lab.out(UPLINK);
    assert_eq!(out, to_hosts(source_port(&out[0]), &frame)[..1]);
    assert_eq!(lab.out(C), [frame]);
    lab.silent();
    assert_eq!((lab.totals(UPLINK).unsent, lab.totals(B).unsent), (1, 1));
    assert_eq!(lab.totals(A).answered, 1);
}

#[test]
fn a_frame_has_so_many_receivers_at_most_and_a_burst_so_many_copies() {
    let (mut lab, mut subnet) = lab();
    let host = |n: usize| [192, 0, 2 + (n >> 8) as u8, n as u8];
    let hosts: Vec<_> = (4..4 + MAX_REPLICATED_HOSTS + 88)
        .map(|n| lab.hop(host(n), OTHER.0))
        .collect();
    subnet.replication = to(1000, &hosts);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.commit();
    let frame = flood(&subnet, 1, ALL);
    lab.inject(A, &frame);
    lab.worker.poll();
    let counted = |lab: &Lab| lab.totals(UPLINK).tx + lab.totals(UPLINK).unsent;
    assert_eq!(counted(&lab), MAX_REPLICATED_HOSTS as u64);
    for at in [UPLINK, B, C] {
        lab.out(at);
    }
    (0..10).for_each(|_| lab.inject(A, &frame));
    lab.worker.poll();
    let whole = MAX_COPIES / (MAX_REPLICATED_HOSTS + 2);
    assert_eq!((lab.out(B).len(), lab.out(C).len()), (whole, whole));
    let limited = lab.totals(A).drops_for(DropReason::ReplicationLimited);
    assert_eq!(limited, 10 - whole as u64);
    lab.out(UPLINK);
    lab.silent();
}

#[test]
fn a_host_may_be_reached_over_ipv6() {
    let mut lab = Lab::dual(Some(HOST), Tunnel::default());
    let mut subnet = Subnet::new(7, 1, 1, 0);
    let hosts = [lab.hop(PEER, PEER_MAC), lab.hop6(PEER6, PEER_MAC)];
    subnet.replication = to(100, &hosts);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.commit();
    let frame = flood(&subnet, 1, ALL);
    lab.inject(A, &frame);
    let out = lab.out(UPLINK);
    assert_eq!(out[0], to_peer(source_port(&out[0]), 7, 0, &frame));
    assert_eq!((out.len(), &out[1][12..14]), (2, &[0x86, 0xdd][..]));
    assert_eq!(
        (&out[1][38..54], &out[1][66..69]),
        (&PEER6[..], &[0, 0, 7][..])
    );
    assert_eq!(out[1][70..], frame);
    lab.silent();
}

#[test]
fn frames_with_tags_go_to_guests_that_take_them_and_subports_have_their_own() {
    let (mut lab, subnet) = lab();
    lab.takes_tags = true;
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let frame = flood(&subnet, 1, ALL);
    let in_vlan = |number| tagged(0x8100, number, &frame);
    lab.inject(A, &in_vlan(101));
    assert_eq!((lab.out(UPLINK).len(), lab.out(B)), (2, vec![in_vlan(101)]));
    lab.silent();
    lab.inject(UPLINK, &from_peer(7, 0, &in_vlan(101)));
    assert_eq!([lab.out(A), lab.out(B)], [[in_vlan(101)], [in_vlan(101)]]);
    lab.silent();
    // VLAN 101 of B is C from now on.
    lab.worker.remove_port(C);
    lab.worker.add_subport(
        C,
        Subport {
            parent: B,
            vlan: 101,
        },
    );
    lab.inject(A, &in_vlan(101));
    assert_eq!(lab.out(UPLINK).len(), 2);
    lab.silent();
    lab.inject(A, &frame);
    assert_eq!(lab.out(UPLINK).len(), 2);
    assert_eq!(lab.out(B), [frame.clone(), in_vlan(101)]);
    lab.silent();
    // What it sends goes to its parent too.
    let sent = flood(&subnet, 3, ALL);
    lab.inject(B, &tagged(0x8100, 101, &sent));
    assert_eq!((lab.out(A), lab.out(B)), (vec![sent.clone()], vec![sent]));
    assert_eq!(lab.out(UPLINK).len(), 2);
    lab.silent();
}
