// SPDX-License-Identifier: MIT
//! Datasets as others read them: from their files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{DatasetError, Form, Request, Scale, Shape, Totals, write};
use crate::proto::schema::*;

fn request(shape: Shape, form: Form) -> Request {
    Request {
        scale: Scale {
            seed: 42,
            vpcs: 8,
            ports: 300,
            hosts: 6,
            subnets: 3,
            underlay: "192.0.2.0/24".parse().unwrap(),
        },
        shape,
        form,
        host: None,
        per_message: 64,
        dhcp: true,
        security_groups: true,
    }
}

fn dpm() -> Request {
    request(Shape::Dpm, Form::V2)
}

/// A dataset that was read back.
struct Read {
    totals: Totals,
    manifest: String,
    /// Address of each host, and its messages' bytes.
    hosts: Vec<(String, Vec<Vec<u8>>)>,
}

fn read(request: &Request) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let totals = write(request, folder.path()).unwrap();
    let manifest = std::fs::read_to_string(folder.path().join("manifest.json")).unwrap();
    let parsed: Value = serde_json::from_str(&manifest).unwrap();
    let message = |row: &Value| {
        let bytes = std::fs::read(folder.path().join(row["file"].as_str().unwrap())).unwrap();
        assert_eq!(row["bytes"], bytes.len());
        assert_eq!(
            row["sha256"].as_str().unwrap(),
            super::files::hex(&Sha256::digest(&bytes))
        );
        bytes
    };
    let host = |row: &Value| {
        let messages = row["files"].as_array().unwrap().iter().map(message);
        (
            row["address"].as_str().unwrap().to_owned(),
            messages.collect(),
        )
    };
    let hosts = parsed["hosts"].as_array().unwrap().iter().map(host);
    Read {
        totals,
        hosts: hosts.collect(),
        manifest,
    }
}

impl Read {
    fn v2(&self) -> Vec<(&str, Vec<GoalStateV2>)> {
        let decode = |bytes: &Vec<u8>| GoalStateV2::decode(bytes.as_slice()).unwrap();
        self.hosts
            .iter()
            .map(|(address, messages)| (address.as_str(), messages.iter().map(decode).collect()))
            .collect()
    }
}

/// Keys and configurations of entries.
macro_rules! entries {
    ($states:expr) => {
        $states.iter().map(|entry| {
            let state = entry.value.as_ref().unwrap();
            (&entry.key, state, state.configuration.as_ref().unwrap())
        })
    };
}

/// If this fails, the same arguments give other bytes than before: the manifest's format needs another number.
#[test]
fn the_same_arguments_give_the_same_bytes_for_ever() {
    let digest = |request| super::files::hex(&Sha256::digest(read(&request).manifest));
    assert_eq!(
        digest(dpm()),
        "0e0578bce73587251da702c01f1707db423d0da1861b80ade6e37dd4270bac8f"
    );
    let other = request(Shape::TestController, Form::V1);
    assert_eq!(
        digest(other),
        "6bd191a7b1bd93d04e3c4a9b43258bb387640d2c1c5dc30b1b245ef645d595f9"
    );
}

#[test]
fn another_seed_gives_another_set() {
    let mut other = dpm();
    other.scale.seed += 1;
    assert_ne!(read(&dpm()).hosts, read(&other).hosts);
}

#[test]
fn one_host_gets_what_it_gets_among_all() {
    let mut alone = dpm();
    alone.host = Some(4);
    assert_eq!(read(&alone).hosts[..], read(&dpm()).hosts[4..5]);
}

#[test]
fn there_are_as_many_of_everything_as_asked() {
    let read = read(&dpm());
    let (mut vpcs, mut ports, mut neighbors, mut messages) = (HashSet::new(), HashSet::new(), 0, 0);
    for (_, goals) in read.v2() {
        messages += goals.len();
        let mut here = 0;
        for goal in goals {
            vpcs.extend(entries!(goal.vpc_states).map(|(_, _, vpc)| vpc.id.clone()));
            ports.extend(entries!(goal.port_states).map(|(_, _, port)| port.id.clone()));
            here += goal.port_states.len();
            neighbors += goal.neighbor_states.len();
            let counted = goal.port_states.len() + goal.dhcp_states.len();
            // A port and its DHCP state stay together.
            assert!((1..=65).contains(&(counted + goal.neighbor_states.len())));
        }
        assert_eq!(here, 300 / 6);
    }
    assert_eq!((vpcs.len(), ports.len()), (8, 300));
    let found = read.totals.resources;
    assert_eq!(
        (found.ports, found.dhcps, found.neighbors),
        (300, 300, neighbors)
    );
    assert_eq!(read.totals.messages, messages as u64);
    let bytes: usize = read.hosts.iter().flat_map(|(_, m)| m).map(Vec::len).sum();
    assert_eq!(read.totals.bytes, bytes as u64);
}

#[test]
fn few_vpcs_are_large_and_many_are_small() {
    let mut large = dpm();
    (large.scale.vpcs, large.scale.ports) = (100, 10_000);
    let network = super::network::Network::new(large.scale);
    let sizes: Vec<usize> = (0..100).map(|vpc| network.vpc(vpc).ports.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 10_000);
    // Zipf's shares of the 9,900 ports beside each VPC's first: a fifth, a tenth; less than a hundredth from rank 20 on.
    assert!((1800..2000).contains(&sizes[0]), "{sizes:?}");
    assert!((850..1100).contains(&sizes[1]), "{sizes:?}");
    assert!(sizes[25..].iter().all(|size| (1..130).contains(size)));
}

#[test]
fn addresses_are_unique_in_their_vpc_and_inside_their_subnet() {
    for shape in [Shape::Dpm, Shape::TestController] {
        let read = read(&request(shape, Form::V2));
        let mut addresses = HashSet::new();
        let mut macs = HashSet::new();
        for goal in read.v2().into_iter().flat_map(|(_, goals)| goals) {
            let subnets: HashMap<_, _> = entries!(goal.subnet_states)
                .map(|(_, _, subnet)| (subnet.id.clone(), subnet.clone()))
                .collect();
            for (_, _, port) in entries!(goal.port_states) {
                let [fixed] = &port.fixed_ips[..] else {
                    panic!("one address")
                };
                let subnet = &subnets[&fixed.subnet_id];
                assert_eq!(subnet.vpc_id, port.vpc_id);
                let cidr: Ipv4Net = subnet.cidr.parse().unwrap();
                let ip: Ipv4Addr = fixed.ip_address.parse().unwrap();
                assert!(cidr.hosts().any(|host| host == ip), "{ip} in {cidr}");
                let gateway = &subnet.gateway.as_ref().unwrap();
                assert_ne!(gateway.ip_address, fixed.ip_address);
                assert_ne!(gateway.mac_address, port.mac_address);
                assert!(addresses.insert((port.vpc_id.clone(), ip)));
                assert!(macs.insert(port.mac_address.clone()));
            }
        }
        assert_eq!((addresses.len(), macs.len()), (300, 300));
    }
}

#[test]
fn a_message_has_all_that_it_refers_to() {
    for goal in read(&dpm()).v2().into_iter().flat_map(|(_, goals)| goals) {
        let vpcs: HashSet<_> = entries!(goal.vpc_states).map(|(key, ..)| key).collect();
        let subnets: HashSet<_> = entries!(goal.subnet_states).map(|(key, ..)| key).collect();
        let groups: HashSet<_> = entries!(goal.security_group_states)
            .map(|(key, ..)| key)
            .collect();
        let routed: HashSet<_> = entries!(goal.router_states)
            .flat_map(|(_, _, router)| &router.subnet_routing_tables)
            .map(|table| &table.subnet_id)
            .collect();
        assert_eq!(subnets, routed);
        for (_, _, subnet) in entries!(goal.subnet_states) {
            assert!(vpcs.contains(&subnet.vpc_id));
        }
        for (_, _, port) in entries!(goal.port_states) {
            assert!(subnets.contains(&port.fixed_ips[0].subnet_id));
            assert!(groups.contains(&port.security_group_ids[0].id));
        }
        for (_, _, neighbor) in entries!(goal.neighbor_states) {
            assert!(vpcs.contains(&neighbor.vpc_id));
            assert!(subnets.contains(&neighbor.fixed_ips[0].subnet_id));
        }
        for (_, _, dhcp) in entries!(goal.dhcp_states) {
            assert!(subnets.contains(&dhcp.subnet_id));
        }
    }
}

#[test]
fn a_host_gets_every_neighbor_of_its_ports_and_no_other() {
    for shape in [Shape::Dpm, Shape::TestController] {
        let read = read(&request(shape, Form::V2));
        let hosts = read.v2();
        // Host, VPC, subnet and id of each port.
        let mut ports = Vec::new();
        for (host, goals) in &hosts {
            for (_, _, port) in goals.iter().flat_map(|goal| entries!(goal.port_states)) {
                let subnet = port.fixed_ips[0].subnet_id.clone();
                ports.push((*host, port.vpc_id.clone(), subnet, port.id.clone()));
            }
        }
        for (host, goals) in &hosts {
            let mut expected = BTreeSet::new();
            for (_, vpc, subnet, id) in ports.iter().filter(|(at, ..)| at == host) {
                for (at, _, other, neighbor) in ports.iter().filter(|(_, of, ..)| of == vpc) {
                    match shape {
                        Shape::Dpm if neighbor == id => false,
                        Shape::Dpm if other == subnet => expected.insert(format!("L2/{neighbor}")),
                        Shape::Dpm => expected.insert(format!("L3/{neighbor}")),
                        Shape::TestController if at == host => false,
                        Shape::TestController => expected.insert(format!("{neighbor}_n")),
                    };
                }
            }
            let entries = goals.iter().flat_map(|goal| &goal.neighbor_states);
            let keys: Vec<String> = entries.map(|entry| entry.key.clone()).collect();
            let distinct: BTreeSet<String> = keys.iter().cloned().collect();
            assert_eq!((distinct, keys.len()), (expected.clone(), expected.len()));
        }
    }
}

#[test]
fn dpm_has_its_habits() {
    let read = read(&dpm());
    for (address, goals) in read.v2() {
        for goal in goals {
            assert_eq!(goal.format_version, 102);
            assert_eq!(goal.host_resources.len(), 1);
            assert_eq!(goal.host_resources[0].key, address);
            for (key, state, vpc) in entries!(goal.vpc_states) {
                assert_eq!(state.operation_type(), OperationType::Info);
                assert_eq!((vpc.revision_number, vpc.tunnel_id, &vpc.id), (1, 0, key));
            }
            let mut vnis = HashMap::new();
            for (_, state, subnet) in entries!(goal.subnet_states) {
                assert_eq!(state.operation_type(), OperationType::Info);
                assert!((1..1 << 24).contains(&subnet.tunnel_id));
                let vni = vnis.entry(&subnet.vpc_id).or_insert(subnet.tunnel_id);
                assert_eq!(*vni, subnet.tunnel_id, "shared by the VPC's subnets");
            }
            assert_eq!(vnis.values().collect::<HashSet<_>>().len(), vnis.len());
            for (_, state, router) in entries!(goal.router_states) {
                assert_eq!((state.operation_type, router.update_type), (0, 0));
                assert_eq!(router.host_dvr_mac_address, "fe:16:11:00:00:00");
            }
            for (_, state, port) in entries!(goal.port_states) {
                assert_eq!(state.operation_type(), OperationType::Create);
                assert_eq!(port.update_type(), UpdateType::Full);
                assert_eq!(port.host_info.as_ref().unwrap().ip_address, address);
                assert!(port.admin_state_up && port.mac_address.len() == 17);
            }
            for (key, state, neighbor) in entries!(goal.neighbor_states) {
                let fixed = &neighbor.fixed_ips[0];
                let kind = fixed.neighbor_type().as_str_name();
                assert_eq!(*key, format!("{kind}/{}", neighbor.id));
                assert_eq!(state.operation_type(), OperationType::Create);
                assert_eq!((neighbor.revision_number, neighbor.fixed_ips.len()), (1, 1));
                assert_eq!(fixed.tunnel_id, 0);
            }
        }
    }
}

#[test]
fn the_test_controller_has_its_habits() {
    let read = read(&request(Shape::TestController, Form::V2));
    let mut short_macs = 0;
    for goal in read.v2().into_iter().flat_map(|(_, goals)| goals) {
        assert!(goal.router_states.is_empty());
        let vnis: HashMap<_, _> = entries!(goal.vpc_states)
            .map(|(_, _, vpc)| (&vpc.id, u64::from(vpc.tunnel_id)))
            .collect();
        for (_, _, subnet) in entries!(goal.subnet_states) {
            assert_eq!(vnis[&subnet.vpc_id], subnet.tunnel_id);
            assert_eq!(subnet.gateway.as_ref().unwrap().ip_address, "0.0.0.0");
        }
        for (key, _, neighbor) in entries!(goal.neighbor_states) {
            assert!(neighbor.id.ends_with("_n") && *key == neighbor.id);
            assert_eq!(neighbor.revision_number, 2);
            assert_eq!(neighbor.fixed_ips[0].neighbor_type(), NeighborType::L2);
            short_macs += usize::from(neighbor.mac_address.len() < 17);
        }
    }
    assert!(short_macs > 0);
}

#[test]
fn both_forms_hold_the_same() {
    let (first, second) = (
        read(&request(Shape::Dpm, Form::V1)),
        read(&request(Shape::Dpm, Form::V2)),
    );
    assert_eq!(first.totals.resources, second.totals.resources);
    let lists = first.hosts.iter().flat_map(|(_, messages)| messages);
    let maps = second.v2().into_iter().flat_map(|(_, goals)| goals);
    for (list, map) in lists.zip(maps) {
        let list = GoalState::decode(list.as_slice()).unwrap();
        assert_eq!(list.format_version, 101);
        macro_rules! same {
            ($($states:ident),+) => {
                $(let values = map.$states.into_iter().map(|entry| entry.value.unwrap());
                assert_eq!(list.$states, values.collect::<Vec<_>>());)+
            };
        }
        same!(vpc_states, subnet_states, router_states, port_states);
        same!(neighbor_states, dhcp_states, security_group_states);
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let error = |change: fn(&mut Request), folder: &Path| {
        let mut request = dpm();
        change(&mut request);
        write(&request, folder).unwrap_err()
    };
    let folder = tempfile::tempdir().unwrap();
    let said = |change| error(change, folder.path()).to_string();
    assert_eq!(
        said(|request| request.scale.ports = 7),
        "7 ports are too few for 8 VPCs: each has one"
    );
    assert_eq!(
        said(|request| request.host = Some(6)),
        "there is no host 6: they are 0 to 5"
    );
    assert_eq!(
        said(|request| request.scale.hosts = 255),
        "192.0.2.0/24 has room for 254 hosts, not for 255"
    );
    std::fs::write(folder.path().join("x"), "").unwrap();
    let refused = error(|_| (), folder.path());
    assert!(matches!(refused, DatasetError::NotEmpty(_)), "{refused}");
    let refused = error(|_| (), &folder.path().join("x"));
    assert!(matches!(refused, DatasetError::Write { .. }), "{refused}");
}
