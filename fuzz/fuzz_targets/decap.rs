// SPDX-License-Identifier: MIT
#![no_main]
#[path = "../decap.rs"]
mod decap;
#[allow(dead_code)]
#[path = "../../tests/packet_path/lab.rs"]
mod lab;
#[allow(dead_code)]
#[path = "../../tests/packet_path/ipv6/net.rs"]
mod net;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decap::run(data));
