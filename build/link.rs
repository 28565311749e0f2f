// SPDX-License-Identifier: MIT
//! How DPDK is linked: statically where its archives are installed, which is 1 ns per packet faster (no
//! PLT, no `__tls_get_addr` in the drivers) and runs on hosts without DPDK, else with its shared objects.
//! `ALKAID_DPDK_LINK=static|shared` decides it by hand.
//!
//! Statically, the program carries 10 MB of DPDK: the EAL with ethdev 0.9, Intel's drivers 3.0, NVIDIA's 2.6,
//! Broadcom's 2.5, vhost and virtio 1.0, the others 0.4. It needs the libraries of `system` below at run time.

use std::path::Path;
use std::process::Command;

/// Archives that come together, for a reason.
struct Group {
    /// Why it is linked; the label of a warning when it cannot be.
    what: &'static str,
    /// Without it nothing works.
    required: bool,
    /// `librte_<name>.a`.
    archives: &'static [&'static str],
    /// Libraries of the system that the archives call, and the Debian package of each.
    system: &'static [(&'static str, &'static str)],
}

const GROUPS: &[Group] = &[
    Group {
        what: "the EAL, mbufs and ethdev",
        required: true,
        archives: &[
            "eal",
            "kvargs",
            "telemetry",
            "ring",
            "rcu",
            "mempool",
            "mbuf",
            "net",
            "meter",
            "ethdev",
            "pci",
            "timer",
        ],
        system: &[("numa", "libnuma-dev")],
    },
    Group {
        what: "the mempool that pools are made of by default (ring), and the one for many threads (stack)",
        required: true,
        archives: &["mempool_ring", "stack", "mempool_stack"],
        system: &[],
    },
    Group {
        what: "virtual devices by name (--vdev, port attach) and devices on PCI",
        required: true,
        archives: &["bus_vdev", "bus_pci"],
        system: &[],
    },
    Group {
        what: "net_null and net_ring, for measurements and tests",
        required: true,
        archives: &["net_null", "net_ring"],
        system: &[],
    },
    Group {
        what: "libraries that the drivers below share",
        required: true,
        archives: &["hash", "cryptodev", "security", "gso"],
        system: &[],
    },
    Group {
        what: "vhost, the sockets of virtual machines",
        required: true,
        archives: &["dmadev", "vhost"],
        system: &[],
    },
    Group {
        what: "net_pcap, capture files as ports",
        required: false,
        archives: &["net_pcap"],
        system: &[("pcap", "libpcap-dev")],
    },
    Group {
        what: "net_tap and net_af_packet, ports of the kernel (containers, the host itself)",
        required: false,
        archives: &["net_tap", "net_af_packet"],
        system: &[],
    },
    Group {
        what: "net_af_xdp, the fast port on a kernel interface",
        required: false,
        archives: &["net_af_xdp"],
        system: &[("xdp", "libxdp-dev"), ("bpf", "libbpf-dev")],
    },
    Group {
        what: "net_virtio and net_virtio_user, the guest's side",
        required: false,
        archives: &["net_virtio"],
        system: &[],
    },
    Group {
        what: "net_memif, shared memory between user-space switches",
        required: false,
        archives: &["net_memif"],
        system: &[],
    },
    Group {
        what: "Intel: 1G (e1000, igc), 10G (ixgbe), 40G (i40e), 100G (ice) and their virtual functions (iavf)",
        required: false,
        archives: &[
            "net_e1000",
            "net_igc",
            "net_ixgbe",
            "net_i40e",
            "net_ice",
            "common_iavf",
            "net_iavf",
        ],
        system: &[],
    },
    Group {
        what: "Broadcom NetXtreme",
        required: false,
        archives: &["net_bnxt"],
        system: &[],
    },
    Group {
        what: "clouds: Amazon ENA, VMware vmxnet3, Google gVNIC",
        required: false,
        archives: &["net_ena", "net_vmxnet3", "net_gve"],
        system: &[],
    },
    Group {
        what: "NVIDIA ConnectX-4 and later",
        required: false,
        archives: &["bus_auxiliary", "common_mlx5", "net_mlx5"],
        system: &[("mlx5", "libibverbs-dev"), ("ibverbs", "libibverbs-dev")],
    },
];

/// Libraries that DPDK calls only in some distributions' builds.
const MAYBE: &[&str] = &["bsd", "m"];

/// Libraries that later releases split off the EAL.
const SPLIT_OFF: &[&str] = &["log", "argparse"];

/// What the crate calls itself. Drivers are no part of this: a shared EAL loads them from its plug-in folder.
const SHARED: &[&str] = &[
    "rte_ethdev",
    "rte_mempool",
    "rte_mbuf",
    "rte_eal",
    "rte_bus_vdev",
    "rte_kvargs",
    "rte_vhost",
];

/// Tells cargo what to link. `compiler` is asked where libraries are.
pub(crate) fn link(compiler: &cc::Tool) -> Result<(), String> {
    let folder = pkg_config::get_variable("libdpdk", "libdir").map_err(|e| e.to_string())?;
    let folder = Path::new(&folder);
    println!("cargo:rustc-link-search=native={}", folder.display());
    let wanted = std::env::var("ALKAID_DPDK_LINK").ok();
    match wanted.as_deref() {
        Some("static") => return statically(folder, compiler),
        None if has_archive(folder, "eal") => return statically(folder, compiler),
        Some("shared") | None => dynamically(),
        Some(other) => {
            return Err(format!(
                "ALKAID_DPDK_LINK is `{other}`, expected `static` or `shared`"
            ));
        }
    }
    Ok(())
}

/// Whole archives: drivers announce themselves in constructors that nothing refers to.
fn statically(folder: &Path, compiler: &cc::Tool) -> Result<(), String> {
    for name in SPLIT_OFF.iter().filter(|name| has_archive(folder, name)) {
        archive(name);
    }
    for group in GROUPS {
        let lacking = lacking(group, folder, compiler);
        if lacking.is_empty() {
            group.archives.iter().for_each(|name| archive(name));
            group
                .system
                .iter()
                .for_each(|(library, _)| println!("cargo:rustc-link-lib=dylib={library}"));
        } else if group.required {
            return Err(format!(
                "{} cannot be linked statically: {lacking}",
                group.what
            ));
        } else {
            println!("cargo:warning=left out: {}: {lacking}", group.what);
        }
    }
    for library in MAYBE
        .iter()
        .filter(|library| has_library(compiler, library))
    {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    Ok(())
}

fn dynamically() {
    SHARED
        .iter()
        .for_each(|library| println!("cargo:rustc-link-lib=dylib={library}"));
}

fn archive(name: &str) {
    println!("cargo:rustc-link-lib=static:+whole-archive,-bundle=rte_{name}");
}

/// What `group` needs and this machine has not, in words; empty when it can be linked.
fn lacking(group: &Group, folder: &Path, compiler: &cc::Tool) -> String {
    let archives = group
        .archives
        .iter()
        .filter(|name| !has_archive(folder, name));
    let system = group
        .system
        .iter()
        .filter(|(library, _)| !has_library(compiler, library));
    let words: Vec<String> = archives
        .map(|name| format!("no librte_{name}.a (Debian: libdpdk-dev)"))
        .chain(system.map(|(library, package)| format!("no lib{library} (Debian: {package})")))
        .collect();
    words.join(", ")
}

fn has_archive(folder: &Path, name: &str) -> bool {
    folder.join(format!("librte_{name}.a")).exists()
}

/// The compiler prints a library's path if it finds it, else the bare name.
fn has_library(compiler: &cc::Tool, library: &str) -> bool {
    Command::new(compiler.path())
        .arg(format!("-print-file-name=lib{library}.so"))
        .output()
        .is_ok_and(|output| output.stdout.contains(&b'/'))
}
