// SPDX-License-Identifier: MIT
//! Goal states from files, in either of the controller's forms: protobuf's canonical JSON, and its binary form as
//! `alkaid dataset` writes it.

mod binary;
mod json;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use serde_json::Value;

use super::Rpc;
use crate::core::Goal;
use crate::proto::schema::{GoalState, GoalStateV2};

/// Largest file, in bytes: about three million neighbors.
const MAX_FILE: u64 = 1 << 30;

/// The descriptors of all messages, which JSON needs; made by the build script.
static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/alkaid.fds"));

/// Why a file is no goal state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GoalError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is too large.
    #[error("{} is larger than {} MiB", .0.display(), MAX_FILE >> 20)]
    TooLarge(PathBuf),
    /// Something in it is not what the schema says.
    #[error("{}:{line}:{column}: {at}: {what}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, in bytes, from 1.
        column: usize,
        /// The path of the value in the JSON, as in `port_states[3].configuration.id`.
        at: String,
        /// What is wrong.
        what: String,
    },
    /// It is no message.
    #[error("{}: no goal state: {error}", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// Why.
        error: prost::DecodeError,
    },
    /// It has lists and maps.
    #[error("{}: `{list}` is a list as in a GoalState, `{map}` a map as in a GoalStateV2: which one is it?", path.display())]
    Mixed {
        /// The file.
        path: PathBuf,
        /// A field that is a list.
        list: String,
        /// A field that is a map.
        map: String,
    },
    /// It is a folder without goal states.
    #[error("there is no file *.pb or *.json in {}", .0.display())]
    Empty(PathBuf),
    /// The schema that was compiled in is unusable.
    #[error("the compiled-in schema: {0}")]
    Schema(String),
}

/// Reads a goal state; `-` is standard input. A file `*.pb` is in binary form, any other is JSON. In JSON lists of states
/// make it a GoalState (v1), maps a GoalStateV2; without any states it is a GoalStateV2.
///
/// # Errors
/// The file cannot be read or is no goal state; of JSON, the error names line, column and path.
pub(crate) fn load_goal(path: &Path) -> Result<Goal, GoalError> {
    load(path, None)
}

/// The same; `form` instead of what it looks like or is called.
pub(super) fn load(path: &Path, form: Option<Rpc>) -> Result<Goal, GoalError> {
    match path.extension().is_some_and(|ending| ending == "pb") {
        true => decode(path, &bytes(path)?, form),
        false => parse_goal(path, &read(path)?, form),
    }
}

/// The JSON of the schema's message of this name that `bytes` are.
///
/// # Errors
/// They are none.
pub(super) fn to_json(name: &str, bytes: &[u8]) -> Result<Value, GoalError> {
    let schema = |error: &dyn std::fmt::Display| GoalError::Schema(error.to_string());
    let message = DynamicMessage::decode(descriptor(name)?, bytes).map_err(|e| schema(&e))?;
    serde_json::to_value(message).map_err(|e| schema(&e))
}

/// The files that `paths` stand for: see [`files`].
pub(super) fn all_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, GoalError> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(files(path)?);
    }
    Ok(all)
}

/// The files that `path` stands for: itself, or the goal states in the folder that it is, by name.
///
/// # Errors
/// It is a folder that cannot be read, or that has none.
fn files(path: &Path) -> Result<Vec<PathBuf>, GoalError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error| GoalError::Read {
        path: path.to_owned(),
        error,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let ending = file.extension();
        if ending.is_some_and(|ending| ending == "pb" || ending == "json") {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(GoalError::Empty(path.to_owned())),
        false => Ok(files),
    }
}

/// The goal state that `bytes`, the content of `path`, is in binary form.
fn decode(path: &Path, bytes: &[u8], form: Option<Rpc>) -> Result<Goal, GoalError> {
    let named = |middle| {
        path.file_stem()
            .map(Path::new)?
            .extension()
            .filter(|e| *e == middle)
    };
    let form = form
        .or_else(|| named("v1").map(|_| Rpc::V1))
        .or_else(|| named("v2").map(|_| Rpc::V2));
    let goal = match form {
        None => binary::decode(bytes),
        Some(Rpc::V1) => GoalState::decode(bytes).map(Goal::V1),
        Some(Rpc::V2) => GoalStateV2::decode(bytes).map(Goal::V2),
    };
    goal.map_err(|error| GoalError::Binary {
        path: path.to_owned(),
        error,
    })
}

/// The goal state that `text`, the content of `path`, is; `form` instead of what it looks like.
pub(super) fn parse_goal(path: &Path, text: &str, form: Option<Rpc>) -> Result<Goal, GoalError> {
    let form = match form {
        Some(form) => form,
        None => shape(path, text)?,
    };
    let schema = |error: String| GoalError::Schema(error);
    match form {
        Rpc::V1 => {
            let message = message(path, text, "alcor.schema.GoalState")?;
            let goal: GoalState = message
                .transcode_to()
                .map_err(|error| schema(error.to_string()))?;
            Ok(Goal::V1(goal))
        }
        Rpc::V2 => {
            let message = message(path, text, "alcor.schema.GoalStateV2")?;
            let goal: GoalStateV2 = message
                .transcode_to()
                .map_err(|error| schema(error.to_string()))?;
            Ok(Goal::V2(goal))
        }
    }
}

/// The text of `path`; `-` is standard input.
fn read(path: &Path) -> Result<String, GoalError> {
    String::from_utf8(bytes(path)?).map_err(|_| GoalError::Read {
        path: path.to_owned(),
        error: io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"),
    })
}

/// The content of `path`; `-` is standard input.
fn bytes(path: &Path) -> Result<Vec<u8>, GoalError> {
    let failed = |error| GoalError::Read {
        path: path.to_owned(),
        error,
    };
    let mut bytes = Vec::new();
    let length = match path.as_os_str() == "-" {
        true => io::stdin()
            .lock()
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)),
    };
    match length.map_err(failed)? as u64 > MAX_FILE {
        true => Err(GoalError::TooLarge(path.to_owned())),
        false => Ok(bytes),
    }
}

fn message(path: &Path, text: &str, name: &str) -> Result<DynamicMessage, GoalError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor(name)?, &mut deserializer);
    let whole = message.and_then(|message| deserializer.end().map(|()| message));
    whole.map_err(|error| located(path, text, &error))
}

fn descriptor(name: &str) -> Result<MessageDescriptor, GoalError> {
    static POOL: LazyLock<Result<DescriptorPool, String>> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).map_err(|error| error.to_string()));
    let pool = (POOL.as_ref()).map_err(|error| GoalError::Schema(error.clone()))?;
    pool.get_message_by_name(name)
        .ok_or_else(|| GoalError::Schema(format!("no message {name}")))
}

/// `error` with the place where it arose.
fn located(path: &Path, text: &str, error: &serde_json::Error) -> GoalError {
    let (line, column) = (error.line(), error.column());
    // serde_json appends the place to its words; it is said before them here.
    let what = error.to_string();
    let what = what
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&what)
        .to_owned();
    GoalError::Json {
        path: path.to_owned(),
        line,
        column,
        at: json::path_at(text, line, column),
        what,
    }
}

/// Which form `text` has, by its outermost values.
fn shape(path: &Path, text: &str) -> Result<Rpc, GoalError> {
    let fields = json::outline(text).map_err(|error| located(path, text, &error))?;
    let states = || {
        fields
            .iter()
            .filter(|field| field.name.ends_with("tates") || field.name.ends_with("esources"))
    };
    let list = states().find(|field| field.shape == json::Shape::List);
    let map = states().find(|field| field.shape == json::Shape::Map);
    match (list, map) {
        (Some(list), Some(map)) => Err(GoalError::Mixed {
            path: path.to_owned(),
            list: list.name.clone(),
            map: map.name.clone(),
        }),
        (Some(_), None) => Ok(Rpc::V1),
        (None, _) => Ok(Rpc::V2),
    }
}
