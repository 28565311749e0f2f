// SPDX-License-Identifier: MIT
//! What decoding takes: no more memory than it says, whatever the bytes are.

use allocation_counter::measure;
use proptest::prelude::*;

use super::*;
use crate::proto::schema::neighbor_configuration::{AllowAddressPair, FixedIp};
use crate::proto::schema::{NeighborConfiguration, NeighborState};
use crate::southbound::field::MAX_ID;

/// What [`received`] says of its memory.
fn bound(len: usize, neighbors_only: bool) -> u64 {
    let times = if neighbors_only { 32 } else { 128 };
    (4 << 20) + times * len as u64
}

/// Decodes; most memory that was taken at a time, in bytes.
fn taken(goal: &Encoded) -> (Result<Vec<Resource>, Malformed>, u64) {
    let mut result = Ok(Vec::new());
    let counts = measure(|| result = received(goal));
    (result, counts.bytes_max)
}

fn v1(bytes: Vec<u8>) -> Encoded {
    let bytes = bytes.into();
    let form = Form::V1;
    Encoded { form, bytes }
}

/// So many fields of a number, each with these bytes.
fn fields(number: u8, bytes: &[u8], count: usize) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut field);
    field.extend(bytes);
    field.repeat(count)
}

const NEIGHBORS: u8 = 5;

#[test]
fn states_that_are_nearly_empty_are_refused_when_they_are_many() {
    for number in 2..=9 {
        let few = v1(fields(number, &[], FEW));
        assert_eq!(received(&few).unwrap().len(), FEW);
        let (result, memory) = taken(&v1(fields(number, &[], FEW + 1)));
        let error = result.unwrap_err().to_string();
        assert!(error.contains("4097 states in 8194 bytes"), "{error}");
        assert!(memory < bound(8194, true), "{memory}");
        let many = v1(fields(number, &[0; LEAST - 2], 100_000));
        let (result, memory) = taken(&many);
        assert_eq!(
            result.is_ok_and(|all| all.len() == 100_000),
            number == NEIGHBORS
        );
        assert!(
            memory < bound(many.bytes.len(), number == NEIGHBORS),
            "{number}: {memory}"
        );
    }
}

#[test]
fn the_worst_lists_take_no_more_than_is_said() {
    // The path of field numbers to a list of messages or texts.
    let lists: [&[u8]; 11] = [
        &[2, 2, 9],    // VPC: gateway ids
        &[3, 2, 12],   // subnet: extra DHCP options
        &[3, 2, 13],   // subnet: DNS entries
        &[4, 2, 12],   // port: fixed addresses
        &[4, 2, 13],   // port: allowed address pairs
        &[4, 2, 14],   // port: security groups
        &[6, 2, 7],    // security group: rules
        &[8, 2, 6],    // router: routing tables
        &[8, 2, 6, 2], // and their rules
        &[9, 2, 5],    // gateway: destinations
        &[5, 2, 10],   // neighbor: fixed addresses
    ];
    for path in lists {
        let (list, above) = path.split_last().unwrap();
        let elements = fields(*list, &[], 500_000);
        let message = above
            .iter()
            .rev()
            .fold(elements, |inner, number| fields(*number, &inner, 1));
        let goal = v1(message);
        let (result, memory) = taken(&goal);
        assert_eq!(result.unwrap().len(), 1, "{path:?}");
        let most = bound(goal.bytes.len(), path[0] == NEIGHBORS);
        assert!(memory < most, "{path:?}: {memory} of {most}");
    }
}

#[test]
fn what_the_addresses_of_a_neighbor_share_is_there_once() {
    let neighbors = |addresses, pairs| {
        let fixed_ip = FixedIp {
            subnet_id: "s".to_owned(),
            ip_address: "fd::1".to_owned(),
            ..FixedIp::default()
        };
        let pair = AllowAddressPair {
            ip_address: "fd::2".to_owned(),
            ..AllowAddressPair::default()
        };
        let configuration = NeighborConfiguration {
            name: "n".repeat(MAX_ID),
            mac_address: "2:0:0:0:0:1".to_owned(),
            host_ip_address: "fd::3".to_owned(),
            fixed_ips: vec![fixed_ip; addresses],
            allow_address_pairs: vec![pair; pairs],
            ..NeighborConfiguration::default()
        };
        let state = NeighborState {
            configuration: Some(configuration),
            ..NeighborState::default()
        };
        v1(fields(NEIGHBORS, &state.encode_to_vec(), 50))
    };
    for (addresses, pairs) in [(1, 1024), (32, 32), (1024, 1), (1024, 0)] {
        let goal = neighbors(addresses, pairs);
        let (result, memory) = taken(&goal);
        let all = result.unwrap();
        for each in &all {
            assert!(matches!(each.change, Ok(Some(_))), "{:?}", each.change);
        }
        let most = bound(goal.bytes.len(), true);
        assert!(memory < most, "{addresses}, {pairs}: {memory} of {most}");
    }
    let error = received(&neighbors(1024, 2)).unwrap().remove(0).change;
    let error = error.unwrap_err().to_string();
    assert!(
        error.ends_with("has 2 entries for each of 1024 addresses, at most 1024 in all are served"),
        "{error}"
    );
}

#[test]
fn more_than_64_mib_of_what_is_no_neighbor_are_refused_before_they_are_decoded() {
    let port = fields(4, &[0xff; 1 << 20], 65); // no valid message: it is not looked at
    let goal = v1(port);
    let (result, memory) = taken(&goal);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("no neighbors"), "{error}");
    assert!(memory < 3 * goal.bytes.len() as u64, "{memory}");
}

#[test]
fn what_was_accepted_in_pieces_is_read_again_as_a_whole() {
    let name = [b'x'; 1 << 20];
    let port = fields(2, &fields(6, &name, 1), 1);
    let goal = v1(fields(4, &port, 65));
    assert!(received(&goal).is_err());
    assert_eq!(resources(&goal).unwrap().len(), 65);
}

#[test]
fn what_relays_need_costs_nothing() {
    let host = fields(2, &fields(1, &[b'x'; 40], 100_000), 1);
    for host_resources in [fields(2, &host, 1), fields(2, &[0xff; 1000], 1)] {
        let bytes = [host_resources, fields(7, &[], 1)].concat().into();
        let form = Form::V2;
        let (result, memory) = taken(&Encoded { form, bytes });
        assert_eq!(result.unwrap().len(), 1);
        assert!(memory < 1 << 10, "{memory}");
    }
}

proptest! {
    #[test]
    fn any_bytes_take_no_more_than_is_said(
        bytes in prop::collection::vec(prop_oneof![3 => 0..0x80u8, 1 => any::<u8>()], 0..2048),
        number in 2..10u8, times in 1..2000usize, v1 in any::<bool>(),
    ) {
        let form = if v1 { Form::V1 } else { Form::V2 };
        let bytes = fields(number, &bytes, times.min(1 + (1 << 20) / (1 + bytes.len())));
        let goal = Encoded { form, bytes: bytes.into() };
        let (_, memory) = taken(&goal);
        prop_assert!(memory < bound(goal.bytes.len(), false), "{}", memory);
    }
}
