// SPDX-License-Identifier: MIT
//! The program's own gRPC code, for the target that compiles the program's modules.

#[path = "../build/proto.rs"]
mod proto;

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("..");
    env::set_current_dir(root).unwrap();
    proto::compile().unwrap();
}

fn out_dir() -> Result<PathBuf, String> {
    env::var_os("OUT_DIR").map(Into::into).ok_or_else(|| "cargo did not set OUT_DIR".to_owned())
}
