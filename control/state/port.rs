// SPDX-License-Identifier: MIT
//! Ports of this host: what the controller says of them, and which of the switch's ports they are.

use std::net::IpAddr;

use hashbrown::HashMap;
use vswitch::tables::PortId;
use vswitch::wire::Mac;

use super::network::SubnetIx;
use super::resource::{AllowedPair, Described, Port};
use super::slots::{Ix, Slot};
use super::{Refused, Revised, Subject, Wanted};
use crate::core::{DeviceOf, NotDone};
use crate::proto::schema::PortConfiguration;

/// Number of a port's slot. Not the switch's own number of it: that is a [`PortId`].
pub(crate) type PortIx = Ix<PortSlot>;

/// A port that was described, or that one of the switch's ports is bound to.
#[derive(Debug)]
pub(crate) struct PortSlot {
    /// As the controller calls it.
    pub id: Box<str>,
    /// What the controller says of it.
    pub wanted: Option<Revised<WantedPort, PortConfiguration>>,
    /// Which of the switch's ports it is.
    pub bound: Option<PortId>,
    /// What the device waits for that is to be made for it.
    pub waits: Option<Box<str>>,
    /// When it was described last, on the state's own clock: among ports that claim one address the latest
    /// has it.
    pub changed: u64,
}

/// A [`Port`] with its subnets found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedPort {
    /// The guest's MAC.
    pub mac: Mac,
    /// False: nothing passes.
    pub admin_up: bool,
    /// Its addresses, in the controller's order; at least one.
    pub fixed_ips: Vec<(SubnetIx, IpAddr)>,
    /// What else it may send from.
    pub pairs: Vec<AllowedPair>,
}

/// What is known of devices that are not there.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// The switch makes one for each port that nothing is bound to.
    come: bool,
    /// Ports of the switch whose device is not there, and why.
    absent: HashMap<PortId, Box<str>>,
}

impl Slot for PortSlot {
    fn new(id: Box<str>) -> Self {
        Self {
            id,
            wanted: None,
            bound: None,
            waits: None,
            changed: 0,
        }
    }
    fn id(&self) -> &str {
        &self.id
    }
    fn in_use(&self) -> bool {
        self.wanted.is_some() || self.bound.is_some()
    }
}

impl Wanted {
    /// The port of this number.
    pub(crate) fn port(&self, ix: PortIx) -> Option<&PortSlot> {
        self.ports.get(ix)
    }

    /// All ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (PortIx, &PortSlot)> {
        self.ports.iter()
    }

    /// Says that `port` of the switch is the controller's port `id`. Saying it again changes nothing.
    pub(crate) fn bind(&mut self, port: PortId, id: &str) -> Result<(), NotDone> {
        if id.is_empty() {
            return Err(NotDone::NoId);
        }
        if let Some(slot) = self.bound.get(&port).and_then(|&ix| self.ports.get(ix))
            && *slot.id != *id
        {
            return Err(NotDone::PortTaken {
                port: port.get(),
                id: slot.id.to_string(),
            });
        }
        let ix = self.ports.intern(id);
        if let Some(slot) = self.ports.get_mut(ix) {
            if let Some(other) = slot.bound.filter(|&other| other != port) {
                return Err(NotDone::IdTaken {
                    port: other.get(),
                    id: id.to_owned(),
                });
            }
            slot.bound = Some(port);
            slot.waits = None;
        }
        self.bound.insert(port, ix);
        self.touched.ports.insert(ix);
        Ok(())
    }

    /// Takes a binding back; what the controller said of the port stays.
    pub(crate) fn unbind(&mut self, port: PortId) -> Result<(), NotDone> {
        let ix = self
            .bound
            .remove(&port)
            .ok_or(NotDone::NotBound(port.get()))?;
        if let Some(slot) = self.ports.get_mut(ix) {
            slot.bound = None;
        }
        self.touched.ports.insert(ix);
        self.unused.ports.push(ix);
        Ok(())
    }

    /// Has what `port` of the switch is bound to, if anything, looked at again.
    pub(crate) fn touch_bound(&mut self, port: PortId) {
        self.touched.ports.extend(self.bound.get(&port));
    }

    /// Has ports that nothing is bound to wait for devices that are on their way.
    pub(crate) fn expect_devices(&mut self) {
        self.devices.come = true;
    }

    /// Says what a port's device waits for; `None`: it is there.
    pub(crate) fn note_device(&mut self, of: &DeviceOf, waits: Option<String>) {
        let waits = waits.map(String::into_boxed_str);
        match (of, waits) {
            (DeviceOf::Port(port), Some(why)) => _ = self.devices.absent.insert(*port, why),
            (DeviceOf::Port(port), None) => _ = self.devices.absent.remove(port),
            (DeviceOf::Id(id), waits) => {
                let ix = self.ports.find(id);
                if let Some(slot) = ix.and_then(|ix| self.ports.get_mut(ix)) {
                    slot.waits = waits;
                }
            }
        }
    }

    /// Whether the device is there of the port that this one is bound to.
    pub(crate) fn has_device(&self, ix: PortIx) -> bool {
        let bound = self.port(ix).and_then(|slot| slot.bound);
        bound.is_some_and(|port| !self.devices.absent.contains_key(&port))
    }

    /// What the port's device waits for, in words; `None`: it has none, and none is on its way.
    pub(crate) fn device_waits(&self, ix: PortIx) -> Option<String> {
        let slot = self.port(ix)?;
        let why = match slot.bound {
            Some(port) => Some(self.devices.absent.get(&port)?),
            None if self.devices.come => slot.waits.as_ref(),
            None => return None,
        };
        let why = why.map(|why| format!(": {why}"));
        Some(format!("waits for its device{}", why.unwrap_or_default()))
    }

    pub(super) fn set_port(
        &mut self,
        id: &str,
        revision: u32,
        port: Option<Described<Port, PortConfiguration>>,
    ) -> Result<Subject, Refused> {
        let now = self.clock.tick();
        let Some(ix) = self.ports.slot_for(id, port.is_some())? else {
            return Ok(Subject::Nothing);
        };
        let Some(slot) = self.ports.get_mut(ix) else {
            return Ok(Subject::Nothing);
        };
        let revision = self.revisions.next(slot.wanted.as_ref(), revision)?;
        let old = slot.wanted.take();
        let new = port.map(|Described { value: port, said }| {
            let fixed_ips = port
                .fixed_ips
                .iter()
                .map(|f| (self.subnets.intern(&f.subnet), f.ip))
                .collect();
            let port = WantedPort {
                mac: port.mac,
                admin_up: port.admin_up,
                fixed_ips,
                pairs: port.pairs,
            };
            Revised::new(revision, port, said)
        });
        let changed = old.as_ref().map(|old| &old.value) != new.as_ref().map(|new| &new.value);
        if changed || self.clock.is_given() {
            slot.changed = now;
        }
        for (subnet, _) in old.iter().flat_map(|old| &old.value.fixed_ips) {
            self.unused.subnets.push(*subnet);
            self.touched.routed.insert(*subnet);
            if let Some(subnet) = self.subnets.get_mut(*subnet) {
                subnet.ports.remove(&ix);
            }
        }
        for (subnet, _) in new.iter().flat_map(|new| &new.value.fixed_ips) {
            self.touched.routed.insert(*subnet);
            if let Some(subnet) = self.subnets.get_mut(*subnet) {
                subnet.ports.insert(ix);
            }
        }
        self.touched.ports.insert(ix);
        self.unused.ports.push(ix);
        let subject = if new.is_some() {
            Subject::Port(ix)
        } else {
            Subject::Nothing
        };
        slot.wanted = new;
        Ok(subject)
    }
}
