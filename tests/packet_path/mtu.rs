// SPDX-License-Identifier: MIT
//! Packets that are too long for their way: told, or cut; and TCP that is told before. What is expected is built by
//! etherparse, or stands here byte by byte.

use std::net::Ipv4Addr;

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, PacketBuilder, TcpOptionElement};
use proptest::prelude::*;
use vswitch::counters::DropReason;
use vswitch::io::memory::{MemoryFrame, wire};
use vswitch::stage::fragment::MAX_FRAGMENTS;

use crate::edge::lab as edge_lab;
use crate::icmp::{told_with, whole};
use crate::lab::*;
use crate::{A, B};

/// The underlay's MTU, and what VXLAN leaves of it.
const UNDERLAY: u16 = 1500;
const PATH: u16 = UNDERLAY - 50;

/// MTU of the port of guest 2.
const LOCAL: u16 = 1400;

/// As in `edge`, with these MTUs.
fn lab() -> (Lab, Subnet, Subnet) {
    with_underlay(UNDERLAY)
}

fn with_underlay(mtu: u16) -> (Lab, Subnet, Subnet) {
    let (mut lab, here, there) = edge_lab();
    lab.mtu = mtu;
    lab.remote(9, &here);
    lab.remote(7, &there);
    lab.worker.limits_mut().set_mtu(B, LOCAL);
    lab.worker.limits_mut().set_mtu(UPLINK, mtu);
    lab.commit();
    (lab, here, there)
}

/// Who a packet of guest 1 is for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    /// Guest 9 of the subnet, on the peer host.
    Switched,
    /// Guest 7 of the other subnet, on the peer host.
    Routed,
    /// Guest 2 of the subnet, here.
    Local,
    /// The same, by its gateway.
    LocalRouted,
}

const ALL: [To; 4] = [To::Switched, To::Routed, To::Local, To::LocalRouted];

impl To {
    fn address(self, here: &Subnet, there: &Subnet) -> Ipv4Addr {
        match self {
            Self::Switched => here.ip(9),
            Self::Routed => there.ip(7),
            Self::Local | Self::LocalRouted => here.ip(2),
        }
    }

    fn mac(self) -> [u8; 6] {
        match self {
            Self::Switched => guest_mac(7, 9),
            Self::Local => guest_mac(7, 2),
            Self::Routed | Self::LocalRouted => gateway_mac(7, 0),
        }
    }

    fn mtu(self) -> u16 {
        match self {
            Self::Switched | Self::Routed => PATH,
            Self::Local | Self::LocalRouted => LOCAL,
        }
    }

    fn port(self) -> vswitch::tables::PortId {
        match self {
            Self::Switched | Self::Routed => UPLINK,
            Self::Local | Self::LocalRouted => B,
        }
    }

    /// What leaves where a frame of guest 1 with this packet was to go. `outer` has the outer source port.
    fn delivered(self, mut frame: Vec<u8>, outer: &[u8]) -> Vec<u8> {
        let macs = match self {
            Self::Routed => Some([guest_mac(8, 7), DVR]),
            Self::LocalRouted => Some([guest_mac(7, 2), gateway_mac(7, 0)]),
            Self::Switched | Self::Local => None,
        };
        if let Some(macs) = macs {
            frame[..12].copy_from_slice(&macs.concat());
            let (mut ip, rest) = Ipv4Header::from_slice(&frame[14..]).unwrap();
            ip.time_to_live -= 1;
            ip.header_checksum = ip.calc_header_checksum();
            frame = [&frame[..14], &ip.to_bytes(), rest].concat();
        }
        match self {
            Self::Switched => to_peer(source_port(outer), 7, 0, &frame),
            Self::Routed => to_peer(source_port(outer), 8, 0, &frame),
            Self::Local | Self::LocalRouted => frame,
        }
    }
}

/// The header of a UDP packet of guest 1 with so many bytes behind it; fragments of anything look like that too.
fn header(to: To, here: &Subnet, there: &Subnet, payload: usize) -> Ipv4Header {
    let (src, dst) = (here.ip(1).octets(), to.address(here, there).octets());
    let mut ip = Ipv4Header::new(payload as u16, 64, IpNumber::UDP, src, dst).unwrap();
    ip.identification = 0x1234;
    ip
}

fn frame(to: To, ip: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = whole(ip, payload);
    bytes[..6].copy_from_slice(&to.mac());
    bytes
}

/// Bytes that tell where they are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8) as u8).collect()
}

/// A packet of so many bytes.
fn packet(to: To, here: &Subnet, there: &Subnet, len: u16, dont_fragment: bool) -> Vec<u8> {
    let payload = pattern(usize::from(len) - 20);
    let mut ip = header(to, here, there, payload.len());
    ip.dont_fragment = dont_fragment;
    frame(to, ip, &payload)
}

#[test]
fn what_just_fits_passes_and_one_byte_more_is_reported_with_what_fits() {
    let (mut lab, here, there) = lab();
    for (to, dont_fragment) in ALL.into_iter().flat_map(|to| [(to, true), (to, false)]) {
        let fits = packet(to, &here, &there, to.mtu(), dont_fragment);
        lab.inject(A, &fits);
        let out = lab.out(to.port());
        assert_eq!(out, [to.delivered(fits, &out[0])], "{to:?}");
        if to.port() == UPLINK {
            assert_eq!(out[0].len(), 14 + usize::from(UNDERLAY));
        }
        let too_big = packet(to, &here, &there, to.mtu() + 1, dont_fragment);
        let before = lab.totals(A).drops_for(DropReason::TooBig);
        lab.inject(A, &too_big);
        let mut told = told_with(
            [3, 4],
            to.mtu(),
            here.gateway(),
            here.ip(1),
            &too_big[..14 + 548],
        );
        told[6..12].copy_from_slice(&to.mac());
        assert_eq!(lab.out(A), [told], "{to:?}");
        assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), before + 1);
        lab.silent();
    }
}

#[test]
fn nobody_is_told_of_what_icmp_is_not_for() {
    let (mut lab, here, there) = lab();
    let long = packet(To::Switched, &here, &there, PATH + 1, true);
    let with = |offset: usize, bytes: &[u8]| {
        let mut frame = long.clone();
        frame[offset..offset + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let mut later = header(To::Switched, &here, &there, 1500);
    (later.dont_fragment, later.fragment_offset) = (true, IpFragOffset::try_new(3).unwrap());
    let mut error = header(To::Switched, &here, &there, 1500);
    error.protocol = IpNumber::ICMP;
    let mut unreachable = pattern(1500);
    unreachable[..2].copy_from_slice(&[3, 1]);
    let mut padded = packet(To::Switched, &here, &there, PATH, true);
    padded.push(0);
    for (what, frame) in [
        (
            "a later fragment",
            frame(To::Switched, later, &pattern(1500)),
        ),
        ("an error", frame(To::Switched, error, &unreachable)),
        ("a damaged header", with(24, &[0, 0])),
        ("neither IPv4 nor IPv6", with(12, &[0x88, 0xb5])),
        ("padding that makes it too long", padded),
    ] {
        let before = lab.totals(A).drops_for(DropReason::TooBig);
        lab.inject(A, &frame);
        assert_eq!(lab.out(A), Vec::<Vec<u8>>::new(), "{what}");
        assert_eq!(
            lab.totals(A).drops_for(DropReason::TooBig),
            before + 1,
            "{what}"
        );
        lab.silent();
    }
    let mut v6 = Vec::new();
    let builder = PacketBuilder::ethernet2(guest_mac(7, 1), guest_mac(7, 9));
    let builder = builder.ipv6([1; 16], [2; 16], 9).udp(1, 2);
    builder.write(&mut v6, &pattern(1411 - 8)).unwrap();
    assert_eq!(v6.len(), 14 + 1451);
    lab.expect_drop(A, &v6, DropReason::TooBig);
    for len in [1450, 1451] {
        let mut tagged = packet(To::Switched, &here, &there, len, true);
        tagged.splice(12..12, [0x81, 0x00, 0, 5]);
        lab.expect_drop(A, &tagged, DropReason::VlanTagged);
    }
    let own = packet(To::Local, &here, &there, LOCAL + 1, true);
    let to_itself = [&guest_mac(7, 1), &own[6..]].concat();
    lab.expect_drop(A, &to_itself, DropReason::SamePort);
}

#[test]
fn of_a_frame_in_several_buffers_the_first_ones_bytes_are_quoted() {
    let (mut lab, here, there) = lab();
    let long = packet(To::Switched, &here, &there, 9000, true);
    for (first, quoted) in [(2000, 562), (562, 562), (561, 561), (100, 100), (42, 42)] {
        let frame = MemoryFrame::chained(&long[..first], &long[first..]);
        lab.rx[A.index()].push(frame).unwrap();
        let mut told = told_with([3, 4], PATH, here.gateway(), here.ip(1), &long[..quoted]);
        told[6..12].copy_from_slice(&guest_mac(7, 9));
        assert_eq!(lab.out(A), [told], "{first}");
        lab.silent();
    }
    let frame = MemoryFrame::chained(&long[..41], &long[41..]);
    lab.rx[A.index()].push(frame).unwrap();
    assert_eq!(lab.out(A), Vec::<Vec<u8>>::new(), "not even the ports");
    assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), 6);
    lab.silent();
}

/// Whole again: header of the first fragment, and the payload. The fragments have all come and their headers agree.
fn reassembled(fragments: &[Vec<u8>]) -> (Ipv4Header, Vec<u8>) {
    let (first, _) = Ipv4Header::from_slice(&fragments[0][14..]).unwrap();
    let mut payload = Vec::new();
    for (n, fragment) in fragments.iter().enumerate() {
        assert_eq!(fragment[..14], fragments[0][..14]);
        let (ip, rest) = Ipv4Header::from_slice(&fragment[14..]).unwrap();
        assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "{n}");
        assert_eq!(usize::from(ip.total_len), fragment.len() - 14);
        let start = usize::from(first.fragment_offset.value()) * 8;
        assert_eq!(
            usize::from(ip.fragment_offset.value()) * 8,
            start + payload.len()
        );
        let expected = Ipv4Header {
            total_len: ip.total_len,
            fragment_offset: ip.fragment_offset,
            more_fragments: ip.more_fragments,
            header_checksum: ip.header_checksum,
            options: ip.options.clone(),
            ..first.clone()
        };
        assert_eq!(ip, expected);
        assert!(ip.more_fragments || n + 1 == fragments.len());
        payload.extend(rest);
    }
    (first, payload)
}

#[test]
fn a_packet_that_may_be_cut_leaves_in_fragments() {
    let (mut lab, here, there) = lab();
    lab.worker.limits_mut().fragment = true;
    for to in ALL {
        let before = [A, to.port()].map(|at| lab.totals(at));
        let long = packet(to, &here, &there, 3000, false);
        // 1430 bytes of payload fit the way to the other host, 1380 the one to guest 2: 1424 and 1376 are whole words.
        let step = if to.port() == UPLINK { 1424 } else { 1376 };
        let payload = pattern(2980);
        lab.inject(A, &long);
        let out = lab.out(to.port());
        assert_eq!(out.len(), 3);
        for (n, (part, sent)) in payload.chunks(step).zip(&out).enumerate() {
            let mut ip = header(to, &here, &there, part.len());
            ip.dont_fragment = false;
            ip.more_fragments = n < 2;
            ip.fragment_offset = IpFragOffset::try_new((n * step / 8) as u16).unwrap();
            // All in one flow, whose source port the first one tells.
            assert_eq!(
                *sent,
                to.delivered(frame(to, ip, part), &out[0]),
                "{to:?} {n}"
            );
        }
        let [guest, way] = [A, to.port()].map(|at| lab.totals(at));
        assert_eq!(guest.forwarded, before[0].forwarded + 1, "one packet");
        assert_eq!((way.tx, way.own), (before[1].tx + 3, before[1].own + 2));
        lab.silent();
        let kept = packet(to, &here, &there, 3000, true);
        lab.inject(A, &kept);
        assert_eq!(lab.out(A).len(), 1, "not to be fragmented: told");
        let fits = packet(to, &here, &there, to.mtu(), false);
        lab.inject(A, &fits);
        assert_eq!(lab.out(to.port()).len(), 1);
        lab.silent();
    }
}

#[test]
fn options_go_where_they_belong_and_fragments_may_be_cut_again() {
    let (mut lab, here, there) = lab();
    lab.worker.limits_mut().fragment = true;
    // No operation, record route (in the first only), router alert (in all), a padding byte.
    let options = [1, 7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0];
    let payload = pattern(2000);
    for (offset, more) in [(0, false), (0, true), (1000, false), (1000, true)] {
        let mut ip = header(To::Switched, &here, &there, payload.len());
        (ip.dont_fragment, ip.more_fragments) = (false, more);
        ip.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        ip.options = options.into();
        ip.set_payload_len(payload.len()).unwrap();
        lab.inject(A, &frame(To::Switched, ip.clone(), &payload));
        let inner: Vec<_> = lab
            .out(UPLINK)
            .iter()
            .map(|out| out[50..].to_vec())
            .collect();
        let (first, whole) = reassembled(&inner);
        assert_eq!((inner.len(), whole), (2, payload.clone()));
        assert_eq!(first.options.as_slice(), options);
        assert_eq!(first.fragment_offset.value(), offset);
        let (second, _) = Ipv4Header::from_slice(&inner[1][14..]).unwrap();
        assert_eq!(second.options.as_slice(), [148, 4, 0, 0]);
        assert_eq!(
            second.more_fragments, more,
            "as in the fragment that was cut"
        );
        assert_eq!(second.fragment_offset.value(), offset + 1416 / 8);
        lab.silent();
    }
}

#[test]
fn the_longest_packet_becomes_more_fragments_than_a_burst_holds_and_many_of_them_do_no_harm() {
    let (mut lab, here, there) = with_underlay(576);
    lab.worker.limits_mut().fragment = true;
    let payload = pattern(65_515);
    let mut ip = header(To::Routed, &here, &there, payload.len());
    ip.dont_fragment = false;
    let longest = frame(To::Routed, ip.clone(), &payload);
    for in_pieces in [false, true] {
        let frame = match in_pieces {
            false => MemoryFrame::new(&longest),
            true => MemoryFrame::chained(&longest[..1900], &longest[1900..]),
        };
        lab.rx[A.index()].push(frame).unwrap();
        let out = lab.out(UPLINK);
        assert_eq!(out.len(), 65_515usize.div_ceil(504));
        assert!(out.iter().all(|frame| frame.len() <= 14 + 576));
        let ports: std::collections::HashSet<_> = out.iter().map(|out| source_port(out)).collect();
        assert_eq!(ports.len(), 1);
        let inner: Vec<_> = out.iter().map(|out| out[50..].to_vec()).collect();
        assert_eq!(reassembled(&inner).1, payload);
        lab.silent();
    }
    // 512 fit the wire.
    for _ in 0..100 {
        lab.inject(A, &longest);
    }
    while lab.worker.poll() != 0 {}
    assert_eq!(lab.tx[UPLINK.index()].len(), 512);
    let (guest, way) = (lab.totals(A), lab.totals(UPLINK));
    assert_eq!(
        (guest.forwarded, guest.drops_for(DropReason::TxFull)),
        (2 + 4, 96)
    );
    assert_eq!(way.unsent + way.own + guest.rx, 102 * 130);
    lab.balanced();
    assert_eq!(lab.out(UPLINK).len(), 512);
    // With all options it is 141; a way that would need more than the most takes none.
    ip.options = [1; 40].into();
    let payload = pattern(65_535 - 60);
    ip.set_payload_len(payload.len()).unwrap();
    lab.inject(A, &frame(To::Routed, ip, &payload));
    let count = lab.out(UPLINK).len();
    assert!(
        count == payload.len().div_ceil(464) && count <= MAX_FRAGMENTS,
        "{count}"
    );
    lab.silent();
    let (mut lab, ..) = with_underlay(500);
    lab.worker.limits_mut().fragment = true;
    lab.inject(A, &longest);
    assert_eq!(lab.out(A).len(), 1, "told");
    lab.silent();
}

#[test]
fn what_cannot_be_cut_soundly_is_dropped_whole() {
    let (mut lab, here, there) = lab();
    lab.worker.limits_mut().fragment = true;
    let may = packet(To::Switched, &here, &there, 3000, false);
    let mut damaged = may.clone();
    damaged[24] ^= 1;
    lab.expect_drop(A, &damaged, DropReason::TooBig);
    let mut beyond = header(To::Switched, &here, &there, 2980);
    (beyond.dont_fragment, beyond.fragment_offset) = (false, IpFragOffset::try_new(8191).unwrap());
    let beyond = frame(To::Switched, beyond, &pattern(2980));
    lab.expect_drop(A, &beyond, DropReason::TooBig);
    // Nobody has so small an MTU, and no fragment can.
    for mtu in [0, 50, 70, 77] {
        let (mut lab, ..) = with_underlay(mtu);
        lab.worker.limits_mut().fragment = true;
        lab.inject(A, &may);
        assert_eq!(lab.out(UPLINK), Vec::<Vec<u8>>::new());
        assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), 1);
    }
    let (mut lab, ..) = lab_with_small_buffers(&may, 2);
    assert_eq!(lab.out(UPLINK), Vec::<Vec<u8>>::new(), "not a part of it");
    assert_eq!(lab.totals(A).drops_for(DropReason::NoBuffers), 1);
    lab.silent();
    let (mut lab, ..) = lab_with_small_buffers(&may, 3);
    assert_eq!(lab.out(UPLINK).len(), 3);
    lab.silent();
    // Its neighbor here is down: that is why it is dropped.
    let (mut lab, here, there) = self::lab();
    lab.worker.limits_mut().fragment = true;
    lab.writer.set_role(B, vswitch::tables::Role::Unbound);
    lab.commit();
    let to_nobody = packet(To::Local, &here, &there, 3000, false);
    lab.expect_drop(A, &to_nobody, DropReason::PortUnbound);
}

/// `frame` is on its way from guest 1, and its pool has so many buffers.
fn lab_with_small_buffers(frame: &[u8], buffers: usize) -> (Lab, Subnet, Subnet) {
    let (mut lab, here, there) = lab();
    lab.worker.limits_mut().fragment = true;
    let pool = wire(buffers);
    while pool.push(MemoryFrame::new(&[0; 2048])).is_ok() {}
    let frame = MemoryFrame::new(frame).of_pool(&pool);
    lab.rx[A.index()].push(frame).unwrap();
    (lab, here, there)
}

proptest! {
    #[test]
    fn any_packet_arrives_whole_whatever_the_way_takes(
        len in 1..20_000usize, mtu in 576..9000u16, words in 0..=10usize, options in any::<[u8; 40]>(),
        offset in 0..5000u16, more in any::<bool>(), first in 80..4000usize,
    ) {
        let (mut lab, here, there) = with_underlay(mtu);
        lab.worker.limits_mut().fragment = true;
        let payload = pattern(len);
        let mut ip = header(To::Switched, &here, &there, len);
        (ip.dont_fragment, ip.more_fragments) = (false, more);
        ip.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        ip.options = etherparse::Ipv4Options::try_from(&options[..words * 4]).unwrap();
        ip.set_payload_len(len).unwrap();
        let sent = frame(To::Switched, ip.clone(), &payload);
        let first = first.min(sent.len());
        lab.rx[A.index()].push(MemoryFrame::chained(&sent[..first], &sent[first..])).unwrap();
        let out = lab.out(UPLINK);
        prop_assert!(out.iter().all(|frame| frame.len() <= 14 + usize::from(mtu)));
        let inner: Vec<_> = out.iter().map(|out| out[50..].to_vec()).collect();
        let (head, whole) = reassembled(&inner);
        prop_assert_eq!(whole, payload);
        prop_assert_eq!(head.options, ip.options);
        let (last, _) = Ipv4Header::from_slice(&inner.last().unwrap()[14..]).unwrap();
        prop_assert_eq!(last.more_fragments, more);
        lab.silent();
    }
}

/// A TCP packet of a guest with these flags and a maximum segment size at an odd offset, or none.
fn tcp(macs: [[u8; 6]; 2], ips: [Ipv4Addr; 2], ttl: u8, flags: u8, mss: Option<u16>) -> Vec<u8> {
    let mut tcp = etherparse::TcpHeader::new(1234, 80, 1, 100);
    (tcp.syn, tcp.ack) = (flags & 2 != 0, flags & 16 != 0);
    let option = mss.map(TcpOptionElement::MaximumSegmentSize);
    tcp.set_options(&[vec![TcpOptionElement::Noop], Vec::from_iter(option)].concat())
        .unwrap();
    let [from, to] = ips.map(|ip| ip.octets());
    let mut ip = Ipv4Header::new(tcp.header_len_u16(), ttl, IpNumber::TCP, from, to).unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    tcp.checksum = tcp.calc_checksum_ipv4(&ip, &[]).unwrap();
    [
        &macs[0][..],
        &macs[1],
        &[8, 0],
        &ip.to_bytes(),
        &tcp.to_bytes(),
    ]
    .concat()
}

const SYN: u8 = 2;
const ACK: u8 = 16;

#[test]
fn tcp_agrees_on_segments_that_fit_in_both_directions_where_that_is_wanted() {
    let (mut lab, here, there) = lab();
    let path = PATH - 40;
    for on in [false, true] {
        lab.worker.limits_mut().clamp_mss = on;
        for flags in [SYN, SYN | ACK, ACK] {
            for said in [
                None,
                Some(0),
                Some(536),
                Some(path),
                Some(path + 1),
                Some(u16::MAX),
            ] {
                let lowered = |most: u16| match on && flags & SYN != 0 {
                    true => said.map(|mss| mss.min(most)),
                    false => said,
                };
                for to in ALL {
                    let macs = [to.mac(), guest_mac(7, 1)];
                    let ips = [here.ip(1), to.address(&here, &there)];
                    lab.inject(A, &tcp(macs, ips, 64, flags, said));
                    let out = lab.out(to.port());
                    let expected = tcp(macs, ips, 64, flags, lowered(to.mtu() - 40));
                    assert_eq!(out, [to.delivered(expected, &out[0])], "{to:?} {said:?}");
                }
                let back = |mss| {
                    let macs = [guest_mac(7, 1), guest_mac(7, 9)];
                    tcp(macs, [here.ip(9), here.ip(1)], 64, flags, mss)
                };
                let arriving = from_peer(7, 0, &back(said));
                lab.expect(UPLINK, &arriving, A, &back(lowered(path)));
                let routed = |source, mss| {
                    let macs = [guest_mac(7, 1), source];
                    tcp(macs, [there.ip(7), here.ip(1)], 63, flags, mss)
                };
                let arriving = from_peer(7, 0, &routed(DVR, said));
                lab.expect(
                    UPLINK,
                    &arriving,
                    A,
                    &routed(gateway_mac(7, 0), lowered(path)),
                );
            }
        }
    }
}

#[test]
fn between_guests_of_one_host_the_smaller_port_counts() {
    let (mut lab, here, _) = lab();
    lab.worker.limits_mut().clamp_mss = true;
    lab.worker.limits_mut().set_mtu(A, 1300);
    let syn = |mss| {
        let macs = [guest_mac(7, 2), guest_mac(7, 1)];
        tcp(macs, [here.ip(1), here.ip(2)], 64, SYN, Some(mss))
    };
    lab.expect(A, &syn(1460), B, &syn(1260));
    lab.worker.limits_mut().set_mtu(A, 9000);
    lab.expect(A, &syn(1460), B, &syn(LOCAL - 40));
}

#[test]
fn what_only_looks_like_the_beginning_of_a_connection_is_left_alone() {
    let (mut lab, here, there) = lab();
    lab.worker.limits_mut().clamp_mss = true;
    let macs = [guest_mac(7, 9), guest_mac(7, 1)];
    let syn = tcp(macs, [here.ip(1), here.ip(9)], 64, SYN, Some(9000));
    let mut expect_same = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = syn.clone();
        change(&mut frame);
        lab.inject(A, &frame);
        assert_eq!(lab.out(UPLINK)[0][50..], frame);
    };
    expect_same(&|frame| frame[23] = 17);
    expect_same(&|frame| frame[21] = 1); // a later fragment
    expect_same(&|frame| frame[46] = 0xf0); // a longer header than the packet
    expect_same(&|frame| frame[46] = 0x50); // no options
    expect_same(&|frame| frame[17] = 20 + 21); // ends within the option; the rest is padding
    let mut v6 = Vec::new();
    let builder = PacketBuilder::ethernet2(macs[1], macs[0]).ipv6([1; 16], [2; 16], 9);
    let builder = builder.tcp(1, 2, 3, 4).syn();
    let builder = builder
        .options(&[TcpOptionElement::MaximumSegmentSize(9000)])
        .unwrap();
    builder.write(&mut v6, &[]).unwrap();
    lab.inject(A, &v6);
    assert_eq!(lab.out(UPLINK)[0][50..], v6);
    // Its options are in the second buffer.
    lab.rx[A.index()]
        .push(MemoryFrame::chained(&syn[..54], &syn[54..]))
        .unwrap();
    assert_eq!(lab.out(UPLINK)[0][50..], syn);
    let damaged = {
        let mut frame = tcp(macs, [here.ip(1), here.ip(9)], 64, SYN, Some(9000));
        frame[50] ^= 1;
        frame
    };
    lab.inject(A, &damaged);
    let out = &lab.out(UPLINK)[0][50..];
    let right = tcp(macs, [here.ip(1), here.ip(9)], 64, SYN, Some(PATH - 40));
    assert!(
        out != right && out[..50] == right[..50] && out[52..] == right[52..],
        "still wrong"
    );
    let _ = there;
}
