// SPDX-License-Identifier: MIT
//! Kernel, DPDK, and other programs that want the same.

use vswitch::dpdk;

use super::{Finding, Host};

/// The oldest kernel that DPDK 22.11 supports (its guide for Linux, "System Requirements").
const LEAST_KERNEL: (u32, u32) = (4, 14);

/// Other switches and agents: the name of the process, of which the kernel keeps 15 characters, and what is to be done.
const RIVALS: [(&str, &str, &str); 3] = [
    (
        "ovs-vswitchd",
        "Open vSwitch runs here, too: a NIC or a guest's socket can be of one of the two only",
        "systemctl disable --now openvswitch-switch",
    ),
    (
        "AlcorControlAge",
        "an Alcor Control Agent runs here, too, and has the controller's connections",
        "stop it: this switch takes its place",
    ),
    (
        "vpp_main",
        "VPP runs here, too: a NIC or a guest's socket can be of one of the two only",
        "systemctl disable --now vpp",
    ),
];

pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let mut findings = vec![kernel(host), Finding::ok("dpdk", dpdk::version())];
    findings.extend(rivals(host));
    findings
}

fn kernel(host: &Host) -> Finding {
    let release = host.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(['.', '-']).map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= LEAST_KERNEL => {
            Finding::ok("kernel", release)
        }
        _ => Finding::wrong(
            "kernel",
            format!("`{release}`: DPDK 22.11 needs Linux 4.14 or newer"),
            "install a newer kernel",
        ),
    }
}

fn rivals(host: &Host) -> impl Iterator<Item = Finding> {
    let processes = host.names("/proc").into_iter();
    let processes = processes.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    // This switch may have that agent's name, and its file another after an upgrade.
    let others = processes.filter(|pid| {
        let program = host.link(format!("/proc/{pid}/exe"));
        program.is_none_or(|program| program.trim_end_matches(" (deleted)") != "alkaid")
    });
    let names: Vec<_> = others
        .filter_map(|pid| host.text(format!("/proc/{pid}/comm")))
        .collect();
    RIVALS
        .into_iter()
        .filter(move |(name, ..)| names.iter().any(|other| other == name))
        .map(|(name, found, mend)| Finding::warning(name, found, mend))
}
