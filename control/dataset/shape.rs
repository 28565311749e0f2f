// SPDX-License-Identifier: MIT
//! Resources as Alcor's senders write them, with their habits: what they set, what they leave out, which ids they choose.

use clap::ValueEnum;

use super::network::{MAX_SUBNETS, Network, Vpc};
use super::random::Purpose;
use super::states::Keyed;
use crate::proto::schema::security_group_configuration::{Direction, SecurityGroupRule};
use crate::proto::schema::*;

/// Whose habits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Shape {
    /// The data plane manager: revision 1, no tunnel id in a VPC, a router whose operation is unset, a neighbor that is
    /// near and far at once sent as both.
    Dpm,
    /// The test controller (`pseudo_controller`): revision 2, a tunnel id in each VPC, no routers and no gateways, every
    /// neighbor L2 with an id of its own, MACs without leading zeros.
    TestController,
}

/// The MAC that routed packets come from, on every host: DPM's constant.
const DVR_MAC: &str = "fe:16:11:00:00:00";

/// What the test controller writes where a gateway would be.
const NO_GATEWAY: (&str, &str) = ("0.0.0.0", "6c:dd:ee:0:0:40");

/// First half of the MACs of ports; and of gateways, which so differ from them.
const PORT_MACS: u64 = 0xfa16_3e00_0000;
const GATEWAY_MACS: u64 = 0xfa16_3d00_0000;

/// First half of hosts' MACs.
const HOST_MACS: u64 = 0x0200_0000_0000;

/// Longest name of a Linux device that a port's name is made for.
const DEVICE_NAME: usize = 14;

/// Makes states of what is in a network.
pub(super) struct Writer<'a> {
    pub(super) network: &'a Network,
    pub(super) shape: Shape,
    /// Ports name their VPC's security group.
    pub(super) security_groups: bool,
}

impl Writer<'_> {
    fn revision(&self) -> u32 {
        match self.shape {
            Shape::Dpm => 1,
            Shape::TestController => 2,
        }
    }

    fn mac(&self, number: u64) -> String {
        let bytes = number.to_be_bytes();
        let byte = |byte: &u8| match self.shape {
            Shape::Dpm => format!("{byte:02x}"),
            Shape::TestController => format!("{byte:x}"),
        };
        bytes[2..].iter().map(byte).collect::<Vec<_>>().join(":")
    }

    fn id(&self, purpose: Purpose, index: u32) -> String {
        self.network.seed.uuid(purpose, index.into())
    }

    fn vpc_id(&self, vpc: &Vpc) -> String {
        self.id(Purpose::Vpc, vpc.number)
    }

    fn subnet_id(&self, vpc: &Vpc, subnet: u32) -> String {
        let index = u64::from(vpc.number) * u64::from(MAX_SUBNETS) + u64::from(subnet);
        self.network.seed.uuid(Purpose::Subnet, index)
    }

    fn security_group_id(&self, vpc: &Vpc) -> String {
        self.id(Purpose::SecurityGroup, vpc.number)
    }

    pub(super) fn vpc(&self, vpc: &Vpc) -> Keyed<VpcState> {
        let id = self.vpc_id(vpc);
        let (tunnel_id, cidr) = match self.shape {
            Shape::Dpm => (0, "10.0.0.0/8"),
            // Too narrow for most subnets, as the test controller has it.
            Shape::TestController => (vpc.vni, "10.0.0.0/16"),
        };
        let state = VpcState {
            operation_type: OperationType::Info.into(),
            configuration: Some(VpcConfiguration {
                revision_number: self.revision(),
                id: id.clone(),
                project_id: self.id(Purpose::Project, vpc.number),
                name: format!("vpc-{}", vpc.number),
                cidr: cidr.to_owned(),
                tunnel_id,
                ..Default::default()
            }),
        };
        (id, state)
    }

    pub(super) fn subnet(&self, vpc: &Vpc, subnet: u32) -> Keyed<SubnetState> {
        let id = self.subnet_id(vpc, subnet);
        let (ip_address, mac_address) = match self.shape {
            Shape::Dpm => (
                vpc.gateway(subnet).to_string(),
                self.mac(GATEWAY_MACS + u64::from(subnet)),
            ),
            Shape::TestController => (NO_GATEWAY.0.to_owned(), NO_GATEWAY.1.to_owned()),
        };
        let state = SubnetState {
            operation_type: OperationType::Info.into(),
            configuration: Some(SubnetConfiguration {
                revision_number: self.revision(),
                id: id.clone(),
                network_type: NetworkType::Vxlan.into(),
                vpc_id: self.vpc_id(vpc),
                name: format!("subnet-{}-{subnet}", vpc.number),
                cidr: vpc.cidr(subnet),
                tunnel_id: vpc.vni.into(),
                gateway: Some(subnet_configuration::Gateway {
                    ip_address,
                    mac_address,
                }),
                dhcp_enable: self.shape == Shape::Dpm,
                ..Default::default()
            }),
        };
        (id, state)
    }

    /// The router of all subnets of a VPC. The test controller has none.
    pub(super) fn router(&self, vpc: &Vpc) -> Option<Keyed<RouterState>> {
        let id = self.id(Purpose::Router, vpc.number);
        let table = |subnet| router_configuration::SubnetRoutingTable {
            subnet_id: self.subnet_id(vpc, subnet),
            routing_rules: Vec::new(),
        };
        let state = RouterState {
            configuration: Some(RouterConfiguration {
                revision_number: self.revision(),
                id: id.clone(),
                host_dvr_mac_address: DVR_MAC.to_owned(),
                subnet_routing_tables: (0..vpc.subnets).map(table).collect(),
                ..Default::default()
            }),
            ..Default::default()
        };
        (self.shape == Shape::Dpm).then_some((id, state))
    }

    /// The VPC's default group: out to everybody, in from the group. Operations and protocols of rules are unset.
    pub(super) fn security_group(&self, vpc: &Vpc) -> Keyed<SecurityGroupState> {
        let id = self.security_group_id(vpc);
        let rule = |direction: Direction, remote_group_id: &str| SecurityGroupRule {
            security_group_id: id.clone(),
            id: format!("{id}-{}", direction.as_str_name().to_lowercase()),
            direction: direction.into(),
            remote_group_id: remote_group_id.to_owned(),
            ..Default::default()
        };
        let security_group_rules = vec![rule(Direction::Egress, ""), rule(Direction::Ingress, &id)];
        let state = SecurityGroupState {
            operation_type: OperationType::Create.into(),
            configuration: Some(SecurityGroupConfiguration {
                revision_number: self.revision(),
                vpc_id: self.vpc_id(vpc),
                name: "default".to_owned(),
                security_group_rules,
                id: id.clone(),
                ..Default::default()
            }),
        };
        (id, state)
    }

    pub(super) fn port(&self, vpc: &Vpc, port: u32) -> Keyed<PortState> {
        let id = self.id(Purpose::Port, port);
        let host = self.network.host_of(port);
        let host_info = (self.shape == Shape::Dpm).then(|| port_configuration::HostInfo {
            ip_address: self.network.address(host).to_string(),
            mac_address: self.mac(HOST_MACS + u64::from(host)),
        });
        let security_group = |id| port_configuration::SecurityGroupId { id };
        let state = PortState {
            operation_type: OperationType::Create.into(),
            configuration: Some(PortConfiguration {
                revision_number: self.revision(),
                update_type: UpdateType::Full.into(),
                vpc_id: self.vpc_id(vpc),
                name: format!("tap{id}").chars().take(DEVICE_NAME).collect(),
                mac_address: self.mac(PORT_MACS + u64::from(port)),
                admin_state_up: true,
                host_info,
                fixed_ips: vec![port_configuration::FixedIp {
                    subnet_id: self.subnet_id(vpc, vpc.subnet_of(port)),
                    ip_address: vpc.ip(port).to_string(),
                }],
                security_group_ids: (self.security_groups.then(|| self.security_group_id(vpc)))
                    .into_iter()
                    .map(security_group)
                    .collect(),
                id: id.clone(),
                ..Default::default()
            }),
        };
        (id, state)
    }

    pub(super) fn dhcp(&self, vpc: &Vpc, port: u32) -> Keyed<DhcpState> {
        let id = self.id(Purpose::Dhcp, port);
        let state = DhcpState {
            operation_type: OperationType::Create.into(),
            configuration: Some(DhcpConfiguration {
                revision_number: self.revision(),
                id: id.clone(),
                subnet_id: self.subnet_id(vpc, vpc.subnet_of(port)),
                mac_address: self.mac(PORT_MACS + u64::from(port)),
                ipv4_address: vpc.ip(port).to_string(),
                ..Default::default()
            }),
        };
        (id, state)
    }

    /// A port as a neighbor, under the key that it has in a map.
    pub(super) fn neighbor(
        &self,
        vpc: &Vpc,
        port: u32,
        kind: NeighborType,
    ) -> Keyed<NeighborState> {
        let port_id = self.id(Purpose::Port, port);
        let (key, id) = match self.shape {
            Shape::Dpm => (format!("{}/{port_id}", kind.as_str_name()), port_id),
            Shape::TestController => (format!("{port_id}_n"), format!("{port_id}_n")),
        };
        let host = self.network.address(self.network.host_of(port));
        let configuration = NeighborConfiguration {
            revision_number: self.revision(),
            id,
            vpc_id: self.vpc_id(vpc),
            mac_address: self.mac(PORT_MACS + u64::from(port)),
            host_ip_address: host.to_string(),
            fixed_ips: vec![neighbor_configuration::FixedIp {
                neighbor_type: kind.into(),
                subnet_id: self.subnet_id(vpc, vpc.subnet_of(port)),
                ip_address: vpc.ip(port).to_string(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let state = NeighborState {
            operation_type: OperationType::Create.into(),
            configuration: Some(configuration),
        };
        (key, state)
    }
}
