// SPDX-License-Identifier: MIT
//! The seam between the packet path and the world: a [`Frame`] is one packet's buffer, [`RxQueue`] and
//! [`TxQueue`] are the two ends of a port. Everything above works with these, so it runs without DPDK.

pub mod memory;

use std::ops::Range;

use arrayvec::ArrayVec;

/// Most frames in one burst. 64: two cache lines of pointers per burst beyond testpmd's 32, and its
/// metadata (4 KiB) still stays in L1. `set burst` chooses up to this.
pub const MAX_BURST: usize = 64;

/// Frames on their way, in order of arrival. Dropping it frees them one by one; see [`Frame::free_all`].
pub type Frames<F> = ArrayVec<F, MAX_BURST>;

/// What the device said of a received frame's IPv4 header checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// Checked by the device, correct.
    Good,
    /// Checked by the device, wrong.
    Bad,
    /// Not checked: the software has to.
    Unknown,
}

/// What the sender of a frame left for others to do, as a guest behind virtio does (virtio 1.1 section 5.1.6.2). In either
/// case the TCP or UDP checksum is missing: its field has the sum of the pseudo header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfinished {
    /// Nothing else is missing.
    Checksum,
    /// It is to be cut into TCP segments with so many bytes of payload each.
    Segments(u16),
}

/// Bytes of the headers of a TCP or UDP packet in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers {
    /// Ethernet, with VLAN tags.
    pub link: u16,
    /// IP, with options or extension headers.
    pub ip: u16,
    /// TCP with its options, or UDP.
    pub transport: u16,
    /// IPv6, not IPv4.
    pub is_ipv6: bool,
    /// UDP, not TCP.
    pub is_udp: bool,
}

/// What a device finishes of frames that leave by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Finishes {
    /// TCP and UDP checksums, or its receiver takes frames without.
    pub checksums: bool,
    /// Cuts TCP over IPv4 into segments, or its receiver takes frames that are to be.
    pub segments_ipv4: bool,
    /// The same over IPv6.
    pub segments_ipv6: bool,
}

/// One packet in memory, with one owner. May have several segments; headers are read and written in the
/// first one ([`Frame::head`]), the rest is carried.
pub trait Frame: Sized + Send {
    /// Bytes of the whole frame, over all segments.
    fn len(&self) -> usize;

    /// True for a frame without a byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the first segment.
    fn head(&self) -> &[u8];

    /// The bytes of each segment.
    fn parts(&self) -> impl Iterator<Item = &[u8]>;

    /// The bytes of the first segment, to rewrite headers.
    fn head_mut(&mut self) -> &mut [u8];

    /// Grows the frame by `N` bytes at the front and returns them, their content undefined.
    /// `None`, and no change, when the headroom is too small.
    fn prepend<const N: usize>(&mut self) -> Option<&mut [u8; N]>;

    /// Removes `n` bytes at the front. False, and no change, when the first segment is shorter.
    fn trim_front(&mut self, n: usize) -> bool;

    /// Cuts the frame down to `len` bytes by removing bytes at the end, whole segments if need be. False, and no change,
    /// when the frame is shorter.
    fn truncate(&mut self, len: usize) -> bool;

    /// Grows the frame by `n` bytes at the end, their content undefined. False, and no change, when there is no room behind
    /// it or it has several segments; a frame that is not made for it never has room.
    fn extend(&mut self, _n: usize) -> bool {
        false
    }

    /// A frame of its own with these bytes of this one, from the same pool and with room for an outer header. `None` when
    /// the pool is empty or the frame is shorter.
    fn copy(&self, bytes: Range<usize>) -> Option<Self>;

    /// What the device said of the IPv4 header checksum of the outermost header.
    fn checksum(&self) -> Checksum {
        Checksum::Unknown
    }

    /// Forgets what the device said of checksums: the header they were about is gone (decapsulation).
    fn clear_offloads(&mut self) {}

    /// What its sender left to do, or is left to the device by now.
    fn unfinished(&self) -> Option<Unfinished> {
        None
    }

    /// Nothing is left to do any more.
    fn set_finished(&mut self) {}

    /// Leaves this to the device that it leaves by, which says that it [`Finishes`] it. From here on its headers keep their
    /// lengths.
    fn leave_to_device(&mut self, _left: Unfinished, _headers: &Headers) {}

    /// Asks the CPU to fetch the first cache line of [`Frame::head`].
    #[inline]
    fn prefetch_head(&self) {}

    /// Frees all frames, in bulk where the implementation can. Leaves `frames` empty.
    #[inline]
    fn free_all(frames: &mut Frames<Self>) {
        frames.clear();
    }
}

/// The receiving end of one queue of a port. One worker polls it.
pub trait RxQueue: Send {
    /// The buffers it fills.
    type Frame: Frame;

    /// Appends up to `max` received frames to `into` (never more than fit) and returns how many.
    /// Never blocks.
    fn rx_burst(&mut self, into: &mut Frames<Self::Frame>, max: usize) -> usize;

    /// Whether frames that arrived last may be unfinished.
    #[inline]
    fn brought_unfinished(&self) -> bool {
        false
    }

    /// Its worker has slept: frames may have arrived long ago.
    fn after_sleep(&mut self) {}
}

/// The sending end of one queue of a port. One worker feeds it.
pub trait TxQueue: Send {
    /// The buffers it takes.
    type Frame: Frame;

    /// Gives frames to the device, from the front, and removes those that it accepted, which are the
    /// device's from then on. What it refused (its ring is full) remains in `frames`, in order. Never blocks.
    /// Returns how many were accepted.
    fn tx_burst(&mut self, frames: &mut Frames<Self::Frame>) -> usize;

    /// What the device finishes, at this moment.
    fn finishes(&self) -> Finishes {
        Finishes::default()
    }

    /// False: nobody takes from this queue, at this moment, though others of the device may be taken from.
    fn is_open(&self) -> bool {
        true
    }
}
