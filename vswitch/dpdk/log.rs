// SPDX-License-Identifier: MIT
//! DPDK's log: every line goes to stderr or to whoever asked for it, and the errors among those of a call that failed become
//! part of its error.

use std::ffi::c_char;
use std::io::Write;
use std::sync::{Mutex, OnceLock, TryLockError};

use super::sys;

/// Most lines that one call keeps: a driver that refuses says why in one or two, right before it does.
const KEPT_LINES: usize = 16;

/// The errors since a call began; `None` while nobody listens.
static CAPTURED: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Who gets the lines; nobody: stderr.
static READER: OnceLock<fn(Severity, &str)> = OnceLock::new();

/// How grave a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Errors, and what is worse.
    Error,
    /// Warnings.
    Warning,
    /// Notices and information.
    Info,
    /// Details.
    Debug,
}

/// Gives each line of DPDK's log to `reader`, without its line's end, instead of to stderr. For good: the first call counts.
/// Lines come from any thread, workers' too while their queues are set up.
pub fn log_to(reader: fn(Severity, &str)) {
    let _ = READER.set(reader);
}

/// One call at a time is listened to.
static LISTENING: Mutex<()> = Mutex::new(());

/// Sends DPDK's log here. Without it, DPDK writes to stdout and syslog.
pub(super) fn redirect() {
    // SAFETY: `sink` has the declared type and never unwinds. On failure DPDK keeps its own log.
    unsafe { sys::alkaid_log_to(Some(sink)) };
}

/// Runs `call`, and returns with its result the errors that DPDK logged meanwhile, joined by `; `.
/// Those of other threads in that time are among them. Does not nest. While another thread listens, which may take long, none
/// are returned: nobody waits for a message.
pub(super) fn captured<T>(call: impl FnOnce() -> T) -> (T, String) {
    let _listening = match LISTENING.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return (call(), String::new()),
    };
    set_capture(Some(Vec::new()));
    let result = call();
    let lines = set_capture(None).unwrap_or_default();
    (result, lines.join("; "))
}

fn set_capture(lines: Option<Vec<String>>) -> Option<Vec<String>> {
    let mut captured = CAPTURED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    std::mem::replace(&mut captured, lines)
}

/// Says something as DPDK does.
pub(super) fn tell(severity: Severity, line: &str) {
    match READER.get() {
        Some(reader) => reader(severity, line),
        // A closed stderr must not end the switch.
        None => drop(writeln!(std::io::stderr(), "{line}")),
    }
}

unsafe extern "C" fn sink(text: *const c_char, length: usize) {
    // SAFETY: the shim passes `length` readable bytes that stay until this returns.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    let line = String::from_utf8_lossy(bytes);
    // SAFETY: reads a thread-local variable.
    let level = unsafe { sys::rte_log_cur_msg_loglevel() } as u32;
    let severity = match level {
        0..=sys::RTE_LOG_ERR => Severity::Error,
        sys::RTE_LOG_WARNING => Severity::Warning,
        sys::RTE_LOG_NOTICE | sys::RTE_LOG_INFO => Severity::Info,
        _ => Severity::Debug,
    };
    tell(severity, line.trim());
    if severity != Severity::Error {
        return;
    }
    let mut captured = CAPTURED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(lines) = captured.as_mut() {
        if lines.len() == KEPT_LINES {
            lines.remove(0);
        }
        lines.push(line.trim().to_owned());
    }
}
