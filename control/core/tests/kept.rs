// SPDX-License-Identifier: MIT
//! Security groups, DHCP and gateways that nobody uses: kept and shown, and what they are answered.

use super::goal::*;
use super::world::World;
use crate::core::Show;
use crate::proto::schema::OperationStatus::{InvalidArg, OutOfOrder, Pending, Success};
use crate::proto::schema::gateway_configuration::{Arion, ExtraInfo};
use crate::proto::schema::*;

const MAC: &str = "02:00:00:00:00:0a";

fn change_group(state: State, change: impl Fn(&mut SecurityGroupConfiguration)) -> State {
    let State::SecurityGroup(mut state) = state else {
        unreachable!()
    };
    change(state.configuration.as_mut().unwrap());
    State::SecurityGroup(state)
}

fn change_gateway(state: State, change: impl Fn(&mut GatewayConfiguration)) -> State {
    let State::Gateway(mut state) = state else {
        unreachable!()
    };
    change(state.configuration.as_mut().unwrap());
    State::Gateway(state)
}

fn change_dhcp(state: State, change: impl Fn(&mut DhcpConfiguration)) -> State {
    let State::Dhcp(mut state) = state else {
        unreachable!()
    };
    change(state.configuration.as_mut().unwrap());
    State::Dhcp(state)
}

/// Ports of the rules of "group", in the order of their keys.
fn ports(world: &World) -> Vec<u32> {
    let groups = world.core.wanted.security_group_configurations();
    let rules = groups.flat_map(|group| group.security_group_rules);
    rules.map(|rule| rule.port_range_min).collect()
}

#[test]
fn they_are_pending_and_shown_until_they_are_deleted() {
    let mut world = World::new();
    let all = [
        security_group("group", UpdateType::Full, &[("ssh", 22)]),
        dhcp("uuid", "blue", MAC, "10.7.1.10"),
        gateway("zeta", GatewayType::Zeta),
    ];
    let before = world.publications();
    for _ in 0..2 {
        assert_eq!(world.put(all.clone()), [Pending; 3]);
        assert_eq!(world.show(Show::SecurityGroups)[0]["egress_rules"], 1);
        assert_eq!(world.show(Show::Dhcp)[0]["mac"], MAC);
        assert_eq!(world.show(Show::Gateways)[0]["type"], "ZETA");
        assert_eq!(world.show(Show::Pending).len(), 3);
        let get = all.clone().map(|state| state.with(OperationType::Get));
        assert_eq!(world.put(get), [Pending; 3], "as they stand");
    }
    assert_eq!(world.publications(), before, "no worker is concerned");
    assert_eq!(
        world.reasons(),
        [
            "no port of the switch is bound to one with the MAC 02:00:00:00:00:0a in subnet \"blue\" yet",
            "no VPC names it yet",
            "kept; this version of the switch does not enforce security groups yet",
        ]
    );
    for _ in 0..2 {
        world.succeed(all.clone().map(deleted));
        assert_eq!(world.show(Show::Pending).len(), 0);
    }
    world.succeed(all.map(|state| state.with(OperationType::Get)));
}

#[test]
fn a_delta_of_a_security_group_merges_by_rule_and_a_full_one_replaces() {
    let mut world = World::new();
    let mut put = |update, rules: &[(&str, u32)]| {
        assert_eq!(
            world.put([security_group("group", update, rules)]),
            [Pending]
        );
        ports(&world)
    };
    use UpdateType::{Delta, Full};
    assert_eq!(put(Delta, &[("a", 22), ("b", 80)]), [22, 80]);
    assert_eq!(put(Delta, &[("a", 23)]), [23, 80]);
    assert_eq!(put(Delta, &[("a", 0), ("c", 443)]), [80, 443]);
    // Rules without an id are what they say.
    assert_eq!(put(Delta, &[("", 1), ("", 2), ("", 1)]), [80, 443, 1, 2]);
    assert_eq!(put(Full, &[("d", 8080)]), [8080]);
    assert_eq!(put(Full, &[]), [0; 0]);
}

#[test]
fn a_delta_that_leaves_out_the_name_does_not_take_it_back() {
    let mut world = World::new();
    let group = security_group("group", UpdateType::Full, &[]);
    world.put([change_group(group.clone(), |group| {
        group.name = "web".into()
    })]);
    world.put([security_group("group", UpdateType::Delta, &[("a", 22)])]);
    assert_eq!(world.show(Show::SecurityGroups)[0]["name"], "web");
    world.put([group]);
    assert_eq!(world.show(Show::SecurityGroups)[0]["name"], "");
}

#[test]
fn a_security_group_does_not_grow_without_end() {
    use crate::state::kept::MAX_SECURITY_RULES;
    let mut world = World::new();
    let half = |from: u32| {
        let rules = from..from + MAX_SECURITY_RULES as u32 / 2;
        let ids: Vec<_> = rules.map(|n| (n.to_string(), 22)).collect();
        let rules: Vec<_> = ids.iter().map(|(id, port)| (id.as_str(), *port)).collect();
        security_group("group", UpdateType::Delta, &rules)
    };
    assert_eq!(world.put([half(0), half(5000)]), [Pending; 2]);
    assert_eq!(world.put([half(9000)]), [OperationStatus::Failure]);
    assert_eq!(ports(&world).len(), MAX_SECURITY_RULES);
}

#[test]
fn dhcp_is_for_a_mac_in_a_subnet_whatever_its_id_of_today() {
    let mut world = World::new();
    let first = dhcp("uuid-1", "blue", MAC, "10.7.1.10");
    let again = dhcp("uuid-2", "blue", "02-00-00-00-00-0A", "10.7.1.11");
    let other = dhcp("uuid-3", "red", MAC, "10.7.2.10");
    assert_eq!(world.put([first.clone(), again, other]), [Pending; 3]);
    let ids = |world: &mut World| {
        let rows = world.show(Show::Dhcp).into_iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut world), ["uuid-2", "uuid-3"]);
    // Deleted by an id that was never heard of, and by nothing but the id.
    world.succeed([deleted(dhcp("uuid-9", "blue", MAC, ""))]);
    assert_eq!(ids(&mut world), ["uuid-3"]);
    world.succeed([deleted(dhcp("uuid-3", "", "", ""))]);
    world.succeed([deleted(dhcp("uuid-3", "", "", ""))]);
    assert_eq!(ids(&mut world), [""; 0]);
    // An id that serves another port now serves the former no longer.
    world.put([first]);
    world.put([dhcp("uuid-1", "blue", "02:00:00:00:00:0b", "10.7.1.12")]);
    assert_eq!(world.show(Show::Dhcp).len(), 1);
    assert_eq!(world.show(Show::Dhcp)[0]["mac"], "02:00:00:00:00:0b");
}

#[test]
fn a_gateway_that_nobody_can_reach_is_invalid_and_kept() {
    let mut world = World::new();
    let arion = |vni| {
        change_gateway(gateway("arion", GatewayType::Arion), |gateway| {
            gateway.extra_info = Some(ExtraInfo::ArionInfo(Arion {
                vni,
                ..Default::default()
            }));
        })
    };
    for (kind, status) in [
        (GatewayType::Default, InvalidArg),
        (GatewayType::Zeta, Pending),
        (GatewayType::Tgw, InvalidArg),
        (GatewayType::Igw, InvalidArg),
        (GatewayType::Ngw, InvalidArg),
        (GatewayType::Arion, InvalidArg),
    ] {
        let state = gateway(kind.as_str_name(), kind);
        assert_eq!(world.put([state.clone()]), [status], "{kind:?}");
        assert_eq!(
            world.put([state.with(OperationType::Get)]),
            [status],
            "{kind:?}"
        );
    }
    assert_eq!(world.put([arion(7)]), [InvalidArg]);
    assert_eq!(world.put([arion(0)]), [InvalidArg], "and not kept");
    assert_eq!(world.show(Show::Gateways).len(), 7);
    let reasons = world.reasons();
    for reason in [
        "kept, but a goal state does not say how a gateway of type TGW is reached",
        "kept, but Arion's gateways have a protocol of their own that this switch does not speak",
        "kept, but without arion_info nobody knows which VNI and subnet the gateway serves",
    ] {
        assert!(reasons.contains(&reason.to_owned()), "{reasons:?}");
    }
}

#[test]
fn who_uses_a_gateway_or_a_security_group_is_shown() {
    let mut world = World::new();
    let mut blue = vpc("vpc", 7);
    if let State::Vpc(state) = &mut blue {
        state.configuration.as_mut().unwrap().gateway_ids = vec!["zeta".into()];
    }
    let mut guest = port("port-a", MAC, &[("blue", "10.7.1.10")]);
    if let State::Port(state) = &mut guest {
        let groups = &mut state.configuration.as_mut().unwrap().security_group_ids;
        groups.push(port_configuration::SecurityGroupId { id: "group".into() });
    }
    world.put([
        blue,
        guest,
        gateway("zeta", GatewayType::Zeta),
        security_group("group", UpdateType::Full, &[]),
    ]);
    assert_eq!(world.show(Show::Gateways)[0]["vpcs"], "vpc");
    assert_eq!(world.show(Show::SecurityGroups)[0]["ports"], 1);
}

#[test]
fn what_is_malformed_is_invalid_and_not_kept() {
    let mut world = World::new();
    let rule = |change: fn(&mut security_group_configuration::SecurityGroupRule)| {
        let group = security_group("group", UpdateType::Full, &[("a", 22)]);
        change_group(group, |group| change(&mut group.security_group_rules[0]))
    };
    let client = || dhcp("uuid", "blue", MAC, "10.7.1.10");
    let zeta = || gateway("zeta", GatewayType::Zeta);
    let wrong = [
        security_group("", UpdateType::Full, &[]),
        change_group(security_group("group", UpdateType::Full, &[]), |group| {
            group.update_type = 2
        }),
        rule(|rule| rule.operation_type = 9),
        rule(|rule| rule.direction = 2),
        rule(|rule| rule.ethertype = 2),
        rule(|rule| rule.protocol = 5),
        rule(|rule| rule.port_range_max = 65_536),
        rule(|rule| rule.port_range_min = 23),
        rule(|rule| rule.remote_ip_prefix = "10.0.0.0/33".into()),
        rule(|rule| rule.remote_ip_prefix = "fd00::/64".into()),
        rule(|rule| (rule.protocol, rule.port_range_max) = (Protocol::Icmp as i32, 256)),
        rule(|rule| rule.id = "x".repeat(256)),
        dhcp("", "blue", MAC, "10.7.1.10"),
        dhcp("uuid", "", MAC, "10.7.1.10"),
        dhcp("uuid", "blue", "02:00", "10.7.1.10"),
        dhcp("uuid", "blue", MAC, ""),
        dhcp("uuid", "blue", MAC, "0.0.0.0"),
        change_dhcp(client(), |dhcp| dhcp.ipv6_address = "10.7.1.10".into()),
        change_dhcp(client(), |dhcp| dhcp.port_host_name = "x".repeat(256)),
        deleted(dhcp("uuid", "blue", "02:00", "")),
        change_gateway(zeta(), |gateway| gateway.gateway_type = 6),
        change_gateway(zeta(), |gateway| gateway.destinations[0].ip_address.clear()),
        change_gateway(zeta(), |gateway| {
            gateway.destinations[0].mac_address.clear()
        }),
        change_gateway(zeta(), |gateway| {
            gateway.destinations = vec![gateway.destinations[0].clone(); 1025]
        }),
        change_gateway(zeta(), |gateway| {
            gateway.request_id = "x".repeat(300_000);
        }),
    ];
    for state in wrong {
        assert_eq!(world.put([state.clone()]), [InvalidArg], "{state:?}");
    }
    assert_eq!(world.show(Show::Pending).len(), 0);
    // For ICMP the range is type and code; an address is a prefix, too; IPv6 alone will do.
    let right = [
        rule(|rule| {
            (rule.protocol, rule.port_range_min, rule.port_range_max) =
                (Protocol::Icmp as i32, 8, 0);
        }),
        rule(|rule| rule.remote_ip_prefix = "10.1.2.3".into()),
        change_dhcp(client(), |dhcp| {
            dhcp.ipv4_address.clear();
            dhcp.ipv6_address = "fd00::10".into();
        }),
    ];
    assert_eq!(world.put(right), [Pending; 3]);
}

#[test]
fn their_revisions_count_as_everybody_s() {
    let mut world = World::new();
    let all = || {
        [
            security_group("group", UpdateType::Full, &[("ssh", 22)]),
            dhcp("uuid", "blue", MAC, "10.7.1.10"),
            gateway("zeta", GatewayType::Zeta),
        ]
    };
    assert_eq!(world.put(all().map(|state| state.at(5))), [Pending; 3]);
    assert_eq!(world.put(all().map(|state| state.at(4))), [OutOfOrder; 3]);
    assert_eq!(
        world.put(all().map(|state| deleted(state.at(4)))),
        [OutOfOrder; 3]
    );
    // A new id does not make it another client.
    let again = dhcp("uuid-2", "blue", MAC, "10.7.1.11");
    assert_eq!(world.put([again.at(4)]), [OutOfOrder]);
    assert_eq!(world.put(all().map(|state| state.at(0))), [Pending; 3]);
    assert_eq!(
        world.put(all().map(|state| deleted(state.at(5)))),
        [Success; 3]
    );
}
