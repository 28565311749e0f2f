// SPDX-License-Identifier: MIT
//! Two jobs before compilation: DPDK's declarations and how to link it (`build/dpdk.rs`), and the gRPC
//! code (`build/proto.rs`).

#[path = "build/dpdk.rs"]
mod dpdk;
#[path = "build/link.rs"]
mod link;
#[path = "build/proto.rs"]
mod proto;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let outcome = proto::compile().and_then(|()| match env::var_os("CARGO_FEATURE_DPDK") {
        Some(_) => dpdk::bindings(),
        None => Ok(()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The folder that cargo gives a build script for its results.
fn out_dir() -> Result<std::path::PathBuf, String> {
    env::var_os("OUT_DIR")
        .map(Into::into)
        .ok_or_else(|| "cargo did not set OUT_DIR".to_owned())
}
