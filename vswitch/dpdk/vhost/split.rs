// SPDX-License-Identifier: MIT
//! [`Split`]: a split virtqueue (virtio 1.1 section 2.6) in a guest's memory, for frames that are received by one buffer each and
//! sent by a few.
//!
//! The guest may write any of its memory at any time, and what it has written there may be lies. So whatever is read there is checked
//! before it is used, and again where it is read again; there is no Rust reference into that memory but of atomics; and what is not
//! as simple as here is the vhost library's to serve, or to refuse.

use std::sync::atomic::{
    AtomicU16,
    Ordering::{Acquire, Release},
};

use arrayvec::ArrayVec;

use super::checksum::Left;
use crate::dpdk::mbuf::{prefetch, prefetch_to_write};
use crate::io::MAX_BURST;

/// Most regions that a guest's memory has (VHOST_MEMORY_MAX_NREGIONS).
pub(super) const MAX_REGIONS: usize = 8;

/// Most buffers of a frame that a guest sends. Linux has what precedes a frame in one buffer with its headers, and the payload in a
/// page or two behind that, unless it is to be cut into segments.
const MAX_BUFFERS: usize = 4;

/// Bytes that a CPU fetches at once.
const CACHE_LINE: usize = 64;

/// Flags of a descriptor: another one follows, the host writes the buffer, it is a table of descriptors.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Bytes that precede each frame (virtio 1.1 section 5.1.6), with the number of buffers in the end and without: flags, the kind of
/// segments that it is to become, two lengths of those, and which checksum is left to make.
const LONG: usize = 12;
const SHORT: usize = 10;

/// The flag of a frame whose checksum is left to make, and where it is said which.
const NEEDS_CSUM: u8 = 1;
const CSUM_AT: usize = 6;

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

/// What a guest has agreed to precede each frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// It has the number of buffers.
    pub(super) is_long: bool,
    /// It says what is left to do of the frames that the guest sends. Else nothing is, whatever it says.
    pub(super) counts: bool,
}

/// What a guest has left undone of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Undone {
    Nothing,
    Checksum(Left),
    /// It is to be cut into segments, perhaps.
    More,
}

/// A virtqueue that can be used.
#[derive(Debug)]
pub(super) struct Split {
    parts: Parts,
    header: Header,
    regions: ArrayVec<Region, MAX_REGIONS>,
}

// SAFETY: addresses of memory that is there for all threads.
unsafe impl Send for Split {}

/// Bytes of the guest's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes {
    pub(super) start: *mut u8,
    pub(super) len: usize,
}

/// Descriptors in the guest's memory: the virtqueue's, or those of one frame.
#[derive(Clone, Copy, Debug)]
struct Table {
    start: *const Descriptor,
    len: u16,
}

/// What a frame is in, or is to be put into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    head: u16,
    /// The header, and what is behind it.
    first: Bytes,
    /// Where the others are.
    table: Table,
    next: Option<u16>,
}

/// Those that are available, in order.
pub(super) type Buffers = ArrayVec<Buffer, MAX_BURST>;

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
        header: Header,
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
            header,
            regions,
        })
    }

    /// Bytes of the header before each frame.
    #[inline]
    const fn header_len(&self) -> usize {
        if self.header.is_long { LONG } else { SHORT }
    }

    /// At most `most` buffers, the first of which is entry number `from` of those that the guest ever made available. False: there is
    /// a further one, but it is not simple. Fetches their beginnings, for whom they are to be written by. Costs no more if the guest says that there are more than fit the
    /// ring.
    #[inline]
    pub(super) fn available(
        &self,
        from: u16,
        most: usize,
        writer: Writer,
        into: &mut Buffers,
    ) -> bool {
        // SAFETY: mapped and aligned, by `new`.
        let index = unsafe { AtomicU16::from_ptr(self.parts.available.wrapping_add(1).cast_mut()) };
        let count = usize::from(index.load(Acquire).wrapping_sub(from));
        for entry in 0..count.min(most).min(self.parts.size.into()) {
            let Some(buffer) = self.buffer(from.wrapping_add(entry as u16), writer) else {
                return false;
            };
            fetch(buffer.first.start, writer);
            if into.try_push(buffer).is_err() {
                break;
            }
        }
        true
    }

    /// The buffer of one available entry; `None` if it is not simple.
    #[inline(always)]
    fn buffer(&self, entry: u16, writer: Writer) -> Option<Buffer> {
        let slot = usize::from(entry & (self.parts.size - 1));
        // SAFETY: inside of the ring, which is mapped and aligned, by `new`.
        let head = unsafe { self.parts.available.wrapping_add(2 + slot).read_volatile() };
        let mut table = Table {
            start: self.parts.descriptors,
            len: self.parts.size,
        };
        let mut descriptor = table.read(head)?;
        if descriptor.flags & (INDIRECT | NEXT) == INDIRECT {
            table = self.table(&descriptor)?;
            descriptor = table.read(0)?;
        }
        let (first, next) = self.bytes(&descriptor, writer)?;
        // More than the header, or more behind it.
        let is_frame =
            first.len > self.header_len() || first.len == self.header_len() && next.is_some();
        let is_simple = is_frame && (next.is_none() || writer == Writer::Guest);
        is_simple.then_some(Buffer {
            head,
            first,
            table,
            next,
        })
    }

    /// The descriptors that a descriptor is for.
    fn table(&self, descriptor: &Descriptor) -> Option<Table> {
        let size = size_of::<Descriptor>();
        let bytes = descriptor.len as usize;
        let start = self.host(descriptor.address, bytes)?;
        let is_table = bytes.is_multiple_of(size) && start.addr().is_multiple_of(size);
        is_table.then_some(Table {
            start: start.cast_const().cast(),
            len: u16::try_from(bytes / size).ok()?,
        })
    }

    /// What a descriptor is for, if that is bytes, and which one is next.
    #[inline(always)]
    fn bytes(&self, descriptor: &Descriptor, writer: Writer) -> Option<(Bytes, Option<u16>)> {
        let Descriptor {
            address,
            len,
            flags,
            next,
        } = *descriptor;
        let direction = match writer {
            Writer::Guest => 0,
            Writer::Host => WRITE,
        };
        let len = len as usize;
        let start = self.host(address, len)?;
        let is_simple = flags & (INDIRECT | WRITE) == direction;
        is_simple.then_some((Bytes { start, len }, (flags & NEXT != 0).then_some(next)))
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

    /// What is left to do of the frame in a buffer.
    #[inline]
    pub(super) fn undone(&self, buffer: &Buffer) -> Undone {
        if !self.header.counts {
            return Undone::Nothing;
        }
        let header = buffer.first.start;
        // Flags, and the kind of segments that it is to become.
        // SAFETY: mapped, and not shorter than the header.
        match unsafe { header.cast::<[u8; 2]>().read_volatile() } {
            [0, 0] => Undone::Nothing,
            [NEEDS_CSUM, 0] => {
                let place = header.wrapping_add(CSUM_AT).cast::<[u8; 4]>();
                // SAFETY: as above.
                Undone::Checksum(Left::from_bytes(unsafe { place.read_volatile() }))
            }
            _ => Undone::More,
        }
    }

    /// How long the frame in a buffer is. `None`: it is not simple.
    #[inline]
    pub(super) fn len(&self, buffer: &Buffer) -> Option<usize> {
        let mut len = 0;
        let add = |bytes: Bytes| {
            len += bytes.len;
            true
        };
        self.take(buffer, add).then_some(len)
    }

    /// Has `take` take the frame in a buffer, part by part. False: it says no, or what follows is not simple.
    #[inline]
    pub(super) fn take(&self, buffer: &Buffer, mut take: impl FnMut(Bytes) -> bool) -> bool {
        let Bytes { start, len } = buffer.first;
        let header = self.header_len();
        let first = Bytes {
            start: start.wrapping_add(header),
            len: len - header,
        };
        take(first)
            && match buffer.next {
                None => true,
                Some(next) => self.take_rest(buffer.table, next, &mut take),
            }
    }

    /// The same of what is in further descriptors, the first of which is number `next`.
    #[inline(never)]
    fn take_rest(&self, table: Table, mut next: u16, take: &mut dyn FnMut(Bytes) -> bool) -> bool {
        for _ in 1..MAX_BUFFERS {
            let descriptor = table.read(next);
            let found = descriptor.and_then(|found| self.bytes(&found, Writer::Guest));
            match found {
                Some((bytes, behind)) if take(bytes) => match behind {
                    None => return true,
                    Some(behind) => next = behind,
                },
                _ => return false,
            }
        }
        false
    }

    /// Puts a frame into a buffer that the guest receives it by. False, and nothing is done, if it does not fit.
    #[inline]
    pub(super) fn put(&self, buffer: &Buffer, frame: &[u8], left: Option<Left>) -> bool {
        let start = buffer.first.start;
        if self.header_len() + frame.len() > buffer.first.len {
            return false;
        }
        let (flags, left) = match left {
            Some(left) => (NEEDS_CSUM, left),
            None => (0, Left::default()),
        };
        let head = u64::from(flags) | u64::from(left.start) << (8 * CSUM_AT);
        // SAFETY: the buffer is mapped, and is longer than the header.
        unsafe { start.cast::<u64>().write_unaligned(head) };
        let tail = start.wrapping_add(size_of_val(&head));
        if self.header.is_long {
            let one_buffer = u32::from(left.offset) | 1 << 16;
            // SAFETY: as above.
            unsafe { tail.cast::<u32>().write_unaligned(one_buffer) };
        } else {
            // SAFETY: as above.
            unsafe { tail.cast::<u16>().write_unaligned(left.offset) };
        }
        let behind = start.wrapping_add(self.header_len());
        // SAFETY: the buffer is mapped, and long enough. The frame is not in the guest's memory.
        unsafe { behind.copy_from_nonoverlapping(frame.as_ptr(), frame.len()) };
        true
    }

    /// A buffer that a frame of so many bytes was put into.
    #[inline]
    pub(super) fn filled(&self, buffer: &Buffer, len: usize) -> Used {
        Used {
            len: (self.header_len() + len) as u32, // of a descriptor, which has 32 bits
            ..buffer.emptied()
        }
    }

    /// Gives buffers back, the first of which is number `from` of those that ever were. All at once: stores into memory that the guest
    /// has in its caches hold up those behind them.
    #[inline]
    pub(super) fn give_back(&self, from: u16, used: impl ExactSizeIterator<Item = Used>) {
        if used.len() == 0 {
            return; // a line that the guest looks at stays as it is
        }
        let mut next = from;
        for used in used {
            let slot = usize::from(next & (self.parts.size - 1));
            let entries = self.parts.used.wrapping_add(2).cast::<Used>();
            let entry = entries.wrapping_add(slot);
            // SAFETY: inside of the ring, which is mapped and aligned, by `new`.
            unsafe { entry.write_volatile(used) };
            next = next.wrapping_add(1);
        }
        // SAFETY: mapped and aligned, by `new`.
        let index = unsafe { AtomicU16::from_ptr(self.parts.used.wrapping_add(1)) };
        index.store(next, Release);
    }
}

/// Fetches the two cache lines that a short frame and its header are in. The guest had them in its caches a moment ago: a store there
/// waits until these have given up the line, and all stores behind it wait, too, unless that was asked for before. What else a longer
/// frame is in, the CPU fetches by itself; to ask for all of it was slower.
#[inline(always)]
fn fetch(start: *mut u8, writer: Writer) {
    for line in [start, start.wrapping_add(CACHE_LINE)] {
        match writer {
            Writer::Guest => prefetch(line),
            Writer::Host => prefetch_to_write(line),
        }
    }
}

impl Table {
    /// `None`: there is no such descriptor.
    #[inline(always)]
    fn read(self, index: u16) -> Option<Descriptor> {
        let place = self.start.wrapping_add(index.into());
        // SAFETY: inside of the table, which is mapped and aligned, by `Split::new` or `Split::table`.
        (index < self.len).then(|| unsafe { place.read_volatile() })
    }
}

impl Buffer {
    /// A buffer that a frame was taken from.
    #[inline]
    pub(super) const fn emptied(&self) -> Used {
        let head = self.head as u32;
        Used { head, len: 0 }
    }
}

#[cfg(test)]
mod tests;
