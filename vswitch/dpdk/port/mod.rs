// SPDX-License-Identifier: MIT
//! [`Port`]: a device that DPDK drives, or a socket of its vhost library.
//!
//! A port is attached, configured, started; then its queues are taken, once each, and moved to workers. What a
//! worker might be using cannot be changed: a port stops, and is configured again, only after its queues came back.
//! The device closes when the port and all of its queues are dropped.

mod af_packet;
mod backing;
mod config;
mod device;
mod ends;
mod error;
mod ethdev;
mod info;
mod queue;

use std::sync::Arc;

use super::eal::Eal;
use super::pool::Mempool;
use super::vhost::{self, Vhost};
use crate::wire::addr::Mac;

pub(super) use backing::{Backing, LinkOf};
pub use config::PortConfig;
pub(super) use config::in_range;
pub use ends::{PortRx, PortTx};
pub use error::PortError;
use ethdev::Ethdev;
pub(super) use info::tell_finishes;
pub use info::{Link, LinkWatch, PortInfo, PortStats};

/// A port, and the right to change it. Belongs to the control side; workers get its queues.
#[derive(Debug)]
pub struct Port {
    backing: Box<dyn Backing>,
    /// One lease per queue: a second reference to it is with a worker.
    rx: Vec<Arc<()>>,
    tx: Vec<Arc<()>>,
}

impl Port {
    /// Makes DPDK look for a device and take it: `net_pcap0,rx_pcap=in.pcap`, `net_tap0,iface=tap0`, `0000:03:00.0`.
    /// `net_vhost0,iface=/run/vm.sock` opens a socket for a guest.
    /// Relative file names are relative to the working directory. Returns the device's ports in the order of their
    /// numbers; most devices have one.
    ///
    /// # Errors
    /// When no driver takes it, or all of its ports are taken already, or the socket cannot be opened.
    pub fn attach(eal: &Eal, devargs: &str) -> Result<Vec<Self>, PortError> {
        if vhost::names_vhost(devargs) {
            return Ok(vec![Self::new(Vhost::attach(eal, devargs)?)]);
        }
        let devices = Ethdev::attach(eal, devargs)?.into_iter();
        Ok(devices.map(Self::new).collect())
    }

    /// The ports that DPDK found when it started (`--vdev`, `-a`, all of PCI) and that are not taken yet.
    pub fn probed(eal: &Eal) -> Vec<Self> {
        let devices = Ethdev::probed(eal).into_iter();
        devices.map(Self::new).collect()
    }

    fn new(backing: impl Backing + 'static) -> Self {
        Self {
            backing: Box::new(backing),
            rx: Vec::new(),
            tx: Vec::new(),
        }
    }

    /// The device's name: `net_pcap0`, `0000:03:00.0`.
    pub fn name(&self) -> &str {
        self.backing.name()
    }

    /// True between [`Port::start`] and [`Port::stop`].
    pub fn is_started(&self) -> bool {
        self.backing.is_started()
    }

    /// Sets queues, ring sizes, MTU and offloads. `pool` provides the buffers of received frames; unless
    /// [`PortConfig::one_pool`] says so, frames of other pools may be sent too.
    ///
    /// # Errors
    /// When the port is started or a worker has one of its queues, or what is asked is more than the device can do.
    pub fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<(), PortError> {
        if self.is_started() {
            return Err(PortError::Started(self.name().to_owned()));
        }
        self.check_idle()?;
        let (rxq, txq) = self.backing.configure(config, pool)?;
        self.rx = (0..rxq).map(|_| Arc::default()).collect();
        self.tx = (0..txq).map(|_| Arc::default()).collect();
        Ok(())
    }

    /// Lets frames flow. Its queues can be taken from here on.
    ///
    /// # Errors
    /// When it is not configured or started already, or the driver refuses.
    pub fn start(&mut self) -> Result<(), PortError> {
        match self.is_started() {
            true => Err(PortError::Started(self.name().to_owned())),
            false => self.backing.start(),
        }
    }

    /// Stops it. It may be started again, with the same configuration.
    ///
    /// # Errors
    /// When it is not started, or a worker has one of its queues: a driver must not stop while it is polled.
    pub fn stop(&mut self) -> Result<(), PortError> {
        if !self.is_started() {
            return Err(PortError::NotStarted(self.name().to_owned()));
        }
        self.check_idle()?;
        self.backing.stop()
    }

    /// Whether dropping the port closes its device at once.
    ///
    /// # Errors
    /// When a worker has one of its queues: then the device closes when the last one is dropped.
    pub fn check_idle(&mut self) -> Result<(), PortError> {
        let mut leases = self.rx.iter_mut().chain(&mut self.tx);
        match leases.all(|lease| Arc::get_mut(lease).is_some()) {
            true => Ok(()),
            false => Err(PortError::QueuesInUse(self.name().to_owned())),
        }
    }

    /// The receiving end of queue `queue`, for one worker. Dropping it gives it back.
    ///
    /// # Errors
    /// When the port is not started, has no such queue, or the queue is taken.
    pub fn take_rx(&mut self, queue: u16) -> Result<PortRx, PortError> {
        let lease = lease(&*self.backing, &mut self.rx, "rx", queue)?;
        self.backing.rx(queue, lease)
    }

    /// The sending end of queue `queue`, for one worker. Dropping it gives it back.
    ///
    /// # Errors
    /// When the port is not started, has no such queue, or the queue is taken.
    pub fn take_tx(&mut self, queue: u16) -> Result<PortTx, PortError> {
        let lease = lease(&*self.backing, &mut self.tx, "tx", queue)?;
        self.backing.tx(queue, lease)
    }

    /// Receives everything, or only what is for the port's own MAC address.
    ///
    /// # Errors
    /// When the driver refuses. A device without the notion receives everything always: no error.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), PortError> {
        self.backing.set_promiscuous(on)
    }

    /// Its MAC address; zero if it has none.
    pub fn mac(&self) -> Mac {
        self.backing.mac()
    }

    /// The largest payload of a frame that it takes, in bytes (1500 for plain Ethernet).
    pub fn mtu(&self) -> u16 {
        self.backing.mtu()
    }

    /// The state of its link, as far as known: never waits for it.
    pub fn link(&self) -> Link {
        self.backing.link()
    }

    /// The same for another thread.
    pub fn watch_link(&self) -> LinkWatch {
        LinkWatch(Arc::downgrade(&self.backing.link_of()))
    }

    /// The device's counters. They are the driver's: what they leave out, nobody knows.
    pub fn stats(&self) -> PortStats {
        self.backing.stats()
    }

    /// Sets all counters to zero, as far as the driver can.
    pub fn clear_stats(&mut self) {
        self.backing.clear_stats();
    }

    /// What it is and how it is configured, in words.
    pub fn info(&self) -> PortInfo {
        self.backing.info()
    }
}

/// A second reference to queue `queue`'s lease, if nobody has one and the port is started.
fn lease(
    port: &dyn Backing,
    leases: &mut [Arc<()>],
    direction: &'static str,
    queue: u16,
) -> Result<Arc<()>, PortError> {
    let name = || port.name().to_owned();
    if !port.is_started() {
        return Err(PortError::NotStarted(name()));
    }
    let of = leases.len() as u16; // made from a u16
    let lease = leases.get_mut(usize::from(queue));
    let free = lease.and_then(|it| Arc::get_mut(it).is_some().then(|| Arc::clone(it)));
    free.ok_or_else(|| PortError::Queue {
        device: name(),
        direction,
        queue,
        of,
    })
}
