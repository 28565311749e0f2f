// SPDX-License-Identifier: MIT
//! What must always hold between wanted state, claims and tables. Tests call it after every message.

use std::collections::HashSet;
use std::net::IpAddr;

use vswitch::tables::{Hop, PortId, Role, Tables};

use super::Program;
use super::neighbor::Placement;
use crate::state::Wanted;
use crate::state::neighbor::NeighborIx;

impl Program {
    /// Snapshots published since start.
    pub(crate) fn publications(&self) -> u64 {
        self.writer.publications()
    }

    /// Entries by MAC, by IPv4 address, by IPv6 address, and next hops.
    pub(crate) fn usage(&mut self) -> [usize; 4] {
        self.writer.memory().tables.map(|usage| usage.entries)
    }

    /// Takes an address out of the tables behind the back of all else, as a bug would.
    pub(crate) fn lose(&mut self, ip: IpAddr) {
        let keys: Vec<_> = self.by_ip.iter().map(|(key, _)| key).collect();
        for (vpc, _) in keys.into_iter().filter(|key| key.1 == ip) {
            self.writer.remove_ip(vpc, ip);
        }
    }

    /// Likewise a port's role.
    pub(crate) fn lose_role(&mut self, port: PortId) {
        self.writer.set_role(port, Role::Unbound);
    }

    /// Has hosts beyond the VTEP's prefix be reached by a router whose MAC nobody says.
    pub(crate) fn route_underlay_by(&mut self, router: IpAddr) {
        let uplink = self.site.uplinks.first_mut();
        let link = uplink.and_then(|uplink| uplink.links.place_like(router).as_mut());
        if let Some(link) = link {
            link.gateway = Some((router, None));
        }
    }

    /// Panics if something is programmed that nobody claims, or the other way round.
    pub(crate) fn assert_consistent(&mut self, wanted: &Wanted, tables: &Tables) {
        let mut hops = HashSet::new();
        let [mut macs, mut ips] = [0, 0];
        for port in self.ports.values() {
            let [port_macs, port_ips] = port.claims();
            (macs, ips) = (macs + port_macs, ips + port_ips);
        }
        for (n, placement) in self.neighbors.iter().enumerate() {
            let Placement::Placed(placed) = placement else {
                continue;
            };
            assert!(
                wanted.neighbor(NeighborIx::new(n as u32)).is_some(),
                "a neighbor is gone and still placed"
            );
            let Hop::Remote(hop) = placed.value.hop else {
                panic!("a neighbor is behind a port")
            };
            hops.insert(hop);
            (macs, ips) = (macs + 1, ips + 1);
            assert!(
                self.by_ip.winner(placed.ip).is_some()
                    && self.by_mac.winner(placed.mac()).is_some()
            );
        }
        hops.extend(self.group_hops());
        let all = |(winners, others): (usize, usize)| winners + others;
        assert_eq!([all(self.by_mac.len()), all(self.by_ip.len())], [macs, ips]);
        for (key, value) in self.by_ip.iter() {
            assert_eq!(
                tables.neighbors.find_ip(key.0, key.1),
                Some(value),
                "{key:?}"
            );
        }
        for (key, value) in self.by_mac.iter() {
            assert_eq!(
                tables.neighbors.find_mac(key.0, key.1),
                Some(value),
                "{key:?}"
            );
        }
        let ips = |ipv4| {
            self.by_ip
                .iter()
                .filter(|(key, _)| key.1.is_ipv4() == ipv4)
                .count()
        };
        let [ipv4, ipv6] = [ips(true), ips(false)];
        assert_eq!(
            self.usage(),
            [self.by_mac.iter().count(), ipv4, ipv6, hops.len()]
        );
        for port in tables.ports.iter().enumerate() {
            if let (n, Role::Tenant(tenant)) = port {
                let roles = self.ports.values().filter(|port| port.has_role(n, tenant));
                assert_eq!(
                    roles.count(),
                    1,
                    "port {n} has a role that no described port has"
                );
            }
        }
        for ix in self.routes.keys() {
            let slot = wanted.subnet(*ix).expect("routes of a subnet that is gone");
            assert!(
                !slot.ports.is_empty() && !slot.routers.is_empty(),
                "routes that no port needs"
            );
        }
        let resolved = self.subnets.values().flatten();
        assert_eq!(
            resolved.map(|here| here.vpc).collect::<HashSet<_>>().len(),
            self.vpcs.len()
        );
    }
}
