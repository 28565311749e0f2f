// SPDX-License-Identifier: MIT
//! What settings say of this host's place in the network.

use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::IpNet;
use vswitch::stage::limits::Limits;
use vswitch::tables::{PortId, Underlay};
use vswitch::wire::Mac;

use super::{PortSettings, Settings, Vtep};
use crate::core::{Link, Site, Uplink};
use crate::families::Families;

impl Settings {
    /// This host's place in the network; `link` says an uplink's MAC and MTU, of which the least counts.
    ///
    /// # Errors
    /// `link`'s.
    pub(crate) fn site<E>(
        &self,
        link: impl Fn(PortId) -> Result<(Mac, u16), E>,
    ) -> Result<Site, E> {
        let uplink = |vtep: &Vtep| {
            let port = vtep.port;
            let (mac, mtu) = link(port)?;
            let link = |vtep: IpNet| Link {
                vtep,
                gateway: (self.underlay_gateways.iter())
                    .find(|gateway| gateway.is_on_link(vtep, port))
                    .map(|gateway| (gateway.ip, gateway.mac)),
            };
            Ok(Uplink {
                links: Families {
                    v4: vtep.addresses.v4.map(link),
                    v6: vtep.addresses.v6.map(link),
                },
                port,
                mac,
                mtu,
                neighbors: (self.underlay_neighbors.iter())
                    .map(|(&ip, &mac)| (ip, mac))
                    .collect(),
                learned: HashMap::new(),
            })
        };
        let uplinks: Result<Vec<_>, E> = self.vteps.iter().map(uplink).collect();
        let mut uplinks = uplinks?;
        let mtu = uplinks.iter().map(|uplink| uplink.mtu).min();
        let all = uplinks.clone();
        for uplink in &mut uplinks {
            uplink.mtu = mtu.unwrap_or(uplink.mtu);
            // A host's MAC means something on its own link; one that is on nobody's is found behind any.
            let port = uplink.port;
            uplink.neighbors.retain(|host, _| {
                let mut near = all.iter().filter(|it| it.holds(*host)).peekable();
                near.peek().is_none() || near.any(|it| it.port == port)
            });
        }
        Ok(Site {
            uplinks,
            host_port: self.host_port,
            anti_spoofing: self.anti_spoofing,
            replicated: self.replicated.clone(),
            rules: (self.ports_by_number())
                .map(|(port, settings)| (port, settings.rules))
                .collect(),
        })
    }

    /// This host in the underlay, as workers see it.
    pub(crate) fn underlay(&self) -> Option<Underlay> {
        let mut uplinks = self.vteps.iter().map(|vtep| {
            let mut uplink = vswitch::tables::Uplink {
                port: vtep.port,
                vtep: None,
                vtep6: None,
            };
            for address in vtep.addresses.iter() {
                match address.addr() {
                    IpAddr::V4(ip) => uplink.vtep = Some(ip),
                    IpAddr::V6(ip) => uplink.vtep6 = Some(ip),
                }
            }
            uplink
        });
        let first = uplinks.next()?;
        Some(Underlay {
            vtep: first.vtep,
            vtep6: first.vtep6,
            uplink: first.port,
            second: uplinks.next(),
            host_port: self.host_port,
            tunnel: self.tunnel,
        })
    }

    /// The uplinks.
    pub(crate) fn uplinks(&self) -> impl Iterator<Item = PortId> {
        self.vteps.iter().map(|vtep| vtep.port)
    }

    /// What a port is for: `uplink`, `host` or `tenant`.
    pub(crate) fn role(&self, port: PortId) -> &'static str {
        if self.uplinks().any(|uplink| uplink == port) {
            "uplink"
        } else if Some(port) == self.host_port {
            "host"
        } else {
            "tenant"
        }
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

    /// The ports with their numbers.
    pub(super) fn ports_by_number(&self) -> impl Iterator<Item = (PortId, &PortSettings)> {
        (0..).filter_map(PortId::new).zip(&self.ports)
    }
}
