// SPDX-License-Identifier: MIT
//! What each test stands on: DPDK started once, a registered thread, a mempool that is full again at the end.

use std::sync::OnceLock;
use std::thread;

use vswitch::dpdk::{Eal, LcoreGuard, Mbuf, Mempool, Port, PortConfig, PortRx, PortTx};
use vswitch::io::{Frames, RxQueue, TxQueue};

/// Bytes per buffer: headroom and a full Ethernet frame.
pub(crate) const DATA_ROOM: u16 = 128 + 2048;

pub(crate) fn eal() -> Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        let prefix = format!("--file-prefix=alkaid-test-{}", std::process::id());
        let args = [
            "-l",
            "0",
            "-m",
            "128",
            "--no-huge",
            "--no-pci",
            "--no-shconf",
            "--no-telemetry",
            &prefix,
        ];
        let args = args.map(str::to_owned);
        // On a thread of its own: the one that starts DPDK is registered for good.
        thread::spawn(move || Eal::init(&args))
            .join()
            .unwrap()
            .unwrap()
    })
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
        let eal = eal();
        let _lcore = eal.register_thread().unwrap();
        let pool = Mempool::new(&eal, name, count, 32, DATA_ROOM, None).unwrap();
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
