// SPDX-License-Identifier: MIT
//! [`Eal`]: DPDK's environment, started once per process.

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::error::Errno;
use super::lcore::{self, Affinity};
use super::{args, log, sys};

/// What DPDK takes for the name of the program. It stands before the arguments.
const PROGRAM: &CStr = c"alkaid";

static STARTED: AtomicBool = AtomicBool::new(false);

/// Why DPDK's environment did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// It starts once per process, whether that succeeds or not.
    #[error("DPDK was started before in this process")]
    Again,
    /// An argument with a NUL byte.
    #[error("EAL argument {0:?} contains a NUL byte")]
    Nul(String),
    /// An argument upon which DPDK would not return, or that the switch cannot live with.
    #[error("EAL argument `{argument}` is refused: {reason}")]
    Refused {
        /// The argument.
        argument: String,
        /// Why, in words.
        reason: &'static str,
    },
    /// An argument that belongs to no option.
    #[error("EAL argument `{0}` is not an option, nor the value of one")]
    Leftover(String),
    /// Refused, with what DPDK said about it.
    #[error("DPDK does not start: {}", if said.is_empty() { errno.to_string() } else { said.clone() })]
    Init {
        /// DPDK's error code, which says less than its log.
        errno: Errno,
        /// The errors in DPDK's log. What getopt does not understand it writes to stderr, not there.
        said: String,
    },
    /// Ports, pools, threads or clones of the [`Eal`] are left.
    #[error("DPDK cannot stop: ports, pools or registered threads are still there")]
    StillUsed,
    /// Frames that are in no pool.
    #[error("DPDK cannot stop: {0} frames are not back in their pools")]
    FramesOut(u32),
    /// Called on another thread than [`Eal::init`].
    #[error("DPDK can be stopped on the thread only that started it")]
    WrongThread,
    /// Refused while stopping.
    #[error("DPDK does not stop: {0}")]
    Cleanup(Errno),
}

/// Proof that DPDK runs. Clones are cheap; ports, pools and registered threads hold one each.
#[derive(Clone, Debug)]
pub struct Eal {
    alive: Arc<()>,
}

impl Eal {
    /// Starts DPDK with `args` as its documentation's "EAL parameters" has them, without a program name:
    /// `["-l", "0", "--no-huge"]`. Call once, before the threads that are to inherit nothing from it.
    ///
    /// DPDK pins the calling thread to the first lcore; its affinity is restored here, so that threads
    /// spawned later may run anywhere. The log goes to stderr. Takes some 100 ms; blocks for as long as a
    /// `--vdev=net_virtio_user...,server=1` has no client.
    ///
    /// # Errors
    /// See [`EalError`]. After any but `Again`, `Nul` and `Refused`, it cannot be tried again in this process.
    pub fn init(args: &[String]) -> Result<Self, EalError> {
        args::check(args, memory_mib())?;
        let owned = args
            .iter()
            .map(|arg| CString::new(arg.as_str()).map_err(|_| EalError::Nul(arg.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        if STARTED.swap(true, SeqCst) {
            return Err(EalError::Again);
        }
        // DPDK may keep pointers into its arguments for as long as the process runs.
        let mut argv: Vec<*mut c_char> = vec![PROGRAM.as_ptr().cast_mut()];
        argv.extend(owned.into_iter().map(CString::into_raw));
        argv.push(std::ptr::null_mut());
        let argv = argv.leak();
        let count = argv.len() - 1;

        log::redirect();
        let affinity = Affinity::of_this_thread();
        // SAFETY: `count` terminated strings and a final null that are never freed; called once, as STARTED says.
        let (parsed, said) =
            log::captured(|| unsafe { sys::rte_eal_init(count as c_int, argv.as_mut_ptr()) });
        affinity.restore();
        if parsed < 0 {
            return Err(EalError::Init {
                errno: Errno::last(),
                said,
            });
        }
        // getopt moved what it did not understand to the end.
        if let Some(leftover) = argv[..count].get(parsed as usize + 1) {
            // SAFETY: one of the strings above.
            let leftover = unsafe { CStr::from_ptr(*leftover) };
            return Err(EalError::Leftover(leftover.to_string_lossy().into_owned()));
        }
        Ok(Self {
            alive: Arc::new(()),
        })
    }

    /// Stops DPDK: gives back its memory and removes its run-time files. Optional, as the process's end does
    /// much of it; huge page files in particular stay without. Drop ports, queues, pools and frames before.
    ///
    /// # Errors
    /// And no change, when any of those is left or on another thread than [`Eal::init`]'s.
    pub fn cleanup(self) -> Result<(), EalError> {
        // SAFETY: reads a variable that `rte_eal_init` set.
        let main = unsafe { sys::rte_get_main_lcore() };
        if lcore::current() != Some(main) {
            return Err(EalError::WrongThread);
        }
        // Who frees a frame last touches its pool after the count below is right. That is nobody: such a
        // thread is this one, or is registered and so holds a clone, or has no cache, where the count comes last.
        Arc::into_inner(self.alive).ok_or(EalError::StillUsed)?;
        // SAFETY: walks DPDK's own list of pools, under its lock.
        let out = unsafe { sys::alkaid_in_use() };
        if out != 0 {
            return Err(EalError::FramesOut(out));
        }
        let folder = runtime_dir();
        // SAFETY: no handle and no frame is left, hence nothing that would touch DPDK's memory again.
        Errno::check(unsafe { sys::rte_eal_cleanup() }).map_err(EalError::Cleanup)?;
        // DPDK leaves its folder behind. It is empty, unless another process of this prefix is using it.
        let _ = std::fs::remove_dir(folder);
        Ok(())
    }
}

/// Where DPDK keeps its run-time files: `/var/run/dpdk/PREFIX` for root.
fn runtime_dir() -> PathBuf {
    // SAFETY: returns a terminated string that stays until DPDK stops.
    let path = unsafe { sys::rte_eal_get_runtime_dir() };
    // SAFETY: as above.
    let path = unsafe { CStr::from_ptr(path) };
    OsStr::from_bytes(path.to_bytes()).into()
}

/// What the machine has, in MiB.
fn memory_mib() -> u64 {
    // SAFETY: reads a constant of the system.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    // SAFETY: as above.
    let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    match (u64::try_from(pages), u64::try_from(page_size)) {
        (Ok(pages), Ok(page_size)) => pages.saturating_mul(page_size) >> 20,
        _ => u64::MAX, // unknown: DPDK finds out
    }
}

/// The CPU's time-stamp counter, see [`tsc_hz`].
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: reads a register.
    unsafe { sys::alkaid_tsc() }
}

/// Ticks of [`tsc`] per second, as DPDK measured it when it started. Never zero.
pub fn tsc_hz(_: &Eal) -> u64 {
    // SAFETY: reads a variable that `rte_eal_init` set.
    unsafe { sys::rte_get_tsc_hz() }.max(1)
}

/// The DPDK that runs, such as `DPDK 22.11.11`.
pub fn version() -> String {
    // SAFETY: no arguments.
    let text = unsafe { sys::rte_version() };
    // SAFETY: `rte_version` returns a terminated static string.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}
