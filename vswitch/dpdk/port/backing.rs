// SPDX-License-Identifier: MIT
//! [`Backing`]: what is behind a port, a device of a driver's or a socket.

use std::fmt::Debug;
use std::sync::Arc;

use super::{Link, PortConfig, PortError, PortInfo, PortRx, PortStats, PortTx};
use crate::dpdk::pool::Mempool;
use crate::wire::addr::Mac;

/// [`Port`](super::Port)'s methods have the words; it sees to who may call what when.
pub(in crate::dpdk) trait Backing: Debug + Send + Sync {
    fn name(&self) -> &str;
    fn is_started(&self) -> bool;
    /// Stopped, and nobody has a queue. Returns how many rx and tx queues there are from now on.
    fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<(u16, u16), PortError>;
    /// Stopped.
    fn start(&mut self) -> Result<(), PortError>;
    /// Started, and nobody has a queue.
    fn stop(&mut self) -> Result<(), PortError>;
    /// Started, and nobody has that queue, which there is.
    fn rx(&self, queue: u16, lease: Arc<()>) -> Result<PortRx, PortError>;
    /// The same.
    fn tx(&self, queue: u16, lease: Arc<()>) -> Result<PortTx, PortError>;
    fn set_promiscuous(&mut self, on: bool) -> Result<(), PortError>;
    fn mac(&self) -> Mac;
    fn mtu(&self) -> u16;
    fn link(&self) -> Link;
    fn link_of(&self) -> Arc<dyn LinkOf>;
    fn stats(&self) -> PortStats;
    fn clear_stats(&mut self);
    fn info(&self) -> PortInfo;
}

/// What has a port's link, also for who does not have the port.
pub(in crate::dpdk) trait LinkOf: Debug + Send + Sync {
    /// See [`LinkWatch::is_up`](super::LinkWatch::is_up).
    fn is_up(&self) -> bool;
}
