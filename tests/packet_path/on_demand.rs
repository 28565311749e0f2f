// SPDX-License-Identifier: MIT
//! What lacks a neighbor is held while the controller is asked, and goes on when it comes back.

use std::net::Ipv4Addr;
use std::sync::Arc;

use vswitch::counters::DropReason;
use vswitch::io::Frame;
use vswitch::io::memory::MemoryFrame;
use vswitch::stage::punt::{Destination, Miss, PORT_SHARE, PUNT_CAPACITY, PuntQueues, Sought};
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{PortId, Role};
use vswitch::wire::{Mac, Vni};

use crate::lab::*;
use crate::{A, B, switched};

type Queues = Arc<PuntQueues<MemoryFrame>>;

/// Guest 1 at A and guest 2 at B, in one subnet; nobody else is known. The subnet's router has a route to 203.0.113.0/24
/// by guest 8.
fn lab() -> (Lab, Subnet, Queues) {
    let mut lab = Lab::new();
    let mut subnet = Subnet::new(7, 1, 1, 0);
    let far = Route {
        prefix: "203.0.113.0/24".parse().unwrap(),
        priority: 0,
        target: Target::Via(vpc(1), subnet.ip(8).into()),
    };
    router(&mut [&mut subnet], &[far]);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    lab.commit();
    let queues = Queues::default();
    lab.worker.punt_to(Arc::clone(&queues));
    (lab, subnet, queues)
}

fn misses(lab: &mut Lab, queues: &Queues) -> Vec<Miss<MemoryFrame>> {
    while lab.worker.poll() != 0 {}
    std::iter::from_fn(|| queues.next_miss()).collect()
}

fn destination(ip: Ipv4Addr, sought: Sought) -> Destination {
    let (vni, ip) = (Vni::new(7).unwrap(), ip.into());
    Destination { vni, ip, sought }
}

fn give_back(queues: &Queues, misses: Vec<Miss<MemoryFrame>>) {
    for miss in misses {
        queues.give_back(miss).unwrap();
    }
}

fn held(lab: &Lab, at: PortId) -> u64 {
    let totals = lab.totals(at);
    assert!(totals.is_balanced(), "{totals:?}");
    totals.held
}

#[test]
fn a_frame_to_an_unknown_mac_is_held_as_it_is_and_goes_on_when_it_comes_back() {
    let (mut lab, subnet, queues) = lab();
    let frame = switched(&subnet, 1, 9);
    lab.inject(A, &frame);
    let held_back = misses(&mut lab, &queues);
    let sought = Sought::Mac(domain(1), Mac::new(guest_mac(7, 9)));
    assert_eq!(held_back.len(), 1);
    assert_eq!(held_back[0].frame.head(), frame);
    assert_eq!(held_back[0].from, A);
    assert_eq!(held_back[0].destination, destination(subnet.ip(9), sought));
    assert_eq!((held(&lab, A), lab.totals(A).dropped()), (1, 0));

    lab.remote(9, &subnet);
    lab.commit();
    give_back(&queues, held_back);
    let out = lab.out(UPLINK);
    assert_eq!(out, [to_peer(source_port(&out[0]), 7, 0, &frame)]);
    assert_eq!((held(&lab, A), lab.totals(A).rx), (0, 1));
    lab.balanced();
}

#[test]
fn a_routed_frame_asks_for_its_next_hop_in_the_vni_that_its_guest_speaks_in() {
    let (mut lab, subnet, queues) = lab();
    for (to, hop) in [
        (subnet.ip(9), subnet.ip(9)),
        (Ipv4Addr::new(203, 0, 113, 5), subnet.ip(8)),
    ] {
        let frame = udp(guest_mac(7, 1), gateway_mac(7, 0), subnet.ip(1), to);
        lab.inject(A, &frame);
        let held_back = misses(&mut lab, &queues);
        assert_eq!(
            held_back[0].destination,
            destination(hop, Sought::Ip(vpc(1), hop.into()))
        );
        assert_eq!(held_back[0].frame.head(), frame, "nothing is rewritten yet");
    }
}

#[test]
fn a_guest_in_several_subnets_asks_in_the_one_that_it_speaks_in() {
    let (mut lab, _, queues) = lab();
    let subnets = [Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 1, 0)];
    lab.guest(A, 1, &subnets);
    lab.commit();
    for subnet in &subnets {
        lab.inject(A, &switched(subnet, 1, 9));
        let sought = Sought::Mac(domain(subnet.domain), Mac::new(guest_mac(subnet.vni, 9)));
        let vni = Vni::new(subnet.vni).unwrap();
        let ip = subnet.ip(9).into();
        assert_eq!(
            misses(&mut lab, &queues)[0].destination,
            Destination { vni, ip, sought }
        );
    }
}

/// A request of guest 1 for the MAC of an address.
fn arp(operation: u16, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let packet = etherparse::ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        etherparse::EtherType::IPV4,
        etherparse::ArpOperation(operation),
        &guest_mac(7, 1),
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    );
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2(guest_mac(7, 1), [0xff; 6])
        .arp(packet.unwrap())
        .write(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn an_arp_request_for_an_unknown_address_asks_and_others_are_not_flooded_as_ever() {
    let (mut lab, subnet, queues) = lab();
    lab.inject(A, &arp(1, subnet.ip(1), subnet.ip(9)));
    let asked = misses(&mut lab, &queues);
    let sought = Sought::Ip(vpc(1), subnet.ip(9).into());
    assert_eq!(asked[0].destination, destination(subnet.ip(9), sought));
    assert_eq!(held(&lab, A), 1);
    lab.remote(9, &subnet);
    lab.commit();
    give_back(&queues, asked);
    let out = lab.out(A);
    assert_eq!(
        (out.len(), out[0][22..28].to_vec()),
        (1, guest_mac(7, 9).to_vec())
    );
    assert_eq!(held(&lab, A), 0);

    for known in [subnet.ip(2), subnet.gateway()] {
        lab.inject(A, &arp(1, subnet.ip(1), known));
        assert_eq!(lab.out(A).len(), 1, "{known} is answered");
        assert!(queues.next_miss().is_none());
    }
    let elsewhere = Ipv4Addr::new(198, 51, 100, 1);
    for (what, frame) in [
        ("no request", arp(2, subnet.ip(1), subnet.ip(9))),
        ("announcement", arp(1, subnet.ip(9), subnet.ip(9))),
        ("probe", arp(1, Ipv4Addr::UNSPECIFIED, subnet.ip(77))),
        ("of no subnet", arp(1, subnet.ip(1), elsewhere)),
        ("cut", arp(1, subnet.ip(1), subnet.ip(9))[..41].to_vec()),
        (
            "no ARP",
            udp(guest_mac(7, 1), [0xff; 6], subnet.ip(1), subnet.ip(255)),
        ),
    ] {
        lab.expect_drop(A, &frame, DropReason::NotFlooded);
        assert!(queues.next_miss().is_none(), "{what}");
    }
}

#[test]
fn what_nobody_can_be_asked_about_is_dropped_as_ever() {
    let (mut lab, subnet, queues) = lab();
    let mut v6 = Vec::new();
    etherparse::PacketBuilder::ethernet2(guest_mac(7, 1), guest_mac(7, 9))
        .ipv6([1; 16], [2; 16], 9)
        .udp(1, 2)
        .write(&mut v6, b"x")
        .unwrap();
    lab.expect_drop(A, &v6, DropReason::UnknownMac);
    let multicast = udp(
        guest_mac(7, 1),
        guest_mac(7, 9),
        subnet.ip(1),
        Ipv4Addr::new(224, 0, 0, 1),
    );
    lab.expect_drop(A, &multicast, DropReason::UnknownMac);
    let from_underlay = from_peer(7, 0, &switched(&subnet, 1, 9));
    lab.expect_drop(UPLINK, &from_underlay, DropReason::UnknownMac);
    assert!(queues.next_miss().is_none());
}

#[test]
fn a_port_that_misses_all_the_time_leaves_room_for_others() {
    let (mut lab, subnet, queues) = lab();
    for _ in 0..PORT_SHARE + 3 {
        lab.inject(A, &switched(&subnet, 1, 9));
    }
    while lab.worker.poll() != 0 {}
    assert_eq!(held(&lab, A), PORT_SHARE as u64);
    assert_eq!(lab.totals(A).drops_for(DropReason::OnDemandFull), 3);
    lab.inject(B, &switched(&subnet, 2, 9));
    while lab.worker.poll() != 0 {}
    assert_eq!(held(&lab, B), 1);
    assert_eq!(misses(&mut lab, &queues).len(), PORT_SHARE + 1);
    lab.inject(A, &switched(&subnet, 1, 9));
    assert_eq!(
        misses(&mut lab, &queues).len(),
        1,
        "its share is free again"
    );
}

#[test]
fn what_comes_back_and_is_unknown_again_is_dropped_and_not_held_twice() {
    let (mut lab, subnet, queues) = lab();
    lab.inject(A, &switched(&subnet, 1, 9));
    let held_back = misses(&mut lab, &queues);
    give_back(&queues, held_back);
    assert!(misses(&mut lab, &queues).is_empty());
    assert_eq!(lab.totals(A).drops_for(DropReason::UnknownMac), 1);
    lab.balanced();
    lab.inject(A, &switched(&subnet, 1, 9));
    assert_eq!(misses(&mut lab, &queues).len(), 1, "a new one is");
}

#[test]
fn what_comes_back_is_treated_as_its_port_is_now() {
    let (mut lab, subnet, queues) = lab();
    lab.inject(A, &switched(&subnet, 1, 9));
    let held_back = misses(&mut lab, &queues);
    lab.remote(9, &subnet);
    lab.writer.set_role(A, Role::Unbound);
    lab.commit();
    give_back(&queues, held_back);
    assert_eq!(lab.out(UPLINK), Vec::<Vec<u8>>::new());
    assert_eq!(lab.totals(A).drops_for(DropReason::PortUnbound), 1);
    lab.balanced();
}

#[test]
fn a_guest_does_not_send_what_the_one_before_it_at_its_port_had_sent() {
    for by_mac in [true, false] {
        let (mut lab, subnet, queues) = lab();
        let mut other = Subnet::new(8, 2, 2, 0);
        router(&mut [&mut other], &[]);
        let gateway = gateway_mac(7, 0);
        let frame = match by_mac {
            true => switched(&subnet, 1, 9),
            false => udp(guest_mac(7, 1), gateway, subnet.ip(1), subnet.ip(9)),
        };
        lab.inject(A, &frame);
        let held_back = misses(&mut lab, &queues);
        assert_eq!(held_back.len(), 1);
        // The same MACs, addresses and gateway, in another VPC.
        for subnet in [&subnet, &other] {
            lab.remote(9, subnet);
        }
        lab.guest(A, 1, &[other]);
        lab.commit();
        give_back(&queues, held_back);
        assert_eq!(lab.out(UPLINK), Vec::<Vec<u8>>::new());
        assert_eq!(lab.totals(A).drops_for(DropReason::PortUnbound), 1);
        lab.balanced();
    }
}

#[test]
fn frames_of_several_ports_come_back_in_their_order_and_are_counted_for_their_ports() {
    let (mut lab, subnet, queues) = lab();
    let numbered = |from: u8, i: u8| {
        let mut frame = switched(&subnet, from, 9);
        frame[19] = i;
        frame
    };
    for i in 0..100 {
        let from = 1 + i % 2;
        lab.inject([A, B][usize::from(i % 2)], &numbered(from, i));
    }
    let mut held_back = misses(&mut lab, &queues);
    held_back.sort_by_key(|miss| miss.frame.head()[19]);
    lab.remote(9, &subnet);
    lab.commit();
    give_back(&queues, held_back);
    let order: Vec<_> = lab.out(UPLINK).iter().map(|out| out[69]).collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
    for at in [A, B] {
        assert_eq!((held(&lab, at), lab.totals(at).forwarded), (0, 50));
    }
    lab.balanced();
}

#[test]
fn a_full_queue_back_refuses_and_nothing_is_lost() {
    let queues = Queues::default();
    let ip = Ipv4Addr::new(10, 7, 0, 9);
    let miss = |i: usize| Miss {
        frame: MemoryFrame::new(&i.to_be_bytes()),
        from: A,
        guest: Mac::default(),
        destination: destination(ip, Sought::Ip(vpc(1), ip.into())),
    };
    for i in 0..PUNT_CAPACITY {
        queues.give_back(miss(i)).unwrap();
    }
    let refused = queues.give_back(miss(7)).unwrap_err();
    assert_eq!(refused.frame.to_vec(), miss(7).frame.to_vec());
    assert_eq!(queues.returning(), PUNT_CAPACITY);
    let first = queues.take_returned().unwrap();
    assert_eq!(first.frame.to_vec(), miss(0).frame.to_vec());
    assert_eq!(queues.returning(), PUNT_CAPACITY - 1);
}
