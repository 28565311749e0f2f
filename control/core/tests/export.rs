// SPDX-License-Identifier: MIT
//! What is wanted can be said again in the controller's words, and makes the same once more.

use super::goal::*;
use super::world::World;
use crate::core::Show;
use crate::proto::schema::gateway_configuration::{Arion, ExtraInfo};
use crate::proto::schema::*;
use crate::state::Wanted;

/// All that is wanted, as states to apply.
pub(super) fn exported(wanted: &Wanted) -> Vec<State> {
    let operation_type = OperationType::Info as i32;
    let vpcs = wanted.vpcs().filter_map(|(ix, _)| {
        let configuration = Some(wanted.vpc_configuration(ix)?);
        Some(State::Vpc(VpcState {
            operation_type,
            configuration,
        }))
    });
    let subnets = wanted.subnets().filter_map(|(ix, _)| {
        let configuration = Some(wanted.subnet_configuration(ix)?);
        Some(State::Subnet(SubnetState {
            operation_type,
            configuration,
        }))
    });
    let ports = wanted.ports().filter_map(|(ix, _)| {
        let configuration = Some(wanted.port_configuration(ix)?);
        Some(State::Port(PortState {
            operation_type,
            configuration,
        }))
    });
    let routers = wanted.routers().filter_map(|(ix, _)| {
        let configuration = Some(wanted.router_configuration(ix)?);
        Some(State::Router(RouterState {
            operation_type,
            configuration,
        }))
    });
    let neighbors = wanted.neighbors().filter_map(|(ix, _)| {
        let configuration = Some(wanted.neighbor_configuration(ix)?);
        Some(State::Neighbor(NeighborState {
            operation_type,
            configuration,
        }))
    });
    let groups = wanted.security_group_configurations().map(|configuration| {
        State::SecurityGroup(SecurityGroupState {
            operation_type,
            configuration: Some(configuration),
        })
    });
    let dhcp = wanted.dhcp_configurations().map(|configuration| {
        State::Dhcp(DhcpState {
            operation_type,
            configuration: Some(configuration),
        })
    });
    let gateways = wanted.gateway_configurations().map(|configuration| {
        State::Gateway(GatewayState {
            operation_type,
            configuration: Some(configuration),
        })
    });
    let all = vpcs.chain(subnets).chain(ports).chain(routers);
    all.chain(neighbors)
        .chain(groups)
        .chain(dhcp)
        .chain(gateways)
        .collect()
}

fn full_vpc() -> VpcConfiguration {
    VpcConfiguration {
        revision_number: 3,
        request_id: "request".into(),
        id: "vpc".into(),
        update_type: UpdateType::Full as i32,
        project_id: "project".into(),
        name: "a vpc".into(),
        cidr: "10.0.0.0/8".into(),
        tunnel_id: 7,
        gateway_ids: vec!["zeta".into()],
    }
}

fn full_subnet() -> SubnetConfiguration {
    SubnetConfiguration {
        revision_number: 3,
        request_id: "request".into(),
        id: "blue".into(),
        update_type: UpdateType::Full as i32,
        network_type: NetworkType::Vxlan as i32,
        vpc_id: "vpc".into(),
        name: "a subnet".into(),
        cidr: "10.7.1.0/24".into(),
        tunnel_id: 7,
        gateway: Some(subnet_configuration::Gateway {
            ip_address: "10.7.1.1".into(),
            mac_address: "00-00-5E-00-01-01".into(),
        }),
        dhcp_enable: true,
        extra_dhcp_options: vec![subnet_configuration::ExtraDhcpOption {
            name: "mtu".into(),
            value: "1450".into(),
        }],
        dns_entry_list: vec![subnet_configuration::DnsEntry {
            entry: "10.0.0.53".into(),
        }],
        availability_zone: "zone".into(),
    }
}

fn full_port() -> PortConfiguration {
    PortConfiguration {
        revision_number: 3,
        request_id: "request".into(),
        id: "port-a".into(),
        update_type: UpdateType::Full as i32,
        vpc_id: "vpc".into(),
        name: "a port".into(),
        device_id: "vm".into(),
        device_owner: "compute:nova".into(),
        mac_address: "2:0:0:0:0:A".into(),
        admin_state_up: true,
        host_info: Some(port_configuration::HostInfo {
            ip_address: "192.0.2.1".into(),
            mac_address: "02:aa:00:00:00:01".into(),
        }),
        fixed_ips: vec![port_configuration::FixedIp {
            subnet_id: "blue".into(),
            ip_address: "10.7.1.10".into(),
        }],
        allow_address_pairs: vec![port_configuration::AllowAddressPair {
            ip_address: "10.7.9.0/24".into(),
            mac_address: String::new(),
        }],
        security_group_ids: vec![port_configuration::SecurityGroupId { id: "group".into() }],
    }
}

fn full_neighbor() -> NeighborConfiguration {
    NeighborConfiguration {
        revision_number: 3,
        id: "n".into(),
        vpc_id: "vpc".into(),
        name: "a neighbor".into(),
        mac_address: "02:00:00:00:01:63".into(),
        host_mac_address: "02:aa:00:00:00:09".into(),
        host_ip_address: "192.0.2.9".into(),
        fixed_ips: vec![neighbor_configuration::FixedIp {
            neighbor_type: NeighborType::L3 as i32,
            subnet_id: "blue".into(),
            ip_address: "10.7.1.99".into(),
            arion_group: "group".into(),
            tunnel_id: 21,
        }],
        allow_address_pairs: vec![neighbor_configuration::AllowAddressPair {
            ip_address: "fd00::/64".into(),
            mac_address: "02:00:00:00:01:64".into(),
        }],
        ..Default::default()
    }
}

fn full_router() -> RouterConfiguration {
    let rule = router_configuration::RoutingRule {
        operation_type: 0,
        id: "rule".into(),
        name: "a rule".into(),
        destination: "203.0.113.5".into(),
        next_hop_ip: "10.7.1.99".into(),
        priority: 9,
        routing_rule_extra_info: Some(router_configuration::RoutingRuleExtraInfo {
            destination_type: DestinationType::VpcGw as i32,
            next_hop_mac: "02:00:00:00:01:63".into(),
        }),
    };
    RouterConfiguration {
        revision_number: 3,
        request_id: "request".into(),
        id: "router".into(),
        update_type: UpdateType::Full as i32,
        host_dvr_mac_address: DVR.into(),
        subnet_routing_tables: vec![router_configuration::SubnetRoutingTable {
            subnet_id: "blue".into(),
            routing_rules: vec![rule],
        }],
    }
}

fn full_group() -> SecurityGroupConfiguration {
    let rule = |id: &str| security_group_configuration::SecurityGroupRule {
        operation_type: 0,
        security_group_id: "group".into(),
        id: id.into(),
        direction: security_group_configuration::Direction::Ingress as i32,
        ethertype: EtherType::Ipv6 as i32,
        protocol: Protocol::Udp as i32,
        port_range_min: 53,
        port_range_max: 54,
        remote_ip_prefix: "fd00::/64".into(),
        remote_group_id: "other".into(),
    };
    SecurityGroupConfiguration {
        revision_number: 3,
        request_id: "request".into(),
        id: "group".into(),
        update_type: UpdateType::Full as i32,
        vpc_id: "vpc".into(),
        name: "a group".into(),
        security_group_rules: vec![rule("rule"), rule("")],
    }
}

fn full_dhcp() -> DhcpConfiguration {
    DhcpConfiguration {
        revision_number: 3,
        request_id: "request".into(),
        id: "dhcp".into(),
        update_type: UpdateType::Delta as i32,
        subnet_id: "blue".into(),
        mac_address: "02:00:00:00:00:0A".into(),
        ipv4_address: "10.7.1.10".into(),
        ipv6_address: "fd00::10".into(),
        port_host_name: "host".into(),
    }
}

fn full_gateway() -> GatewayConfiguration {
    GatewayConfiguration {
        revision_number: 3,
        request_id: "request".into(),
        id: "arion".into(),
        gateway_type: GatewayType::Arion as i32,
        destinations: vec![gateway_configuration::Destination {
            ip_address: "192.0.2.200".into(),
            mac_address: "02-AA-00-00-00-C8".into(),
        }],
        extra_info: Some(ExtraInfo::ArionInfo(Arion {
            vpc_id: "vpc".into(),
            vni: 7,
            subnet_id: "blue".into(),
            port_inband_operation: 8300,
        })),
    }
}

#[test]
fn every_field_of_every_kind_comes_back_as_it_was_said() {
    let mut world = World::new();
    let operation_type = OperationType::Create as i32;
    world.put([
        State::Vpc(VpcState {
            operation_type,
            configuration: Some(full_vpc()),
        }),
        State::Subnet(SubnetState {
            operation_type,
            configuration: Some(full_subnet()),
        }),
        State::Port(PortState {
            operation_type,
            configuration: Some(full_port()),
        }),
        State::Neighbor(NeighborState {
            operation_type,
            configuration: Some(full_neighbor()),
        }),
        State::Router(RouterState {
            operation_type,
            configuration: Some(full_router()),
        }),
        State::SecurityGroup(SecurityGroupState {
            operation_type,
            configuration: Some(full_group()),
        }),
        State::Dhcp(DhcpState {
            operation_type,
            configuration: Some(full_dhcp()),
        }),
        State::Gateway(GatewayState {
            operation_type,
            configuration: Some(full_gateway()),
        }),
    ]);
    let all = exported(&world.core.wanted);
    assert_eq!(all.len(), 8);
    for state in all {
        match state {
            State::Vpc(state) => assert_eq!(state.configuration, Some(full_vpc())),
            State::Subnet(state) => assert_eq!(state.configuration, Some(full_subnet())),
            State::Port(state) => assert_eq!(state.configuration, Some(full_port())),
            State::Neighbor(state) => assert_eq!(state.configuration, Some(full_neighbor())),
            State::Router(state) => assert_eq!(state.configuration, Some(full_router())),
            State::SecurityGroup(state) => assert_eq!(state.configuration, Some(full_group())),
            State::Dhcp(state) => assert_eq!(state.configuration, Some(full_dhcp())),
            State::Gateway(state) => assert_eq!(state.configuration, Some(full_gateway())),
        }
    }
    let names = [Show::Vpcs, Show::Subnets, Show::Ports].map(|what| world.show(what));
    let names = names.map(|rows| rows[0]["name"].as_str().unwrap().to_owned());
    assert_eq!(names, ["a vpc", "a subnet", "a port"]);
    // Said again without it, a neighbor has nothing more than others.
    let plain = neighbor(
        "n",
        NeighborType::L3,
        "02:00:00:00:01:63",
        "blue",
        "10.7.1.99",
        9,
    );
    world.put([plain.at(3)]);
    let (ix, _) = world.core.wanted.neighbors().next().unwrap();
    assert!(world.core.wanted.neighbor_details(ix).is_none());
}

#[test]
fn what_is_exported_makes_the_same_on_an_empty_switch() {
    let mut world = World::new();
    world.put(scenario().into_iter().chain([
        vpc("vpc", 0),
        router(
            "router",
            UpdateType::Delta,
            &[("red", &[("", "198.51.100.0/24", "10.7.2.102", 4)])],
        ),
        security_group("group", UpdateType::Delta, &[("a", 22), ("", 80)]),
        security_group("group", UpdateType::Delta, &[("b", 443), ("a", 0)]),
        dhcp("uuid", "blue", "02:00:00:00:00:0a", "10.7.1.10"),
        gateway("zeta", GatewayType::Zeta),
        gateway("nat", GatewayType::Ngw),
    ]));
    let mut other = World::new();
    let all = exported(&world.core.wanted);
    other.put(all.clone());
    assert_eq!(other.wanted(), world.wanted());
    assert_eq!(other.see(), world.see());
    // And it changes nothing where it comes from.
    let before = (world.publications(), world.see(), world.wanted());
    world.put(all);
    assert_eq!((world.publications(), world.see(), world.wanted()), before);
}
