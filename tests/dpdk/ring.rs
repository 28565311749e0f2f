// SPDX-License-Identifier: MIT
//! net_ring: what is sent on a queue is received on the queue of the same number.

use vswitch::dpdk::PortConfig;
use vswitch::io::{Frame, Frames, MAX_BURST, TxQueue};

use crate::bench::{Bench, receive, send};

/// Slots of a net_ring ring, one of which stays empty.
const RING_SLOTS: usize = 1024;

#[test]
fn a_frame_sent_into_a_ring_is_received_from_it() {
    let bench = Bench::new("ring_loop", 255);
    let mut port = bench.port("net_ring_loop");
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    send(
        &mut tx,
        [bench.frame(b"10.7.1.1"), bench.frame(b"10.7.2.1")],
    );
    let frames = receive(&mut rx, MAX_BURST);
    assert_eq!(
        frames.iter().map(Frame::head).collect::<Vec<_>>(),
        [b"10.7.1.1", b"10.7.2.1"]
    );
    assert_eq!((port.stats().tx_packets, port.stats().rx_packets), (2, 2));
}

#[test]
fn a_full_ring_returns_the_rest_in_order() {
    let bench = Bench::new("ring_full", 2047);
    let mut port = bench.port("net_ring_full");
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let mut sent = 0_usize;
    let mut rest = Frames::new();
    while rest.is_empty() {
        rest.extend((sent..sent + MAX_BURST).map(|n| bench.frame(&n.to_be_bytes())));
        sent += tx.tx_burst(&mut rest);
    }
    assert_eq!(sent, RING_SLOTS - 1);
    let next: Vec<_> = rest.iter().map(|frame| frame.head().to_vec()).collect();
    let expected: Vec<_> = (sent..sent + rest.len())
        .map(|n| n.to_be_bytes().to_vec())
        .collect();
    assert_eq!(next, expected);
    assert_eq!(tx.tx_burst(&mut rest), 0, "a full ring takes nothing");

    let mut received = 0_usize;
    loop {
        let frames = receive(&mut rx, 48);
        if frames.is_empty() {
            break;
        }
        for frame in &frames {
            assert_eq!(frame.head(), received.to_be_bytes());
            received += 1;
        }
    }
    assert_eq!(received, sent);
}

#[test]
fn a_burst_is_appended_and_never_larger_than_asked_for_or_than_fits() {
    let bench = Bench::new("ring_burst", 511);
    let mut port = bench.port("net_ring_burst");
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    for _ in 0..3 {
        send(&mut tx, (0..MAX_BURST).map(|_| bench.frame(b"x")));
    }
    use vswitch::io::RxQueue;
    let mut frames = Frames::new();
    assert_eq!(rx.rx_burst(&mut frames, 5), 5);
    assert_eq!(rx.rx_burst(&mut frames, usize::MAX), MAX_BURST - 5);
    assert_eq!(rx.rx_burst(&mut frames, 1), 0, "no room left");
    assert_eq!(frames.len(), MAX_BURST);
    Frame::free_all(&mut frames);
    assert!(frames.is_empty());
    while rx.rx_burst(&mut frames, MAX_BURST) > 0 {
        frames.clear();
    }
}

#[test]
fn each_queue_of_a_port_is_a_ring_of_its_own() {
    let bench = Bench::new("ring_queues", 255);
    let config = PortConfig {
        rxq: 2,
        txq: 2,
        ..PortConfig::default()
    };
    let mut port = bench.port_with("net_ring_queues", &config);
    let mut tx = port.take_tx(1).unwrap();
    send(&mut tx, [bench.frame(b"queue 1")]);
    assert!(receive(&mut port.take_rx(0).unwrap(), MAX_BURST).is_empty());
    assert_eq!(receive(&mut port.take_rx(1).unwrap(), MAX_BURST).len(), 1);
}
