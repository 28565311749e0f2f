// SPDX-License-Identifier: MIT
//! [`Live`]: which of two uplinks is used.

use super::sync::{AtomicU32, Ordering::Relaxed};
use super::{PortId, Underlay};

/// Which uplinks flows to other hosts go by, of a host that has two.
///
/// # Contract
///
/// * **Who writes:** anybody, at any time. It is no part of a snapshot, so that a lost link waits for no publication, no
///   control thread and no worker that stands still. **Who reads:** workers, once a burst and only where there are two uplinks.
/// * **What a reader sees:** one of the last values. Whichever it is, the templates of both uplinks are there: nothing is
///   ordered by it.
/// * **Cost:** a load of a cache line that is written when a link is lost or found.
#[derive(Debug)]
pub struct Live {
    /// Theirs, in order; the same twice where there is one.
    ports: [PortId; 2],
    /// A [`Choice`].
    now: AtomicU32,
}

/// What flows have to choose from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Both uplinks: the flow's hash decides.
    Both,
    /// The first one alone.
    First,
    /// The second one alone.
    Second,
}

impl Live {
    /// All are.
    pub(super) fn new(underlay: Option<&Underlay>) -> Self {
        let first = underlay.map_or(PortId(0), |underlay| underlay.uplink);
        let second = underlay.and_then(|underlay| underlay.second);
        Self {
            ports: [first, second.map_or(first, |second| second.port)],
            now: AtomicU32::new(Choice::Both as u32),
        }
    }

    /// Says which are, from each worker's next burst on. None of them: it is as if all were, and what they cannot send is
    /// counted where they drop it.
    pub fn set(&self, live: &[PortId]) {
        let choice = match self.ports.map(|port| live.contains(&port)) {
            [true, false] => Choice::First,
            [false, true] => Choice::Second,
            _ => Choice::Both,
        };
        self.now.store(choice as u32, Relaxed);
    }

    /// Which are now.
    #[inline]
    pub fn get(&self) -> Choice {
        match self.now.load(Relaxed) {
            now if now == Choice::First as u32 => Choice::First,
            now if now == Choice::Second as u32 => Choice::Second,
            _ => Choice::Both,
        }
    }
}

impl Choice {
    /// True if a flow with this hash goes by the second uplink: always the same as long as the same ones are live.
    #[inline]
    pub const fn is_second(self, flow: u32) -> bool {
        match self {
            // Other bits than those that choose among a route's next hops and the UDP source port by which the network spreads.
            Self::Both => flow.wrapping_mul(0x9e37_79b9) >> 31 != 0,
            Self::First => false,
            Self::Second => true,
        }
    }
}
