// SPDX-License-Identifier: MIT
//! From a [`PortConfig`] and what the device can do to a configured device.

use std::ops::RangeInclusive;

use super::device::Device;
use super::{PortError, af_packet};
use crate::dpdk::error::Errno;
use crate::dpdk::pool::Mempool;
use crate::dpdk::sys;
use crate::io::Finishes;

/// Descriptors per ring unless the driver or the configuration prefers another number: testpmd's choice too, which
/// holds a burst of 64 for each of 16 polls.
const DESCRIPTORS: u16 = 1024;

/// The most that a frame can have around its payload, which an MTU does not count: Ethernet, two VLAN tags, and the checksum
/// that some devices store.
const ETHERNET_OVERHEAD: u32 = 14 + 2 * 4 + 4;

/// What DPDK takes a frame to have around its payload unless the driver says otherwise.
const ETHERNET_HEADER_AND_CRC: u32 = 14 + 4;

/// Drivers that send frames of several segments and do not say so: one copies them out, the other only frees them.
const CHAINS_UNANNOUNCED: &[&str] = &["net_pcap", "net_null"];

/// Drivers whose checksum "offload" is a loop over the whole payload, on the worker.
const SOFTWARE_CHECKSUM: &[&str] = &["net_tap"];

/// Drivers of virtio: a sender may leave checksums and segments to its receiver, who gets them as they are if it takes them.
const VIRTIO: &[&str] = &["net_virtio", "net_virtio_user"];

/// How a port is to be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive queues, at least 1. Several share the load by the hash of addresses and ports, where the device can.
    pub rxq: u16,
    /// Send queues, at least 1.
    pub txq: u16,
    /// Descriptors per receive queue; `None` for what the driver prefers.
    pub rxd: Option<u16>,
    /// Descriptors per send queue; `None` for what the driver prefers.
    pub txd: Option<u16>,
    /// Largest payload of a frame in bytes; `None` leaves the device's own. A device of the kernel's keeps its own.
    pub mtu: Option<u16>,
    /// Receives frames for other MAC addresses than the device's too.
    pub promisc: bool,
    /// Receives frames for all groups too: neighbor discovery asks in one.
    pub groups: bool,
    /// A guest is behind it, who may leave checksums to whoever needs them.
    pub guest: bool,
    /// Checksums, and segments of TCP, are left to the device; `None`: where this is less work than to make them here.
    pub tx_offload: Option<bool>,
    /// All frames sent here are from the same pool, and from nowhere else: some drivers then free them faster.
    pub one_pool: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            rxq: 1,
            txq: 1,
            rxd: None,
            txd: None,
            mtu: None,
            promisc: true,
            groups: false,
            guest: false,
            tx_offload: None,
            one_pool: false,
        }
    }
}

/// How a port was set up.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) rxq: u16,
    pub(super) txq: u16,
    pub(super) rxd: u16,
    pub(super) txd: u16,
    pub(super) rx_offloads: u64,
    pub(super) tx_offloads: u64,
    /// Received frames may be unfinished.
    pub(super) unfinished: bool,
    /// What the device finishes of frames that leave by it.
    pub(super) finishes: Finishes,
    /// The driver sends frames of several segments.
    pub(super) chains: bool,
    /// Received frames are spread over the queues by the device.
    pub(super) rss: bool,
    pub(super) promisc_wanted: bool,
    /// What became of that, since the port was started.
    pub(super) promisc: Result<(), Errno>,
    pub(super) groups_wanted: bool,
    /// What became of that, since the port was started.
    pub(super) groups: Result<(), Errno>,
    /// What became of the wish for an MTU.
    pub(super) mtu: Result<(), Errno>,
}

impl Setup {
    /// Configures the device, which is stopped and has no queue in use.
    pub(super) fn apply(
        device: &Device,
        config: &PortConfig,
        pool: &Mempool,
    ) -> Result<Self, PortError> {
        let can = device.capabilities()?;
        let mut config = config.clone();
        if device.driver() == af_packet::DRIVER
            && let Some(mtu) = config.mtu.take()
        {
            af_packet::check_mtu(device, mtu, can.min_mtu)?;
        }
        let config = &config;
        check_range(device, "rxq", config.rxq, 1, can.max_rx_queues)?;
        check_range(device, "txq", config.txq, 1, can.max_tx_queues)?;
        if let Some(mtu) = config.mtu {
            check_range(device, "mtu", mtu, can.min_mtu, max_mtu(&can))?;
        }
        let room = u32::from(pool.frame_room());
        if room < can.min_rx_bufsize {
            let driver = device.driver();
            return Err(PortError::BuffersTooSmall {
                device: device.name().to_owned(),
                driver,
                room,
                least: can.min_rx_bufsize,
            });
        }
        let driver = device.driver();
        let rx_offloads = rx_offloads(&can, config, device, room);
        let tx_offloads = tx_offloads(&can, config, &driver);
        let mut setup = Self {
            rxq: config.rxq,
            txq: config.txq,
            rxd: 0,
            txd: 0,
            rx_offloads,
            tx_offloads,
            unfinished: rx_offloads & sys::ALKAID_RXO_L4_CKSUM != 0,
            finishes: finishes(tx_offloads),
            chains: can.tx_offload_capa & sys::ALKAID_TXO_MULTI_SEGS != 0
                || CHAINS_UNANNOUNCED.contains(&driver.as_str()),
            rss: config.rxq > 1 && can.flow_type_rss_offloads & sys::ALKAID_RSS_FLOWS != 0,
            promisc_wanted: config.promisc,
            promisc: Ok(()),
            groups_wanted: config.groups,
            groups: Ok(()),
            mtu: Ok(()),
        };
        setup.configure(device, config, &can)?;
        setup.mtu = set_mtu(device, config)?;
        setup.choose_rings(device, config, &can)?;
        setup.make_rings(device, pool, &can)?;
        Ok(setup)
    }

    fn configure(
        &self,
        device: &Device,
        config: &PortConfig,
        can: &sys::rte_eth_dev_info,
    ) -> Result<(), PortError> {
        // SAFETY: numbers and null pointers: all zeros means "nothing special" to DPDK.
        let mut wish: sys::rte_eth_conf = unsafe { std::mem::zeroed() };
        wish.rxmode.offloads = self.rx_offloads;
        wish.txmode.offloads = self.tx_offloads;
        wish.rxmode.mtu = config.mtu.unwrap_or_else(|| device.mtu()).into();
        wish.rxmode.mq_mode = sys::ALKAID_MQ_RX_NONE;
        if self.rss {
            wish.rxmode.mq_mode = sys::ALKAID_MQ_RX_RSS;
            wish.rx_adv_conf.rss_conf.rss_hf = can.flow_type_rss_offloads & sys::ALKAID_RSS_FLOWS;
        }
        // SAFETY: the port is ours and stopped, `wish` is read during the call.
        let status =
            unsafe { sys::rte_eth_dev_configure(device.id(), self.rxq, self.txq, &raw const wish) };
        Errno::check(status).map_err(|errno| device.refused("configure", errno))?;
        Ok(())
    }

    /// Ring sizes: those asked for if the driver takes them, else what it prefers, else [`DESCRIPTORS`] as near as it can.
    fn choose_rings(
        &mut self,
        device: &Device,
        config: &PortConfig,
        can: &sys::rte_eth_dev_info,
    ) -> Result<(), PortError> {
        let choice = |asked: Option<u16>, preferred: u16| match (asked, preferred) {
            (Some(asked), _) => asked,
            (None, 0) => DESCRIPTORS,
            (None, preferred) => preferred,
        };
        let mut rxd = choice(config.rxd, can.default_rxportconf.ring_size);
        let mut txd = choice(config.txd, can.default_txportconf.ring_size);
        // SAFETY: writes two numbers; the port is ours.
        let status = unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(device.id(), &raw mut rxd, &raw mut txd)
        };
        Errno::check(status).map_err(|errno| device.refused("choose ring sizes", errno))?;
        check_descriptors(device, "rxd", config.rxd, rxd, &can.rx_desc_lim)?;
        check_descriptors(device, "txd", config.txd, txd, &can.tx_desc_lim)?;
        (self.rxd, self.txd) = (rxd, txd);
        Ok(())
    }

    fn make_rings(
        &self,
        device: &Device,
        pool: &Mempool,
        can: &sys::rte_eth_dev_info,
    ) -> Result<(), PortError> {
        let mut rx = can.default_rxconf;
        rx.offloads = self.rx_offloads;
        let mut tx = can.default_txconf;
        tx.offloads = self.tx_offloads;
        // The largest number is DPDK's SOCKET_ID_ANY.
        let socket = device.socket().unwrap_or(u32::MAX);
        for queue in 0..self.rxq {
            // SAFETY: the port is ours, stopped and configured for that many queues; the pool outlives it, as
            // both end before the EAL does.
            let status = unsafe {
                sys::rte_eth_rx_queue_setup(
                    device.id(),
                    queue,
                    self.rxd,
                    socket,
                    &raw const rx,
                    pool.as_ptr(),
                )
            };
            Errno::check(status)
                .map_err(|errno| device.refused("set up a receive queue", errno))?;
        }
        for queue in 0..self.txq {
            // SAFETY: as above.
            let status = unsafe {
                sys::rte_eth_tx_queue_setup(device.id(), queue, self.txd, socket, &raw const tx)
            };
            Errno::check(status).map_err(|errno| device.refused("set up a send queue", errno))?;
        }
        Ok(())
    }
}

/// Offloads on receive that help, of those the device has.
fn rx_offloads(
    can: &sys::rte_eth_dev_info,
    config: &PortConfig,
    device: &Device,
    room: u32,
) -> u64 {
    let longest = u32::from(config.mtu.unwrap_or_else(|| device.mtu())) + ETHERNET_OVERHEAD;
    let mut wanted = 0;
    if !SOFTWARE_CHECKSUM.contains(&device.driver().as_str()) {
        wanted |= sys::ALKAID_RXO_IPV4_CKSUM;
    }
    if config.guest && VIRTIO.contains(&device.driver().as_str()) {
        wanted |= sys::ALKAID_RXO_L4_CKSUM;
    }
    if longest > room {
        // Costs some drivers their fastest receive function, hence not always.
        wanted |= sys::ALKAID_RXO_SCATTER;
    }
    wanted & can.rx_offload_capa
}

/// Offloads on send that help, of those the device has.
fn tx_offloads(can: &sys::rte_eth_dev_info, config: &PortConfig, driver: &str) -> u64 {
    let mut wanted = sys::ALKAID_TXO_MULTI_SEGS;
    let is_virtio = VIRTIO.contains(&driver);
    // Other devices send all frames by a slower function if they may have to look into one.
    if config.tx_offload.unwrap_or(is_virtio)
        && can.tx_offload_capa & sys::ALKAID_TXO_L4_CKSUM == sys::ALKAID_TXO_L4_CKSUM
    {
        wanted |= sys::ALKAID_TXO_L4_CKSUM;
        if is_virtio {
            wanted |= sys::ALKAID_TXO_TCP_TSO;
        }
    }
    if config.one_pool {
        wanted |= sys::ALKAID_TXO_FAST_FREE;
    }
    wanted & can.tx_offload_capa
}

/// What a device with these offloads finishes.
fn finishes(tx_offloads: u64) -> Finishes {
    let segments = tx_offloads & sys::ALKAID_TXO_TCP_TSO != 0;
    Finishes {
        checksums: tx_offloads & sys::ALKAID_TXO_L4_CKSUM != 0,
        segments_ipv4: segments,
        segments_ipv6: segments,
    }
}

/// The largest MTU that the device takes. Some name one beyond the longest frame that they take, which counts for
/// DPDK when it configures them.
fn max_mtu(can: &sys::rte_eth_dev_info) -> u16 {
    let overhead = match can.max_mtu {
        u16::MAX => ETHERNET_HEADER_AND_CRC,
        mtu => can
            .max_rx_pktlen
            .checked_sub(mtu.into())
            .unwrap_or(ETHERNET_HEADER_AND_CRC),
    };
    let longest = can.max_rx_pktlen.saturating_sub(overhead);
    can.max_mtu.min(u16::try_from(longest).unwrap_or(u16::MAX))
}

/// Tells the device its MTU. That it has no such notion is no error: it takes what fits a buffer.
fn set_mtu(device: &Device, config: &PortConfig) -> Result<Result<(), Errno>, PortError> {
    let Some(mtu) = config.mtu else {
        return Ok(Ok(()));
    };
    // SAFETY: the port is ours and stopped.
    match Errno::check(unsafe { sys::rte_eth_dev_set_mtu(device.id(), mtu) }) {
        Ok(_) => Ok(Ok(())),
        Err(errno) if errno.is_unsupported() => Ok(Err(errno)),
        Err(errno) => Err(device.refused("set the MTU", errno)),
    }
}

fn check_range(
    device: &Device,
    setting: &'static str,
    asked: u16,
    least: u16,
    most: u16,
) -> Result<(), PortError> {
    in_range(
        device.name(),
        &device.driver(),
        setting,
        asked,
        least..=most,
    )
}

/// # Errors
/// When `asked` is not in `range`.
pub(in crate::dpdk) fn in_range(
    device: &str,
    driver: &str,
    setting: &'static str,
    asked: u16,
    range: RangeInclusive<u16>,
) -> Result<(), PortError> {
    if range.contains(&asked) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    let range = match least == most {
        true => format!("{most} only"),
        false => format!("{least} to {most}"),
    };
    Err(PortError::Range {
        device: device.to_owned(),
        driver: driver.into(),
        setting,
        asked: asked.into(),
        range: range.into(),
    })
}

fn check_descriptors(
    device: &Device,
    setting: &'static str,
    asked: Option<u16>,
    adjusted: u16,
    limit: &sys::rte_eth_desc_lim,
) -> Result<(), PortError> {
    match asked {
        Some(asked) if asked != adjusted => {
            let range = format!(
                "{} to {} in steps of {}",
                limit.nb_min,
                limit.nb_max,
                limit.nb_align.max(1)
            );
            Err(PortError::Range {
                device: device.name().to_owned(),
                driver: device.driver().into(),
                setting,
                asked: asked.into(),
                range: range.into(),
            })
        }
        _ => Ok(()),
    }
}
