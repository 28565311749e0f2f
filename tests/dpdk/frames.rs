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
fn truncate_of_a_chain_cuts_anywhere_and_frees_whole_segments() {
    let (bench, frames) = chained("frame_cut", &[1500; 8]); // 256 + 3 * 384 + 92
    let cuts = [1500, 1499, 1408, 700, 640, 256, 10, 0];
    for (mut frame, len) in frames.into_iter().zip(cuts) {
        let held = bench.pool.in_use();
        assert!(!frame.truncate(1501));
        assert_eq!((frame.len(), frame.segments()), (1500, 5));
        assert!(frame.truncate(len));
        assert_eq!(frame.to_vec(), pattern(1500, 1500)[..len]);
        let segments = 1 + (len as u16).saturating_sub(SEGMENT as u16).div_ceil(384);
        assert_eq!((frame.len(), frame.segments()), (len, segments));
        assert_eq!(bench.pool.in_use(), held - 5 + u32::from(segments), "freed");
        assert!(!frame.truncate(len + 1) && frame.truncate(len.min(3)));
    }
    assert_eq!(bench.pool.in_use(), 0);
}

#[test]
fn copies_are_whole_and_of_the_same_pool_and_an_empty_pool_makes_none() {
    let (bench, mut frames) = chained("frame_copy", &[1500]);
    let frame = frames.remove(0);
    for (from, to) in [
        (0, 1500),
        (0, 1),
        (255, 257),
        (640, 1500),
        (1499, 1500),
        (20, 404),
    ] {
        let held = bench.pool.in_use();
        let mut copy = frame.copy(from..to).unwrap();
        assert_eq!(copy.to_vec(), pattern(1500, 1500)[from..to]);
        // Each buffer has headroom, so that 256 bytes fit it.
        let buffers = (to - from).div_ceil(SEGMENT) as u32;
        assert_eq!(bench.pool.in_use() - held, buffers);
        assert!(copy.prepend::<50>().is_some());
        copy.head_mut()[0] = 1;
        assert_eq!(frame.to_vec(), pattern(1500, 1500), "not shared");
    }
    assert!(frame.copy(1..1501).is_none() && frame.copy(7..7).is_none());
    let all: Vec<_> = std::iter::from_fn(|| bench.pool.alloc()).collect();
    assert!(frame.copy(0..1).is_none());
    drop(all);
    let all_but_two = (0..bench.pool.available() - 2).map(|_| bench.pool.alloc().unwrap());
    let all_but_two: Vec<_> = all_but_two.collect();
    assert!(
        frame.copy(0..600).is_none(),
        "three are needed, and none is kept"
    );
    assert_eq!(bench.pool.available(), 2);
    drop((all_but_two, frame));
    assert_eq!(bench.pool.in_use(), 0);
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
