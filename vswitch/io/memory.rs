// SPDX-License-Identifier: MIT
//! Ports in memory, for tests and benches of everything above [`Frame`]: no DPDK, no device.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::{Frame, Frames, RxQueue, TxQueue};

/// Bytes in front of a fresh frame, as in DPDK's buffers (RTE_PKTMBUF_HEADROOM).
const HEADROOM: usize = 128;

/// Bytes that a frame can have without being moved, as in DPDK's buffers.
const DATAROOM: usize = 2048;

/// A frame of one segment on the heap.
#[derive(PartialEq, Eq, Debug)]
pub struct MemoryFrame {
    buffer: Vec<u8>,
    start: usize,
}

impl MemoryFrame {
    /// A frame of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = Vec::with_capacity(HEADROOM + bytes.len().max(DATAROOM));
        buffer.resize(HEADROOM, 0xa5);
        buffer.extend_from_slice(bytes);
        Self {
            buffer,
            start: HEADROOM,
        }
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
        }
    }
}

impl Frame for MemoryFrame {
    fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    #[inline]
    fn head(&self) -> &[u8] {
        &self.buffer[self.start..]
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
        let fits = n <= self.len();
        if fits {
            self.start += n;
        }
        fits
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> bool {
        let fits = len <= self.len();
        if fits {
            self.buffer.truncate(self.start + len);
        }
        fits
    }

    fn extend(&mut self, n: usize) -> bool {
        let fits = n <= self.buffer.capacity() - self.buffer.len();
        if fits {
            self.buffer.resize(self.buffer.len() + n, 0xa5);
        }
        fits
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
