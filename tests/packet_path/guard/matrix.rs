// SPDX-License-Identifier: MIT
//! MAC, own address and allowed pair, each exact, in a prefix and wrong, by all ways to say them.

use etherparse::ArpOperation;

use super::*;

/// Who a guest says it is.
#[derive(Clone, Copy, Debug)]
struct Claim {
    mac: [u8; 6],
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

/// Ways to say it: the frame, and what an address that is not the guest's is counted as.
type Way = (&'static str, fn(Claim) -> Vec<u8>, DropReason);

const WAYS: [Way; 14] = [
    (
        "UDP over IPv4",
        |it| udp_from(it.mac, it.v4.into(), (5, 6)),
        DropReason::SpoofedIp,
    ),
    (
        "TCP over IPv4",
        |it| tcp_from(it.mac, it.v4.into()),
        DropReason::SpoofedIp,
    ),
    (
        "an echo reply",
        |it| icmpv4(it.mac, it.v4, &[0; 8]),
        DropReason::SpoofedIp,
    ),
    (
        "UDP over IPv6",
        |it| udp_from(it.mac, it.v6.into(), (5, 6)),
        DropReason::SpoofedIp,
    ),
    (
        "TCP over IPv6",
        |it| tcp_from(it.mac, it.v6.into()),
        DropReason::SpoofedIp,
    ),
    (
        "an ICMPv6 echo reply",
        |it| icmpv6(it.mac, it.v6, &[129, 0, 0, 0, 0, 1, 0, 1]),
        DropReason::SpoofedIp,
    ),
    (
        "an ARP request",
        |it| arp(it.mac, it.mac, it.v4, ArpOperation::REQUEST, ANOTHER),
        DropReason::SpoofedArp,
    ),
    (
        "an ARP reply",
        |it| arp(it.mac, it.mac, it.v4, ArpOperation::REPLY, ANOTHER),
        DropReason::SpoofedArp,
    ),
    (
        "an ARP probe",
        |it| arp(it.mac, it.mac, NOBODY, ArpOperation::REQUEST, it.v4),
        DropReason::SpoofedArp,
    ),
    (
        "an NS from it",
        |it| icmpv6(it.mac, it.v6, &nd(135, ANOTHER_V6, Some(it.mac))),
        DropReason::SpoofedIp,
    ),
    (
        "an NS from nobody about it",
        |it| icmpv6(it.mac, Ipv6Addr::UNSPECIFIED, &nd(135, it.v6, None)),
        DropReason::SpoofedArp,
    ),
    (
        "an NA from it about it",
        |it| icmpv6(it.mac, it.v6, &nd(136, it.v6, Some(it.mac))),
        DropReason::SpoofedArp,
    ),
    (
        "an NA about it",
        |it| icmpv6(it.mac, link_local(it.mac), &nd(136, it.v6, Some(it.mac))),
        DropReason::SpoofedArp,
    ),
    (
        "an NA from it about another of its own",
        |it| icmpv6(it.mac, it.v6, &nd(136, link_local(it.mac), None)),
        DropReason::SpoofedIp,
    ),
];

const ANOTHER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 99);
const ANOTHER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// What becomes of a claim.
enum Verdict {
    Passes,
    WrongIp,
    WrongMac,
}
use Verdict::{Passes, WrongIp, WrongMac};

#[test]
fn mac_own_address_and_pair_are_checked_however_they_are_said() {
    let (mut lab, _) = lab();
    for (what, mac, ip, ip6, verdict) in [
        (
            "own MAC and address",
            OWN,
            "10.7.0.1",
            "2001:db8::1",
            Passes,
        ),
        (
            "own MAC, link-local",
            OWN,
            "10.7.0.1",
            "fe80::ff:fe07:1",
            Passes,
        ),
        (
            "own MAC, first of a prefix",
            OWN,
            "10.9.0.0",
            "2001:db8:1::",
            Passes,
        ),
        (
            "own MAC, last of it",
            OWN,
            "10.9.255.255",
            "2001:db8:1::ffff:ffff:ffff:ffff",
            Passes,
        ),
        (
            "own MAC, before it",
            OWN,
            "10.8.255.255",
            "2001:db8:0:ffff:ffff:ffff:ffff:ffff",
            WrongIp,
        ),
        (
            "own MAC, behind it",
            OWN,
            "10.10.0.0",
            "2001:db8:1:1::",
            WrongIp,
        ),
        (
            "own MAC, nobody's address",
            OWN,
            "10.7.0.2",
            "2001:db8::2",
            WrongIp,
        ),
        (
            "own MAC, another's link-local",
            OWN,
            "10.7.0.3",
            "fe80::ff:fe07:2",
            WrongIp,
        ),
        (
            "own MAC, the pair's address",
            OWN,
            "10.7.0.77",
            "2001:db8:2::77",
            WrongIp,
        ),
        (
            "own MAC, the pair's prefix",
            OWN,
            "10.11.4.1",
            "2001:db8:3::1",
            WrongIp,
        ),
        (
            "own MAC, the pair's link-local",
            OWN,
            "10.11.4.2",
            "fe80::ff:fe07:11",
            WrongIp,
        ),
        (
            "the pair's MAC and address",
            ALLOWED,
            "10.7.0.77",
            "2001:db8:2::77",
            Passes,
        ),
        (
            "the pair's MAC, link-local",
            ALLOWED,
            "10.7.0.77",
            "fe80::ff:fe07:11",
            Passes,
        ),
        (
            "the pair's MAC, first of a prefix",
            ALLOWED,
            "10.11.4.0",
            "2001:db8:3::",
            Passes,
        ),
        (
            "the pair's MAC, last of it",
            ALLOWED,
            "10.11.7.255",
            "2001:db8:3:ffff:ffff:ffff:ffff:ffff",
            Passes,
        ),
        (
            "the pair's MAC, behind it",
            ALLOWED,
            "10.11.8.0",
            "2001:db8:4::",
            WrongIp,
        ),
        (
            "the pair's MAC, beside its address",
            ALLOWED,
            "10.7.0.76",
            "2001:db8:2::76",
            WrongIp,
        ),
        (
            "the pair's MAC, own address",
            ALLOWED,
            "10.7.0.1",
            "2001:db8::1",
            WrongIp,
        ),
        (
            "the pair's MAC, own prefix",
            ALLOWED,
            "10.9.0.1",
            "2001:db8:1::5",
            WrongIp,
        ),
        (
            "nobody's MAC, own address",
            NOBODYS,
            "10.7.0.1",
            "2001:db8::1",
            WrongMac,
        ),
        (
            "nobody's MAC, own prefix",
            NOBODYS,
            "10.9.0.1",
            "2001:db8:1::5",
            WrongMac,
        ),
        (
            "nobody's MAC, the pair's address",
            NOBODYS,
            "10.7.0.77",
            "2001:db8:2::77",
            WrongMac,
        ),
        (
            "nobody's MAC, its link-local",
            NOBODYS,
            "10.7.0.66",
            "fe80::ff:fe07:66",
            WrongMac,
        ),
    ] {
        let claim = Claim {
            mac,
            v4: v4(ip),
            v6: v6(ip6),
        };
        for (way, frame, wrong_ip) in WAYS {
            let dropped = match verdict {
                Passes => None,
                WrongIp => Some(wrong_ip),
                WrongMac => Some(DropReason::SpoofedMac),
            };
            lab.try_it(&format!("{what}, by {way}"), &frame(claim), dropped);
        }
    }
}

#[test]
fn arp_and_nd_speak_for_their_own_mac() {
    let (mut lab, subnet) = lab();
    let (ip, own) = (subnet.ip(1), link_local(OWN));
    let lie = Some(DropReason::SpoofedArp);
    for operation in [ArpOperation::REQUEST, ArpOperation::REPLY] {
        for (sender, wrong) in [(OWN, None), (ALLOWED, lie), (NOBODYS, lie)] {
            let frame = arp(OWN, sender, ip, operation, ANOTHER);
            lab.try_it(&format!("{sender:?} in ARP"), &frame, wrong);
        }
    }
    let reply = arp(OWN, OWN, NOBODY, ArpOperation::REPLY, ip);
    lab.try_it("a reply for nobody", &reply, lie);
    let announcement = arp(OWN, OWN, ip, ArpOperation::REQUEST, ip);
    lab.try_it("an announcement", &announcement, None);
    for (offset, what) in [
        (14, "hardware"),
        (17, "protocol"),
        (18, "MACs"),
        (19, "addresses"),
    ] {
        let mut other = arp(OWN, OWN, ip, ArpOperation::REQUEST, ANOTHER);
        other[offset] ^= 7;
        lab.try_it(&format!("ARP of other {what}"), &other, lie);
    }
    for kind in [135, 136] {
        for (option, wrong) in [
            (None, None),
            (Some(OWN), None),
            (Some(ALLOWED), lie),
            (Some(NOBODYS), lie),
        ] {
            let frame = icmpv6(OWN, own, &nd(kind, own, option));
            lab.try_it(&format!("{option:?} in ND {kind}"), &frame, wrong);
        }
        let message = nd(kind, own, None);
        for (what, options) in [
            ("no length", &[2, 0, 2, 0, 0, 7, 0, 1][..]),
            ("a cut", &[2, 1, 2]),
            (
                "another behind",
                &[14, 1, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 7, 0, 2],
            ),
        ] {
            let frame = icmpv6(OWN, own, &[&message, options].concat());
            lab.try_it(&format!("ND {kind} with an option of {what}"), &frame, lie);
        }
        for len in 1..message.len() {
            // Of less than ICMPv6's header it cannot be told what it is.
            let wrong = if len < 8 {
                Some(DropReason::RogueServer)
            } else {
                lie
            };
            lab.try_it("ND cut short", &icmpv6(OWN, own, &message[..len]), wrong);
        }
    }
}

#[test]
fn nobody_is_no_source_but_of_who_has_no_address_yet() {
    let (mut lab, _) = lab();
    let wrong = Some(DropReason::SpoofedIp);
    for (what, frame, wrong) in [
        ("UDP", udp_from(OWN, NOBODY.into(), (5, 6)), wrong),
        ("TCP", tcp_from(OWN, NOBODY.into()), wrong),
        (
            "DHCP to another port",
            udp_from(OWN, NOBODY.into(), (68, 53)),
            wrong,
        ),
        (
            "DHCP to one machine",
            udp_from(OWN, NOBODY.into(), (68, 67)),
            wrong,
        ),
        ("DHCP", to_all(udp_from(OWN, NOBODY.into(), (68, 67))), None),
        (
            "UDP over IPv6",
            udp_from(OWN, Ipv6Addr::UNSPECIFIED.into(), (5, 6)),
            wrong,
        ),
        (
            "TCP over IPv6",
            tcp_from(OWN, Ipv6Addr::UNSPECIFIED.into()),
            wrong,
        ),
        (
            "a report of groups",
            icmpv6(OWN, Ipv6Addr::UNSPECIFIED, &[143, 0, 0, 0, 0, 0, 0, 0]),
            None,
        ),
    ] {
        lab.try_it(what, &frame, wrong);
    }
}

#[test]
fn other_protocols_need_the_right_mac_and_unguarded_ports_nothing() {
    let (mut lab, subnet) = lab();
    let mut other = udp_from(OWN, subnet.ip(1).into(), (5, 6));
    other[12..14].copy_from_slice(&[0x88, 0xcc]);
    for (mac, wrong) in [
        (OWN, None),
        (ALLOWED, None),
        (NOBODYS, Some(DropReason::SpoofedMac)),
    ] {
        other[6..12].copy_from_slice(&mac);
        lab.try_it("LLDP", &other, wrong);
    }
    let frame = udp(NOBODYS, OWN, Ipv4Addr::new(203, 0, 113, 1), subnet.ip(1));
    lab.expect(B, &frame, A, &frame);
}

#[test]
fn who_has_two_tags_cannot_be_told() {
    let (mut lab, subnet) = lab();
    let frame = udp_from(OWN, subnet.ip(1).into(), (5, 6));
    for (outer, inner) in [(0x8100, 0x8100), (0x88a8, 0x8100), (0x8100, 0x88a8)] {
        let twice = tagged(outer, 5, &tagged(inner, 6, &frame));
        lab.try_one("two tags", &twice, Some(DropReason::VlanTagged));
    }
    let once = tagged(0x8100, 5, &frame);
    for len in 0..once.len() {
        let cut = &once[..len];
        lab.try_one("a tag cut short", cut, Some(DropReason::Truncated));
    }
}
