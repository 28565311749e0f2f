// SPDX-License-Identifier: MIT
//! Protobuf messages and gRPC stubs, generated at build time from the files under `proto/`.

/// Alcor's goal-state schema (`proto/alcor/schema/`).
pub(crate) mod schema {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    tonic::include_proto!("alcor.schema");
}
