// SPDX-License-Identifier: MIT
//! Packets that are too long for their way, and TCP that agrees on segments that fit.

use etherparse::TcpOptionElement;
use vswitch::counters::DropReason;

use super::icmp::told;
use super::*;
use crate::{A, B};

/// The underlay's MTU, and what VXLAN leaves of it.
const UNDERLAY: u16 = 1500;
const PATH: u16 = UNDERLAY - 50;

/// MTU of the port of guest 2.
const LOCAL: u16 = 1400;

fn narrow_lab() -> (Lab, Net, Net) {
    let (mut lab, here, there) = lab();
    lab.mtu = UNDERLAY;
    remote(&mut lab, 9, &here);
    remote(&mut lab, 7, &there);
    lab.worker.limits_mut().set_mtu(B, LOCAL);
    lab.worker.limits_mut().set_mtu(UPLINK, UNDERLAY);
    lab.worker.limits_mut().fragment = true;
    lab.commit();
    (lab, here, there)
}

/// A UDP packet of so many bytes.
fn long(macs: [[u8; 6]; 2], ips: [Ipv6Addr; 2], len: u16) -> Vec<u8> {
    let payload = datagram(ips, &vec![7; usize::from(len) - 48]);
    packet(macs, ips, IpNumber::UDP, 64, &payload)
}

#[test]
fn who_sends_a_packet_that_is_too_long_is_told_what_fits_and_it_is_never_fragmented() {
    let (mut lab, here, there) = narrow_lab();
    let [mac, gateway] = to_gateway(&here);
    for (dst, to, port, mtu) in [
        (here.mac(9), here.ip(9), UPLINK, PATH),
        (gateway, there.ip(7), UPLINK, PATH),
        (here.mac(2), here.ip(2), B, LOCAL),
        (gateway, here.ip(2), B, LOCAL),
    ] {
        let ips = [here.ip(1), to];
        lab.inject(A, &long([mac, dst], ips, mtu));
        assert_eq!(lab.out(port).len(), 1, "{to}");
        let frame = long([mac, dst], ips, mtu + 1);
        let back = [here.gateway(), here.ip(1)];
        let mut expected = told(&here, back, 2, 0, mtu.into(), &frame);
        expected[6..12].copy_from_slice(&dst);
        lab.expect(A, &frame, A, &expected);
    }
    assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), 4);
}

#[test]
fn in_a_subnet_without_a_gateway_who_cannot_be_reached_says_so_itself() {
    let (mut lab, here, _) = narrow_lab();
    let mut attachment = here.attachment();
    (attachment.gateway_mac, attachment.gateway_ip) = (None, None);
    tenant(&mut lab, A, here.mac(1), vec![attachment]);
    lab.commit();
    let macs = [here.mac(1), here.mac(9)];
    let frame = long(macs, [here.ip(1), here.ip(9)], 1451);
    let back = [here.ip(9), here.ip(1)];
    let mut expected = told(&here, back, 2, 0, PATH.into(), &frame);
    expected[6..12].copy_from_slice(&here.mac(9));
    lab.expect(A, &frame, A, &expected);
}

#[test]
fn what_is_too_long_and_came_from_another_host_is_dropped() {
    let (mut lab, here, _) = narrow_lab();
    let inner = long(
        [here.mac(9), here.mac(2)],
        [here.ip(9), here.ip(2)],
        LOCAL + 1,
    );
    lab.expect_drop(UPLINK, &from_peer(7, 0, &inner), DropReason::TooBig);
}

/// A SYN with this maximum segment size, behind these extension headers.
fn syn(macs: [[u8; 6]; 2], ips: [Ipv6Addr; 2], hops: u8, mss: u16, headers: &[u8]) -> Vec<u8> {
    let mut tcp = etherparse::TcpHeader::new(1234, 80, 1, 100);
    tcp.syn = true;
    tcp.set_options(&[
        TcpOptionElement::Noop,
        TcpOptionElement::MaximumSegmentSize(mss),
    ])
    .unwrap();
    let ip = Ipv6Header {
        source: ips[0].octets(),
        destination: ips[1].octets(),
        ..Default::default()
    };
    tcp.checksum = tcp.calc_checksum_ipv6(&ip, &[]).unwrap();
    let first = IpNumber(if headers.is_empty() { 6 } else { 60 });
    packet(macs, ips, first, hops, &[headers, &tcp.to_bytes()].concat())
}

#[test]
fn tcp_agrees_on_segments_that_fit_in_both_directions_where_that_is_wanted() {
    let (mut lab, here, there) = narrow_lab();
    let options = [6, 0, 1, 4, 0, 0, 0, 0];
    for on in [false, true] {
        lab.worker.limits_mut().clamp_mss = on;
        for (said, headers) in [
            (u16::MAX, &[][..]),
            (PATH - 59, &[]),
            (PATH - 60, &[]),
            (536, &[]),
            (9000, &options),
        ] {
            let lowered = |mtu: u16| if on { said.min(mtu - 60) } else { said };
            let ips = [here.ip(1), there.ip(7)];
            lab.inject(A, &syn(to_gateway(&here), ips, 64, said, headers));
            let inner = syn([DVR, there.mac(7)], ips, 63, lowered(PATH), headers);
            let out = lab.out(UPLINK);
            assert_eq!(out, [to_peer(source_port(&out[0]), 8, 0, &inner)]);
            let (macs, ips) = ([here.mac(1), here.mac(2)], [here.ip(1), here.ip(2)]);
            let sent = syn(macs, ips, 64, said, headers);
            lab.expect(A, &sent, B, &syn(macs, ips, 64, lowered(LOCAL), headers));
            let (macs, ips) = ([here.mac(9), here.mac(1)], [here.ip(9), here.ip(1)]);
            let inner = syn(macs, ips, 64, said, headers);
            let received = syn(macs, ips, 64, lowered(PATH), headers);
            lab.expect(UPLINK, &from_peer(7, 0, &inner), A, &received);
        }
    }
    // Never below what every link carries.
    lab.worker.limits_mut().set_mtu(B, 600);
    let (macs, ips) = ([here.mac(1), here.mac(2)], [here.ip(1), here.ip(2)]);
    let sent = syn(macs, ips, 64, 9000, &[]);
    lab.expect(A, &sent, B, &syn(macs, ips, 64, 1220, &[]));
}
