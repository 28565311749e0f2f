// SPDX-License-Identifier: MIT
//! What each test stands on: DPDK started once, a registered thread, a mempool that is full again at the end.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use vswitch::dpdk::{Eal, LcoreGuard, Mbuf, Mempool, Port, PortConfig, PortRx, PortTx};
use vswitch::io::{Frames, RxQueue, TxQueue};

/// Bytes per buffer: headroom and a full Ethernet frame.
pub(crate) const DATA_ROOM: u16 = 128 + 2048;

/// EAL arguments of a test: little memory, no devices of the machine, no files that another process has.
pub(crate) fn arguments() -> Vec<String> {
    let prefix = format!("--file-prefix=alkaid-test-{}", std::process::id());
    let args = [
        "-l",
        "0",
        "-m",
        "256",
        "--no-huge",
        "--no-pci",
        "--no-shconf",
        "--no-telemetry",
        &prefix,
    ];
    args.map(str::to_owned).to_vec()
}

/// Starts DPDK, with `more` arguments than usual. Removes the run-time folder that DPDK leaves behind, empty, where root's are.
pub(crate) fn start(more: &[&str]) -> Eal {
    let mut args = arguments();
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    let eal = Eal::init(&args).unwrap();
    let _ = std::fs::remove_dir(format!("/var/run/dpdk/alkaid-test-{}", std::process::id()));
    eal
}

/// DPDK, started by the first test that asks for it.
pub(crate) fn eal() -> Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    // On a thread of its own: the one that starts DPDK is registered for good.
    EAL.get_or_init(|| thread::spawn(|| start(&[])).join().unwrap())
        .clone()
}

/// A test's bench.
pub(crate) struct Bench {
    pub(crate) pool: Mempool,
    pub(crate) eal: Eal,
    _lcore: LcoreGuard,
}

impl Bench {
    /// `name` is the test's own; `count` buffers.
    pub(crate) fn new(name: &str, count: u32) -> Self {
        Self::with_room(name, count, DATA_ROOM)
    }

    /// The same with buffers of `data_room` bytes, headroom included.
    pub(crate) fn with_room(name: &str, count: u32, data_room: u16) -> Self {
        let eal = eal();
        let _lcore = eal.register_thread().unwrap();
        let pool = Mempool::new(&eal, name, count, 32, data_room, None).unwrap();
        Self { pool, eal, _lcore }
    }

    /// Attaches, configures and starts a device of one port.
    pub(crate) fn port(&self, devargs: &str) -> Port {
        self.port_with(devargs, &PortConfig::default())
    }

    pub(crate) fn port_with(&self, devargs: &str, config: &PortConfig) -> Port {
        let mut ports = Port::attach(&self.eal, devargs).unwrap();
        assert_eq!(ports.len(), 1);
        let mut port = ports.remove(0);
        port.configure(config, &self.pool).unwrap();
        port.start().unwrap();
        port
    }

    /// Configures a port, which is refused in words that have all of these.
    #[track_caller]
    pub(crate) fn expect_refusal(&self, port: &mut Port, config: &PortConfig, words: &[&str]) {
        let error = port.configure(config, &self.pool).unwrap_err().to_string();
        assert!(words.iter().all(|it| error.contains(it)), "{error}");
    }

    /// A frame of these bytes.
    pub(crate) fn frame(&self, bytes: &[u8]) -> Mbuf {
        let mut frame = self.pool.alloc().unwrap();
        assert!(frame.append(bytes));
        frame
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_eq!(self.pool.in_use(), 0, "frames are not back in the mempool");
        }
    }
}

/// Writes `frames` into a new capture file.
pub(crate) fn write_pcap(path: &Path, frames: &[Vec<u8>]) {
    let mut writer = PcapWriter::new(File::create(path).unwrap()).unwrap();
    for frame in frames {
        let length = frame.len() as u32;
        writer
            .write_packet(&PcapPacket::new(Duration::ZERO, length, frame))
            .unwrap();
    }
}

/// The frames of a capture file.
pub(crate) fn read_pcap(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        frames.push(packet.unwrap().data.into_owned());
    }
    frames
}

/// `length` bytes that differ from their neighbors and from those of another `seed`.
pub(crate) fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at * 31 + seed * 7 + (at >> 8)) as u8)
        .collect()
}

/// Receives one burst.
pub(crate) fn receive(rx: &mut PortRx, max: usize) -> Frames<Mbuf> {
    let mut frames = Frames::new();
    let received = rx.rx_burst(&mut frames, max);
    assert_eq!(received, frames.len());
    frames
}

/// Sends all, which must be possible.
pub(crate) fn send(tx: &mut PortTx, frames: impl IntoIterator<Item = Mbuf>) {
    let mut frames: Frames<Mbuf> = frames.into_iter().collect();
    tx.tx_burst(&mut frames);
    assert!(frames.is_empty());
}
