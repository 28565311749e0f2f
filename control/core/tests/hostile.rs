// SPDX-License-Identifier: MIT
//! Nothing from outside panics, hangs, or leaves tables that disagree with the wanted state.

use proptest::prelude::*;
use prost::Message;

use super::export::exported;
use super::goal::*;
use super::world::{PORT_A, PORT_B, World};
use crate::core::{Goal, Show};
use crate::proto::schema::*;

/// Few values, so that resources meet; wrong ones among them.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(vec!["a", "b", "c", "port-a", "port-b"]).prop_map(str::to_owned), 1 => ".{0,3}"]
}

fn ip() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => (1..4u8).prop_map(|n| format!("10.7.1.{n}")),
        3 => (1..4u8).prop_map(|n| format!("2001:db8::{n}")),
        1 => prop::sample::select(vec![
            "", "0.0.0.0", "10.0.0", "255.255.255.255", "::1", "::", "fe80::1", "ff02::1", "::ffff:10.7.1.1", "2001:DB8:0::1",
        ]).prop_map(str::to_owned),
    ]
}

fn mac() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (1..4u8).prop_map(|n| format!("02-00-00-00-00-0{n}")),
        1 => prop::sample::select(vec!["", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "fe:16:11:00:00:00", "x"]).prop_map(str::to_owned),
    ]
}

fn cidr() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "10.7.1.0/24",
        "10.7.1.0/30",
        "0.0.0.0/0",
        "10.7.1.2/32",
        "10.7.1.2",
        "",
        "/",
        "10.7.1.0/33",
        "2001:db8::/64",
        "2001:db8::/127",
        "::/0",
        "2001:db8::2",
        "2001:db8::/129",
        "::ffff:10.7.1.0/120",
    ])
    .prop_map(str::to_owned)
}

fn tunnel() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1..3u64, 1 => prop::sample::select(vec![0, i64::MAX as u64, u64::MAX, 1 << 24, 1 << 32 | 1])]
}

fn operation() -> impl Strategy<Value = i32> {
    prop_oneof![9 => 0..5i32, 1 => any::<i32>()]
}

prop_compose! {
    fn vpc_state()(operation_type in operation(), id in id(), tunnel_id in 0..3u32, revision_number in 0..3u32) -> VpcState {
        let configuration = Some(VpcConfiguration { id, tunnel_id, revision_number, ..Default::default() });
        VpcState { operation_type, configuration }
    }
}

prop_compose! {
    fn subnet_state()(
        operation_type in operation(), id in id(), vpc_id in id(), cidr in cidr(), tunnel_id in tunnel(), mac_address in mac(),
        ip_address in prop_oneof![2 => Just(String::new()), 1 => ip()],
    ) -> SubnetState {
        let gateway = Some(subnet_configuration::Gateway { ip_address, mac_address });
        let configuration = Some(SubnetConfiguration { id, vpc_id, cidr, tunnel_id, gateway, ..Default::default() });
        SubnetState { operation_type, configuration }
    }
}

prop_compose! {
    fn port_state()(
        operation_type in operation(), id in id(), mac_address in mac(), admin_state_up in any::<bool>(),
        fixed_ips in prop::collection::vec((id(), ip()), 0..4),
    ) -> PortState {
        let fixed_ips = fixed_ips.into_iter().map(|(subnet_id, ip_address)| port_configuration::FixedIp { subnet_id, ip_address });
        let fixed_ips = fixed_ips.collect();
        let configuration = Some(PortConfiguration { id, mac_address, admin_state_up, fixed_ips, ..Default::default() });
        PortState { operation_type, configuration }
    }
}

prop_compose! {
    fn neighbor_state()(
        operation_type in operation(), id in id(), mac_address in mac(), host in 1..4u8, revision_number in 0..3u32,
        fixed_ips in prop::collection::vec((0..3i32, id(), ip()), 0..4),
    ) -> NeighborState {
        let fixed_ips = fixed_ips.into_iter().map(|(neighbor_type, subnet_id, ip_address)| {
            neighbor_configuration::FixedIp { neighbor_type, subnet_id, ip_address, ..Default::default() }
        });
        let configuration = Some(NeighborConfiguration {
            id, mac_address, revision_number, fixed_ips: fixed_ips.collect(),
            host_ip_address: format!("192.0.2.{host}"),
            host_mac_address: if host == 3 { String::new() } else { "02:aa:00:00:00:01".into() },
            ..Default::default()
        });
        NeighborState { operation_type, configuration }
    }
}

prop_compose! {
    fn router_state()(
        operation_type in operation(), id in id(), update_type in 0..3i32, host_dvr_mac_address in mac(),
        tables in prop::collection::vec((id(), prop::collection::vec((operation(), id(), cidr(), ip(), 0..3u32), 0..3)), 0..3),
    ) -> RouterState {
        let subnet_routing_tables = tables.into_iter().map(|(subnet_id, rules)| {
            let routing_rules = rules.into_iter().map(|(operation_type, id, destination, next_hop_ip, priority)| {
                router_configuration::RoutingRule { operation_type, id, destination, next_hop_ip, priority, ..Default::default() }
            });
            router_configuration::SubnetRoutingTable { subnet_id, routing_rules: routing_rules.collect() }
        }).collect();
        let configuration = Some(RouterConfiguration { id, update_type, host_dvr_mac_address, subnet_routing_tables, ..Default::default() });
        RouterState { operation_type, configuration }
    }
}

prop_compose! {
    fn group_state()(
        operation_type in operation(), id in id(), update_type in 0..3i32, revision_number in 0..3u32,
        rules in prop::collection::vec((operation(), id(), 0..6i32, 0..70_000u32, cidr()), 0..4),
    ) -> SecurityGroupState {
        let security_group_rules = rules.into_iter().map(|(operation_type, id, protocol, port, remote_ip_prefix)| {
            security_group_configuration::SecurityGroupRule {
                operation_type, id, protocol, port_range_max: port, remote_ip_prefix, ..Default::default()
            }
        }).collect();
        let configuration = Some(SecurityGroupConfiguration { id, update_type, revision_number, security_group_rules, ..Default::default() });
        SecurityGroupState { operation_type, configuration }
    }
}

prop_compose! {
    fn dhcp_state()(
        operation_type in operation(), id in id(), subnet_id in id(), mac_address in mac(), ipv4_address in ip(),
        revision_number in 0..3u32,
    ) -> DhcpState {
        let configuration = Some(DhcpConfiguration { id, subnet_id, mac_address, ipv4_address, revision_number, ..Default::default() });
        DhcpState { operation_type, configuration }
    }
}

prop_compose! {
    fn gateway_state()(
        operation_type in operation(), id in id(), gateway_type in 0..7i32, destinations in prop::collection::vec((ip(), mac()), 0..3),
    ) -> GatewayState {
        let destinations = destinations.into_iter().map(|(ip_address, mac_address)| {
            gateway_configuration::Destination { ip_address, mac_address }
        }).collect();
        let configuration = Some(GatewayConfiguration { id, gateway_type, destinations, ..Default::default() });
        GatewayState { operation_type, configuration }
    }
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        1 => vpc_state().prop_map(State::Vpc),
        2 => subnet_state().prop_map(State::Subnet),
        2 => port_state().prop_map(State::Port),
        3 => neighbor_state().prop_map(State::Neighbor),
        1 => router_state().prop_map(State::Router),
        1 => group_state().prop_map(State::SecurityGroup),
        1 => dhcp_state().prop_map(State::Dhcp),
        1 => gateway_state().prop_map(State::Gateway),
    ]
}

fn apply_all(messages: Vec<Vec<State>>) -> World {
    let mut world = World::unbound(8);
    for (n, message) in messages.into_iter().enumerate() {
        match n % 8 {
            1 => world.bind(PORT_A, "port-a"),
            2 => world.bind(PORT_B, "port-b"),
            7 => world.unbind(PORT_B),
            _ => {}
        }
        let count = message.len();
        let reply = world.apply(if n % 2 == 0 { v1(message) } else { v2(message) });
        assert_eq!(
            reply.operation_statuses.len(),
            count,
            "a status for every resource"
        );
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_goal_states_leave_consistent_tables(
        messages in prop::collection::vec(prop::collection::vec(state(), 0..12), 1..12),
    ) {
        let mut world = apply_all(messages);
        for what in [Show::Routes, Show::Memory] {
            prop_assert!(world.core.program.show(&world.core.wanted, what).is_array());
        }
        // And what is wanted can be said again.
        let (publications, wanted) = (world.publications(), world.wanted());
        let again = exported(&world.core.wanted);
        let refused = |status: &OperationStatus| *status == OperationStatus::OutOfOrder;
        prop_assert!(!world.put(again).iter().any(refused));
        prop_assert_eq!((world.publications(), world.wanted()), (publications, wanted));
    }

    #[test]
    fn arbitrary_bytes_that_decode_are_applied_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut world = World::new();
        if let Ok(goal) = GoalState::decode(bytes.as_slice()) {
            world.apply(Goal::V1(goal));
        }
        if let Ok(goal) = GoalStateV2::decode(bytes.as_slice()) {
            world.apply(Goal::V2(goal));
        }
    }

    #[test]
    fn damaged_goal_states_are_applied_without_panic(
        states in prop::collection::vec(state(), 1..8),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let Goal::V1(goal) = v1(states) else { return Ok(()) };
        let mut bytes = goal.encode_to_vec();
        prop_assume!(!bytes.is_empty());
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(goal) = GoalState::decode(bytes.as_slice()) {
            World::new().apply(Goal::V1(goal));
        }
    }
}

#[test]
fn many_claimants_of_one_address_take_no_quadratic_time() {
    let mut world = World::new();
    world.succeed([
        subnet("s", "v", "10.7.1.0/24", 7, 1),
        port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]),
    ]);
    let all = || {
        (0..20_000).map(|n| {
            neighbor(
                &format!("n{n}"),
                NeighborType::L2,
                "02:00:00:00:01:63",
                "s",
                "10.7.1.99",
                9,
            )
        })
    };
    let begun = std::time::Instant::now();
    world.succeed(all());
    world.succeed(all().map(deleted));
    assert_eq!(world.find("10.7.1.99"), None);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}
