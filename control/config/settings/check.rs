// SPDX-License-Identifier: MIT
//! Contradictions that show only when all commands are known.

use vswitch::stage::limits::ENCAPSULATION;
use vswitch::tables::{MAX_PORTS, PortId};

use super::super::line::Line;
use super::super::subport::SubportError;
use super::fold::Fold;
use super::{Conflict, Vtep};

/// Least MTU of an uplink: IPv4's least (RFC 791 section 3.2), and VXLAN around it.
const LEAST_UPLINK: u16 = 68 + ENCAPSULATION;

impl Fold<'_> {
    /// Finds them.
    pub(super) fn check(&mut self) {
        self.check_cores();
        self.check_listeners();
        self.check_underlay();
        self.check_ncm();
        self.check_roles();
        self.check_subports();
        self.check_rules();
        self.check_sizes();
    }

    fn check_sizes(&mut self) {
        let uplink = self.settings.vtep.map(|vtep| vtep.port);
        let mtu = uplink.and_then(|port| self.settings.ports.get(port.index())?.mtu);
        if let (Some(port), Some(mtu)) = (uplink, mtu.filter(|mtu| *mtu < LEAST_UPLINK)) {
            let at = self.line(&format!("port config {} mtu", port.get()));
            self.error(at, Conflict::ShortUplink(mtu), &[]);
        }
        let (reserve, capacity) = (
            self.settings.neighbors_reserve,
            self.settings.neighbors_capacity,
        );
        if reserve > capacity {
            let note = (self.line("set neighbors capacity"), "the room for them");
            let conflict = Conflict::Reserve { reserve, capacity };
            self.error(self.line("set neighbors reserve"), conflict, &[note]);
        }
    }

    fn check_cores(&mut self) {
        let cores = self.settings.corelist.as_ref().map(Vec::len);
        let listed = cores.and_then(|cores| u16::try_from(cores).ok());
        self.settings.workers = self.workers.or(listed).unwrap_or(1);
        if let (Some(cores), Some(workers)) = (cores, self.workers)
            && cores < usize::from(workers)
        {
            let note = (self.line("set nbcore"), "the number of workers");
            let line = self.line("set corelist");
            self.error(line, Conflict::FewCores { cores, workers }, &[note]);
        }
    }

    fn check_listeners(&mut self) {
        let southbound = self.line("set southbound");
        match self.settings.listening_conflict() {
            Some(conflict @ Conflict::SameSocket(_)) => {
                let note = (southbound, "where goal states arrive");
                self.error(self.line("set subscribe"), conflict, &[note]);
            }
            Some(conflict) => self.error(southbound, conflict, &[]),
            None => {}
        }
    }

    fn check_underlay(&mut self) {
        let gateway_line = self.line("set underlay gateway");
        let Some(Vtep { address, .. }) = self.settings.vtep else {
            let neighbor = self.settings.underlay_neighbors.keys().next();
            let neighbor =
                neighbor.and_then(|ip| self.line(&format!("set underlay neighbor {ip}")));
            for needs in [self.line("set host port"), gateway_line, neighbor]
                .into_iter()
                .flatten()
            {
                self.error(Some(needs), Conflict::NeedsVtep, &[]);
            }
            return;
        };
        let vtep = (self.line("set vtep"), "the tunnel endpoint");
        let own = address.addr();
        if self.settings.underlay_neighbors.contains_key(&own) {
            let at = self.line(&format!("set underlay neighbor {own}"));
            self.error(at, Conflict::OwnAddress(own), &[vtep]);
        }
        match self.settings.underlay_gateway {
            Some((gateway, _)) if gateway == own => {
                self.error(gateway_line, Conflict::OwnAddress(own), &[vtep])
            }
            // With a /32 nothing is on the link, and the gateway is reached by its MAC alone.
            Some((gateway, _)) if address.prefix_len() < 32 && !address.contains(&gateway) => {
                self.error(
                    gateway_line,
                    Conflict::GatewayOffLink {
                        gateway,
                        link: address.trunc(),
                    },
                    &[vtep],
                );
            }
            _ => {}
        }
    }

    fn check_ncm(&mut self) {
        let (at, source_at) = (self.line("set ncm"), self.line("set ncm source"));
        match self.settings.asking_conflict() {
            Some(conflict @ Conflict::NeedsNcm) => self.error(source_at, conflict, &[]),
            Some(conflict @ Conflict::TwoFamilies { .. }) => {
                let from = source_at.or(self.line("set vtep"));
                self.error(at, conflict, &[(from, "the address to ask from")]);
            }
            Some(conflict) => self.error(at, conflict, &[]),
            None => {}
        }
    }

    /// The uplink and the host port neither are subports nor have any.
    fn check_subports(&mut self) {
        let roles = [
            (self.settings.vtep.map(|vtep| vtep.port), "set vtep"),
            (self.settings.host_port, "set host port"),
        ];
        for (role, what) in roles {
            let Some(role) = role else { continue };
            let at = self.line(what);
            let ports = (0..).filter_map(PortId::new).zip(&self.settings.ports);
            let found = ports.filter_map(|(port, settings)| {
                let subport = settings.subport()?;
                match subport.parent == role {
                    true => Some(SubportError::NoGuest(subport).into()),
                    false => (port == role).then_some(Conflict::SubportRole(port.get())),
                }
            });
            for conflict in found.collect::<Vec<Conflict>>() {
                self.error(at, conflict, &[]);
            }
        }
    }

    fn check_roles(&mut self) {
        let uplink = self.settings.vtep.map(|vtep| vtep.port);
        let host = self.settings.host_port;
        let (uplink_line, host_line) = (self.line("set vtep"), self.line("set host port"));
        let mut roles: Vec<(PortId, Option<&Line>)> = Vec::new();
        roles.extend(uplink.map(|port| (port, uplink_line)));
        roles.extend(host.map(|port| (port, host_line)));
        if let (Some(port), true) = (host, host == uplink) {
            self.error(
                host_line,
                Conflict::TwoRoles(port.get()),
                &[(uplink_line, "here it is the uplink")],
            );
        }
        for port in (0..MAX_PORTS as u16).filter_map(PortId::new) {
            let Some(at) = self.line(&format!("port bind {}", port.get())) else {
                continue;
            };
            if Some(port) == uplink {
                self.error(
                    Some(at),
                    Conflict::TwoRoles(port.get()),
                    &[(uplink_line, "here it is the uplink")],
                );
            } else if Some(port) == host {
                self.error(
                    Some(at),
                    Conflict::TwoRoles(port.get()),
                    &[(host_line, "here it is the host port")],
                );
            }
            roles.push((port, Some(at)));
        }
        let Some(polled) = self.settings.portlist.clone() else {
            return;
        };
        let has_device = |port: PortId| {
            let settings = self.settings.ports.get(port.index());
            let subport = settings.and_then(|settings| settings.subport());
            subport.map_or(port, |subport| subport.parent)
        };
        let unpolled: Vec<_> = (roles.into_iter())
            .filter(|(port, _)| !polled.contains(&has_device(*port)))
            .collect();
        for (port, at) in unpolled {
            let note = (self.line("set portlist"), "the ports that are polled");
            self.error(at, Conflict::NotPolled(port.get()), &[note]);
        }
    }
}
