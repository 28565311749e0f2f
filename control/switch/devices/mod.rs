// SPDX-License-Identifier: MIT
//! The switch's ports, from `port attach` to their end, at start and while it runs.

mod devargs;
mod device;
mod error;
mod presence;
mod rxqs;
mod vport;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vswitch::counters::{self, PortTotals};
use vswitch::dpdk::{Eal, LinkWatch, Port, PortConfig, PortStats};
use vswitch::stage::trunk::Subport;
use vswitch::tables::{MAX_PORTS, PortId, by_port};

use super::numa::{self, Pools};
use super::presence::Told;
use super::report::{self, Totals};
use super::workers::Workers;
use crate::capture::now_ns;
use crate::config::subport::next_subport;
use crate::config::{PortItem, PortSettings, Settings};
use crate::core::PortRules;
use devargs::Devargs;
use device::{Absent, Device, Kind, Ports, hardware, mtu_of, of, of_template, subports};
pub(crate) use error::DeviceError;

/// All ports, by number, and the workers that poll them.
pub(crate) struct Devices {
    ports: Mutex<Ports>,
    /// All numbers that ports have, or had, are below it.
    numbers: AtomicUsize,
    /// When each number was last taken.
    attached_ns: Box<[AtomicU64; MAX_PORTS]>,
    pub(super) told: Told,
    workers: Workers,
    pools: Pools,
    eal: Eal,
    /// The uplinks, and whether each has an IPv6 address.
    uplinks: Vec<(PortId, bool)>,
    host_port: Option<PortId>,
    portlist: Option<Vec<PortId>>,
}

impl Devices {
    /// None yet.
    pub(super) fn new(eal: Eal, pools: Pools, workers: Workers, settings: &Settings) -> Self {
        Self {
            ports: Mutex::default(),
            numbers: AtomicUsize::new(0),
            attached_ns: by_port(AtomicU64::default),
            told: Told::default(),
            workers,
            pools,
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

    /// Packet buffers: in use, and free.
    pub(crate) fn buffers(&self) -> (u32, u32) {
        self.pools.buffers()
    }

    /// Sends a frame of the switch's own by an uplink; see [`Workers::send_by_uplink`]. False also where there is no
    /// buffer for it.
    pub(crate) fn send_by_uplink(&self, uplink: PortId, bytes: &[u8]) -> bool {
        let frame = self.pools.alloc();
        frame.is_some_and(|mut frame| {
            frame.append(bytes) && self.workers.send_by_uplink(uplink, frame)
        })
    }

    /// Adds a device's port or a subport, stopped, with the lowest number that is free. One whose device may come late waits
    /// for it.
    pub(crate) fn attach(&self, settings: PortSettings) -> Result<PortId, DeviceError> {
        let late = settings.late;
        let id = self.reserve(&mut self.lock(), settings)?;
        match self.bring(id, late) {
            Err(error) if late => tracing::warn!("port {} waits for its device: {error}", id.get()),
            brought => brought?,
        }
        Ok(id)
    }

    /// Takes a number for a port whose device is still to be attached.
    fn reserve(&self, ports: &mut Ports, settings: PortSettings) -> Result<PortId, DeviceError> {
        let mut numbers = PortId::all();
        let id = numbers.find(|id| !ports.contains_key(id));
        let id = id.ok_or(DeviceError::Full)?;
        let no_guests: Vec<_> = self.no_guests().collect();
        let before = ports.iter().map(|(id, device)| (*id, &device.settings));
        let port = match next_subport(&settings.device, before, &no_guests)? {
            // It would outlive its parent, whose number is another's after a restart.
            Some(subport) if ports.get(&subport.parent).is_some_and(|it| it.of_template) => {
                return Err(of_template(ports, subport.parent));
            }
            Some(subport) => Kind::Subport(subport, false),
            None => Kind::Absent(Absent::coming()),
        };
        let name = Devargs(&settings.device).name();
        let mut others = ports.iter();
        if let Some((other, _)) = others.find(|(_, it)| Devargs(&it.settings.device).name() == name)
        {
            let (name, port) = (name.to_owned(), other.get());
            return Err(DeviceError::SameDevice { name, port });
        }
        let zero = counters::total(&self.workers.counters(), id);
        self.numbers.fetch_max(id.index() + 1, Relaxed);
        self.attached_ns[id.index()].store(now_ns(), Relaxed);
        ports.insert(id, Device::new(port, settings, zero));
        Ok(id)
    }

    /// Whether it is for the operator to say what a port is bound to.
    pub(crate) fn check_operators(&self, id: PortId) -> Result<(), DeviceError> {
        let ports = self.lock();
        match ports.get(&id) {
            None => Err(DeviceError::Unknown(id.get())),
            Some(device) if device.of_template => Err(of_template(&ports, id)),
            Some(_) => Ok(()),
        }
    }

    /// Whether a port can be detached.
    pub(crate) fn check_detachable(&self, id: PortId) -> Result<(), DeviceError> {
        self.check_operators(id)?;
        match self.no_guests().any(|it| it == id) {
            true => Err(DeviceError::Fixed(id.get())),
            false => check_alone(&self.lock(), id),
        }
    }

    /// Stops a port and gives its device and its number back.
    pub(crate) fn detach(&self, id: PortId) -> Result<(), DeviceError> {
        self.check_detachable(id)?;
        self.remove(id)
    }

    fn remove(&self, id: PortId) -> Result<(), DeviceError> {
        let mut ports = self.lock();
        let port = id.get();
        check_alone(&ports, id)?;
        let device = of(&mut ports, id)?;
        match &device.port {
            Kind::Absent(absent) if absent.busy => return Err(DeviceError::Busy(port)),
            it if it.is_started() && !self.workers.remove_port(id) => {
                device.leaving = true;
                return Err(DeviceError::Held(port));
            }
            _ => {}
        }
        let gone = ports.remove(&id);
        // DPDK closes its device, which may take long.
        drop(ports);
        drop(gone);
        Ok(())
    }

    /// Sizes a stopped port.
    pub(crate) fn size(&self, id: PortId, item: PortItem, value: u16) -> Result<(), DeviceError> {
        if item == PortItem::Mtu && self.uplink(id).is_some() {
            return Err(DeviceError::UplinkMtu(id.get()));
        }
        self.with(id, |device| {
            if !matches!(device.port, Kind::Absent(_)) {
                device.own(id)?;
            }
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

    /// Sets a port up, starts it and gives it to the workers, at once or when its device is there. A started one stays as it
    /// is.
    pub(crate) fn start(&self, id: PortId) -> Result<(), DeviceError> {
        let mut ports = self.lock();
        let run = of(&mut ports, id)?.run;
        let started = self.start_one(&mut ports, id);
        if started.is_err() {
            of(&mut ports, id)?.run = run; // else its device's return would start it
        }
        started
    }

    fn start_one(&self, ports: &mut Ports, id: PortId) -> Result<(), DeviceError> {
        // Before it is set up: what is configured counts, else what the device comes with.
        let mtu = mtu_of(ports, id)?;
        let device = of(ports, id)?;
        device.run = true;
        if device.leaving {
            self.take_down(device, id)?; // it was stopped, and a worker had it still
        }
        if device.port.is_started() {
            return Ok(());
        }
        match &mut device.port {
            Kind::Absent(_) => return Ok(()),
            Kind::Subport(_, started) => *started = true,
            Kind::Own(port) => {
                let config = self.port_config(id, &device.settings, port);
                let listed = self.portlist.as_ref().is_none_or(|list| list.contains(&id));
                let poll = listed || device.of_template;
                let pool = self.pools.near(numa::of_device(&port.info()));
                let affinity = &device.settings.affinity;
                self.check_affinity(id, affinity, Some(config.rxq))?;
                let started = port
                    .configure(&config, pool)
                    .and_then(|()| port.start())
                    .and_then(|()| self.workers.add_port(id, port, mtu, poll, affinity));
                started.map_err(|error| device.failed(id, error))?;
            }
        }
        // Also where its parent has started again: that may have another MTU.
        for (port, subport) in subports(ports) {
            if port == id || subport.parent == id {
                let mtu = mtu_of(ports, port)?;
                self.workers.add_subport(port, subport, mtu);
            }
        }
        Ok(())
    }

    /// Takes a port from the workers and stops it. A stopped one stays as it is.
    pub(crate) fn stop(&self, id: PortId) -> Result<(), DeviceError> {
        self.with(id, |device| {
            device.run = false;
            device.up = None;
            match device.port.is_started() {
                true => self.take_down(device, id),
                false => Ok(()),
            }
        })
    }

    fn take_down(&self, device: &mut Device, id: PortId) -> Result<(), DeviceError> {
        device.leaving = !self.workers.remove_port(id);
        if device.leaving {
            return Err(DeviceError::Held(id.get()));
        }
        match &mut device.port {
            Kind::Subport(_, started) => *started = false,
            Kind::Own(port) => port.stop().map_err(|error| device.failed(id, error))?,
            Kind::Absent(_) => {}
        }
        Ok(())
    }

    /// Switches promiscuous mode.
    pub(crate) fn set_promiscuous(&self, id: PortId, on: bool) -> Result<(), DeviceError> {
        self.with(id, |device| {
            let set = match &device.port {
                Kind::Absent(_) => Ok(()),
                _ => device.own(id)?.set_promiscuous(on),
            };
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
        hardware(&self.lock(), id).map(read)
    }

    /// A port's link, to be looked at without waiting for who changes ports. `None` while somebody does, or its device is not
    /// there.
    pub(crate) fn watch_link(&self, id: PortId) -> Option<LinkWatch> {
        let ports = self.ports.try_lock().ok()?;
        hardware(&ports, id).map(Port::watch_link).ok()
    }

    /// What a port's devices have counted. A subport has none.
    pub(crate) fn stats(&self, id: PortId) -> Result<PortStats, DeviceError> {
        self.with(id, |device| Ok(device.stats()))
    }

    /// What workers had counted for its number when the port was attached.
    pub(crate) fn base(&self, id: PortId) -> Result<PortTotals, DeviceError> {
        self.with(id, |device| Ok(device.base))
    }

    /// A port's counters since they were cleared.
    pub(crate) fn totals(&self, id: PortId) -> Result<Totals, DeviceError> {
        let workers = self.workers.counters();
        self.with(id, |device| {
            let (switch, losses) = &device.zero;
            Ok(Totals {
                port: id,
                switch: counters::total(&workers, id).since(switch),
                device: report::since(&device.stats(), losses),
            })
        })
    }

    /// Counts a port's statistics from zero.
    pub(crate) fn clear(&self, id: PortId) -> Result<(), DeviceError> {
        let switch = counters::total(&self.workers.counters(), id);
        self.with(id, |device| {
            device.zero = (switch, device.stats());
            Ok(())
        })
    }

    /// What a port is a subport of; `None`: it has a device.
    pub(crate) fn subport(&self, id: PortId) -> Result<Option<Subport>, DeviceError> {
        self.with(id, |device| match device.port {
            Kind::Own(_) | Kind::Absent(_) => Ok(None),
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

    /// The numbers that ports have, or had before they were detached.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = PortId> {
        PortId::all().take(self.numbers.load(Relaxed))
    }

    /// When a number was last taken by a port. Waits for nobody.
    pub(crate) fn attached_ns(&self, id: PortId) -> u64 {
        self.attached_ns[id.index()].load(Relaxed)
    }

    /// The numbers of all ports.
    pub(crate) fn ids(&self) -> Vec<PortId> {
        self.lock().keys().copied().collect()
    }

    /// What a port is set up by.
    pub(crate) fn port_settings(&self, id: PortId) -> Result<PortSettings, DeviceError> {
        self.with(id, |device| Ok(device.settings.clone()))
    }

    /// What each port is set up by, but those of `set vport template`.
    pub(crate) fn settings(&self) -> Vec<(PortId, PortSettings)> {
        let ports = self.lock();
        let operators = ports.iter().filter(|(_, device)| !device.of_template);
        operators
            .map(|(id, device)| (*id, device.settings.clone()))
            .collect()
    }

    /// Ends workers and ports; recorded packets are in their files then.
    pub(super) fn end(self) {
        self.workers.end();
        let mut ports = std::mem::take(&mut *self.lock());
        for Device { port, settings, .. } in ports.values_mut() {
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
            pools,
            eal,
            ..
        } = self;
        drop((ports, workers, pools));
        if let Err(error) = eal.cleanup() {
            tracing::warn!("{error}");
        }
    }

    fn port_config(&self, id: PortId, settings: &PortSettings, port: &Port) -> PortConfig {
        let info = port.info();
        let (rxq, txq) = rxqs::default_queues(&info, self.workers.seats().len());
        PortConfig {
            rxq: settings.rxq.unwrap_or(rxq),
            txq: settings.txq.unwrap_or(txq),
            rxd: settings.rxd,
            txd: settings.txd,
            mtu: settings.mtu,
            // Guests have MACs that their devices know nothing of; an uplink is spoken to by its own.
            promisc: settings.promisc.unwrap_or(self.uplink(id).is_none()),
            groups: self.uplink(id) == Some(true),
            guest: self.uplink(id).is_none() && self.host_port != Some(id),
            tx_offload: settings.tx_offload,
            one_pool: self.pools.is_one(),
        }
    }

    /// Of an uplink, whether it has an IPv6 address.
    fn uplink(&self, id: PortId) -> Option<bool> {
        let mut uplinks = self.uplinks.iter();
        uplinks.find_map(|(port, over_ipv6)| (*port == id).then_some(*over_ipv6))
    }

    /// The uplinks and the host port.
    fn no_guests(&self) -> impl Iterator<Item = PortId> {
        let uplinks = self.uplinks.iter().map(|(port, _)| *port);
        uplinks.chain(self.host_port)
    }

    fn with<T>(
        &self,
        id: PortId,
        body: impl FnOnce(&mut Device) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        of(&mut self.lock(), id).and_then(body)
    }

    /// Whoever held the lock and panicked left the ports as they were.
    fn lock(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error for a port that has subports.
fn check_alone(ports: &Ports, id: PortId) -> Result<(), DeviceError> {
    let mut subports = ports.iter().filter_map(|(port, device)| {
        let subport = device.settings.subport()?;
        (subport.parent == id).then_some(port.get())
    });
    match subports.next() {
        Some(subport) => Err(DeviceError::HasSubport {
            port: id.get(),
            subport,
        }),
        None => Ok(()),
    }
}
