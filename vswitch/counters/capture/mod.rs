// SPDX-License-Identifier: MIT
//! Copies of frames for somebody who wants to see them: as they arrive, as they leave, and as they are when they are dropped.
//!
//! A worker asks once a burst whether anybody does. If so it copies into a ring of its own; what the reader leaves no room for
//! is counted as missed, and forwarded as ever.

mod ring;

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::SystemTime;

use arrayvec::ArrayVec;

use super::{DROP_REASONS, DropReason, add};
use crate::io::{Frame, Frames, MAX_BURST};
use crate::tables::{MAX_PORTS, PortId, PortSet, SharedPortSet, by_port};

use ring::{HEAD, Ring};

/// Words of a worker's ring: 4 MiB, what ten million of the shortest frames a second fill in five milliseconds. It is taken
/// when somebody wants to see frames for the first time, and kept.
const RING: usize = (4 << 20) / size_of::<u64>();

/// Most bytes of a frame that can be asked for, in a ring that has room for several.
pub const MAX_SNAPLEN: u32 = 256 << 10;

const _: () = assert!(8 * MAX_SNAPLEN as usize <= RING * size_of::<u64>());

/// What happened to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It arrived on the port: as it was then.
    Received,
    /// It left by the port: as it was then, outer header and tags included.
    Sent,
    /// It arrived on the port and was dropped: as it was then, without the outer header if that had been taken off.
    Dropped(DropReason),
}

/// Frames to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Of these ports.
    pub ports: PortSet,
    /// Those that arrive.
    pub received: bool,
    /// Those that leave.
    pub sent: bool,
    /// Those that are dropped, for the reasons whose bits are set.
    pub dropped: u64,
    /// Bytes of each, at most [`MAX_SNAPLEN`].
    pub snaplen: u32,
}

impl Wanted {
    /// All frames, whole.
    pub const ALL: Self = Self {
        ports: PortSet::ALL,
        received: true,
        sent: true,
        dropped: u64::MAX,
        snaplen: MAX_SNAPLEN,
    };
}

const _: () = assert!(DROP_REASONS <= u64::BITS as usize);

/// A copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The port.
    pub port: PortId,
    /// What happened there.
    pub event: Event,
    /// When, in nanoseconds since 1970. All frames of a burst have one time.
    pub time_ns: u64,
    /// Bytes of the frame.
    pub len: u32,
    /// The first of these.
    pub bytes: Vec<u8>,
}

/// Bits of [`Capture::watching`].
const RECEIVED: u32 = 1;
const SENT: u32 = 2;
const DROPPED: u32 = 4;

/// A worker's. It writes; one reader starts, reads and stops.
pub struct Capture {
    /// What is copied now, a bit each. Workers look at nothing else while nobody wants any.
    watching: AtomicU32,
    /// Changes with what is wanted: what was copied for somebody before is told by it.
    number: AtomicU32,
    ports: SharedPortSet,
    reasons: AtomicU64,
    snaplen: AtomicU32,
    ring: OnceLock<Ring>,
    /// Frames that were wanted and that there was no room for, by port.
    missed: Box<[AtomicU64; MAX_PORTS]>,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            watching: AtomicU32::default(),
            number: AtomicU32::default(),
            ports: SharedPortSet::default(),
            reasons: AtomicU64::default(),
            snaplen: AtomicU32::default(),
            ring: OnceLock::new(),
            missed: by_port(AtomicU64::default),
        }
    }
}

/// For the reader.
impl Capture {
    /// Has these frames copied from now on. `number` is another than ever before.
    pub fn start(&self, number: u32, wanted: &Wanted) {
        self.ring.get_or_init(|| Ring::new(RING)).clear();
        self.ports.store(&wanted.ports);
        self.reasons.store(wanted.dropped, Relaxed);
        self.snaplen.store(wanted.snaplen.min(MAX_SNAPLEN), Relaxed);
        // Who sees the number sees the rest, and the ring.
        self.number.store(number, Release);
        let bits = [
            (wanted.received, RECEIVED),
            (wanted.sent, SENT),
            (wanted.dropped != 0, DROPPED),
        ];
        let bits = bits.iter().map(|(on, bit)| u32::from(*on) * bit);
        self.watching.store(bits.sum(), Release);
    }

    /// Has nothing copied any more, but for the rest of the burst that the worker is in.
    pub fn stop(&self) {
        self.watching.store(0, Relaxed);
    }

    /// The oldest copy that was made under this number; older ones of others are dropped.
    pub fn next(&self, number: u32) -> Option<Seen> {
        let ring = self.ring.get()?;
        std::iter::from_fn(|| ring.read()).find_map(|(head, bytes)| seen(number, head, bytes))
    }

    /// Frames at a port, since the worker started, that were wanted and that there was no room for.
    pub fn missed(&self, port: PortId) -> u64 {
        self.missed[port.index()].load(Relaxed)
    }
}

/// For the worker.
impl Capture {
    /// Whether anybody may want to see frames that arrive.
    #[inline(always)]
    pub fn wants_received(&self) -> bool {
        self.watching.load(Relaxed) & RECEIVED != 0
    }

    /// The same of frames that leave.
    #[inline(always)]
    pub fn wants_sent(&self) -> bool {
        self.watching.load(Relaxed) & SENT != 0
    }

    /// The same of frames that are dropped.
    #[inline(always)]
    pub fn wants_dropped(&self) -> bool {
        self.watching.load(Relaxed) & DROPPED != 0
    }

    /// Copies frames that arrived, each on a port. Never blocks, allocates or logs; neither do the others.
    #[cold]
    #[inline(never)]
    pub fn copy_received<F: Frame>(&self, frames: &[F], port: impl Fn(&F) -> PortId) {
        let Some(mut batch) = self.batch() else {
            return;
        };
        for frame in frames {
            let port = port(frame);
            if batch.wants(port) && batch.add(port, Event::Received, frame).is_none() {
                self.miss(port);
            }
        }
        batch.ring.publish(batch.end);
    }

    /// Has `send` send frames by a port, and copies those that it sends, of which the device may make anything afterwards.
    /// Returns what `send` returns: how many those were, from the front.
    #[cold]
    #[inline(never)]
    pub fn copy_sent<F: Frame>(
        &self,
        frames: &mut Frames<F>,
        port: PortId,
        send: impl FnOnce(&mut Frames<F>) -> usize,
    ) -> usize {
        let Some(mut batch) = self.batch().filter(|batch| batch.wants(port)) else {
            return send(frames);
        };
        let copies = frames
            .iter()
            .map(|frame| batch.add(port, Event::Sent, frame));
        let copies: ArrayVec<Option<usize>, MAX_BURST> = copies.collect();
        let sent = send(frames);
        let (left, _) = copies.split_at(sent);
        for copy in left {
            match copy {
                Some(end) => batch.ring.publish(*end),
                None => self.miss(port),
            }
        }
        sent
    }

    /// Copies a frame that arrived on a port and is dropped.
    #[cold]
    #[inline(never)]
    pub fn copy_dropped<F: Frame>(&self, port: PortId, reason: DropReason, frame: &F) {
        if let Some(sketch) = self.sketch(port, frame) {
            sketch.drop_for(reason);
        }
    }

    /// Copies a frame that arrived on a port and may be dropped, but will be another one by then. Nobody sees the copy unless it
    /// is said to be, which has to be before anything else is copied.
    #[cold]
    #[inline(never)]
    pub fn sketch<F: Frame>(&self, port: PortId, frame: &F) -> Option<Sketch<'_>> {
        let mut batch = self.batch().filter(|batch| batch.wants(port))?;
        let at = batch.end;
        let whole = batch.add(port, Event::Received, frame).is_some();
        Some(Sketch {
            batch,
            port,
            at,
            whole,
        })
    }

    fn miss(&self, port: PortId) {
        add(&self.missed[port.index()], 1);
    }

    fn batch(&self) -> Option<Batch<'_>> {
        let number = self.number.load(Acquire); // before the rest
        let ring = self.ring.get()?;
        // No system call: the kernel maps its clock into the process.
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Some(Batch {
            capture: self,
            ring,
            number,
            time_ns: time.map_or(0, |time| time.as_nanos() as u64),
            snaplen: self.snaplen.load(Relaxed),
            end: ring.end(),
        })
    }
}

/// Copies that are made at one time.
struct Batch<'a> {
    capture: &'a Capture,
    ring: &'a Ring,
    number: u32,
    time_ns: u64,
    snaplen: u32,
    /// Where the last one ends.
    end: usize,
}

impl Batch<'_> {
    fn wants(&self, port: PortId) -> bool {
        self.capture.ports.contains(port)
    }

    /// Adds a copy, which nobody sees yet, and says where it ends. `None`: there was no room.
    fn add<F: Frame>(&mut self, port: PortId, event: Event, frame: &F) -> Option<usize> {
        let len = frame.len() as u32;
        let head = [
            u64::from(len) << 32 | u64::from(len.min(self.snaplen)),
            self.time_ns,
            what(self.number, port, event),
        ];
        self.end = self.ring.write(self.end, head, frame.parts())?;
        Some(self.end)
    }
}

/// A copy that nobody sees yet.
pub struct Sketch<'a> {
    batch: Batch<'a>,
    port: PortId,
    at: usize,
    /// There was room for it.
    whole: bool,
}

impl Sketch<'_> {
    /// The frame was dropped for this reason.
    pub fn drop_for(self, reason: DropReason) {
        let Batch {
            capture,
            ring,
            number,
            end,
            ..
        } = self.batch;
        if capture.reasons.load(Relaxed) >> reason as u8 & 1 == 0 {
            return;
        }
        if !self.whole {
            return capture.miss(self.port);
        }
        let what = what(number, self.port, Event::Dropped(reason));
        ring.set(self.at.wrapping_add(HEAD - 1), what);
        ring.publish(end);
    }
}

/// The last word of a record's head: number, what happened and why, port.
const fn what(number: u32, port: PortId, event: Event) -> u64 {
    let (event, reason) = match event {
        Event::Received => (RECEIVED, 0),
        Event::Sent => (SENT, 0),
        Event::Dropped(reason) => (DROPPED, reason as u8),
    };
    (number as u64) << 32 | (event as u64) << 24 | (reason as u64) << 16 | port.get() as u64
}

/// What a record says. `None`: it has another number.
fn seen(number: u32, [lens, time_ns, what]: [u64; HEAD], bytes: Vec<u8>) -> Option<Seen> {
    let event = match u32::from((what >> 24) as u8) {
        RECEIVED => Event::Received,
        SENT => Event::Sent,
        _ => Event::Dropped(*DropReason::ALL.get(usize::from((what >> 16) as u8))?),
    };
    let found = Seen {
        port: PortId::new(what as u16)?,
        event,
        time_ns,
        len: (lens >> 32) as u32,
        bytes,
    };
    ((what >> 32) as u32 == number).then_some(found)
}

#[cfg(test)]
mod tests;
