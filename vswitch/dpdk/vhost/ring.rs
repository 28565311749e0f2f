// SPDX-License-Identifier: MIT
//! [`Ring`]: one virtqueue of a port, between the worker that uses it and the threads of DPDK's vhost library, which give
//! guests to it and take them away.
//!
//! # Contract
//!
//! * One worker at a time calls [`Ring::enter`]. It never waits.
//! * [`Ring::give`] and [`Ring::take`] are for whoever holds the socket's lock. They wait for nobody.
//! * After `take`, [`Ring::wait`] returns when no worker is in the guest's memory any more, and none comes in again.
//! * A worker that has entered calls the library, or is in the guest's memory by itself, in [`Inside::direct`], and then takes no
//!   lock. [`Ring::open`] lets it do so, and [`Ring::close`] returns when no worker is at it any more, and none begins: both for
//!   whoever holds the socket's lock.
//!
//! The proof: a worker first says that it is busy, then looks whether there is a guest; who takes the guest away first does
//! that, then looks whether the worker is busy. All four are sequentially consistent, so at least one of the two sees what the
//! other did: the worker finds no guest, or it is waited for. The end of its work is a release that the wait acquires. The same
//! holds for what is open. (net_vhost does the same without the order between its store and its load, which a CPU may exchange.)

use std::cell::UnsafeCell;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU64,
    Ordering::{Relaxed, Release, SeqCst},
};
use std::time::{Duration, Instant};

use super::split::Split;

/// No guest: the library's numbers of guests are not negative.
pub(super) const NOBODY: i32 = -1;

/// Where the worker is: not in the guest's memory, in it by the library, in it by itself.
const AWAY: u8 = 0;
const BY_LIBRARY: u8 = 1;
const DIRECT: u8 = 2;

/// How often a wait looks before it sleeps: a burst takes microseconds.
const SPINS: u32 = 1000;

/// How long it sleeps then: the worker's thread has no CPU.
const NAP: Duration = Duration::from_micros(50);

/// After so long somebody should know: the thread that waits serves all guests.
pub(super) const LATE: Duration = Duration::from_secs(1);

/// One virtqueue.
#[derive(Debug)]
pub(super) struct Ring {
    /// The guest whose memory may be used; [`NOBODY`].
    guest: AtomicI32,
    /// [`AWAY`] and so on.
    worker: AtomicU8,
    /// `split` can be used.
    open: AtomicBool,
    /// Written while it is closed, by who holds the socket's lock; read by the worker while it is open.
    split: UnsafeCell<Option<Split>>,
    /// The library has a frame for the worker that is in no guest's memory: who a guest is that has moved to this host.
    announces: AtomicBool,
    /// What the worker has moved, ever.
    packets: AtomicU64,
    bytes: AtomicU64,
}

// SAFETY: `split` has a writer or a reader at a time, by the contract; it may be used by any thread.
unsafe impl Sync for Ring {}

impl Default for Ring {
    fn default() -> Self {
        Self {
            guest: AtomicI32::new(NOBODY),
            worker: AtomicU8::new(AWAY),
            open: AtomicBool::new(false),
            split: UnsafeCell::new(None),
            announces: AtomicBool::new(false),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Ring {
    /// The guest, until it is dropped; `None`: there is none.
    #[inline]
    pub(super) fn enter(&self) -> Option<Inside<'_>> {
        if !self.has_guest() {
            return None;
        }
        let way = match self.open.load(Relaxed) {
            true => DIRECT,
            false => BY_LIBRARY,
        };
        self.worker.store(way, SeqCst);
        let inside = Inside {
            ring: self,
            guest: self.guest.load(SeqCst),
        };
        (inside.guest != NOBODY).then_some(inside)
    }

    /// True while a worker that enters finds a guest.
    #[inline]
    pub(super) fn has_guest(&self) -> bool {
        self.guest.load(Relaxed) != NOBODY
    }

    /// Lets the worker use a guest's memory from now on.
    pub(super) fn give(&self, guest: i32) {
        self.guest.store(guest, SeqCst);
    }

    /// Lets it do so no more, but for what it has begun. Nothing is open any more.
    pub(super) fn take(&self) {
        self.guest.store(NOBODY, SeqCst);
        self.open.store(false, SeqCst);
    }

    /// Waits until what it has begun is done: a burst of [`MAX_BURST`](crate::io::MAX_BURST) frames at most, which is
    /// microseconds. A worker's thread that has no CPU in the midst of that is waited for as long: the memory under it cannot go.
    /// `late` is called once if that is longer than [`LATE`].
    pub(super) fn wait(&self, late: impl FnOnce()) {
        self.wait_while(|worker| worker != AWAY, late);
    }

    /// Lets the worker use the guest's memory by itself from now on.
    pub(super) fn open(&self, split: Split) {
        self.close(|| ()); // as it is, mostly
        // SAFETY: no worker reads it while it is closed, and no other writes it, by the contract.
        unsafe { *self.split.get() = Some(split) };
        self.open.store(true, SeqCst);
    }

    /// Lets it do so no more. Waits, as [`Ring::wait`], for a burst that is at it: the worker takes no lock there.
    pub(super) fn close(&self, late: impl FnOnce()) {
        self.open.store(false, SeqCst);
        self.wait_while(|worker| worker == DIRECT, late);
    }

    fn wait_while(&self, is_inside: impl Fn(u8) -> bool, late: impl FnOnce()) {
        let begun = Instant::now();
        let mut late = Some(late);
        let mut looks = 0;
        while is_inside(self.worker.load(SeqCst)) {
            looks += 1;
            match looks < SPINS {
                true => std::hint::spin_loop(),
                false => std::thread::sleep(NAP),
            }
            if begun.elapsed() > LATE
                && let Some(late) = late.take()
            {
                late();
            }
        }
    }

    /// Has the worker ask the library, also while the ring is empty.
    pub(super) fn announce(&self, announces: bool) {
        self.announces.store(announces, Relaxed);
    }

    /// Whether it has to.
    #[inline]
    pub(super) fn announces(&self) -> bool {
        self.announces.load(Relaxed)
    }

    /// The worker moved so many. It is the only writer.
    #[inline]
    pub(super) fn count(&self, packets: usize, bytes: usize) {
        let add = |counter: &AtomicU64, n| counter.store(counter.load(Relaxed) + n, Relaxed);
        add(&self.packets, packets as u64);
        add(&self.bytes, bytes as u64);
    }

    /// Packets and bytes that it moved, ever.
    pub(super) fn counted(&self) -> (u64, u64) {
        (self.packets.load(Relaxed), self.bytes.load(Relaxed))
    }
}

/// A worker is in a guest's memory.
pub(super) struct Inside<'a> {
    ring: &'a Ring,
    guest: i32,
}

impl Inside<'_> {
    /// The library's number of the guest.
    #[inline]
    pub(super) const fn guest(&self) -> i32 {
        self.guest
    }

    /// Works in the guest's memory without the library. `None`: it cannot be, now. Once for each time that it was entered.
    #[inline]
    pub(super) fn direct<T>(&self, work: impl FnOnce(&Split) -> T) -> Option<T> {
        let is_open = self.ring.worker.load(Relaxed) == DIRECT && self.ring.open.load(SeqCst);
        let done = is_open.then(|| {
            // SAFETY: while the worker says that it is here, it is not written, by the contract.
            let split = unsafe { &*self.ring.split.get() };
            split.as_ref().map(work)
        });
        self.ring.worker.store(BY_LIBRARY, Release);
        done.flatten()
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.ring.worker.store(AWAY, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::vhost::split::{Header, Parts, Region};
    use std::sync::Arc;

    #[test]
    fn without_a_guest_nobody_enters() {
        let ring = Ring::default();
        assert!(ring.enter().is_none());
        ring.give(0);
        assert_eq!(ring.enter().unwrap().guest(), 0);
        ring.take();
        assert!(ring.enter().is_none());
        ring.wait(|| panic!("nobody is in it"));
    }

    #[test]
    fn a_wait_that_takes_long_is_told_of_once() {
        let ring = Ring::default();
        ring.give(0);
        let inside = ring.enter();
        ring.take();
        let (told, seen) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let ring = &ring;
            scope.spawn(move || ring.wait(|| told.send(()).unwrap()));
            seen.recv().unwrap();
            std::thread::sleep(4 * NAP);
            assert!(seen.try_recv().is_err());
            drop(inside);
        });
    }

    /// A guest's memory is a word here that its number is written to while it is there, and another after it has gone.
    #[test]
    fn a_worker_never_sees_memory_of_a_guest_that_was_waited_for() {
        const ROUNDS: i32 = 20_000;
        let ring = Arc::new(Ring::default());
        let memory = Arc::new(AtomicI32::new(NOBODY));
        let worker = {
            let (ring, memory) = (Arc::clone(&ring), Arc::clone(&memory));
            std::thread::spawn(move || {
                let mut seen = 0;
                while seen < ROUNDS - 1 {
                    if let Some(inside) = ring.enter() {
                        for _ in 0..4 {
                            assert_eq!(memory.load(Relaxed), inside.guest());
                        }
                        seen = inside.guest();
                    }
                }
            })
        };
        for guest in 0..ROUNDS {
            memory.store(guest, Relaxed);
            ring.give(guest);
            if guest % 8 == 0 || guest == ROUNDS - 1 {
                std::thread::yield_now();
            }
            if guest < ROUNDS - 1 {
                ring.take();
                ring.wait(|| {});
                memory.store(NOBODY, Relaxed);
            }
        }
        worker.join().unwrap();
    }

    /// A virtqueue of one descriptor, for nobody to use.
    fn split() -> Split {
        let memory = Box::leak(Box::new([0_u128; 4])).as_mut_ptr();
        let at = |offset| memory.wrapping_byte_add(offset);
        let parts = Parts {
            descriptors: at(0).cast(),
            available: at(16).cast(),
            used: at(32).cast(),
            size: 1,
        };
        let region = Region {
            guest: 0,
            host: memory.cast(),
            len: 64,
        };
        let header = Header {
            is_long: true,
            counts: true,
        };
        // SAFETY: the memory is there for good.
        unsafe { Split::new(parts, header, [region].into_iter().collect()) }.unwrap()
    }

    #[test]
    fn without_the_library_a_worker_works_only_where_it_is_open_and_never_while_it_was_closed() {
        const ROUNDS: u32 = 20_000;
        let (ring, is_open) = (Ring::default(), AtomicBool::new(false));
        ring.give(0);
        assert!(ring.enter().unwrap().direct(|_| ()).is_none());
        ring.open(split());
        let inside = ring.enter().unwrap();
        assert!(inside.direct(|_| ()).is_some());
        assert!(inside.direct(|_| ()).is_none(), "that was over");
        ring.close(|| unreachable!("the worker is elsewhere"));
        drop(inside);
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !end.load(Relaxed) {
                    let inside = ring.enter().unwrap();
                    inside.direct(|_| assert!(is_open.load(Relaxed)));
                }
            });
            for round in 0..ROUNDS {
                is_open.store(true, Relaxed);
                ring.open(split());
                if round % 8 == 0 {
                    std::thread::yield_now();
                }
                ring.close(|| ());
                is_open.store(false, Relaxed);
            }
            end.store(true, Relaxed);
        });
    }
}
