// SPDX-License-Identifier: MIT
//! [`DeviceError`]: why a port does not do what was asked.

use std::path::PathBuf;

use vswitch::dpdk::PortError;
use vswitch::tables::MAX_PORTS;
use vswitch::wire::Mac;

use crate::config::SubportError;
use crate::config::vport::VportError;

/// Why a port does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    /// The device.
    #[error("port {number} (`{device}`): {error}")]
    Port {
        /// The port's number.
        number: u16,
        /// As configured.
        device: String,
        /// What is wrong with it.
        error: PortError,
    },
    /// It cannot be added.
    #[error("`{device}`: {error}")]
    Attach {
        /// As configured.
        device: String,
        /// What is wrong with it.
        error: PortError,
    },
    /// One `port attach` made several ports, so that later numbers would not be the configured ones.
    #[error("`port attach {device}` made {made} ports; the switch numbers one port per line")]
    Numbering {
        /// As configured.
        device: String,
        /// Ports.
        made: usize,
    },
    /// DPDK tells devices apart by their names.
    #[error("the device `{name}` is port {port} already")]
    SameDevice {
        /// Its name.
        name: String,
        /// The port.
        port: u16,
    },
    /// It cannot be a subport, or as one not do this.
    #[error(transparent)]
    Subport(#[from] SubportError),
    /// There is no device for a port of the controller's.
    #[error(transparent)]
    Vport(#[from] VportError),
    /// More than [`MAX_PORTS`].
    #[error(
        "this switch has {MAX_PORTS} ports, subports included, and cannot have more; `port detach` one that is not needed, or have \
         this one on another host"
    )]
    Full,
    /// Something is in the place of its socket.
    #[error("the socket {} cannot be opened: {why}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What.
        why: String,
    },
    /// No such port.
    #[error("there is no port {0}")]
    Unknown(u16),
    /// Its device is not there.
    #[error("port {port} waits for its device: {why}")]
    Absent {
        /// The port's number.
        port: u16,
        /// Why it is not there.
        why: String,
    },
    /// Its queues are sized while it is stopped.
    #[error("port {0} is started: `port stop {0}` first")]
    Started(u16),
    /// The next hops were told at start what it takes.
    #[error("port {0} is an uplink: its MTU is fixed at start, set it in the start-up file")]
    UplinkMtu(u16),
    /// Workers and next hops were told at start which it is.
    #[error(
        "port {0} is an uplink or the host port, which stay: change the start-up file and restart the switch"
    )]
    Fixed(u16),
    /// It would leave ports without a device.
    #[error("port {port} has a subport, port {subport}: `port detach {subport}` first")]
    HasSubport {
        /// The port's number.
        port: u16,
        /// One of its subports.
        subport: u16,
    },
    /// The controller's port decides.
    #[error(
        "port {port} was made for the controller's port {id}, by `set vport template`: it goes when the controller deletes that"
    )]
    OfTemplate {
        /// The port's number.
        port: u16,
        /// The controller's id.
        id: String,
    },
    /// Its next hops, and other hosts, know it by the MAC and the MTU that it had at start.
    #[error(
        "the uplink is back with MAC {} and MTU {}, and had {} and {}: start the switch anew",
        now.0, now.1, told.0, told.1
    )]
    Changed {
        /// At start.
        told: (Mac, u16),
        /// By now.
        now: (Mac, u16),
    },
    /// DPDK looks for its device now.
    #[error("port {0} is being attached")]
    Busy(u16),
    /// No worker runs there.
    #[error(
        "rxq-affinity of port {port} names core {core}, and workers run on {cores:?}: `set corelist`"
    )]
    NoWorkerOn {
        /// The port's number.
        port: u16,
        /// As said.
        core: u16,
        /// The workers'.
        cores: Vec<usize>,
    },
    /// It has fewer.
    #[error(
        "rxq-affinity of port {port} names receive queue {queue}, and it has {rxq}, counted from 0: `port config {port} rxq`"
    )]
    NoQueue {
        /// The port's number.
        port: u16,
        /// As said.
        queue: u16,
        /// How many it has.
        rxq: u16,
    },
    /// One is with its worker for less than a second.
    #[error(
        "it is not known yet what receive queues take: one came or moved less than a second ago"
    )]
    LoadUnknown,
    /// It reads no mail.
    #[error("worker {0} stands still: it neither gives receive queues away nor takes any")]
    StuckWorker(usize),
    /// A worker does not let go of it.
    #[error("a worker does not let go of port {0}")]
    Held(u16),
}
