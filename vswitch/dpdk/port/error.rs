// SPDX-License-Identifier: MIT
//! [`PortError`]: why a port does not do what was asked.

use std::path::PathBuf;

use crate::dpdk::error::Errno;
use crate::dpdk::sys;

/// Why a port does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Device arguments with a NUL byte.
    #[error("device arguments {0:?} contain a NUL byte")]
    Nul(String),
    /// No driver took the device, with what DPDK said about it.
    #[error("`{devargs}` cannot be attached: {}", if said.is_empty() { errno.to_string() } else { said.clone() })]
    Attach {
        /// The device arguments.
        devargs: String,
        /// DPDK's error code, which for many drivers is -1 whatever the cause.
        errno: Errno,
        /// The errors in DPDK's log, perhaps empty.
        said: String,
    },
    /// Devices with drivers of DPDK's have as many ports as there can be.
    #[error(
        "there are {} ports of DPDK's drivers and cannot be more: that is DPDK's limit for one process (RTE_MAX_ETHPORTS of its \
         build), which guests behind vhost-user sockets do not count for",
        sys::RTE_MAX_ETHPORTS
    )]
    TooManyDevices,
    /// The device is there, and all of its ports are taken.
    #[error("`{0}` has no port that is not attached already")]
    NoNewPort(String),
    /// An argument of a vhost-user port that is wrong, or lacking.
    #[error("`{device}`: {why}")]
    Argument {
        /// The port's name.
        device: String,
        /// Which, and what it takes.
        why: String,
    },
    /// A vhost-user port's socket.
    #[error("the socket {} cannot be opened: {why}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// DPDK's vhost library waits for 1,023 files at most: two for each socket that guests connect to, one for each guest that the
    /// switch connects to.
    #[error(
        "DPDK's vhost library serves no more sockets: 511 that guests connect to, or 1023 that it connects to (`client=1`)"
    )]
    TooManySockets,
    /// It has to be configured first.
    #[error("`{0}` is not configured")]
    NotConfigured(String),
    /// It has to be stopped first.
    #[error("`{0}` is started")]
    Started(String),
    /// It has to be started first.
    #[error("`{0}` is not started")]
    NotStarted(String),
    /// Workers hold queues of it.
    #[error("`{0}` has queues in use")]
    QueuesInUse(String),
    /// The queue does not exist, or a worker has it.
    #[error("{direction} queue {queue} of `{device}` is {}", if *queue < *of { "taken" } else { "not there" })]
    Queue {
        /// Its name.
        device: String,
        /// `rx` or `tx`.
        direction: &'static str,
        /// The queue asked for.
        queue: u16,
        /// How many queues there are.
        of: u16,
    },
    /// A setting outside of what the device can do.
    #[error("`{device}` ({driver}): {setting} {asked} is out of range, it takes {range}")]
    Range {
        /// Its name.
        device: String,
        /// The device's driver.
        driver: Box<str>,
        /// `rxq`, `txd`, `mtu`, ...
        setting: &'static str,
        /// The value asked for.
        asked: u32,
        /// The values it takes, in words.
        range: Box<str>,
    },
    /// Buffers smaller than the device fills.
    #[error(
        "`{device}` ({driver}): buffers have {room} bytes for a frame, the driver wants {least}"
    )]
    BuffersTooSmall {
        /// Its name.
        device: String,
        /// The device's driver.
        driver: String,
        /// Bytes of a buffer behind its headroom.
        room: u32,
        /// Bytes that the driver wants.
        least: u32,
    },
    /// DPDK or the driver refused, with what it said about it.
    #[error("`{device}`: {action}: {errno}{}{said}", if said.is_empty() { "" } else { ": " })]
    Refused {
        /// Its name.
        device: String,
        /// What was tried, as `start`.
        action: &'static str,
        /// DPDK's error code.
        errno: Errno,
        /// The errors in DPDK's log, perhaps empty.
        said: String,
    },
}

impl PortError {
    /// The same, with what DPDK logged meanwhile.
    pub(super) fn saying(mut self, log: String) -> Self {
        if let Self::Refused { said, .. } | Self::Attach { said, .. } = &mut self {
            *said = log;
        }
        self
    }
}
