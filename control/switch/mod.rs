// SPDX-License-Identifier: MIT
//! The switch as a whole, brought up from its settings: DPDK, tables, workers, ports. Read [`Switch::bring_up`] top
//! to bottom.

pub(crate) mod cores;
mod devices;
pub(crate) mod numa;
mod operator;
pub(crate) mod presence;
mod report;
mod vports;
mod workers;

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vswitch::dpdk::{Eal, EalError, PoolError, Port};
use vswitch::stage::link::Hearing;
use vswitch::tables::Tables;
use vswitch::tables::rcu::{Reader, TooManyReaders};
use vswitch::tables::snapshot::{Registrar, tables};

use crate::config::Settings;
use crate::core::{Core, Site};

pub(crate) use devices::{DeviceError, Devices};
use numa::Pools;
pub(crate) use operator::Operator;
pub(crate) use report::Totals;
pub(crate) use vports::Vports;
pub(crate) use workers::PuntSide;
use workers::Workers;

/// Lets the process have as many files as it may: a guest behind a socket takes nine or more, and shells give a process 1,024.
fn allow_files() {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map(|(_, most)| most);
    let raised = most.and_then(|most| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

/// Why the switch does not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BringUpError {
    /// DPDK itself.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// The packet buffers.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A port.
    #[error(transparent)]
    Device(#[from] DeviceError),
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
    devices: Arc<Devices>,
    registrar: Registrar,
}

impl Switch {
    /// Starts DPDK, workers and ports as `settings` say; the workers wait for [`Switch::start`]. The [`Core`] is for
    /// the control thread.
    pub(crate) fn bring_up(settings: Settings) -> Result<(Self, Core), BringUpError> {
        let cores = cores::choose(settings.workers, settings.corelist.as_deref())?;
        allow_files();
        let eal = Eal::init(&settings.eal_args())?;
        let pools = Pools::new(&eal, settings.mbufs, &cores)?;
        let underlay = settings.underlay();
        let (writer, registrar) = tables(underlay, settings.neighbors_capacity as usize);
        let punt = settings.on_demand.asks();
        let workers = Workers::spawn(&eal, &settings, &registrar, &cores, punt)?;
        let devices = Devices::new(eal, pools, workers, &settings);
        let started = settings.ports.iter().try_for_each(|port| {
            let id = devices.attach(port.clone())?;
            devices.start(id)
        });
        let link = |port| Ok((devices.read(port, Port::mac)?, devices.mtu(port)?));
        let site = match started.and_then(|()| settings.site(link)) {
            Ok(site) => site,
            Err(error) => {
                devices.end();
                return Err(error.into());
            }
        };
        warn_of_another_mac(&devices, &site);
        let mut core = Core::new(site, writer);
        core.set_revisions(settings.revisions);
        core.reserve_neighbors(settings.neighbors_reserve as usize);
        core.explain_by(registrar.clone(), punt);
        Ok((
            Self {
                settings,
                devices: Arc::new(devices),
                registrar,
            },
            core,
        ))
    }

    /// What it was brought up with.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cores that workers are pinned to.
    pub(crate) fn worker_cores(&self) -> Vec<usize> {
        self.devices
            .workers()
            .seats()
            .iter()
            .map(|seat| seat.core)
            .collect()
    }

    /// Lets the workers forward.
    pub(crate) fn start(&self) {
        self.devices.workers().start();
    }

    /// What the workers leave with the control side, if they do, and a view of the tables to go with it.
    pub(crate) fn punt(&self) -> Result<Option<(PuntSide, Reader<Tables>)>, TooManyReaders> {
        let punt = self.devices.workers().punt().cloned();
        punt.map(|punt| Ok((punt, self.registrar.reader("on-demand")?)))
            .transpose()
    }

    /// Has workers tell from now on what they hear on the uplink.
    pub(crate) fn hear(&self) -> Vec<Hearing> {
        self.devices.workers().hear()
    }

    /// The ports.
    pub(crate) fn devices(&self) -> Arc<Devices> {
        Arc::clone(&self.devices)
    }

    /// The counters of all ports.
    pub(crate) fn totals(&self) -> Result<Vec<Totals>, DeviceError> {
        let ports = self.devices.ids().into_iter();
        ports.map(|port| self.devices.totals(port)).collect()
    }

    /// Ends the workers and stops the ports; recorded packets are in their files then.
    pub(crate) fn shut_down(self) {
        match Arc::into_inner(self.devices) {
            Some(devices) => devices.end(),
            None => tracing::error!("the ports are still in use and do not stop in order"),
        }
    }
}

/// The host's kernel answers for the VTEP's address by the MAC of the host port.
fn warn_of_another_mac(devices: &Devices, site: &Site) {
    if let (Some(host_port), Some(uplink)) = (site.host_port, site.uplinks.first())
        && let Ok(mac) = devices.read(host_port, Port::mac)
        && mac != uplink.mac
    {
        tracing::warn!(
            "the host port has the MAC {mac} and the uplink {}: other hosts are told the former, and a NIC takes frames for the \
             latter only; have them alike (`mac=` of net_tap)",
            uplink.mac
        );
    }
}
