// SPDX-License-Identifier: MIT
//! Ports that make their frames and take them back, on the worker's own core: nothing else is in the way.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use vswitch::io::{Frame, Frames, RxQueue, TxQueue};

/// Frames of a paced port that may wait for the worker; those beyond are lost. As a device has.
const RING: u64 = 1024;

/// Most bytes of a frame, headroom included.
const ROOM: usize = 256;
const HEADROOM: usize = 64;

/// Bytes of VXLAN and what is below it.
const OUTER: usize = 50;

/// A frame in a buffer of its own.
pub(crate) struct Packet {
    buffer: Box<[u8; ROOM]>,
    start: usize,
    end: usize,
}

impl Packet {
    fn fill(&mut self, bytes: &[u8], number: u64) {
        (self.start, self.end) = (HEADROOM, HEADROOM + bytes.len());
        self.buffer[self.start..self.end].copy_from_slice(bytes);
        self.buffer[self.end - 8..self.end].copy_from_slice(&number.to_be_bytes());
    }
}

impl Frame for Packet {
    fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    fn head(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.head())
    }

    #[inline]
    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    #[inline]
    fn prepend<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.start = self.start.checked_sub(N)?;
        self.buffer[self.start..].first_chunk_mut()
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> bool {
        let fits = n <= self.len();
        self.start += if fits { n } else { 0 };
        fits
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> bool {
        let fits = len <= self.len();
        self.end -= if fits { self.len() - len } else { 0 };
        fits
    }

    /// There is no pool: nothing here is fragmented.
    fn copy(&self, _: std::ops::Range<usize>) -> Option<Self> {
        None
    }
}

/// What came out for one packet: the port, and what the headers say of the destination. Zero: nothing came out.
pub(crate) type Seen = u64;

/// What a packet shows that left by `port`, towards the host `192.0.<host>` if that is the uplink, to a MAC that ends
/// in `mac` and in the network `vni`.
pub(crate) fn seen(port: u16, host: u16, mac: u16, vni: u16) -> Seen {
    1 << 63 | u64::from(port) << 48 | u64::from(host) << 32 | u64::from(mac) << 16 | u64::from(vni)
}

/// Packets that came in together.
pub(crate) struct Batch {
    /// Number of the first.
    pub(crate) first: usize,
    /// They came in after the one moment and were decided upon before the other: nanoseconds.
    pub(crate) between: (u64, u64),
}

/// What all ports of the worker share. On its own core only, but for the moments between two phases.
pub(crate) struct Line {
    clock: Instant,
    free: Vec<Packet>,
    /// By packet number: which flow, and what came out.
    pub(crate) packets: Vec<(u32, Seen)>,
    pub(crate) batches: Vec<Batch>,
    /// Nanoseconds between two packets of a paced phase; `None`: as fast as the worker takes them.
    pub(crate) gap: Option<f64>,
    /// When the phase began, and how many packets were offered to paced ports since.
    begun: u64,
    offered: u64,
    /// Packets that found a full ring.
    pub(crate) overflowed: u64,
    /// Polls of all ports since the start.
    pub(crate) polls: u64,
    /// Packets that nobody sent, or that came out twice.
    pub(crate) strange: u64,
}

pub(crate) type Shared = Arc<Mutex<Line>>;

impl Line {
    /// Room for so many packets of one phase.
    pub(crate) fn new(clock: Instant, room: usize) -> Self {
        Self {
            clock,
            free: Vec::new(),
            packets: Vec::with_capacity(room),
            batches: Vec::with_capacity(room / 8),
            gap: None,
            begun: 0,
            offered: 0,
            overflowed: 0,
            polls: 0,
            strange: 0,
        }
    }

    /// Begins a phase.
    pub(crate) fn clear(&mut self, gap: Option<f64>) {
        self.packets.clear();
        self.batches.clear();
        self.begun = self.now();
        (self.gap, self.offered, self.overflowed, self.strange) = (gap, 0, 0, 0);
    }

    /// All that is decided upon by now was so before now.
    pub(crate) fn close(&mut self) -> u64 {
        let now = self.now();
        if let Some(batch) = self.batches.last_mut().filter(|batch| batch.between.1 == 0) {
            batch.between.1 = now;
        }
        now
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    /// How many packets have arrived at a paced port and wait; up to `max` at any other.
    fn waiting(&mut self, now: u64, max: usize) -> usize {
        let Some(gap) = self.gap else {
            return max;
        };
        let due = ((now - self.begun) as f64 / gap) as u64;
        let due = due.saturating_sub(self.offered);
        let lost = due.saturating_sub(RING);
        self.overflowed += lost;
        self.offered += lost;
        (due - lost).min(max as u64) as usize
    }
}

/// The receiving end: flows in turn, each packet with a number of its own.
pub(crate) struct Source {
    pub(crate) line: Shared,
    /// Number of the first flow.
    pub(crate) first: u32,
    /// A frame of each flow.
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) next: usize,
    /// One burst of so many polls; the other ports' traffic is the rest.
    pub(crate) every: usize,
    pub(crate) polls: usize,
}

impl RxQueue for Source {
    type Frame = Packet;

    fn rx_burst(&mut self, into: &mut Frames<Packet>, max: usize) -> usize {
        let mut line = self.line.lock().unwrap();
        let now = line.close();
        line.polls += 1;
        self.polls += 1;
        if !self.polls.is_multiple_of(self.every) {
            return 0;
        }
        let first = line.packets.len();
        let room = line.packets.capacity() - first;
        let count = line.waiting(now, max).min(room);
        line.offered += count as u64;
        for number in first..first + count {
            // A stride: no two packets in a row to one bucket.
            self.next = (self.next + 4099) % self.frames.len();
            let mut packet = line.free.pop().unwrap_or_else(|| Packet {
                buffer: Box::new([0; ROOM]),
                start: 0,
                end: 0,
            });
            packet.fill(&self.frames[self.next], number as u64);
            line.packets.push((self.first + self.next as u32, 0));
            into.push(packet);
        }
        if count > 0 {
            let between = (now, 0);
            line.batches.push(Batch { first, between });
        }
        count
    }
}

/// The sending end of port number `port`; 0 is the uplink.
pub(crate) struct Sink {
    pub(crate) line: Shared,
    pub(crate) port: u16,
}

impl TxQueue for Sink {
    type Frame = Packet;

    fn tx_burst(&mut self, frames: &mut Frames<Packet>) -> usize {
        let (mut line, count) = (self.line.lock().unwrap(), frames.len());
        for packet in frames.drain(..) {
            let head = packet.head();
            let number = head
                .last_chunk()
                .map_or(0, |bytes| u64::from_be_bytes(*bytes));
            let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
            let seen = match self.port {
                0 => seen(0, word(32), word(OUTER + 4), word(47)),
                port => seen(port, 0, word(4), 0),
            };
            match line.packets.get_mut(number as usize) {
                Some((_, out @ 0)) => *out = seen,
                _ => line.strange += 1,
            }
            line.free.push(packet);
        }
        count
    }
}
