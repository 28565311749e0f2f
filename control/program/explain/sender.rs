// SPDX-License-Identifier: MIT
//! What the machine at a port would fill in itself, of a packet in words.

use std::net::IpAddr;

use vswitch::tables::Attachment;
use vswitch::wire::{Mac, nd};

use super::Explainer;
use crate::explain::packet::Sender;

/// A packet without words for it is what the machine at the port would send.
impl Sender for Explainer<'_> {
    fn mac(&self) -> Option<Mac> {
        self.guest().map(|guest| guest.mac)
    }

    /// The first of its addresses that is of the same version; to its link, the one that it makes itself.
    fn address(&self, to: IpAddr) -> Option<IpAddr> {
        if let IpAddr::V6(ip) = to
            && (ip.is_unicast_link_local() || ip.is_multicast())
        {
            return Some(nd::link_local(self.mac()?).into());
        }
        let slot = self.wanted.port(self.port_ix(self.from)?)?;
        let mut fixed_ips = slot.wanted.as_ref()?.value.fixed_ips.iter();
        let (_, ip) = fixed_ips.find(|(_, ip)| ip.is_ipv4() == to.is_ipv4())?;
        Some(*ip)
    }

    fn resolve(&self, to: IpAddr) -> Option<Mac> {
        let (guest, tables) = (self.guest()?, self.program.writer.published());
        let like = |it: &&Attachment| it.cidr.addr().is_ipv4() == to.is_ipv4();
        let mut subnets = guest.attachments.iter().filter(like);
        if let IpAddr::V6(ip) = to {
            if ip.is_multicast() {
                return Some(nd::group_mac(ip));
            }
            if ip.is_unicast_link_local() {
                let made_of = nd::mac_of(ip);
                return subnets.find_map(|subnet| {
                    let is_gateway =
                        |mac: &Mac| subnet.gateway_ip == Some(to) || made_of == Some(*mac);
                    let known =
                        |mac: &Mac| tables.neighbors.find_mac(subnet.domain, *mac).is_some();
                    let gateway = subnet.gateway_mac.filter(is_gateway);
                    gateway.or_else(|| made_of.filter(known))
                });
            }
        }
        let first = subnets.clone().next();
        match subnets.find(|it| it.cidr.contains(&to)) {
            Some(subnet) if subnet.gateway_ip == Some(to) => subnet.gateway_mac,
            Some(subnet) => Some(tables.neighbors.find_ip(subnet.vpc, to)?.mac),
            None => first?.gateway_mac,
        }
    }

    fn vxlan_port(&self) -> u16 {
        self.program.writer.published().tunnel().udp_port
    }
}
