// SPDX-License-Identifier: MIT
//! Devices that come late, vanish and come back.

use std::collections::BTreeMap;
use std::time::Instant;

use vswitch::dpdk::Port;
use vswitch::tables::PortId;

use super::devargs::{Devargs, Sign};
use super::device::{Absent, Device, Kind, LONGEST_PAUSE, Look, bearer, of};
use super::{DeviceError, Devices};

impl Devices {
    /// Looks at each port: whether its device is there still, or again, and has a link.
    pub(crate) fn look(&self, now: Instant) {
        let seen: Vec<_> = self
            .lock()
            .iter_mut()
            .map(|(&id, device)| (id, device.look(id, now)))
            .collect();
        for (id, look) in seen {
            match look {
                Look::Nothing => {}
                Look::Gone(why) => self.lose(id, why),
                Look::Due if self.bring(id, true).is_ok() => self.say_there(id),
                Look::Due => {}
            }
        }
    }

    /// The ports whose device, or their parent's, is not there, and why.
    pub(crate) fn absent(&self) -> BTreeMap<PortId, String> {
        let ports = self.lock();
        let absent = ports.keys().filter_map(|&id| {
            let bearer = bearer(&ports, id).ok()?;
            match &bearer.port {
                Kind::Absent(absent) => Some((id, absent.why.clone())),
                Kind::Own(_) | Kind::Subport(..) => None,
            }
        });
        absent.collect()
    }

    /// How often a port's device or its link was lost.
    pub(crate) fn lost(&self, id: PortId) -> Result<u64, DeviceError> {
        self.with(id, |device| Ok(device.lost))
    }

    /// Attaches the device of a port that is marked as busy for this, and starts it if it is to run. Nothing else waits while
    /// DPDK looks for it. Where that fails the port is no more, or waits for its device if it is to be kept.
    pub(super) fn bring(&self, id: PortId, keep: bool) -> Result<(), DeviceError> {
        let device = self.with(id, |device| {
            let busy = matches!(&device.port, Kind::Absent(absent) if absent.busy);
            Ok(busy.then(|| device.settings.device.clone()))
        })?;
        let Some(device) = device else { return Ok(()) };
        let made = self.probe(&device);
        let mut ports = self.lock();
        let mut failed = None;
        let brought = made.and_then(|port| {
            let there = of(&mut ports, id)?;
            there.sign = Sign::of(Devargs(&device));
            (there.up, there.again) = (None, None);
            let same = self.is_as_before(there, id, &port);
            let waiting = std::mem::replace(&mut there.port, Kind::Own(port));
            let run = there.run;
            let started = same.and_then(|()| match run {
                true => self.start_one(&mut ports, id),
                false => Ok(()),
            });
            started.inspect_err(|_| {
                // DPDK has it, and it does not start: it is looked for anew.
                if let Some(there) = ports.get_mut(&id) {
                    failed = Some(std::mem::replace(&mut there.port, waiting));
                }
            })
        });
        match &brought {
            Err(_) if !keep => _ = ports.remove(&id),
            Err(error) => {
                if let Kind::Absent(absent) = &mut of(&mut ports, id)?.port {
                    absent.failed(Instant::now(), error.to_string());
                }
            }
            Ok(()) => {}
        }
        // DPDK closes its device, which may take long.
        drop(ports);
        drop(failed);
        brought
    }

    /// Whether an uplink that is back is the one that the next hops, and other hosts, were told of.
    fn is_as_before(&self, there: &mut Device, id: PortId, port: &Port) -> Result<(), DeviceError> {
        if self.uplink(id).is_none() {
            return Ok(());
        }
        let now = (port.mac(), there.settings.mtu.unwrap_or(port.mtu()));
        let told = *there.told.get_or_insert(now);
        match told == now {
            true => Ok(()),
            false => Err(DeviceError::Changed { told, now }),
        }
    }

    fn probe(&self, device: &str) -> Result<Port, DeviceError> {
        let devargs = Devargs(device);
        devargs.clear_socket()?;
        devargs.warn();
        let device = || device.to_owned();
        let made = Port::attach(&self.eal, devargs.0);
        let mut made = made.map_err(|error| DeviceError::Attach {
            device: device(),
            error,
        })?;
        match (made.pop(), made.len()) {
            (Some(port), 0) => Ok(port),
            (_, others) => Err(DeviceError::Numbering {
                device: device(),
                made: others + 1,
            }),
        }
    }

    /// Takes a port from the workers whose device is gone. Where one does not let go of it, it is tried again.
    fn lose(&self, id: PortId, why: String) {
        let mut ports = self.lock();
        let Ok(device) = of(&mut ports, id) else {
            return;
        };
        // Another may have the number by now.
        let interface = Devargs(&device.settings.device).interface();
        if device.sign.is_none_or(|sign| sign.holds(interface)) {
            return;
        }
        if device.port.is_started() && !self.workers.remove_port(id) {
            (device.leaving, device.again) = (true, Some(Instant::now() + LONGEST_PAUSE));
            tracing::warn!("port {}: a worker does not let go of it", id.get());
            return;
        }
        device.leaving = false;
        device.past = device.stats();
        device.lost += 1;
        tracing::warn!(
            "port {} (`{}`): its device is gone: {why}; it is attached again when it is back",
            id.get(),
            device.settings.device
        );
        let gone = std::mem::replace(&mut device.port, Kind::Absent(Absent::new(why)));
        // DPDK closes it, which may take long.
        drop(ports);
        drop(gone);
    }

    fn say_there(&self, id: PortId) {
        let device = self.with(id, |device| Ok(device.settings.device.clone()));
        if let Ok(device) = device {
            tracing::info!("port {} (`{device}`): its device is there", id.get());
        }
    }
}
