// SPDX-License-Identifier: MIT
//! What DPDK's vhost library knows of a guest that is there.

use std::ffi::c_int;
use std::ptr;

use arrayvec::ArrayVec;

use super::split::{Header, MAX_REGIONS, Parts, Region, Split};
use crate::dpdk::sys;

/// Features with which the guest's memory is the library's alone to use: it knows other rings, maps addresses, and logs for a
/// virtual machine that moves to another host what it writes.
const OTHERWISE: u64 = sys::ALKAID_RING_PACKED | sys::ALKAID_IOMMU_PLATFORM | sys::ALKAID_LOG_ALL;

/// Features with which headers have a number of buffers.
const LONG_HEADER: u64 = sys::ALKAID_MRG_RXBUF | sys::ALKAID_VERSION_1;

/// The features that a guest has agreed to; `None`: it is not there.
pub(super) fn features(guest: c_int) -> Option<u64> {
    let mut features = 0;
    // SAFETY: writes a number there; a guest that is not there is an error.
    let status = unsafe { sys::rte_vhost_get_negotiated_features(guest, &raw mut features) };
    (status == 0).then_some(features)
}

/// A guest's memory, in which its virtqueues can be used without the library.
pub(super) struct Memory {
    guest: c_int,
    header: Header,
    regions: ArrayVec<Region, MAX_REGIONS>,
}

impl Memory {
    /// `None` where that cannot be.
    ///
    /// # Safety
    /// The guest is there and has told of its memory.
    pub(super) unsafe fn of(guest: c_int) -> Option<Self> {
        let features = features(guest)?;
        if features & OTHERWISE != 0 {
            return None;
        }
        Some(Self {
            guest,
            header: Header {
                is_long: features & LONG_HEADER != 0,
                counts: features & sys::ALKAID_HOST_ANY != 0,
            },
            // SAFETY: by this function's contract.
            regions: unsafe { regions(guest) }?,
        })
    }

    /// One of its virtqueues; `None` if it is not wholly there.
    ///
    /// # Safety
    /// The guest is there, and has said nothing since [`Memory::of`]. What is returned is used until its next message is handled,
    /// and no longer.
    pub(super) unsafe fn split(&self, ring: u16) -> Option<Split> {
        // SAFETY: the type is numbers and pointers.
        let mut vring: sys::rte_vhost_vring = unsafe { std::mem::zeroed() };
        // SAFETY: writes it; a ring that is not there is an error.
        if unsafe { sys::rte_vhost_get_vhost_vring(self.guest, ring, &raw mut vring) } != 0 {
            return None;
        }
        let parts = Parts {
            // SAFETY: all members of the union are pointers.
            descriptors: unsafe { vring.__bindgen_anon_1.desc }.cast(),
            // SAFETY: as above.
            available: unsafe { vring.__bindgen_anon_2.avail }.cast(),
            // SAFETY: as above.
            used: unsafe { vring.__bindgen_anon_3.used }.cast(),
            size: vring.size,
        };
        // SAFETY: by this function's contract.
        unsafe { Split::new(parts, self.header, self.regions.clone()) }
    }
}

/// Where a guest's memory is.
///
/// # Safety
/// The guest is there and has told of it.
unsafe fn regions(guest: c_int) -> Option<ArrayVec<Region, MAX_REGIONS>> {
    let mut table = ptr::null_mut();
    // SAFETY: writes the pointer there, to a copy that is ours.
    if unsafe { sys::rte_vhost_get_mem_table(guest, &raw mut table) } != 0 {
        return None;
    }
    // SAFETY: as was just written.
    let count = unsafe { (*table).nregions } as usize;
    // SAFETY: `count` regions follow, of which the pointer to the first is no reference to the whole.
    let first = unsafe { (&raw const (*table).regions).cast::<sys::rte_vhost_mem_region>() };
    let region = |n| {
        // SAFETY: below `count`.
        let region = unsafe { first.wrapping_add(n).read() };
        Region {
            guest: region.guest_phys_addr,
            host: ptr::with_exposed_provenance_mut(region.host_user_addr as usize),
            len: region.size as usize,
        }
    };
    let regions = (0..count.min(MAX_REGIONS)).map(region).collect();
    // SAFETY: from C's `malloc`, and not used any more.
    unsafe { libc::free(table.cast()) };
    Some(regions)
}
