// SPDX-License-Identifier: MIT
//! [`VhostRx`] and [`VhostTx`]: the two ends of a pair of virtqueues.
//!
//! Frames that are in few buffers, fit one of ours, and of which nothing is left to do but a checksum, are copied from and to the
//! guest's memory here ([`direct`]); all others by the library. It keeps how far a ring was served, and wakes the guest, in either case.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_utils::CachePadded;

use super::checksum::Left;
use super::ring::{Inside, Ring};
use super::socket::Socket;
use super::split::{Buffer, Buffers, Split, Undone, Writer};
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
const IN_VAIN: u16 = 4;

/// Frames that were moved without the library.
struct Moved {
    frames: usize,
    /// What comes next is the library's to move.
    unusual: bool,
}

/// Which of the entries that a ring ever had are next.
#[derive(Default)]
struct Next {
    available: u16,
    used: u16,
}

/// Moves frames without the library, which then is where it would have been if it had moved them.
#[inline]
fn direct(inside: &Inside<'_>, queue: u16, work: impl FnOnce(&Split, &Next) -> Moved) -> Moved {
    let guest = inside.guest();
    let moved = inside.direct(|split| {
        let mut next = Next::default();
        // SAFETY: the guest stays while a worker is inside; the numbers are ours.
        unsafe {
            sys::rte_vhost_get_vring_base(guest, queue, &raw mut next.available, &raw mut next.used)
        };
        let moved = work(split, &next);
        if moved.frames > 0 {
            let on = moved.frames as u16; // a burst
            let (available, used) = (next.available.wrapping_add(on), next.used.wrapping_add(on));
            // SAFETY: as above. Nobody else has this ring, and the library's thread waits until this is done.
            unsafe { sys::rte_vhost_set_vring_base(guest, queue, available, used) };
        }
        moved
    });
    let moved = moved.unwrap_or(Moved {
        frames: 0,
        unusual: true,
    });
    if moved.frames > 0 {
        // SAFETY: as above. The ring may have gone meanwhile, which the library looks for under its lock (since 22.11.11 at the
        // latest, which `build/dpdk.rs` asks for).
        unsafe { sys::rte_vhost_vring_call(guest, queue) };
    }
    moved
}

/// Takes frames that the guest sends, `most` at most, each into a buffer that has room for so many bytes.
#[inline]
fn receive(
    split: &Split,
    next: &Next,
    (pool, room): (&Mempool, usize),
    into: &mut Frames<Mbuf>,
    most: usize,
) -> Moved {
    let mut buffers = Buffers::new();
    let all = split.available(next.available, most, Writer::Guest, &mut buffers);
    let is_simple = |buffer: &&Buffer| {
        split.undone(buffer) != Undone::More && split.len(buffer).is_some_and(|len| len <= room)
    };
    let simple = buffers.iter().take_while(is_simple).count();
    let (held, mut done) = (into.len(), 0);
    if simple > 0 && pool.alloc_burst(into, simple) {
        let both = buffers.iter().zip(&mut into[held..]);
        let copied = both.map(|(buffer, frame)| copy(split, buffer, frame));
        done = copied.take_while(|copied| *copied).count();
        into.truncate(held + done);
        split.give_back(next.used, buffers[..done].iter().map(Buffer::emptied));
    }
    Moved {
        frames: done,
        unusual: !all || done < buffers.len(),
    }
}

/// Copies what the guest sends into an empty frame. False: it is not as simple.
#[inline]
fn copy(split: &Split, buffer: &Buffer, frame: &mut Mbuf) -> bool {
    // SAFETY: so many bytes are in the guest's memory there.
    let is_whole = split.take(buffer, |bytes| unsafe {
        frame.append_from(bytes.start, bytes.len)
    });
    is_whole
        && match split.undone(buffer) {
            Undone::Nothing => frame.len() > 0,
            // The switch, too, finds it by the frame.
            Undone::Checksum(left) if Left::of(frame.head()) == Some(left) => {
                frame.set_checksum_left();
                true
            }
            // In a tunnel of the guest's, perhaps.
            Undone::Checksum(left) => left.make(frame.head_mut()),
            Undone::More => false,
        }
}

/// Copies frames, from the front, for the guest to receive.
#[inline]
fn send(split: &Split, next: &Next, frames: &[Mbuf]) -> Moved {
    let simple = frames.iter().take_while(|frame| frame.is_simple()).count();
    let mut buffers = Buffers::new();
    let all = split.available(next.available, simple, Writer::Host, &mut buffers);
    let both = || buffers.iter().zip(frames);
    let put = |(buffer, frame): (_, &Mbuf)| split.put(buffer, frame.head(), Left::in_frame(frame));
    let done = both().map(put).take_while(|put| *put).count();
    let filled = |(buffer, frame): (_, &Mbuf)| split.filled(buffer, frame.len());
    split.give_back(next.used, both().take(done).map(filled));
    Moved {
        frames: done,
        unusual: !all || done < buffers.len() || done == simple && simple < frames.len(),
    }
}

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
    /// Bytes of a frame that one buffer of the pool holds.
    room: usize,
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
            room: pool.frame_room().into(),
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
        let moved = direct(&inside, self.queue, |split, next| {
            receive(split, next, (&self.pool, self.room), into, most)
        });
        if moved.frames == 0 && (moved.unusual || self.ring.announces()) {
            self.dequeue_by_library(&inside, into, most);
            if into.len() > held {
                self.ring.announce(false);
            }
        }
        drop(inside);
        let frames = &mut into[held..];
        self.found = Mbuf::find_unfinished(frames);
        (self.ring).count(frames.len(), frames.iter().map(Frame::len).sum());
        frames.len()
    }

    fn dequeue_by_library(&self, inside: &Inside<'_>, into: &mut Frames<Mbuf>, most: usize) {
        let held = into.len();
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
        // SAFETY: the library wrote that many mbufs behind the others and gave them away.
        unsafe { into.set_len(held + received) };
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

    /// Frames from the front that were copied.
    fn enqueue_by_library(&self, inside: &Inside<'_>, frames: &mut [Mbuf]) -> usize {
        let mut sent = 0;
        for frames in frames.chunks_mut(CALL) {
            let count = frames.len() as u16; // at most `CALL`
            // SAFETY: the guest stays while a worker is inside, and no other worker has this ring; it has the ring, since it
            // has enabled it. `count` mbufs are there, which the library reads, and leaves to us.
            let taken = unsafe {
                sys::rte_vhost_enqueue_burst(
                    inside.guest(),
                    self.queue,
                    frames.as_mut_ptr().cast(),
                    count,
                )
            };
            sent += usize::from(taken);
            if taken < count {
                break;
            }
        }
        sent
    }
}

impl TxQueue for VhostTx {
    type Frame = Mbuf;

    fn tx_burst(&mut self, frames: &mut Frames<Mbuf>) -> usize {
        let Some(inside) = self.ring.enter() else {
            return 0;
        };
        let most = self.acceptable(frames);
        let moved = direct(&inside, self.queue, |split, next| {
            send(split, next, &frames[..most])
        });
        let mut sent = moved.frames;
        if moved.unusual {
            sent += self.enqueue_by_library(&inside, &mut frames[sent..most]);
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

    #[inline]
    fn is_open(&self) -> bool {
        self.ring.has_guest()
    }
}
