// SPDX-License-Identifier: MIT
//! Packets that are too long for their way and may be fragmented. What is expected is built by etherparse.

use std::sync::Arc;

use etherparse::{IpFragOffset, Ipv4Header};
use proptest::prelude::*;
use vswitch::counters::{DropReason, WorkerCounters, total};
use vswitch::io::memory::{MemoryFrame, MemoryRx, Wire, wire};
use vswitch::io::{Frames, TxQueue};
use vswitch::stage::fragment::MAX_FRAGMENTS;
use vswitch::stage::transmit::Link;
use vswitch::worker::Worker;

use crate::lab::*;
use crate::mtu::*;
use crate::{A, B};

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
    // 512 fit the wire: three packets, and some of a fourth.
    for _ in 0..100 {
        lab.inject(A, &longest);
    }
    while lab.worker.poll() != 0 {}
    assert_eq!(lab.tx[UPLINK.index()].len(), 512);
    let (guest, way) = (lab.totals(A), lab.totals(UPLINK));
    assert_eq!(
        (guest.forwarded, guest.drops_for(DropReason::TxFull)),
        (2 + 3, 97)
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
    // What is too long is behind the packet: cut off, unless the packet is nothing but a header.
    let mut padded = packet(To::Switched, &here, &there, 100, false);
    padded.resize(3000, 0);
    lab.inject(A, &padded);
    assert_eq!(lab.out(UPLINK)[0][50..], padded[..14 + 100]);
    let mut empty = packet(To::Switched, &here, &there, 20, false);
    empty.resize(3000, 0);
    lab.expect_drop(A, &empty, DropReason::TooBig);
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

/// A ring that is full the `full`-th time that it is given frames, counted from zero: then it takes one less than there are.
struct Ring {
    full: usize,
    calls: usize,
    sent: Wire,
}

impl TxQueue for Ring {
    type Frame = MemoryFrame;

    fn tx_burst(&mut self, frames: &mut Frames<MemoryFrame>) -> usize {
        let taken = frames.len() - usize::from(self.calls == self.full);
        self.calls += 1;
        for frame in frames.drain(..taken) {
            self.sent.push(frame).unwrap();
        }
        taken
    }
}

#[test]
fn after_a_fragment_that_the_ring_refused_the_rest_is_not_sent() {
    let (lab, here, there) = with_underlay(576);
    let longest = packet(To::Switched, &here, &there, 65_535, false);
    // 130 fragments: 64 of them, 64, one more, and the last.
    for (full, left) in [(0, 63), (1, 64 + 63), (2, 128), (3, 129), (4, 130)] {
        let counters = Arc::new(WorkerCounters::default());
        let reader = lab.registrar.reader("ring").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(&counters), 32);
        worker.limits_mut().fragment = true;
        let (arriving, sent) = (wire(1), wire(130));
        let ring = Ring {
            full,
            calls: 0,
            sent: Arc::clone(&sent),
        };
        worker.add_port(UPLINK, Vec::new(), Some(Link::Own(ring)));
        worker.add_port(A, vec![MemoryRx(Arc::clone(&arriving))], None);
        arriving.push(MemoryFrame::new(&longest)).unwrap();
        worker.poll();
        let [guest, way] = [A, UPLINK].map(|at| total(&[Arc::clone(&counters)], at));
        assert_eq!(sent.len(), left, "{full}");
        assert!(guest.is_balanced());
        assert_eq!(guest.drops_for(DropReason::TxFull), u64::from(left < 130));
        assert_eq!(way.tx, left as u64);
        // The last counts as the packet; of the others each was sent or was not.
        assert_eq!(
            (way.tx, way.own + way.unsent),
            (guest.forwarded + way.own, 129)
        );
    }
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
