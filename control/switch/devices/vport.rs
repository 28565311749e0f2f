// SPDX-License-Identifier: MIT
//! Ports that are made of `set vport template`.

use hashbrown::HashSet;
use vswitch::tables::PortId;

use super::devargs::Devargs;
use super::device::Ports;
use super::{DeviceError, Devices};
use crate::config::PortSettings;
use crate::config::vport::{Template, VportError};

impl Devices {
    /// Attaches and starts a device for the controller's port `id`, which it calls `name`.
    pub(crate) fn attach_vport(
        &self,
        template: &Template,
        id: &str,
        name: &str,
    ) -> Result<PortId, DeviceError> {
        let port = {
            let mut ports = self.lock();
            let settings = PortSettings {
                device: next_device(&ports, template, id, name)?,
                id: Some(id.to_owned()),
                ..PortSettings::default()
            };
            let port = self.reserve(&mut ports, settings)?;
            if let Some(device) = ports.get_mut(&port) {
                (device.of_template, device.run) = (true, true);
            }
            port
        };
        self.bring(port, false)?;
        Ok(port)
    }

    /// Gives the device and the number of such a port back.
    pub(crate) fn detach_vport(&self, port: PortId) -> Result<(), DeviceError> {
        self.remove(port)
    }
}

/// The device for a port of the controller's: with a number that no other device has, and nothing else that one has.
fn next_device(
    ports: &Ports,
    template: &Template,
    id: &str,
    name: &str,
) -> Result<String, VportError> {
    let others = || {
        ports
            .iter()
            .map(|(port, it)| (*port, Devargs(&it.settings.device)))
    };
    let taken: HashSet<&str> = others().map(|(_, other)| other.name()).collect();
    let mut n = 0;
    let device = loop {
        let device = template.device(n, id, name)?;
        if !taken.contains(Devargs(&device).name()) {
            break device;
        }
        n += 1;
    };
    let arguments = Devargs(&device).arguments();
    let same = others().find(|(_, other)| other.arguments() == arguments);
    match same.filter(|_| template.names_its_port()) {
        Some((port, _)) => Err(VportError::SameArguments {
            arguments: arguments.to_owned(),
            port: port.get(),
        }),
        None => Ok(device),
    }
}
