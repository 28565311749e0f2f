// SPDX-License-Identifier: MIT
//! Checksums and segments that guests leave undone (virtio). Whole packets are built by etherparse.

mod segments;

use std::sync::Arc;

use etherparse::{PacketBuilder, TcpHeader};
use proptest::prelude::*;
use vswitch::counters::{DropReason, PortTotals, WorkerCounters, total};
use vswitch::io::memory::{MemoryFrame, MemoryRx, Wire, wire};
use vswitch::io::{Finishes, Frame, Frames, Headers, TxQueue, Unfinished};
use vswitch::stage::transmit::Link;
use vswitch::worker::Worker;

use crate::ipv6::net::{self, Net};
use crate::lab::*;
use crate::mtu::pattern;
use crate::{A, B};

const TCP: bool = true;
const UDP: bool = false;

/// The kinds of packets: IP version 6, and TCP.
const KINDS: [(bool, bool); 4] = [(false, TCP), (false, UDP), (true, TCP), (true, UDP)];

/// Guest 1 at A and guest 2 at B, guest 9 on the peer host: by IPv4 and by IPv6.
fn lab(mtu: u16) -> (Lab, Net) {
    let (mut lab, mut net) = (Lab::new(), Net::new(7, 1, 1, 0));
    net::connect(&mut [&mut net], &[]);
    (lab.mtu, lab.lease) = (mtu, None);
    for (at, n) in [(A, 1), (B, 2)] {
        lab.guest(at, n, std::slice::from_ref(&net.narrow));
        let both = vec![net.narrow.attachment(), net.attachment()];
        net::tenant(&mut lab, at, net.mac(n), both);
        net::neighbor(&mut lab, &net, n, vswitch::tables::Hop::Local(at));
        lab.worker.limits_mut().set_mtu(at, 1500);
    }
    lab.remote(9, &net.narrow);
    net::remote(&mut lab, 9, &net);
    lab.commit();
    (lab, net)
}

/// A whole packet of guest 1's for guest `to`.
fn packet(net: &Net, to: u8, (v6, tcp): (bool, bool), payload: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(net.mac(1), net.mac(to));
    let ip = match v6 {
        true => ethernet.ipv6(net.ip(1).octets(), net.ip(to.into()).octets(), 64),
        false => ethernet.ipv4(net.narrow.ip(1).octets(), net.narrow.ip(to).octets(), 64),
    };
    let mut bytes = Vec::new();
    match tcp {
        true => {
            let mut header = TcpHeader::new(1000, 80, u32::MAX - 5000, 4096);
            (header.ack, header.psh, header.fin, header.cwr) = (true, true, true, true);
            header.acknowledgment_number = 77;
            header.options =
                etherparse::TcpOptions::try_from_slice(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8])
                    .unwrap();
            ip.tcp_header(header).write(&mut bytes, payload).unwrap();
        }
        false => ip.udp(1000, 53).write(&mut bytes, payload).unwrap(),
    }
    bytes
}

/// Where the TCP or UDP header of such a packet is, and its checksum.
fn transport((v6, tcp): (bool, bool)) -> (usize, usize) {
    let at = if v6 { 54 } else { 34 };
    (at, at + if tcp { 16 } else { 6 })
}

/// The packet with the sum of its pseudo header for a checksum.
fn undone(whole: &[u8], kind: (bool, bool)) -> Vec<u8> {
    let (at, checksum) = transport(kind);
    let addresses = if kind.0 { 22..54 } else { 26..34 };
    let words = whole[addresses].chunks(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    sum += (whole.len() - at) as u32 + if kind.1 { 6 } else { 17 };
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let mut frame = whole.to_vec();
    frame[checksum..checksum + 2].copy_from_slice(&(sum as u16).to_be_bytes());
    frame
}

fn send(lab: &Lab, frame: MemoryFrame) {
    lab.rx[A.index()].push(frame).unwrap();
}

#[test]
fn a_checksum_is_made_before_vxlan_and_for_ports_that_leave_it_to_nobody() {
    let (mut lab, net) = lab(1500);
    for (kind, len) in KINDS
        .into_iter()
        .flat_map(|kind| [0, 1, 2, 601].map(|len| (kind, len)))
    {
        for (to, out) in [(2, B), (9, UPLINK)] {
            let whole = packet(&net, to, kind, &pattern(len));
            let frame = undone(&whole, kind);
            assert_ne!(frame, whole);
            for cut in [frame.len(), frame.len() - len / 2, frame.len() - len] {
                let (head, rest) = frame.split_at(cut);
                let frame = MemoryFrame::chained(head, rest);
                send(&lab, frame.left(Unfinished::Checksum));
                let (sent, skip) = (lab.out(out), if out == B { 0 } else { 50 });
                assert_eq!(
                    sent.iter().map(|sent| &sent[skip..]).collect::<Vec<_>>(),
                    [&whole]
                );
            }
        }
    }
    lab.silent();
    let totals = lab.totals(A);
    assert_eq!((totals.finished, totals.segments), (totals.rx, 0));
}

#[test]
fn a_udp_checksum_of_zero_is_written_as_its_equal() {
    let (mut lab, net) = lab(1500);
    for v6 in [false, true] {
        let kind = (v6, UDP);
        let (_, at) = transport(kind);
        let mut zeros = (0..=u16::MAX).map(|word| packet(&net, 2, kind, &word.to_be_bytes()));
        let whole = zeros
            .find(|whole| whole[at..at + 2] == [0xff, 0xff])
            .unwrap();
        let frame = MemoryFrame::new(&undone(&whole, kind));
        send(&lab, frame.left(Unfinished::Checksum));
        assert_eq!(lab.out(B), [whole]);
    }
}

/// A port whose guest takes what another left undone.
struct Taking(Finishes, Wire);

impl TxQueue for Taking {
    type Frame = MemoryFrame;

    fn tx_burst(&mut self, frames: &mut Frames<MemoryFrame>) -> usize {
        let taken = frames.len();
        frames
            .drain(..)
            .for_each(|frame| self.1.push(frame).unwrap());
        taken
    }

    fn finishes(&self) -> Finishes {
        self.0
    }
}

/// What leaves for guests at B, which takes this, when these frames arrive in one burst.
fn through(lab: &Lab, takes: Finishes, frames: Vec<MemoryFrame>) -> (Vec<MemoryFrame>, PortTotals) {
    let counters = Arc::new(WorkerCounters::default());
    let reader = lab.registrar.reader("taking").unwrap();
    let mut worker = Worker::new(reader, Arc::clone(&counters), 64);
    let (arriving, sent) = (wire(64), wire(1024));
    for at in [A, B, UPLINK] {
        worker.limits_mut().set_mtu(at, 1500);
        let link = Link::Own(Taking(takes, Arc::clone(&sent)));
        let queues = (at == A).then(|| MemoryRx(Arc::clone(&arriving)));
        worker.add_port(at, queues.into_iter().collect(), Some(link));
    }
    frames
        .into_iter()
        .for_each(|frame| arriving.push(frame).unwrap());
    worker.poll();
    let totals = total(&[counters], A);
    assert!(totals.is_balanced());
    (std::iter::from_fn(|| sent.pop()).collect(), totals)
}

const EVERYTHING: Finishes = Finishes {
    checksums: true,
    segments_ipv4: true,
    segments_ipv6: true,
};

#[test]
fn a_guest_of_this_host_that_takes_it_gets_it_as_it_is() {
    let (lab, net) = lab(1500);
    for kind in KINDS {
        let (at, _) = transport(kind);
        let headers = |tcp: bool| Headers {
            link: 14,
            ip: at as u16 - 14,
            transport: if tcp { 32 } else { 8 },
            is_ipv6: kind.0,
            is_udp: !tcp,
        };
        let frame = undone(&packet(&net, 2, kind, &pattern(600)), kind);
        let sent = MemoryFrame::new(&frame).left(Unfinished::Checksum);
        let (sent, totals) = through(&lab, EVERYTHING, vec![sent]);
        assert_eq!(
            (sent.len(), sent[0].to_vec(), totals.finished),
            (1, frame, 0)
        );
        assert_eq!(sent[0].unfinished(), Some(Unfinished::Checksum));
        assert_eq!(sent[0].left_to_device(), Some(headers(kind.1)));

        let long = undone(&packet(&net, 2, kind, &pattern(9000)), kind);
        let size = Unfinished::Segments(1400);
        let (sent, totals) = through(&lab, EVERYTHING, vec![MemoryFrame::new(&long).left(size)]);
        if kind.1 == TCP {
            assert_eq!((sent.len(), sent[0].to_vec()), (1, long.clone()));
            assert_eq!(
                (sent[0].unfinished(), sent[0].left_to_device()),
                (Some(size), Some(headers(TCP)))
            );
            assert_eq!((totals.finished, totals.segments), (0, 0));
            let checksums = Finishes {
                checksums: true,
                ..Finishes::default()
            };
            let (sent, totals) = through(&lab, checksums, vec![MemoryFrame::new(&long).left(size)]);
            assert_eq!((sent.len(), totals.segments, totals.forwarded), (7, 7, 1));
            assert!(sent.iter().all(|sent| sent.unfinished().is_none()));
        } else {
            // A datagram is no stream: it is whole, and too long.
            assert_eq!((sent.len(), totals.drops_for(DropReason::TooBig)), (1, 1));
            assert!(sent[0].unfinished().is_none() && sent[0].left_to_device().is_none());
        }
    }
    // Never by VXLAN.
    let frame = undone(&packet(&net, 9, (true, TCP), &pattern(9000)), (true, TCP));
    for left in [Unfinished::Checksum, Unfinished::Segments(1000)] {
        let short = undone(&packet(&net, 9, (true, TCP), &pattern(900)), (true, TCP));
        let frame = MemoryFrame::new(if left == Unfinished::Checksum {
            &short
        } else {
            &frame
        });
        let (sent, _) = through(&lab, EVERYTHING, vec![frame.left(left)]);
        assert!(!sent.is_empty() && sent.iter().all(|sent| sent.unfinished().is_none()));
    }
}

proptest! {
    #[test]
    fn whatever_a_guest_says_is_undone_of_whatever_bytes_does_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 14..300), size in any::<Option<u16>>(), shape in 0..6usize,
        at in 14..60usize, byte in any::<u8>(), cut in 0..200usize, to in prop_oneof![Just(2), Just(9)], behind in 0..100usize,
    ) {
        let (mut lab, net) = lab(1500);
        let mut bytes = match KINDS.get(shape) {
            Some(kind) => undone(&packet(&net, to, *kind, &pattern(bytes.len() * 10)), *kind),
            None => bytes,
        };
        bytes.extend(vec![0; behind]);
        if let Some(at) = bytes.get_mut(at) {
            *at = byte;
        }
        let (head, rest) = bytes.split_at(cut.clamp(14, bytes.len()));
        let undone = size.map_or(Unfinished::Checksum, Unfinished::Segments);
        send(&lab, MemoryFrame::chained(head, rest).left(undone));
        while lab.worker.poll() != 0 {}
        lab.balanced();
        for wire in &lab.tx {
            prop_assert!(std::iter::from_fn(|| wire.pop()).all(|sent| sent.unfinished().is_none()));
        }
    }
}

#[test]
fn a_datagram_that_is_fragmented_has_its_checksum_before() {
    let (mut lab, net) = lab(1500);
    lab.worker.limits_mut().fragment = true;
    let mut whole = packet(&net, 9, (false, UDP), &pattern(4000));
    whole[20] = 0;
    let sum = etherparse::Ipv4Header::from_slice(&whole[14..])
        .unwrap()
        .0
        .calc_header_checksum();
    whole[24..26].copy_from_slice(&sum.to_be_bytes());
    for undone_too in [Unfinished::Checksum, Unfinished::Segments(1400)] {
        let frame = MemoryFrame::new(&undone(&whole, (false, UDP)));
        send(&lab, frame.left(undone_too));
        let sent = lab.out(UPLINK);
        assert_eq!(sent.len(), 3);
        let datagram: Vec<_> = sent
            .iter()
            .flat_map(|sent| sent[50 + 34..].to_vec())
            .collect();
        assert_eq!(datagram, whole[34..]);
        lab.silent();
    }
}

#[test]
fn headers_that_lie_are_a_counted_drop() {
    let (mut lab, net) = lab(1500);
    let (tcp, udp) = ((false, TCP), (true, UDP));
    let lie = |kind, at: usize, value: u8| {
        let mut frame = undone(&packet(&net, 2, kind, &pattern(100)), kind);
        frame[at] = value;
        frame
    };
    let lies = [
        lie(tcp, 46, 0x40), // 16 bytes of TCP header
        lie(tcp, 20, 0x20), // a fragment
        lie(tcp, 23, 1),    // ICMP
        lie(udp, 20, 58),   // ICMPv6
    ];
    let mut short = undone(&packet(&net, 2, tcp, &[]), tcp);
    short[17] = 20 + 31; // a byte less than there is of TCP header
    for frame in lies.into_iter().chain([short]) {
        send(&lab, MemoryFrame::new(&frame).left(Unfinished::Checksum));
    }
    lab.silent();
    assert_eq!(lab.totals(A).drops_for(DropReason::BadOffload), 5);
}

#[test]
fn what_the_host_left_undone_is_made_as_it_arrives() {
    let (mut lab, net) = lab(1500);
    let whole = packet(&net, 9, (false, TCP), &pattern(900));
    let frame = MemoryFrame::new(&undone(&whole, (false, TCP)));
    lab.rx[HOST.index()]
        .push(frame.clone().left(Unfinished::Checksum))
        .unwrap();
    assert_eq!(lab.out(UPLINK), [whole]);
    lab.rx[HOST.index()]
        .push(frame.left(Unfinished::Segments(100)))
        .unwrap();
    lab.silent();
    assert_eq!(lab.totals(HOST).drops_for(DropReason::TooBig), 1);
}

#[test]
fn a_segment_size_is_lowered_in_a_packet_whose_checksum_is_not_made_yet() {
    let (mut lab, net) = lab(1500);
    lab.worker.limits_mut().clamp_mss = true;
    let syn = |mss: u16| {
        let mut bytes = Vec::new();
        let mut header = TcpHeader::new(1000, 80, 5, 4096);
        header.syn = true;
        header.options = etherparse::TcpOptions::try_from(
            [etherparse::TcpOptionElement::MaximumSegmentSize(mss)].as_slice(),
        )
        .unwrap();
        let ethernet = PacketBuilder::ethernet2(net.mac(1), net.mac(9));
        let ip = ethernet.ipv4(net.narrow.ip(1).octets(), net.narrow.ip(9).octets(), 64);
        ip.tcp_header(header).write(&mut bytes, &[]).unwrap();
        bytes
    };
    let frame = MemoryFrame::new(&undone(&syn(1460), (false, TCP)));
    send(&lab, frame.left(Unfinished::Checksum));
    assert_eq!(lab.out(UPLINK)[0][50..], syn(1410));
}
