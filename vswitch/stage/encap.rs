// SPDX-License-Identifier: MIT
//! On its way: a tenant's frame to a neighbor on another host gets its outer header, one to a neighbor on this
//! host is delivered.
//!
//! Reads `meta.neighbor`, `routed`, `flow`, `tos`, `len`.
//! Writes `meta.out`, `len`, and the frame: MACs and TTL when routed, the outer header (RFC 7348 section 5).
//! Drops `NoHeadroom`, `TooBig`, and those of [`deliver::local`].

use crate::burst::{Burst, Meta};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::deliver;
use crate::tables::neighbors::Template;
use crate::tables::{Hop, PortId, Tables, TenantPort};
use crate::wire::{EthernetHdr, Ipv4Hdr, Mac, UdpHdr, VxlanHdr, ipv4, vxlan};

/// Bytes in front of the inner frame.
pub const OUTER_LEN: usize = EthernetHdr::LEN + Ipv4Hdr::LEN + UdpHdr::LEN + VxlanHdr::LEN;

/// Longest inner frame: the outer IPv4 packet has at most 65,535 bytes.
const MAX_INNER: u32 = (u16::MAX as usize - (OUTER_LEN - EthernetHdr::LEN)) as u32;

/// Runs the stage over one burst of the guest `tenant` at `from`. Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(burst: &mut Burst<F>, from: PortId, tenant: &TenantPort, tables: &Tables) {
    let mut subnets = tenant.attachments.iter();
    let host_dvr = subnets
        .find_map(|subnet| subnet.host_dvr_mac)
        .map(Mac::word);
    burst.keep(|frame, meta| match meta.neighbor.hop() {
        Hop::Local(to) => deliver::local(frame.head_mut(), meta, from, to, tables),
        Hop::Remote(hop) => {
            if meta.routed {
                deliver::reroute(frame.head_mut(), meta, host_dvr.unwrap_or(meta.dst_mac));
            }
            encapsulate(frame, meta, &tables.neighbors.hops.template(hop))
        }
    });
}

/// Puts the next hop's template in front and fills in what differs per packet. The UDP checksum stays zero
/// (RFC 7348 section 5), the IPv4 identification too: with DF set it means nothing (RFC 6864 section 4.1).
/// DSCP and ECN are the inner packet's (RFC 6040 section 4.1, normal mode).
#[inline]
fn encapsulate<F: Frame>(
    frame: &mut F,
    meta: &mut Meta,
    template: &Template,
) -> Result<(), DropReason> {
    if meta.len > MAX_INNER {
        return Err(DropReason::TooBig);
    }
    let outer: &mut [u8; OUTER_LEN] = frame.prepend().ok_or(DropReason::NoHeadroom)?;
    let udp_len = (UdpHdr::LEN + VxlanHdr::LEN) as u32 + meta.len;
    let ip_len = Ipv4Hdr::LEN as u32 + udp_len;
    let checksum = !ipv4::fold(template.header_sum() + ip_len + u32::from(meta.tos));
    let source_port = vxlan::FIRST_SOURCE_PORT | (meta.flow as u16 & !vxlan::FIRST_SOURCE_PORT);
    let (vni_first, vni_last) = meta.neighbor.vni_bytes();
    let [a, b, c, d, e, f, ..] = template.words;
    let words = [
        a,
        b | at(7, [meta.tos]),
        c | at(0, (ip_len as u16).to_be_bytes()),
        d | at(0, checksum.to_be_bytes()),
        e | at(2, source_port.to_be_bytes()) | at(6, (udp_len as u16).to_be_bytes()),
        f | vni_first,
    ];
    let (start, end) = outer.as_chunks_mut();
    for (bytes, word) in start.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    end.copy_from_slice(&[vni_last, 0]);
    meta.len += OUTER_LEN as u32;
    meta.out = template.port();
    Ok(())
}

/// These bytes, `offset` bytes into a word of the header.
#[inline(always)]
const fn at<const N: usize>(offset: u32, bytes: [u8; N]) -> u64 {
    let (mut word, mut i) = (0, 0);
    while i < N {
        word |= (bytes[i] as u64) << (8 * (offset + i as u32));
        i += 1;
    }
    word
}
