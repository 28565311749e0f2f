// SPDX-License-Identifier: MIT
//! [`VhostRx`] and [`VhostTx`]: the two ends of a pair of virtqueues. The library copies frames from and to the guest's memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_utils::CachePadded;

use super::ring::Ring;
use super::socket::Socket;
use crate::dpdk::mbuf::Mbuf;
use crate::dpdk::pool::Mempool;
use crate::dpdk::sys;
use crate::io::{Finishes, Frame, Frames, RxQueue, TxQueue};

/// Frames that the library moves in one call at most (MAX_PKT_BURST).
const CALL: usize = 32;

/// Polls that a queue sits out when it was empty for long: a look into a guest's memory costs as much as a packet's whole way,
/// and there may be hundreds of guests, of which few send. It is looked at each 13th time then, which has nothing in common with
/// the rounds that are timed ([`ROUNDS_PER_TIMED`](crate::counters::ROUNDS_PER_TIMED)).
const MOST_SKIPPED: u16 = 12;

/// How often it has to be empty for each of these.
const IN_VAIN: u16 = 16;

/// What the guest sends by one virtqueue.
#[derive(Debug)]
pub struct VhostRx {
    ring: Arc<CachePadded<Ring>>,
    /// Polls to sit out.
    skip: u16,
    /// Looks in vain since something came, up to a bound.
    vain: u16,
    /// The last burst had unfinished frames.
    found: bool,
    queue: u16,
    pool: Mempool,
    _lease: Arc<()>,
    _socket: Arc<Socket>,
}

impl VhostRx {
    pub(super) fn new(socket: &Arc<Socket>, lease: Arc<()>, queue: u16, pool: Mempool) -> Self {
        let queue = queue * 2 + 1;
        Self {
            ring: Arc::clone(&socket.state.rings[usize::from(queue)]),
            skip: 0,
            vain: 0,
            found: false,
            queue,
            pool,
            _lease: lease,
            _socket: Arc::clone(socket),
        }
    }

    fn dequeue(&mut self, into: &mut Frames<Mbuf>, max: usize) -> usize {
        let Some(inside) = self.ring.enter() else {
            return 0;
        };
        let held = into.len();
        let most = max.min(into.remaining_capacity());
        let mut received = 0;
        while received < most {
            let count = CALL.min(most - received);
            // SAFETY: at most one past the end of the vector's array.
            let free = unsafe { into.as_mut_ptr().add(held + received) };
            // `Mbuf` is a transparent `rte_mbuf *`.
            let free = free.cast::<*mut sys::rte_mbuf>();
            // SAFETY: the guest stays while a worker is inside, and no other worker has this ring; it has the ring, since it
            // has enabled it. `count` places are free there. The pool outlives the frames.
            let got = usize::from(unsafe {
                sys::rte_vhost_dequeue_burst(
                    inside.guest(),
                    self.queue,
                    self.pool.as_ptr(),
                    free,
                    count as u16,
                )
            });
            received += got;
            if got < count {
                break;
            }
        }
        drop(inside);
        // SAFETY: the library wrote that many mbufs behind the others and gave them away.
        unsafe { into.set_len(held + received) };
        let frames = &mut into[held..];
        self.found = Mbuf::find_unfinished(frames);
        (self.ring).count(received, frames.iter().map(Frame::len).sum());
        received
    }
}

impl RxQueue for VhostRx {
    type Frame = Mbuf;

    #[inline]
    fn rx_burst(&mut self, into: &mut Frames<Mbuf>, max: usize) -> usize {
        if self.skip > 0 {
            self.skip -= 1;
            return 0;
        }
        let received = self.dequeue(into, max);
        self.vain = match received {
            0 => (self.vain + 1).min(MOST_SKIPPED * IN_VAIN),
            _ => 0,
        };
        self.skip = self.vain / IN_VAIN;
        received
    }

    #[inline]
    fn brought_unfinished(&self) -> bool {
        self.found
    }

    fn after_sleep(&mut self) {
        self.skip = 0;
    }
}

/// What the guest receives by one virtqueue.
#[derive(Debug)]
pub struct VhostTx {
    ring: Arc<CachePadded<Ring>>,
    queue: u16,
    /// Checksums and segments may be left to the guest, if it takes that.
    leaves: bool,
    _lease: Arc<()>,
    socket: Arc<Socket>,
}

impl VhostTx {
    pub(super) fn new(socket: &Arc<Socket>, lease: Arc<()>, queue: u16, leaves: bool) -> Self {
        let queue = queue * 2;
        Self {
            ring: Arc::clone(&socket.state.rings[usize::from(queue)]),
            queue,
            leaves,
            _lease: lease,
            socket: Arc::clone(socket),
        }
    }

    /// How many frames from the front the guest takes as they are: all, unless what was left to it is left to its successor,
    /// who takes less.
    fn acceptable(&self, frames: &Frames<Mbuf>) -> usize {
        if self.socket.state.features.load(Relaxed) & sys::ALKAID_GUEST_CSUM != 0 {
            return frames.len();
        }
        let is_left = |frame: &Mbuf| frame.flags() & sys::ALKAID_TX_L4_MASK != 0;
        frames.iter().position(is_left).unwrap_or(frames.len())
    }
}

impl TxQueue for VhostTx {
    type Frame = Mbuf;

    fn tx_burst(&mut self, frames: &mut Frames<Mbuf>) -> usize {
        let Some(inside) = self.ring.enter() else {
            return 0;
        };
        let most = self.acceptable(frames);
        let mut sent = 0;
        while sent < most {
            let count = CALL.min(most - sent);
            // SAFETY: inside of the vector's array.
            let first = unsafe { frames.as_mut_ptr().add(sent) };
            // SAFETY: the guest stays while a worker is inside, and no other worker has this ring; it has the ring, since it
            // has enabled it. `count` mbufs are there, which the library reads, and leaves to us.
            let taken = usize::from(unsafe {
                sys::rte_vhost_enqueue_burst(inside.guest(), self.queue, first.cast(), count as u16)
            });
            sent += taken;
            if taken < count {
                break;
            }
        }
        drop(inside);
        let bytes = frames[..sent].iter().map(Frame::len).sum();
        self.ring.count(sent, bytes);
        if sent == frames.len() {
            Mbuf::free_all(frames);
        } else {
            let mut copied: Frames<Mbuf> = frames.drain(..sent).collect();
            Mbuf::free_all(&mut copied);
        }
        sent
    }

    fn finishes(&self) -> Finishes {
        if self.leaves {
            self.socket.state.finishes()
        } else {
            Finishes::default()
        }
    }
}
