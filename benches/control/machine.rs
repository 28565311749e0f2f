// SPDX-License-Identifier: MIT
//! What the machine lends and tells: huge pages, and who used the CPU how long.

use std::fs;
use std::time::Duration;

const RESERVED: &str = "/proc/sys/vm/nr_hugepages";

/// Huge pages that are taken away again in the end.
pub(crate) struct HugePages(u64);

impl HugePages {
    pub(crate) fn add(count: u64) -> Self {
        let before = reserved();
        fs::write(RESERVED, (before + count).to_string()).expect("huge pages need root");
        let added = Self(reserved().saturating_sub(before));
        assert_eq!(added.0, count, "the kernel does not find the memory");
        added
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = fs::write(RESERVED, reserved().saturating_sub(self.0).to_string());
    }
}

fn reserved() -> u64 {
    fs::read_to_string(RESERVED)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    cpu(std::process::id(), |_| true)
}

/// CPU time of the threads of a process that were last on one of these cores.
pub(crate) fn cpu(process: u32, cores: impl Fn(usize) -> bool) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of = |thread: std::path::PathBuf| {
        let stat = fs::read_to_string(thread.join("stat")).ok()?;
        // Fields from the third on, which follow the name in parentheses; the core is the 39th.
        let core = stat.rsplit_once(") ")?.1.split(' ').nth(36)?.parse().ok()?;
        // Nanoseconds on a CPU come first.
        let spent = fs::read_to_string(thread.join("schedstat")).ok()?;
        let spent = spent.split(' ').next()?.parse().ok()?;
        Some((core, Duration::from_nanos(spent)))
    };
    threads
        .filter_map(|thread| of(thread.unwrap().path()))
        .filter(|(core, _)| cores(*core))
        .map(|(_, spent)| spent)
        .sum()
}
