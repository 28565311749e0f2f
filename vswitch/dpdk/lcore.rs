// SPDX-License-Identifier: MIT
//! Threads as DPDK knows them.

use std::marker::PhantomData;

use super::eal::Eal;
use super::error::Errno;
use super::sys;

/// Why a thread was not registered.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// It has an lcore number: it was registered before, or it started DPDK.
    #[error("this thread is lcore {0} already")]
    Registered(u32),
    /// DPDK refused, as when all lcore numbers are in use.
    #[error("DPDK does not register this thread: {0}")]
    Refused(Errno),
}

/// The calling thread's registration with DPDK. Dropping it ends that, and returns the buffers in the thread's
/// mempool caches to their pools. Stays on its thread.
#[derive(Debug)]
pub struct LcoreGuard {
    lcore: u32,
    _eal: Eal,
    _on_its_thread: PhantomData<*const ()>,
}

impl Eal {
    /// Gives the calling thread an lcore number and with it a cache in each mempool, without which allocating and
    /// freeing frames takes a lock-free ring that all threads share. Do it first in each worker thread.
    ///
    /// # Errors
    /// When the thread has a number, or DPDK (128 in Debian's build) has none left.
    pub fn register_thread(&self) -> Result<LcoreGuard, ThreadError> {
        if let Some(lcore) = current() {
            return Err(ThreadError::Registered(lcore));
        }
        // SAFETY: DPDK runs, as `self` proves.
        if unsafe { sys::rte_thread_register() } != 0 {
            return Err(ThreadError::Refused(Errno::last()));
        }
        let lcore = current().ok_or(ThreadError::Refused(Errno::last()))?;
        Ok(LcoreGuard {
            lcore,
            _eal: self.clone(),
            _on_its_thread: PhantomData,
        })
    }
}

impl LcoreGuard {
    /// The thread's number, for people.
    pub fn lcore(&self) -> u32 {
        self.lcore
    }
}

impl Drop for LcoreGuard {
    fn drop(&mut self) {
        // A later thread gets the number and its caches; until then, what they hold would be lost to all others.
        // SAFETY: DPDK runs, as `_eal` proves; the caches are this thread's own.
        unsafe { sys::alkaid_flush_caches() };
        // SAFETY: this is the thread that was registered: the guard cannot leave it.
        unsafe { sys::rte_thread_unregister() };
    }
}

/// The calling thread's lcore number.
pub(super) fn current() -> Option<u32> {
    // SAFETY: reads a thread-local variable.
    let lcore = unsafe { sys::alkaid_lcore() };
    (lcore != sys::ALKAID_LCORE_ANY).then_some(lcore)
}

/// The CPUs that a thread may run on.
pub(super) struct Affinity(Option<libc::cpu_set_t>);

impl Affinity {
    /// The calling thread's. Where the kernel will not say, restoring does nothing.
    pub(super) fn of_this_thread() -> Self {
        // SAFETY: a `cpu_set_t` is an array of integers: all zeros is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is as large as stated; 0 is the calling thread.
        let status = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
        Self((status == 0).then_some(set))
    }

    /// Puts the calling thread back onto them.
    pub(super) fn restore(&self) {
        if let Some(set) = &self.0 {
            // SAFETY: `set` is as large as stated; 0 is the calling thread. A refusal leaves DPDK's choice.
            unsafe { libc::sched_setaffinity(0, size_of_val(set), set) };
        }
    }
}
