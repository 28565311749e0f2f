// SPDX-License-Identifier: MIT
//! DPDK's error codes.

use std::ffi::{CStr, c_int};
use std::fmt;

use super::sys;

/// Why DPDK refused: an `errno` value, or one of DPDK's own above it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(i32);

impl Errno {
    /// From a function that returns a negative error code, or zero and more for success.
    pub(super) fn check(returned: c_int) -> Result<c_int, Self> {
        if returned < 0 {
            Err(Self(-returned))
        } else {
            Ok(returned)
        }
    }

    /// What the last failed call of this thread left behind, for functions that return null or -1.
    pub(super) fn last() -> Self {
        // SAFETY: reads a thread-local variable.
        Self(unsafe { sys::alkaid_errno() })
    }

    /// The positive code, as in `<errno.h>` and `rte_errno.h`.
    pub fn code(self) -> i32 {
        self.0
    }

    /// True if DPDK or the driver does not have the function.
    pub(super) fn is_unsupported(self) -> bool {
        self.0 == libc::ENOTSUP || self.0 == libc::ENOSYS
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: any number is allowed.
        let text = unsafe { sys::rte_strerror(self.0) };
        // SAFETY: `rte_strerror` returns a terminated string of this thread, which the next call overwrites;
        // it is copied out before.
        let text = unsafe { CStr::from_ptr(text) };
        write!(f, "{} ({})", text.to_string_lossy(), self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}
