// SPDX-License-Identifier: MIT
//! Compiles every `.proto` file under `proto/` to Rust, without protoc.
//!
//! Into `OUT_DIR` go one Rust file per protobuf package (`alcor.schema.rs`, ...) and `alkaid.fds`, the encoded
//! descriptors of all of them, which protobuf's canonical JSON needs at run time.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

const ROOT: &str = "proto";

pub(crate) fn compile() -> Result<(), String> {
    println!("cargo:rerun-if-changed={ROOT}");
    let mut files = Vec::new();
    collect(Path::new(ROOT), &mut files)?;
    files.sort(); // whatever order the file system lists them in, the result is the same
    let mut descriptors = protox::compile(&files, [ROOT]).map_err(|e| format!("{e:?}"))?;
    let encoded = crate::out_dir()?.join("alkaid.fds");
    fs::write(&encoded, descriptors.encode_to_vec()).map_err(|e| failed(&encoded, &e))?;
    for file in &mut descriptors.file {
        file.message_type.iter_mut().for_each(maps_as_lists);
        file.source_code_info = None; // has no comments on messages that were maps
    }
    tonic_prost_build::configure()
        .compile_fds(descriptors.clone())
        .map_err(|e| format!("gRPC code from {ROOT}/: {e}"))?;
    serve_raw(descriptors)
}

/// The services once more, into `OUT_DIR/served/`, in whose requests goal states stay bytes: they are read where they lie.
fn serve_raw(descriptors: FileDescriptorSet) -> Result<(), String> {
    let folder = crate::out_dir()?.join("served");
    fs::create_dir_all(&folder).map_err(|e| failed(&folder, &e))?;
    tonic_prost_build::configure()
        .build_client(false)
        .out_dir(&folder)
        .extern_path(".alcor.schema", "crate::proto::schema")
        .extern_path(".alcor.schema.GoalState", "crate::proto::Raw")
        .extern_path(".alcor.schema.GoalStateV2", "crate::proto::Raw")
        .compile_fds(descriptors)
        .map_err(|e| format!("gRPC code from {ROOT}/: {e}"))
}

/// Makes of each map the list of entries that it is on the wire. Nobody looks anything up in a goal state's
/// maps, and to build one of ten thousand neighbors takes longer than to decode them. The entries stay in the
/// order in which they were sent, so the same message always has the same effect.
fn maps_as_lists(message: &mut DescriptorProto) {
    for nested in &mut message.nested_type {
        if let Some(options) = &mut nested.options {
            options.map_entry = None;
        }
        maps_as_lists(nested);
    }
}

/// Appends the `.proto` files under `folder`, at any depth.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
        let path = entry.map_err(|e| failed(folder, &e))?.path();
        println!("cargo:rerun-if-changed={}", path.display());
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
