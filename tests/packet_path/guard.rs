// SPDX-License-Identifier: MIT
//! Who a guest may say it is: MAC, address and pair, each right, in a prefix, and wrong, by ARP, IPv4, neighbor discovery
//! and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder};
use vswitch::counters::DropReason;
use vswitch::tables::{AddressPair, Guard, Role, TenantPort};
use vswitch::wire::Mac;

use crate::lab::*;
use crate::{A, B};

const OWN: [u8; 6] = [2, 0, 0, 7, 0, 1];
const ALLOWED: [u8; 6] = [2, 0, 0, 7, 0, 0x11];
const NOBODYS: [u8; 6] = [2, 0, 0, 7, 0, 0x66];
const TO: [u8; 6] = [2, 0, 0, 7, 0, 2];

/// Guest 1 at A may send from its own address; from 10.9.0.0/16 and 2001:db8:1::/64 with its own MAC; and from 10.7.0.77
/// and 2001:db8:2::77 with another one. Guest 2 at B may do what it likes.
fn lab() -> (Lab, Subnet) {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 0);
    lab.guest(A, 1, std::slice::from_ref(&subnet));
    lab.guest(B, 2, std::slice::from_ref(&subnet));
    let pair = |mac, prefix: &str| AddressPair {
        mac: Mac::new(mac),
        prefix: prefix.parse().unwrap(),
    };
    let guard = Guard::new(&[
        pair(OWN, "10.7.0.1/32"),
        pair(OWN, "10.9.0.0/16"),
        pair(OWN, "2001:db8:1::/64"),
        pair(ALLOWED, "10.7.0.77/32"),
        pair(ALLOWED, "2001:db8:2::77/128"),
    ]);
    let guarded = TenantPort {
        mac: Mac::new(OWN),
        admin_up: true,
        guard: Some(guard),
        lease: None,
        attachments: [subnet.attachment()].into_iter().collect(),
    };
    lab.writer.set_role(A, Role::Tenant(Arc::new(guarded)));
    lab.commit();
    (lab, subnet)
}

impl Lab {
    /// Guest 1 sends it, and guest 2 gets it unless it is to be dropped.
    #[track_caller]
    fn try_it(&mut self, what: &str, frame: &[u8], dropped: Option<DropReason>) {
        let before = self.totals(A);
        self.inject(A, frame);
        let out = self.out(B);
        match dropped {
            None => assert_eq!(out, [frame], "{what}"),
            Some(_) => assert_eq!(out, Vec::<Vec<u8>>::new(), "{what}"),
        }
        let since = self.totals(A).since(&before);
        let counted = DropReason::ALL
            .iter()
            .filter(|reason| since.drops_for(**reason) != 0);
        assert_eq!(
            counted.copied().collect::<Vec<_>>(),
            Vec::from_iter(dropped),
            "{what}"
        );
        self.silent();
    }
}

fn udp_from(mac: [u8; 6], ip: IpAddr, ports: (u16, u16)) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(mac, TO);
    let ip = match ip {
        IpAddr::V4(ip) => ethernet.ipv4(ip.octets(), [10, 7, 0, 2], 64),
        IpAddr::V6(ip) => ethernet.ipv6(ip.octets(), [9; 16], 64),
    };
    let mut bytes = Vec::new();
    ip.udp(ports.0, ports.1)
        .write(&mut bytes, b"hello")
        .unwrap();
    bytes
}

fn tcp_from(mac: [u8; 6], ip: IpAddr) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(mac, TO);
    let ip = match ip {
        IpAddr::V4(ip) => ethernet.ipv4(ip.octets(), [10, 7, 0, 2], 64),
        IpAddr::V6(ip) => ethernet.ipv6(ip.octets(), [9; 16], 64),
    };
    let mut bytes = Vec::new();
    ip.tcp(1, 2, 3, 4).write(&mut bytes, b"hello").unwrap();
    bytes
}

/// Unicast, so that nobody answers it: a request or reply from `mac` that says `sender` is at `ip`.
fn arp(mac: [u8; 6], sender: [u8; 6], ip: Ipv4Addr, operation: ArpOperation) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &sender,
        &ip.octets(),
        &[0; 6],
        &[10, 7, 0, 99],
    );
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(mac, TO).arp(packet.unwrap());
    builder.write(&mut bytes).unwrap();
    bytes
}

/// An ICMPv6 message behind IPv6 extension headers that begin with header number `next`.
fn icmpv6(mac: [u8; 6], source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [&TO[..], &mac, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, 255]);
    bytes.extend(source.octets());
    bytes.extend([9; 16]);
    bytes.extend(payload);
    bytes
}

/// Neighbor solicitation (135) or advertisement (136) about `target`, with a link-layer address option.
fn nd(kind: u8, target: Ipv6Addr, option: Option<[u8; 6]>) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(target.octets());
    if let Some(mac) = option {
        bytes.extend([kind - 134, 1]);
        bytes.extend(mac);
    }
    bytes
}

#[test]
fn mac_address_and_pair_by_ipv4_ipv6_arp_and_nd() {
    let (mut lab, _) = lab();
    let v4 = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let exact = None;
    for (mac, ip, ip6, wrong) in [
        (OWN, "10.7.0.1", "fe80::ff:fe07:1", exact),
        (OWN, "10.9.255.254", "2001:db8:1::5", exact), // in the prefix
        (ALLOWED, "10.7.0.77", "2001:db8:2::77", exact),
        (
            OWN,
            "10.7.0.2",
            "2001:db8:9::1",
            Some(DropReason::SpoofedIp),
        ),
        (
            OWN,
            "10.7.0.77",
            "2001:db8:2::77",
            Some(DropReason::SpoofedIp),
        ), // the pair's address, with another MAC
        (
            OWN,
            "10.10.0.1",
            "fe80::ff:fe07:2",
            Some(DropReason::SpoofedIp),
        ), // beside the prefix; another's link-local
        (
            ALLOWED,
            "10.7.0.1",
            "2001:db8:1::5",
            Some(DropReason::SpoofedIp),
        ),
        (
            NOBODYS,
            "10.7.0.1",
            "2001:db8:1::5",
            Some(DropReason::SpoofedMac),
        ),
        (
            NOBODYS,
            "10.7.0.66",
            "fe80::ff:fe07:66",
            Some(DropReason::SpoofedMac),
        ),
    ] {
        let (ip, ip6) = (v4(ip), v6(ip6));
        for source in [ip.into(), ip6.into()] {
            lab.try_it(
                &format!("UDP {mac:?} {source}"),
                &udp_from(mac, source, (5, 6)),
                wrong,
            );
            lab.try_it(
                &format!("TCP {mac:?} {source}"),
                &tcp_from(mac, source),
                wrong,
            );
        }
        let by_arp = wrong.map(|wrong| {
            if wrong == DropReason::SpoofedIp {
                DropReason::SpoofedArp
            } else {
                wrong
            }
        });
        for operation in [ArpOperation::REQUEST, ArpOperation::REPLY] {
            let frame = arp(mac, mac, ip, operation);
            lab.try_it(&format!("ARP {mac:?} {ip}"), &frame, by_arp);
        }
        let advertisement = nd(136, ip6, Some(mac));
        let frame = icmpv6(mac, ip6, 58, &advertisement);
        lab.try_it(&format!("NA {mac:?} {ip6}"), &frame, by_arp);
        // Asking for somebody else's address is no lie.
        let solicitation = nd(135, v6("2001:db8:1::99"), Some(mac));
        let frame = icmpv6(mac, ip6, 58, &solicitation);
        lab.try_it(&format!("NS {mac:?} {ip6}"), &frame, wrong);
    }
}

#[test]
fn arp_and_nd_speak_for_their_own_mac_and_probes_have_no_address() {
    let (mut lab, subnet) = lab();
    let own: Ipv6Addr = "fe80::ff:fe07:1".parse().unwrap();
    let request = ArpOperation::REQUEST;
    lab.try_it(
        "another MAC inside",
        &arp(OWN, ALLOWED, subnet.ip(1), request),
        Some(DropReason::SpoofedArp),
    );
    lab.try_it(
        "a probe",
        &arp(OWN, OWN, Ipv4Addr::UNSPECIFIED, request),
        None,
    );
    let reply = arp(OWN, OWN, Ipv4Addr::UNSPECIFIED, ArpOperation::REPLY);
    lab.try_it("a reply for nobody", &reply, Some(DropReason::SpoofedArp));
    let mut other = arp(OWN, OWN, subnet.ip(1), request);
    other[17] = 6;
    lab.try_it(
        "ARP for other networks",
        &other,
        Some(DropReason::SpoofedArp),
    );
    for (what, message, wrong) in [
        (
            "another MAC in an NA",
            nd(136, own, Some(ALLOWED)),
            Some(DropReason::SpoofedArp),
        ),
        (
            "another MAC in an NS",
            nd(135, own, Some(ALLOWED)),
            Some(DropReason::SpoofedArp),
        ),
        ("no option", nd(136, own, None), None),
        (
            "an option of no length",
            [nd(136, own, None), vec![2, 0, 2, 0, 0, 7, 0, 1]].concat(),
            Some(DropReason::SpoofedArp),
        ),
        (
            "an option cut short",
            [nd(136, own, None), vec![2, 1, 2]].concat(),
            Some(DropReason::SpoofedArp),
        ),
        (
            "an NA cut short",
            nd(136, own, None)[..20].to_vec(),
            Some(DropReason::SpoofedArp),
        ),
    ] {
        lab.try_it(what, &icmpv6(OWN, own, 58, &message), wrong);
    }
    let duplicate = nd(135, own, None);
    let nobody = Ipv6Addr::UNSPECIFIED;
    lab.try_it(
        "duplicate address detection",
        &icmpv6(OWN, nobody, 58, &duplicate),
        None,
    );
    lab.try_it(
        "UDP from nobody",
        &udp_from(OWN, nobody.into(), (5, 6)),
        Some(DropReason::SpoofedIp),
    );
}

#[test]
fn a_guest_is_no_dhcp_server_and_no_router() {
    let (mut lab, subnet) = lab();
    let (own, own6) = (
        IpAddr::from(subnet.ip(1)),
        "fe80::ff:fe07:1".parse::<Ipv6Addr>().unwrap(),
    );
    let nobody = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    lab.try_it(
        "DHCP offer",
        &udp_from(OWN, own, (67, 68)),
        Some(DropReason::RogueServer),
    );
    lab.try_it("DHCP renewal", &udp_from(OWN, own, (68, 67)), None);
    lab.try_it("DHCP discovery", &udp_from(OWN, nobody, (68, 67)), None);
    lab.try_it(
        "from nobody",
        &udp_from(OWN, nobody, (68, 53)),
        Some(DropReason::SpoofedIp),
    );
    lab.try_it(
        "DHCPv6 reply",
        &udp_from(OWN, own6.into(), (547, 546)),
        Some(DropReason::RogueServer),
    );
    lab.try_it(
        "DHCPv6 request",
        &udp_from(OWN, own6.into(), (546, 547)),
        None,
    );
    let advertisement = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &[9; 32]].concat();
    let behind = |headers: &[&[u8]], message: &[u8]| [headers.concat(), message.to_vec()].concat();
    let options: &[u8] = &[58, 0, 1, 4, 0, 0, 0, 0];
    let more_options: &[u8] = &[60, 0, 1, 4, 0, 0, 0, 0];
    let first_fragment: &[u8] = &[58, 0, 0, 1, 0, 0, 0, 7];
    let later_fragment: &[u8] = &[58, 0, 0, 9, 0, 0, 0, 7];
    let mut chain = vec![more_options; 9];
    chain.push(options);
    for (what, next, message, wrong) in [
        (
            "an RA",
            58,
            advertisement.to_vec(),
            Some(DropReason::RogueServer),
        ),
        ("a redirect", 58, redirect, Some(DropReason::RogueServer)),
        (
            "an RA behind options",
            60,
            behind(&[options], &advertisement),
            Some(DropReason::RogueServer),
        ),
        (
            "an RA behind two",
            0,
            behind(&[more_options, options], &advertisement),
            Some(DropReason::RogueServer),
        ),
        (
            "an RA in a first fragment",
            44,
            behind(&[first_fragment], &advertisement),
            Some(DropReason::RogueServer),
        ),
        (
            "a later fragment",
            44,
            behind(&[later_fragment], &advertisement),
            None,
        ),
        (
            "headers that do not end",
            60,
            behind(&chain, &advertisement),
            Some(DropReason::RogueServer),
        ),
        (
            "headers cut short",
            60,
            vec![58, 9, 0, 0],
            Some(DropReason::RogueServer),
        ),
        ("an echo request", 58, vec![128, 0, 0, 0, 0, 1, 0, 1], None),
        (
            "an echo request behind options",
            60,
            behind(&[options], &[128, 0, 0, 0, 0, 1, 0, 1]),
            None,
        ),
    ] {
        lab.try_it(what, &icmpv6(OWN, own6, next, &message), wrong);
    }
}

#[test]
fn other_protocols_need_the_right_mac_and_unguarded_ports_nothing() {
    let (mut lab, subnet) = lab();
    let mut other = udp_from(OWN, subnet.ip(1).into(), (5, 6));
    other[12..14].copy_from_slice(&[0x88, 0xcc]);
    lab.try_it("LLDP", &other, None);
    other[6..12].copy_from_slice(&NOBODYS);
    lab.try_it("LLDP of nobody", &other, Some(DropReason::SpoofedMac));
    let frame = udp(NOBODYS, OWN, Ipv4Addr::new(203, 0, 113, 1), subnet.ip(1));
    lab.expect(B, &frame, A, &frame);
}
