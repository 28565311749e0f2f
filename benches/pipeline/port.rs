// SPDX-License-Identifier: MIT
//! A port without a device: hands out frames from a few buffers that stay in the cache, and takes them back.
//! What it costs per frame is measured too, and printed as the floor.

use std::ptr::NonNull;

use vswitch::io::{Frame, Frames, MAX_BURST, RxQueue, TxQueue};

use crate::scene::Field;

/// As in DPDK's buffers.
const HEADROOM: usize = 128;
/// Longest frame.
const ROOM: usize = 256;
/// More than the switch holds at once: one burst.
const BUFFERS: usize = 4 * MAX_BURST;

/// What `rte_mbuf` is to DPDK: where the bytes are, and the bytes.
#[repr(C, align(64))]
struct Buffer {
    offset: u16,
    len: u16,
    /// Handed out, and not back yet.
    lent: bool,
    bytes: [u8; HEADROOM + ROOM],
}

impl Buffer {
    const EMPTY: Self = Self {
        offset: 0,
        len: 0,
        lent: false,
        bytes: [0; HEADROOM + ROOM],
    };
}

/// A frame in one of a [`Source`]'s buffers. Dropping it gives the buffer back.
pub(crate) struct Lent(NonNull<Buffer>);

// SAFETY: it is the buffer's only user until it is dropped, on whatever thread.
unsafe impl Send for Lent {}

impl Lent {
    #[inline(always)]
    fn buffer(&self) -> &Buffer {
        // SAFETY: buffers live as long as the process, and this one is lent to us alone.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn buffer_mut(&mut self) -> &mut Buffer {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        self.buffer_mut().lent = false;
    }
}

// As `Mbuf` does it, so that the compiler makes the same of it.
impl Frame for Lent {
    #[inline]
    fn len(&self) -> usize {
        usize::from(self.buffer().len)
    }

    #[inline]
    fn head(&self) -> &[u8] {
        let buffer = self.buffer();
        // SAFETY: offset + len is never beyond the buffer.
        unsafe {
            buffer
                .bytes
                .get_unchecked(usize::from(buffer.offset)..usize::from(buffer.offset + buffer.len))
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.head())
    }

    #[inline]
    fn head_mut(&mut self) -> &mut [u8] {
        let buffer = self.buffer_mut();
        // SAFETY: as above.
        unsafe {
            buffer.bytes.get_unchecked_mut(
                usize::from(buffer.offset)..usize::from(buffer.offset + buffer.len),
            )
        }
    }

    #[inline]
    fn prepend<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let buffer = self.buffer_mut();
        if usize::from(buffer.offset) < N {
            return None;
        }
        buffer.offset -= N as u16;
        buffer.len += N as u16;
        self.head_mut().first_chunk_mut()
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> bool {
        let buffer = self.buffer_mut();
        let fits = n <= usize::from(buffer.len);
        if fits {
            buffer.offset += n as u16;
            buffer.len -= n as u16;
        }
        fits
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> bool {
        let fits = len <= self.len();
        if fits {
            self.buffer_mut().len = len as u16;
        }
        fits
    }

    /// There is no pool: nothing here is fragmented.
    fn copy(&self, _: std::ops::Range<usize>) -> Option<Self> {
        None
    }
}

/// Receives frames of many flows, in an order that no prefetcher foresees, without end.
pub(crate) struct Source {
    buffers: Vec<NonNull<Buffer>>,
    next: usize,
    frame: Vec<u8>,
    fields: Vec<Field>,
    flows: u32,
    random: u32,
}

// SAFETY: whoever has the source has its buffers, but for those that are lent.
unsafe impl Send for Source {}

impl Source {
    /// `frame` is flow 0's; `fields` is what other flows, up to `flows`, have else.
    pub(crate) fn new(frame: Vec<u8>, fields: Vec<Field>, flows: u32) -> Self {
        assert!(frame.len() <= ROOM);
        // Leaked: a frame may outlive its source.
        let buffer = || NonNull::from(Box::leak(Box::new(Buffer::EMPTY)));
        Self {
            buffers: std::iter::repeat_with(buffer).take(BUFFERS).collect(),
            next: 0,
            frame,
            fields,
            flows,
            random: 1,
        }
    }

    /// The next flow. Goes through all 32-bit numbers; the upper bits choose, since the lower ones are less random.
    #[inline]
    fn flow(&mut self) -> u32 {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        ((u64::from(self.random) * u64::from(self.flows)) >> 32) as u32
    }
}

impl RxQueue for Source {
    type Frame = Lent;

    #[inline]
    fn rx_burst(&mut self, into: &mut Frames<Lent>, max: usize) -> usize {
        for _ in 0..max {
            let flow = self.flow();
            let mut at = self.buffers[self.next];
            self.next = (self.next + 1) % BUFFERS;
            // SAFETY: buffers live as long as the process; nobody else refers to this one, unless it is lent, and
            // then its user is on this thread and does not run now.
            let buffer = unsafe { at.as_mut() };
            assert!(!buffer.lent, "the switch holds more than a burst");
            (buffer.lent, buffer.offset, buffer.len) =
                (true, HEADROOM as u16, self.frame.len() as u16);
            let bytes = &mut buffer.bytes[HEADROOM..];
            bytes[..self.frame.len()].copy_from_slice(&self.frame);
            for field in &self.fields {
                bytes[field.offset..][..4]
                    .copy_from_slice(&(field.first + flow * field.step).to_be_bytes());
            }
            into.push(Lent(at));
        }
        max
    }
}

/// Throws away what it is given.
pub(crate) struct Sink;

impl TxQueue for Sink {
    type Frame = Lent;

    #[inline]
    fn tx_burst(&mut self, frames: &mut Frames<Lent>) -> usize {
        let sent = frames.len();
        frames.clear();
        sent
    }
}
