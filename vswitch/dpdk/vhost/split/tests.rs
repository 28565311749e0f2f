// SPDX-License-Identifier: MIT
//! A ring in memory of the test's, and what a guest may write there.

use proptest::prelude::*;

use super::*;

const SIZE: u16 = 8;
/// Where the guest has its two regions, and their length.
const AT: [u64; 2] = [0x1000, 0x10_0000];
const LEN: usize = 4096;
/// What precedes a frame of which nothing is left to do.
const HEADER: [u8; LONG] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// A guest's memory: regions in which a ring comes first.
#[repr(C, align(16))]
struct Guest {
    descriptors: [Descriptor; SIZE as usize],
    available: [u16; 3 + SIZE as usize],
    padding: u16,
    used: [u16; 2],
    given: [Used; SIZE as usize],
    event: u16,
    gap: u16,
    bytes: [[u8; LEN]; 2],
}
const _: () = assert!(std::mem::offset_of!(Guest, bytes).is_multiple_of(align_of::<Guest>()));

impl Guest {
    fn new() -> Box<Self> {
        // SAFETY: numbers only.
        unsafe { Box::new_zeroed().assume_init() }
    }

    fn split(&mut self, is_long: bool) -> Split {
        let counts = true;
        self.split_with(Header { is_long, counts })
    }

    fn split_with(&mut self, header: Header) -> Split {
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
        unsafe { Split::new(parts, header, [first, second, whole].into_iter().collect()) }.unwrap()
    }

    /// Writes a descriptor into the first region.
    fn write(&mut self, at: usize, descriptor: &Descriptor) {
        let Descriptor {
            address,
            len,
            flags,
            next,
        } = descriptor;
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes().into_iter().chain(next.to_le_bytes()));
        self.bytes[0][at..at + bytes.len()].copy_from_slice(&bytes);
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

/// The buffers that are available, and whether there is one that is not simple behind them.
struct Found {
    found: Buffers,
    unusual: bool,
}

fn available(split: &Split, from: u16, most: usize, writer: Writer) -> Found {
    let mut found = Buffers::new();
    let unusual = !split.available(from, most, writer, &mut found);
    Found { found, unusual }
}

/// What [`Split::take`] hands over. `None`: it says that it is not simple.
fn parts(split: &Split, buffer: &Buffer) -> Option<Vec<Bytes>> {
    let mut parts = Vec::new();
    let is_simple = split.take(buffer, |bytes| {
        parts.push(bytes);
        true
    });
    is_simple.then_some(parts)
}

/// The bytes of them.
fn bytes(parts: &[Bytes]) -> Vec<u8> {
    let bytes = |part: &Bytes| {
        // SAFETY: in the guest's memory, which nobody writes now.
        unsafe { std::slice::from_raw_parts(part.start, part.len) }
    };
    parts.iter().flat_map(bytes).copied().collect()
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
        let buffers = available(&split, u16::MAX - 1, 64, Writer::Guest);
        assert!(!buffers.unusual);
        let frames = buffers.found.iter().map(|buffer| {
            assert_eq!(split.undone(buffer), Undone::Nothing);
            let parts = parts(&split, buffer).unwrap();
            parts.iter().map(|part| part.len).collect::<Vec<_>>()
        });
        assert_eq!(
            frames.collect::<Vec<_>>(),
            sizes.map(|size| [size as usize])
        );
        assert_eq!(
            available(&split, u16::MAX - 1, 3, Writer::Guest)
                .found
                .len(),
            3
        );
        assert_eq!(available(&split, 2, 64, Writer::Guest).found.len(), 0);

        guest.offer(
            u16::MAX - 1,
            &places.map(|(at, len)| descriptor(at, len, WRITE)),
        );
        let buffers = available(&split, u16::MAX - 1, 64, Writer::Host);
        let found = || buffers.found.iter();
        assert!(found().all(|buffer| split.put(buffer, b"x", None)));
        split.give_back(u16::MAX - 1, found().map(|buffer| split.filled(buffer, 1)));
        assert_eq!(guest.used[1], 2);
        let given = |slots: [usize; 4]| slots.map(|slot| guest.given[slot]);
        let len = header + 1;
        let expected = [0, 1, 2, 3].map(|head| Used { head, len });
        assert_eq!(given([6, 7, 0, 1]), expected);
        split.give_back(2, found().map(Buffer::emptied));
        let expected = [0, 1, 2, 3].map(|head| Used { head, len: 0 });
        assert_eq!((guest.used[1], given([2, 3, 4, 5])), (6, expected));
        let frame = &guest.bytes[1][1514..][..len as usize];
        assert_eq!(frame, [&HEADER[..header as usize], b"x"].concat());
    }
}

#[test]
fn what_is_not_simple_is_unusual_and_what_is_before_it_is_not() {
    let simple = descriptor(AT[0], 100, 0);
    for (why, wrong) in [
        ("a table in a chain", descriptor(AT[0], 32, INDIRECT | NEXT)),
        ("a table of nothing", descriptor(AT[0], 0, INDIRECT)),
        ("a table of pieces", descriptor(AT[0], 24, INDIRECT)),
        ("a table that is askew", descriptor(AT[0] + 8, 16, INDIRECT)),
        (
            "a table in a table",
            descriptor(AT[0] + 0x800, 16, INDIRECT),
        ),
        ("for the host to write", descriptor(AT[0], 100, WRITE)),
        ("no more than a header", descriptor(AT[0], 12, 0)),
        ("nowhere", descriptor(AT[0] - 1, 100, 0)),
        ("over the end", descriptor(AT[0] + LEN as u64 - 99, 100, 0)),
        ("around the end", descriptor(u64::MAX - 10, 100, 0)),
        ("too much", descriptor(AT[0], u32::MAX, 0)),
    ] {
        let mut guest = Guest::new();
        let split = guest.split(true);
        // All that follow are right but for what is said of them.
        for at in [0, 8, 16] {
            guest.write(at, &simple);
        }
        guest.write(0x800, &descriptor(AT[0], 16, INDIRECT));
        guest.offer(0, &[simple, wrong, simple]);
        let buffers = available(&split, 0, 64, Writer::Guest);
        assert_eq!((buffers.found.len(), buffers.unusual), (1, true), "{why}");
    }
    let mut guest = Guest::new();
    let split = guest.split(true);
    guest.offer(0, &[simple, descriptor(AT[0], 100, WRITE)]);
    let buffers = available(&split, 1, 64, Writer::Host);
    let put = |len| split.put(&buffers.found[0], &vec![0; len], None);
    assert!(!put(89), "no room");
    assert!(put(88));
    guest.offer(0, &[descriptor(AT[0], 100, WRITE | NEXT)]);
    assert!(
        available(&split, 0, 64, Writer::Host).unusual,
        "to be received by several buffers"
    );
    guest.available[2] = SIZE;
    assert!(
        available(&split, 0, 64, Writer::Guest).unusual,
        "no such descriptor"
    );
    // More than a ring has.
    guest.offer(0, &[simple; SIZE as usize]);
    guest.available[1] = 60_000;
    assert_eq!(
        available(&split, 0, 64, Writer::Guest).found.len(),
        SIZE.into()
    );
}

#[test]
fn frames_of_a_few_buffers_are_taken_part_by_part() {
    let mut guest = Guest::new();
    guest.bytes[0][0x100..].fill(1);
    guest.bytes[1].fill(2);
    let header = descriptor(AT[0], 12, NEXT);
    let first = descriptor(AT[0] + 0x100, 50, NEXT);
    let last = descriptor(AT[1], 30, 0);
    let frame = [vec![1; 50], vec![2; 30]].concat();
    let chain = |descriptors: &[Descriptor]| {
        let next = |(n, it): (usize, &Descriptor)| Descriptor {
            next: n as u16 + 1,
            ..*it
        };
        descriptors.iter().enumerate().map(next).collect::<Vec<_>>()
    };
    // In the ring, and in a table of their own; the header apart, and in front of the first part.
    let apart = chain(&[header, first, last]);
    let before = chain(&[descriptor(AT[0] + 0x100 - 12, 62, NEXT), last]);
    for descriptors in [&apart, &before] {
        let table = 0x800;
        for (n, descriptor) in descriptors.iter().enumerate() {
            guest.write(table + n * size_of::<Descriptor>(), descriptor);
        }
        let len = size_of_val(&descriptors[..]) as u32;
        let indirect = [descriptor(AT[0] + table as u64, len, INDIRECT)];
        for offered in [&descriptors[..], &indirect] {
            guest.bytes[0][0x100 - 12..0x100].fill(0);
            let split = guest.split(true);
            guest.offer(0, offered);
            let buffers = available(&split, 0, 1, Writer::Guest);
            let buffer = &buffers.found[0];
            assert_eq!(split.undone(buffer), Undone::Nothing);
            assert_eq!(bytes(&parts(&split, buffer).unwrap()), frame);
            assert!(!split.take(buffer, |part| part.len < 30), "it said no");
        }
    }
    // Too many; and what is behind the first is not simple, or there are more and more.
    let to = |next, of: Descriptor| Descriptor { next, ..of };
    let inner = |flags| descriptor(AT[0], 16, flags);
    let nowhere = descriptor(0, 16, 0);
    let short = descriptor(AT[0], 11, NEXT);
    for (offered, count, len) in [
        (chain(&[header, first, first, last]), 1, Some(130)),
        (chain(&[header, first, first, first, last]), 1, None),
        (chain(&[header, inner(INDIRECT)]), 1, None),
        (chain(&[header, inner(WRITE)]), 1, None),
        (chain(&[header, nowhere]), 1, None),
        (vec![to(0, first)], 1, None),
        (vec![to(SIZE, header)], 1, None),
        (vec![to(1, header), to(1, first)], 1, None),
        (chain(&[short, last]), 0, None),
    ] {
        let split = guest.split(true);
        guest.offer(0, &offered);
        let buffers = available(&split, 0, 1, Writer::Guest);
        assert_eq!(buffers.found.len(), count, "{offered:?}");
        let found = buffers.found.first();
        assert_eq!(found.and_then(|it| split.len(it)), len, "{offered:?}");
    }
}

#[test]
fn a_buffer_to_receive_by_may_be_in_a_table_of_one() {
    let mut guest = Guest::new();
    let split = guest.split(true);
    guest.write(0x800, &descriptor(AT[1], 100, WRITE));
    guest.offer(0, &[descriptor(AT[0] + 0x800, 16, INDIRECT)]);
    let buffers = available(&split, 0, 1, Writer::Host);
    assert!(split.put(&buffers.found[0], b"x", None));
    let used = split.filled(&buffers.found[0], 1);
    assert_eq!(used, Used { head: 0, len: 13 });
    assert_eq!(guest.bytes[1][..13], *[&HEADER[..], b"x"].concat());
}

#[test]
fn a_checksum_that_is_left_is_told_of_both_ways() {
    let left = Left {
        start: 34,
        offset: 0x106,
    };
    for (long, header) in [(true, 12), (false, 10)] {
        let mut guest = Guest::new();
        let split = guest.split(long);
        guest.offer(0, &[descriptor(AT[0], 100, WRITE)]);
        let buffers = available(&split, 0, 1, Writer::Host);
        assert!(split.put(&buffers.found[0], b"x", Some(left)));
        let told = [1, 0, 0, 0, 0, 0, 34, 0, 6, 1, 1, 0];
        let expected = [&told[..header], b"x"].concat();
        assert_eq!(guest.bytes[0][..=header], expected);
        guest.offer(1, &[descriptor(AT[0], 100, 0)]);
        let mut undone = |flags, segments| {
            guest.bytes[0][..2].copy_from_slice(&[flags, segments]);
            split.undone(&available(&split, 1, 1, Writer::Guest).found[0])
        };
        assert_eq!(undone(1, 0), Undone::Checksum(left));
        assert_eq!(undone(0, 0), Undone::Nothing);
        for (flags, segments) in [(1, 1), (0, 1), (2, 0), (3, 0)] {
            assert_eq!(undone(flags, segments), Undone::More);
        }
        guest.bytes[0][..2].copy_from_slice(&[1, 1]);
        let never = guest.split_with(Header {
            is_long: long,
            counts: false,
        });
        let buffers = available(&never, 1, 1, Writer::Guest);
        assert_eq!(never.undone(&buffers.found[0]), Undone::Nothing);
    }
}

#[test]
fn a_ring_that_is_not_in_the_guests_memory_is_not_used() {
    let mut guest = Guest::new();
    let Split {
        parts,
        header,
        regions,
    } = guest.split(true);
    let whole = regions[2];
    let usable = |parts, region| {
        // SAFETY: the regions are there.
        unsafe { Split::new(parts, header, [region].into_iter().collect()) }.is_some()
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
    let near =
        |around: u64| (0..8000_u64).prop_map(move |n| around.wrapping_sub(2000).wrapping_add(n));
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
        let buffers = available(&split, from % 0x8000, 64, writer);
        // The region that has everything is at addresses that are hardly ever met.
        prop_assume!(descriptors.iter().all(|it| it.address < u64::MAX - 0x1_0000));
        let holds = |it: &Descriptor| {
            let end = u128::from(it.address) + u128::from(it.len);
            let holds = |at: u64| at <= it.address && it.address < at + LEN as u64 && end <= u128::from(at) + LEN as u128;
            AT.into_iter().any(holds)
        };
        // Tables are of zeros here, which are nowhere.
        let is_simple = |it: &Descriptor| match writer {
            Writer::Host => it.flags == WRITE && it.len > 12 && holds(it),
            Writer::Guest if it.flags == NEXT => it.len >= 12 && holds(it),
            Writer::Guest => it.flags == 0 && it.len > 12 && holds(it),
        };
        let simple = descriptors.iter().take_while(|it| is_simple(it)).count();
        prop_assert_eq!(buffers.found.len(), simple);
        prop_assert_eq!(buffers.unusual, simple < descriptors.len());
        for (n, buffer) in buffers.found.iter().enumerate() {
            match writer {
                // Each chain goes on with the first descriptor.
                Writer::Guest => match parts(&split, buffer) {
                    Some(parts) => prop_assert!(bytes(&parts).iter().all(|byte| *byte == 0)),
                    None => prop_assert!(descriptors[n].flags == NEXT),
                },
                Writer::Host => {
                    prop_assert!(split.put(buffer, &vec![0; buffer.first.len - 12], None));
                }
            }
        }
    }
}
