// SPDX-License-Identifier: MIT
//! What the configuration says of this host's place in the network.

use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::IpNet;
use vswitch::tables::{ENCAPSULATION, ENCAPSULATION6, Endpoints, NextHop, PortId, Ways};
use vswitch::wire::Mac;

use super::{PortRules, Replicated};
use crate::families::Families;
use crate::southbound::field::is_link_local;

/// Ethernet's MTU: that of guests that have no underlay, and of a port whose device does not say.
pub(crate) const ETHERNET_MTU: u16 = 1500;

/// This host's place in the underlay, from the configuration. Fixed at start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    /// How other hosts are reached, [`vswitch::tables::MAX_UPLINKS`] at most. None: no VTEP is configured, and remote neighbors wait.
    pub uplinks: Vec<Uplink>,
    /// Where the host's own traffic goes, if anywhere.
    pub host_port: Option<PortId>,
    /// Guests send from their own addresses only, and from those that they were allowed.
    pub anti_spoofing: bool,
    /// What holds at single ports. Changes while the switch runs.
    pub rules: HashMap<PortId, PortRules>,
    /// In which subnets there is replication. Likewise.
    pub replicated: Replicated,
}

/// An uplink and what is known of the network behind it.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    /// What this host is there by each version of IP, one at least.
    pub links: Families<Link>,
    /// The port that carries VXLAN.
    pub port: PortId,
    /// That port's MAC.
    pub mac: Mac,
    /// The longest packet of the underlay, in bytes: the same of all uplinks.
    pub mtu: u16,
    /// MACs of hosts, as configured.
    pub neighbors: HashMap<IpAddr, Mac>,
    /// MACs of hosts and of routers that were asked for.
    pub learned: HashMap<IpAddr, Mac>,
}

/// An address of the underlay, and the uplink on whose link it is.
pub(crate) type OnLink = (PortId, IpAddr);

/// A VTEP address and its link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// This host's VTEP address, and the prefix that it is in: hosts inside it are reached without the gateway.
    pub vtep: IpNet,
    /// Router of the underlay, if any, and its MAC, if that is configured.
    pub gateway: Option<(IpAddr, Option<Mac>)>,
}

impl Site {
    /// The longest packet, in bytes, that a guest may send to any other: what its interface's MTU is to be.
    pub(crate) fn tenant_mtu(&self) -> u16 {
        let mtu = self.uplinks.iter().map(|uplink| uplink.mtu).min();
        let encapsulation = self.uplinks.iter().map(Uplink::encapsulation).max();
        let left = |mtu: u16| mtu.saturating_sub(encapsulation.unwrap_or_default());
        mtu.map_or(ETHERNET_MTU, left)
    }

    /// This host's VTEP addresses, the first uplink's first.
    pub(crate) fn vteps(&self) -> impl Iterator<Item = IpAddr> {
        self.uplinks.iter().flat_map(Uplink::vteps)
    }

    /// True for an address of this host itself.
    pub(crate) fn is_own(&self, host: IpAddr) -> bool {
        self.vteps().any(|vtep| vtep == host)
    }

    /// True if an uplink has a VTEP of this host's version of IP.
    pub(crate) fn speaks_like(&self, host: IpAddr) -> bool {
        self.uplinks
            .iter()
            .any(|uplink| uplink.links.like(host).is_some())
    }

    /// The ways to a host, given what the controller `said` that its MAC is. `None`: no uplink has one whose MAC is known.
    pub(crate) fn ways(&self, host: IpAddr, said: Option<Mac>) -> Option<Ways> {
        let way = |uplink: &Uplink| {
            Some(NextHop {
                port: uplink.port,
                endpoints: uplink.endpoints(host)?,
                src_mac: uplink.mac,
                dst_mac: uplink.mac_towards(host, said)?,
                mtu: uplink.mtu,
            })
        };
        let leads = self.leading(host);
        let each = self.uplinks.iter();
        let mut each = each.map(|uplink| way(uplink).filter(|_| leads(uplink)));
        let (first, second) = (each.next().flatten(), each.next().flatten());
        Some([first.or(second)?, second.or(first)?])
    }

    /// Whose MACs lead to a host: by uplink, its own or a gateway's.
    pub(crate) fn ways_to(&self, host: IpAddr) -> impl Iterator<Item = OnLink> {
        let leads = self.leading(host);
        let leading = self.uplinks.iter().filter(move |uplink| leads(uplink));
        leading.filter_map(move |uplink| Some((uplink.port, uplink.way_to(host)?)))
    }

    /// Those that are not known.
    pub(crate) fn unknown_to(
        &self,
        host: IpAddr,
        said: Option<Mac>,
    ) -> impl Iterator<Item = OnLink> {
        let leads = self.leading(host);
        let unknown =
            move |uplink: &&Uplink| uplink.mac_towards(host, said).is_none() && leads(uplink);
        let ways = self.uplinks.iter().filter(unknown);
        ways.filter_map(move |uplink| Some((uplink.port, uplink.way_to(host)?)))
    }

    /// Which uplinks lead to a host. If it is on the link of one, or behind a gateway there, another leads there only if it
    /// has a gateway too, or the operator named the host's MAC: what else is known of that means nothing on its link.
    fn leading(&self, host: IpAddr) -> impl Fn(&Uplink) -> bool + use<> {
        let leads = move |uplink: &Uplink| uplink.way_to(host).is_some();
        // One does if any does: a million neighbors ask.
        let all = self.uplinks.len() < 2 || !self.uplinks.iter().any(leads);
        move |uplink| all || leads(uplink) || uplink.neighbors.contains_key(&host)
    }
}

impl Uplink {
    /// This host's VTEP addresses, IPv4's first.
    pub(crate) fn vteps(&self) -> impl Iterator<Item = IpAddr> {
        self.links.iter().map(|link| link.vtep.addr())
    }

    /// True for a host on its link.
    pub(crate) fn holds(&self, host: IpAddr) -> bool {
        self.links.like(host).is_some_and(|link| link.holds(host))
    }

    /// Outer addresses towards a host; `None`: this one has no VTEP of its version of IP.
    pub(crate) fn endpoints(&self, host: IpAddr) -> Option<Endpoints> {
        match (self.links.like(host)?.vtep.addr(), host) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Some(Endpoints::V4 { src, dst }),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Some(Endpoints::V6 { src, dst }),
            _ => None,
        }
    }

    fn encapsulation(&self) -> u16 {
        self.links.v6.map_or(ENCAPSULATION, |_| ENCAPSULATION6)
    }

    /// The MAC that frames to a host are sent to, given what the controller `said` that host's is.
    ///
    /// A host beyond the VTEP's own prefix is reached through the gateway: its MAC means nothing on this
    /// link, unless there is no gateway or the operator named a MAC for exactly this host.
    pub(crate) fn mac_towards(&self, host: IpAddr, said: Option<Mac>) -> Option<Mac> {
        let link = self.links.like(host)?;
        let configured = self.neighbors.get(&host).copied();
        let gateway = link.gateway.and_then(|(_, mac)| mac);
        let learned = || self.learned.get(&self.way_to(host)?).copied();
        match link.gateway {
            _ if link.holds(host) => said.or(configured).or_else(learned).or(gateway),
            Some(_) => configured.or(gateway).or_else(learned),
            None => configured.or(said),
        }
    }

    /// Whose MAC it is that frames to a host are sent to: its own, or the gateway's. `None`: there is no way.
    pub(crate) fn way_to(&self, host: IpAddr) -> Option<IpAddr> {
        let link = self.links.like(host)?;
        let gateway = || link.gateway.map(|(ip, _)| ip);
        link.holds(host).then_some(host).or_else(gateway)
    }
}

impl Link {
    fn holds(&self, host: IpAddr) -> bool {
        self.vtep.contains(&host) || is_link_local(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

    fn mac(n: u8) -> Mac {
        Mac::new([2, 0, 0, 0, 0, n])
    }

    fn ip(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn v6(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Host 1; the MAC of host 3 is configured.
    fn uplink() -> Uplink {
        let link = Link {
            vtep: IpNet::new(ip(1), 24).unwrap(),
            gateway: None,
        };
        Uplink {
            links: Families {
                v4: Some(link),
                v6: None,
            },
            port: PortId::new(0).unwrap(),
            mac: mac(1),
            mtu: 1600,
            neighbors: [(ip(3), mac(3))].into(),
            learned: HashMap::new(),
        }
    }

    fn gateway(uplink: &mut Uplink) -> &mut Option<(IpAddr, Option<Mac>)> {
        &mut uplink.links.v4.as_mut().unwrap().gateway
    }

    /// With 2001:db8::1/64 too, and a router.
    fn dual() -> Uplink {
        let mut uplink = uplink();
        uplink.links.v6 = Some(Link {
            vtep: "2001:db8::1/64".parse().unwrap(),
            gateway: Some((v6("fe80::1"), None)),
        });
        uplink
    }

    #[test]
    fn guests_have_what_vxlan_leaves_of_the_underlays_mtu() {
        let mut site = Site::default();
        assert_eq!(site.tenant_mtu(), 1500);
        for (mtu, left) in [(1500, 1450), (1550, 1500), (9000, 8950), (40, 0)] {
            site.uplinks = vec![Uplink { mtu, ..uplink() }];
            assert_eq!(site.tenant_mtu(), left);
        }
        site.uplinks = vec![dual()];
        assert_eq!(site.tenant_mtu(), 1530, "what fits over either");
        site.uplinks = vec![uplink(), dual()];
        assert_eq!(site.tenant_mtu(), 1530);
    }

    #[test]
    fn each_version_of_ip_has_its_own_vtep_link_and_gateway() {
        let mut uplink = uplink();
        let (near, far) = (v6("2001:db8::2"), v6("2001:db8:1::2"));
        for host in [near, far, v6("fe80::2")] {
            assert_eq!(uplink.endpoints(host), None);
            assert_eq!(uplink.mac_towards(host, Some(mac(2))), None);
            assert_eq!(uplink.way_to(host), None);
        }
        uplink = dual();
        assert!(uplink.vteps().eq([ip(1), v6("2001:db8::1")]));
        assert_eq!(
            uplink.endpoints(far),
            Some(Endpoints::V6 {
                src: "2001:db8::1".parse().unwrap(),
                dst: "2001:db8:1::2".parse().unwrap(),
            })
        );
        assert_eq!(uplink.way_to(near), Some(near));
        assert_eq!(uplink.way_to(far), Some(v6("fe80::1")));
        assert_eq!(uplink.way_to(v6("fe80::1")), Some(v6("fe80::1")));
        assert_eq!(
            (uplink.way_to(FAR), uplink.way_to(ip(2))),
            (None, Some(ip(2)))
        );
        assert_eq!(uplink.mac_towards(near, Some(mac(2))), Some(mac(2)));
        assert_eq!(uplink.mac_towards(far, Some(mac(2))), None);
        uplink.learned = [(v6("fe80::1"), mac(254))].into();
        assert_eq!(uplink.mac_towards(far, Some(mac(2))), Some(mac(254)));
        assert_eq!(uplink.mac_towards(FAR, Some(mac(5))), Some(mac(5)));
    }

    #[test]
    fn hosts_off_the_link_are_reached_through_the_gateway_and_others_directly() {
        let mut uplink = uplink();
        assert_eq!(uplink.mac_towards(ip(2), None), None);
        assert_eq!(uplink.mac_towards(ip(2), Some(mac(2))), Some(mac(2)));
        assert_eq!(uplink.mac_towards(ip(3), None), Some(mac(3)));
        assert_eq!(uplink.mac_towards(ip(3), Some(mac(4))), Some(mac(4)));
        assert_eq!(uplink.mac_towards(FAR, Some(mac(5))), Some(mac(5)));
        *gateway(&mut uplink) = Some((ip(254), Some(mac(254))));
        assert_eq!(uplink.mac_towards(ip(2), Some(mac(2))), Some(mac(2)));
        assert_eq!(uplink.mac_towards(ip(2), None), Some(mac(254)));
        assert_eq!(uplink.mac_towards(FAR, Some(mac(5))), Some(mac(254)));
        for (prefix_len, on_link) in [(0, true), (32, false)] {
            let link = uplink.links.v4.as_mut().unwrap();
            link.vtep = IpNet::new(ip(1), prefix_len).unwrap();
            assert_eq!(
                uplink.mac_towards(ip(2), Some(mac(2))) == Some(mac(2)),
                on_link
            );
        }
    }

    #[test]
    fn what_was_learned_serves_where_nobody_names_a_mac() {
        let mut uplink = uplink();
        *gateway(&mut uplink) = Some((ip(254), None));
        assert_eq!(
            (uplink.way_to(ip(2)), uplink.way_to(FAR)),
            (Some(ip(2)), Some(ip(254)))
        );
        assert_eq!(
            uplink.mac_towards(FAR, Some(mac(5))),
            None,
            "no MAC of this link"
        );
        uplink.learned = [(ip(2), mac(2)), (ip(3), mac(30)), (ip(254), mac(254))].into();
        assert_eq!(uplink.mac_towards(ip(2), None), Some(mac(2)));
        assert_eq!(uplink.mac_towards(ip(2), Some(mac(20))), Some(mac(20)));
        assert_eq!(
            uplink.mac_towards(ip(3), None),
            Some(mac(3)),
            "as configured"
        );
        assert_eq!(
            uplink.mac_towards(ip(4), None),
            None,
            "the router is no way to it"
        );
        assert_eq!(uplink.mac_towards(FAR, Some(mac(5))), Some(mac(254)));
        *gateway(&mut uplink) = None;
        assert_eq!(
            (uplink.way_to(FAR), uplink.mac_towards(FAR, None)),
            (None, None)
        );
    }

    /// The second uplink, of host 1 in 198.51.100.0/24.
    fn second() -> Uplink {
        let mut second = uplink();
        second.links.v4.as_mut().unwrap().vtep = "198.51.100.9/24".parse().unwrap();
        second.port = PortId::new(5).unwrap();
        second.neighbors.clear();
        second
    }

    /// Ports and destination MACs of the ways to a host.
    fn ways(site: &Site, host: IpAddr, said: Option<Mac>) -> Option<[(u16, Mac); 2]> {
        let ways = site.ways(host, said)?;
        Some(ways.map(|way| (way.port.get(), way.dst_mac)))
    }

    #[test]
    fn a_host_is_reached_by_each_uplink_that_leads_to_it() {
        let mut site = Site {
            uplinks: vec![uplink(), second()],
            ..Site::default()
        };
        let port = |n| PortId::new(n).unwrap();
        assert!(site.is_own(ip(1)) && site.is_own([198, 51, 100, 9].into()) && !site.is_own(FAR));
        // On one's link, without a gateway: by that one.
        assert_eq!(ways(&site, ip(2), Some(mac(2))), Some([(0, mac(2)); 2]));
        assert_eq!(ways(&site, FAR, Some(mac(7))), Some([(5, mac(7)); 2]));
        assert!(site.unknown_to(ip(2), None).eq([(port(0), ip(2))]));
        assert!(site.ways_to(FAR).eq([(port(5), FAR)]));
        // On neither's: by both, if there is nobody else to say where.
        let farther = IpAddr::from([203, 0, 113, 1]);
        let both = [(0, mac(8)), (5, mac(8))];
        assert_eq!(ways(&site, farther, Some(mac(8))), Some(both));
        assert_eq!(ways(&site, farther, None), None);
        // By the other's gateway, once that is known.
        let router = IpAddr::from([198, 51, 100, 254]);
        *gateway(&mut site.uplinks[1]) = Some((router, None));
        assert_eq!(ways(&site, ip(2), Some(mac(2))), Some([(0, mac(2)); 2]));
        assert!(site.unknown_to(ip(2), Some(mac(2))).eq([(port(5), router)]));
        site.uplinks[1].learned.insert(router, mac(254));
        let both = [(0, mac(2)), (5, mac(254))];
        assert_eq!(ways(&site, ip(2), Some(mac(2))), Some(both));
        assert_eq!(site.unknown_to(ip(2), Some(mac(2))).count(), 0);
        assert!(
            site.ways_to(ip(2))
                .eq([(port(0), ip(2)), (port(5), router)])
        );
        for said in [None, Some(mac(8))] {
            assert_eq!(ways(&site, farther, said), Some([(5, mac(254)); 2]));
        }
        // Of a version of IP that one of them has no VTEP of, by the other.
        site.uplinks[0] = dual();
        let six = v6("2001:db8::2");
        assert_eq!(ways(&site, six, Some(mac(2))), Some([(0, mac(2)); 2]));
        assert!(site.speaks_like(six));
    }
}
