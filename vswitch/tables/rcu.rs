// SPDX-License-Identifier: MIT
//! Read-copy-update with quiescent states: one writer publishes values, readers see the newest one for a
//! burst at a time, and what was replaced is dropped by the writer when no reader can still see it.
//!
//! # Contract
//!
//! * **Readers** ([`Reader`]) pin once per burst. A pin is one load, letting go is one load and a compare
//!   (and one store after a publication). Neither waits, locks, allocates or frees.
//! * A [`Guard`] is what a reader may look through; everything borrowed from it dies with it.
//! * **The writer** ([`Writer`]) never waits for readers. It asks whether a [`Ticket`] has passed: then
//!   every reader has let go of all that it saw before the ticket was issued.
//! * Replaced values are dropped by [`Writer::reclaim`], on the writer's thread, in order. A reader that
//!   does not let go holds back memory and nothing else; [`Writer::lagging`] names it.
//! * A reader that sleeps goes [offline](Reader::offline), and holds back nothing meanwhile.
//! * At most [`MAX_READERS`] readers at a time. They come and go at any time, also after the writer.
//!
//! # Why it is sound
//!
//! `epoch` counts tickets. A reader's slot holds the epoch it last announced, or that it is offline.
//!
//! *A reader that is online.* Letting go, it loads `epoch` with Acquire and stores it into its slot with
//! Release. When the writer finds `slot >= ticket` by an Acquire load, then (1) all that the reader did
//! before that store happens before what the writer does next, and (2) the reader's load of `epoch` read
//! the ticket's Release store or a later one, so all that the writer did before the ticket happens before
//! the reader's next pin: it loads the new `current`, or a newer one. The store is left out when the slot
//! has that epoch already: then (2) held since the earlier store, and no later ticket has been issued for
//! which (1) would be needed. The pin needs no fence because the pointer is loaded after that Acquire load.
//!
//! *A reader that comes online* stores its slot, then a SeqCst fence, then loads `current`. The writer stores
//! `current`, then a SeqCst fence (in [`Writer::ticket`]), then loads the slots. One of the fences is
//! first. The reader's: the writer sees the slot online and waits for it. The writer's: the reader loads
//! the new `current`. The slot's store is Release, since it overwrites OFFLINE, whose Release the writer
//! may then no longer read.
//!
//! What holds for `current` holds for anything else that the writer changed before the ticket: the tables
//! that are updated in place rely on it.

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::PoisonError;

use crossbeam_utils::CachePadded;

use super::sync::{
    Arc, AtomicPtr, AtomicU64, Fault, Mutex, MutexGuard, Ordering, fault, fence, unless,
};
use Ordering::{Acquire, Release, SeqCst};

pub use writer::{Lagging, Pinned, Ticket, Writer};

mod writer;

#[cfg(test)]
#[cfg(vswitch_loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests;

/// Most readers at a time: DPDK's limit of lcores in Debian's build (RTE_MAX_LCORE).
pub const MAX_READERS: usize = if cfg!(vswitch_loom) { 2 } else { 128 };

/// A slot whose reader looks at nothing, or that no reader has.
const OFFLINE: u64 = u64::MAX;

struct Shared<T> {
    head: CachePadded<Head<T>>,
    /// What each reader announced last. Only that reader writes.
    slots: [CachePadded<AtomicU64>; MAX_READERS],
    /// Whose the slots are; `None`: free.
    names: Mutex<Vec<Option<String>>>,
    /// What the writer had still to drop when it was dropped itself.
    orphans: Mutex<Vec<Retired<T>>>,
    /// Sharing a `Shared` is sharing a `T`, which `AtomicPtr` does not say.
    _shares: PhantomData<std::sync::Arc<T>>,
}

/// What readers read each burst. One cache line, written only by the writer.
struct Head<T> {
    current: AtomicPtr<T>,
    epoch: AtomicU64,
}

/// A replaced value, owned, which readers may still look at until the ticket has passed.
struct Retired<T> {
    ticket: Ticket,
    value: NonNull<T>,
    /// Bytes of memory that go with it.
    bytes: usize,
}

// SAFETY: a `Retired` owns its value like a `Box`; readers that still look at it share it by `&T`, which
// `new` allows with `T: Send + Sync`.
unsafe impl<T: Send + Sync> Send for Retired<T> {}

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        // SAFETY: `value` came from `Box::into_raw` in `publish` or `new` and is owned here alone. It is
        // dropped by `reclaim` once its ticket has passed, or with `Shared`, when there is no reader left.
        drop(unsafe { Box::from_raw(self.value.as_ptr()) });
    }
}

impl<T> Shared<T> {
    fn names(&self) -> MutexGuard<'_, Vec<Option<String>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(value) = NonNull::new(self.head.current.load(Acquire)) {
            drop(Retired {
                ticket: Ticket::PASSED,
                value,
                bytes: 0,
            });
        }
    }
}

/// Starts with `value` as the current one. Allocates; aborts without memory, like `Box::new`.
pub fn new<T: Send + Sync>(value: T) -> (Writer<T>, Registry<T>) {
    let shared = Arc::new(Shared {
        head: CachePadded::new(Head {
            current: AtomicPtr::new(Box::into_raw(Box::new(value))),
            epoch: AtomicU64::new(1),
        }),
        slots: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(OFFLINE))),
        names: Mutex::new(vec![None; MAX_READERS]),
        orphans: Mutex::new(Vec::new()),
        _shares: PhantomData,
    });
    let writer = Writer::new(Arc::clone(&shared));
    (writer, Registry { shared })
}

/// Makes readers.
pub struct Registry<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Registry<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// All [`MAX_READERS`] places of readers are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there are {MAX_READERS} readers of the tables already")]
pub struct TooManyReaders;

impl<T> Registry<T> {
    /// A new reader, offline until its first pin. `name` is what [`Writer::lagging`] calls it.
    pub fn reader(&self, name: &str) -> Result<Reader<T>, TooManyReaders> {
        let mut names = self.shared.names();
        let slot = names
            .iter()
            .position(Option::is_none)
            .ok_or(TooManyReaders)?;
        names[slot] = Some(name.to_owned());
        drop(names);
        Ok(Reader {
            shared: Arc::clone(&self.shared),
            slot,
            seen: OFFLINE,
        })
    }
}

/// One worker's access to the current value. Send it to its thread and leave it there.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    slot: usize,
    /// What this reader's slot says.
    seen: u64,
}

impl<T> Reader<T> {
    /// The newest value, for one burst. Never waits. `&mut self`: one guard at a time.
    #[inline]
    pub fn pin(&mut self) -> Guard<'_, T> {
        if self.seen == OFFLINE {
            self.online();
        }
        let value = self.shared.head.current.load(Acquire);
        if fault(Fault::AnnounceEarly) {
            self.announce();
        }
        Guard {
            reader: self,
            value,
        }
    }

    /// Call before sleeping or blocking: until the next [`Reader::pin`] this reader holds back nothing.
    pub fn offline(&mut self) {
        self.slot().store(OFFLINE, Release);
        self.seen = OFFLINE;
    }

    #[cold]
    fn online(&mut self) {
        let epoch = self.shared.head.epoch.load(Acquire);
        self.slot()
            .store(epoch, unless(Fault::OnlineRelaxed, Release));
        if !fault(Fault::OnlineWithoutFence) {
            fence(SeqCst);
        }
        self.seen = epoch;
    }

    /// Says that nothing seen so far is looked at any more.
    #[inline]
    fn announce(&mut self) {
        let epoch = self
            .shared
            .head
            .epoch
            .load(unless(Fault::EpochRelaxed, Acquire));
        if epoch != self.seen {
            self.slot()
                .store(epoch, unless(Fault::AnnounceRelaxed, Release));
            self.seen = epoch;
        }
    }

    #[inline]
    fn slot(&self) -> &AtomicU64 {
        // `slot` is below MAX_READERS; the remainder spares the hot path a panic.
        &self.shared.slots[self.slot % MAX_READERS]
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.offline();
        self.shared.names()[self.slot] = None;
    }
}

/// A reader's view of one value. Dropping it announces that the reader is done with it.
#[must_use]
pub struct Guard<'a, T> {
    reader: &'a mut Reader<T>,
    // Not a reference: in `drop` the writer may free it while this field is still there.
    value: *const T,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `value` was current when this reader pinned it, and it is not freed before this reader
        // announces, which it does when the guard is dropped (module documentation).
        unsafe { &*self.value }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !fault(Fault::AnnounceEarly) {
            self.reader.announce();
        }
    }
}
