// SPDX-License-Identifier: MIT
//! [`Replication`]: whom the broadcasts of a subnet are copied to.

use std::sync::Arc;

use super::HopId;

/// Most other hosts that a frame is copied to: in a subnet with more, only those of the lowest addresses get a copy.
pub const MAX_REPLICATED_HOSTS: usize = 512;

/// Whom broadcast and multicast of guests are copied to, besides the guests of this host.
///
/// # Contract
///
/// * Immutable; part of a snapshot, and shared by the subnets of an L2 domain. Its next hops are given back after it.
/// * **Cost:** nothing, unless a guest broadcasts. **Memory:** 4 bytes per host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replication {
    /// Frames per second that each worker copies of one guest, and at once after a pause: at least 1.
    pub rate: u32,
    /// Other hosts with a guest in the domain, each once, in the order of their addresses. Those above
    /// [`MAX_REPLICATED_HOSTS`] are not looked at.
    pub hosts: Arc<[HopId]>,
}
