// SPDX-License-Identifier: MIT
//! The atomics of the tables that readers and the writer share: the standard library's, or those of the
//! model checker under `--cfg vswitch_loom`. Nothing else in the crate knows of the difference.

#[cfg(vswitch_loom)]
pub(super) use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(vswitch_loom))]
pub(super) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence},
};

/// Faults that can be put into the code on purpose. Each has a loom test that must fail with it: this is
/// how we know that the tests would see the mistake. Without loom no fault exists and nothing is left of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// A reader says that it is quiescent before it reads instead of after.
    AnnounceEarly,
    /// A reader's announcement does not order its reads before it.
    AnnounceRelaxed,
    /// A reader does not order its reads after the epoch it announces.
    EpochRelaxed,
    /// A reader comes online without the fence.
    OnlineWithoutFence,
    /// A reader comes online without ordering what it read before it went offline.
    OnlineRelaxed,
    /// The writer issues a ticket without the fence.
    TicketWithoutFence,
    /// The writer looks at the announcements without ordering what it does next after them.
    ScanRelaxed,
    /// The writer takes a ticket for passed one epoch early.
    PassedEarly,
    /// An entry's key is stored before its value.
    KeyFirst,
    /// The part of a wide key that says that there is one is stored before the rest.
    MarkFirst,
    /// An entry's key does not order the value before it.
    KeyRelaxed,
    /// A removed entry's slot is free at once, without a grace period.
    ReuseAtOnce,
    /// A changed entry's old copy goes at once, without a grace period.
    CopyGoesAtOnce,
    /// A changed entry is overwritten in place.
    OverwriteInPlace,
    /// Removing an entry forgets another one that passed the same full bucket.
    OverflowCleared,
    /// An entry's hop does not order the next hop's template before it.
    HopRelaxed,
    /// A next hop's slot is written again at once, without a grace period.
    HopReusedAtOnce,
}

/// True when a loom test asked for this fault.
#[cfg(not(vswitch_loom))]
#[inline(always)]
pub(super) const fn fault(_: Fault) -> bool {
    false
}

#[cfg(vswitch_loom)]
pub(super) use model::fault;

/// `order`, or `Relaxed` when a loom test asked for this fault.
#[inline(always)]
pub(super) fn unless(faulty: Fault, order: Ordering) -> Ordering {
    if fault(faulty) {
        Ordering::Relaxed
    } else {
        order
    }
}

#[cfg(vswitch_loom)]
pub(super) mod model {
    use super::Fault;
    use std::cell::Cell;

    thread_local! {
        // loom runs all threads of a model on one system thread.
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    pub(in crate::tables) fn fault(asked: Fault) -> bool {
        FAULT.get() == Some(asked)
    }

    /// Explores all interleavings of `model`, and all that its loads may see in each, with a fault or without.
    pub(in crate::tables) fn check(fault: Option<Fault>, model: impl Fn() + Sync + Send + 'static) {
        explore(None, fault, model);
    }

    /// Explores the interleavings of a model that has too many, up to a number of preemptions.
    pub(in crate::tables) fn check_up_to(
        preemptions: usize,
        model: impl Fn() + Sync + Send + 'static,
    ) {
        explore(Some(preemptions), None, model);
    }

    /// True if [`check`] finds a mistake.
    pub(in crate::tables) fn fails(fault: Fault, model: impl Fn() + Sync + Send + 'static) -> bool {
        panics(|| explore(None, Some(fault), model))
    }

    /// True if [`check_up_to`] finds a mistake.
    pub(in crate::tables) fn fails_up_to(
        preemptions: usize,
        fault: Fault,
        model: impl Fn() + Sync + Send + 'static,
    ) -> bool {
        panics(|| explore(Some(preemptions), Some(fault), model))
    }

    fn explore(
        preemptions: Option<usize>,
        fault: Option<Fault>,
        model: impl Fn() + Sync + Send + 'static,
    ) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = preemptions.or(builder.preemption_bound);
        FAULT.set(fault);
        builder.check(model);
        FAULT.set(None);
    }

    fn panics(check: impl FnOnce()) -> bool {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err();
        FAULT.set(None);
        panicked
    }
}
