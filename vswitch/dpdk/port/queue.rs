// SPDX-License-Identifier: MIT
//! [`EthdevRx`] and [`EthdevTx`]: the two ends of a queue of a driver's. One call into DPDK per burst.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::device::Device;
use crate::dpdk::mbuf::Mbuf;
use crate::dpdk::sys;
use crate::io::{Finishes, Frames, RxQueue, TxQueue};

/// The receiving end of one queue.
#[derive(Debug)]
pub struct EthdevRx {
    port: u16,
    queue: u16,
    /// The driver may hand over frames that are unfinished.
    looks: bool,
    /// It did, last time.
    found: bool,
    _lease: Arc<()>,
    _device: Arc<Device>,
}

impl EthdevRx {
    pub(super) fn new(device: Arc<Device>, lease: Arc<()>, queue: u16, looks: bool) -> Self {
        Self {
            port: device.id(),
            queue,
            looks,
            found: false,
            _lease: lease,
            _device: device,
        }
    }
}

impl RxQueue for EthdevRx {
    type Frame = Mbuf;

    #[inline]
    fn rx_burst(&mut self, into: &mut Frames<Mbuf>, max: usize) -> usize {
        let held = into.len();
        let most = max.min(into.remaining_capacity());
        // SAFETY: at most one past the end of the vector's array.
        let free = unsafe { into.as_mut_ptr().add(held) };
        // `Mbuf` is a transparent `rte_mbuf *`.
        let free = free.cast::<*mut sys::rte_mbuf>();
        // SAFETY: the queue exists and its port is started while its lease is out, and nobody else polls it.
        // `most` places are free there, and fit u16: the vector holds MAX_BURST at most.
        let received =
            usize::from(unsafe { sys::alkaid_rx_burst(self.port, self.queue, free, most as u16) });
        // SAFETY: DPDK wrote that many mbufs behind the others and gave them away.
        unsafe { into.set_len(held + received) };
        if self.looks {
            self.found = Mbuf::find_unfinished(&mut into[held..]);
        }
        received
    }

    #[inline]
    fn brought_unfinished(&self) -> bool {
        self.found
    }
}

/// The sending end of one queue.
#[derive(Debug)]
pub struct EthdevTx {
    port: u16,
    queue: u16,
    /// The driver takes frames of several segments. If not, they are moved into one before.
    chains: bool,
    finishes: Finishes,
    _lease: Arc<()>,
    device: Arc<Device>,
}

impl EthdevTx {
    pub(super) fn new(
        device: Arc<Device>,
        lease: Arc<()>,
        queue: u16,
        chains: bool,
        finishes: Finishes,
    ) -> Self {
        Self {
            port: device.id(),
            queue,
            chains,
            finishes,
            _lease: lease,
            device,
        }
    }

    /// Gives the first `count` frames to the driver.
    #[inline(always)]
    fn send(&mut self, frames: &mut Frames<Mbuf>, count: usize) -> usize {
        let held = frames.len();
        debug_assert!(count <= held);
        let first = frames.as_mut_ptr();
        // SAFETY: the queue exists and its port is started while its lease is out, and nobody else feeds it.
        // `count` mbufs are there, and fit u16. Those accepted are the driver's.
        let sent =
            unsafe { sys::alkaid_tx_burst(self.port, self.queue, first.cast(), count as u16) };
        let sent = usize::from(sent);
        let left = held - sent;
        // SAFETY: the vector forgets all its frames; the accepted ones are not its own any more.
        unsafe { frames.set_len(0) };
        if left > 0 {
            // SAFETY: inside of the vector's array.
            let rest = unsafe { first.add(sent) };
            // SAFETY: `left` frames from there, which move to the front of the same array.
            unsafe { std::ptr::copy(rest, first, left) };
            // SAFETY: just moved there.
            unsafe { frames.set_len(left) };
        }
        sent
    }

    /// Puts each frame into one segment. Those that do not fit go behind the others; returns how many others.
    #[cold]
    fn linearize(&mut self, frames: &mut Frames<Mbuf>) -> usize {
        let mut too_long = Frames::new();
        let mut fit = Frames::new();
        for mut frame in frames.drain(..) {
            if frame.segments() == 1 || frame.linearize() {
                fit.push(frame)
            } else {
                too_long.push(frame)
            }
        }
        let count = fit.len();
        self.device
            .unsendable
            .fetch_add(too_long.len() as u64, Relaxed);
        frames.extend(fit.into_iter().chain(too_long));
        count
    }
}

impl TxQueue for EthdevTx {
    type Frame = Mbuf;

    /// Besides what a full ring refuses, frames that do not fit one buffer remain, last, if the driver does not
    /// take several; they are counted as `unsendable`.
    #[inline]
    fn tx_burst(&mut self, frames: &mut Frames<Mbuf>) -> usize {
        let mut count = frames.len();
        if !self.chains && frames.iter().any(|frame| frame.segments() > 1) {
            count = self.linearize(frames);
        }
        self.send(frames, count)
    }

    fn finishes(&self) -> Finishes {
        self.finishes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::{Eal, Mempool, Port, PortConfig, PortTx};
    use crate::io::Frame;

    /// Starts DPDK, which is possible once: the other tests over devices are in `tests/dpdk.rs`. This one is here
    /// since no virtual device that runs anywhere takes one segment only.
    #[test]
    fn a_driver_that_takes_one_segment_gets_one_and_the_rest_stays_last() {
        let prefix = format!("--file-prefix=alkaid-unit-{}", std::process::id());
        let args = [
            "-l",
            "0",
            "-m",
            "64",
            "--no-huge",
            "--no-pci",
            "--no-shconf",
            "--no-telemetry",
            &prefix,
        ];
        let eal = Eal::init(&args.map(str::to_owned)).unwrap();
        let pool = Mempool::new(&eal, "linearize", 63, 0, 128 + 1000, None).unwrap();
        let mut port = Port::attach(&eal, "net_ring_line").unwrap().remove(0);
        port.configure(&PortConfig::default(), &pool).unwrap();
        port.start().unwrap();
        let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
        let PortTx::Ethdev(ethdev) = &mut tx else {
            panic!("not a driver's");
        };
        ethdev.chains = false;

        let frame = |parts: &[&[u8]]| {
            let mut segments = parts.iter().map(|part| {
                let mut segment = pool.alloc().unwrap();
                assert!(segment.append(part));
                segment
            });
            let first = segments.next().unwrap();
            segments.fold(first, Mbuf::chained)
        };
        let mut burst = Frames::new();
        burst.push(frame(&[b"one"]));
        burst.push(frame(&[&[1; 800], &[2; 800]]));
        burst.push(frame(&[b"se", b"ver", b"al"]));
        assert_eq!(tx.tx_burst(&mut burst), 2);
        assert_eq!(
            (burst.len(), burst[0].len(), burst[0].segments()),
            (1, 1600, 2)
        );
        assert_eq!(port.stats().tx_unsendable, 1);

        let mut received = Frames::new();
        rx.rx_burst(&mut received, 8);
        assert_eq!(
            received.iter().map(Frame::head).collect::<Vec<_>>(),
            [&b"one"[..], b"several"]
        );
        drop((burst, received));
        assert_eq!(pool.in_use(), 0);
    }
}
