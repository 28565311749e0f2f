// SPDX-License-Identifier: MIT
//! Huge pages: whether there are any, enough of them, and where DPDK looks for them.

use super::{Finding, Host, cores};
use crate::config::Settings;

/// Where the kernel says how many there are of each size.
const PAGES: &str = "/sys/kernel/mm/hugepages";

/// Bytes that a packet buffer takes: 2048 for the frame, `RTE_PKTMBUF_HEADROOM`, `struct rte_mbuf`, the pool's header.
const MBUF_BYTES: u64 = 2048 + 128 + 128 + 64;

/// What DPDK takes besides packet buffers, for rings, ports and itself: 64 MiB, more than it took with 32 ports of drivers'.
const OTHER_BYTES: u64 = 64 << 20;

/// Pages of one size.
#[derive(Clone, Copy)]
struct Pages {
    bytes: u64,
    all: u64,
    free: u64,
}

pub(super) fn examine(host: &Host, settings: &Settings) -> Vec<Finding> {
    if settings.eal.iter().any(|arg| arg == "--no-huge") {
        return vec![Finding::warning(
            "hugepages",
            "none are used (`eal --no-huge`): forwarding is slower, and NICs without an IOMMU do not work",
            "reserve some, and leave `--no-huge` out",
        )];
    }
    let mut findings = vec![amount(host, settings)];
    findings.extend(mount(host, settings));
    findings
}

fn amount(host: &Host, settings: &Settings) -> Finding {
    let about = "hugepages";
    let sizes = sizes(host);
    let pools = cores::pools(host, settings);
    let needed = pools as u64 * u64::from(settings.mbufs) * MBUF_BYTES + OTHER_BYTES;
    let sum = |count: fn(&Pages) -> u64| sizes.iter().map(|it| count(it) * it.bytes).sum::<u64>();
    let (all, free) = (sum(|it| it.all), sum(|it| it.free));
    let (needed_mib, all_mib, free_mib) = (needed >> 20, all >> 20, free >> 20);
    if sizes.is_empty() {
        return Finding::wrong(
            about,
            "this kernel has none",
            "a kernel with CONFIG_HUGETLBFS; or `eal --no-huge`, which is slower",
        );
    }
    if all < needed {
        let each = match pools {
            1 => String::new(),
            _ => format!(" on each of {pools} NUMA nodes"),
        };
        return Finding::wrong(
            about,
            format!(
                "{all_mib} MiB are reserved, and {needed_mib} MiB needed (`set mbufs {}`{each})",
                settings.mbufs
            ),
            reserve(&sizes, needed),
        );
    }
    if free < needed {
        return Finding::warning(
            about,
            format!(
                "{free_mib} of {all_mib} MiB are free, and {needed_mib} MiB needed: the rest is in use, by this switch if it runs"
            ),
            reserve(&sizes, needed + all - free),
        );
    }
    Finding::ok(
        about,
        format!("{free_mib} of {all_mib} MiB are free, and {needed_mib} MiB needed"),
    )
}

/// What the kernel has, smallest first.
fn sizes(host: &Host) -> Vec<Pages> {
    let names = host.names(PAGES).into_iter();
    let mut sizes: Vec<_> = names
        .filter_map(|name| {
            let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            Some(Pages {
                bytes: kib.parse::<u64>().ok()? << 10,
                all: host.number(format!("{PAGES}/{name}/nr_hugepages"))?,
                free: host.number(format!("{PAGES}/{name}/free_hugepages"))?,
            })
        })
        .collect();
    sizes.sort_unstable_by_key(|it| it.bytes);
    sizes
}

/// The command that reserves so many bytes in pages of the smallest size.
fn reserve(sizes: &[Pages], bytes: u64) -> String {
    let smallest = sizes.first().map_or(2 << 20, |it| it.bytes);
    let others: u64 = sizes.iter().skip(1).map(|it| it.all * it.bytes).sum();
    format!(
        "echo {} > {PAGES}/hugepages-{}kB/nr_hugepages (to last: hugepages=... on the kernel's command line)",
        bytes.saturating_sub(others).div_ceil(smallest),
        smallest >> 10
    )
}

/// DPDK's files in huge pages are in a file system, unless it shares them with nobody.
fn mount(host: &Host, settings: &Settings) -> Option<Finding> {
    let alone = settings.eal.iter().any(|arg| arg == "--in-memory");
    let mounts = host.text("/proc/mounts").unwrap_or_default();
    let mounted = |line: &str| line.split(' ').nth(2) == Some("hugetlbfs");
    (!alone && !mounts.lines().any(mounted)).then(|| {
        Finding::wrong(
            "hugetlbfs",
            "is not mounted",
            "mkdir -p /dev/hugepages && mount -t hugetlbfs nodev /dev/hugepages",
        )
    })
}
