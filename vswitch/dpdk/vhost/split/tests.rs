// SPDX-License-Identifier: MIT
//! A ring in memory of the test's, and what a guest may write there.

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
