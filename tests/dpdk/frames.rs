// SPDX-License-Identifier: MIT
//! Mbufs as frames: growing, shrinking, segments, freeing.

use vswitch::dpdk::{Mbuf, Port, PortConfig};
use vswitch::io::{Checksum, Frame, Frames, MAX_BURST, RxQueue, TxQueue};

use crate::bench::{Bench, pattern, receive, write_pcap};

/// DPDK's headroom in front of a fresh frame.
const HEADROOM: usize = 128;

/// Bytes for a frame in the small buffers that make segments. net_pcap leaves headroom in the first one only, so the
/// others take `HEADROOM` more: 256, 384, 384, ...
const SEGMENT: usize = 256;

/// A bench of small buffers, and frames of these lengths received into them, each spread over as many as it needs.
fn chained(name: &str, lengths: &[usize]) -> (Bench, Vec<Mbuf>) {
    let bench = Bench::with_room(name, 511, (HEADROOM + SEGMENT) as u16);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.pcap");
    let frames: Vec<_> = lengths
        .iter()
        .map(|length| pattern(*length, *length))
        .collect();
    write_pcap(&file, &frames);
    let mut port = bench.port(&format!("net_pcap_{name},rx_pcap={}", file.display()));
    let received: Vec<_> = receive(&mut port.take_rx(0).unwrap(), MAX_BURST)
        .into_iter()
        .collect();
    assert_eq!(received.len(), lengths.len());
    (bench, received)
}

#[test]
fn a_fresh_frame_is_empty_and_grows_at_both_ends() {
    let bench = Bench::new("frame_fresh", 127);
    let mut frame = bench.pool.alloc().unwrap();
    assert!(frame.is_empty() && frame.head().is_empty());
    assert!(frame.append(b"payload"));
    *frame.prepend::<3>().unwrap() = *b"hdr";
    assert_eq!((frame.head(), frame.len()), (&b"hdrpayload"[..], 10));
    frame.head_mut()[0] = b'H';
    assert_eq!(frame.to_vec(), b"Hdrpayload");
    assert_eq!(frame.segments(), 1);
    assert_eq!(frame.checksum(), Checksum::Unknown);
    frame.clear_offloads();
    frame.prefetch_head();
}

#[test]
fn prepend_stops_at_the_end_of_the_headroom() {
    let bench = Bench::new("frame_headroom", 127);
    let mut frame = bench.frame(b"x");
    assert!(frame.prepend::<{ HEADROOM + 1 }>().is_none());
    assert_eq!(frame.len(), 1);
    assert!(frame.prepend::<HEADROOM>().is_some());
    assert!(frame.prepend::<1>().is_none());
    assert_eq!(
        (frame.len(), frame.head().len()),
        (HEADROOM + 1, HEADROOM + 1)
    );
}

#[test]
fn append_stops_at_the_end_of_the_buffer() {
    let bench = Bench::new("frame_append", 127);
    let mut frame = bench.pool.alloc().unwrap();
    assert!(frame.append(&[7; 2048]));
    assert!(!frame.append(&[7]));
    assert!(!frame.extend(1) && frame.truncate(2000) && !frame.extend(49));
    frame.head_mut()[1999] = 9;
    assert!(frame.extend(48));
    assert_eq!((frame.len(), frame.head().len()), (2048, 2048));
    assert_eq!(frame.head()[1998..2000], [7, 9]);
    assert_eq!(frame.len(), 2048);
}

#[test]
fn trim_front_removes_up_to_the_first_segment() {
    let bench = Bench::new("frame_trim", 127);
    let mut frame = bench.frame(b"outer inner");
    assert!(!frame.trim_front(12));
    assert!(frame.trim_front(6));
    assert_eq!(frame.head(), b"inner");
    assert!(frame.trim_front(5) && frame.trim_front(0));
    assert!(frame.is_empty());
    assert!(!frame.trim_front(1));
    assert!(!frame.trim_front(usize::MAX));
}

#[test]
fn truncate_cuts_at_the_end() {
    let bench = Bench::new("frame_truncate", 127);
    let mut frame = bench.frame(b"frame and padding");
    assert!(!frame.truncate(18) && !frame.truncate(usize::MAX));
    assert!(frame.truncate(17) && frame.truncate(5));
    assert_eq!(frame.to_vec(), b"frame");
    assert!(frame.truncate(0) && frame.is_empty());
}

#[test]
fn a_long_frame_is_spread_over_segments_and_whole() {
    let (_bench, mut frames) = chained("frame_chain", &[SEGMENT, SEGMENT + 1, 1500, 9000]);
    let segments: Vec<_> = frames.iter().map(Mbuf::segments).collect();
    assert_eq!(segments, [1, 2, 5, 24]);
    for frame in &mut frames {
        assert_eq!(frame.to_vec(), pattern(frame.len(), frame.len()));
    }
    let mut long = frames.pop().unwrap();
    assert!(
        !long.trim_front(SEGMENT + 1),
        "not all in the first segment"
    );
    assert!(long.trim_front(14));
    *long.prepend::<4>().unwrap() = *b"push";
    let expected: Vec<u8> = [b"push", &pattern(9000, 9000)[14..]].concat();
    assert_eq!(long.to_vec(), expected);
    assert!(!long.append(b"x") && !long.extend(1), "several segments");
}

#[test]
fn truncate_of_a_chain_reaches_into_the_last_segment_only() {
    let (bench, mut frames) = chained("frame_cut", &[700]); // 256 + 384 + 60
    let frame = &mut frames[0];
    assert!(!frame.truncate(700 - 61), "reaches into the second");
    assert_eq!((frame.len(), frame.segments()), (700, 3));
    assert!(frame.truncate(690));
    assert_eq!(frame.to_vec(), pattern(700, 700)[..690]);
    let held = bench.pool.in_use();
    assert!(frame.truncate(640), "all of the last");
    assert_eq!(
        (frame.segments(), bench.pool.in_use()),
        (2, held - 1),
        "an empty segment is freed"
    );
    assert!(frame.truncate(256) && frame.truncate(10));
    assert_eq!(
        (frame.to_vec(), frame.segments()),
        (pattern(700, 700)[..10].to_vec(), 1)
    );
}

#[test]
fn each_frame_is_freed_once_however_it_goes() {
    let (bench, frames) = chained("frame_free", &[100, 600, 100, 9000, 100]);
    assert_eq!(bench.pool.in_use(), 3 + 2 + 24);
    let mut burst: Frames<Mbuf> = frames.into_iter().collect();
    drop(burst.remove(3));
    assert_eq!(bench.pool.in_use(), 5);
    Mbuf::free_all(&mut burst);
    assert_eq!((burst.len(), bench.pool.in_use()), (0, 0));
    Mbuf::free_all(&mut burst);
    assert_eq!(bench.pool.available(), 511);
}

#[test]
fn a_frame_may_be_freed_by_another_thread() {
    let bench = Bench::new("frame_thread", 127);
    let frames: Vec<_> = (0..100).map(|_| bench.frame(b"there")).collect();
    std::thread::spawn(move || drop(frames)).join().unwrap();
    assert_eq!(bench.pool.available(), 127);
}

#[test]
fn frames_of_several_segments_go_through_a_ring_unchanged() {
    let (bench, frames) = chained("frame_ring", &[9000, 600]);
    let mut port = Port::attach(&bench.eal, "net_ring_chain")
        .unwrap()
        .remove(0);
    port.configure(&PortConfig::default(), &bench.pool).unwrap();
    port.start().unwrap();
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let mut burst: Frames<Mbuf> = frames.into_iter().collect();
    assert_eq!(tx.tx_burst(&mut burst), 2);
    assert_eq!(rx.rx_burst(&mut burst, 2), 2);
    assert_eq!(burst[0].to_vec(), pattern(9000, 9000));
    assert_eq!(burst[1].to_vec(), pattern(600, 600));
}
