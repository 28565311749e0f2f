// SPDX-License-Identifier: MIT
//! The first hop: ARP. What is expected is built by etherparse.

use std::net::Ipv4Addr;

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use vswitch::counters::DropReason;

use crate::lab::*;
use crate::{A, B};

/// Guest 1 at A and guest 2 at B in one subnet, guest 9 on the peer host; a second subnet of their router with guest 7 on
/// the peer host, and nothing else.
pub(crate) fn lab() -> (Lab, Subnet, Subnet) {
    let mut lab = Lab::new();
    let (mut here, mut there) = (Subnet::new(7, 1, 1, 0), Subnet::new(8, 2, 1, 1));
    router(&mut [&mut here, &mut there], &[]);
    lab.guest(A, 1, std::slice::from_ref(&here));
    lab.guest(B, 2, std::slice::from_ref(&here));
    lab.remote(9, &here);
    lab.remote(7, &there);
    lab.commit();
    (lab, here, there)
}

const NOBODY: [u8; 6] = [0; 6];
const ALL: [u8; 6] = [0xff; 6];

struct Arp {
    operation: ArpOperation,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
}

impl Arp {
    fn frame(&self, from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
        let (sender, target) = (self.sender, self.target);
        let packet = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            self.operation,
            &sender.0,
            &sender.1.octets(),
            &target.0,
            &target.1.octets(),
        );
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ethernet2(from, to).arp(packet.unwrap());
        builder.write(&mut bytes).unwrap();
        bytes
    }
}

/// Guest 1 asks who has an address.
fn who_has(subnet: &Subnet, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mac = guest_mac(subnet.vni, 1);
    let arp = Arp {
        operation: ArpOperation::REQUEST,
        sender: (mac, sender),
        target: (NOBODY, target),
    };
    arp.frame(mac, ALL)
}

#[test]
fn arp_is_answered_for_the_gateway_and_for_neighbors_of_any_host() {
    let (mut lab, here, _) = lab();
    for (ip, mac) in [
        (here.gateway(), gateway_mac(7, 0)),
        (here.ip(2), guest_mac(7, 2)),
        (here.ip(9), guest_mac(7, 9)),
    ] {
        lab.inject(A, &who_has(&here, here.ip(1), ip));
        let reply = Arp {
            operation: ArpOperation::REPLY,
            sender: (mac, ip),
            target: (guest_mac(7, 1), here.ip(1)),
        };
        assert_eq!(lab.out(A), [reply.frame(mac, guest_mac(7, 1))], "{ip}");
    }
    lab.silent();
    assert_eq!(lab.totals(A).answered, 3);
}

#[test]
fn a_padded_request_is_answered_with_its_padding_and_one_to_the_gateways_mac_too() {
    let (mut lab, here, _) = lab();
    let mut request = who_has(&here, here.ip(1), here.gateway());
    request[..6].copy_from_slice(&gateway_mac(7, 0));
    request.resize(60, 0);
    lab.inject(A, &request);
    let out = lab.out(A);
    assert_eq!((out.len(), out[0].len()), (1, 60));
    assert_eq!(out[0][6..12], gateway_mac(7, 0));
    assert_eq!(out[0][20..22], [0, 2]);
    lab.silent();
}

#[test]
fn what_is_no_question_for_somebody_known_in_the_guests_subnet_gets_no_answer() {
    let (mut lab, here, there) = lab();
    let me = (guest_mac(7, 1), here.ip(1));
    let arp = |operation, sender, target| {
        let arp = Arp {
            operation,
            sender,
            target,
        };
        arp.frame(me.0, ALL)
    };
    let request = ArpOperation::REQUEST;
    let mut short = who_has(&here, here.ip(1), here.ip(9));
    short.truncate(41);
    for (what, frame) in [
        ("itself", who_has(&here, here.ip(1), here.ip(1))),
        (
            "itself, as a probe",
            who_has(&here, Ipv4Addr::UNSPECIFIED, here.ip(1)),
        ),
        ("nobody", who_has(&here, here.ip(1), here.ip(77))),
        (
            "a guest of another subnet",
            who_has(&here, here.ip(1), there.ip(7)),
        ),
        (
            "the gateway of another subnet",
            who_has(&here, here.ip(1), there.gateway()),
        ),
        (
            "an announcement",
            arp(request, (me.0, here.ip(9)), (NOBODY, here.ip(9))),
        ),
        (
            "a reply",
            arp(ArpOperation::REPLY, me, (guest_mac(7, 9), here.ip(9))),
        ),
        ("RARP", arp(ArpOperation(3), me, (me.0, here.ip(9)))),
        ("cut short", short),
    ] {
        lab.inject(A, &frame);
        assert_eq!(lab.out(A), Vec::<Vec<u8>>::new(), "{what}");
    }
    assert_eq!(lab.totals(A).drops_for(DropReason::NotFlooded), 9);
    lab.silent();
}

#[test]
fn a_probe_finds_who_has_the_address() {
    let (mut lab, here, _) = lab();
    lab.inject(A, &who_has(&here, Ipv4Addr::UNSPECIFIED, here.ip(9)));
    let reply = Arp {
        operation: ArpOperation::REPLY,
        sender: (guest_mac(7, 9), here.ip(9)),
        target: (guest_mac(7, 1), Ipv4Addr::UNSPECIFIED),
    };
    assert_eq!(lab.out(A), [reply.frame(guest_mac(7, 9), guest_mac(7, 1))]);
    lab.silent();
}

#[test]
fn each_subnet_of_a_vni_has_its_own_gateway() {
    let mut lab = Lab::new();
    let (mut one, mut two) = (Subnet::new(7, 1, 1, 0), Subnet::new(7, 1, 1, 1));
    router(&mut [&mut one, &mut two], &[]);
    lab.guest(A, 1, std::slice::from_ref(&one));
    lab.guest(B, 2, &[one.clone(), two.clone()]);
    lab.commit();
    for (at, guest, subnet, answered) in [
        (A, 1, &one, true),
        (A, 1, &two, false),
        (B, 2, &one, true),
        (B, 2, &two, true),
    ] {
        let arp = Arp {
            operation: ArpOperation::REQUEST,
            sender: (guest_mac(7, guest), subnet.ip(guest)),
            target: (NOBODY, subnet.gateway()),
        };
        lab.inject(at, &arp.frame(guest_mac(7, guest), ALL));
        let macs: Vec<_> = lab.out(at).iter().map(|out| out[22..28].to_vec()).collect();
        let expected = if answered {
            vec![gateway_mac(7, subnet.number).to_vec()]
        } else {
            vec![]
        };
        assert_eq!(macs, expected);
    }
    lab.balanced();
}

#[test]
fn what_the_port_does_not_take_of_the_switchs_own_is_counted() {
    let (mut lab, here, _) = lab();
    for _ in 0..600 {
        lab.inject(A, &who_has(&here, here.ip(1), here.gateway()));
        while lab.worker.poll() != 0 {}
    }
    let totals = lab.totals(A);
    assert_eq!((totals.answered, totals.tx), (600, 512));
    assert_eq!((totals.own, totals.unsent), (512, 88));
    assert_eq!(lab.out(A).len(), 512);
    lab.silent();
}
