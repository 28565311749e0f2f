// SPDX-License-Identifier: MIT
//! Two jobs before compilation: DPDK's declarations and how to link it (`build/dpdk.rs`), and the gRPC
//! code (`build/proto.rs`).

#[cfg(feature = "dpdk")]
#[path = "build/dpdk.rs"]
mod dpdk;
#[cfg(feature = "dpdk")]
#[path = "build/link.rs"]
mod link;
#[cfg(feature = "program")]
#[path = "build/proto.rs"]
mod proto;

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    match jobs() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn jobs() -> Result<(), String> {
    #[cfg(feature = "program")]
    proto::compile()?;
    #[cfg(feature = "dpdk")]
    dpdk::bindings()?;
    Ok(())
}

/// The folder that cargo gives a build script for its results.
#[cfg(feature = "dpdk")]
fn out_dir() -> Result<std::path::PathBuf, String> {
    std::env::var_os("OUT_DIR")
        .map(Into::into)
        .ok_or_else(|| "cargo did not set OUT_DIR".to_owned())
}
