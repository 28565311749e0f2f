// SPDX-License-Identifier: MIT
//! `show goal-state`: all that the controller wants, with hashes. Printed as it comes: a switch has a million neighbors.

use prost::Message;
use serde_json::{Value, json};

use super::client::{ClientError, Switch};
use super::goal::{GoalError, to_json};
use super::{EXIT_OK, EXIT_USAGE, Streams};
use crate::audit::canonical::{Hash, hash_of_all};
use crate::core::MAX_ROWS;
use crate::northbound::api::{GoalStatePart, Resource};
use crate::northbound::render;
use crate::proto::schema::{GoalStateV2, OperationStatus, ResourceType};

/// Characters of a hash in a table.
const SHORT: usize = 12;

/// Rows that are written at once.
const AT_ONCE: usize = 4096;

/// Why it is not shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShowError {
    /// Nobody answers.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What came is no goal state of this version's schema.
    #[error("what the switch says is no goal state: {0}")]
    Decode(#[from] prost::DecodeError),
    /// It cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] GoalError),
}

/// Shows it; the exit status. `json`: in the controller's own shape.
pub(super) async fn run(switch: &Switch, json: bool, streams: &mut Streams) -> u8 {
    let shown = match json {
        true => show_json(switch, streams).await,
        false => show_table(switch, streams).await.map_err(ShowError::from),
    };
    match shown {
        Ok(()) => EXIT_OK,
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            EXIT_USAGE
        }
    }
}

/// Hashes of what is wanted, and of what of it is programmed.
#[derive(Default)]
struct Hashes {
    wanted: Vec<Hash>,
    programmed: Vec<Hash>,
}

impl Hashes {
    fn add(&mut self, resource: &Resource) {
        // A hash of another length is one of another version; it is shown as it is.
        let hash = Hash::try_from(&*resource.hash).unwrap_or_default();
        self.wanted.push(hash);
        if resource.status() == OperationStatus::Success {
            self.programmed.push(hash);
        }
    }

    /// How many resources are wanted and programmed.
    fn counts(&self) -> [usize; 2] {
        [self.wanted.len(), self.programmed.len()]
    }

    /// Over all that is wanted, and over all that is programmed.
    fn totals(self) -> [String; 2] {
        [self.wanted, self.programmed].map(|hashes| hex(&hash_of_all(hashes)))
    }
}

async fn show_table(switch: &Switch, streams: &mut Streams) -> Result<(), ClientError> {
    let (mut rows, mut hashes) = (Vec::new(), Hashes::default());
    let take = |part: GoalStatePart| {
        for resource in part.resources {
            hashes.add(&resource);
            if rows.len() < MAX_ROWS {
                rows.push(row(&resource));
            }
        }
    };
    switch.goal_state(take).await?;
    let [wanted, programmed] = hashes.counts();
    let more = wanted.saturating_sub(rows.len());
    if !rows.is_empty() {
        streams.out(&render::table(&Value::Array(rows)));
    }
    if more > 0 {
        streams.out(&format!("... and {more} more\n"));
    }
    let [all, there] = hashes.totals();
    streams.out(&format!(
        "{wanted} resources wanted      {all}\n{programmed} of them programmed  {there}\n"
    ));
    Ok(())
}

fn row(resource: &Resource) -> Value {
    let hash = hex(&resource.hash);
    let state = match resource.status() {
        OperationStatus::Success => "programmed".to_owned(),
        status => format!("{}: {}", status.as_str_name(), resource.reason),
    };
    json!({
        "kind": resource.kind().as_str_name(),
        "id": resource.key,
        "revision": resource.revision,
        "hash": hash.get(..SHORT).unwrap_or(&hash),
        "state": state,
    })
}

/// The goal state goes out as it comes. What is known of its resources is kept until then, some 200 bytes for each.
async fn show_json(switch: &Switch, streams: &mut Streams) -> Result<(), ShowError> {
    let (mut resources, mut hashes) = (Vec::new(), Hashes::default());
    let mut writer = Maps::default();
    let mut written = Ok(());
    streams.out("{\"goal_state\":{");
    let take = |part: GoalStatePart| {
        if written.is_ok() {
            written = writer.text(&part.goal_state).map(|text| streams.out(&text));
        }
        part.resources.iter().for_each(|it| hashes.add(it));
        resources.extend(part.resources);
    };
    switch.goal_state(take).await?;
    written?;
    streams.out(writer.end());
    streams.out(",\"resources\":[");
    for (i, some) in resources.chunks(AT_ONCE).enumerate() {
        let rows: Vec<String> = some
            .iter()
            .map(|it| resource_json(it).to_string())
            .collect();
        let comma = if i == 0 { "" } else { "," };
        streams.out(&format!("{comma}{}", rows.join(",")));
    }
    let [wanted, programmed] = hashes.totals().map(Value::from);
    streams.out(&format!(
        "],\"hash\":{wanted},\"programmed\":{programmed}}}\n"
    ));
    Ok(())
}

fn resource_json(resource: &Resource) -> Value {
    let hash = hex(&resource.hash);
    let status = resource.status();
    let programmed = (status == OperationStatus::Success).then(|| hash.clone());
    json!({
        "kind": resource.kind().as_str_name(),
        "key": resource.key,
        "id": resource.id,
        "revision": resource.revision,
        "hash": hash,
        "programmed": programmed,
        "status": status.as_str_name(),
        "reason": Some(&resource.reason).filter(|reason| !reason.is_empty()),
    })
}

impl Resource {
    /// Its kind; VPC if this version does not know it.
    fn kind(&self) -> ResourceType {
        let kind = i32::try_from(self.kind).ok();
        kind.and_then(|kind| kind.try_into().ok())
            .unwrap_or_default()
    }

    /// Its status; FAILURE if this version does not know it.
    fn status(&self) -> OperationStatus {
        let status = i32::try_from(self.status).ok();
        let status = status.and_then(|status| status.try_into().ok());
        status.unwrap_or(OperationStatus::Failure)
    }
}

/// The maps of a GoalStateV2 as JSON, entry by entry. All of a kind come in a row.
#[derive(Default)]
struct Maps {
    open: Option<&'static str>,
}

impl Maps {
    /// The text of a part's entries, in their order.
    fn text(&mut self, goal: &[u8]) -> Result<String, ShowError> {
        let goal = GoalStateV2::decode(goal)?;
        let mut text = String::new();
        macro_rules! each {
            ($($states:ident $name:literal $message:literal;)+) => {$(
                for entry in goal.$states {
                    let state = entry.value.unwrap_or_default().encode_to_vec();
                    let state = to_json(concat!("alcor.schema.", $message), &state)?;
                    text.push_str(&self.before($name));
                    text.push_str(&format!("{}:{state}", Value::from(entry.key)));
                }
            )+};
        }
        each! {
            vpc_states "vpcStates" "VpcState";
            subnet_states "subnetStates" "SubnetState";
            router_states "routerStates" "RouterState";
            port_states "portStates" "PortState";
            neighbor_states "neighborStates" "NeighborState";
            security_group_states "securityGroupStates" "SecurityGroupState";
            dhcp_states "dhcpStates" "DHCPState";
            gateway_states "gatewayStates" "GatewayState";
        }
        Ok(text)
    }

    /// What stands before an entry of this map.
    fn before(&mut self, name: &'static str) -> String {
        match self.open.replace(name) {
            Some(open) if open == name => ",".to_owned(),
            Some(_) => format!("}},\"{name}\":{{"),
            None => format!("\"{name}\":{{"),
        }
    }

    /// What stands after the last.
    fn end(&self) -> &'static str {
        match self.open {
            Some(_) => "}}",
            None => "}",
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::goal::parse_goal;
    use crate::core::Goal;
    use crate::proto::schema::goal_state_v2::{
        DhcpStatesEntry, GatewayStatesEntry, NeighborStatesEntry, PortStatesEntry,
        RouterStatesEntry, SecurityGroupStatesEntry, SubnetStatesEntry, VpcStatesEntry,
    };

    /// Goal states of two resources of a kind each.
    fn parts() -> Vec<GoalStateV2> {
        macro_rules! parts {
            ($($states:ident $entry:ident;)+) => {
                vec![$(GoalStateV2 {
                    $states: ["a", "b\"\n"].map(|key| {
                        let mut entry = $entry { key: key.into(), ..Default::default() };
                        let state = entry.value.get_or_insert_default();
                        state.operation_type = 1;
                        state.configuration.get_or_insert_default().id = key.into();
                        entry
                    }).into(),
                    ..Default::default()
                }),+]
            };
        }
        parts! {
            vpc_states VpcStatesEntry;
            subnet_states SubnetStatesEntry;
            router_states RouterStatesEntry;
            port_states PortStatesEntry;
            neighbor_states NeighborStatesEntry;
            security_group_states SecurityGroupStatesEntry;
            dhcp_states DhcpStatesEntry;
            gateway_states GatewayStatesEntry;
        }
    }

    #[test]
    fn what_is_shown_as_json_is_read_back_as_it_was() {
        let mut text = "{".to_owned();
        let (mut writer, mut expected) = (Maps::default(), Vec::new());
        for part in parts() {
            text.push_str(&writer.text(&part.encode_to_vec()).unwrap());
            expected.extend(part.encode_to_vec());
        }
        // The object around it is ended, too.
        text.push_str(writer.end().strip_suffix('}').unwrap());
        text.push('}');
        let Goal::V2(mut goal) = parse_goal(Path::new("shown"), &text, None).unwrap() else {
            panic!("{text}")
        };
        macro_rules! sort { ($($states:ident)+) => { $(goal.$states.sort_by(|a, b| a.key.cmp(&b.key));)+ } }
        sort!(vpc_states subnet_states router_states port_states neighbor_states);
        sort!(security_group_states dhcp_states gateway_states);
        assert_eq!(goal, GoalStateV2::decode(&*expected).unwrap());
        let nothing = Maps::default();
        assert_eq!(nothing.end(), "}");
    }

    #[test]
    fn numbers_of_another_version_are_no_success() {
        let mut resource = Resource::default();
        assert_eq!(resource_json(&resource)["programmed"], "");
        resource.status = 99;
        resource.kind = 99;
        assert_eq!(resource_json(&resource)["programmed"], Value::Null);
    }
}
