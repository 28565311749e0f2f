// SPDX-License-Identifier: MIT
//! The switch as a whole, brought up from its settings: DPDK, ports, tables, workers. Read [`Switch::bring_up`] top
//! to bottom.

pub(crate) mod cores;
mod operator;
mod report;
mod workers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vswitch::counters::{self, PortTotals};
use vswitch::dpdk::{Eal, EalError, Mempool, PoolError, Port, PortConfig, PortError};
use vswitch::tables::rcu::TooManyReaders;
use vswitch::tables::snapshot::tables;
use vswitch::tables::{PortId, Underlay};

use crate::config::{PortSettings, Settings};
use crate::core::{Core, Site, Uplink};

pub(crate) use operator::Operator;
pub(crate) use report::Totals;
use workers::Workers;

/// Bytes of a packet buffer: DPDK's default, a frame of 1,920 bytes behind the headroom of 128. Longer frames take
/// several buffers.
const DATA_ROOM: u16 = 2048 + 128;

/// Buffers that each worker keeps at hand: DPDK's own programs take this or the maximum, 512.
const POOL_CACHE: u32 = 256;

/// Why the switch does not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BringUpError {
    /// DPDK itself.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// The packet buffers.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A device.
    #[error("port {number} (`{device}`): {error}")]
    Port {
        /// Its number.
        number: usize,
        /// As configured.
        device: String,
        /// What is wrong with it.
        error: PortError,
    },
    /// One `port attach` made none or several ports, so that later numbers would not be the configured ones.
    #[error("`port attach {device}` made {made} ports; the switch numbers one port per line")]
    Numbering {
        /// As configured.
        device: String,
        /// Ports.
        made: usize,
    },
    /// `set corelist` with a core that is not there.
    #[error("a worker cannot run on core {0}: this machine or this process has no such core")]
    NoSuchCore(usize),
    /// More workers than cores.
    #[error("{workers} workers need as many cores; this process may use {usable:?}")]
    TooFewCores {
        /// Asked for.
        workers: usize,
        /// What there is.
        usable: Vec<usize>,
    },
    /// More workers than the tables have places.
    #[error(transparent)]
    Readers(#[from] TooManyReaders),
    /// The system.
    #[error("a worker's thread does not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// The running switch.
pub(crate) struct Switch {
    settings: Settings,
    ports: Ports,
    workers: Arc<Workers>,
    eal: Eal,
}

/// The devices, by port number.
pub(crate) type Ports = Arc<Mutex<Vec<Port>>>;

/// Locks the devices. Whoever held the lock and panicked left them as they were.
pub(crate) fn lock(ports: &Ports) -> MutexGuard<'_, Vec<Port>> {
    ports.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Switch {
    /// Starts DPDK, ports and workers as `settings` say; the workers wait for [`Switch::start`]. The [`Core`] is for
    /// the control thread.
    pub(crate) fn bring_up(settings: Settings) -> Result<(Self, Core), BringUpError> {
        let cores = cores::choose(settings.workers, settings.corelist.as_deref())?;
        let eal = Eal::init(&settings.eal_args())?;
        let pool = Mempool::new(&eal, "packets", settings.mbufs, POOL_CACHE, DATA_ROOM, None)?;
        let mut ports = Vec::new();
        for (number, port) in settings.ports.iter().enumerate() {
            let is_uplink = settings.vtep.is_some_and(|vtep| vtep.port.index() == number);
            ports.push(start_port(&eal, &pool, number, port, settings.workers, is_uplink)?);
        }
        let site = site(&settings, &ports);
        let underlay = settings.vtep.map(|vtep| Underlay {
            vtep: vtep.address.addr(),
            uplink: vtep.port,
            host_port: settings.host_port,
        });
        let (writer, registrar) = tables(underlay, settings.neighbors_capacity as usize);
        let workers = Workers::spawn(&eal, &settings, &mut ports, &registrar, &cores)?;
        let switch = Self {
            settings,
            ports: Arc::new(Mutex::new(ports)),
            workers: Arc::new(workers),
            eal,
        };
        Ok((switch, Core::new(site, writer)))
    }

    /// What it was brought up with.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The controller's ids that the settings bind ports to.
    pub(crate) fn bindings(&self) -> Vec<(PortId, String)> {
        let ids = self.settings.ports.iter().map(|port| port.id.clone());
        (0..)
            .zip(ids)
            .filter_map(|(number, id)| Some((PortId::new(number)?, id?)))
            .collect()
    }

    /// The cores that workers are pinned to.
    pub(crate) fn worker_cores(&self) -> Vec<usize> {
        self.workers.cores()
    }

    /// Lets the workers forward.
    pub(crate) fn start(&self) {
        self.workers.start();
    }

    /// A port's counters over all workers.
    pub(crate) fn totals(&self, port: PortId) -> PortTotals {
        counters::total(&self.workers.counters(), port)
    }

    /// The devices.
    pub(crate) fn ports(&self) -> MutexGuard<'_, Vec<Port>> {
        lock(&self.ports)
    }

    /// Ends the workers and stops the ports; recorded packets are in their files then.
    pub(crate) fn shut_down(self) {
        self.workers.end();
        let mut ports = std::mem::take(&mut *lock(&self.ports));
        for port in ports.iter_mut().filter(|port| port.is_started()) {
            if let Err(error) = port.stop() {
                tracing::warn!("port {}: {error}", port.id());
            }
        }
        drop(ports);
        drop(self.workers);
        drop(self.ports);
        if let Err(error) = self.eal.cleanup() {
            tracing::warn!("{error}");
        }
    }
}

/// Attaches, configures and starts one port.
fn start_port(
    eal: &Eal,
    pool: &Mempool,
    number: usize,
    settings: &PortSettings,
    workers: u16,
    is_uplink: bool,
) -> Result<Port, BringUpError> {
    let device = || settings.device.clone();
    let failed = |error| BringUpError::Port {
        number,
        device: device(),
        error,
    };
    let mut made = Port::attach(eal, &settings.device).map_err(failed)?;
    let (Some(mut port), true) = (made.pop(), made.is_empty()) else {
        return Err(BringUpError::Numbering {
            device: device(),
            made: made.len(),
        });
    };
    if usize::from(port.id()) != number {
        return Err(BringUpError::Numbering {
            device: device(),
            made: usize::from(port.id()) + 1 - number,
        });
    }
    let info = port.info();
    let config = PortConfig {
        // One queue for each worker, where the device has so many; with fewer tx queues, workers hand frames over.
        rxq: settings.rxq.unwrap_or(workers.clamp(1, info.max_rxq.max(1))),
        txq: settings.txq.unwrap_or(workers.clamp(1, info.max_txq.max(1))),
        rxd: settings.rxd,
        txd: settings.txd,
        mtu: settings.mtu,
        // Guests have MACs that their devices know nothing of; an uplink is spoken to by its own.
        promisc: settings.promisc.unwrap_or(!is_uplink),
        one_pool: true,
    };
    port.configure(&config, pool).map_err(failed)?;
    port.start().map_err(failed)?;
    Ok(port)
}

/// This host's place in the network.
fn site(settings: &Settings, ports: &[Port]) -> Site {
    let underlay = settings.vtep.and_then(|vtep| {
        Some(Uplink {
            vtep: vtep.address.addr(),
            prefix_len: vtep.address.prefix_len(),
            port: vtep.port,
            mac: ports.get(vtep.port.index())?.mac(),
            neighbors: settings
                .underlay_neighbors
                .iter()
                .map(|(&ip, &mac)| (ip, mac))
                .collect(),
            gateway: settings.underlay_gateway,
        })
    });
    Site {
        underlay,
        host_port: settings.host_port,
    }
}
