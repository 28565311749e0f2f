// SPDX-License-Identifier: MIT
//! [`PortRx`] and [`PortTx`]: the two ends of a queue, whatever is behind its port.

use super::queue::{EthdevRx, EthdevTx};
use crate::dpdk::mbuf::Mbuf;
use crate::dpdk::vhost::{VhostRx, VhostTx};
use crate::io::{Finishes, Frames, RxQueue, TxQueue};

/// The receiving end of one queue, see [`super::Port::take_rx`].
#[derive(Debug)]
pub enum PortRx {
    /// Of a driver's.
    Ethdev(EthdevRx),
    /// Of a guest behind a socket.
    Vhost(VhostRx),
}

impl RxQueue for PortRx {
    type Frame = Mbuf;

    #[inline]
    fn rx_burst(&mut self, into: &mut Frames<Mbuf>, max: usize) -> usize {
        match self {
            Self::Ethdev(queue) => queue.rx_burst(into, max),
            Self::Vhost(queue) => queue.rx_burst(into, max),
        }
    }

    #[inline]
    fn brought_unfinished(&self) -> bool {
        match self {
            Self::Ethdev(queue) => queue.brought_unfinished(),
            Self::Vhost(queue) => queue.brought_unfinished(),
        }
    }

    fn after_sleep(&mut self) {
        match self {
            Self::Ethdev(queue) => queue.after_sleep(),
            Self::Vhost(queue) => queue.after_sleep(),
        }
    }
}

/// The sending end of one queue, see [`super::Port::take_tx`].
#[derive(Debug)]
pub enum PortTx {
    /// Of a driver's.
    Ethdev(EthdevTx),
    /// Of a guest behind a socket.
    Vhost(VhostTx),
}

impl TxQueue for PortTx {
    type Frame = Mbuf;

    #[inline]
    fn tx_burst(&mut self, frames: &mut Frames<Mbuf>) -> usize {
        match self {
            Self::Ethdev(queue) => queue.tx_burst(frames),
            Self::Vhost(queue) => queue.tx_burst(frames),
        }
    }

    fn finishes(&self) -> Finishes {
        match self {
            Self::Ethdev(queue) => queue.finishes(),
            Self::Vhost(queue) => queue.finishes(),
        }
    }

    #[inline]
    fn is_open(&self) -> bool {
        match self {
            Self::Ethdev(queue) => queue.is_open(),
            Self::Vhost(queue) => queue.is_open(),
        }
    }
}
