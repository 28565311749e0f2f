// SPDX-License-Identifier: MIT
//! [`Port`]: a device that DPDK drives.
//!
//! A port is attached, configured, started; then its queues are taken, once each, and moved to workers. What a
//! worker might be using cannot be changed: a port stops, and is configured again, only after its queues came back.
//! The device closes when the port and all of its queues are dropped.

mod config;
mod device;
mod error;
mod finisher;
mod info;
mod queue;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::eal::Eal;
use super::log;
use super::pool::Mempool;
use super::sys;
use crate::io::{Frames, MAX_BURST, RxQueue};
use crate::wire::addr::Mac;

pub use config::PortConfig;
use config::Setup;
use device::Device;
pub use error::PortError;
pub use info::{Link, LinkWatch, PortInfo, PortStats};
pub use queue::{PortRx, PortTx};

/// The driver whose sockets take what arrives on, and leaves by, any interface of the kernel's until they are bound to their own
/// (DPDK 22.11): those frames wait in its rings.
const HEARS_OTHERS: &str = "net_af_packet";

/// Most frames that are thrown away when a port starts, per queue: more than a ring has, and the end of it under a flood.
const MOST_WAITING: usize = 1 << 16;

/// A device's port, and the right to change it. Belongs to the control side; workers get its queues.
#[derive(Debug)]
pub struct Port {
    device: Arc<Device>,
    setup: Option<Setup>,
    /// One lease per queue: a second reference to it is with a worker.
    rx: Vec<Arc<()>>,
    tx: Vec<Arc<()>>,
}

impl Port {
    /// Makes DPDK look for a device and take it: `net_pcap0,rx_pcap=in.pcap`, `net_tap0,iface=tap0`, `0000:03:00.0`.
    /// Relative file names are relative to the working directory. Returns the device's ports in the order of their
    /// numbers; most devices have one.
    ///
    /// # Errors
    /// When no driver takes it, or all of its ports are taken already.
    pub fn attach(eal: &Eal, devargs: &str) -> Result<Vec<Self>, PortError> {
        Ok(device::attach(eal, devargs)?
            .into_iter()
            .map(Self::new)
            .collect())
    }

    /// The ports that DPDK found when it started (`--vdev`, `-a`, all of PCI) and that are not taken yet.
    pub fn probed(eal: &Eal) -> Vec<Self> {
        device::probed(eal).into_iter().map(Self::new).collect()
    }

    fn new(device: Device) -> Self {
        Self {
            device: Arc::new(device),
            setup: None,
            rx: Vec::new(),
            tx: Vec::new(),
        }
    }

    /// DPDK's number of the port.
    pub fn id(&self) -> u16 {
        self.device.id()
    }

    /// The device's name: `net_pcap0`, `0000:03:00.0`.
    pub fn name(&self) -> &str {
        self.device.name()
    }

    /// True between [`Port::start`] and [`Port::stop`].
    pub fn is_started(&self) -> bool {
        self.device.is_started()
    }

    /// Sets queues, ring sizes, MTU and offloads. `pool` provides the buffers of received frames; unless
    /// [`PortConfig::one_pool`] says so, frames of other pools may be sent too.
    ///
    /// # Errors
    /// When the port is started or a worker has one of its queues, or what is asked is more than the device can do.
    pub fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<(), PortError> {
        self.check_stopped()?;
        self.setup = None;
        let (setup, said) = log::captured(|| Setup::apply(&self.device, config, pool));
        let setup = setup.map_err(|e| e.saying(said))?;
        self.rx = (0..setup.rxq).map(|_| Arc::default()).collect();
        self.tx = (0..setup.txq).map(|_| Arc::default()).collect();
        self.setup = Some(setup);
        Ok(())
    }

    /// Lets frames flow. Its queues can be taken from here on.
    ///
    /// # Errors
    /// When it is not configured or started already, or the driver refuses.
    pub fn start(&mut self) -> Result<(), PortError> {
        let id = self.id();
        let setup = self.setup.as_mut().ok_or(PortError::NotConfigured(id))?;
        if self.device.is_started() {
            return Err(PortError::Started(id));
        }
        let (started, said) = log::captured(|| self.device.start());
        started.map_err(|e| e.saying(said))?;
        setup.finisher.watch();
        setup.promisc = self.device.set_promiscuous(setup.promisc_wanted);
        if setup.groups_wanted {
            setup.groups = self.device.receive_groups();
        }
        if self.device.driver() == HEARS_OTHERS {
            self.forget_waiting()?;
        }
        Ok(())
    }

    /// Throws away what has arrived before the port started, as hardware does.
    fn forget_waiting(&mut self) -> Result<(), PortError> {
        for queue in 0..self.rx.len() as u16 {
            let mut rx = self.take_rx(queue)?;
            let mut frames = Frames::new();
            for _ in 0..MOST_WAITING / MAX_BURST {
                if rx.rx_burst(&mut frames, MAX_BURST) == 0 {
                    break;
                }
                frames.clear();
            }
        }
        Ok(())
    }

    /// Stops it. It may be started again, with the same configuration.
    ///
    /// # Errors
    /// When it is not started, or a worker has one of its queues: a driver must not stop while it is polled.
    pub fn stop(&mut self) -> Result<(), PortError> {
        if !self.device.is_started() {
            return Err(PortError::NotStarted(self.id()));
        }
        self.check_idle()?;
        let (stopped, said) = log::captured(|| self.device.stop());
        stopped.map_err(|e| e.saying(said))
    }

    /// Whether dropping the port closes its device at once.
    ///
    /// # Errors
    /// When a worker has one of its queues: then the device closes when the last one is dropped.
    pub fn check_idle(&mut self) -> Result<(), PortError> {
        let id = self.id();
        let mut leases = self.rx.iter_mut().chain(&mut self.tx);
        match leases.all(|lease| Arc::get_mut(lease).is_some()) {
            true => Ok(()),
            false => Err(PortError::QueuesInUse(id)),
        }
    }

    /// The receiving end of queue `queue`, for one worker. Dropping it gives it back.
    ///
    /// # Errors
    /// When the port is not started, has no such queue, or the queue is taken.
    pub fn take_rx(&mut self, queue: u16) -> Result<PortRx, PortError> {
        let lease = lease(&self.device, &mut self.rx, "rx", queue)?;
        let looks = self.setup.as_ref().is_some_and(|setup| setup.unfinished);
        Ok(PortRx::new(Arc::clone(&self.device), lease, queue, looks))
    }

    /// The sending end of queue `queue`, for one worker. Dropping it gives it back.
    ///
    /// # Errors
    /// When the port is not started, has no such queue, or the queue is taken.
    pub fn take_tx(&mut self, queue: u16) -> Result<PortTx, PortError> {
        let lease = lease(&self.device, &mut self.tx, "tx", queue)?;
        let setup = self.setup.as_ref();
        let (chains, finisher) = setup.map(|it| (it.chains, it.finisher)).unwrap_or_default();
        let device = Arc::clone(&self.device);
        Ok(PortTx::new(device, lease, queue, chains, finisher))
    }

    /// Receives everything, or only what is for the port's own MAC address.
    ///
    /// # Errors
    /// When the driver refuses. A device without the notion receives everything always: no error.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), PortError> {
        let promisc = self.device.set_promiscuous(on);
        if let Some(setup) = &mut self.setup {
            setup.promisc_wanted = on;
            setup.promisc = promisc;
        }
        match promisc {
            Err(errno) if !errno.is_unsupported() => {
                Err(self.device.refused("promiscuous mode", errno))
            }
            _ => Ok(()),
        }
    }

    /// Its MAC address; zero if it has none.
    pub fn mac(&self) -> Mac {
        self.device.mac()
    }

    /// The largest payload of a frame that it takes, in bytes (1500 for plain Ethernet).
    pub fn mtu(&self) -> u16 {
        self.device.mtu()
    }

    /// The state of its link, as far as known: never waits for it.
    pub fn link(&self) -> Link {
        info::link(&self.device)
    }

    /// The same for another thread.
    pub fn watch_link(&self) -> LinkWatch {
        LinkWatch(Arc::downgrade(&self.device))
    }

    /// The device's counters. They are the driver's: what they leave out, nobody knows.
    pub fn stats(&self) -> PortStats {
        info::stats(&self.device)
    }

    /// Sets all counters to zero, as far as the driver can.
    pub fn clear_stats(&mut self) {
        self.device.unsendable.store(0, Relaxed);
        // SAFETY: the port is ours until `device` drops. Drivers without it leave their counters.
        unsafe { sys::rte_eth_stats_reset(self.id()) };
    }

    /// What it is and how it is configured, in words.
    pub fn info(&self) -> PortInfo {
        info::info(&self.device, self.setup.as_ref())
    }

    fn check_stopped(&mut self) -> Result<(), PortError> {
        if self.device.is_started() {
            return Err(PortError::Started(self.id()));
        }
        self.check_idle()
    }
}

/// A second reference to queue `queue`'s lease, if nobody has one and the port is started.
fn lease(
    device: &Device,
    leases: &mut [Arc<()>],
    direction: &'static str,
    queue: u16,
) -> Result<Arc<()>, PortError> {
    let port = device.id();
    if !device.is_started() {
        return Err(PortError::NotStarted(port));
    }
    let of = leases.len() as u16; // made from a u16
    let error = PortError::Queue {
        port,
        direction,
        queue,
        of,
    };
    let lease = leases.get_mut(usize::from(queue)).ok_or(error)?;
    if Arc::get_mut(lease).is_none() {
        return Err(PortError::Queue {
            port,
            direction,
            queue,
            of,
        });
    }
    Ok(Arc::clone(lease))
}
