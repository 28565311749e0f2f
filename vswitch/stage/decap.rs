// SPDX-License-Identifier: MIT
//! From the underlay: takes the outer header off VXLAN that is for this VTEP and names the neighbor inside.
//! Sets aside what is not VXLAN for us: it is the host's own traffic.
//!
//! Reads the frame, the underlay, the VNIs of this host.
//! Writes `meta.key`, `home`, `routed`, `outer_ecn`, `host`. Leaves broadcast and multicast to [`replicate`], if it is to be copied.
//! Drops `Truncated`, `Malformed`, `BadChecksum`, `OuterFragment`, `NoVni`, `UnknownVni`, `NotFlooded`, `NotForUs`, and those of
//! [`vlan`].

use std::net::Ipv4Addr;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::burst::{Burst, Meta};
use crate::counters::DropReason;
use crate::io::{Checksum, Frame, Frames};
use crate::stage::replicate::{self, Originals};
use crate::stage::{neighbor, over_ipv6, vlan};
use crate::tables::{Neighbors, PortId, Tables, Underlay};
use crate::wire::{EthernetHdr, Ipv4Hdr, Mac, UdpHdr, Vni, VxlanHdr, ethernet, ipv4};

/// The outer header of nearly all VXLAN packets: IPv4 without options.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Outer {
    ethernet: EthernetHdr,
    ip: Ipv4Hdr,
    udp: UdpHdr,
    vxlan: VxlanHdr,
    inner: EthernetHdr,
}

/// What a frame from the underlay is.
pub(super) enum Arrival {
    /// VXLAN for a VTEP of this host; its outer header has so many bytes.
    Tunnel { outer_len: usize, vxlan: VxlanHdr },
    /// Anything else.
    Stranger,
}

/// Runs the stage over one burst from the uplink `from`, where VXLAN for a VTEP of another uplink is ours too. Strangers end up
/// in `strangers`, which must be empty, if there is a host port that they leave by, or if they are `heard`; else they are dropped. What is to be copied to guests goes to `originals`.
/// Never blocks, allocates or logs.
#[inline]
pub fn run<F: Frame>(
    burst: &mut Burst<F>,
    from: PortId,
    tables: &Tables,
    heard: bool,
    strangers: &mut Frames<F>,
    originals: &mut Originals<F>,
) {
    let Some(underlay) = &tables.underlay else {
        burst.drop_all(DropReason::NotForUs);
        return;
    };
    if let Some(vlan) = underlay.tunnel.vlan {
        vlan::take_off(burst, vlan);
    }
    let set_aside = heard || underlay.host_port.is_some();
    let found_strangers = match underlay.uplink_at(from).vtep {
        Some(vtep) => sort(burst, tables, set_aside, originals, |frame, meta| {
            classify(frame, underlay, vtep, meta)
        }),
        None => without_ipv4(burst, tables, underlay, set_aside, originals),
    };
    if found_strangers {
        burst.move_out(strangers, |meta| meta.host);
    }
}

/// The same from an uplink whose VTEP is of IPv6 only.
#[cold]
#[inline(never)]
fn without_ipv4<F: Frame>(
    burst: &mut Burst<F>,
    tables: &Tables,
    underlay: &Underlay,
    set_aside: bool,
    originals: &mut Originals<F>,
) -> bool {
    sort(burst, tables, set_aside, originals, |frame, meta| {
        general(frame, underlay, meta)
    })
}

/// Opens tunnels and marks strangers, if they are to be set aside; returns whether there are any.
#[inline(always)]
fn sort<F: Frame>(
    burst: &mut Burst<F>,
    tables: &Tables,
    set_aside: bool,
    originals: &mut Originals<F>,
    mut classify: impl FnMut(&mut F, &mut Meta) -> Result<Arrival, DropReason>,
) -> bool {
    let mut found_strangers = false;
    let decide = |frame: &mut F, meta: &mut Meta| {
        meta.host = false;
        match classify(frame, meta)? {
            Arrival::Tunnel { outer_len, vxlan } => open(frame, outer_len, &vxlan, tables, meta),
            Arrival::Stranger if set_aside => {
                found_strangers = true;
                meta.host = true;
                Ok(())
            }
            Arrival::Stranger => Err(DropReason::NotForUs),
        }
    };
    burst.keep_or_offer(decide, |frame, meta, reason| match reason {
        DropReason::NotFlooded if replicate::is_on(tables, meta) => {
            originals.push(frame, meta);
            Ok(None)
        }
        _ => Err((frame, reason)),
    });
    found_strangers
}

/// Ours or not, and sound or not. Sets `meta.outer_ecn`. May cut Ethernet padding off the end.
#[inline]
fn classify<F: Frame>(
    frame: &mut F,
    underlay: &Underlay,
    vtep: Ipv4Addr,
    meta: &mut Meta,
) -> Result<Arrival, DropReason> {
    let len = frame.len();
    let Ok((outer, _)) = Outer::ref_from_prefix(frame.head()) else {
        return general(frame, underlay, meta);
    };
    if outer.ethernet.ethertype() != ethernet::IPV4 || !outer.ip.is_plain() {
        return general(frame, underlay, meta);
    }
    let ours = outer.ip.dst() == vtep.to_bits()
        && outer.ip.protocol() == ipv4::UDP
        && !outer.ip.is_later_fragment()
        && outer.udp.dst_port() == underlay.tunnel.udp_port;
    if !ours {
        return match underlay.second {
            None => Ok(Arrival::Stranger),
            Some(_) => general(frame, underlay, meta), // it may be for the other uplink's VTEP
        };
    }
    check_ip(frame.checksum(), outer.ip.checksum_is_right(), &outer.ip)?;
    let total = outer.ip.total_len();
    check_lengths(total, Ipv4Hdr::LEN, len, outer.udp.datagram_len())?;
    meta.outer_ecn = outer.ip.tos() & 3;
    let vxlan = outer.vxlan;
    cut_padding(frame, total)?;
    Ok(Arrival::Tunnel {
        outer_len: size_of::<Outer>() - EthernetHdr::LEN,
        vxlan,
    })
}

/// Any other shape: outer IPv4 options, outer IPv6, frames too short for VXLAN, everything that is neither.
#[inline(never)]
fn general<F: Frame>(
    frame: &mut F,
    underlay: &Underlay,
    meta: &mut Meta,
) -> Result<Arrival, DropReason> {
    let len = frame.len();
    let head = frame.head();
    let (ethernet, rest) = EthernetHdr::ref_from_prefix(head).map_err(|_| DropReason::Truncated)?;
    match ethernet.ethertype() {
        ethernet::IPV4 => {}
        ethernet::IPV6 if underlay.uplinks().any(|it| it.vtep6.is_some()) => {
            return over_ipv6::classify(frame, underlay, meta);
        }
        _ => return Ok(Arrival::Stranger),
    }
    let (ip, _) = Ipv4Hdr::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    let header = ip.header_len();
    if !ip.is_v4() || header < Ipv4Hdr::LEN {
        return Err(DropReason::Malformed);
    }
    let is_ours = underlay.has(Ipv4Addr::from_bits(ip.dst()).into());
    if !is_ours || ip.protocol() != ipv4::UDP || ip.is_later_fragment() {
        return Ok(Arrival::Stranger);
    }
    let options = rest.get(..header).ok_or(DropReason::Truncated)?;
    let (udp, rest) =
        UdpHdr::ref_from_prefix(&rest[header..]).map_err(|_| DropReason::Truncated)?;
    if udp.dst_port() != underlay.tunnel.udp_port {
        return Ok(Arrival::Stranger);
    }
    check_ip(frame.checksum(), ipv4::sum(options) == 0xffff, ip)?;
    let (&vxlan, rest) = VxlanHdr::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    EthernetHdr::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    let total = ip.total_len();
    check_lengths(total, header, len, udp.datagram_len())?;
    meta.outer_ecn = ip.tos() & 3;
    cut_padding(frame, total)?;
    Ok(Arrival::Tunnel {
        outer_len: EthernetHdr::LEN + header + UdpHdr::LEN + VxlanHdr::LEN,
        vxlan,
    })
}

/// The device's word on the checksum counts where it gave one.
#[inline]
fn check_ip(device: Checksum, right: bool, ip: &Ipv4Hdr) -> Result<(), DropReason> {
    if ip.is_fragment() {
        return Err(DropReason::OuterFragment);
    }
    match device {
        Checksum::Good => Ok(()),
        Checksum::Unknown if right => Ok(()),
        Checksum::Bad | Checksum::Unknown => Err(DropReason::BadChecksum),
    }
}

/// `total` and `datagram` are what the IP and UDP headers say; `len` is the frame's.
#[inline]
pub(super) fn check_lengths(
    total: usize,
    ip_header: usize,
    len: usize,
    datagram: usize,
) -> Result<(), DropReason> {
    if total > len - EthernetHdr::LEN {
        return Err(DropReason::Truncated);
    }
    if datagram < UdpHdr::LEN + VxlanHdr::LEN + EthernetHdr::LEN || ip_header + datagram != total {
        return Err(DropReason::Malformed);
    }
    Ok(())
}

/// Short packets are padded to Ethernet's minimum; the tenant must not see that as payload.
#[inline]
pub(super) fn cut_padding<F: Frame>(frame: &mut F, total: usize) -> Result<(), DropReason> {
    let end = EthernetHdr::LEN + total;
    if frame.len() == end || frame.truncate(end) {
        Ok(())
    } else {
        Err(DropReason::Malformed)
    }
}

/// Takes the outer header off and names the neighbor: (L2 domain of the VNI, inner destination MAC).
#[inline(always)]
fn open<F: Frame>(
    frame: &mut F,
    outer_len: usize,
    vxlan: &VxlanHdr,
    tables: &Tables,
    meta: &mut Meta,
) -> Result<(), DropReason> {
    let vni = vxlan.vni_bits().ok_or(DropReason::NoVni)?;
    let domain = Vni::new(vni)
        .and_then(|vni| tables.vnis.get(vni))
        .ok_or(DropReason::UnknownVni)?;
    if !frame.trim_front(outer_len) {
        return Err(DropReason::Truncated);
    }
    frame.clear_offloads();
    let (inner, _) =
        EthernetHdr::ref_from_prefix(frame.head()).map_err(|_| DropReason::Truncated)?;
    let dst = inner.dst_word();
    let key = Neighbors::mac_word_key(domain, dst);
    if dst & Mac::GROUP != 0 {
        meta.key = key; // says in which domain it is to be flooded, if it is
        return Err(DropReason::NotFlooded);
    }
    neighbor::aim(meta, false, key, &tables.neighbors.by_mac);
    Ok(())
}
