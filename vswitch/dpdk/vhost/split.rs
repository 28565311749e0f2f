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
        let index = unsafe { AtomicU16::from_ptr(self.parts.available.add(1).cast_mut()) };
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
        let head = unsafe { self.parts.available.add(2 + slot).read_volatile() };
        if head >= self.parts.size {
            return None;
        }
        // SAFETY: inside of the table, which is mapped, by `new`.
        let descriptor = unsafe { self.parts.descriptors.add(usize::from(head)) };
        // SAFETY: as above, and aligned.
        let Descriptor {
            address,
            len,
            flags,
            ..
        } = unsafe { descriptor.read_volatile() };
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
            // SAFETY: inside of the ring, which is mapped, by `new`.
            let entry = unsafe { self.parts.used.add(2).cast::<Used>().add(slot) };
            // SAFETY: as above, and aligned.
            unsafe { entry.write_volatile(*used) };
            next = next.wrapping_add(1);
        }
        // SAFETY: mapped and aligned, by `new`.
        let index = unsafe { AtomicU16::from_ptr(self.parts.used.add(1)) };
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: u16 = 8;
    /// Where the guest has its two regions, and their length.
    const AT: [u64; 2] = [0x1000, 0x10_0000];
    const LEN: usize = 4096;

    /// A guest's memory: regions in which a ring comes first.
    #[repr(C, align(16))]
    struct Guest {
        descriptors: [Descriptor; SIZE as usize],
        available: [u16; 3 + SIZE as usize],
        padding: u16,
        used: [u16; 2],
        given: [Used; SIZE as usize],
        event: u16,
        bytes: [[u8; LEN]; 2],
    }

    impl Guest {
        fn new() -> Box<Self> {
            // SAFETY: numbers only.
            unsafe { Box::new_zeroed().assume_init() }
        }

        fn split(&mut self, long_header: bool) -> Split {
            let parts = Parts {
                descriptors: &raw const self.descriptors[0],
                available: &raw const self.available[0],
                used: &raw mut self.used[0],
                size: SIZE,
            };
            let whole = Region {
                guest: u64::MAX - 0xffff,
                host: (&raw mut *self).cast(),
                len: size_of_val(self),
            };
            let [first, second] = [0, 1].map(|n| Region {
                guest: AT[n],
                host: (&raw mut self.bytes[n]).cast(),
                len: LEN,
            });
            // SAFETY: the regions are there as long as the test.
            unsafe {
                Split::new(
                    parts,
                    long_header,
                    [first, second, whole].into_iter().collect(),
                )
            }
            .unwrap()
        }

        /// Makes these available, from entry `from` on.
        fn offer(&mut self, from: u16, descriptors: &[Descriptor]) {
            for (n, descriptor) in descriptors.iter().enumerate() {
                self.descriptors[n] = *descriptor;
                self.available[2 + usize::from(from.wrapping_add(n as u16) % SIZE)] = n as u16;
            }
            self.available[1] = from.wrapping_add(descriptors.len() as u16);
        }
    }

    fn descriptor(address: u64, len: u32, flags: u16) -> Descriptor {
        let next = 0;
        Descriptor {
            address,
            len,
            flags,
            next,
        }
    }

    #[test]
    fn frames_come_and_go_in_order_where_indexes_wrap() {
        for (long, header) in [(true, 12), (false, 10)] {
            let mut guest = Guest::new();
            let split = guest.split(long);
            let sizes = [1, 60, 1514, 2000];
            let places = sizes.map(|size| (AT[1] + u64::from(size), size + header));
            guest.offer(
                u16::MAX - 1,
                &places.map(|(at, len)| descriptor(at, len, 0)),
            );
            guest.bytes[1][1 + 12..].fill(7);
            guest.bytes[1][..2 + header as usize].fill(0);
            for size in sizes {
                let start = size as usize;
                guest.bytes[1][start..start + 2].fill(0);
            }
            let buffers = split.available(u16::MAX - 1, 64, Writer::Guest);
            assert!(!buffers.unusual);
            let frames = buffers
                .found
                .iter()
                .map(|buffer| split.frame(buffer).unwrap().1);
            assert_eq!(frames.collect::<Vec<_>>(), sizes.map(|size| size as usize));
            assert_eq!(
                split.available(u16::MAX - 1, 3, Writer::Guest).found.len(),
                3
            );
            assert_eq!(split.available(2, 64, Writer::Guest).found.len(), 0);

            guest.offer(
                u16::MAX - 1,
                &places.map(|(at, len)| descriptor(at, len, WRITE)),
            );
            let buffers = split.available(u16::MAX - 1, 64, Writer::Host);
            let put = buffers
                .found
                .iter()
                .map(|buffer| split.put(buffer, b"x").unwrap());
            let put: Vec<_> = put.collect();
            let len = header + 1;
            assert_eq!(put, [0, 1, 2, 3].map(|head| Used { head, len }));
            split.give_back(u16::MAX - 1, &put);
            assert_eq!(guest.used[1], 2);
            let given = [6, 7, 0, 1].map(|slot| guest.given[slot]);
            assert_eq!(given[..], put[..]);
            let frame = &guest.bytes[1][1514..][..len as usize];
            assert_eq!(frame, [&HEADER[..header as usize], b"x"].concat());
        }
    }

    #[test]
    fn what_is_not_simple_is_unusual_and_what_is_before_it_is_not() {
        let simple = descriptor(AT[0], 100, 0);
        for (why, wrong) in [
            ("a chain", descriptor(AT[0], 100, NEXT)),
            ("a table", descriptor(AT[0], 32, INDIRECT)),
            ("for the host to write", descriptor(AT[0], 100, WRITE)),
            ("no more than a header", descriptor(AT[0], 12, 0)),
            ("nowhere", descriptor(AT[0] - 1, 100, 0)),
            ("over the end", descriptor(AT[0] + LEN as u64 - 99, 100, 0)),
            ("around the end", descriptor(u64::MAX - 10, 100, 0)),
            ("too much", descriptor(AT[0], u32::MAX, 0)),
        ] {
            let mut guest = Guest::new();
            let split = guest.split(true);
            guest.offer(0, &[simple, wrong, simple]);
            let buffers = split.available(0, 64, Writer::Guest);
            assert_eq!((buffers.found.len(), buffers.unusual), (1, true), "{why}");
        }
        let mut guest = Guest::new();
        let split = guest.split(true);
        guest.offer(0, &[simple, descriptor(AT[0], 100, WRITE)]);
        let buffers = split.available(1, 64, Writer::Host);
        assert!(split.put(&buffers.found[0], &[0; 89]).is_none(), "no room");
        assert!(split.put(&buffers.found[0], &[0; 88]).is_some());
        guest.available[2] = SIZE;
        assert!(
            split.available(0, 64, Writer::Guest).unusual,
            "no such descriptor"
        );
        // More than a ring has.
        guest.offer(0, &[simple; SIZE as usize]);
        guest.available[1] = 60_000;
        assert_eq!(
            split.available(0, 64, Writer::Guest).found.len(),
            SIZE.into()
        );
        // Something is left to do of a frame: its checksum, its segments.
        for byte in [0, 1] {
            guest.bytes[0][byte] = 1;
            let buffers = split.available(0, 1, Writer::Guest);
            assert!(split.frame(&buffers.found[0]).is_none());
            guest.bytes[0][byte] = 0;
        }
    }

    #[test]
    fn a_ring_that_is_not_in_the_guests_memory_is_not_used() {
        let mut guest = Guest::new();
        let Split { parts, regions, .. } = guest.split(true);
        let whole = regions[2];
        let usable = |parts, region| {
            // SAFETY: the regions are there.
            unsafe { Split::new(parts, true, [region].into_iter().collect()) }.is_some()
        };
        assert!(usable(parts, whole));
        let with = |change: fn(&mut Parts)| {
            let mut parts = parts;
            change(&mut parts);
            usable(parts, whole)
        };
        assert!(!with(|parts| parts.descriptors = std::ptr::null()));
        assert!(!with(
            |parts| parts.descriptors = parts.descriptors.wrapping_byte_add(8)
        ));
        assert!(!with(
            |parts| parts.available = parts.available.wrapping_byte_add(1)
        ));
        assert!(!with(|parts| parts.used = parts.used.wrapping_byte_add(2)));
        assert!(!with(|parts| parts.size = 7));
        assert!(!with(|parts| parts.size = 0));
        assert!(!with(|parts| parts.size = 1 << 15));
        let end = (&raw const guest.event).addr() + size_of::<u16>();
        let len = end - whole.host.addr();
        assert!(usable(parts, Region { len, ..whole }));
        let len = len - 1;
        assert!(
            !usable(parts, Region { len, ..whole }),
            "the last byte is outside"
        );
    }

    fn any_descriptor() -> impl Strategy<Value = Descriptor> {
        let near = |around: u64| {
            (0..8000_u64).prop_map(move |n| around.wrapping_sub(2000).wrapping_add(n))
        };
        let address = prop_oneof![near(AT[0]), near(AT[1]), any::<u64>()];
        let len = prop_oneof![0..20_u32, 0..5000_u32, any::<u32>()];
        (address, len, 0..8_u16).prop_map(|(address, len, flags)| descriptor(address, len, flags))
    }

    proptest! {
        /// Memory outside of the regions is AddressSanitizer's to watch.
        #[test]
        fn only_whole_buffers_in_the_guests_memory_are_used(
            descriptors in proptest::collection::vec(any_descriptor(), 1..=usize::from(SIZE)),
            from: u16,
            writer in prop_oneof![Just(Writer::Guest), Just(Writer::Host)],
        ) {
            let mut guest = Guest::new();
            let split = guest.split(true);
            guest.offer(from % 0x8000, &descriptors);
            let buffers = split.available(from % 0x8000, 64, writer);
            let flags = if writer == Writer::Host { WRITE } else { 0 };
            let is_simple = |it: &Descriptor| {
                let end = u128::from(it.address) + u128::from(it.len);
                let holds = |at: u64| at <= it.address && end <= u128::from(at) + LEN as u128;
                it.flags == flags && it.len > 12 && AT.into_iter().any(holds)
            };
            // The region that has everything is at addresses that are hardly ever met.
            prop_assume!(descriptors.iter().all(|it| it.address < u64::MAX - 0x1_0000));
            let simple = descriptors.iter().take_while(|it| is_simple(it)).count();
            prop_assert_eq!(buffers.found.len(), simple);
            prop_assert_eq!(buffers.unusual, simple < descriptors.len());
            for buffer in &buffers.found {
                match writer {
                    Writer::Guest => {
                        let (start, len) = split.frame(buffer).unwrap();
                        // SAFETY: in the guest's memory, as is to be seen.
                        let frame = unsafe { std::slice::from_raw_parts(start, len) };
                        prop_assert!(frame.iter().all(|byte| *byte == 0));
                    }
                    Writer::Host => {
                        prop_assert!(split.put(buffer, &vec![0; buffer.len - 12]).is_some());
                    }
                }
            }
        }
    }
}
