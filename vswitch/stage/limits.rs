// SPDX-License-Identifier: MIT
//! [`Limits`]: how long frames may be where they go, and what becomes of longer ones.

use crate::counters::{DropReason, WorkerCounters};
use crate::io::{Frame, Frames};
use crate::tables::neighbors::NextHops;
use crate::tables::{Hop, MAX_PORTS, PortId};
use crate::wire::{EthernetHdr, ethernet};

/// What a worker knows of the lengths of frames. Not in the tables: it is fixed while a port is started.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the longest frame that each port takes, by [`PortId::index`].
    longest: [u32; MAX_PORTS],
    /// Packets that are too long and may be fragmented are. Otherwise they are dropped.
    pub fragment: bool,
    /// TCP connections are told to send segments that fit.
    pub clamp_mss: bool,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        longest: [u32::MAX; MAX_PORTS],
        fragment: false,
        clamp_mss: false,
    };

    /// Sets the MTU of a port: the longest packet that it takes, in bytes. Until then there is no limit.
    pub fn set_mtu(&mut self, port: PortId, mtu: u16) {
        self.longest[port.index()] = u32::from(mtu) + EthernetHdr::LEN as u32;
    }

    /// Bytes of the longest frame that a port takes.
    #[inline(always)]
    pub const fn longest(&self, port: PortId) -> u32 {
        self.longest[port.index()]
    }

    /// Whether a port takes a frame of so many bytes.
    #[inline(always)]
    pub const fn takes(&self, port: PortId, len: u32) -> bool {
        len <= self.longest(port)
    }

    /// Drops those of the host's own frames that a port does not take, as `TooBig` of the port `from`, where they arrived. They
    /// may have VLAN tags, which an MTU does not count.
    pub fn drop_longer<F: Frame>(
        &self,
        frames: &mut Frames<F>,
        port: PortId,
        from: PortId,
        counters: &WorkerCounters,
    ) {
        frames.retain(|frame| {
            let fits = frame.len() - tags(frame.head()) <= self.longest(port) as usize;
            if !fits {
                counters.count_drop(from, DropReason::TooBig, frame);
            }
            fits
        });
    }

    /// Bytes of the longest frame that gets to a neighbor.
    pub fn longest_to(&self, hop: Hop, hops: &NextHops) -> u32 {
        match hop {
            Hop::Local(port) => self.longest(port),
            Hop::Remote(hop) => hops.template(hop).longest(),
        }
    }
}

/// The longest packet in a frame of so many bytes.
pub fn mtu_in(frame: u32) -> u16 {
    let packet = frame.saturating_sub(EthernetHdr::LEN as u32);
    u16::try_from(packet).unwrap_or(u16::MAX)
}

/// Bytes of a frame's VLAN tags, of which there are two at most (IEEE 802.1ad).
fn tags(head: &[u8]) -> usize {
    let behind = head.get(ethernet::ADDRESSES..).unwrap_or_default();
    let is_tag = |&&[a, b, ..]: &&[u8; ethernet::TAG]| ethernet::is_tag(u16::from_be_bytes([a, b]));
    let words = behind.as_chunks().0.iter();
    words.take(2).take_while(is_tag).count() * ethernet::TAG
}
