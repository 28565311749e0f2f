// SPDX-License-Identifier: MIT
//! [`Split`]: a split virtqueue (virtio 1.1 section 2.6) in a guest's memory, for frames that are in one buffer each.
//!
//! The guest may write any of its memory at any time, and what it has written there may be lies. So every field is read once and
//! checked before it is used, there is no Rust reference into that memory but of atomics, and what is not as simple as here is
//! [unusual](Buffers::unusual): the vhost library's to serve, or to refuse.

use std::sync::atomic::{
    AtomicU16,
    Ordering::{Acquire, Release},
};

use arrayvec::ArrayVec;

use crate::dpdk::mbuf::prefetch;
use crate::io::MAX_BURST;

/// Most regions that a guest's memory has (VHOST_MEMORY_MAX_NREGIONS).
pub(super) const MAX_REGIONS: usize = 8;

/// Flags of a descriptor: another one follows, the guest reads the buffer, it is a table of descriptors.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// What precedes each frame (virtio 1.1 section 5.1.6), with the number of buffers and without.
const HEADER: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const LEGACY_HEADER: [u8; 10] = [0; _];

/// A descriptor. Numbers are little-endian, as are the CPUs that this runs on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
    pub(super) next: u16,
}

/// A buffer that is the guest's again.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Used {
    pub(super) head: u32,
    /// Bytes that were written there.
    pub(super) len: u32,
}

/// A part of the guest's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    /// Where the guest has it.
    pub(super) guest: u64,
    /// Where this process has it.
    pub(super) host: *mut u8,
    pub(super) len: usize,
}

/// Where this process has the three parts of a virtqueue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) descriptors: *const Descriptor,
    /// Flags, index, as many entries as there are descriptors, and the index of an event.
    pub(super) available: *const u16,
    /// Likewise, but for the size of entries.
    pub(super) used: *mut u16,
    /// How many descriptors there are: a power of two.
    pub(super) size: u16,
}

/// A virtqueue that can be used.
#[derive(Debug)]
pub(super) struct Split {
    parts: Parts,
    /// The header has its number of buffers.
    long_header: bool,
    regions: ArrayVec<Region, MAX_REGIONS>,
}

// SAFETY: addresses of memory that is there for all threads.
unsafe impl Send for Split {}

/// A buffer of the guest's, which is in its memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    head: u16,
    start: *mut u8,
    /// More than the header's.
    len: usize,
}

/// Those that are available, in order.
#[derive(Default, Debug)]
pub(super) struct Buffers {
    pub(super) found: ArrayVec<Buffer, MAX_BURST>,
    /// There is a further one, but it is not so simple.
    pub(super) unusual: bool,
}

/// Who writes into buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Writer {
    Guest,
    Host,
}

impl Split {
    /// `None` if a part is not wholly in a region, or not where a CPU wants such numbers.
    ///
    /// # Safety
    /// The regions are mapped, as long as this is used. What is in them may be anything.
    pub(super) unsafe fn new(
        parts: Parts,
        long_header: bool,
        regions: ArrayVec<Region, MAX_REGIONS>,
    ) -> Option<Self> {
        let size = usize::from(parts.size);
        let is_mapped = |start: usize, aligned: usize, len: usize| {
            let holds = |region: &Region| {
                let offset = start.checked_sub(region.host.addr());
                offset.is_some_and(|offset| offset <= region.len && len <= region.len - offset)
            };
            start.is_multiple_of(aligned) && regions.iter().any(holds)
        };
        let usable = size.is_power_of_two()
            && is_mapped(parts.descriptors.addr(), 16, size * size_of::<Descriptor>())
            && is_mapped(parts.available.addr(), 2, 6 + size * size_of::<u16>())
            && is_mapped(parts.used.addr(), 4, 6 + size * size_of::<Used>());
        usable.then_some(Self {
            parts,
            long_header,
            regions,
        })
    }

    /// Bytes of the header before each frame.
    #[inline]
    const fn header(&self) -> usize {
        if self.long_header {
            HEADER.len()
        } else {
            LEGACY_HEADER.len()
        }
    }

    /// At most `most` buffers, the first of which is entry number `from` of those that the guest ever made available.
    /// Fetches their beginnings. Costs no more if the guest says that there are more than fit the ring.
    #[inline]
    pub(super) fn available(&self, from: u16, most: usize, writer: Writer) -> Buffers {
        let mut buffers = Buffers::default();
        // SAFETY: mapped and aligned, by `new`.
        let index = unsafe { AtomicU16::from_ptr(self.parts.available.wrapping_add(1).cast_mut()) };
        let count = usize::from(index.load(Acquire).wrapping_sub(from));
        for entry in 0..count.min(most).min(self.parts.size.into()) {
            let Some(buffer) = self.buffer(from.wrapping_add(entry as u16), writer) else {
                buffers.unusual = true;
                break;
            };
            prefetch(buffer.start);
            if buffers.found.try_push(buffer).is_err() {
                break;
            }
        }
        buffers
    }

    /// The buffer of one available entry; `None` if it is not simple.
    #[inline(always)]
    fn buffer(&self, entry: u16, writer: Writer) -> Option<Buffer> {
        let slot = usize::from(entry & (self.parts.size - 1));
        // SAFETY: inside of the ring, which is mapped and aligned, by `new`.
        let head = unsafe { self.parts.available.wrapping_add(2 + slot).read_volatile() };
        if head >= self.parts.size {
            return None;
        }
        let descriptor = self.parts.descriptors.wrapping_add(usize::from(head));
        // SAFETY: inside of the table, which is mapped and aligned, by `new`.
        let descriptor = unsafe { descriptor.read_volatile() };
        let Descriptor {
            address,
            len,
            flags,
            ..
        } = descriptor;
        let direction = match writer {
            Writer::Guest => 0,
            Writer::Host => WRITE,
        };
        let len = len as usize;
        if flags & (NEXT | INDIRECT | WRITE) != direction || len <= self.header() {
            return None;
        }
        let start = self.host(address, len)?;
        Some(Buffer { head, start, len })
    }

    /// Where this process has `len` bytes that the guest has at an address; `None`: they are not in one region.
    #[inline(always)]
    fn host(&self, address: u64, len: usize) -> Option<*mut u8> {
        self.regions.iter().find_map(|region| {
            let offset = usize::try_from(address.wrapping_sub(region.guest)).ok()?;
            (offset < region.len && len <= region.len - offset)
                .then(|| region.host.wrapping_add(offset))
        })
    }

    /// The frame that the guest put into a buffer: its length, and its first byte. `None`: something is left to do of it.
    #[inline]
    pub(super) fn frame(&self, buffer: &Buffer) -> Option<(*const u8, usize)> {
        // Flags, and the kind of segments that it is to become.
        // SAFETY: the buffer is mapped, and is longer than the header.
        let left = unsafe { buffer.start.cast::<[u8; 2]>().read_volatile() };
        let start = buffer.start.wrapping_add(self.header());
        (left == [0, 0]).then_some((start, buffer.len - self.header()))
    }

    /// Puts a frame into a buffer that the guest receives it by. `None`, and nothing is done, if it does not fit.
    #[inline]
    pub(super) fn put(&self, buffer: &Buffer, frame: &[u8]) -> Option<Used> {
        let len = self.header() + frame.len();
        if len > buffer.len {
            return None;
        }
        if self.long_header {
            // SAFETY: the buffer is mapped, and is longer than the header.
            unsafe { buffer.start.cast::<[u8; 12]>().write_volatile(HEADER) };
        } else {
            // SAFETY: as above.
            unsafe {
                buffer
                    .start
                    .cast::<[u8; 10]>()
                    .write_volatile(LEGACY_HEADER)
            };
        }
        let start = buffer.start.wrapping_add(self.header());
        // SAFETY: the buffer is mapped, and long enough. The frame is not in the guest's memory.
        unsafe { start.copy_from_nonoverlapping(frame.as_ptr(), frame.len()) };
        Some(buffer.used(len))
    }

    /// Gives buffers back, the first of which is number `from` of those that ever were.
    #[inline]
    pub(super) fn give_back(&self, from: u16, used: &[Used]) {
        if used.is_empty() {
            return; // a line that the guest looks at stays as it is
        }
        let mut next = from;
        for used in used {
            let slot = usize::from(next & (self.parts.size - 1));
            let entries = self.parts.used.wrapping_add(2).cast::<Used>();
            let entry = entries.wrapping_add(slot);
            // SAFETY: inside of the ring, which is mapped and aligned, by `new`.
            unsafe { entry.write_volatile(*used) };
            next = next.wrapping_add(1);
        }
        // SAFETY: mapped and aligned, by `new`.
        let index = unsafe { AtomicU16::from_ptr(self.parts.used.wrapping_add(1)) };
        index.store(next, Release);
    }
}

impl Buffer {
    /// That `len` bytes of it were written.
    #[inline]
    pub(super) const fn used(&self, len: usize) -> Used {
        Used {
            head: self.head as u32,
            len: len as u32, // of a descriptor, which has 32 bits
        }
    }
}

#[cfg(test)]
mod tests;
