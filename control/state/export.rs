// SPDX-License-Identifier: MIT
//! What is wanted, in the controller's own words: applied to an empty state, a configuration makes the same again.
//!
//! Updates are merged, so routers and security groups are FULL and their rules have no operation. Routing tables and
//! rules are in the order of their ids.

use super::Wanted;
use super::neighbor::NeighborIx;
use super::network::{SubnetIx, VpcIx};
use super::port::PortIx;
use super::router::RouterIx;
use crate::proto::schema::neighbor_configuration::FixedIp;
use crate::proto::schema::router_configuration::SubnetRoutingTable;
use crate::proto::schema::{
    DhcpConfiguration, GatewayConfiguration, NeighborConfiguration, NeighborType,
    PortConfiguration, RouterConfiguration, SecurityGroupConfiguration, SubnetConfiguration,
    UpdateType, VpcConfiguration,
};

impl Wanted {
    /// The VPC of this number, if it is described.
    pub(crate) fn vpc_configuration(&self, ix: VpcIx) -> Option<VpcConfiguration> {
        let slot = self.vpc(ix)?;
        let wanted = slot.wanted.as_ref()?;
        Some(VpcConfiguration {
            revision_number: wanted.revision,
            id: slot.id.to_string(),
            ..(*wanted.said).clone()
        })
    }

    /// The subnet of this number, if it is described.
    pub(crate) fn subnet_configuration(&self, ix: SubnetIx) -> Option<SubnetConfiguration> {
        let slot = self.subnet(ix)?;
        let wanted = slot.wanted.as_ref()?;
        Some(SubnetConfiguration {
            revision_number: wanted.revision,
            id: slot.id.to_string(),
            ..(*wanted.said).clone()
        })
    }

    /// The port of this number, if it is described.
    pub(crate) fn port_configuration(&self, ix: PortIx) -> Option<PortConfiguration> {
        let slot = self.port(ix)?;
        let wanted = slot.wanted.as_ref()?;
        Some(PortConfiguration {
            revision_number: wanted.revision,
            id: slot.id.to_string(),
            ..(*wanted.said).clone()
        })
    }

    /// The router of this number, if it is described.
    pub(crate) fn router_configuration(&self, ix: RouterIx) -> Option<RouterConfiguration> {
        let slot = self.router(ix)?;
        let wanted = slot.wanted.as_ref()?;
        let router = &wanted.value;
        let tables = router.subnets.iter().filter_map(|(subnet, rules)| {
            Some(SubnetRoutingTable {
                subnet_id: self.subnet(*subnet)?.id.to_string(),
                routing_rules: rules.values().map(|rule| (*rule.said).clone()).collect(),
            })
        });
        let default = Some(&router.default).filter(|rules| !rules.is_empty());
        let default = default.map(|rules| SubnetRoutingTable {
            subnet_id: String::new(),
            routing_rules: rules.values().map(|rule| (*rule.said).clone()).collect(),
        });
        let mut subnet_routing_tables: Vec<_> = tables.chain(default).collect();
        subnet_routing_tables.sort_unstable_by(|a, b| a.subnet_id.cmp(&b.subnet_id));
        Some(RouterConfiguration {
            revision_number: wanted.revision,
            id: slot.id.to_string(),
            update_type: UpdateType::Full.into(),
            host_dvr_mac_address: router
                .dvr_mac
                .map(|mac| mac.to_string())
                .unwrap_or_default(),
            subnet_routing_tables,
            ..(*wanted.said).clone()
        })
    }

    /// The neighbor's address of this number. Its VPC is that of its subnet, whatever was said; the id of the request
    /// that brought it is not kept.
    pub(crate) fn neighbor_configuration(&self, ix: NeighborIx) -> Option<NeighborConfiguration> {
        let slot = self.neighbor(ix)?;
        let subnet = self.subnet(slot.subnet)?;
        let vpc = subnet
            .wanted
            .as_ref()
            .map(|subnet| subnet.value.vpc.clone());
        let details = self.neighbor_details(ix).cloned().unwrap_or_default();
        let of_all = details.of_all.as_deref().cloned().unwrap_or_default();
        let kind = if slot.routed {
            NeighborType::L3
        } else {
            NeighborType::L2
        };
        let fixed_ip = FixedIp {
            neighbor_type: kind.into(),
            subnet_id: subnet.id.to_string(),
            ip_address: slot.ip.to_string(),
            arion_group: details.arion_group,
            tunnel_id: details.tunnel_id,
        };
        Some(NeighborConfiguration {
            revision_number: slot.revision,
            id: slot.id.to_string(),
            vpc_id: vpc.unwrap_or_default(),
            name: of_all.name,
            mac_address: slot.place.mac.to_string(),
            host_mac_address: slot
                .place
                .host_mac
                .map(|mac| mac.to_string())
                .unwrap_or_default(),
            host_ip_address: slot.place.host.to_string(),
            fixed_ips: vec![fixed_ip],
            allow_address_pairs: of_all.allow_address_pairs,
            ..NeighborConfiguration::default()
        })
    }

    /// All security groups, by id.
    pub(crate) fn security_group_configurations(
        &self,
    ) -> impl Iterator<Item = SecurityGroupConfiguration> {
        self.security_groups()
            .map(|(_, group)| SecurityGroupConfiguration {
                revision_number: group.revision,
                update_type: UpdateType::Full.into(),
                security_group_rules: group.value.values().cloned().collect(),
                ..(*group.said).clone()
            })
    }

    /// All that DHCP has to say, by subnet and MAC.
    pub(crate) fn dhcp_configurations(&self) -> impl Iterator<Item = DhcpConfiguration> {
        self.dhcp().map(|(_, dhcp)| DhcpConfiguration {
            revision_number: dhcp.revision,
            ..(*dhcp.said).clone()
        })
    }

    /// All gateways, by id.
    pub(crate) fn gateway_configurations(&self) -> impl Iterator<Item = GatewayConfiguration> {
        self.gateways().map(|(_, gateway)| GatewayConfiguration {
            revision_number: gateway.revision,
            ..(*gateway.said).clone()
        })
    }
}
