// SPDX-License-Identifier: MIT
//! Messages and stubs of `proto/alkaid/v1/control.proto`.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

tonic::include_proto!("alkaid.v1");
