// SPDX-License-Identifier: MIT
//! The switch's ports, from `port attach` to their end, at start and while it runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use vswitch::dpdk::{Eal, LinkWatch, Mempool, Port, PortConfig, PortError, PortStats};
use vswitch::stage::trunk::Subport;
use vswitch::tables::{MAX_PORTS, PortId};

use super::workers::Workers;
use crate::config::subport::next_subport;
use crate::config::{PortItem, PortSettings, Settings, SubportError};
use crate::core::{ETHERNET_MTU, PortRules};

/// Least MTU that is believed of a device: every IPv4 host takes packets of 576 bytes (RFC 791).
const LEAST_MTU: u16 = 576;

/// Why a port does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    /// The device.
    #[error("port {number} (`{device}`): {error}")]
    Port {
        /// The port's number.
        number: u16,
        /// As configured.
        device: String,
        /// What is wrong with it.
        error: PortError,
    },
    /// It cannot be added.
    #[error("`{device}`: {error}")]
    Attach {
        /// As configured.
        device: String,
        /// What is wrong with it.
        error: PortError,
    },
    /// One `port attach` made several ports, so that later numbers would not be the configured ones.
    #[error("`port attach {device}` made {made} ports; the switch numbers one port per line")]
    Numbering {
        /// As configured.
        device: String,
        /// Ports.
        made: usize,
    },
    /// Another process of DPDK's, or an argument of `eal`, made ports that the switch does not know.
    #[error(
        "`port attach {device}` got DPDK's port {got} where port {expected} was due: ports were made before"
    )]
    Taken {
        /// As configured.
        device: String,
        /// DPDK's number.
        got: u16,
        /// The number that the configuration counts on.
        expected: u16,
    },
    /// It cannot be a subport, or as one not do this.
    #[error(transparent)]
    Subport(#[from] SubportError),
    /// More than [`MAX_PORTS`].
    #[error("there are {MAX_PORTS} ports already, the most that the switch can have")]
    Full,
    /// No such port.
    #[error("there is no port {0}")]
    Unknown(u16),
    /// Its queues are sized, and its offloads chosen, while it is stopped.
    #[error("port {0} is started: `port stop {0}` first")]
    Started(u16),
    /// The next hops were told at start what it takes.
    #[error("port {0} is an uplink: its MTU is fixed at start, set it in the start-up file")]
    UplinkMtu(u16),
    /// A worker does not let go of it.
    #[error("a worker does not let go of port {0}")]
    Held(u16),
}

/// A port and how it is to be set up.
struct Device {
    port: Kind,
    settings: PortSettings,
}

/// What a port is.
enum Kind {
    Own(Port),
    /// A VLAN of a port with a device. It is started, or not.
    Subport(Subport, bool),
}

impl Kind {
    fn is_started(&self) -> bool {
        match self {
            Self::Own(port) => port.is_started(),
            Self::Subport(_, started) => *started,
        }
    }
}

/// All ports, by number, and the workers that poll them.
pub(crate) struct Devices {
    ports: Mutex<Vec<Device>>,
    workers: Workers,
    pool: Mempool,
    eal: Eal,
    /// The uplinks, and whether each has an IPv6 address.
    uplinks: Vec<(PortId, bool)>,
    host_port: Option<PortId>,
    portlist: Option<Vec<PortId>>,
}

impl Devices {
    /// None yet.
    pub(super) fn new(eal: Eal, pool: Mempool, workers: Workers, settings: &Settings) -> Self {
        Self {
            ports: Mutex::default(),
            workers,
            pool,
            eal,
            uplinks: (settings.vteps.iter())
                .map(|vtep| (vtep.port, vtep.addresses.v6.is_some()))
                .collect(),
            host_port: settings.host_port,
            portlist: settings.portlist.clone(),
        }
    }

    /// The workers.
    pub(crate) const fn workers(&self) -> &Workers {
        &self.workers
    }

    /// DPDK.
    pub(crate) const fn eal(&self) -> &Eal {
        &self.eal
    }

    /// Sends a frame of the switch's own by an uplink; see [`Workers::send_by_uplink`]. False also where there is no
    /// buffer for it.
    pub(crate) fn send_by_uplink(&self, uplink: PortId, bytes: &[u8]) -> bool {
        let frame = self.pool.alloc();
        frame.is_some_and(|mut frame| {
            frame.append(bytes) && self.workers.send_by_uplink(uplink, frame)
        })
    }

    /// Packet buffers: in use, and free.
    pub(crate) fn buffers(&self) -> (u32, u32) {
        (self.pool.in_use(), self.pool.available())
    }

    /// Adds a device's port or a subport, stopped.
    pub(crate) fn attach(&self, settings: PortSettings) -> Result<PortId, DeviceError> {
        let mut ports = self.lock();
        let next = u16::try_from(ports.len())
            .ok()
            .and_then(PortId::new)
            .ok_or(DeviceError::Full)?;
        let device = || settings.device.clone();
        let before = ports.iter().map(|device| &device.settings);
        let uplinks = self.uplinks.iter().map(|(port, _)| *port);
        let no_guests: Vec<_> = uplinks.chain(self.host_port).collect();
        if let Some(subport) = next_subport(&settings.device, before, &no_guests)? {
            let port = Kind::Subport(subport, false);
            ports.push(Device { port, settings });
            return Ok(next);
        }
        // DPDK numbers devices; subports have none.
        let devices = ports.iter().filter(|it| matches!(it.port, Kind::Own(_)));
        let expected = u16::try_from(devices.count()).unwrap_or(u16::MAX);
        let mut made =
            Port::attach(&self.eal, &settings.device).map_err(|error| DeviceError::Attach {
                device: device(),
                error,
            })?;
        let (Some(port), true) = (made.pop(), made.is_empty()) else {
            return Err(DeviceError::Numbering {
                device: device(),
                made: made.len() + 1,
            });
        };
        if port.id() != expected {
            return Err(DeviceError::Taken {
                device: device(),
                got: port.id(),
                expected,
            });
        }
        let port = Kind::Own(port);
        ports.push(Device { port, settings });
        Ok(next)
    }

    /// Sizes a stopped port.
    pub(crate) fn size(&self, id: PortId, item: PortItem, value: u16) -> Result<(), DeviceError> {
        if item == PortItem::Mtu && self.uplink(id).is_some() {
            return Err(DeviceError::UplinkMtu(id.get()));
        }
        self.with(id, |device| {
            device.own(id)?;
            if device.port.is_started() {
                return Err(DeviceError::Started(id.get()));
            }
            *device.settings.item(item) = Some(value);
            Ok(())
        })
    }

    /// Says of a stopped port whether checksums and segments are left to its device.
    pub(crate) fn set_tx_offload(&self, id: PortId, on: bool) -> Result<(), DeviceError> {
        self.with(id, |device| {
            device.own(id)?;
            if device.port.is_started() {
                return Err(DeviceError::Started(id.get()));
            }
            device.settings.tx_offload = Some(on);
            Ok(())
        })
    }

    /// Sets a port up, starts it and gives it to the workers. A started one stays as it is.
    pub(crate) fn start(&self, id: PortId) -> Result<(), DeviceError> {
        let mut ports = self.lock();
        // Before it is set up: what is configured counts, else what the device comes with.
        let mtu = mtu_of(&ports, id)?;
        let device = of(&mut ports, id)?;
        if device.port.is_started() {
            return Ok(());
        }
        match &mut device.port {
            Kind::Subport(_, started) => *started = true,
            Kind::Own(port) => {
                let config = self.port_config(id, &device.settings, port);
                let poll = self.portlist.as_ref().is_none_or(|list| list.contains(&id));
                let started = port
                    .configure(&config, &self.pool)
                    .and_then(|()| port.start())
                    .and_then(|()| self.workers.add_port(id, port, mtu, poll));
                started.map_err(|error| device.failed(id, error))?;
            }
        }
        // Also where its parent has started again: that may have another MTU.
        for (port, subport) in subports(&ports) {
            if port == id || subport.parent == id {
                self.workers
                    .add_subport(port, subport, mtu_of(&ports, port)?);
            }
        }
        Ok(())
    }

    /// Takes a port from the workers and stops it. A stopped one stays as it is.
    pub(crate) fn stop(&self, id: PortId) -> Result<(), DeviceError> {
        self.with(id, |device| {
            if !device.port.is_started() {
                return Ok(());
            }
            if !self.workers.remove_port(id) {
                return Err(DeviceError::Held(id.get()));
            }
            match &mut device.port {
                Kind::Subport(_, started) => {
                    *started = false;
                    Ok(())
                }
                Kind::Own(port) => port.stop().map_err(|error| device.failed(id, error)),
            }
        })
    }

    /// Switches promiscuous mode.
    pub(crate) fn set_promiscuous(&self, id: PortId, on: bool) -> Result<(), DeviceError> {
        self.with(id, |device| {
            let set = device.own(id)?.set_promiscuous(on);
            device.settings.promisc = Some(on);
            set.map_err(|error| device.failed(id, error))
        })
    }

    /// Notes which of the controller's ports it is, for `show config`.
    pub(crate) fn note_binding(
        &self,
        id: PortId,
        bound: Option<String>,
    ) -> Result<(), DeviceError> {
        self.with(id, |device| {
            device.settings.id = bound;
            Ok(())
        })
    }

    /// What holds for a port's guest.
    pub(crate) fn rules(&self, id: PortId) -> Result<PortRules, DeviceError> {
        self.with(id, |device| Ok(device.settings.rules))
    }

    /// Notes what holds for a port's guest, for `show config` and `show ports`.
    pub(crate) fn note_rules(&self, id: PortId, rules: PortRules) -> Result<(), DeviceError> {
        self.with(id, |device| {
            device.settings.rules = rules;
            Ok(())
        })
    }

    /// Whether a port is started.
    pub(crate) fn is_started(&self, id: PortId) -> Result<bool, DeviceError> {
        self.with(id, |device| Ok(device.port.is_started()))
    }

    /// Reads something off a port's device; a subport's is its parent's.
    pub(crate) fn read<T>(
        &self,
        id: PortId,
        read: impl FnOnce(&Port) -> T,
    ) -> Result<T, DeviceError> {
        let ports = self.lock();
        hardware(&ports, id).map(|(port, _)| read(port))
    }

    /// A port's link, to be looked at without waiting for who changes ports.
    pub(crate) fn watch_link(&self, id: PortId) -> Result<LinkWatch, DeviceError> {
        self.read(id, Port::watch_link)
    }

    /// A port's device's counters. A subport has none of its own.
    pub(crate) fn stats(&self, id: PortId) -> Result<PortStats, DeviceError> {
        match self.subport(id)? {
            Some(_) => Ok(PortStats::default()),
            None => self.read(id, Port::stats),
        }
    }

    /// What a port is a subport of; `None`: it has a device.
    pub(crate) fn subport(&self, id: PortId) -> Result<Option<Subport>, DeviceError> {
        self.with(id, |device| match device.port {
            Kind::Own(_) => Ok(None),
            Kind::Subport(subport, _) => Ok(Some(subport)),
        })
    }

    /// The subports that are started.
    pub(crate) fn subports(&self) -> Vec<(PortId, Subport)> {
        subports(&self.lock()).collect()
    }

    /// The longest packet that a port takes, in bytes.
    pub(crate) fn mtu(&self, id: PortId) -> Result<u16, DeviceError> {
        mtu_of(&self.lock(), id)
    }

    /// The numbers of all ports.
    pub(crate) fn ids(&self) -> Vec<PortId> {
        (0..)
            .take(self.lock().len())
            .filter_map(PortId::new)
            .collect()
    }

    /// What each port is set up by.
    pub(crate) fn settings(&self) -> Vec<PortSettings> {
        self.lock()
            .iter()
            .map(|device| device.settings.clone())
            .collect()
    }

    /// Ends workers and ports; recorded packets are in their files then.
    pub(super) fn end(self) {
        self.workers.end();
        let mut ports = std::mem::take(&mut *self.lock());
        for Device { port, settings } in &mut ports {
            if let Kind::Own(port) = port
                && port.is_started()
                && let Err(error) = port.stop()
            {
                tracing::warn!("`{}` does not stop: {error}", settings.device);
            }
        }
        let Self {
            ports: _,
            workers,
            pool,
            eal,
            ..
        } = self;
        drop((ports, workers, pool));
        if let Err(error) = eal.cleanup() {
            tracing::warn!("{error}");
        }
    }

    fn port_config(&self, id: PortId, settings: &PortSettings, port: &Port) -> PortConfig {
        let info = port.info();
        let workers = u16::try_from(self.workers.seats().len()).unwrap_or(u16::MAX);
        PortConfig {
            // One queue for each worker, where the device has so many; with fewer tx queues, workers hand frames over.
            rxq: settings
                .rxq
                .unwrap_or(workers.clamp(1, info.max_rxq.max(1))),
            txq: settings
                .txq
                .unwrap_or(workers.clamp(1, info.max_txq.max(1))),
            rxd: settings.rxd,
            txd: settings.txd,
            mtu: settings.mtu,
            // Guests have MACs that their devices know nothing of; an uplink is spoken to by its own.
            promisc: settings.promisc.unwrap_or(self.uplink(id).is_none()),
            groups: self.uplink(id) == Some(true),
            guest: self.uplink(id).is_none() && self.host_port != Some(id),
            tx_offload: settings.tx_offload,
            one_pool: true,
        }
    }

    /// Of an uplink, whether it has an IPv6 address.
    fn uplink(&self, id: PortId) -> Option<bool> {
        let mut uplinks = self.uplinks.iter();
        uplinks.find_map(|(port, over_ipv6)| (*port == id).then_some(*over_ipv6))
    }

    fn with<T>(
        &self,
        id: PortId,
        body: impl FnOnce(&mut Device) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        of(&mut self.lock(), id).and_then(body)
    }

    /// Whoever held the lock and panicked left the ports as they were.
    fn lock(&self) -> MutexGuard<'_, Vec<Device>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of(ports: &mut [Device], id: PortId) -> Result<&mut Device, DeviceError> {
    let device = ports.get_mut(id.index());
    device.ok_or(DeviceError::Unknown(id.get()))
}

/// Those that are started.
fn subports(ports: &[Device]) -> impl Iterator<Item = (PortId, Subport)> {
    let numbered = (0..).filter_map(PortId::new).zip(ports);
    numbered.filter_map(|(port, device)| match device.port {
        Kind::Subport(subport, true) => Some((port, subport)),
        _ => None,
    })
}

/// The device that a port has, or its parent.
fn hardware(ports: &[Device], id: PortId) -> Result<(&Port, &PortSettings), DeviceError> {
    let device = ports.get(id.index()).and_then(|device| match &device.port {
        Kind::Own(_) => Some(device),
        Kind::Subport(subport, _) => ports.get(subport.parent.index()),
    });
    match device {
        Some(Device {
            port: Kind::Own(port),
            settings,
        }) => Ok((port, settings)),
        _ => Err(DeviceError::Unknown(id.get())),
    }
}

/// As configured, since some drivers have no MTU to set; else the device's own, if that makes sense.
fn mtu_of(ports: &[Device], id: PortId) -> Result<u16, DeviceError> {
    let (port, settings) = hardware(ports, id)?;
    let believed = |mtu: &u16| (LEAST_MTU..u16::MAX).contains(mtu);
    let own = Some(port.mtu()).filter(believed);
    Ok(settings.mtu.or(own).unwrap_or(ETHERNET_MTU))
}

impl Device {
    /// Its own device.
    fn own(&mut self, id: PortId) -> Result<&mut Port, DeviceError> {
        match &mut self.port {
            Kind::Own(port) => Ok(port),
            Kind::Subport(subport, _) => {
                let (port, subport) = (id.get(), *subport);
                Err(SubportError::NoDevice { port, subport }.into())
            }
        }
    }

    fn failed(&self, id: PortId, error: PortError) -> DeviceError {
        DeviceError::Port {
            number: id.get(),
            device: self.settings.device.clone(),
            error,
        }
    }
}
