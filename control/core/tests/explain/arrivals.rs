// SPDX-License-Identifier: MIT
//! Random packets, most of which make sense.

use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use proptest::prelude::*;
use proptest::sample::select;
use vswitch::tables::PortId;

use super::super::world::{PORT_A, PORT_B, SECOND, UPLINK};
use super::dhcp::Question;
use crate::explain::Packet;

/// Where packets of the property arrive: an uplink, two guests, nobody, another uplink if there is one.
pub(super) const PORTS: [PortId; 5] = [UPLINK, PORT_A, PORT_B, PortId::new(3).unwrap(), SECOND];

const MACS: [&str; 12] = [
    "02:00:00:00:00:0a",
    "02:00:00:00:00:0b",
    "02:00:00:00:01:01",
    "02:00:00:00:01:02",
    "02:00:00:00:01:03",
    "02:00:00:00:01:99",
    "00:00:5e:00:01:01",
    "00:00:5e:00:01:02",
    "00:00:5e:00:01:03",
    "fe:16:11:00:00:00",
    "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:01",
];

const GATEWAYS: &[&str] = &["00:00:5e:00:01:01", "00:00:5e:00:01:02"];

const ADDRESSES: [&str; 16] = [
    "10.7.1.10",
    "10.7.1.11",
    "10.7.2.11",
    "10.7.2.12",
    "10.7.1.1",
    "10.7.2.1",
    "10.8.3.1",
    "10.7.1.101",
    "10.7.2.102",
    "10.8.3.103",
    "10.8.3.104",
    "10.7.1.200",
    "203.0.113.5",
    "8.8.8.8",
    "10.7.1.255",
    "0.0.0.0",
];

const ADDRESSES6: [&str; 12] = [
    "2001:db8:7:1::10",
    "2001:db8:7:1::1",
    "2001:db8:8:3::1",
    "2001:db8:7:1::101",
    "2001:db8:8:3::103",
    "2001:db8:7:1::200",
    "2001:db8:203::5",
    "2001:4860::8",
    "fe80::200:5eff:fe00:101",
    "fe80::ff:fe00:a",
    "ff02::1",
    "::",
];

/// The same of IPv6; only the guest at the first port has such an address.
fn inner6(honest: bool) -> impl Strategy<Value = String> {
    let from = move |address: &str| match honest {
        true => String::new(),
        false => format!("src={address} "),
    };
    let carried = select(vec!["udp", "tcp", "icmp", "icmp", "len=20"]);
    let ttl = prop_oneof![4 => Just(64), 1 => 0..4_u8];
    let addresses = (select(&ADDRESSES6), select(&ADDRESSES6));
    let ip = (addresses.clone(), ttl, any::<u8>(), carried, 0..1600_u16);
    let ip = ip.prop_map(move |((src, dst), ttl, tos, carried, len)| {
        let len = match carried {
            "len=20" => String::new(),
            _ => format!(" / len={len}"),
        };
        let from = from(src);
        format!("ip {from}dst={dst} ttl={ttl} tos={tos} / {carried}{len}")
    });
    let nd = (addresses, any::<bool>()).prop_map(move |((src, dst), router)| match router {
        true => format!("nd {}", from(src)),
        false => format!("nd {}dst={dst}", from(src)),
    });
    let dst = prop_oneof![
        1 => select(&MACS).prop_map(|mac| format!("dst={mac} ")),
        2 => select(GATEWAYS).prop_map(|mac| format!("dst={mac} ")),
    ];
    let ip = (select(&MACS), dst, ip)
        .prop_map(move |(src, dst, ip)| format!("eth {}{dst}/ {ip}", from(src)));
    let nd = (select(&MACS), nd).prop_map(move |(src, nd)| format!("eth {}/ {nd}", from(src)));
    prop_oneof![4 => ip, 1 => nd]
}

/// A packet in words, between some of these; `honest`: from whoever is at the port.
fn inner(honest: bool) -> impl Strategy<Value = String> {
    let from = move |address: &str| match honest {
        true => String::new(),
        false => format!("src={address} "),
    };
    let carried = select(vec![
        "udp",
        "tcp",
        "icmp",
        "udp sport=68 dport=67",
        "len=20",
    ]);
    let ttl = prop_oneof![4 => Just(64), 1 => 0..4_u8];
    let ip = (
        select(&ADDRESSES),
        select(&ADDRESSES),
        ttl,
        any::<u8>(),
        carried,
        0..1600_u16,
    );
    let ip = ip.prop_map(move |(src, dst, ttl, tos, carried, len)| {
        let len = match carried {
            "len=20" => String::new(),
            _ => format!(" / len={len}"),
        };
        format!(
            "ip {}dst={dst} ttl={ttl} tos={tos} / {carried}{len}",
            from(src)
        )
    });
    let arp = (select(&ADDRESSES), select(&ADDRESSES));
    let arp = arp.prop_map(move |(src, dst)| format!("arp {}dst={dst}", from(src)));
    let packet = prop_oneof![6 => ip, 1 => arp];
    let dst = prop_oneof![1 => select(&MACS), 1 => select(GATEWAYS)];
    (select(&MACS), dst, packet)
        .prop_map(move |(src, dst, packet)| format!("eth {}dst={dst} / {packet}", from(src)))
}

/// One from another host, or of the underlay.
fn outer() -> impl Strategy<Value = String> {
    let vni = select(vec![7, 7, 7, 8, 9]);
    let to = prop_oneof![6 => Just("192.0.2.1"), 3 => Just("198.51.100.1"), 1 => Just("192.0.2.7")];
    let inner = || prop_oneof![2 => inner(false), 1 => inner6(false)];
    let tunnel = (vni, to, 0..4_u8, inner()).prop_map(|(vni, to, ecn, inner)| {
        format!(
            "eth src=02:aa:00:00:00:09 dst=02:aa:00:00:00:01 / ip src=192.0.2.9 dst={to} tos={ecn} / vxlan vni={vni} / {inner}"
        )
    });
    prop_oneof![9 => tunnel, 1 => inner()]
}

/// What a guest asks by DHCP: also nonsense.
fn question(mac: u8, own: &'static str) -> impl Strategy<Value = Packet> {
    let address = move || select(vec![own, "10.7.1.99"]).prop_map(|it| it.parse().unwrap());
    let has = prop_oneof![3 => Just(Ipv4Addr::UNSPECIFIED), 1 => address()];
    let server = select(vec!["10.7.1.1", "10.7.1.5"]).prop_map(|it| it.parse().unwrap());
    let fields = (
        select(vec![1, 3, 3, 3, 4, 7, 8, 5]),
        has,
        prop::option::of(address()),
        prop::option::weighted(0.3, server),
        prop::collection::vec(any::<u8>(), 0..6),
        any::<bool>(),
    );
    fields.prop_map(move |(kind, has, wants, server, asks, to_gateway)| {
        let question = Question {
            kind,
            mac,
            has,
            wants,
            server,
            asks,
            to_gateway,
        };
        Packet::Bytes(question.frame())
    })
}

/// What befalls a frame: bytes that change, and where it is cut off.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    pub(super) changes: Vec<(usize, u8)>,
    pub(super) cut: usize,
}

/// A port, and a frame for it: one that makes sense, sometimes with a few bytes changed, or cut.
pub(super) fn arrival() -> impl Strategy<Value = (PortId, Packet, Damage)> {
    let ipv6 = any::<(u8, u8)>().prop_map(|(mac, hops)| {
        let mut frame = Vec::new();
        let (src, dst) = ([2, 0, 0, 0, 0, 0x0a], [2, 0, 0, 0, 1, mac % 4]);
        PacketBuilder::ethernet2(src, dst)
            .ipv6([0xfe; 16], [0xfd; 16], hops)
            .udp(1, 2)
            .write(&mut frame, &[0; 9])
            .unwrap();
        Packet::Bytes(frame)
    });
    let guest = || select(vec![PORT_A, PORT_B]);
    let arrival = prop_oneof![
        10 => (guest(), inner(true).prop_map(Packet::Words)),
        3 => (Just(PORT_A), question(0x0a, "10.7.1.10")),
        1 => (Just(PORT_B), question(0x0b, "10.7.1.11")),
        1 => (guest(), inner(false).prop_map(Packet::Words)),
        4 => (Just(PORT_A), inner6(true).prop_map(Packet::Words)),
        1 => (guest(), inner6(false).prop_map(Packet::Words)),
        1 => (guest(), ipv6),
        1 => (Just(PORTS[3]), inner(false).prop_map(Packet::Words)),
        3 => (Just(UPLINK), outer().prop_map(Packet::Words)),
        1 => (Just(SECOND), outer().prop_map(Packet::Words)),
    ];
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((0..80_usize, any::<u8>()), 1..4),
    ];
    let cut = prop_oneof![9 => Just(usize::MAX), 1 => 0..80_usize];
    let damage = (changes, cut).prop_map(|(changes, cut)| Damage { changes, cut });
    (arrival, damage).prop_map(|((port, packet), damage)| (port, packet, damage))
}
