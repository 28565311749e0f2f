// SPDX-License-Identifier: MIT
//! `push --dry-run`: what a push would change and what would contradict itself, worked out on a copy in this process. The
//! switch is only asked what it wants.

use std::collections::BTreeMap;
use std::convert::Infallible;

use prost::bytes::Bytes;
use serde_json::{Value, json};
use vswitch::wire::Mac;

use super::client::{ClientError, Switch};
use super::goal::{GoalError, all_files, load, to_json};
use super::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, PushArgs, SocketArgs, Streams};
use crate::audit::canonical::{Hash, hash_of_all};
use crate::audit::part::Refused;
use crate::audit::rehearsal::{Difference, Name, Rehearsal, Survey};
use crate::config::{ConfigErrors, Settings, parse_text};
use crate::core::NotDone;
use crate::northbound::api::GoalStatePart;
use crate::northbound::render::visible;
use crate::proto::schema::{OperationStatus, ResourceType};
use crate::southbound::decode::{Encoded, Form, Malformed};

/// Why there is nothing to say.
#[derive(Debug, thiserror::Error)]
enum DryRunError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Goal(#[from] GoalError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the switch does not say what its settings are: {0}")]
    Refused(String),
    #[error("the switch's settings: {}", .0.report())]
    Settings(#[from] ConfigErrors),
    #[error("the switch's settings: {0}")]
    Bind(#[from] NotDone),
    #[error("a copy of what the switch wants is not equal to it: is it of another version?")]
    Unequal,
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// What would become of a push.
struct Report {
    difference: Difference,
    refused: Vec<Refused>,
}

/// Rehearses; the exit status.
pub(super) fn run(args: &PushArgs, streams: &mut Streams) -> u8 {
    let report = rehearse(args).and_then(|report| {
        let text = match args.json {
            true => format!("{}\n", report.json()?),
            false => report.text()?,
        };
        Ok((report, text))
    });
    match report {
        Ok((report, text)) => {
            streams.out(&text);
            report.exit_status()
        }
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            EXIT_USAGE
        }
    }
}

fn rehearse(args: &PushArgs) -> Result<Report, DryRunError> {
    let files = all_files(&args.files)?;
    // What is wrong with the first is said before anybody is asked.
    let mut first = Some(load(&files[0], args.rpc)?);
    let (mut copy, before) = super::runtime()?.block_on(copy_of(&Switch::new(&SocketArgs {
        socket: args.socket.clone(),
    })))?;
    let mut refused = Vec::new();
    for file in &files {
        let goal = first.take().map_or_else(|| load(file, args.rpc), Ok)?;
        refused.extend(copy.apply(&Encoded::from(&goal))?);
    }
    let difference = copy.difference(before);
    Ok(Report {
        difference,
        refused,
    })
}

/// A rehearsal on a switch with these settings. The uplink's MAC is not in them, and decides nothing.
pub(super) fn rehearsal(settings: &Settings) -> Result<Rehearsal, NotDone> {
    let Ok(site) = settings.site(|_| Ok::<_, Infallible>((Mac::new([2, 0, 0, 0, 0, 1]), 1500)));
    let capacity = settings.neighbors_capacity as usize;
    Rehearsal::new(site, capacity, settings.revisions, settings.bindings())
}

/// A copy of what the switch wants, and what that is.
async fn copy_of(switch: &Switch) -> Result<(Rehearsal, Survey), DryRunError> {
    let config = switch.execute("show config".to_owned()).await?;
    if !config.ok {
        return Err(DryRunError::Refused(config.text));
    }
    let commands = parse_text("show config", &config.text)?;
    let mut copy = rehearsal(&Settings::default().with_commands(&commands)?)?;
    let (mut hashes, mut applied) = (Vec::new(), Ok(()));
    let take = |part: GoalStatePart| {
        let hash = |hash: &[u8]| Hash::try_from(hash).unwrap_or_default();
        hashes.extend(part.resources.iter().map(|it| hash(&it.hash)));
        let goal = Encoded {
            form: Form::V2,
            bytes: Bytes::from(part.goal_state),
        };
        if applied.is_ok() {
            applied = copy.apply(&goal).map(drop);
        }
    };
    switch.goal_state(take).await?;
    applied?;
    let survey = copy.survey();
    match survey.hash() == hash_of_all(hashes) {
        true => Ok((copy, survey)),
        false => Err(DryRunError::Unequal),
    }
}

/// The fields of a configuration that differ, each before and after as JSON; `None`: it is not set.
type Fields = BTreeMap<String, [Option<Value>; 2]>;

impl Report {
    /// 1 if something of the push makes no sense. That something waits for another resource may be meant so.
    fn exit_status(&self) -> u8 {
        let Difference {
            conflicts,
            unprogrammed,
            ..
        } = &self.difference;
        let wrong = unprogrammed
            .values()
            .any(|(status, _)| *status != OperationStatus::Pending);
        match conflicts.is_empty() && self.refused.is_empty() && !wrong {
            true => EXIT_OK,
            false => EXIT_FAILED,
        }
    }

    fn text(&self) -> Result<String, DryRunError> {
        let difference = &self.difference;
        let mut text = String::new();
        let name = |(kind, key): &Name| format!("{} {}", kind.as_str_name(), visible(key));
        for new in &difference.new {
            text.push_str(&format!("new: {}\n", name(new)));
        }
        for (changed, (old, new)) in &difference.changed {
            text.push_str(&format!("changed: {}\n", name(changed)));
            for (field, values) in fields(changed.0, old, new)? {
                let [old, new] =
                    values.map(|value| value.map_or("-".to_owned(), |it| it.to_string()));
                text.push_str(&format!("    {}: {old} -> {new}\n", visible(&field)));
            }
        }
        for deleted in &difference.deleted {
            text.push_str(&format!("deleted: {}\n", name(deleted)));
        }
        for refusal in &self.refused {
            let (kind, id) = (refusal.kind.as_str_name(), visible(&refusal.id));
            let (status, reason) = (refusal.reason.0.as_str_name(), &refusal.reason.1);
            text.push_str(&format!("refused: {kind} {id} {status}: {reason}\n"));
        }
        for (resource, (status, reason)) in &difference.unprogrammed {
            let status = status.as_str_name();
            text.push_str(&format!(
                "not programmed: {} {status}: {reason}\n",
                name(resource)
            ));
        }
        for ((kind, place), between) in &difference.conflicts {
            let between: Vec<&str> = between.iter().map(String::as_str).collect();
            let (kind, between) = (kind.name(), between.join("; "));
            text.push_str(&format!("conflict: {kind} {place}: {between}\n"));
        }
        text.push_str(&format!(
            "{} new, {} changed, {} deleted, {} unchanged; {} refused, {} not programmed; {} conflicts, and {} that are \
             there already\n",
            difference.new.len(),
            difference.changed.len(),
            difference.deleted.len(),
            difference.unchanged,
            self.refused.len(),
            difference.unprogrammed.len(),
            difference.conflicts.len(),
            difference.former_conflicts
        ));
        Ok(text)
    }

    fn json(&self) -> Result<Value, DryRunError> {
        let difference = &self.difference;
        let name = |(kind, key): &Name| json!({ "kind": kind.as_str_name(), "key": key });
        let names = |all: &[Name]| all.iter().map(name).collect::<Value>();
        let mut changed = Vec::new();
        for ((kind, key), (old, new)) in &difference.changed {
            let fields: serde_json::Map<_, _> = (fields(*kind, old, new)?.into_iter())
                .map(|(field, [old, new])| (field, json!({ "old": old, "new": new })))
                .collect();
            changed.push(json!({ "kind": kind.as_str_name(), "key": key, "fields": fields }));
        }
        let refused = self.refused.iter().map(|it| {
            let (status, reason) = (it.reason.0.as_str_name(), &it.reason.1);
            json!({ "kind": it.kind.as_str_name(), "id": it.id, "status": status, "reason": reason })
        });
        let unprogrammed = difference
            .unprogrammed
            .iter()
            .map(|((kind, key), (status, reason))| {
                let (kind, status) = (kind.as_str_name(), status.as_str_name());
                json!({ "kind": kind, "key": key, "status": status, "reason": reason })
            });
        let conflicts = difference.conflicts.iter().map(
            |((kind, place), between)| json!({ "kind": kind.name(), "place": place, "between": between }),
        );
        Ok(json!({
            "new": names(&difference.new),
            "changed": changed,
            "deleted": names(&difference.deleted),
            "unchanged": difference.unchanged,
            "refused": refused.collect::<Value>(),
            "not_programmed": unprogrammed.collect::<Value>(),
            "conflicts": conflicts.collect::<Value>(),
            "former_conflicts": difference.former_conflicts,
        }))
    }
}

/// The fields that differ between two configurations of this kind.
fn fields(kind: ResourceType, old: &[u8], new: &[u8]) -> Result<Fields, GoalError> {
    let message = match kind {
        ResourceType::Vpc => "alcor.schema.VpcConfiguration",
        ResourceType::Subnet => "alcor.schema.SubnetConfiguration",
        ResourceType::Port => "alcor.schema.PortConfiguration",
        ResourceType::Neighbor => "alcor.schema.NeighborConfiguration",
        ResourceType::Securitygroup => "alcor.schema.SecurityGroupConfiguration",
        ResourceType::Dhcp => "alcor.schema.DHCPConfiguration",
        ResourceType::Router => "alcor.schema.RouterConfiguration",
        ResourceType::Gateway => "alcor.schema.GatewayConfiguration",
    };
    let (mut fields, mut path) = (Fields::new(), String::new());
    for (side, bytes) in [old, new].into_iter().enumerate() {
        collect(to_json(message, bytes)?, &mut path, &mut |path, value| {
            fields.entry(path.to_owned()).or_default()[side] = Some(value);
        });
    }
    fields.retain(|_, [old, new]| old != new);
    Ok(fields)
}

/// Gives `each` all values in `value` that have none inside, with their path. The schema is three levels deep.
fn collect(value: Value, path: &mut String, each: &mut impl FnMut(&str, Value)) {
    let length = path.len();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(&name);
                collect(value, path, each);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            let labels = labels(&items);
            for (label, item) in labels.into_iter().zip(items) {
                path.push_str(&format!("[{label}]"));
                collect(item, path, each);
                path.truncate(length);
            }
        }
        value => each(path, value),
    }
}

/// What items of a list are called: by their ids, so that one that is inserted leaves the others the same, or by their places
/// if these do not tell them apart.
fn labels(items: &[Value]) -> Vec<String> {
    let id = |item: &Value| {
        let id = item.get("id").or_else(|| item.get("subnetId"))?;
        id.as_str().map(str::to_owned)
    };
    let ids: Option<Vec<String>> = items.iter().map(id).collect();
    let distinct = |ids: &Vec<String>| {
        let set: std::collections::BTreeSet<_> = ids.iter().collect();
        set.len() == ids.len()
    };
    let places = || (0..items.len()).map(|place| place.to_string()).collect();
    ids.filter(distinct).unwrap_or_else(places)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::schema::router_configuration::{RoutingRule, SubnetRoutingTable};
    use crate::proto::schema::{PortConfiguration, RouterConfiguration, port_configuration};

    fn differing(kind: ResourceType, old: &impl Message, new: &impl Message) -> Vec<String> {
        let fields = fields(kind, &old.encode_to_vec(), &new.encode_to_vec()).unwrap();
        let text = |value: Option<Value>| value.map_or("-".to_owned(), |it| it.to_string());
        fields
            .into_iter()
            .map(|(field, [old, new])| format!("{field}: {} -> {}", text(old), text(new)))
            .collect()
    }

    #[test]
    fn fields_that_differ_are_named_with_both_values() {
        let old = PortConfiguration {
            name: "a".into(),
            device_id: "vm".into(),
            ..Default::default()
        };
        let mut new = old.clone();
        new.name = "b".into();
        new.device_id.clear();
        new.admin_state_up = true;
        assert_eq!(
            differing(ResourceType::Port, &old, &new),
            [
                "adminStateUp: - -> true",
                "deviceId: \"vm\" -> -",
                "name: \"a\" -> \"b\""
            ]
        );
        assert!(differing(ResourceType::Port, &old, &old).is_empty());
    }

    #[test]
    fn items_are_told_apart_by_id_and_else_by_place() {
        let rule = |id: &str, priority| RoutingRule {
            id: id.into(),
            priority,
            ..Default::default()
        };
        let router = |routing_rules| RouterConfiguration {
            subnet_routing_tables: vec![SubnetRoutingTable {
                subnet_id: "blue".into(),
                routing_rules,
            }],
            ..Default::default()
        };
        let old = router(vec![rule("b", 1)]);
        let new = router(vec![rule("a", 2), rule("b", 1)]);
        let table = "subnetRoutingTables[blue].routingRules";
        assert_eq!(
            differing(ResourceType::Router, &old, &new),
            [
                format!("{table}[a].id: - -> \"a\""),
                format!("{table}[a].priority: - -> 2")
            ]
        );
        let port = |ips: &[&str]| PortConfiguration {
            fixed_ips: (ips.iter())
                .map(|ip| port_configuration::FixedIp {
                    subnet_id: "blue".into(),
                    ip_address: (*ip).into(),
                })
                .collect(),
            ..Default::default()
        };
        assert_eq!(
            differing(ResourceType::Port, &port(&["x", "y"]), &port(&["x", "z"])),
            ["fixedIps[1].ipAddress: \"y\" -> \"z\""]
        );
    }
}
