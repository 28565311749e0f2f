// SPDX-License-Identifier: MIT
//! The workers' cores: whether they are there, and whether anything else runs on them.

use std::collections::BTreeSet;

use super::{Finding, Host};
use crate::config::Settings;
use crate::switch::numa::{self, Socket};

/// What the kernel says of its CPUs.
const CPUS: &str = "/sys/devices/system/cpu";

pub(super) fn examine(host: &Host, settings: &Settings) -> Vec<Finding> {
    let online = host.set(format!("{CPUS}/online"));
    let workers = chosen(host, settings);
    if online.is_empty() {
        return Vec::new(); // the kernel does not say
    }
    let missing: BTreeSet<_> = workers.difference(&online).copied().collect();
    let wrong = |found| {
        vec![Finding::wrong(
            "cores",
            found,
            "`set nbcore`, `set corelist`",
        )]
    };
    if !missing.is_empty() {
        let (missing, online) = (list(&missing), list(&online));
        return wrong(format!("there is no core {missing} (there are {online})"));
    }
    if workers.len() < usize::from(settings.workers) {
        let (wanted, found) = (settings.workers, workers.len());
        return wrong(match settings.corelist {
            Some(_) => format!("{wanted} workers, and {found} cores are listed"),
            None => format!("{wanted} workers, and {found} cores that are not isolated"),
        });
    }
    let mut findings = vec![isolation(host, &workers, &online, settings)];
    findings.extend(
        workers
            .iter()
            .filter_map(|&core| shared(host, core, &workers)),
    );
    findings.extend(slow(host, &workers));
    findings
}

/// The workers' cores: the configured ones, else the last that a process gets without asking, as the switch chooses them.
fn chosen(host: &Host, settings: &Settings) -> BTreeSet<usize> {
    let workers = usize::from(settings.workers);
    let [online, isolated] = ["online", "isolated"].map(|it| host.set(format!("{CPUS}/{it}")));
    match &settings.corelist {
        Some(list) => list.iter().take(workers).map(|&core| core.into()).collect(),
        None => {
            let usable = online.iter().rev().filter(|core| !isolated.contains(core));
            usable.take(workers).copied().collect()
        }
    }
}

/// Pools of packet buffers: one on each NUMA node that has workers.
pub(super) fn pools(host: &Host, settings: &Settings) -> usize {
    let (_, others) = numa::nodes(nodes(host, settings));
    1 + others.len()
}

/// The NUMA node of each worker's core.
pub(super) fn nodes<'a>(host: &'a Host, settings: &Settings) -> impl Iterator<Item = Socket> + 'a {
    let workers = chosen(host, settings);
    let node = |core| numa::listed(host.names(format!("{CPUS}/cpu{core}")).into_iter());
    workers.into_iter().map(node)
}

fn isolation(
    host: &Host,
    workers: &BTreeSet<usize>,
    online: &BTreeSet<usize>,
    settings: &Settings,
) -> Finding {
    let (about, cores) = ("cores", list(workers));
    let others = online.difference(workers).count();
    let exposed: BTreeSet<_> = workers
        .difference(&host.set(format!("{CPUS}/isolated")))
        .copied()
        .collect();
    if others == 0 {
        return Finding::warning(
            about,
            format!(
                "workers have all cores ({cores}): goal states are applied on a worker's, and packets are lost meanwhile"
            ),
            "`set nbcore`, `set corelist`: leave one to the rest",
        );
    }
    if !exposed.is_empty() {
        // Without a list, workers have the cores that are not isolated.
        let listed = match settings.corelist {
            Some(_) => String::new(),
            None => format!("`set corelist {cores}`, and "),
        };
        return Finding::warning(
            about,
            format!(
                "{} of the workers' cores {cores}: other programs may run there too, and packets are lost meanwhile",
                list(&exposed)
            ),
            format!(
                "{listed}isolcpus={cores} nohz_full={cores} rcu_nocbs={cores} on the kernel's command line"
            ),
        );
    }
    Finding::ok(about, format!("workers have {cores}, isolated"))
}

/// Two threads of one core share its caches and execution units.
fn shared(host: &Host, core: usize, workers: &BTreeSet<usize>) -> Option<Finding> {
    let siblings = host.set(format!("{CPUS}/cpu{core}/topology/thread_siblings_list"));
    let other = *siblings
        .intersection(workers)
        .find(|&&other| other > core)?;
    Some(Finding::warning(
        "cores",
        format!("workers' {core} and {other} are two threads of one core, and share it"),
        "`set corelist`: one thread of each core",
    ))
}

/// A governor that lowers a core's clock does not know that polling is work.
fn slow(host: &Host, workers: &BTreeSet<usize>) -> Option<Finding> {
    let governor = |core: &usize| {
        let governor = host.text(format!("{CPUS}/cpu{core}/cpufreq/scaling_governor"))?;
        (governor != "performance").then_some((*core, governor))
    };
    let (core, governor) = workers.iter().find_map(governor)?;
    Some(Finding::warning(
        "cores",
        format!("the clock of core {core} is by the governor `{governor}`"),
        format!("echo performance > {CPUS}/cpu{core}/cpufreq/scaling_governor"),
    ))
}

/// In the kernel's form, without ranges.
fn list(cores: &BTreeSet<usize>) -> String {
    let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
    cores.join(",")
}
