// SPDX-License-Identifier: MIT
//! Watching a worker: what is known of each frame after each stage.

use crate::burst::Burst;

/// A stage of [`worker`](crate::worker)'s two ways, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// [`decap`](super::decap).
    Decap,
    /// [`parse`](super::parse).
    Parse,
    /// [`guard`](super::guard).
    Guard,
    /// [`route`](super::route).
    Route,
    /// [`neighbor`](super::neighbor).
    Neighbor,
    /// [`mss`](super::mss).
    Mss,
    /// [`encap`](super::encap).
    Encap,
    /// [`deliver`](super::deliver).
    Deliver,
}

/// Told of a burst after each stage that it went through.
pub trait Observer<F>: Send {
    /// The frames that are left, and what is known of each.
    fn after(&mut self, stage: Stage, burst: &Burst<F>);
}

/// Nobody looks, and that costs nothing.
#[derive(Default, Debug)]
pub struct Unobserved;

impl<F> Observer<F> for Unobserved {
    #[inline(always)]
    fn after(&mut self, _: Stage, _: &Burst<F>) {}
}
