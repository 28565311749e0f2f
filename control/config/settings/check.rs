// SPDX-License-Identifier: MIT
//! Contradictions that show only when all commands are known.

use std::net::IpAddr;

use vswitch::tables::{ENCAPSULATION, MAX_PORTS, PortId};
use vswitch::wire::ipv6;

use super::super::line::Line;
use super::Conflict;
use super::fold::{Fold, gateway_key, vtep_key};
use crate::southbound::field::is_link_local;

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
        self.check_rules();
        self.check_sizes();
    }

    fn check_sizes(&mut self) {
        let uplink = self.settings.vtep.map(|vtep| vtep.port);
        let mtu = uplink.and_then(|port| self.settings.ports.get(port.index())?.mtu);
        if let (Some(port), Some(mtu)) = (uplink, mtu) {
            let at = self.line(&format!("port config {} mtu", port.get()));
            let over_ipv6 = self.settings.vtep.and_then(|vtep| vtep.addresses.v6);
            if mtu < LEAST_UPLINK {
                self.error(at, Conflict::ShortUplink(mtu), &[]);
            } else if over_ipv6.is_some() && mtu < ipv6::LEAST_MTU {
                let vtep = (self.uplink_line(), "the tunnel endpoint");
                self.error(at, Conflict::ShortUplink6(mtu), &[vtep]);
            }
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
        let neighbors: Vec<_> = self.settings.underlay_neighbors.keys().copied().collect();
        let gateways: Vec<_> = self.settings.underlay_gateways.iter().copied().collect();
        let addresses = self.settings.vtep.map(|vtep| vtep.addresses);
        let addresses = addresses.unwrap_or_default();
        if self.settings.vtep.is_none() {
            self.needs(self.line("set host port"), Conflict::NeedsVtep);
        }
        for ip in neighbors {
            let at = self.line(&format!("set underlay neighbor {ip}"));
            match addresses.like(ip) {
                None => self.needs(at, self.no_vtep_like(ip)),
                Some(own) if own.addr() == ip => self.is_own(at, ip),
                Some(_) => {}
            }
        }
        for (gateway, _) in gateways {
            let at = self.line(gateway_key(gateway));
            match addresses.like(gateway) {
                None => self.needs(at, self.no_vtep_like(gateway)),
                Some(own) if own.addr() == gateway => self.is_own(at, gateway),
                // Of a link of one address nothing else is, and the gateway is reached by its MAC alone.
                Some(own) if own.prefix_len() == own.max_prefix_len() => {}
                Some(own) if own.contains(&gateway) || is_link_local(gateway) => {}
                Some(own) => {
                    let link = own.trunc();
                    let vtep = (self.line(vtep_key(gateway)), "the tunnel endpoint");
                    self.error(at, Conflict::GatewayOffLink { gateway, link }, &[vtep]);
                }
            }
        }
    }

    fn needs(&mut self, at: Option<&Line>, what: Conflict) {
        if at.is_some() {
            self.error(at, what, &[]);
        }
    }

    fn no_vtep_like(&self, ip: IpAddr) -> Conflict {
        match self.settings.vtep {
            None => Conflict::NeedsVtep,
            Some(_) => Conflict::NeedsVtepLike(ip),
        }
    }

    fn is_own(&mut self, at: Option<&Line>, ip: IpAddr) {
        let vtep = (self.line(vtep_key(ip)), "the tunnel endpoint");
        self.error(at, Conflict::OwnAddress(ip), &[vtep]);
    }

    fn check_ncm(&mut self) {
        let (at, source_at) = (self.line("set ncm"), self.line("set ncm source"));
        match self.settings.asking_conflict() {
            Some(conflict @ Conflict::NeedsNcm) => self.error(source_at, conflict, &[]),
            Some(conflict @ Conflict::TwoFamilies { .. }) => {
                let from = source_at.or(self.uplink_line());
                self.error(at, conflict, &[(from, "the address to ask from")]);
            }
            Some(conflict) => self.error(at, conflict, &[]),
            None => {}
        }
    }

    fn check_roles(&mut self) {
        let uplink = self.settings.vtep.map(|vtep| vtep.port);
        let host = self.settings.host_port;
        let (uplink_line, host_line) = (self.uplink_line(), self.line("set host port"));
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
        for (port, at) in roles.into_iter().filter(|(port, _)| !polled.contains(port)) {
            let note = (self.line("set portlist"), "the ports that are polled");
            self.error(at, Conflict::NotPolled(port.get()), &[note]);
        }
    }
}
