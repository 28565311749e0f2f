// SPDX-License-Identifier: MIT
//! One port: what it is, whether it is there, and what is counted of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use vswitch::counters::PortTotals;
use vswitch::dpdk::{Port, PortError, PortStats};
use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;
use vswitch::wire::Mac;

use super::DeviceError;
use super::devargs::{Devargs, Sign, interface_index};
use crate::config::{PortSettings, SubportError};
use crate::core::ETHERNET_MTU;
use crate::switch::report;

/// Least MTU that is believed of a device: every IPv4 host takes packets of 576 bytes (RFC 791).
const LEAST_MTU: u16 = 576;

/// How long until a device that is not there is looked for again: from the first to the longest, twice as long each time.
const PAUSE: Duration = Duration::from_millis(500);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// All ports by number.
pub(super) type Ports = BTreeMap<PortId, Device>;

/// A port and how it is to be set up.
pub(super) struct Device {
    pub(super) port: Kind,
    pub(super) settings: PortSettings,
    /// It was made for a port of the controller's.
    pub(super) of_template: bool,
    /// It is to be started as soon as its device is there.
    pub(super) run: bool,
    /// It was taken from the workers, and one of them has it still.
    pub(super) leaving: bool,
    /// Of an uplink: the MAC and the MTU that the next hops were told at start.
    pub(super) told: Option<(Mac, u16)>,
    /// When to take it from the workers again, if one does not let go of it while its device is gone.
    pub(super) again: Option<Instant>,
    /// What shows that the interface is there which its device is over.
    pub(super) sign: Option<Sign>,
    /// Whether it had a link when it was looked at last.
    pub(super) up: Option<bool>,
    /// How often its device or its link was lost.
    pub(super) lost: u64,
    /// What devices counted that it had before this one.
    pub(super) past: PortStats,
    /// What the workers had counted for the number before: counters never go back, since workers own them.
    pub(super) base: PortTotals,
    /// What `clear port stats` takes for zero.
    pub(super) zero: (PortTotals, PortStats),
}

/// What a port is.
pub(super) enum Kind {
    Own(Port),
    /// A VLAN of a port with a device. It is started, or not.
    Subport(Subport, bool),
    /// Its device is not there.
    Absent(Absent),
}

/// A device that is not there.
pub(super) struct Absent {
    /// Why.
    pub(super) why: String,
    /// DPDK looks for it now.
    pub(super) busy: bool,
    next: Instant,
    pause: Duration,
    /// The interface that was there when it was looked for last.
    tried: Option<u32>,
}

/// What is to be done about a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Look {
    Nothing,
    /// Its device is gone, for this reason.
    Gone(String),
    /// It is time to look for its device, and it is marked as busy.
    Due,
}

impl Absent {
    /// One that is about to be attached.
    pub(super) fn coming() -> Self {
        Self {
            busy: true,
            ..Self::new("it is being attached".to_owned())
        }
    }

    /// One that is to be looked for, at once.
    pub(super) fn new(why: String) -> Self {
        Self {
            why,
            busy: false,
            next: Instant::now(),
            pause: PAUSE,
            tried: None,
        }
    }

    /// It was looked for in vain.
    pub(super) fn failed(&mut self, now: Instant, why: String) {
        (self.why, self.busy) = (why, false);
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl Kind {
    pub(super) fn is_started(&self) -> bool {
        match self {
            Self::Own(port) => port.is_started(),
            Self::Subport(_, started) => *started,
            Self::Absent(_) => false,
        }
    }
}

impl Device {
    /// Stopped, and counted from `zero` on.
    pub(super) fn new(port: Kind, settings: PortSettings, zero: PortTotals) -> Self {
        Self {
            port,
            settings,
            of_template: false,
            run: false,
            leaving: false,
            told: None,
            again: None,
            sign: None,
            up: None,
            lost: 0,
            past: PortStats::default(),
            base: zero,
            zero: (zero, PortStats::default()),
        }
    }

    /// Its own device.
    pub(super) fn own(&mut self, id: PortId) -> Result<&mut Port, DeviceError> {
        let port = id.get();
        match &mut self.port {
            Kind::Own(port) => Ok(port),
            Kind::Subport(subport, _) => {
                let subport = *subport;
                Err(SubportError::NoDevice { port, subport }.into())
            }
            Kind::Absent(absent) => {
                let why = absent.why.clone();
                Err(DeviceError::Absent { port, why })
            }
        }
    }

    pub(super) fn failed(&self, id: PortId, error: PortError) -> DeviceError {
        DeviceError::Port {
            number: id.get(),
            device: self.settings.device.clone(),
            error,
        }
    }

    /// What its devices have counted. A subport has none.
    pub(super) fn stats(&self) -> PortStats {
        match &self.port {
            Kind::Own(port) => report::sum(&self.past, &port.stats()),
            Kind::Subport(..) | Kind::Absent(_) => self.past,
        }
    }

    /// Looks whether its device is there and has a link. Notes and logs a link that comes and goes.
    pub(super) fn look(&mut self, id: PortId, now: Instant) -> Look {
        let devargs = Devargs(&self.settings.device);
        let name = devargs.interface();
        let index = name.map(interface_index);
        let gone = self.sign.is_some_and(|sign| !sign.holds(name));
        match &mut self.port {
            Kind::Subport(..) => Look::Nothing,
            Kind::Own(_) if gone => match self.again.is_some_and(|again| now < again) {
                true => Look::Nothing,
                false => Look::Gone(no_interface(name)),
            },
            Kind::Own(port) if port.is_started() => {
                let up = port.link().up;
                self.note_link(id, up);
                Look::Nothing
            }
            Kind::Own(_) => Look::Nothing,
            Kind::Absent(absent) if absent.busy => Look::Nothing,
            Kind::Absent(absent) if index == Some(None) && !devargs.makes_its_interface() => {
                (absent.why, absent.tried) = (no_interface(name), None);
                Look::Nothing
            }
            Kind::Absent(absent) => {
                let seen = index.flatten();
                let is_new = seen.is_some() && absent.tried != seen;
                absent.tried = seen;
                absent.busy = is_new || now >= absent.next;
                match absent.busy {
                    true => Look::Due,
                    false => Look::Nothing,
                }
            }
        }
    }

    fn note_link(&mut self, id: PortId, up: bool) {
        let (port, device) = (id.get(), &self.settings.device);
        match (self.up.replace(up), up) {
            (Some(true), false) => {
                self.lost += 1;
                tracing::warn!("port {port} (`{device}`): its link is down");
            }
            (Some(false), true) => tracing::info!("port {port} (`{device}`): its link is up"),
            _ => {}
        }
    }
}

fn no_interface(name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    format!("there is no network interface `{name}`")
}

pub(super) fn of(ports: &mut Ports, id: PortId) -> Result<&mut Device, DeviceError> {
    ports.get_mut(&id).ok_or(DeviceError::Unknown(id.get()))
}

/// Those that are started.
pub(super) fn subports(ports: &Ports) -> impl Iterator<Item = (PortId, Subport)> {
    ports.iter().filter_map(|(port, device)| match device.port {
        Kind::Subport(subport, true) => Some((*port, subport)),
        _ => None,
    })
}

/// Why an operator has no say in a port that was made by a template.
pub(super) fn of_template(ports: &Ports, id: PortId) -> DeviceError {
    let made_for = ports.get(&id).and_then(|device| device.settings.id.clone());
    DeviceError::OfTemplate {
        port: id.get(),
        id: made_for.unwrap_or_default(),
    }
}

/// The port whose device a port has: itself, or its parent.
pub(super) fn bearer(ports: &Ports, id: PortId) -> Result<&Device, DeviceError> {
    let device = ports.get(&id).and_then(|device| match &device.port {
        Kind::Own(_) | Kind::Absent(_) => Some(device),
        Kind::Subport(subport, _) => ports.get(&subport.parent),
    });
    device.ok_or(DeviceError::Unknown(id.get()))
}

/// The device that a port has, or its parent.
pub(super) fn hardware(ports: &Ports, id: PortId) -> Result<&Port, DeviceError> {
    let port = id.get();
    match &bearer(ports, id)?.port {
        Kind::Own(device) => Ok(device),
        Kind::Absent(Absent { why, .. }) => Err(DeviceError::Absent {
            port,
            why: why.clone(),
        }),
        Kind::Subport(..) => Err(DeviceError::Unknown(port)),
    }
}

/// As configured, since some drivers have no MTU to set; else the device's own, if that makes sense.
pub(super) fn mtu_of(ports: &Ports, id: PortId) -> Result<u16, DeviceError> {
    let device = bearer(ports, id)?;
    let believed = |mtu: &u16| (LEAST_MTU..u16::MAX).contains(mtu);
    let own = match &device.port {
        Kind::Own(port) => Some(port.mtu()).filter(believed),
        Kind::Subport(..) | Kind::Absent(_) => None,
    };
    Ok(device.settings.mtu.or(own).unwrap_or(ETHERNET_MTU))
}
