// SPDX-License-Identifier: MIT
//! What settings say of this host's place in the network.

use std::collections::HashMap;

use vswitch::stage::limits::Limits;
use vswitch::tables::PortId;
use vswitch::wire::Mac;

use super::{PortSettings, Settings};
use crate::core::{Site, Uplink};

impl Settings {
    /// This host's place in the network; `link` says the uplink's MAC and MTU.
    ///
    /// # Errors
    /// `link`'s.
    pub(crate) fn site<E>(
        &self,
        link: impl FnOnce(PortId) -> Result<(Mac, u16), E>,
    ) -> Result<Site, E> {
        let underlay = self.vtep.map(|vtep| {
            let (mac, mtu) = link(vtep.port)?;
            Ok(Uplink {
                vtep: vtep.address.addr(),
                prefix_len: vtep.address.prefix_len(),
                port: vtep.port,
                mac,
                mtu,
                neighbors: (self.underlay_neighbors.iter())
                    .map(|(&ip, &mac)| (ip, mac))
                    .collect(),
                gateway: self.underlay_gateway,
                learned: HashMap::new(),
            })
        });
        Ok(Site {
            underlay: underlay.transpose()?,
            host_port: self.host_port,
            anti_spoofing: self.anti_spoofing,
            rules: (self.ports_by_number())
                .map(|(port, settings)| (port, settings.rules))
                .collect(),
        })
    }

    /// What workers do with packets that are too long, before they know of any port.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::NONE;
        limits.fragment = self.fragment;
        limits.clamp_mss = self.clamp_mss;
        limits
    }

    /// The controller's ids that ports are bound to.
    pub(crate) fn bindings(&self) -> Vec<(PortId, String)> {
        let bound = |(port, settings): (_, &PortSettings)| Some((port, settings.id.clone()?));
        self.ports_by_number().filter_map(bound).collect()
    }

    fn ports_by_number(&self) -> impl Iterator<Item = (PortId, &PortSettings)> {
        (0..).filter_map(PortId::new).zip(&self.ports)
    }
}
