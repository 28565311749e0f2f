// SPDX-License-Identifier: MIT
//! Goal states by the handful: short constructors of the controller's messages.
//!
//! Ids are short names. Addresses follow `10.<vni>.<host>.<n>` and `2001:db8:<vni>:<host>::<n>`, the underlay is 192.0.2.x.

use crate::core::Goal;
use crate::proto::schema::goal_state_v2::{
    DhcpStatesEntry, GatewayStatesEntry, NeighborStatesEntry, PortStatesEntry, RouterStatesEntry,
    SecurityGroupStatesEntry, SubnetStatesEntry, VpcStatesEntry,
};
use crate::proto::schema::*;

pub(super) const DVR: &str = "fe:16:11:00:00:00";

/// Any state, so that tests can shuffle them.
#[derive(Clone, Debug)]
pub(super) enum State {
    Vpc(VpcState),
    Subnet(SubnetState),
    Port(PortState),
    Neighbor(NeighborState),
    Router(RouterState),
    SecurityGroup(SecurityGroupState),
    Dhcp(DhcpState),
    Gateway(GatewayState),
}

/// The first form: lists.
pub(super) fn v1(states: impl IntoIterator<Item = State>) -> Goal {
    let mut goal = GoalState {
        format_version: 101,
        ..Default::default()
    };
    for state in states {
        match state {
            State::Vpc(state) => goal.vpc_states.push(state),
            State::Subnet(state) => goal.subnet_states.push(state),
            State::Port(state) => goal.port_states.push(state),
            State::Neighbor(state) => goal.neighbor_states.push(state),
            State::Router(state) => goal.router_states.push(state),
            State::SecurityGroup(state) => goal.security_group_states.push(state),
            State::Dhcp(state) => goal.dhcp_states.push(state),
            State::Gateway(state) => goal.gateway_states.push(state),
        }
    }
    Goal::V1(goal)
}

/// The second form: maps, under keys that are no ids.
pub(super) fn v2(states: impl IntoIterator<Item = State>) -> Goal {
    let mut goal = GoalStateV2 {
        format_version: 102,
        ..Default::default()
    };
    for (n, state) in states.into_iter().enumerate() {
        let key = format!("key/{n}");
        match state {
            State::Vpc(state) => goal.vpc_states.push(VpcStatesEntry {
                key,
                value: Some(state),
            }),
            State::Subnet(state) => goal.subnet_states.push(SubnetStatesEntry {
                key,
                value: Some(state),
            }),
            State::Port(state) => goal.port_states.push(PortStatesEntry {
                key,
                value: Some(state),
            }),
            State::Neighbor(state) => goal.neighbor_states.push(NeighborStatesEntry {
                key,
                value: Some(state),
            }),
            State::Router(state) => goal.router_states.push(RouterStatesEntry {
                key,
                value: Some(state),
            }),
            State::SecurityGroup(state) => {
                goal.security_group_states.push(SecurityGroupStatesEntry {
                    key,
                    value: Some(state),
                })
            }
            State::Dhcp(state) => goal.dhcp_states.push(DhcpStatesEntry {
                key,
                value: Some(state),
            }),
            State::Gateway(state) => goal.gateway_states.push(GatewayStatesEntry {
                key,
                value: Some(state),
            }),
        }
    }
    Goal::V2(goal)
}

impl State {
    /// The same state with another operation.
    pub(super) fn with(mut self, operation: OperationType) -> Self {
        let field = match &mut self {
            State::Vpc(state) => &mut state.operation_type,
            State::Subnet(state) => &mut state.operation_type,
            State::Port(state) => &mut state.operation_type,
            State::Neighbor(state) => &mut state.operation_type,
            State::Router(state) => &mut state.operation_type,
            State::SecurityGroup(state) => &mut state.operation_type,
            State::Dhcp(state) => &mut state.operation_type,
            State::Gateway(state) => &mut state.operation_type,
        };
        *field = operation as i32;
        self
    }

    /// The same state with a revision.
    pub(super) fn at(mut self, revision: u32) -> Self {
        let field = match &mut self {
            State::Vpc(state) => &mut configuration(&mut state.configuration).revision_number,
            State::Subnet(state) => &mut configuration(&mut state.configuration).revision_number,
            State::Port(state) => &mut configuration(&mut state.configuration).revision_number,
            State::Neighbor(state) => &mut configuration(&mut state.configuration).revision_number,
            State::Router(state) => &mut configuration(&mut state.configuration).revision_number,
            State::SecurityGroup(state) => {
                &mut configuration(&mut state.configuration).revision_number
            }
            State::Dhcp(state) => &mut configuration(&mut state.configuration).revision_number,
            State::Gateway(state) => &mut configuration(&mut state.configuration).revision_number,
        };
        *field = revision;
        self
    }
}

fn configuration<T: Default>(configuration: &mut Option<T>) -> &mut T {
    configuration.get_or_insert_default()
}

pub(super) fn deleted(state: State) -> State {
    state.with(OperationType::Delete)
}

pub(super) fn vpc(id: &str, vni: u32) -> State {
    State::Vpc(VpcState {
        operation_type: OperationType::Info as i32,
        configuration: Some(VpcConfiguration {
            revision_number: 1,
            id: id.into(),
            cidr: "10.0.0.0/8".into(),
            tunnel_id: vni,
            ..Default::default()
        }),
    })
}

/// A subnet whose gateway has a MAC that ends in `gateway`; none if that is 0.
pub(super) fn subnet(id: &str, vpc: &str, cidr: &str, tunnel_id: u64, gateway: u8) -> State {
    let gateway = subnet_configuration::Gateway {
        ip_address: if gateway == 0 {
            "0.0.0.0".into()
        } else {
            cidr.replace(".0/24", ".1").replace("::/64", "::1")
        },
        mac_address: if gateway == 0 {
            String::new()
        } else {
            format!("00:00:5e:00:01:{gateway:02x}")
        },
    };
    State::Subnet(SubnetState {
        operation_type: OperationType::Info as i32,
        configuration: Some(SubnetConfiguration {
            revision_number: 1,
            id: id.into(),
            vpc_id: vpc.into(),
            cidr: cidr.into(),
            tunnel_id,
            gateway: Some(gateway),
            ..Default::default()
        }),
    })
}

pub(super) fn port(id: &str, mac: &str, fixed_ips: &[(&str, &str)]) -> State {
    let fixed_ips = fixed_ips
        .iter()
        .map(|(subnet, ip)| port_configuration::FixedIp {
            subnet_id: subnet.to_string(),
            ip_address: ip.to_string(),
        });
    State::Port(PortState {
        operation_type: OperationType::Create as i32,
        configuration: Some(PortConfiguration {
            revision_number: 1,
            id: id.into(),
            update_type: UpdateType::Full as i32,
            mac_address: mac.into(),
            admin_state_up: true,
            fixed_ips: fixed_ips.collect(),
            ..Default::default()
        }),
    })
}

/// A neighbor on the host 192.0.2.`host`, whose MAC ends in `host` too.
pub(super) fn neighbor(
    id: &str,
    kind: NeighborType,
    mac: &str,
    subnet: &str,
    ip: &str,
    host: u8,
) -> State {
    State::Neighbor(NeighborState {
        operation_type: OperationType::Create as i32,
        configuration: Some(NeighborConfiguration {
            revision_number: 1,
            id: id.into(),
            mac_address: mac.into(),
            host_ip_address: format!("192.0.2.{host}"),
            host_mac_address: format!("02:aa:00:00:00:{host:02x}"),
            fixed_ips: vec![neighbor_configuration::FixedIp {
                neighbor_type: kind as i32,
                subnet_id: subnet.into(),
                ip_address: ip.into(),
                ..Default::default()
            }],
            ..Default::default()
        }),
    })
}

/// (id, destination, next hop, priority), or with operation DELETE if the destination is empty.
pub(super) type RuleText<'a> = (&'a str, &'a str, &'a str, u32);

pub(super) fn router(id: &str, update: UpdateType, subnets: &[(&str, &[RuleText<'_>])]) -> State {
    let rule =
        |(id, destination, next_hop, priority): &RuleText<'_>| router_configuration::RoutingRule {
            operation_type: if destination.is_empty() {
                OperationType::Delete as i32
            } else {
                0
            },
            id: id.to_string(),
            destination: destination.to_string(),
            next_hop_ip: next_hop.to_string(),
            priority: *priority,
            ..Default::default()
        };
    let tables = subnets
        .iter()
        .map(|(subnet, rules)| router_configuration::SubnetRoutingTable {
            subnet_id: subnet.to_string(),
            routing_rules: rules.iter().map(rule).collect(),
        });
    State::Router(RouterState {
        operation_type: OperationType::Info as i32,
        configuration: Some(RouterConfiguration {
            revision_number: 1,
            id: id.into(),
            update_type: update as i32,
            host_dvr_mac_address: DVR.into(),
            subnet_routing_tables: tables.collect(),
            ..Default::default()
        }),
    })
}

/// A security group with a rule for each (id, port), or with operation DELETE if the port is 0.
pub(super) fn security_group(id: &str, update: UpdateType, rules: &[(&str, u32)]) -> State {
    let rule = |(id, port): &(&str, u32)| security_group_configuration::SecurityGroupRule {
        operation_type: if *port == 0 {
            OperationType::Delete as i32
        } else {
            0
        },
        id: id.to_string(),
        port_range_min: *port,
        port_range_max: *port,
        remote_ip_prefix: "10.0.0.0/8".into(),
        ..Default::default()
    };
    State::SecurityGroup(SecurityGroupState {
        operation_type: OperationType::Create as i32,
        configuration: Some(SecurityGroupConfiguration {
            revision_number: 1,
            id: id.into(),
            update_type: update as i32,
            vpc_id: "vpc".into(),
            security_group_rules: rules.iter().map(rule).collect(),
            ..Default::default()
        }),
    })
}

pub(super) fn dhcp(id: &str, subnet: &str, mac: &str, ip: &str) -> State {
    State::Dhcp(DhcpState {
        operation_type: OperationType::Create as i32,
        configuration: Some(DhcpConfiguration {
            revision_number: 1,
            id: id.into(),
            subnet_id: subnet.into(),
            mac_address: mac.into(),
            ipv4_address: ip.into(),
            ..Default::default()
        }),
    })
}

/// A gateway that is one machine.
pub(super) fn gateway(id: &str, kind: GatewayType) -> State {
    State::Gateway(GatewayState {
        operation_type: OperationType::Create as i32,
        configuration: Some(GatewayConfiguration {
            revision_number: 1,
            id: id.into(),
            gateway_type: kind as i32,
            destinations: vec![gateway_configuration::Destination {
                ip_address: "192.0.2.200".into(),
                mac_address: "02:aa:00:00:00:c8".into(),
            }],
            ..Default::default()
        }),
    })
}

/// A gateway of type ZETA at these hosts of 192.0.2.0/24.
pub(super) fn zeta(id: &str, hosts: &[u8]) -> State {
    let mut state = gateway(id, GatewayType::Zeta);
    if let State::Gateway(state) = &mut state {
        let machine = |n: &u8| gateway_configuration::Destination {
            ip_address: format!("192.0.2.{n}"),
            mac_address: format!("02:aa:00:00:01:{n:02x}"),
        };
        configuration(&mut state.configuration).destinations = hosts.iter().map(machine).collect();
    }
    state
}

/// A VPC that names these gateways.
pub(super) fn grouped(mut vpc: State, gateways: &[&str]) -> State {
    if let State::Vpc(state) = &mut vpc {
        let ids = gateways.iter().map(|id| (*id).to_owned());
        configuration(&mut state.configuration).gateway_ids = ids.collect();
    }
    vpc
}

/// One VPC with two subnets of one VNI and one of another, two ports of this host, five neighbors on two
/// hosts, and a router with a rule. What most tests start from.
pub(super) fn scenario() -> Vec<State> {
    use NeighborType::{L2, L3};
    vec![
        vpc("vpc", 7),
        subnet("blue", "vpc", "10.7.1.0/24", 0, 1),
        subnet("red", "vpc", "10.7.2.0/24", i64::MAX as u64, 2),
        subnet("green", "vpc", "10.8.3.0/24", 8, 3),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
        port(
            "port-b",
            "02-00-00-00-00-0B",
            &[
                ("red", "10.7.2.11"),
                ("red", "10.7.2.12"),
                ("blue", "10.7.1.11"),
            ],
        ),
        neighbor("n1", L2, "02:00:00:00:01:01", "blue", "10.7.1.101", 9),
        neighbor("n1", L3, "02:00:00:00:01:01", "blue", "10.7.1.101", 9),
        neighbor("n2", L3, "02:00:00:00:01:02", "red", "10.7.2.102", 9),
        neighbor("n3", L3, "02:00:00:00:01:03", "green", "10.8.3.103", 8),
        neighbor("n4", L2, "02:00:00:00:01:04", "green", "10.8.3.104", 8).with(OperationType::Get),
        neighbor("port-a", L2, "02:00:00:00:00:0a", "blue", "10.7.1.10", 1),
        router(
            "router",
            UpdateType::Delta,
            &[
                ("blue", &[("rule", "203.0.113.0/24", "10.8.3.103", 100)]),
                ("red", &[]),
                ("green", &[]),
            ],
        ),
    ]
}

/// The same VPC with IPv6 besides: a subnet of each VNI, the first port and two neighbors in them, and a rule.
pub(super) fn dual_stack() -> Vec<State> {
    use NeighborType::{L2, L3};
    let rule = ("rule6", "2001:db8:203::/48", "2001:db8:8:3::103", 100);
    let rest = scenario().into_iter();
    let rest = rest.filter(|state| !matches!(state, State::Port(port) if port.configuration.as_ref().is_some_and(|it| it.id == "port-a")));
    rest.chain([
        subnet("azure", "vpc", "2001:db8:7:1::/64", 0, 1),
        subnet("lime", "vpc", "2001:db8:8:3::/64", 8, 3),
        port(
            "port-a",
            "02:00:00:00:00:0a",
            &[("blue", "10.7.1.10"), ("azure", "2001:db8:7:1::10")],
        ),
        neighbor(
            "n1",
            L2,
            "02:00:00:00:01:01",
            "azure",
            "2001:db8:7:1::101",
            9,
        ),
        neighbor(
            "n3",
            L3,
            "02:00:00:00:01:03",
            "lime",
            "2001:db8:8:3::103",
            8,
        ),
        router(
            "router",
            UpdateType::Delta,
            &[("azure", &[rule]), ("lime", &[])],
        ),
    ])
    .collect()
}
