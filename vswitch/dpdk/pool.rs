// SPDX-License-Identifier: MIT
//! [`Mempool`]: the buffers that frames live in.

use std::ffi::CString;
use std::ptr::NonNull;

use super::eal::Eal;
use super::error::Errno;
use super::mbuf::Mbuf;
use super::sys;
use crate::io::Frames;

/// Largest per-lcore cache.
pub const MAX_CACHE: u32 = sys::RTE_MEMPOOL_CACHE_MAX_SIZE;

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// DPDK takes short names without NUL.
    #[error("`{0}` is no name of a mempool: at most 25 bytes, no NUL")]
    Name(String),
    /// See [`MAX_CACHE`].
    #[error(
        "a mempool cache of {cache} buffers is too large: at most {MAX_CACHE}, and two thirds of the pool's {count}"
    )]
    Cache {
        /// Asked for.
        cache: u32,
        /// Buffers in the pool.
        count: u32,
    },
    /// DPDK refused, mostly for want of memory.
    #[error("no mempool `{name}` of {count} buffers: {errno}")]
    Refused {
        /// The pool's name.
        name: String,
        /// Buffers asked for.
        count: u32,
        /// DPDK's error code.
        errno: Errno,
    },
}

/// A pool of equal buffers for frames. Clones are the same pool.
///
/// A pool is there until [`Eal::cleanup`]: frames refer to it without counting.
#[derive(Clone, Debug)]
pub struct Mempool {
    pool: NonNull<sys::rte_mempool>,
    _eal: Eal,
}

// SAFETY: DPDK's pools are made for use by many threads at once; the handle itself is a constant.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool of `count` buffers with `data_room` bytes each, 128 of which are headroom in front of a
    /// received frame. `cache` buffers are kept per lcore (0 for none). `socket` is the NUMA node, `None` for any.
    ///
    /// `count` must cover what all rings can hold (each port's `rxq * rxd + txq * txd`) plus, per worker, a
    /// burst and one and a half caches; DPDK likes 2^n - 1 best.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn new(
        eal: &Eal,
        name: &str,
        count: u32,
        cache: u32,
        data_room: u16,
        socket: Option<i32>,
    ) -> Result<Self, PoolError> {
        let fits = name.len() < sys::ALKAID_POOL_NAME_SIZE as usize;
        let c_name = CString::new(name)
            .ok()
            .filter(|_| fits)
            .ok_or_else(|| PoolError::Name(name.to_owned()))?;
        // DPDK's own rule: a full cache must never hold the whole pool.
        if cache > MAX_CACHE || u64::from(cache) * 3 > u64::from(count) * 2 {
            return Err(PoolError::Cache { cache, count });
        }
        // SAFETY: DPDK runs, as `eal` proves; the name is terminated and copied.
        let pool = unsafe {
            sys::rte_pktmbuf_pool_create(
                c_name.as_ptr(),
                count,
                cache,
                0,
                data_room,
                socket.unwrap_or(-1),
            )
        };
        match NonNull::new(pool) {
            Some(pool) => Ok(Self {
                pool,
                _eal: eal.clone(),
            }),
            None => Err(PoolError::Refused {
                name: name.to_owned(),
                count,
                errno: Errno::last(),
            }),
        }
    }

    /// Takes an empty frame; `None` when the pool is exhausted.
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is there as long as `self`.
        let frame = unsafe { sys::alkaid_mbuf_alloc(self.pool.as_ptr()) };
        // SAFETY: a fresh mbuf of this pool, which nobody else refers to.
        NonNull::new(frame).map(|frame| unsafe { Mbuf::from_raw(frame) })
    }

    /// Takes `count` empty frames, which come behind the others. False, and no change, when there are not so many left, or no
    /// places for them.
    #[inline]
    pub(super) fn alloc_burst(&self, into: &mut Frames<Mbuf>, count: usize) -> bool {
        if count > into.remaining_capacity() {
            return false;
        }
        let held = into.len();
        // SAFETY: at most one past the end of the vector's array.
        let free = unsafe { into.as_mut_ptr().add(held) };
        // SAFETY: the pool is there as long as `self`; `count` places are free there, and `Mbuf` is a transparent `rte_mbuf *`.
        let status =
            unsafe { sys::alkaid_mbuf_alloc_burst(self.pool.as_ptr(), free.cast(), count as u32) };
        if status == 0 {
            // SAFETY: fresh mbufs of this pool, which nobody else refers to.
            unsafe { into.set_len(held + count) };
        }
        status == 0
    }

    /// Buffers that are in the pool or in a cache. Walks the caches: not for the packet path.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is there as long as `self`.
        unsafe { sys::rte_mempool_avail_count(self.pool.as_ptr()) }
    }

    /// Buffers that are frames now, in rings or in somebody's hands. Walks the caches: not for the packet path.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool is there as long as `self`.
        unsafe { sys::rte_mempool_in_use_count(self.pool.as_ptr()) }
    }

    /// Bytes per buffer, headroom included.
    pub fn data_room(&self) -> u16 {
        // SAFETY: the pool is there as long as `self`.
        unsafe { sys::alkaid_pool_data_room(self.pool.as_ptr()) }
    }

    /// Bytes of a frame that one of its buffers holds, behind the headroom.
    pub(super) fn frame_room(&self) -> u16 {
        self.data_room().saturating_sub(sys::ALKAID_HEADROOM)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.pool.as_ptr()
    }
}
