// SPDX-License-Identifier: MIT
//! What fits: on the way, in a buffer.

use super::*;
use crate::ipv6::net::{self, Net};

/// An IPv4 packet of so many bytes from guest 1 to guest `n`, that may be fragmented or not.
fn packet(subnet: &Subnet, n: u8, len: usize, whole: bool) -> Vec<u8> {
    let (from, to) = (subnet.ip(1), subnet.ip(n));
    let mut frame = udp(guest_mac(7, 1), guest_mac(7, n), from, to);
    frame.resize(14 + len, 0x5a);
    frame[16..18].copy_from_slice(&(len as u16).to_be_bytes());
    frame[20] = if whole { 0x40 } else { 0 };
    frame[24..26].fill(0);
    let checksum = !vswitch::wire::ipv4::sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[test]
fn what_fits_differs_by_the_family_of_the_way() {
    let (mut lab, subnet) = lab_with(Some(HOST), Tunnel::default(), 1500);
    lab.worker.limits_mut().fragment = true;
    for (n, fits) in [(9, 1430), (8, 1450)] {
        let longest = packet(&subnet, n, fits, true);
        assert_eq!(sent(&mut lab, &longest).len(), 1514);
        // Fragmentation needed, with the MTU of this way (RFC 1191 section 4).
        lab.inject(A, &packet(&subnet, n, fits + 1, true));
        let told = lab.out(A);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0][34..36], [3, 4]);
        assert_eq!(told[0][40..42], (fits as u16).to_be_bytes());
        assert_eq!(
            lab.totals(A).drops_for(DropReason::TooBig),
            1 + u64::from(n == 8)
        );
        // What may be cut is, into what fits.
        lab.inject(A, &packet(&subnet, n, 4000, false));
        let pieces = lab.out(UPLINK);
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|piece| piece.len() <= 1514));
        let sound = |piece: &Vec<u8>| match n {
            9 => *piece == to_peer6(piece, 0, false, &piece[70..]),
            _ => *piece == to_peer(source_port(piece), 7, 0, &piece[50..]),
        };
        assert!(pieces.iter().all(sound));
        let outer = if n == 9 { 70 } else { 50 };
        let payload: usize = pieces.iter().map(|it| it.len() - outer - 34).sum();
        assert_eq!(payload, 4000 - 20);
    }
    lab.balanced();
}

#[test]
fn senders_of_ipv6_are_told_what_fits_over_ipv6() {
    let mut lab = Lab::dual(Some(HOST), Tunnel::default());
    lab.mtu = 1500;
    let net = Net::new(7, 1, 1, 0);
    net::guest(&mut lab, A, 1, &net);
    let hop = lab.hop6(PEER6, PEER_MAC);
    net::neighbor(&mut lab, &net, 9, hop);
    lab.commit();
    let packet = |len: usize| {
        let (macs, ips) = ([net.mac(1), net.mac(9)], [net.ip(1), net.ip(9)]);
        net::packet(macs, ips, etherparse::IpNumber::UDP, 64, &vec![7; len - 40])
    };
    let fits = packet(1430);
    let out = sent(&mut lab, &fits);
    assert_eq!((out.len(), &out), (1514, &to_peer6(&out, 0, false, &fits)));
    // Packet too big (RFC 4443 section 3.2).
    lab.inject(A, &packet(1431));
    let told = lab.out(A);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0][54], &told[0][58..62]),
        (2, &1430_u32.to_be_bytes()[..])
    );
    assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), 1);
    lab.balanced();
}

#[test]
fn segments_fit_on_the_way_there_and_on_any_way_back() {
    let (mut lab, subnet) = lab_with(Some(HOST), Tunnel::default(), 1500);
    lab.worker.limits_mut().clamp_mss = true;
    let syn = |from, to, mss| {
        let macs = [guest_mac(7, to), guest_mac(7, from)];
        tcp(macs, [subnet.ip(from), subnet.ip(to)], 64, SYN, Some(mss))
    };
    let out = sent(&mut lab, &syn(1, 9, 8960));
    assert_eq!(out, to_peer6(&out, 0, false, &syn(1, 9, 1390)));
    let out = sent(&mut lab, &syn(1, 8, 8960));
    assert_eq!(out, to_peer(source_port(&out), 7, 0, &syn(1, 8, 1410)));
    for arrives in [
        from_peer6(PEERS, &syn(9, 1, 8960)),
        from_peer(7, 0, &syn(9, 1, 8960)),
    ] {
        lab.expect(UPLINK, &arrives, A, &syn(9, 1, 1390));
    }
}

#[test]
fn a_buffer_without_room_for_the_longer_header_is_dropped() {
    let (mut lab, subnet) = lab(Tunnel::default());
    let bytes = packet(&subnet, 9, 200, true);
    for (used, fits) in [(58, true), (59, false)] {
        let mut frame = MemoryFrame::new(&bytes[used..]);
        for at in (0..used).rev() {
            use vswitch::io::Frame as _;
            *frame.prepend::<1>().unwrap() = [bytes[at]];
        }
        lab.rx[A.index()].push(frame).unwrap();
        assert_eq!(lab.out(UPLINK).len(), usize::from(fits));
    }
    assert_eq!(lab.totals(A).drops_for(DropReason::NoHeadroom), 1);
    lab.balanced();
}
