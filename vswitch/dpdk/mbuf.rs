// SPDX-License-Identifier: MIT
//! [`Mbuf`]: one frame in DPDK's memory.
//!
//! What the packet path does to each frame reads and writes the first cache line of the descriptor only.

use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

use super::sys;
use crate::io::{Checksum, Frame, Frames, Headers, Unfinished};

/// What a driver says of a received frame that something is left to do of: as it is on receive, or as on send, which a
/// guest's do with `legacy-ol-flags=1`.
const LEFT: u64 =
    sys::ALKAID_RX_LRO | sys::ALKAID_TX_L4_MASK | sys::ALKAID_TX_TCP_SEG | sys::ALKAID_TX_UDP_SEG;

/// A frame, owned: nobody else refers to its descriptor or its buffers. Dropping it frees it.
///
/// # Invariants
/// In each segment `data_off + data_len <= buf_len`, as drivers guarantee on receive; `pkt_len` is the sum of
/// `data_len`, `nb_segs` the number of segments, and the last one's `next` is null.
// Transparent: bursts are passed to DPDK as arrays of `rte_mbuf *`.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an mbuf has one owner, whom it does not matter which thread that is; its pool is made for many threads.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// # Safety
    /// `frame` is a live mbuf, and the caller gives it away.
    pub(super) unsafe fn from_raw(frame: NonNull<sys::rte_mbuf>) -> Self {
        Self(frame)
    }

    #[inline(always)]
    fn raw(&self) -> &sys::rte_mbuf {
        // SAFETY: live and ours, by the type's contract.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn raw_mut(&mut self) -> &mut sys::rte_mbuf {
        // SAFETY: live and ours alone, by the type's contract.
        unsafe { self.0.as_mut() }
    }

    /// Number of buffers that the frame is spread over.
    #[inline]
    pub fn segments(&self) -> u16 {
        self.raw().nb_segs
    }

    /// Appends `bytes` to the first segment. False, and no change, when it has no room for them or is not the only one.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        // SAFETY: a slice, and none of this frame, which is borrowed mutably.
        unsafe { self.append_from(bytes.as_ptr(), bytes.len()) }
    }

    /// Copies the whole frame, over all segments.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.parts().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// This frame with `tail` behind it, as further segments.
    #[cfg(test)]
    pub(super) fn chained(mut self, tail: Self) -> Self {
        let tail = std::mem::ManuallyDrop::new(tail);
        let (bytes, segments) = (tail.raw().pkt_len, tail.raw().nb_segs);
        let mut last = self.0;
        // SAFETY: a segment of this frame, which is ours.
        while let Some(next) = NonNull::new(unsafe { last.as_ref() }.next) {
            last = next;
        }
        // SAFETY: as above.
        unsafe { last.as_mut() }.next = tail.0.as_ptr();
        self.raw_mut().pkt_len += bytes;
        self.raw_mut().nb_segs += segments;
        self
    }

    /// Appends `len` bytes from elsewhere, which somebody may write meanwhile. False, and no change, if the frame has no room for
    /// them.
    ///
    /// # Safety
    /// There are so many bytes, and not in this frame.
    #[inline]
    pub(super) unsafe fn append_from(&mut self, from: *const u8, len: usize) -> bool {
        let old = self.head().len();
        let fits = self.extend(len);
        if fits {
            let start = self.head_mut()[old..].as_mut_ptr();
            // SAFETY: the frame is as long now, and they are elsewhere.
            unsafe { start.copy_from_nonoverlapping(from, len) };
        }
        fits
    }

    /// The flags that a driver has set, or is to go by.
    #[inline]
    pub(super) fn flags(&self) -> u64 {
        self.raw().ol_flags
    }

    /// Whether there is an unfinished frame among these, which have just arrived. Each that there is says so itself from here on.
    #[inline]
    pub(super) fn find_unfinished(frames: &mut [Self]) -> bool {
        let flags = frames.iter().fold(0, |flags, frame| flags | frame.flags());
        let take_over = |found, frame: &mut Self| found | frame.take_over();
        Self::may_be_left(flags) && frames.iter_mut().fold(false, take_over)
    }

    /// Whether flags of one or more frames say that something is left to do. Of a checksum that a device did not verify, flags of
    /// several frames taken together may say the same.
    #[inline]
    const fn may_be_left(flags: u64) -> bool {
        flags & (LEFT | sys::ALKAID_RX_L4_CKSUM_NONE) != 0
    }

    /// Notes what the driver says is left to do, in the flags that [`Frame::unfinished`] reads: those for sending, of which no
    /// other is left. False: it is nothing.
    fn take_over(&mut self) -> bool {
        let raw = self.raw_mut();
        let flags = raw.ol_flags;
        let segments = sys::ALKAID_RX_LRO | sys::ALKAID_TX_TCP_SEG | sys::ALKAID_TX_UDP_SEG;
        let none = flags & sys::ALKAID_RX_L4_CKSUM_MASK == sys::ALKAID_RX_L4_CKSUM_NONE;
        let left = match flags {
            flags if flags & segments != 0 => sys::ALKAID_TX_TCP_SEG,
            flags if none || flags & sys::ALKAID_TX_L4_MASK != 0 => sys::ALKAID_TX_TCP_CKSUM,
            _ => 0,
        };
        let said = sys::ALKAID_TX_FLAGS | sys::ALKAID_RX_LRO | sys::ALKAID_RX_L4_CKSUM_MASK;
        raw.ol_flags = flags & !said | left;
        left != 0
    }

    /// All bytes are in the first segment, and nothing is left to do of them but a checksum at most.
    #[inline]
    pub(super) fn is_simple(&self) -> bool {
        let raw = self.raw();
        raw.nb_segs == 1 && raw.ol_flags & (sys::ALKAID_TX_TCP_SEG | sys::ALKAID_TX_UDP_SEG) == 0
    }

    /// Says of a frame that is being received that its checksum is left to make, as drivers say it.
    pub(super) fn set_checksum_left(&mut self) {
        self.raw_mut().ol_flags |= sys::ALKAID_RX_L4_CKSUM_NONE;
    }

    /// Where the TCP or UDP header begins whose checksum is [left to the device](Frame::leave_to_device), and whether it is UDP's.
    /// `None`: none is.
    #[inline]
    pub(super) fn checksum_left(&self) -> Option<(u16, bool)> {
        let raw = self.raw();
        let kind = raw.ol_flags & sys::ALKAID_TX_L4_MASK;
        if kind == 0 {
            return None;
        }
        // SAFETY: all members of the union are numbers of the same size.
        let headers = unsafe { &raw.__bindgen_anon_3.__bindgen_anon_1 };
        let start = headers.l2_len() + headers.l3_len();
        Some((start as u16, kind == sys::ALKAID_TX_UDP_CKSUM)) // 7 bits, and 9
    }

    /// Moves all bytes into the first segment. False, and no change, when they do not fit.
    pub(super) fn linearize(&mut self) -> bool {
        // SAFETY: live and ours alone; DPDK keeps the type's invariants.
        unsafe { sys::alkaid_mbuf_linearize(self.0.as_ptr()) == 0 }
    }

    /// [`Frame::truncate`] for a frame of several segments, which is longer than `len`. Segments that would have no byte
    /// are freed, but for the first: some drivers refuse them.
    #[cold]
    fn truncate_chain(&mut self, len: usize) {
        let (mut left, mut kept) = (len, 1);
        let mut last = self.0;
        let rest = loop {
            // SAFETY: a segment of this frame, which is ours.
            let segment = unsafe { last.as_mut() };
            match NonNull::new(segment.next) {
                Some(next) if left > usize::from(segment.data_len) => {
                    left -= usize::from(segment.data_len);
                    kept += 1;
                    last = next;
                }
                rest => {
                    segment.data_len = segment.data_len.min(left as u16); // `left` fits, or it was the last
                    segment.next = std::ptr::null_mut();
                    break rest;
                }
            }
        };
        let raw = self.raw_mut();
        (raw.pkt_len, raw.nb_segs) = (len as u32, kept); // fits: it was longer
        if let Some(rest) = rest {
            // SAFETY: ours, and nothing refers to it since the loop's end.
            unsafe { sys::alkaid_mbuf_free(rest.as_ptr()) };
        }
    }
}

/// The bytes of a segment.
#[inline(always)]
fn data(raw: &sys::rte_mbuf) -> &[u8] {
    // SAFETY: the segment's data starts inside of its buffer, by the type's contract.
    let start = unsafe { raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off)) };
    // SAFETY: `data_len` bytes from there are inside of the buffer, by the type's contract; buffers are
    // initialised memory (zeroed by the kernel) and borrowed as long as the segment is.
    unsafe { std::slice::from_raw_parts(start, usize::from(raw.data_len)) }
}

impl Frame for Mbuf {
    #[inline]
    fn len(&self) -> usize {
        self.raw().pkt_len as usize
    }

    #[inline]
    fn head(&self) -> &[u8] {
        data(self.raw())
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(self.0);
        std::iter::from_fn(move || {
            // SAFETY: a segment of this frame, which is ours.
            let raw = unsafe { next?.as_ref() };
            next = NonNull::new(raw.next);
            Some(data(raw))
        })
    }

    #[inline]
    fn head_mut(&mut self) -> &mut [u8] {
        let raw = self.raw_mut();
        // SAFETY: see `data`.
        let start = unsafe { raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off)) };
        // SAFETY: see `data`; ours alone.
        unsafe { std::slice::from_raw_parts_mut(start, usize::from(raw.data_len)) }
    }

    #[inline]
    fn prepend<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let raw = self.raw_mut();
        if usize::from(raw.data_off) < N {
            return None;
        }
        // None of these wraps: N <= data_off, and data_off + data_len <= buf_len <= 65535.
        raw.data_off = raw.data_off.wrapping_sub(N as u16);
        raw.data_len = raw.data_len.wrapping_add(N as u16);
        raw.pkt_len = raw.pkt_len.wrapping_add(N as u32);
        // SAFETY: see `data`.
        let start = unsafe { raw.buf_addr.byte_add(usize::from(raw.data_off)) };
        // SAFETY: a place inside of a buffer. Saves the caller's loop a comparison.
        unsafe { std::hint::assert_unchecked(!start.is_null()) };
        // SAFETY: the N bytes that the segment just grew by; bytes have no alignment.
        Some(unsafe { &mut *start.cast::<[u8; N]>() })
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> bool {
        let raw = self.raw_mut();
        if n > usize::from(raw.data_len) {
            return false;
        }
        // None of these wraps: n <= data_len.
        raw.data_off = raw.data_off.wrapping_add(n as u16);
        raw.data_len = raw.data_len.wrapping_sub(n as u16);
        raw.pkt_len = raw.pkt_len.wrapping_sub(n as u32);
        true
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> bool {
        if len >= self.len() {
            return len == self.len();
        }
        let raw = self.raw_mut();
        if raw.nb_segs != 1 {
            self.truncate_chain(len);
            return true;
        }
        raw.data_len = len as u16; // fits: it was longer
        raw.pkt_len = len as u32;
        true
    }

    #[inline]
    fn extend(&mut self, n: usize) -> bool {
        let raw = self.raw_mut();
        let room = usize::from(raw.buf_len) - usize::from(raw.data_off) - usize::from(raw.data_len);
        if raw.nb_segs != 1 || n > room {
            return false;
        }
        raw.data_len += n as u16; // fits: `room` is below 65536
        raw.pkt_len += n as u32;
        true
    }

    fn copy(&self, bytes: Range<usize>) -> Option<Self> {
        if bytes.is_empty() || bytes.end > self.len() {
            return None;
        }
        let (from, len) = (bytes.start as u32, bytes.len() as u32); // fit, as just compared
        // SAFETY: reads this frame, which is ours, and takes buffers of its pool, which outlives it.
        let copy = unsafe { sys::rte_pktmbuf_copy(self.0.as_ptr(), self.raw().pool, from, len) };
        // SAFETY: a fresh mbuf, which nobody else refers to.
        let mut copy = NonNull::new(copy).map(|copy| unsafe { Self::from_raw(copy) })?;
        copy.set_finished(); // what the whole frame lacks, a part of it does not
        Some(copy)
    }

    #[inline]
    fn checksum(&self) -> Checksum {
        let raw = self.raw();
        // SAFETY: all members of the union are numbers of the same size.
        let kind = unsafe { raw.__bindgen_anon_1.packet_type };
        if kind & sys::RTE_PTYPE_TUNNEL_MASK != 0 {
            // A device that knows the tunnel speaks of the inner header; of the outer one, only when it is wrong.
            let bad = raw.ol_flags & sys::ALKAID_RX_OUTER_IP_CKSUM_BAD != 0;
            return if bad {
                Checksum::Bad
            } else {
                Checksum::Unknown
            };
        }
        match raw.ol_flags & sys::ALKAID_RX_IP_CKSUM_MASK {
            sys::ALKAID_RX_IP_CKSUM_GOOD => Checksum::Good,
            sys::ALKAID_RX_IP_CKSUM_BAD => Checksum::Bad,
            _ => Checksum::Unknown,
        }
    }

    #[inline]
    fn clear_offloads(&mut self) {
        let raw = self.raw_mut();
        raw.ol_flags &= !sys::ALKAID_RX_CKSUM_FLAGS;
        raw.__bindgen_anon_1.packet_type = 0;
    }

    fn unfinished(&self) -> Option<Unfinished> {
        match self.raw().ol_flags {
            flags if flags & sys::ALKAID_TX_TCP_SEG != 0 => {
                // SAFETY: reads a field of an mbuf that is live and ours.
                let size = unsafe { sys::alkaid_mbuf_segment_size(self.0.as_ptr()) };
                Some(Unfinished::Segments(size))
            }
            flags if flags & sys::ALKAID_TX_L4_MASK != 0 => Some(Unfinished::Checksum),
            _ => None,
        }
    }

    fn set_finished(&mut self) {
        self.raw_mut().ol_flags &= !sys::ALKAID_TX_FLAGS;
    }

    fn leave_to_device(&mut self, left: Unfinished, headers: &Headers) {
        // The size of segments stays where the driver put it.
        let segments = match left {
            Unfinished::Segments(_) => sys::ALKAID_TX_TCP_SEG,
            Unfinished::Checksum => 0,
        };
        let (checksum, kind) = match headers.is_udp {
            true => (sys::ALKAID_TX_UDP_CKSUM, sys::RTE_PTYPE_L4_UDP),
            false => (sys::ALKAID_TX_TCP_CKSUM | segments, sys::RTE_PTYPE_L4_TCP),
        };
        let version = match headers.is_ipv6 {
            true => sys::ALKAID_TX_IPV6,
            false => sys::ALKAID_TX_IPV4,
        };
        let raw = self.raw_mut();
        raw.ol_flags = raw.ol_flags & !sys::ALKAID_TX_FLAGS | checksum | version;
        let Headers {
            link,
            ip,
            transport,
            ..
        } = *headers;
        // SAFETY: writes fields of an mbuf that is live and ours.
        unsafe { sys::alkaid_mbuf_set_headers(self.0.as_ptr(), link, ip, transport, kind) };
    }

    #[inline]
    fn prefetch_head(&self) {
        prefetch(self.head().as_ptr());
    }

    #[inline]
    fn free_all(frames: &mut Frames<Self>) {
        let count = frames.len();
        // SAFETY: none remains of which the vector would think that it is its own; the bulk free below takes them.
        unsafe { frames.set_len(0) };
        let first = frames.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
        // SAFETY: `count` mbufs that were the vector's; `Mbuf` is a transparent `rte_mbuf *`.
        unsafe { sys::rte_pktmbuf_free_bulk(first, count as u32) };
    }
}

/// Fetches the cache line of `address`, of which nothing is required.
#[inline(always)]
pub(super) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which any address is good for.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// The same for a line that is to be written: no other CPU keeps it.
#[inline(always)]
pub(super) fn prefetch_to_write(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which any address is good for. CPUs that do not know the instruction do nothing (Intel's manual, PREFETCHW);
    // the compiler has it for none but those that do, and we are built for all.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: live and ours, and never touched again.
        unsafe { sys::alkaid_mbuf_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Mbuf({} bytes in {} segments)",
            self.len(),
            self.segments()
        )
    }
}
