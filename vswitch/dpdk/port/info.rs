// SPDX-License-Identifier: MIT
//! What a port is and does, for people.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;

use super::backing::LinkOf;
use super::config::Setup;
use super::device::Device;
use crate::dpdk::sys;
use crate::io::Finishes;
use crate::wire::addr::Mac;

/// The state of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Frames can pass.
    pub up: bool,
    /// Megabits per second; `None` if unknown.
    pub mbps: Option<u32>,
    /// Both directions at once.
    pub full_duplex: bool,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.up, self.mbps) {
            (false, _) => f.write_str("down"),
            (true, None) => f.write_str("up"),
            (true, Some(mbps)) => {
                write!(
                    f,
                    "up, {mbps} Mbit/s, {} duplex",
                    if self.full_duplex { "full" } else { "half" }
                )
            }
        }
    }
}

/// A device's counters since it started or they were cleared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost since nobody fetched them from the receive ring in time.
    pub rx_missed: u64,
    /// Frames received broken.
    pub rx_errors: u64,
    /// Receive attempts that failed since the mempool was empty.
    pub rx_nombuf: u64,
    /// Frames that were accepted for sending, and not sent.
    pub tx_errors: u64,
    /// Frames refused for sending: the driver takes one segment only, and they do not fit one buffer.
    pub tx_unsendable: u64,
}

impl PortStats {
    /// Frames that were to be sent, and were lost: both of the above.
    pub const fn tx_lost(&self) -> u64 {
        self.tx_errors + self.tx_unsendable
    }
}

/// What a port is and how it is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// The device's name.
    pub name: String,
    /// The driver's name.
    pub driver: String,
    /// Its MAC address.
    pub mac: Mac,
    /// Largest payload of a frame, in bytes.
    pub mtu: u16,
    /// NUMA node, `None` if it belongs to none.
    pub socket: Option<u32>,
    /// Started.
    pub started: bool,
    /// State of the link.
    pub link: Link,
    /// Receive queues; 0 until it is configured. Likewise below.
    pub rxq: u16,
    /// Send queues.
    pub txq: u16,
    /// Descriptors per receive queue.
    pub rxd: u16,
    /// Descriptors per send queue.
    pub txd: u16,
    /// Most receive queues that it can have.
    pub max_rxq: u16,
    /// Most send queues that it can have.
    pub max_txq: u16,
    /// Its peer (a vhost-user guest) says which of its queues are used, sends by any of them, and may take from the first one only.
    pub peer_chooses: bool,
    /// What the device does itself, a sentence each.
    pub offloads: Vec<&'static str>,
    /// What it cannot do and software does, or nobody; a sentence each.
    pub fallbacks: Vec<&'static str>,
}

/// A port's link, for another thread than the one that has the port. It does not keep the device.
#[derive(Clone, Debug)]
pub struct LinkWatch(pub(super) Weak<dyn LinkOf>);

impl LinkWatch {
    /// True if the port is started and its link is up. Waits for nobody who configures or starts the port, nor for a change
    /// of another. If the port is dropped meanwhile, its device closes in here.
    pub fn is_up(&self) -> bool {
        self.0.upgrade().is_some_and(|link| link.is_up())
    }

    /// True if the port is no more.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

pub(super) fn link(device: &Device) -> Link {
    let _alone = device.lock_link();
    let mut link = MaybeUninit::zeroed();
    // SAFETY: writes the struct; on failure it stays zero, which is "down".
    unsafe { sys::rte_eth_link_get_nowait(device.id(), link.as_mut_ptr()) };
    // SAFETY: numbers only, zeroed before.
    let link: sys::rte_eth_link = unsafe { link.assume_init() };
    let known = link.link_speed != 0 && link.link_speed != sys::ALKAID_SPEED_UNKNOWN;
    Link {
        up: link.link_status() != 0,
        mbps: known.then_some(link.link_speed),
        full_duplex: link.link_duplex() != 0,
    }
}

pub(super) fn stats(device: &Device) -> PortStats {
    let mut stats = MaybeUninit::zeroed();
    // SAFETY: writes the struct; on failure it stays zero.
    unsafe { sys::rte_eth_stats_get(device.id(), stats.as_mut_ptr()) };
    // SAFETY: numbers only, zeroed before.
    let stats: sys::rte_eth_stats = unsafe { stats.assume_init() };
    PortStats {
        rx_packets: stats.ipackets,
        rx_bytes: stats.ibytes,
        tx_packets: stats.opackets,
        tx_bytes: stats.obytes,
        rx_missed: stats.imissed,
        rx_errors: stats.ierrors,
        rx_nombuf: stats.rx_nombuf,
        tx_errors: stats.oerrors,
        tx_unsendable: device.unsendable.load(Relaxed),
    }
}

pub(super) fn info(device: &Device, setup: Option<&Setup>) -> PortInfo {
    let can = device.capabilities().ok();
    let (offloads, fallbacks) = setup.map(in_words).unwrap_or_default();
    PortInfo {
        name: device.name().to_owned(),
        driver: device.driver(),
        mac: device.mac(),
        mtu: device.mtu(),
        socket: device.socket(),
        started: device.is_started(),
        link: link(device),
        rxq: setup.map_or(0, |s| s.rxq),
        txq: setup.map_or(0, |s| s.txq),
        rxd: setup.map_or(0, |s| s.rxd),
        txd: setup.map_or(0, |s| s.txd),
        max_rxq: can.map_or(0, |c| c.max_rx_queues),
        max_txq: can.map_or(0, |c| c.max_tx_queues),
        peer_chooses: false,
        offloads,
        fallbacks,
    }
}

/// What the device does, and what it leaves to software.
fn in_words(setup: &Setup) -> (Vec<&'static str>, Vec<&'static str>) {
    let rx = |offload: u64| setup.rx_offloads & offload != 0;
    let (mut offloads, mut fallbacks) = (Vec::new(), Vec::new());
    let mut tell = |has: bool, offload, fallback| {
        if has {
            offloads.push(offload)
        } else {
            fallbacks.push(fallback)
        }
    };
    tell(
        rx(sys::ALKAID_RXO_IPV4_CKSUM),
        "checks the IPv4 header checksum of received frames",
        "the IPv4 header checksum of received frames is checked in software",
    );
    tell(
        setup.chains,
        "sends frames of several buffers as they are",
        "frames of several buffers are copied into one before they are sent; one that does not fit is refused",
    );
    if setup.unfinished {
        tell(
            rx(sys::ALKAID_RXO_L4_CKSUM),
            "its guest may leave TCP and UDP checksums to whoever needs them",
            "TCP and UDP checksums that its guest leaves undone are made by the driver, or by the switch as they arrive",
        );
    }
    if setup.rxq > 1 {
        tell(
            setup.rss,
            "spreads received frames over its queues by the hash of addresses and ports (RSS)",
            "received frames come to whatever queue the driver chooses: it has no RSS",
        );
    }
    tell_finishes(setup.finishes, &mut offloads, &mut fallbacks);
    if rx(sys::ALKAID_RXO_SCATTER) {
        offloads.push("spreads a received frame that is longer than a buffer over several");
    }
    if setup.tx_offloads & sys::ALKAID_TXO_FAST_FREE != 0 {
        offloads.push("frees sent frames in bulk to the one pool that they are from");
    }
    match (setup.promisc_wanted, setup.promisc) {
        (true, Ok(())) => offloads.push("receives frames for any MAC address (promiscuous)"),
        (false, Ok(())) => offloads.push("receives frames for its own MAC address only"),
        (_, Err(_)) => {
            fallbacks.push("it receives whatever it is given: the driver has no promiscuous mode")
        }
    }
    match (setup.groups_wanted, setup.groups) {
        (false, _) => {}
        (true, Ok(())) => offloads.push("receives frames for any group (multicast)"),
        (true, Err(_)) => fallbacks.push(
            "it receives what it is given of neighbor discovery: the driver cannot be asked for multicast frames",
        ),
    }
    if setup.mtu.is_err() {
        fallbacks.push("the switch alone heeds the MTU: the driver has none");
    }
    (offloads, fallbacks)
}

/// What becomes of what another guest left undone, a sentence each.
pub(in crate::dpdk) fn tell_finishes(
    finishes: Finishes,
    offloads: &mut Vec<&'static str>,
    fallbacks: &mut Vec<&'static str>,
) {
    match finishes.checksums {
        true => offloads.push("takes frames whose TCP and UDP checksums another guest left undone"),
        false => fallbacks.push(
            "TCP and UDP checksums that another guest left undone are made in software before they leave by it",
        ),
    }
    match finishes.segments_ipv4 {
        true => offloads.push("takes TCP packets that another guest left to be cut into segments"),
        false => fallbacks.push(
            "TCP packets that another guest left to be cut are cut in software before they leave by it",
        ),
    }
}
