// SPDX-License-Identifier: MIT
//! What the configuration says of this host's place in the network.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vswitch::stage::limits::ENCAPSULATION;
use vswitch::tables::PortId;
use vswitch::wire::Mac;

use super::PortRules;

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
    /// This host's VTEP address.
    pub vtep: Ipv4Addr,
    /// Length of the prefix that the VTEP is in, 0 to 32: hosts inside it are reached without the gateway.
    pub prefix_len: u8,
    /// The port that carries VXLAN.
    pub port: PortId,
    /// That port's MAC.
    pub mac: Mac,
    /// The longest packet of the underlay, in bytes.
    pub mtu: u16,
    /// MACs of hosts, as configured.
    pub neighbors: HashMap<Ipv4Addr, Mac>,
    /// Router of the underlay, if any, and its MAC, if that is configured.
    pub gateway: Option<(Ipv4Addr, Option<Mac>)>,
    /// MACs of hosts and of the router that were asked for.
    pub learned: HashMap<Ipv4Addr, Mac>,
}

impl Site {
    /// The longest packet, in bytes, that a guest may send to any other: what its interface's MTU is to be.
    pub(crate) fn tenant_mtu(&self) -> u16 {
        let uplink = self.underlay.as_ref();
        uplink.map_or(ETHERNET_MTU, |uplink| {
            uplink.mtu.saturating_sub(ENCAPSULATION)
        })
    }
}

impl Uplink {
    /// The MAC that frames to a host are sent to, given what the controller `said` that host's is.
    ///
    /// A host beyond the VTEP's own prefix is reached through the gateway: its MAC means nothing on this
    /// link, unless there is no gateway or the operator named a MAC for exactly this host.
    pub(crate) fn mac_towards(&self, host: Ipv4Addr, said: Option<Mac>) -> Option<Mac> {
        let configured = self.neighbors.get(&host).copied();
        let gateway = self.gateway.and_then(|(_, mac)| mac);
        let learned = || self.learned.get(&self.way_to(host)?).copied();
        match self.gateway {
            _ if self.is_on_link(host) => said.or(configured).or_else(learned).or(gateway),
            Some(_) => configured.or(gateway).or_else(learned),
            None => configured.or(said),
        }
    }

    /// Whose MAC it is that frames to a host are sent to: its own, or the gateway's. `None`: there is no way.
    pub(crate) fn way_to(&self, host: Ipv4Addr) -> Option<Ipv4Addr> {
        let gateway = || self.gateway.map(|(ip, _)| ip);
        self.is_on_link(host).then_some(host).or_else(gateway)
    }

    fn is_on_link(&self, host: Ipv4Addr) -> bool {
        Ipv4Net::new(self.vtep, self.prefix_len).is_ok_and(|link| link.contains(&host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    fn mac(n: u8) -> Mac {
        Mac::new([2, 0, 0, 0, 0, n])
    }

    fn ip(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, n)
    }

    /// Host 1; the MAC of host 3 is configured.
    fn uplink() -> Uplink {
        Uplink {
            vtep: ip(1),
            prefix_len: 24,
            port: PortId::new(0).unwrap(),
            mac: mac(1),
            mtu: 1600,
            neighbors: [(ip(3), mac(3))].into(),
            gateway: None,
            learned: HashMap::new(),
        }
    }

    #[test]
    fn guests_have_what_vxlan_leaves_of_the_underlays_mtu() {
        let mut site = Site::default();
        assert_eq!(site.tenant_mtu(), 1500);
        for (mtu, left) in [(1500, 1450), (1550, 1500), (9000, 8950), (40, 0)] {
            site.underlay = Some(Uplink { mtu, ..uplink() });
            assert_eq!(site.tenant_mtu(), left);
        }
    }

    #[test]
    fn hosts_off_the_link_are_reached_through_the_gateway_and_others_directly() {
        let mut uplink = uplink();
        assert_eq!(uplink.mac_towards(ip(2), None), None);
        assert_eq!(uplink.mac_towards(ip(2), Some(mac(2))), Some(mac(2)));
        assert_eq!(uplink.mac_towards(ip(3), None), Some(mac(3)));
        assert_eq!(uplink.mac_towards(ip(3), Some(mac(4))), Some(mac(4)));
        assert_eq!(uplink.mac_towards(FAR, Some(mac(5))), Some(mac(5)));
        uplink.gateway = Some((ip(254), Some(mac(254))));
        assert_eq!(uplink.mac_towards(ip(2), Some(mac(2))), Some(mac(2)));
        assert_eq!(uplink.mac_towards(ip(2), None), Some(mac(254)));
        assert_eq!(uplink.mac_towards(FAR, Some(mac(5))), Some(mac(254)));
        for (prefix_len, on_link) in [(0, true), (32, false)] {
            uplink.prefix_len = prefix_len;
            assert_eq!(
                uplink.mac_towards(ip(2), Some(mac(2))) == Some(mac(2)),
                on_link
            );
        }
    }

    #[test]
    fn what_was_learned_serves_where_nobody_names_a_mac() {
        let mut uplink = Uplink {
            gateway: Some((ip(254), None)),
            ..uplink()
        };
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
        uplink.gateway = None;
        assert_eq!(
            (uplink.way_to(FAR), uplink.mac_towards(FAR, None)),
            (None, None)
        );
    }
}
