// SPDX-License-Identifier: MIT
//! What settings say of this host's place in the network.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use vswitch::stage::limits::Limits;
use vswitch::tables::{PortId, Underlay};
use vswitch::wire::Mac;

use super::{PortSettings, Settings};
use crate::core::{Link, Site, Uplink};
use crate::families::Families;

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
            let link = |vtep: IpNet| Link {
                vtep,
                gateway: self.underlay_gateways.like(vtep.addr()).copied(),
            };
            Ok(Uplink {
                links: Families {
                    v4: vtep.addresses.v4.map(link),
                    v6: vtep.addresses.v6.map(link),
                },
                port: vtep.port,
                mac,
                mtu,
                neighbors: (self.underlay_neighbors.iter())
                    .map(|(&ip, &mac)| (ip, mac))
                    .collect(),
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

    /// This host in the underlay, as workers see it.
    pub(crate) fn underlay(&self) -> Option<Underlay> {
        let vtep = self.vtep?;
        let mut underlay = Underlay {
            vtep: None,
            vtep6: None,
            uplink: vtep.port,
            host_port: self.host_port,
            tunnel: self.tunnel,
        };
        for address in vtep.addresses.iter() {
            match address.addr() {
                IpAddr::V4(ip) => underlay.vtep = Some(ip),
                IpAddr::V6(ip) => underlay.vtep6 = Some(ip),
            }
        }
        Some(underlay)
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
