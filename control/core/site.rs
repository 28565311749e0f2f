// SPDX-License-Identifier: MIT
//! What the configuration says of this host's place in the network.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use vswitch::tables::{ENCAPSULATION, ENCAPSULATION6, Endpoints, PortId};
use vswitch::wire::Mac;

use super::PortRules;
use crate::families::Families;
use crate::southbound::field::is_link_local;

/// Ethernet's MTU: that of guests that have no underlay, and of a port whose device does not say.
pub(crate) const ETHERNET_MTU: u16 = 1500;

/// This host's place in the underlay, from the configuration. Fixed at start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    /// How other hosts are reached. `None`: no VTEP is configured, and remote neighbors wait.
    pub underlay: Option<Uplink>,
    /// Where the host's own traffic goes, if anywhere.
    pub host_port: Option<PortId>,
    /// Guests send from their own addresses only, and from those that they were allowed.
    pub anti_spoofing: bool,
    /// What holds at single ports. Changes while the switch runs, unlike the rest.
    pub rules: HashMap<PortId, PortRules>,
}

/// The uplink and what is known of the network behind it.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    /// What this host is in the underlay by each version of IP, one at least.
    pub links: Families<Link>,
    /// The port that carries VXLAN.
    pub port: PortId,
    /// That port's MAC.
    pub mac: Mac,
    /// The longest packet of the underlay, in bytes.
    pub mtu: u16,
    /// MACs of hosts, as configured.
    pub neighbors: HashMap<IpAddr, Mac>,
    /// MACs of hosts and of routers that were asked for.
    pub learned: HashMap<IpAddr, Mac>,
}

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
        let uplink = self.underlay.as_ref();
        uplink.map_or(ETHERNET_MTU, |uplink| {
            uplink.mtu.saturating_sub(uplink.encapsulation())
        })
    }
}

impl Uplink {
    /// This host's VTEP addresses, IPv4's first.
    pub(crate) fn vteps(&self) -> impl Iterator<Item = IpAddr> {
        self.links.iter().map(|link| link.vtep.addr())
    }

    /// True for the address of this host itself.
    pub(crate) fn is_own(&self, host: IpAddr) -> bool {
        self.vteps().any(|vtep| vtep == host)
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
            site.underlay = Some(Uplink { mtu, ..uplink() });
            assert_eq!(site.tenant_mtu(), left);
        }
        site.underlay = Some(dual());
        assert_eq!(site.tenant_mtu(), 1530, "what fits over either");
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
        assert!(uplink.is_own(ip(1)) && uplink.is_own(v6("2001:db8::1")) && !uplink.is_own(near));
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
}
