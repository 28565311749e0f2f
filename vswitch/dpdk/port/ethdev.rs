// SPDX-License-Identifier: MIT
//! [`Ethdev`]: a port of a device that one of DPDK's drivers has.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::backing::{Backing, LinkOf};
use super::config::Setup;
use super::device::{self, Device};
use super::queue::{EthdevRx, EthdevTx};
use super::{Link, PortConfig, PortError, PortInfo, PortRx, PortStats, PortTx, af_packet, info};
use crate::dpdk::eal::Eal;
use crate::dpdk::pool::Mempool;
use crate::dpdk::{log, sys};
use crate::io::{Frames, MAX_BURST, RxQueue};
use crate::wire::addr::Mac;

/// Most frames that are thrown away when a port starts, per queue: more than a ring has, and the end of it under a flood.
const MOST_WAITING: usize = 1 << 16;

/// A device's port, and how it is set up.
#[derive(Debug)]
pub(super) struct Ethdev {
    device: Arc<Device>,
    setup: Option<Setup>,
}

impl Ethdev {
    pub(super) fn attach(eal: &Eal, devargs: &str) -> Result<Vec<Self>, PortError> {
        let devices = device::attach(eal, devargs)?.into_iter();
        Ok(devices.map(Self::new).collect())
    }

    pub(super) fn probed(eal: &Eal) -> Vec<Self> {
        device::probed(eal).into_iter().map(Self::new).collect()
    }

    fn new(device: Device) -> Self {
        Self {
            device: Arc::new(device),
            setup: None,
        }
    }

    fn setup(&self) -> Result<&Setup, PortError> {
        let lacking = || PortError::NotConfigured(self.name().to_owned());
        self.setup.as_ref().ok_or_else(lacking)
    }

    /// Throws away what has arrived before the port started, as hardware does.
    fn forget_waiting(&self) -> Result<(), PortError> {
        for queue in 0..self.setup()?.rxq {
            let mut rx = self.rx(queue, Arc::default())?;
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
}

impl LinkOf for Device {
    /// Waits for nobody who configures or starts the port, nor for a change of another.
    fn is_up(&self) -> bool {
        // Who stops it meanwhile has said so before the link is looked at, or after.
        self.is_started() && info::link(self).up && self.is_started()
    }
}

impl Backing for Ethdev {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn is_started(&self) -> bool {
        self.device.is_started()
    }

    fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<(u16, u16), PortError> {
        self.setup = None;
        let (setup, said) = log::captured(|| Setup::apply(&self.device, config, pool));
        let setup = setup.map_err(|e| e.saying(said))?;
        let queues = (setup.rxq, setup.txq);
        self.setup = Some(setup);
        Ok(queues)
    }

    fn start(&mut self) -> Result<(), PortError> {
        self.setup()?;
        let (started, said) = log::captured(|| self.device.start());
        started.map_err(|e| e.saying(said))?;
        if let Some(setup) = &mut self.setup {
            setup.promisc = self.device.set_promiscuous(setup.promisc_wanted);
            if setup.groups_wanted {
                setup.groups = self.device.receive_groups();
            }
        }
        // Its sockets take what arrives on, and leaves by, any interface of the kernel's until they are bound to their own (DPDK
        // 22.11): those frames wait in its rings.
        if self.device.driver() == af_packet::DRIVER {
            self.forget_waiting()?;
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), PortError> {
        let (stopped, said) = log::captured(|| self.device.stop());
        stopped.map_err(|e| e.saying(said))
    }

    fn rx(&self, queue: u16, lease: Arc<()>) -> Result<PortRx, PortError> {
        let (device, looks) = (Arc::clone(&self.device), self.setup()?.unfinished);
        Ok(PortRx::Ethdev(EthdevRx::new(device, lease, queue, looks)))
    }

    fn tx(&self, queue: u16, lease: Arc<()>) -> Result<PortTx, PortError> {
        let (device, setup) = (Arc::clone(&self.device), self.setup()?);
        let (chains, finishes) = (setup.chains, setup.finishes);
        Ok(PortTx::Ethdev(EthdevTx::new(
            device, lease, queue, chains, finishes,
        )))
    }

    fn set_promiscuous(&mut self, on: bool) -> Result<(), PortError> {
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

    fn mac(&self) -> Mac {
        self.device.mac()
    }

    fn mtu(&self) -> u16 {
        self.device.mtu()
    }

    fn link(&self) -> Link {
        info::link(&self.device)
    }

    fn link_of(&self) -> Arc<dyn LinkOf> {
        Arc::clone(&self.device) as Arc<dyn LinkOf>
    }

    fn stats(&self) -> PortStats {
        info::stats(&self.device)
    }

    fn clear_stats(&mut self) {
        self.device.unsendable.store(0, Relaxed);
        // SAFETY: the port is ours until `device` drops. Drivers without it leave their counters.
        unsafe { sys::rte_eth_stats_reset(self.device.id()) };
    }

    fn info(&self) -> PortInfo {
        info::info(&self.device, self.setup.as_ref())
    }
}
