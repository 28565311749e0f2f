// SPDX-License-Identifier: MIT
//! Which CPU core does what.

use core_affinity::CoreId;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::BringUpError;

/// The cores for `workers` workers: those asked for, or the last ones that this process may use, so that the first
/// is left to everything else where there is more than one. Cores that are asked for need not be among those that the
/// process was started on: isolated ones never are.
pub(crate) fn choose(workers: u16, asked: Option<&[u16]>) -> Result<Vec<usize>, BringUpError> {
    let workers = usize::from(workers);
    if let Some(asked) = asked {
        let chosen: Vec<usize> = asked
            .iter()
            .take(workers)
            .copied()
            .map(usize::from)
            .collect();
        return match chosen.iter().find(|&&core| !can_pin(core)) {
            Some(&core) => Err(BringUpError::NoSuchCore(core)),
            None => Ok(chosen),
        };
    }
    let mut usable: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    usable.sort_unstable();
    if usable.len() < workers {
        return Err(BringUpError::TooFewCores { workers, usable });
    }
    Ok(usable.split_off(usable.len() - workers))
}

/// Tries it on a thread of its own, which then ends.
fn can_pin(core: usize) -> bool {
    std::thread::scope(|scope| scope.spawn(|| pin(core)).join().unwrap_or(false))
}

/// Pins the calling thread. False if the system refuses.
pub(crate) fn pin(core: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: core })
}

/// Keeps this thread, and those it spawns, off the workers' cores, unless there are no others: a worker that shares
/// its core with a gRPC thread loses packets whenever that runs.
pub(crate) fn leave_to_workers(workers: &[usize]) {
    let all = core_affinity::get_core_ids().unwrap_or_default();
    let mut others = CpuSet::new();
    let mut any = false;
    for core in all
        .iter()
        .map(|core| core.id)
        .filter(|core| !workers.contains(core))
    {
        any |= others.set(core).is_ok();
    }
    if !any {
        tracing::warn!(
            "workers share their cores with everything else: expect packet loss under load"
        );
    } else if let Err(error) = sched_setaffinity(Pid::from_raw(0), &others) {
        tracing::warn!("threads cannot be kept off the workers' cores: {error}");
    }
}
