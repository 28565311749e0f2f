// SPDX-License-Identifier: MIT
//! `vlan101@3`, VLAN 101 of port 3: what `port attach` takes for a subport, in the manner of Linux.

use std::collections::BTreeMap;

use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;

use super::PortSettings;

/// VLANs that are none: priority tags have 0, and 4095 is reserved (IEEE 802.1Q table 9-2).
const VLANS: std::ops::RangeInclusive<u16> = 1..=4094;

/// Why there is no such subport, or it does not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SubportError {
    /// It does not say which.
    #[error(
        "`{0}` is no subport: those are `vlanN@PORT`, VLAN 1 to 4094 of a port, as in `vlan101@3`"
    )]
    Malformed(String),
    /// No such port.
    #[error("`{0}`: there is no port {parent} before it", parent = .0.parent.get())]
    NoParent(Subport),
    /// A VLAN in a VLAN.
    #[error("`{0}`: port {parent} is a subport itself", parent = .0.parent.get())]
    Nested(Subport),
    /// It has no guest.
    #[error("`{0}`: port {parent} is the uplink or the host port, which have no subports", parent = .0.parent.get())]
    NoGuest(Subport),
    /// The VLAN is another port's.
    #[error("`{subport}` is port {other} already")]
    Taken {
        /// What was asked for.
        subport: Subport,
        /// The port.
        other: u16,
    },
    /// Something of a device.
    #[error("port {port} is a subport, `{subport}`, and has no device: say it of port {parent}", parent = .subport.parent.get())]
    NoDevice {
        /// The port.
        port: u16,
        /// What it is.
        subport: Subport,
    },
}

/// The subport that a `port attach` names; `None`: it names a device.
///
/// # Errors
/// It begins as a subport does, and is none.
pub(crate) fn subport(device: &str) -> Option<Result<Subport, SubportError>> {
    let text = device.strip_prefix("vlan")?;
    let number = |text: &str| {
        let plain = text.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let parsed = text.split_once('@').and_then(|(vlan, parent)| {
        let vlan = number(vlan).filter(|vlan| VLANS.contains(vlan))?;
        let parent = PortId::new(number(parent)?)?;
        Some(Subport { parent, vlan })
    });
    Some(parsed.ok_or_else(|| SubportError::Malformed(device.to_owned())))
}

/// The same, to become another port besides `ports`, of which these have no guest.
///
/// # Errors
/// There can be no such subport.
pub(crate) fn next_subport<'a>(
    device: &str,
    ports: impl Iterator<Item = (PortId, &'a PortSettings)>,
    no_guests: &[PortId],
) -> Result<Option<Subport>, SubportError> {
    let Some(subport) = subport(device).transpose()? else {
        return Ok(None);
    };
    let before: BTreeMap<_, _> = ports.map(|(port, it)| (port, it.subport())).collect();
    match before.get(&subport.parent) {
        None => return Err(SubportError::NoParent(subport)),
        Some(Some(_)) => return Err(SubportError::Nested(subport)),
        Some(None) if no_guests.contains(&subport.parent) => {
            return Err(SubportError::NoGuest(subport));
        }
        Some(None) => {}
    }
    match before.iter().find(|(_, it)| **it == Some(subport)) {
        Some((other, _)) => {
            let other = other.get();
            Err(SubportError::Taken { subport, other })
        }
        None => Ok(Some(subport)),
    }
}

impl PortSettings {
    /// What the port is a subport of; `None`: it has a device.
    pub(crate) fn subport(&self) -> Option<Subport> {
        subport(&self.device)?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subport_is_a_vlan_of_a_port() {
        for (text, vlan, parent) in [("vlan1@0", 1, 0), ("vlan4094@31", 4094, 31)] {
            let parent = PortId::new(parent).unwrap();
            assert_eq!(subport(text), Some(Ok(Subport { parent, vlan })));
            assert_eq!(Subport { parent, vlan }.to_string(), text);
        }
        for device in ["net_tap0,iface=vlan1@0", "0000:3b:00.0", ""] {
            assert_eq!(subport(device), None);
        }
    }

    #[test]
    fn what_begins_as_one_and_is_none_is_an_error() {
        for text in [
            "vlan",
            "vlan101",
            "vlan101@",
            "vlan@3",
            "vlan0@3",
            "vlan4095@3",
            "vlan101@1024",
            "vlan+1@3",
            "vlan101@-1",
            "vlan101@3,x",
            "vlan 1@3",
            "vlan65537@3",
        ] {
            let malformed = SubportError::Malformed(text.to_owned());
            assert_eq!(subport(text), Some(Err(malformed)), "{text}");
        }
    }
}
