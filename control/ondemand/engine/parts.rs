// SPDX-License-Identifier: MIT
//! What goes into the engine and comes out of it; who has how much of it.

use std::time::{Duration, Instant};

use vswitch::counters::DropReason;
use vswitch::io::Frame;
use vswitch::stage::punt::{Destination, Miss, Sought};
use vswitch::tables::{MAX_PORTS, PortId};

use crate::ondemand::question::Question;

/// What operators may set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// How long a frame waits.
    pub(crate) hold: Duration,
    /// Destinations asked for per second, at least 1.
    pub(crate) rate: u32,
    /// How long a destination that the controller does not know is not asked for again.
    pub(crate) negative: Duration,
    /// Most frames that wait.
    pub(crate) frames: usize,
}

/// A frame that waits.
#[derive(Debug)]
pub(crate) struct Held<F> {
    /// The frame, as it arrived, and what it lacks.
    pub(crate) miss: Miss<F>,
    /// Number of the worker that it arrived at.
    pub(crate) worker: usize,
    /// Until then.
    pub(crate) until: Instant,
}

/// Bytes of a frame that a packet buffer takes at most.
const BUFFER: usize = 2048;

impl<F: Frame> Held<F> {
    /// Packet buffers that it takes: a guest behind virtio may leave 64 KiB of TCP to be cut.
    pub(crate) fn buffers(&self) -> usize {
        self.miss.frame.len().div_ceil(BUFFER).max(1)
    }
}

/// One call of the controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    /// Number of its first question; the others follow.
    pub(crate) first: u64,
    /// What is asked. Empty: it says that this switch has started.
    pub(crate) questions: Vec<Question>,
}

/// Why a call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failed {
    /// There is nobody, or nobody answers.
    Unavailable,
    /// There is somebody who cannot answer it.
    Refused,
}

/// What is to be done now.
#[derive(Debug)]
pub(crate) struct Todo<F> {
    /// Back to their workers, in order.
    pub(crate) releases: Vec<Held<F>>,
    /// To be dropped, for a reason.
    pub(crate) drops: Vec<(Held<F>, DropReason)>,
    /// To be put back into the workers' tables: nobody had sent anything there for long.
    pub(crate) wakes: Vec<Sought>,
    /// Questions that calls came to an end with, and whether the controller says that it tells the destination.
    pub(crate) closed: Vec<(Destination, bool)>,
}

impl<F> Default for Todo<F> {
    fn default() -> Self {
        Self {
            releases: Vec::new(),
            drops: Vec::new(),
            wakes: Vec::new(),
            closed: Vec::new(),
        }
    }
}

/// One port's part of all frames that may wait, and of as many destinations: one in so many. A guest that scans its subnet
/// leaves the rest to others.
const PORT_SHARE: usize = 4;

/// Frames that wait, the buffers that they take, in all and by the port that they arrived on, and destinations by the port that
/// asked first.
pub(super) struct Shares {
    most: usize,
    held: usize,
    buffers: usize,
    buffers_of: [usize; MAX_PORTS],
    waiting_of: [usize; MAX_PORTS],
}

impl Shares {
    /// None yet, of at most so many buffers and destinations.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            held: 0,
            buffers: 0,
            buffers_of: [0; MAX_PORTS],
            waiting_of: [0; MAX_PORTS],
        }
    }

    /// Frames that wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// One frame more, in so many buffers.
    pub(super) fn hold(&mut self, from: PortId, buffers: usize) {
        self.held += 1;
        self.buffers += buffers;
        self.buffers_of[from.index()] += buffers;
    }

    /// One frame less.
    pub(super) fn let_go(&mut self, from: PortId, buffers: usize) {
        self.held -= 1;
        self.buffers -= buffers;
        self.buffers_of[from.index()] -= buffers;
    }

    /// True if a frame that was added is one too many.
    pub(super) fn are_exceeded(&self, from: PortId) -> bool {
        let share = self.most.div_ceil(PORT_SHARE);
        self.buffers > self.most || self.buffers_of[from.index()] > share
    }

    /// One destination more, if there is room.
    pub(super) fn begin(&mut self, from: PortId) -> bool {
        let waiting = &mut self.waiting_of[from.index()];
        let room = *waiting < self.most.div_ceil(PORT_SHARE);
        *waiting += usize::from(room);
        room
    }

    /// One destination less.
    pub(super) fn end(&mut self, from: PortId) {
        self.waiting_of[from.index()] -= 1;
    }
}
