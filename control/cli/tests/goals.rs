// SPDX-License-Identifier: MIT
//! Goal states from JSON.

use std::fs;
use std::path::Path;

use crate::cli::Rpc;
use crate::cli::goal::{GoalError, load_goal, parse_goal};
use crate::core::Goal;
use crate::proto::schema::goal_state_v2::NeighborStatesEntry;

pub(super) const V1: &str = r#"{
  "formatVersion": 101,
  "vpc_states": [{"operation_type": "CREATE", "configuration": {"id": "v", "cidr": "10.5.0.0/16", "tunnelId": 5}}],
  "subnet_states": [{"operation_type": "INFO", "configuration": {"id": "s", "vpc_id": "v", "tunnel_id": "9223372036854775807"}}]
}"#;

pub(super) const V2: &str = r#"{
  "format_version": 102,
  "host_resources": {"192.0.2.1": {"resources": [{"type": "NEIGHBOR", "id": "n"}]}},
  "neighbor_states": {"L3/n": {"configuration": {"id": "n", "mac_address": "02:00:00:00:00:01",
    "fixed_ips": [{"neighbor_type": "L3", "subnet_id": "s", "ip_address": "10.5.2.1"}]}}}
}"#;

fn parse(text: &str) -> Result<Goal, GoalError> {
    parse_goal(Path::new("g.json"), text, None)
}

#[test]
fn lists_are_v1_and_maps_are_v2() {
    let Ok(Goal::V1(goal)) = parse(V1) else {
        panic!()
    };
    assert_eq!((goal.format_version, goal.vpc_states.len()), (101, 1));
    let subnet = goal.subnet_states[0].configuration.as_ref().unwrap();
    assert_eq!(subnet.tunnel_id, i64::MAX as u64);
    let Ok(Goal::V2(goal)) = parse(V2) else {
        panic!()
    };
    let [NeighborStatesEntry { key, value }] = &goal.neighbor_states[..] else {
        panic!("one neighbor")
    };
    assert_eq!(key, "L3/n");
    let neighbor = value.as_ref().unwrap().configuration.as_ref().unwrap();
    assert_eq!(neighbor.fixed_ips[0].ip_address, "10.5.2.1");
    assert!(matches!(parse("{}"), Ok(Goal::V2(_))));
    assert!(matches!(
        parse_goal(Path::new("-"), "{}", Some(Rpc::V1)),
        Ok(Goal::V1(_))
    ));
}

#[test]
fn lists_and_maps_together_are_refused() {
    let error = parse(r#"{"vpc_states": [], "port_states": {}}"#)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "g.json: `vpc_states` is a list as in a GoalState, `port_states` a map as in a GoalStateV2: which one is it?"
    );
}

#[test]
fn an_error_names_line_column_and_path() {
    let text = V1.replace("\"tunnelId\": 5", "\"tunnelId\": \"five\"");
    let error = parse(&text).unwrap_err().to_string();
    assert!(
        error.starts_with("g.json:3:")
            && error.contains(": vpc_states[0].configuration.tunnelId: "),
        "{error}"
    );
    let error = parse(&V2.replace("mac_address", "mac_adress"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("g.json:4:")
            && error.contains("neighbor_states[\"L3/n\"].configuration.mac_adress"),
        "{error}"
    );
    assert!(
        error.contains("mac_adress'") && !error.contains(" at line "),
        "{error}"
    );
    let error = parse(&V1[..100]).unwrap_err().to_string();
    assert!(
        error.contains("vpc_states[0].configuration.id: EOF"),
        "{error}"
    );
    let error = parse(&V1.replace("\"INFO\"", "\"INFOS\""))
        .unwrap_err()
        .to_string();
    assert!(error.contains("subnet_states[0].operation_type"), "{error}");
    for text in ["", "[]", "{} {}", "nonsense", "\u{feff}{}"] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with("g.json:"), "{text}: {error}");
    }
}

#[test]
fn files_are_read_and_those_that_are_not_there_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("g.json");
    fs::write(&file, V2).unwrap();
    assert!(matches!(load_goal(&file), Ok(Goal::V2(_))));
    let error = load_goal(&folder.path().join("absent"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot read "), "{error}");
    fs::write(&file, b"{\"vpc_states\": \"\xff\"}").unwrap();
    assert!(load_goal(&file).unwrap_err().to_string().contains("UTF-8"));
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_goal_state_or_an_error(text in "[ -~\n]{0,80}", cut in 0usize..400, form in proptest::bool::ANY) {
        let form = if form { Rpc::V1 } else { Rpc::V2 };
        for text in [text.as_str(), &V1[..cut.min(V1.len())], &V2[..cut.min(V2.len())]] {
            if let Err(error) = parse_goal(Path::new("g"), text, Some(form)) {
                proptest::prop_assert!(error.to_string().starts_with("g:"));
            }
            let _ = parse(text);
        }
    }
}
