// SPDX-License-Identifier: MIT
//! [`Vhost`]: a port whose guest is behind a vhost-user socket, by DPDK's vhost library.
//!
//! It is named as DPDK's net_vhost driver names its devices, and is none: ports of drivers are few in a process
//! (RTE_MAX_ETHPORTS), and sockets are [`FILES`](socket) / 2. A guest may come and go at any time; [`ring`] says how its
//! memory is kept from going while a worker is in it.
//!
//! Frames in few buffers, of which a checksum is left at most, are copied here, between the guest's memory and ours ([`split`]).
//! Whatever else a ring says is the library's to serve, and to check: long chains, segments that are left to be cut, addresses
//! outside of the guest's memory.

mod args;
mod checksum;
mod library;
mod queue;
mod ring;
mod socket;
mod split;
mod state;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::eal::Eal;
use super::pool::Mempool;
use super::port::{
    Backing, Link, LinkOf, PortConfig, PortError, PortInfo, PortRx, PortStats, PortTx, in_range,
    tell_finishes,
};
use super::sys;
use crate::io::Finishes;
use crate::wire::addr::Mac;
use args::Args;
pub(super) use args::names_vhost;
pub(super) use queue::{VhostRx, VhostTx};
use socket::Socket;
use state::State;

/// Of what it is in the driver's place.
const DRIVER: &str = "net_vhost";

/// What guests take unless they, or the configuration, say otherwise.
const MTU: u16 = 1500;

/// Least and most that an MTU can be: IPv4's least (RFC 791), and what fits a frame of 64 KiB.
const MTUS: std::ops::RangeInclusive<u16> = 68..=65_521;

/// The first four bytes of its MACs, locally administered: as net_vhost's.
const MAC_PREFIX: [u8; 4] = *b"VHOS";

/// A socket, and how it is set up.
#[derive(Debug)]
pub(super) struct Vhost {
    args: Args,
    socket: Arc<Socket>,
    setup: Option<Setup>,
    /// What was counted when statistics were cleared.
    cleared: PortStats,
}

#[derive(Clone, Debug)]
struct Setup {
    config: PortConfig,
    pool: Mempool,
}

impl Setup {
    /// What other guests left undone is left to the guest, if it takes that.
    fn leaves(&self) -> bool {
        self.config.tx_offload != Some(false)
    }
}

impl Vhost {
    /// Opens the socket that `devargs` name.
    pub(super) fn attach(eal: &Eal, devargs: &str) -> Result<Self, PortError> {
        let args = Args::parse(devargs)?;
        Ok(Self {
            socket: Arc::new(Socket::open(eal, &args)?),
            args,
            setup: None,
            cleared: PortStats::default(),
        })
    }

    fn counted(&self) -> PortStats {
        let mut sum = PortStats::default();
        for (number, ring) in self.socket.state.rings.iter().enumerate() {
            let (packets, bytes) = ring.counted();
            if number % 2 == 0 {
                sum.tx_packets += packets;
                sum.tx_bytes += bytes;
            } else {
                sum.rx_packets += packets;
                sum.rx_bytes += bytes;
            }
        }
        sum
    }

    fn setup(&self) -> Result<&Setup, PortError> {
        let lacking = || PortError::NotConfigured(self.args.name.clone());
        self.setup.as_ref().ok_or_else(lacking)
    }

    fn set_started(&self, started: bool) {
        self.socket.state.started.store(started, Relaxed);
    }
}

impl State {
    /// What the guest takes undone, at this moment.
    fn finishes(&self) -> Finishes {
        let features = self.features.load(Relaxed);
        let has = |feature: u64| features & feature != 0;
        let checksums = has(sys::ALKAID_GUEST_CSUM);
        Finishes {
            checksums,
            segments_ipv4: checksums && has(sys::ALKAID_GUEST_TSO4),
            segments_ipv6: checksums && has(sys::ALKAID_GUEST_TSO6),
        }
    }
}

impl LinkOf for Socket {
    fn is_up(&self) -> bool {
        self.state.started.load(Relaxed) && self.state.has_guest()
    }
}

impl Backing for Vhost {
    fn name(&self) -> &str {
        &self.args.name
    }

    fn is_started(&self) -> bool {
        self.socket.state.started.load(Relaxed)
    }

    fn configure(&mut self, config: &PortConfig, pool: &Mempool) -> Result<(u16, u16), PortError> {
        let check =
            |setting, asked, range| in_range(&self.args.name, DRIVER, setting, asked, range);
        // The guest may send by each of them.
        check("rxq", config.rxq, self.args.queues..=self.args.queues)?;
        check("txq", config.txq, 1..=self.args.queues)?;
        if let Some(mtu) = config.mtu {
            check("mtu", mtu, MTUS)?;
        }
        self.setup = Some(Setup {
            config: config.clone(),
            pool: pool.clone(),
        });
        Ok((config.rxq, config.txq))
    }

    fn start(&mut self) -> Result<(), PortError> {
        self.setup()?;
        self.set_started(true);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), PortError> {
        self.set_started(false);
        Ok(())
    }

    fn rx(&self, queue: u16, lease: Arc<()>) -> Result<PortRx, PortError> {
        let pool = self.setup()?.pool.clone();
        Ok(PortRx::Vhost(VhostRx::new(
            &self.socket,
            lease,
            queue,
            pool,
        )))
    }

    fn tx(&self, queue: u16, lease: Arc<()>) -> Result<PortTx, PortError> {
        let leaves = self.setup()?.leaves();
        Ok(PortTx::Vhost(VhostTx::new(
            &self.socket,
            lease,
            queue,
            leaves,
        )))
    }

    /// A guest's port has no MACs to tell frames by.
    fn set_promiscuous(&mut self, _on: bool) -> Result<(), PortError> {
        Ok(())
    }

    fn mac(&self) -> Mac {
        let [a, b, c, d] = MAC_PREFIX;
        let [e, f] = self.args.number().to_be_bytes();
        Mac::new([a, b, c, d, e, f])
    }

    fn mtu(&self) -> u16 {
        self.setup
            .as_ref()
            .and_then(|it| it.config.mtu)
            .unwrap_or(MTU)
    }

    fn link(&self) -> Link {
        Link {
            up: self.socket.state.has_guest(),
            mbps: None,
            full_duplex: true,
        }
    }

    fn link_of(&self) -> Arc<dyn LinkOf> {
        Arc::clone(&self.socket) as Arc<dyn LinkOf>
    }

    fn stats(&self) -> PortStats {
        let (now, cleared) = (self.counted(), &self.cleared);
        PortStats {
            rx_packets: now.rx_packets - cleared.rx_packets,
            rx_bytes: now.rx_bytes - cleared.rx_bytes,
            tx_packets: now.tx_packets - cleared.tx_packets,
            tx_bytes: now.tx_bytes - cleared.tx_bytes,
            ..now
        }
    }

    fn clear_stats(&mut self) {
        self.cleared = self.counted();
    }

    fn info(&self) -> PortInfo {
        let config = self.setup.as_ref().map(|setup| &setup.config);
        let mut offloads = vec![
            "sends frames of several buffers as they are",
            "its guest may leave TCP and UDP checksums to whoever needs them",
            "receives frames for any MAC address (promiscuous)",
        ];
        let mut fallbacks = Vec::new();
        if self.args.withheld & sys::ALKAID_HOST_TSO == 0 {
            offloads.push("its guest may leave TCP packets to be cut into segments");
        }
        let leaves = self.setup.as_ref().is_some_and(Setup::leaves);
        let finishes = match leaves {
            true => self.socket.state.finishes(),
            false => Finishes::default(),
        };
        tell_finishes(finishes, &mut offloads, &mut fallbacks);
        if config.is_some_and(|config| config.mtu.is_some()) {
            fallbacks.push("the switch alone heeds the MTU: the driver has none");
        }
        PortInfo {
            name: self.args.name.clone(),
            driver: DRIVER.to_owned(),
            mac: self.mac(),
            mtu: self.mtu(),
            socket: None,
            started: self.is_started(),
            link: self.link(),
            rxq: config.map_or(0, |config| config.rxq),
            txq: config.map_or(0, |config| config.txq),
            rxd: 0,
            txd: 0,
            max_rxq: self.args.queues,
            max_txq: self.args.queues,
            peer_chooses: true,
            offloads,
            fallbacks,
        }
    }
}
