// SPDX-License-Identifier: MIT
//! Goal states of any bytes, and goal states that make some sense, into a switch without packets: nothing panics, and
//! every resource gets a status.
//!
//! Input: a byte for the form. 0: a message of the first form as protobuf; 1: of the second; otherwise decisions from
//! which messages are built whose resources meet each other.

#[allow(dead_code, reason = "not all of it is used by each target")]
#[path = "bytes.rs"]
mod bytes;

use std::net::Ipv4Addr;

use hashbrown::HashMap;
use ipnet::IpNet;
use prost::Message;
use vswitch::tables::snapshot::tables;
use vswitch::tables::{PortId, Tunnel, Underlay};
use vswitch::wire::Mac;

use crate::core::{Core, Goal, Link, Replicated, Site, Uplink};
use crate::families::Families;
use crate::proto::schema::goal_state_v2::{
    DhcpStatesEntry, GatewayStatesEntry, NeighborStatesEntry, PortStatesEntry, RouterStatesEntry,
    SecurityGroupStatesEntry, SubnetStatesEntry, VpcStatesEntry,
};
use crate::proto::schema::*;
use crate::southbound::decode::{self, Encoded, Form};
use bytes::Bytes;

/// Most messages and resources of one input.
const MAX_MESSAGES: usize = 16;
const MAX_RESOURCES: usize = 16;

/// Runs one input.
pub(crate) fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut core = switch();
    match bytes.byte() {
        0 => raw(&mut core, Form::V1, bytes.0),
        1 => raw(&mut core, Form::V2, bytes.0),
        _ => converse(&mut core, &mut bytes),
    }
}

fn port(n: u16) -> PortId {
    PortId::new(n).unwrap()
}

/// A switch with little room, so that its tables fill up.
fn switch() -> Core {
    let (vtep, uplink) = (Ipv4Addr::new(192, 0, 2, 1), port(0));
    let (writer, _) = tables(
        Some(Underlay {
            vtep: Some(vtep),
            vtep6: None,
            uplink,
            second: None,
            host_port: None,
            tunnel: Tunnel::default(),
        }),
        8,
    );
    let link = Link {
        vtep: IpNet::new(vtep.into(), 24).unwrap(),
        gateway: None,
    };
    let uplink = Uplink {
        links: Families {
            v4: Some(link),
            v6: None,
        },
        port: uplink,
        mac: Mac::new([2, 0xaa, 0, 0, 0, 1]),
        mtu: 1600,
        neighbors: HashMap::new(),
        learned: HashMap::new(),
    };
    let mut core = Core::new(
        Site {
            uplinks: vec![uplink],
            host_port: None,
            anti_spoofing: true,
            rules: HashMap::new(),
            replicated: Replicated {
                others: Some(100),
                ..Replicated::default()
            },
        },
        writer,
    );
    core.bind(port(1), "a").unwrap();
    core
}

/// Whatever Alcor's own decoder takes is taken, and each resource gets a status.
fn raw(core: &mut Core, form: Form, bytes: &[u8]) {
    let goal = match form {
        Form::V1 => GoalState::decode(bytes).map(Goal::V1),
        Form::V2 => GoalStateV2::decode(bytes).map(Goal::V2),
    };
    let encoded = Encoded {
        form,
        bytes: bytes.to_vec().into(),
    };
    let taken = decode::received(&encoded);
    let applied = core.apply("fuzz", &encoded);
    assert!(
        taken.is_err() || applied.is_ok(),
        "what comes from a controller is read again from the store"
    );
    if let Ok(goal) = goal {
        let reply = applied.expect("what is a goal state is applied");
        assert_eq!(reply.operation_statuses.len(), resources(&goal));
    }
}

fn apply(core: &mut Core, goal: Goal) {
    let reply = core.apply("fuzz", &Encoded::from(&goal)).unwrap();
    assert_eq!(reply.operation_statuses.len(), resources(&goal));
}

fn resources(goal: &Goal) -> usize {
    match goal {
        Goal::V1(goal) => {
            goal.vpc_states.len()
                + goal.subnet_states.len()
                + goal.port_states.len()
                + goal.neighbor_states.len()
                + goal.security_group_states.len()
                + goal.dhcp_states.len()
                + goal.router_states.len()
                + goal.gateway_states.len()
        }
        Goal::V2(goal) => {
            goal.vpc_states.len()
                + goal.subnet_states.len()
                + goal.port_states.len()
                + goal.neighbor_states.len()
                + goal.security_group_states.len()
                + goal.dhcp_states.len()
                + goal.router_states.len()
                + goal.gateway_states.len()
        }
    }
}

fn converse(core: &mut Core, bytes: &mut Bytes<'_>) {
    for _ in 0..MAX_MESSAGES {
        if bytes.is_empty() {
            return;
        }
        let (mut first, mut second) = (GoalState::default(), GoalStateV2::default());
        for n in 0..usize::from(bytes.byte()) % MAX_RESOURCES {
            macro_rules! push {
                ($states:ident, $entry:ident, $state:expr) => {{
                    let (key, state) = (n.to_string(), $state);
                    first.$states.push(state.clone());
                    let value = Some(state);
                    second.$states.push($entry { key, value });
                }};
            }
            match bytes.byte() % 9 {
                0 => push!(vpc_states, VpcStatesEntry, vpc(bytes)),
                1 => push!(subnet_states, SubnetStatesEntry, subnet(bytes)),
                2 => push!(port_states, PortStatesEntry, guest(bytes)),
                3 => push!(router_states, RouterStatesEntry, router(bytes)),
                4 => push!(
                    security_group_states,
                    SecurityGroupStatesEntry,
                    security_group(bytes)
                ),
                5 => push!(dhcp_states, DhcpStatesEntry, dhcp(bytes)),
                6 => push!(gateway_states, GatewayStatesEntry, gateway(bytes)),
                _ => push!(neighbor_states, NeighborStatesEntry, neighbor(bytes)),
            }
        }
        // Wrong bindings are refused; right ones change what the ports are.
        let (at, id) = (port(1 + u16::from(bytes.byte() % 3)), id(bytes));
        drop(core.bind(at, &id));
        let goal = if bytes.byte().is_multiple_of(2) {
            Goal::V1(first)
        } else {
            Goal::V2(second)
        };
        apply(core, goal);
    }
}

fn operation(bytes: &mut Bytes<'_>) -> i32 {
    bytes.choose(&[0, 1, 2, 3, 3, 4, -1])
}

fn id(bytes: &mut Bytes<'_>) -> String {
    bytes.choose(&["a", "b", "c", ""]).to_owned()
}

fn ip(bytes: &mut Bytes<'_>) -> String {
    bytes
        .choose(&[
            "10.7.1.1",
            "10.7.1.2",
            "10.7.1.3",
            "10.7.2.1",
            "0.0.0.0",
            "255.255.255.255",
            "",
            "x",
            "2001:db8:7:1::1",
            "2001:db8:7:1::2",
            "2001:db8:7:2::1",
            "fe80::1",
            "::ffff:10.7.1.1",
        ])
        .to_owned()
}

fn mac(bytes: &mut Bytes<'_>) -> String {
    let macs = [
        "02:00:00:00:00:01",
        "02:00:00:00:00:02",
        "fe:16:11:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "",
        "0-0-0-0-0-0",
    ];
    bytes.choose(&macs).to_owned()
}

fn cidr(bytes: &mut Bytes<'_>) -> String {
    let prefixes = [
        "10.7.1.0/24",
        "10.7.2.0/24",
        "10.7.0.0/16",
        "0.0.0.0/0",
        "10.7.1.2/32",
        "10.7.1.2",
        "10.7.1.0/33",
        "",
        "2001:db8:7:1::/64",
        "2001:db8:7::/48",
        "::/0",
        "2001:db8:7:1::2",
        "::ffff:10.7.1.0/120",
    ];
    bytes.choose(&prefixes).to_owned()
}

fn vpc(bytes: &mut Bytes<'_>) -> VpcState {
    let configuration = VpcConfiguration {
        id: id(bytes),
        revision_number: bytes.byte().into(),
        tunnel_id: bytes.choose(&[0, 7, 8, 1 << 24, u32::MAX]),
        ..Default::default()
    };
    VpcState {
        operation_type: operation(bytes),
        configuration: Some(configuration),
    }
}

fn subnet(bytes: &mut Bytes<'_>) -> SubnetState {
    let gateway = subnet_configuration::Gateway {
        ip_address: ip(bytes),
        mac_address: mac(bytes),
    };
    let configuration = SubnetConfiguration {
        id: id(bytes),
        vpc_id: id(bytes),
        cidr: cidr(bytes),
        tunnel_id: bytes.choose(&[0, 7, 8, 9, u64::MAX, i64::MAX as u64, 1 << 24]),
        gateway: (!bytes.byte().is_multiple_of(4)).then_some(gateway),
        ..Default::default()
    };
    SubnetState {
        operation_type: operation(bytes),
        configuration: Some(configuration),
    }
}

fn guest(bytes: &mut Bytes<'_>) -> PortState {
    let fixed_ip = |bytes: &mut Bytes<'_>| port_configuration::FixedIp {
        subnet_id: id(bytes),
        ip_address: ip(bytes),
    };
    let configuration = PortConfiguration {
        id: id(bytes),
        mac_address: mac(bytes),
        admin_state_up: !bytes.byte().is_multiple_of(4),
        fixed_ips: (0..bytes.byte() % 4).map(|_| fixed_ip(bytes)).collect(),
        ..Default::default()
    };
    PortState {
        operation_type: operation(bytes),
        configuration: Some(configuration),
    }
}

fn neighbor(bytes: &mut Bytes<'_>) -> NeighborState {
    let fixed_ip = |bytes: &mut Bytes<'_>| neighbor_configuration::FixedIp {
        neighbor_type: bytes.choose(&[0, 1, 1, 7]),
        subnet_id: id(bytes),
        ip_address: ip(bytes),
        ..Default::default()
    };
    let configuration = NeighborConfiguration {
        id: id(bytes),
        revision_number: (bytes.byte() % 4).into(),
        mac_address: mac(bytes),
        host_ip_address: bytes
            .choose(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.1", ""])
            .to_string(),
        host_mac_address: mac(bytes),
        fixed_ips: (0..bytes.byte() % 4).map(|_| fixed_ip(bytes)).collect(),
        ..Default::default()
    };
    NeighborState {
        operation_type: operation(bytes),
        configuration: Some(configuration),
    }
}

fn router(bytes: &mut Bytes<'_>) -> RouterState {
    let rule = |bytes: &mut Bytes<'_>| router_configuration::RoutingRule {
        operation_type: operation(bytes),
        id: id(bytes),
        destination: cidr(bytes),
        next_hop_ip: ip(bytes),
        priority: bytes.byte().into(),
        ..Default::default()
    };
    let table = |bytes: &mut Bytes<'_>| router_configuration::SubnetRoutingTable {
        subnet_id: id(bytes),
        routing_rules: (0..bytes.byte() % 4).map(|_| rule(bytes)).collect(),
    };
    let configuration = RouterConfiguration {
        id: id(bytes),
        update_type: bytes.choose(&[0, 1, 2]),
        host_dvr_mac_address: mac(bytes),
        subnet_routing_tables: (0..bytes.byte() % 4).map(|_| table(bytes)).collect(),
        ..Default::default()
    };
    RouterState {
        operation_type: operation(bytes),
        configuration: Some(configuration),
    }
}

fn security_group(bytes: &mut Bytes<'_>) -> SecurityGroupState {
    let rule = |bytes: &mut Bytes<'_>| security_group_configuration::SecurityGroupRule {
        operation_type: operation(bytes),
        id: id(bytes),
        direction: bytes.choose(&[0, 1, 2]),
        ethertype: bytes.choose(&[0, 1, 2]),
        protocol: bytes.choose(&[0, 1, 2, 9]),
        port_range_min: bytes.choose(&[0, 80, 1 << 16]),
        port_range_max: bytes.choose(&[0, 80, 81]),
        remote_ip_prefix: cidr(bytes),
        remote_group_id: id(bytes),
        ..Default::default()
    };
    let configuration = SecurityGroupConfiguration {
        id: id(bytes),
        revision_number: (bytes.byte() % 4).into(),
        update_type: bytes.choose(&[0, 1, 2]),
        vpc_id: id(bytes),
        security_group_rules: (0..bytes.byte() % 4).map(|_| rule(bytes)).collect(),
        ..Default::default()
    };
    SecurityGroupState {
        operation_type: operation(bytes),
        configuration: Some(configuration),
    }
}

fn dhcp(bytes: &mut Bytes<'_>) -> DhcpState {
    let configuration = DhcpConfiguration {
        id: id(bytes),
        revision_number: (bytes.byte() % 4).into(),
        subnet_id: id(bytes),
        mac_address: mac(bytes),
        ipv4_address: ip(bytes),
        ..Default::default()
    };
    DhcpState {
        operation_type: operation(bytes),
        configuration: Some(configuration),
    }
}

fn gateway(bytes: &mut Bytes<'_>) -> GatewayState {
    let destination = |bytes: &mut Bytes<'_>| gateway_configuration::Destination {
        ip_address: ip(bytes),
        mac_address: mac(bytes),
    };
    let configuration = GatewayConfiguration {
        id: id(bytes),
        revision_number: (bytes.byte() % 4).into(),
        gateway_type: bytes.choose(&[0, 1, 2, 3, 4, 5, 6]),
        destinations: (0..bytes.byte() % 4).map(|_| destination(bytes)).collect(),
        ..Default::default()
    };
    GatewayState {
        operation_type: operation(bytes),
        configuration: Some(configuration),
    }
}
