// SPDX-License-Identifier: MIT
//! What settings say of this host's place in the network.

use std::collections::HashMap;

use vswitch::tables::PortId;
use vswitch::wire::Mac;

use super::Settings;
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
        })
    }

    /// The controller's ids that ports are bound to.
    pub(crate) fn bindings(&self) -> Vec<(PortId, String)> {
        let ids = self.ports.iter().map(|port| port.id.clone());
        (0..)
            .zip(ids)
            .filter_map(|(number, id)| Some((PortId::new(number)?, id?)))
            .collect()
    }
}
