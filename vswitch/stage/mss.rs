// SPDX-License-Identifier: MIT
//! Segments that fit: where a TCP connection's first packets announce a larger maximum segment size than the way takes
//! (RFC 9293 section 3.7.1), it is lowered. Runs only where it is on.
//!
//! Reads `meta.payload`, `neighbor`.
//! Writes the frame: the option's value, and the TCP checksum.
//! Drops nothing. What has no such option is left alone, as are IPv6 and what is not in the first buffer.

use crate::burst::{Burst, Payload};
use crate::io::Frame;
use crate::stage::limits::{ENCAPSULATION, Limits, mtu_in};
use crate::stage::route;
use crate::tables::PortId;
use crate::tables::neighbors::NextHops;
use crate::wire::{EthernetHdr, ipv4, tcp};

/// Bytes of IPv4 and TCP headers without options, which the size does not count (RFC 6691).
const HEADERS: u16 = 40;

/// Least size that is announced: what the least MTU of IPv4, 68 bytes (RFC 791 section 3.2), leaves.
const LEAST: u16 = 28;

/// Runs the stage over one burst of the guest at `from`, whose neighbors are known. Never blocks, allocates or logs.
pub fn from_guest<F: Frame>(burst: &mut Burst<F>, from: PortId, limits: &Limits, hops: &NextHops) {
    run(burst, mtu_in(limits.longest(from)), limits, hops);
}

/// The same for a burst from the underlay behind `uplink`.
pub fn from_underlay<F: Frame>(
    burst: &mut Burst<F>,
    uplink: PortId,
    limits: &Limits,
    hops: &NextHops,
) {
    let back = mtu_in(limits.longest(uplink)).saturating_sub(ENCAPSULATION);
    run(burst, back, limits, hops);
}

/// `back`: the longest packet that gets back to the sender.
#[inline(never)]
fn run<F: Frame>(burst: &mut Burst<F>, back: u16, limits: &Limits, hops: &NextHops) {
    for (frame, meta) in burst.iter_mut() {
        if meta.payload == Payload::Ipv4
            && let Some(segment) = first_segment(frame.head_mut())
        {
            let there = mtu_in(limits.longest_to(meta.neighbor.hop(), hops));
            let fits = there.min(back).saturating_sub(HEADERS);
            tcp::lower_mss(segment, fits.max(LEAST));
        }
    }
}

/// The TCP segment in a frame, as far as it is in the first buffer, if it has the SYN flag.
fn first_segment(head: &mut [u8]) -> Option<&mut [u8]> {
    let ip = route::ipv4(head)?;
    if ip.protocol() != ipv4::TCP || ip.is_later_fragment() {
        return None;
    }
    let start = EthernetHdr::LEN + ip.header_len();
    let end = head.len().min(EthernetHdr::LEN + ip.total_len());
    head.get_mut(start..end)
        .filter(|segment| tcp::is_syn(segment))
}
