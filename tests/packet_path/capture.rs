// SPDX-License-Identifier: MIT
//! Copies of frames, byte by byte. That there is one of each that arrives, leaves and is dropped is asserted by all tests of
//! this folder: [`Lab::balanced`].

use vswitch::counters::DropReason;
use vswitch::counters::capture::Event;
use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;
use vswitch::wire::Mac;

use crate::lab::*;
use crate::tunnel::tagged;
use crate::{A, B, one_subnet, switched};

/// What is seen of one frame that arrives: port, what happened, bytes.
fn seen(lab: &mut Lab, at: PortId, frame: &[u8]) -> Vec<(PortId, Event, Vec<u8>)> {
    lab.seen();
    lab.inject(at, frame);
    while lab.worker.poll() != 0 {}
    let seen = lab.seen().into_iter().map(|seen| {
        assert_eq!(seen.len as usize, seen.bytes.len());
        assert!(seen.time_ns > 1_600_000_000_000_000_000);
        (seen.port, seen.event, seen.bytes)
    });
    seen.collect()
}

#[test]
fn a_frame_is_seen_as_it_arrives_and_as_it_leaves() {
    let (mut lab, subnet) = one_subnet();
    let (out, back) = (switched(&subnet, 1, 9), switched(&subnet, 9, 1));
    let events = seen(&mut lab, A, &out);
    let sport = source_port(&events[1].2);
    let expected = [
        (A, Event::Received, out.clone()),
        (UPLINK, Event::Sent, to_peer(sport, 7, 0, &out)),
    ];
    assert_eq!(events, expected);
    let outer = from_peer(7, 0, &back);
    let expected = [
        (UPLINK, Event::Received, outer.clone()),
        (A, Event::Sent, back),
    ];
    assert_eq!(seen(&mut lab, UPLINK, &outer), expected);
}

#[test]
fn a_frame_is_seen_as_it_is_when_it_is_dropped() {
    let (mut lab, subnet) = one_subnet();
    lab.neighbor(
        &subnet,
        2,
        Mac::new(guest_mac(7, 2)),
        vswitch::tables::Hop::Local(B),
    );
    lab.commit();
    let dropped = |lab: &mut Lab, at, frame: &[u8]| seen(lab, at, frame).remove(1);
    let short = switched(&subnet, 1, 9)[..20].to_vec();
    let reason = Event::Dropped(DropReason::Truncated);
    assert_eq!(dropped(&mut lab, A, &short), (A, reason, short.clone()));
    // The outer header is gone by the time that the neighbor is looked for; not before.
    let stray = switched(&subnet, 9, 5);
    let reason = Event::Dropped(DropReason::UnknownMac);
    let event = dropped(&mut lab, UPLINK, &from_peer(7, 0, &stray));
    assert_eq!(event, (UPLINK, reason, stray.clone()));
    let other = from_peer(99, 0, &stray);
    let reason = Event::Dropped(DropReason::UnknownVni);
    assert_eq!(dropped(&mut lab, UPLINK, &other), (UPLINK, reason, other));
    // As it would have left.
    lab.worker.add_port(UPLINK, Vec::new(), None);
    let out = switched(&subnet, 1, 9);
    let (port, reason, bytes) = dropped(&mut lab, A, &out);
    let full = Event::Dropped(DropReason::TxFull);
    assert_eq!((port, reason), (A, full));
    assert_eq!(bytes, to_peer(source_port(&bytes), 7, 0, &out));
}

#[test]
fn what_its_sender_is_told_of_is_seen_as_it_was_and_the_message_as_it_leaves() {
    let mut lab = Lab::new();
    let mut subnet = Subnet::new(7, 1, 1, 0);
    router(&mut [&mut subnet], &[]);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.commit();
    let far = [10, 9, 9, 9].into();
    let routed = udp(guest_mac(7, 1), gateway_mac(7, 0), subnet.ip(1), far);
    let events = seen(&mut lab, A, &routed);
    let reason = Event::Dropped(DropReason::NoRoute);
    assert_eq!(events[1], (A, reason, routed));
    let (port, event, message) = &events[2];
    assert_eq!((*port, *event, message[23]), (A, Event::Sent, 1)); // ICMP
    lab.out(A);
    lab.silent();
}

#[test]
fn a_vlan_that_is_a_port_is_seen_as_that_port_with_its_tag() {
    let mut lab = Lab::new();
    let (blue, red) = (Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 2, 0));
    let subport = port(4);
    lab.guest(A, 1, std::slice::from_ref(&blue));
    lab.guest(B, 2, std::slice::from_ref(&red));
    lab.guest(subport, 1, std::slice::from_ref(&red));
    lab.commit();
    lab.worker.remove_port(subport);
    let vlan = 101;
    lab.worker.add_subport(subport, Subport { parent: A, vlan });
    let (out, back) = (switched(&red, 1, 2), switched(&red, 2, 1));
    let (tagged_out, tagged_back) = (tagged(0x8100, vlan, &out), tagged(0x8100, vlan, &back));
    let expected = [
        (subport, Event::Received, tagged_out.clone()),
        (B, Event::Sent, out),
    ];
    assert_eq!(seen(&mut lab, A, &tagged_out), expected);
    let expected = [
        (B, Event::Received, back.clone()),
        (subport, Event::Sent, tagged_back),
    ];
    assert_eq!(seen(&mut lab, B, &back), expected);
}
