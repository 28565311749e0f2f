// SPDX-License-Identifier: MIT
//! Ports in memory, for tests and benches of everything above [`Frame`]: no DPDK, no device.

use std::ops::Range;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::{Frame, Frames, Headers, RxQueue, TxQueue, Unfinished};

/// Bytes in front of a fresh frame, as in DPDK's buffers (RTE_PKTMBUF_HEADROOM).
const HEADROOM: usize = 128;

/// Bytes that a frame can have without being moved, as in DPDK's buffers.
const DATAROOM: usize = 2048;

/// A frame on the heap.
#[derive(Debug)]
pub struct MemoryFrame {
    buffer: Vec<u8>,
    start: usize,
    /// The bytes of all segments but the first.
    rest: Vec<u8>,
    /// Where copies take their buffers; `None`: from the heap.
    pool: Option<Wire>,
    unfinished: Option<Unfinished>,
    left: Option<Headers>,
}

impl MemoryFrame {
    /// A frame of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self::chained(bytes, &[])
    }

    /// A frame with `head` in its first segment and `rest` in further ones.
    pub fn chained(head: &[u8], rest: &[u8]) -> Self {
        let mut buffer = Vec::with_capacity(HEADROOM + head.len().max(DATAROOM));
        buffer.resize(HEADROOM, 0xa5);
        buffer.extend_from_slice(head);
        Self {
            buffer,
            start: HEADROOM,
            rest: rest.to_vec(),
            pool: None,
            unfinished: None,
            left: None,
        }
    }

    /// The same, of which its sender left this undone.
    #[must_use]
    pub fn left(self, undone: Unfinished) -> Self {
        let unfinished = Some(undone);
        Self { unfinished, ..self }
    }

    /// What was left to the device, if anything was: where the headers are.
    pub const fn left_to_device(&self) -> Option<Headers> {
        self.left
    }

    /// Copies of it are to be frames of this pool: what they do not fit is an empty pool to them.
    #[must_use]
    pub fn of_pool(self, pool: &Wire) -> Self {
        let pool = Some(Arc::clone(pool));
        Self { pool, ..self }
    }

    /// All its bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        [self.head(), &self.rest].concat()
    }
}

impl Clone for MemoryFrame {
    /// With the same room behind it.
    fn clone(&self) -> Self {
        let mut buffer = Vec::with_capacity(self.buffer.capacity());
        buffer.extend_from_slice(&self.buffer);
        Self {
            buffer,
            start: self.start,
            rest: self.rest.clone(),
            pool: self.pool.clone(),
            unfinished: self.unfinished,
            left: self.left,
        }
    }
}

impl Frame for MemoryFrame {
    fn len(&self) -> usize {
        self.buffer.len() - self.start + self.rest.len()
    }

    #[inline]
    fn head(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        [self.head(), &self.rest].into_iter()
    }

    #[inline]
    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    #[inline]
    fn prepend<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.start = self.start.checked_sub(N)?;
        self.buffer[self.start..].first_chunk_mut()
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> bool {
        let fits = n <= self.head().len();
        if fits {
            self.start += n;
        }
        fits
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> bool {
        let fits = len <= self.len();
        if fits {
            self.rest.truncate(len.saturating_sub(self.head().len()));
            self.buffer.truncate(self.start + len);
        }
        fits
    }

    fn extend(&mut self, n: usize) -> bool {
        let fits = self.rest.is_empty() && n <= self.buffer.capacity() - self.buffer.len();
        if fits {
            self.buffer.resize(self.buffer.len() + n, 0xa5);
        }
        fits
    }

    fn unfinished(&self) -> Option<Unfinished> {
        self.unfinished
    }

    fn set_finished(&mut self) {
        (self.unfinished, self.left) = (None, None);
    }

    fn leave_to_device(&mut self, left: Unfinished, headers: &Headers) {
        (self.unfinished, self.left) = (Some(left), Some(*headers));
    }

    fn copy(&self, bytes: Range<usize>) -> Option<Self> {
        if bytes.end > self.len() {
            return None;
        }
        let mut copy = match &self.pool {
            Some(pool) => pool.pop()?,
            None => Self::new(&[]),
        };
        copy.buffer.truncate(copy.start);
        if self.pool.is_some() && copy.buffer.capacity() - copy.start < bytes.len() {
            return None;
        }
        let at = self.head().len();
        let (first, rest) = (
            bytes.start.min(at)..bytes.end.min(at),
            bytes.start.max(at) - at..bytes.end.max(at) - at,
        );
        copy.buffer.extend_from_slice(&self.head()[first]);
        copy.buffer.extend_from_slice(&self.rest[rest]);
        Some(copy)
    }
}

/// A bounded queue of frames: the wire between a test and a worker.
pub type Wire = Arc<ArrayQueue<MemoryFrame>>;

/// A wire that holds `capacity` frames.
pub fn wire(capacity: usize) -> Wire {
    Arc::new(ArrayQueue::new(capacity))
}

/// Receives what a test puts on the wire.
pub struct MemoryRx(pub Wire);

impl RxQueue for MemoryRx {
    type Frame = MemoryFrame;

    fn rx_burst(&mut self, into: &mut Frames<MemoryFrame>, max: usize) -> usize {
        let before = into.len();
        let room = max.min(into.remaining_capacity());
        into.extend(std::iter::from_fn(|| self.0.pop()).take(room));
        into.len() - before
    }

    fn brought_unfinished(&self) -> bool {
        true
    }
}

/// Sends onto the wire; a full wire refuses.
pub struct MemoryTx(pub Wire);

impl TxQueue for MemoryTx {
    type Frame = MemoryFrame;

    fn tx_burst(&mut self, frames: &mut Frames<MemoryFrame>) -> usize {
        let mut refused = Frames::new();
        let mut accepted = 0;
        for frame in frames.drain(..) {
            match self.0.push(frame) {
                Ok(()) => accepted += 1,
                Err(frame) => refused.push(frame),
            }
        }
        *frames = refused;
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_grows_and_shrinks_at_both_ends() {
        let mut frame = MemoryFrame::new(&[1, 2, 3]);
        frame.prepend::<2>().unwrap().copy_from_slice(&[8, 9]);
        assert_eq!(frame.head(), [8, 9, 1, 2, 3]);
        assert!(frame.prepend::<127>().is_none(), "126 bytes are left");
        assert!(frame.trim_front(1) && !frame.trim_front(5));
        assert!(frame.truncate(3) && !frame.truncate(4));
        assert_eq!(frame.head(), [9, 1, 2]);
        let mut frame = frame.clone();
        assert!(!frame.extend(DATAROOM) && frame.extend(1) && frame.extend(DATAROOM - 4));
        assert_eq!(
            (&frame.head()[..3], frame.len()),
            (&[9, 1, 2][..], DATAROOM)
        );
    }

    #[test]
    fn a_frame_of_several_segments_is_copied_and_cut_anywhere() {
        let mut frame = MemoryFrame::chained(&[1, 2, 3], &[4, 5, 6]);
        assert_eq!((frame.len(), frame.head()), (6, &[1, 2, 3][..]));
        for (from, to) in (0..=6).flat_map(|from| (from..=6).map(move |to| (from, to))) {
            let copy = frame.copy(from..to).unwrap();
            assert_eq!(copy.head(), &[1, 2, 3, 4, 5, 6][from..to]);
        }
        assert!(frame.copy(3..7).is_none());
        assert!(!frame.trim_front(4) && frame.truncate(5));
        assert_eq!(frame.to_vec(), [1, 2, 3, 4, 5]);
        assert!(frame.truncate(2));
        assert_eq!(frame.to_vec(), [1, 2]);
    }

    #[test]
    fn copies_are_of_the_frames_pool_while_it_has_any() {
        let pool = wire(2);
        pool.push(MemoryFrame::new(&[0; 4])).unwrap();
        pool.push(MemoryFrame::new(&[0; 4])).unwrap();
        let frame = MemoryFrame::new(&[7; DATAROOM + 1]).of_pool(&pool);
        assert_eq!(frame.copy(1..4).unwrap().head(), [7; 3]);
        assert!(
            frame.copy(0..DATAROOM + 1).is_none(),
            "too long for a buffer"
        );
        assert!(frame.copy(0..1).is_none(), "the pool is empty");
    }

    #[test]
    fn a_full_wire_refuses_in_order() {
        let wire = wire(2);
        let mut frames: Frames<_> = (0..4u8).map(|i| MemoryFrame::new(&[i])).collect();
        assert_eq!(MemoryTx(Arc::clone(&wire)).tx_burst(&mut frames), 2);
        assert_eq!(
            frames
                .iter()
                .map(|frame| frame.head()[0])
                .collect::<Vec<_>>(),
            [2, 3]
        );
        let mut got = Frames::new();
        assert_eq!(MemoryRx(wire).rx_burst(&mut got, 1), 1);
        assert_eq!(got[0].head(), [0]);
    }
}
