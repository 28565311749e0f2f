// SPDX-License-Identifier: MIT
//! Contradictions that show only when all commands are known.

use std::net::IpAddr;

use ipnet::IpNet;
use vswitch::tables::{ENCAPSULATION, PortId};
use vswitch::wire::ipv6;

use super::super::line::Line;
use super::super::subport::SubportError;
use super::fold::{Fold, gateway_key};
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
        self.check_late();
        self.check_rules();
        self.check_sizes();
    }

    fn check_sizes(&mut self) {
        // The least of all uplinks' counts.
        let over_ipv6 = (self.settings.vteps.iter()).find(|vtep| vtep.addresses.v6.is_some());
        let over_ipv6 = over_ipv6.copied();
        for Vtep { port, .. } in self.settings.vteps.clone() {
            let Some(mtu) = self.settings.ports.get(port.index()).and_then(|it| it.mtu) else {
                continue;
            };
            let at = self.line(&format!("port config {} mtu", port.get()));
            if mtu < LEAST_UPLINK {
                self.error(at, Conflict::ShortUplink(mtu), &[]);
            } else if let Some(vtep) = over_ipv6.filter(|_| mtu < ipv6::LEAST_MTU) {
                let vtep = (self.uplink_line_of(&vtep), "the tunnel endpoint");
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
        let host_port = self.line("set host port");
        match self.settings.vteps.len() {
            0 => self.needs(host_port, Conflict::NeedsVtep),
            1 => {}
            _ => self.needs(host_port, Conflict::HostPortOfSeveral),
        }
        for ip in neighbors {
            let at = self.line(&format!("set underlay neighbor {ip}"));
            let like: Vec<_> = self.addresses_like(ip);
            match &like[..] {
                [] => self.needs(at, self.no_vtep_like(ip)),
                all if all.iter().any(|own| own.addr() == ip) => self.is_own(at, ip),
                _ => {}
            }
        }
        self.check_gateways();
    }

    fn check_gateways(&mut self) {
        let mut served: Vec<(&Line, Vec<IpNet>)> = Vec::new();
        let gateways = self.settings.underlay_gateways.clone();
        let vteps = self.settings.vteps.clone();
        for (gateway, line) in gateways.into_iter().zip(self.gateways.clone()) {
            let (at, ip) = (Some(line), gateway.ip);
            let all = vteps.iter().flat_map(|vtep| {
                let addresses = vtep.addresses.iter();
                addresses.map(|own| (*own, vtep.port))
            });
            let (links, of): (Vec<_>, Vec<_>) = all
                .filter(|(own, port)| gateway.is_of(*own, *port))
                .partition(|(own, port)| gateway.is_on_link(*own, *port));
            let no_uplink = gateway
                .port
                .filter(|port| vteps.iter().all(|it| it.port != *port));
            match (no_uplink, &links[..], &of[..]) {
                _ if self.addresses_like(ip).iter().any(|own| own.addr() == ip) => {
                    self.is_own(at, ip);
                }
                (Some(port), ..) if !vteps.is_empty() => {
                    self.error(at, Conflict::NoUplink(port.get()), &[]);
                }
                (_, [], []) => self.needs(at, self.no_vtep_like(ip)),
                (_, [], [(own, _), ..]) => {
                    let (link, gateway) = (own.trunc(), ip);
                    let vtep = (self.vtep_line(own.addr()), "the tunnel endpoint");
                    self.error(at, Conflict::GatewayOffLink { gateway, link }, &[vtep]);
                }
                _ => {}
            }
            let links: Vec<_> = links.into_iter().map(|(own, _)| own).collect();
            let first = served
                .iter()
                .find(|(_, others)| links.iter().any(|link| others.contains(link)));
            if let Some((first, _)) = first {
                let twice = Conflict::Twice(gateway_key(ip).to_owned());
                self.error(at, twice, &[(Some(*first), "first here")]);
            }
            served.push((line, links));
        }
    }

    /// This host's addresses of the same version of IP.
    fn addresses_like(&self, ip: IpAddr) -> Vec<IpNet> {
        let all = self.settings.addresses().copied();
        all.filter(|own| own.addr().is_ipv4() == ip.is_ipv4())
            .collect()
    }

    fn needs(&mut self, at: Option<&Line>, what: Conflict) {
        if at.is_some() {
            self.error(at, what, &[]);
        }
    }

    fn no_vtep_like(&self, ip: IpAddr) -> Conflict {
        match self.settings.vteps.is_empty() {
            true => Conflict::NeedsVtep,
            false => Conflict::NeedsVtepLike(ip),
        }
    }

    fn is_own(&mut self, at: Option<&Line>, ip: IpAddr) {
        let vtep = (self.vtep_line(ip), "the tunnel endpoint");
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

    fn check_late(&mut self) {
        let uplinks = self.settings.vteps.iter();
        let late = uplinks.filter(|vtep| {
            let port = self.settings.ports.get(vtep.port.index());
            port.is_some_and(|port| port.late)
        });
        for vtep in late.copied().collect::<Vec<_>>() {
            let at = self.uplink_line_of(&vtep);
            self.error(at, Conflict::LateUplink(vtep.port.get()), &[]);
        }
    }

    /// The uplinks and the host port neither are subports nor have any.
    fn check_subports(&mut self) {
        let uplinks = self.settings.vteps.iter();
        let uplinks = uplinks.map(|vtep| (vtep.port, self.uplink_line_of(vtep)));
        let host_port = self.settings.host_port;
        let host_port = host_port.map(|port| (port, self.line("set host port")));
        for (role, at) in uplinks.chain(host_port).collect::<Vec<_>>() {
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
        let uplinks: Vec<_> = (self.settings.vteps.iter())
            .map(|vtep| (vtep.port, self.uplink_line_of(vtep)))
            .collect();
        let uplink_at = |port| uplinks.iter().find(|(uplink, _)| *uplink == port);
        let host = self.settings.host_port;
        let host_line = self.line("set host port");
        let mut roles: Vec<(PortId, Option<&Line>)> = Vec::new();
        roles.extend(&uplinks);
        roles.extend(host.map(|port| (port, host_line)));
        if let Some((port, uplink_line)) = host.and_then(uplink_at) {
            self.error(
                host_line,
                Conflict::TwoRoles(port.get()),
                &[(*uplink_line, "here it is the uplink")],
            );
        }
        for port in PortId::all() {
            let Some(at) = self.line(&format!("port bind {}", port.get())) else {
                continue;
            };
            if let Some((_, uplink_line)) = uplink_at(port) {
                self.error(
                    Some(at),
                    Conflict::TwoRoles(port.get()),
                    &[(*uplink_line, "here it is the uplink")],
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
