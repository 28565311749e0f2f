// SPDX-License-Identifier: MIT
//! Every packet is accounted for: per port, summed over workers, `rx = forwarded + answered + held + sum(drops)`
//! once nothing is on its way. Answered are those that were for the switch itself; held are those that wait for the
//! controller to say where they go. What the switch sends of its own is in `tx` and `own`, and
//! in nothing else. Of a packet that it fragments, or copies to several receivers, the last one counts as the packet, the
//! others as its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::io::Frame;
use crate::tables::{MAX_PORTS, PortId, by_port};

use capture::Capture;
pub use load::{BURST_SIZES, Load, QueueLoad, ROUNDS_PER_TIMED};

pub mod capture;
mod load;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a packet that was received does not leave. Each packet is counted under exactly one.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $name,)+ }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name that counters are shown under.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// One sentence for an operator.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The frame, or its first buffer, ends before its headers do.
    Truncated = "truncated",
    /// A length or version field contradicts the frame.
    Malformed = "malformed",
    /// The outer IPv4 header checksum is wrong, or the outer UDP checksum over IPv6.
    BadChecksum = "bad_checksum",
    /// No goal state is bound to the port it came from, or would leave by.
    PortUnbound = "port_unbound",
    /// The port it came from, or would leave by, is administratively down.
    PortDown = "port_down",
    /// The source MAC is a group address or zero.
    BadSourceMac = "bad_source_mac",
    /// The source MAC is none that the port may send from.
    SpoofedMac = "spoofed_mac",
    /// The source address is none that the port may send from with this MAC.
    SpoofedIp = "spoofed_ip",
    /// ARP or neighbor discovery that speaks for a MAC or an address that the port does not have.
    SpoofedArp = "spoofed_arp",
    /// A guest played DHCP server or router, or hid what it sent behind headers of IPv6 or SNAP.
    RogueServer = "rogue_server",
    /// A guest's frame has a VLAN tag, and the port it came from, or would leave by, takes none (RFC 7348 section 6.1), or has a
    /// subport in that VLAN; or two tags, which anti-spoofing does not look behind.
    VlanTagged = "vlan_tagged",
    /// Broadcast or multicast, in a subnet without `set replicate subnet`; or a question for an address that nobody told us of.
    NotFlooded = "not_flooded",
    /// Broadcast or multicast in a subnet with `set replicate subnet`, faster than its rate, or with too many receivers at once.
    ReplicationLimited = "replication_limited",
    /// Broadcast or multicast in a subnet with `set replicate subnet`, and nobody else is there to get it.
    NoReceivers = "no_receivers",
    /// Nobody told us where this destination MAC is in this VNI.
    UnknownMac = "unknown_mac",
    /// It was to be routed, and is not IP, or has an address that is good on one link only.
    NotRoutable = "not_routable",
    /// It was to be routed, and its time to live, or hop limit, is used up.
    TtlExpired = "ttl_expired",
    /// It was to be routed, and no route of the subnet covers the destination.
    NoRoute = "no_route",
    /// It was to be routed, and a route says that such packets are to be dropped.
    Blackhole = "blackhole",
    /// A route covers the destination, and nobody told us where the next hop is.
    UnknownNeighbor = "unknown_neighbor",
    /// For a gateway's own address, and no echo request: nothing else is served there.
    ForGateway = "for_gateway",
    /// Neighbor discovery that fails the checks of RFC 4861, sections 6.1 and 7.1.
    BadNd = "bad_nd",
    /// A guest asks by DHCP, and no goal state says what to tell it.
    NoLease = "no_lease",
    /// A DHCP message that is malformed, relayed, not about the guest itself, or none that a client sends, or sends there.
    BadDhcp = "bad_dhcp",
    /// A DHCP message that takes no answer: to another server, to give an IPv4 address back, or to confirm none by IPv6.
    DhcpQuiet = "dhcp_quiet",
    /// A guest says by DHCP that somebody else uses its address.
    DhcpDeclined = "dhcp_declined",
    /// It would leave by the port that it came from.
    SamePort = "same_port",
    /// Traffic of the underlay that is not VXLAN for this VTEP, and there is no host port to give it to.
    NotForUs = "not_for_us",
    /// Traffic of the underlay for the host port, faster than `set host rate`.
    HostLimited = "host_limited",
    /// It came from the underlay without a VLAN tag, and `set vxlan vlan` says that the underlay has one.
    Untagged = "untagged",
    /// VXLAN whose I flag is clear: it has no valid VNI (RFC 7348 section 5).
    NoVni = "no_vni",
    /// VXLAN for a VNI that no port of this host is in.
    UnknownVni = "unknown_vni",
    /// VXLAN for a neighbor that is not on this host.
    NotLocal = "not_local",
    /// The outer header says congestion was experienced, the inner flow cannot be told (RFC 6040 section 4.2).
    EcnIllegal = "ecn_illegal",
    /// A fragment of an outer packet: VXLAN is not reassembled (RFC 7348 section 4.3).
    OuterFragment = "outer_fragment",
    /// A guest left a checksum or segments to the switch (virtio), and the headers are none that have these, or it would be more
    /// segments than any sender means.
    BadOffload = "bad_offload",
    /// The buffer has no room for the outer header, the underlay's tag or a subport's, or an answer.
    NoHeadroom = "no_headroom",
    /// It is longer than its way takes, and was not to be fragmented; its sender is told what fits, if ICMP is for it.
    TooBig = "too_big",
    /// It was to be fragmented, and there were too few free buffers.
    NoBuffers = "no_buffers",
    /// The port it was to leave by took no more (its ring is full, or it is stopped).
    TxFull = "tx_full",
    /// The controller was to be asked where it goes, and too many packets wait for answers already.
    OnDemandFull = "on_demand_full",
    /// The controller was asked where it goes, and did not say in time.
    OnDemandExpired = "on_demand_expired",
    /// The controller was asked where it goes, and does not know.
    OnDemandUnknown = "on_demand_unknown",
}

/// Number of drop reasons.
pub const DROP_REASONS: usize = DropReason::ALL.len();

/// One port's counters as one worker sees them. Only that worker writes; anyone may read, at any time:
/// a reading is of one moment per counter, not over all of them.
pub struct PortCounters {
    rx: AtomicU64,
    rx_bytes: AtomicU64,
    forwarded: AtomicU64,
    answered: AtomicU64,
    to_gateway: AtomicU64,
    to_replicas: AtomicU64,
    own: AtomicU64,
    unsent: AtomicU64,
    finished: AtomicU64,
    segments: AtomicU64,
    held: AtomicU64,
    released: AtomicU64,
    tx: AtomicU64,
    tx_bytes: AtomicU64,
    drops: [AtomicU64; DROP_REASONS],
}

impl Default for PortCounters {
    fn default() -> Self {
        let [
            rx,
            rx_bytes,
            forwarded,
            answered,
            to_gateway,
            to_replicas,
            own,
            unsent,
            finished,
            segments,
            held,
            released,
            tx,
            tx_bytes,
        ] = Default::default();
        Self {
            rx,
            rx_bytes,
            forwarded,
            answered,
            to_gateway,
            to_replicas,
            own,
            unsent,
            finished,
            segments,
            held,
            released,
            tx,
            tx_bytes,
            drops: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

/// Adds without a locked instruction: this worker is the only writer.
#[inline]
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl PortCounters {
    /// A burst arrived on this port.
    #[inline]
    pub fn add_rx(&self, packets: usize, bytes: usize) {
        add(&self.rx, packets as u64);
        add(&self.rx_bytes, bytes as u64);
    }

    /// Packets that arrived on this port left by some port.
    #[inline]
    pub fn add_forwarded(&self, packets: usize) {
        add(&self.forwarded, packets as u64);
    }

    /// So many packets that arrived on this port were for the switch itself, which answered, read or copied them.
    #[inline]
    pub fn add_answered(&self, count: usize) {
        add(&self.answered, count as u64);
    }

    /// A packet that arrived on this port lacks a neighbor, and goes to a gateway that knows it; or is dropped on its way, and
    /// counted there.
    #[inline]
    pub fn add_to_gateway(&self) {
        add(&self.to_gateway, 1);
    }

    /// A packet that arrived on this port is copied to all receivers of its subnet; or is dropped on its way, and counted there.
    #[inline]
    pub fn add_to_replicas(&self) {
        add(&self.to_replicas, 1);
    }

    /// Messages of the switch's own, or a packet's further fragments or copies, left by this port: part of what
    /// [`PortCounters::add_tx`] counts.
    #[inline]
    pub fn add_own(&self, packets: usize) {
        add(&self.own, packets as u64);
    }

    /// The same were not taken by this port, or copies could not be made.
    #[inline]
    pub fn add_unsent(&self, packets: usize) {
        add(&self.unsent, packets as u64);
    }

    /// The switch finished the checksum of a packet that arrived on this port.
    #[inline]
    pub fn add_finished(&self) {
        add(&self.finished, 1);
    }

    /// The switch made so many TCP segments of a packet that arrived on this port.
    #[inline]
    pub fn add_segments(&self, segments: usize) {
        add(&self.segments, segments as u64);
    }

    /// A packet that arrived on this port waits for the controller from now on.
    #[inline]
    pub fn add_held(&self) {
        add(&self.held, 1);
    }

    /// Packets that arrived on this port wait for the controller no longer.
    #[inline]
    pub fn add_released(&self, packets: usize) {
        add(&self.released, packets as u64);
    }

    /// A burst left by this port.
    #[inline]
    pub fn add_tx(&self, packets: usize, bytes: usize) {
        add(&self.tx, packets as u64);
        add(&self.tx_bytes, bytes as u64);
    }

    /// Packets that arrived on this port were dropped.
    #[inline]
    pub fn add_drops(&self, reason: DropReason, packets: usize) {
        add(&self.drops[reason as usize], packets as u64);
    }
}

/// One worker's counters, and copies of frames for who wants to see them.
pub struct WorkerCounters {
    /// Per port, by [`PortId::index`].
    pub ports: Box<[CachePadded<PortCounters>; MAX_PORTS]>,
    /// How busy the worker is.
    pub load: CachePadded<Load>,
    /// Copies of frames.
    pub capture: CachePadded<Capture>,
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            ports: by_port(CachePadded::default),
            load: CachePadded::default(),
            capture: CachePadded::default(),
        }
    }
}

impl WorkerCounters {
    /// The counters of one port.
    #[inline]
    pub fn port(&self, port: PortId) -> &PortCounters {
        &self.ports[port.index()]
    }

    /// A frame that arrived on a port is dropped.
    #[inline]
    pub fn count_drop<F: Frame>(&self, port: PortId, reason: DropReason, frame: &F) {
        self.port(port).add_drops(reason, 1);
        if self.capture.wants_dropped() {
            self.capture.copy_dropped(port, reason, frame);
        }
    }
}

/// A port's counters summed over workers, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortTotals {
    /// Packets received on the port.
    pub rx: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Of `rx`: packets that left, by whatever port.
    pub forwarded: u64,
    /// Of `rx`: packets that were for the switch itself, and answered, read, or copied to all receivers of their subnet.
    pub answered: u64,
    /// Of `rx`: packets that lacked a neighbor and went to a gateway of their VPC. Counted elsewhere too.
    pub to_gateway: u64,
    /// Of `rx`: packets that were copied to all receivers of their subnet. Counted elsewhere too.
    pub to_replicas: u64,
    /// Of `rx`: packets whose checksum was left to the switch, and finished in software. Counted elsewhere too.
    pub finished: u64,
    /// TCP segments that were made of packets of `rx` in software.
    pub segments: u64,
    /// Of `rx`: packets that wait for the controller now.
    pub held: u64,
    /// Packets that left by the port.
    pub tx: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Of `tx`: messages and copies of the switch's own, and fragments and segments that it made, but for one of each packet's, which
    /// counts as the packet.
    pub own: u64,
    /// Such messages, fragments and copies that the port did not take: its ring was full. Also copies that were too long for
    /// it, or that there was no buffer for.
    pub unsent: u64,
    /// Of `rx`: packets dropped, by [`DropReason`] in the order of [`DropReason::ALL`].
    pub drops: [u64; DROP_REASONS],
}

impl Default for PortTotals {
    fn default() -> Self {
        Self {
            rx: 0,
            rx_bytes: 0,
            forwarded: 0,
            answered: 0,
            to_gateway: 0,
            to_replicas: 0,
            finished: 0,
            segments: 0,
            held: 0,
            tx: 0,
            tx_bytes: 0,
            own: 0,
            unsent: 0,
            drops: [0; DROP_REASONS],
        }
    }
}

impl PortTotals {
    /// Packets dropped for one reason.
    pub fn drops_for(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Packets dropped for any reason.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// True if every packet that was received is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.rx == self.forwarded + self.answered + self.held + self.dropped()
    }

    /// `self` since `earlier`: what `clear port stats` makes of counters that never go back. What was held then counts as
    /// received since.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            rx: self
                .rx
                .saturating_sub(earlier.rx)
                .saturating_add(earlier.held),
            held: self.held,
            rx_bytes: self.rx_bytes.saturating_sub(earlier.rx_bytes),
            forwarded: self.forwarded.saturating_sub(earlier.forwarded),
            answered: self.answered.saturating_sub(earlier.answered),
            to_gateway: self.to_gateway.saturating_sub(earlier.to_gateway),
            to_replicas: self.to_replicas.saturating_sub(earlier.to_replicas),
            finished: self.finished.saturating_sub(earlier.finished),
            segments: self.segments.saturating_sub(earlier.segments),
            own: self.own.saturating_sub(earlier.own),
            unsent: self.unsent.saturating_sub(earlier.unsent),
            tx: self.tx.saturating_sub(earlier.tx),
            tx_bytes: self.tx_bytes.saturating_sub(earlier.tx_bytes),
            drops: std::array::from_fn(|i| self.drops[i].saturating_sub(earlier.drops[i])),
        }
    }
}

/// Sums one port's counters over `workers`.
pub fn total(workers: &[Arc<WorkerCounters>], port: PortId) -> PortTotals {
    let mut sum = PortTotals::default();
    for counters in workers.iter().map(|worker| worker.port(port)) {
        sum.rx += counters.rx.load(Relaxed);
        sum.rx_bytes += counters.rx_bytes.load(Relaxed);
        sum.forwarded += counters.forwarded.load(Relaxed);
        sum.answered += counters.answered.load(Relaxed);
        sum.to_gateway += counters.to_gateway.load(Relaxed);
        sum.to_replicas += counters.to_replicas.load(Relaxed);
        sum.finished += counters.finished.load(Relaxed);
        sum.segments += counters.segments.load(Relaxed);
        sum.own += counters.own.load(Relaxed);
        sum.unsent += counters.unsent.load(Relaxed);
        sum.held = sum
            .held
            .wrapping_add(counters.held.load(Relaxed))
            .wrapping_sub(counters.released.load(Relaxed));
        sum.tx += counters.tx.load(Relaxed);
        sum.tx_bytes += counters.tx_bytes.load(Relaxed);
        for (sum, drops) in sum.drops.iter_mut().zip(&counters.drops) {
            *sum += drops.load(Relaxed);
        }
    }
    // Who holds a packet and who lets it go are different threads: the second may be read before the first.
    sum.held = if sum.held > sum.rx { 0 } else { sum.held };
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_in_the_balance_also_after_counters_are_cleared() {
        let port = PortId::new(3).unwrap();
        let workers = [(); 2].map(|()| Arc::new(WorkerCounters::default()));
        let (worker, other) = (workers[0].port(port), workers[1].port(port));
        let balanced = |at: PortTotals| at.is_balanced();
        worker.add_rx(3, 300);
        (0..3).for_each(|_| worker.add_held());
        let zero = total(&workers, port);
        assert!((zero.rx, zero.held) == (3, 3) && balanced(zero));
        other.add_released(2);
        worker.add_forwarded(1);
        other.add_drops(DropReason::OnDemandUnknown, 1);
        let since = total(&workers, port).since(&zero);
        assert!(
            (since.rx, since.held) == (3, 1) && balanced(since),
            "{since:?}"
        );
        other.add_released(2); // one more than was held: read too early
        assert_eq!(total(&workers, port).held, 0);
    }
}
