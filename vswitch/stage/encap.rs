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
use crate::wire::{EthernetHdr, Ipv4Hdr, UdpHdr, VxlanHdr, ipv4, vxlan};

/// Bytes in front of the inner frame.
pub const OUTER_LEN: usize = EthernetHdr::LEN + Ipv4Hdr::LEN + UdpHdr::LEN + VxlanHdr::LEN;

/// Where the fields that differ per packet stand in the outer header.
mod field {
    use std::ops::Range;

    pub(super) const TOS: usize = 15;
    pub(super) const IP_LEN: Range<usize> = 16..18;
    pub(super) const IP_CHECKSUM: Range<usize> = 24..26;
    pub(super) const SOURCE_PORT: Range<usize> = 34..36;
    pub(super) const UDP_LEN: Range<usize> = 38..40;
    pub(super) const VNI: Range<usize> = 46..49;
}

/// Longest inner frame: the outer IPv4 packet has at most 65,535 bytes.
const MAX_INNER: u32 = (u16::MAX as usize - (OUTER_LEN - EthernetHdr::LEN)) as u32;

/// Runs the stage over one burst of the guest `tenant` at `from`. Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(burst: &mut Burst<F>, from: PortId, tenant: &TenantPort, tables: &Tables) {
    let host_dvr = tenant
        .attachments
        .iter()
        .find_map(|subnet| subnet.host_dvr_mac);
    burst.keep(|frame, meta| match meta.neighbor.hop {
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
    let (words, rest) = outer.as_chunks_mut();
    for (bytes, word) in words.iter_mut().zip(template.words) {
        *bytes = word.to_ne_bytes();
    }
    rest.copy_from_slice(&template.words[6].to_ne_bytes()[..2]);
    let udp_len = (UdpHdr::LEN + VxlanHdr::LEN) as u32 + meta.len;
    let ip_len = Ipv4Hdr::LEN as u32 + udp_len;
    let checksum = !ipv4::fold(template.header_sum() + ip_len + u32::from(meta.tos));
    let source_port = vxlan::FIRST_SOURCE_PORT | (meta.flow as u16 & !vxlan::FIRST_SOURCE_PORT);
    let [_, vni @ ..] = meta.neighbor.vni.get().to_be_bytes();
    outer[field::TOS] = meta.tos;
    outer[field::IP_LEN].copy_from_slice(&(ip_len as u16).to_be_bytes());
    outer[field::IP_CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    outer[field::SOURCE_PORT].copy_from_slice(&source_port.to_be_bytes());
    outer[field::UDP_LEN].copy_from_slice(&(udp_len as u16).to_be_bytes());
    outer[field::VNI].copy_from_slice(&vni);
    meta.len += OUTER_LEN as u32;
    meta.out = template.port();
    Ok(())
}
