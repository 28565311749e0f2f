// SPDX-License-Identifier: MIT
//! net_pcap: capture files as ports.

use std::path::{Component, Path, PathBuf};

use vswitch::dpdk::{Mbuf, PortConfig};
use vswitch::io::{Frame, Frames, MAX_BURST, RxQueue, TxQueue};

use crate::bench::{Bench, pattern, read_pcap, receive, send, write_pcap};

fn lengths(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| pattern(n, 60 + n * 3)).collect()
}

#[test]
fn a_capture_file_is_received_frame_by_frame() {
    let bench = Bench::new("pcap_in", 255);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.pcap");
    let frames = lengths(100);
    write_pcap(&file, &frames);
    let mut port = bench.port(&format!("net_pcap_in,rx_pcap={}", file.display()));
    let mut rx = port.take_rx(0).unwrap();
    let mut received = Vec::new();
    loop {
        let burst = receive(&mut rx, 32);
        if burst.is_empty() {
            break;
        }
        received.extend(burst.iter().map(Mbuf::to_vec));
    }
    assert_eq!(received, frames);
    let stats = port.stats();
    let bytes: usize = frames.iter().map(Vec::len).sum();
    assert_eq!((stats.rx_packets, stats.rx_bytes), (100, bytes as u64));
    port.clear_stats();
    assert_eq!(port.stats(), Default::default());
}

#[test]
fn sent_frames_are_in_the_capture_file_when_the_port_is_gone() {
    let bench = Bench::new("pcap_out", 255);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.pcap");
    let mut port = bench.port(&format!("net_pcap_out,tx_pcap={}", file.display()));
    let mut tx = port.take_tx(0).unwrap();
    let frames = lengths(50);
    send(&mut tx, frames.iter().map(|bytes| bench.frame(bytes)));
    assert_eq!(port.stats().tx_packets, 50);
    drop((port, tx));
    assert_eq!(read_pcap(&file), frames);
}

#[test]
fn jumbo_frames_pass_from_file_to_file() {
    let bench = Bench::new("pcap_jumbo", 255);
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (
        folder.path().join("in.pcap"),
        folder.path().join("out.pcap"),
    );
    let frames: Vec<_> = [64, 2048, 2049, 4096, 9014]
        .map(|length| pattern(length, length))
        .to_vec();
    write_pcap(&from, &frames);
    let devargs = format!(
        "net_pcap_jumbo,rx_pcap={},tx_pcap={}",
        from.display(),
        to.display()
    );
    let mut port = bench.port_with(
        &devargs,
        &PortConfig {
            mtu: Some(9000),
            ..PortConfig::default()
        },
    );
    assert_eq!(port.mtu(), 9000);
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let mut burst = receive(&mut rx, MAX_BURST);
    assert_eq!(
        burst.iter().map(Mbuf::segments).collect::<Vec<_>>(),
        [1, 1, 2, 2, 5]
    );
    tx.tx_burst(&mut burst);
    assert!(burst.is_empty());
    assert_eq!(port.stats().tx_unsendable, 0);
    drop((port, rx, tx));
    assert_eq!(read_pcap(&to), frames);
}

#[test]
fn an_mtu_is_no_error_for_devices_that_have_none() {
    let bench = Bench::new("mtu", 127);
    for device in ["net_null_mtu", "net_ring_mtu"] {
        let config = PortConfig {
            mtu: Some(9000),
            ..PortConfig::default()
        };
        assert_eq!(bench.port_with(device, &config).mtu(), 9000, "{device}");
    }
}

#[test]
fn infinite_rx_repeats_the_file() {
    let bench = Bench::new("pcap_infinite", 1023);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.pcap");
    let frames = lengths(10);
    write_pcap(&file, &frames);
    let mut port = bench.port(&format!(
        "net_pcap_infinite,rx_pcap={},infinite_rx=1",
        file.display()
    ));
    let mut rx = port.take_rx(0).unwrap();
    for round in 0..100 {
        let burst = receive(&mut rx, 10);
        let received: Vec<_> = burst.iter().map(Mbuf::to_vec).collect();
        assert_eq!(received, frames, "round {round}");
    }
}

#[test]
fn several_files_are_several_queues() {
    let bench = Bench::new("pcap_queues", 255);
    let folder = tempfile::tempdir().unwrap();
    let files = ["a.pcap", "b.pcap"].map(|name| folder.path().join(name));
    write_pcap(&files[0], &[pattern(0, 60)]);
    write_pcap(&files[1], &[pattern(1, 61), pattern(2, 62)]);
    let devargs = format!(
        "net_pcap_queues,rx_pcap={},rx_pcap={}",
        files[0].display(),
        files[1].display()
    );
    let mut port = bench.port_with(
        &devargs,
        &PortConfig {
            rxq: 2,
            ..PortConfig::default()
        },
    );
    let (mut first, mut second) = (port.take_rx(0).unwrap(), port.take_rx(1).unwrap());
    assert_eq!(receive(&mut first, MAX_BURST).len(), 1);
    assert_eq!(receive(&mut second, MAX_BURST).len(), 2);
}

#[test]
fn file_names_may_be_relative_to_the_working_directory() {
    let bench = Bench::new("pcap_relative", 127);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.pcap");
    write_pcap(&file, &lengths(1));
    let relative = relative_to_here(&file);
    let mut port = bench.port(&format!("net_pcap_relative,rx_pcap={}", relative.display()));
    assert_eq!(receive(&mut port.take_rx(0).unwrap(), MAX_BURST).len(), 1);
}

/// The path from the working directory to `path`.
fn relative_to_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap();
    let up = here
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .map(|_| "..");
    up.collect::<PathBuf>()
        .join(path.strip_prefix("/").unwrap())
}

#[test]
fn an_exhausted_mempool_is_counted_and_receiving_recovers() {
    let bench = Bench::new("pcap_nombuf", 63);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.pcap");
    write_pcap(&file, &lengths(300));
    let mut port = bench.port(&format!("net_pcap_nombuf,rx_pcap={}", file.display()));
    let mut rx = port.take_rx(0).unwrap();
    let mut held = Frames::<Mbuf>::new();
    assert_eq!(rx.rx_burst(&mut held, MAX_BURST), 63, "all there are");
    for _ in 0..10 {
        assert_eq!(rx.rx_burst(&mut held, 1), 0);
    }
    assert_eq!(bench.pool.available(), 0);
    assert!(bench.pool.alloc().is_none());
    let lost = port.stats().rx_nombuf;
    assert!(lost >= 10, "{lost}");
    Mbuf::free_all(&mut held);

    let mut received = 63;
    loop {
        let burst = receive(&mut rx, 16);
        if burst.is_empty() {
            break;
        }
        received += burst.len() as u64;
    }
    assert_eq!(received + lost, 300);
}
