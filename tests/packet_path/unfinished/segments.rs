// SPDX-License-Identifier: MIT
//! TCP that guests leave to be cut. What came out is read, and its checksums are made, by etherparse.

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use proptest::prelude::*;
use vswitch::counters::DropReason;
use vswitch::io::memory::MemoryFrame;
use vswitch::io::{Finishes, Frame, Unfinished};
use vswitch::stage::finish::MAX_SEGMENTS;

use crate::lab::*;
use crate::mtu::pattern;
use crate::{A, B};

use super::{TCP, lab, packet, send, through, transport, undone};

/// Checks each segment of `whole` by etherparse, and that they are that packet; `size` is their payload.
fn assert_segments(segments: &[Vec<u8>], whole: &[u8], size: usize) {
    let first = PacketHeaders::from_ethernet_slice(whole).unwrap();
    let all = first.payload.slice();
    assert_eq!(segments.len(), all.len().div_ceil(size));
    for (n, (segment, expected)) in segments.iter().zip(all.chunks(size)).enumerate() {
        let last = n + 1 == segments.len();
        let read = PacketHeaders::from_ethernet_slice(segment).unwrap();
        assert_eq!(read.payload.slice(), expected);
        let Some(TransportHeader::Tcp(tcp)) = &read.transport else {
            panic!("{n} is no TCP");
        };
        let Some(TransportHeader::Tcp(whole_tcp)) = &first.transport else {
            panic!("the packet is no TCP");
        };
        let mut wanted = whole_tcp.clone();
        wanted.sequence_number = wanted.sequence_number.wrapping_add((n * size) as u32);
        (wanted.psh, wanted.fin, wanted.cwr) = (last, last, n == 0);
        wanted.checksum = tcp.checksum;
        assert_eq!(tcp, &wanted);
        let checksum = match (&read.net, &first.net) {
            (Some(NetHeaders::Ipv4(ip, _)), Some(NetHeaders::Ipv4(whole_ip, _))) => {
                let mut wanted = whole_ip.clone();
                wanted.identification = wanted.identification.wrapping_add(n as u16);
                wanted.total_len = segment.len() as u16 - 14;
                wanted.header_checksum = wanted.calc_header_checksum();
                assert_eq!(ip, &wanted);
                tcp.calc_checksum_ipv4(ip, expected)
            }
            (Some(NetHeaders::Ipv6(ip, _)), Some(NetHeaders::Ipv6(whole_ip, _))) => {
                let mut wanted = whole_ip.clone();
                wanted.payload_length = segment.len() as u16 - 54;
                assert_eq!(ip, &wanted);
                tcp.calc_checksum_ipv6(ip, expected)
            }
            _ => panic!("{n} is no IP, or another"),
        };
        assert_eq!(tcp.checksum, checksum.unwrap(), "{n}");
    }
}

proptest! {
    #[test]
    fn segments_are_the_packet_whatever_its_buffers(
        v6 in any::<bool>(), len in 1..60_000usize, size in 300..1300u16, head in 0..3000usize, remote in any::<bool>(),
    ) {
        let (mut lab, net) = lab(1500);
        let (kind, to) = ((v6, TCP), if remote { 9 } else { 2 });
        let whole = packet(&net, to, kind, &pattern(len));
        let frame = undone(&whole, kind);
        let (head, rest) = frame.split_at((transport(kind).0 + 32 + head).min(frame.len()));
        send(&lab, MemoryFrame::chained(head, rest).left(Unfinished::Segments(size)));
        let sent = lab.out(if remote { UPLINK } else { B });
        let skip = if remote { 50 } else { 0 };
        let inner: Vec<_> = sent.iter().map(|sent| sent[skip..].to_vec()).collect();
        let alone = len <= usize::from(size);
        if alone {
            prop_assert_eq!(&inner, &[whole]);
        } else {
            assert_segments(&inner, &whole, size.into());
        }
        if remote {
            prop_assert!(sent.iter().all(|frame| source_port(frame) == source_port(&sent[0])));
        }
        let totals = lab.totals(A);
        prop_assert_eq!((totals.finished, totals.segments), if alone { (1, 0) } else { (0, inner.len() as u64) });
        lab.silent();
    }
}

#[test]
fn nothing_overtakes_the_segments_in_front_of_it() {
    let (lab, net) = lab(1500);
    let kind = (false, TCP);
    let numbered = |n: u8, len: usize| {
        let frame = MemoryFrame::new(&undone(&packet(&net, 2, kind, &vec![n; len]), kind));
        frame.left(if len > 500 {
            Unfinished::Segments(500)
        } else {
            Unfinished::Checksum
        })
    };
    let lens = [10, 1200, 20, 30, 1600, 2000, 40];
    let frames = (0..).zip(lens).map(|(n, len)| numbered(n, len)).collect();
    let (sent, totals) = through(&lab, Finishes::default(), frames);
    let numbers: Vec<_> = sent
        .iter()
        .map(|sent| *sent.to_vec().last().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 1, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6]);
    assert_eq!(
        (totals.forwarded, totals.finished, totals.segments),
        (7, 4, 11)
    );
}

#[test]
fn a_sender_of_segments_that_do_not_fit_is_told_or_they_are_made_shorter() {
    let (mut lab, net) = lab(1500);
    lab.worker.limits_mut().fragment = true;
    for v6 in [false, true] {
        let whole = packet(&net, 9, (v6, TCP), &pattern(9000));
        for may_be_cut in [false, true] {
            let mut frame = undone(&whole, (v6, TCP));
            if v6 {
                frame[20] = 6;
            } else if may_be_cut {
                frame[20] = 0;
                let sum = etherparse::Ipv4Header::from_slice(&frame[14..])
                    .unwrap()
                    .0
                    .calc_header_checksum();
                frame[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            send(
                &lab,
                MemoryFrame::new(&frame).left(Unfinished::Segments(1400)),
            );
            while lab.worker.poll() != 0 {}
            if may_be_cut && !v6 {
                let sent: Vec<_> = lab
                    .out(UPLINK)
                    .iter()
                    .map(|sent| sent[50..].to_vec())
                    .collect();
                assert_segments(&sent, &frame, 1450 - 20 - 32);
            } else {
                let told = lab.tx[A.index()].pop().unwrap();
                assert_eq!(told.unfinished(), None);
                let told = told.to_vec();
                let (kind, mtu) = if v6 {
                    (told[54], &told[58..62])
                } else {
                    (told[34], &told[38..42])
                };
                assert_eq!(
                    (kind, mtu),
                    (if v6 { 2 } else { 3 }, &[0, 0, 0x05, 0xaa][..])
                );
            }
            lab.silent();
        }
    }
}

#[test]
fn more_segments_than_any_sender_means_are_dropped() {
    let (mut lab, net) = lab(1500);
    let payload = pattern(20 * MAX_SEGMENTS + 1);
    let frame = undone(&packet(&net, 2, (false, TCP), &payload), (false, TCP));
    for size in [0, 1, 20] {
        let frame = MemoryFrame::new(&frame).left(Unfinished::Segments(size));
        send(&lab, frame);
        while lab.worker.poll() != 0 {}
    }
    assert_eq!(lab.totals(A).drops_for(DropReason::BadOffload), 3);
    send(
        &lab,
        MemoryFrame::new(&frame).left(Unfinished::Segments(21)),
    );
    assert_eq!(lab.out(B).len(), payload.len().div_ceil(21));
    lab.silent();
}
