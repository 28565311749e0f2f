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
}

/// The sending end of one queue of a port. One worker feeds it.
pub trait TxQueue: Send {
    /// The buffers it takes.
    type Frame: Frame;

    /// Gives frames to the device, from the front, and removes those that it accepted, which are the
    /// device's from then on. What it refused (its ring is full) remains in `frames`, in order. Never blocks.
    /// Returns how many were accepted.
    fn tx_burst(&mut self, frames: &mut Frames<Self::Frame>) -> usize;
}
