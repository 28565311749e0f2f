// SPDX-License-Identifier: MIT
//! Frames of any bytes through a worker with populated tables: it never panics, accounts for each frame, and what
//! leaves is what arrived, or an answer to it.
//!
//! Input: frames, each a byte for where it arrives and what is put right in it, two for its length, and its bytes.

#[allow(dead_code, reason = "not all of it is used by each target")]
#[path = "bytes.rs"]
mod bytes;

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use vswitch::counters::PortTotals;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{Lease, Lease6, LeaseOptions, PortId, Tunnel};
use vswitch::wire::{Mac, icmpv6, ipv4, ipv6};

use super::lab::*;
use super::net::{self, Net};
use bytes::Bytes;

/// Most frames of one input: less than the lab's queues hold.
const MAX_FRAMES: usize = 128;

/// Bytes of a frame that the switch may change: its MACs, TOS, TTL and header checksum are in front of it.
const HEADERS: usize = 26;

const GUEST: PortId = port(2);
const OTHER: PortId = port(3);
const SUBNETS: PortId = port(4);

thread_local! {
    /// The switch keeps nothing of packets, so one does for all inputs.
    static LAB: RefCell<Lab> = RefCell::new(populated());
}

/// Guests at ports 2, 3 and 4, guests on the peer host, one of whom is reached over IPv6, three subnets and one of IPv6, a
/// route through a guest.
fn populated() -> Lab {
    let mut lab = Lab::dual(Some(HOST), Tunnel::default());
    let (mut blue, mut red, mut green) = (
        Subnet::new(7, 1, 1, 0),
        Subnet::new(7, 1, 1, 1),
        Subnet::new(8, 2, 1, 2),
    );
    let appliance = Route {
        prefix: "198.51.100.0/24".parse().unwrap(),
        priority: 1,
        target: Target::Via(vpc(1), blue.ip(9).into()),
    };
    let mut wide = Net::new(8, 2, 1, 2);
    let further = [appliance, wide.connected()];
    router(&mut [&mut blue, &mut red, &mut green], &further);
    wide.routes = Arc::clone(&green.routes);
    lab.lease = Some(Arc::new(lease(&blue)));
    lab.lease6 = Some(Arc::new(lease6(&wide)));
    lab.takes_tags = true;
    lab.guest(GUEST, 1, std::slice::from_ref(&blue));
    (lab.lease, lab.lease6) = (None, None);
    lab.takes_tags = false;
    lab.guest(OTHER, 2, std::slice::from_ref(&red));
    lab.guest(SUBNETS, 3, &[green.clone(), blue.clone()]);
    let attachments = vec![green.attachment(), blue.attachment(), wide.attachment()];
    net::tenant(&mut lab, SUBNETS, guest_mac(8, 3), attachments);
    net::remote(&mut lab, 9, &wide);
    for subnet in [&blue, &red, &green] {
        lab.remote(9, subnet);
        lab.remote6(6, subnet);
    }
    lab.commit();
    lab
}

/// What the guest at port 2 is told by DHCP.
fn lease(subnet: &Subnet) -> Lease {
    Lease {
        mac: Mac::new(guest_mac(7, 1)),
        address: Ipv4Net::new(subnet.ip(1), 24).unwrap(),
        server: subnet.gateway(),
        server_mac: Mac::new(gateway_mac(7, 0)),
        seconds: 86_400,
        mtu: 1450,
        boot: (Ipv4Addr::UNSPECIFIED, [].into(), [].into()),
        options: LeaseOptions::new([(26, &[26, 2, 5, 170][..]), (15, &[15, 3, b'f', b'o', b'o'])]),
    }
}

/// The same by DHCPv6.
fn lease6(net: &Net) -> Lease6 {
    let dns = [&[0, 23, 0, 16][..], &net.ip(9).octets()].concat();
    Lease6 {
        mac: Mac::new(guest_mac(7, 1)),
        addresses: [net.ip(1), net.ip(2)].into(),
        subnet: Ipv6Net::new(net.ip(0), 64).unwrap(),
        server_mac: Mac::new(gateway_mac(7, 0)),
        seconds: 600,
        options: [(23, dns.into())].into(),
    }
}

/// Runs one input.
pub(crate) fn run(data: &[u8]) {
    LAB.with_borrow_mut(|lab| forward(lab, &frames(data)));
}

fn frames(data: &[u8]) -> Vec<(PortId, Vec<u8>)> {
    let (mut bytes, mut frames) = (Bytes(data), Vec::new());
    while !bytes.is_empty() && frames.len() < MAX_FRAMES {
        let control = bytes.byte();
        let length = usize::from(u16::from_be_bytes([bytes.byte(), bytes.byte()]));
        let mut frame = bytes.take(length).to_vec();
        if control & 0x80 != 0 {
            right_checksum(&mut frame);
        }
        let at = [UPLINK, GUEST, OTHER, SUBNETS, HOST, UPLINK, GUEST, port(5)];
        frames.push((at[usize::from(control) & 7], frame));
    }
    frames
}

/// Puts the outer IPv4 header checksum right, which a fuzzer cannot guess.
fn right_checksum(frame: &mut [u8]) {
    let length = frame.get(14).map_or(0, |first| usize::from(first & 15) * 4);
    if let Some(header) = frame.get_mut(14..14 + length.max(20)) {
        header[10..12].fill(0);
        let checksum = !ipv4::sum(header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn forward(lab: &mut Lab, frames: &[(PortId, Vec<u8>)]) {
    let ports = || (0..PORTS).map(port);
    let before: Vec<_> = ports().map(|port| lab.totals(port)).collect();
    for (at, frame) in frames {
        lab.inject(*at, frame);
    }
    let left: Vec<_> = ports().map(|port| lab.out(port)).collect();
    let since: Vec<_> = ports()
        .zip(&before)
        .map(|(port, before)| lab.totals(port).since(before))
        .collect();
    for ((out, left), totals) in ports().zip(&left).zip(&since) {
        assert!(totals.is_balanced(), "{totals:?}");
        assert_eq!(totals.tx, left.len() as u64);
        let mut own = left
            .iter()
            .filter(|frame| !is_passed_on(out, frame, frames));
        assert!(
            // A guest may be told of its router, once, besides what it asked for.
            own.clone().count() as u64 <= totals.own && totals.own <= totals.rx + 1,
            "{left:02x?} left by {out:?}, of {frames:02x?}: {totals:?}"
        );
        assert!(own.all(|frame| is_own(out, frame)), "{left:02x?}");
    }
    let sum = |of: fn(&PortTotals) -> u64| since.iter().map(of).sum::<u64>();
    assert_eq!(sum(|totals| totals.rx), frames.len() as u64);
    assert_eq!(
        sum(|totals| totals.forwarded + totals.own),
        sum(|totals| totals.tx)
    );
}

/// True if it came from one of the frames: as it was, with an outer header more, or with one less.
fn is_passed_on(out: PortId, frame: &[u8], frames: &[(PortId, Vec<u8>)]) -> bool {
    let tail = &frame[HEADERS.min(frame.len())..];
    frames.iter().any(|(at, arrived)| match (*at, out) {
        (HOST, UPLINK) | (UPLINK, HOST) => frame == arrived,
        (UPLINK, UPLINK) | (_, HOST) => false,
        (UPLINK, _) => {
            arrived.len() >= frame.len() + 50
                && (tail.is_empty() || arrived.windows(tail.len()).any(|part| part == tail))
        }
        (_, UPLINK) => is_carried(frame, arrived) || is_carried_over_ipv6(frame, arrived),
        _ => frame.len() == arrived.len() && arrived.ends_with(tail),
    })
}

/// True for what the switch may say to a guest: an ARP reply, an IPv4 packet with right length and checksum, DHCPv6, or an
/// ICMPv6 message whose checksum is right if that of what it answers was.
fn is_own(out: PortId, frame: &[u8]) -> bool {
    let kind = match frame.get(12..14) {
        Some([8, 6]) => frame[20..22] == [0, 2],
        Some([8, 0]) => {
            let len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let header = usize::from(frame[14] & 15) * 4;
            frame.len() >= 14 + len && ipv4::sum(&frame[14..14 + header]) == 0xffff
        }
        Some([0x86, 0xdd]) => {
            let len = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
            let echo = frame.get(54) == Some(&129) || frame[20] == 44;
            let packet = frame.get(14..54 + len);
            packet.is_some_and(|packet| echo || is_icmpv6(packet) || is_dhcpv6(packet))
        }
        _ => false,
    };
    kind && [GUEST, OTHER, SUBNETS].contains(&out)
}

/// True for a whole packet of a DHCPv6 server's.
fn is_dhcpv6(packet: &[u8]) -> bool {
    let address = |at: usize| Ipv6Addr::from(*packet[at..].first_chunk::<16>().unwrap());
    let len = (packet.len() - 40) as u16;
    let pseudo = ipv6::pseudo_sum(address(8), address(24), ipv4::UDP, len);
    let sum = u32::from(pseudo) + u32::from(ipv4::sum(&packet[40..]));
    packet[6] == ipv4::UDP && packet[40..].starts_with(&[2, 35, 2, 34]) && ipv4::fold(sum) == 0xffff
}

/// True for a whole packet of ICMPv6.
fn is_icmpv6(packet: &[u8]) -> bool {
    let address = |at: usize| Ipv6Addr::from(*packet[at..].first_chunk::<16>().unwrap());
    packet[6] == 58 && icmpv6::checksum_is_right((address(8), address(24)), &packet[40..])
}

/// True if `frame` is `arrived` in VXLAN, with right lengths and checksum.
fn is_carried(frame: &[u8], arrived: &[u8]) -> bool {
    let number = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    frame.len() == arrived.len() + 50
        && arrived.ends_with(&frame[50 + HEADERS.min(arrived.len())..])
        && number(16) == frame.len() - 14
        && number(38) == frame.len() - 34
        && ipv4::sum(&frame[14..34]) == 0xffff
        && frame[12..15] == [8, 0, 0x45]
        && number(34) >= 49152
        && number(36) == 4789
        && frame[42..48] == [8, 0, 0, 0, 0, 0]
        && [7, 8].contains(&frame[48])
        && frame[49] == 0
}

/// The same over IPv6.
fn is_carried_over_ipv6(frame: &[u8], arrived: &[u8]) -> bool {
    let number = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    frame.len() == arrived.len() + 70
        && arrived.ends_with(&frame[70 + HEADERS.min(arrived.len())..])
        && number(18) == frame.len() - 54
        && number(58) == frame.len() - 54
        && frame[12..14] == [0x86, 0xdd]
        && frame[14] >> 4 == 6
        && frame[20..22] == [17, 64]
        && frame[22..54] == [VTEP6, PEER6].concat()
        && number(54) >= 49152
        && number(56) == 4789
        && frame[60..68] == [0, 0, 8, 0, 0, 0, 0, 0]
        && [7, 8].contains(&frame[68])
        && frame[69] == 0
}
