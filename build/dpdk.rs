// SPDX-License-Identifier: MIT
//! DPDK's declarations for Rust (bindgen), and a small C file over its static inlines (cc).

use std::path::{Path, PathBuf};

use crate::link;

const HEADER: &str = "vswitch/dpdk/wrapper.h";
const SHIM: &str = "vswitch/dpdk/shim.c";
const SHIM_HEADER: &str = "vswitch/dpdk/shim.h";

/// What the bindings hold: no more than `vswitch/dpdk` calls. Types follow from the functions.
const FUNCTIONS: &[&str] = &[
    "alkaid_.*",
    "rte_dev_(probe|remove)",
    "rte_eal_(init|cleanup|get_runtime_dir)",
    "rte_eth_dev_(adjust_nb_rx_tx_desc|close|configure|get_mtu|get_name_by_port|info_get|set_mtu|socket_id|start|stop)",
    "rte_eth_dev_owner_(get|new|set)",
    "rte_eth_(allmulticast_enable|find_next_of|find_next_owned_by|iterator_(init|next)|link_get_nowait|macaddr_get|promiscuous_(disable|enable)|stats_(get|reset))",
    "rte_eth_(rx|tx)_queue_setup",
    "rte_get_(main_lcore|tsc_hz)",
    "rte_log_cur_msg_loglevel",
    "rte_mempool_(avail_count|in_use_count)",
    "rte_pktmbuf_(copy|free_bulk|pool_create)",
    "rte_strerror",
    "rte_thread_(un)?register",
    "rte_version",
    "rte_vhost_(dequeue_burst|enable_guest_notification|enqueue_burst|extern_callback_register|vring_call)",
    "rte_vhost_get_(ifname|mem_table|negotiated_features|vhost_vring|vring_base|vring_num)",
    "rte_vhost_set_vring_base",
    "rte_vhost_driver_(callback_register|disable_features|register|start|unregister)",
];
const CONSTANTS: &[&str] = &[
    "ALKAID_.*",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_LOG_(ERR|WARNING|NOTICE|INFO)",
    "RTE_MAX_ETHPORTS",
    "RTE_MEMPOOL_CACHE_MAX_SIZE",
    "RTE_PTYPE_L4_(TCP|UDP)",
    "RTE_PTYPE_TUNNEL_MASK",
];

/// Packed structs with aligned fields, which Rust cannot lay out. Nothing here looks into them.
const OPAQUE: &str = "rte_arp_ipv4|rte_arp_hdr|rte_l2tpv2_.*|rte_gtp_psc_.*";

pub(crate) fn bindings() -> Result<(), String> {
    println!("cargo:rerun-if-changed={HEADER}");
    println!("cargo:rerun-if-changed={SHIM}");
    println!("cargo:rerun-if-changed={SHIM_HEADER}");
    println!("cargo:rerun-if-env-changed=ALKAID_DPDK_LINK");
    let dpdk = pkg_config::Config::new()
        .cargo_metadata(false)
        .atleast_version("22.11.11")
        .probe("libdpdk")
        .map_err(|_| {
            "DPDK 22.11.11 or later was not found by pkg-config: install libdpdk-dev (Debian, Ubuntu)"
                .to_owned()
        })?;
    let flags = compiler_flags(&dpdk.include_paths)?;
    declare(&flags)?;
    let compiler = compile_shim(&flags)?;
    link::link(&compiler)
}

/// Include paths, and the flags that DPDK's headers must be read with (`-march`, `-include rte_config.h`).
fn compiler_flags(include: &[PathBuf]) -> Result<Vec<String>, String> {
    let output = std::process::Command::new("pkg-config")
        .args(["--cflags-only-other", "libdpdk"])
        .output()
        .map_err(|e| format!("pkg-config: {e}"))?;
    let mut flags: Vec<String> = include
        .iter()
        .map(|path| format!("-I{}", path.display()))
        .collect();
    let other = String::from_utf8_lossy(&output.stdout).into_owned();
    flags.extend(other.split_whitespace().map(str::to_owned));
    Ok(flags)
}

/// Writes `OUT_DIR/dpdk.rs`. Sizes and offsets are checked against C's when the crate compiles.
fn declare(flags: &[String]) -> Result<(), String> {
    let mut builder = bindgen::Builder::default()
        .header(HEADER)
        .clang_args(flags)
        .opaque_type(OPAQUE)
        .prepend_enum_name(false)
        .generate_comments(false)
        .use_core()
        .rust_edition(bindgen::RustEdition::Edition2024)
        .wrap_unsafe_ops(true);
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for constant in CONSTANTS {
        builder = builder.allowlist_var(constant);
    }
    // bindgen panics, rather than fail, when libclang is missing. The message below is the one to read.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let generated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate()));
    std::panic::set_hook(hook);
    let generated = generated
        .map_err(|_| {
            "bindgen could not load libclang: install libclang-dev (Debian, Ubuntu)".to_owned()
        })?
        .map_err(|e| format!("bindgen over {HEADER}: {e}"))?;
    let file = crate::out_dir()?.join("dpdk.rs");
    generated
        .write_to_file(&file)
        .map_err(|e| format!("{}: {e}", file.display()))
}

/// Compiles the shim and returns the C compiler, which also knows where libraries are.
fn compile_shim(flags: &[String]) -> Result<cc::Tool, String> {
    let mut build = cc::Build::new();
    build.file(SHIM).opt_level(2).warnings(false);
    for flag in flags {
        build.flag(flag);
    }
    build
        .try_compile("alkaid_shim")
        .map_err(|e| format!("{}: {e}", Path::new(SHIM).display()))?;
    build.try_get_compiler().map_err(|e| e.to_string())
}
