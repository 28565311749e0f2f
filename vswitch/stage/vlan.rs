// SPDX-License-Identifier: MIT
//! The underlay's VLAN (IEEE 802.1Q), if it has one: between the uplink's wire and everything else. The tag goes on what
//! leaves by the uplink after all other stages ([`transmit`](crate::stage::transmit)) and comes off what arrives there before
//! them ([`decap`](crate::stage::decap)), so that no other stage knows of it.
//!
//! Reads and writes the first 16 bytes of the frame.
//! Drops `Truncated`, `Untagged`.

use zerocopy::FromBytes;

use crate::burst::Burst;
use crate::counters::DropReason;
use crate::io::Frame;
use crate::wire::EthernetHdr;
use crate::wire::ethernet::{self, ADDRESSES, TAG};

/// Bits of a tag that are the VLAN's number; the others are its priority.
const NUMBER: u16 = 0xfff;

/// Takes the tag of this VLAN off each frame of a burst. What has another tag keeps it, and what has none is dropped: it is
/// of another network. Never blocks, allocates or logs.
#[inline(never)]
pub(super) fn take_off<F: Frame>(burst: &mut Burst<F>, vlan: u16) {
    burst.keep(|frame, _| {
        let (_, tag) = (frame.head())
            .split_at_checked(ADDRESSES)
            .ok_or(DropReason::Truncated)?;
        let &[a, b, c, d] = tag.first_chunk().ok_or(DropReason::Truncated)?;
        match u16::from_be_bytes([a, b]) {
            ethernet::VLAN if u16::from_be_bytes([c, d]) & NUMBER == vlan => {
                strip(frame);
                Ok(())
            }
            other if ethernet::is_tag(other) => Ok(()),
            _ => Err(DropReason::Untagged),
        }
    });
}

/// Puts the tag of this VLAN, with priority 0, on a frame; one that has a tag, as the host's own may, keeps it as it is.
/// False: there is no room in front of it, or it is no frame.
#[inline]
pub(super) fn put_on<F: Frame>(frame: &mut F, vlan: u16) -> bool {
    let Ok((header, _)) = EthernetHdr::ref_from_prefix(frame.head()) else {
        return false;
    };
    ethernet::is_tag(header.ethertype()) || push(frame, vlan)
}

/// The VLAN of a frame's tag, if it has one of IEEE 802.1Q.
pub(super) fn number(head: &[u8]) -> Option<u16> {
    match *head.get(ADDRESSES..)?.first_chunk()? {
        [a, b, c, d] if u16::from_be_bytes([a, b]) == ethernet::VLAN => {
            Some(u16::from_be_bytes([c, d]) & NUMBER)
        }
        _ => None,
    }
}

/// The same, but a host takes priority tags (VLAN 0), of customers or of services, for nothing: behind any number of them.
pub(super) fn number_behind_priorities(head: &[u8]) -> Option<u16> {
    let (tags, _) = head.get(ADDRESSES..)?.as_chunks::<TAG>();
    for [a, b, c, d] in tags {
        let ethertype = u16::from_be_bytes([*a, *b]);
        let number = u16::from_be_bytes([*c, *d]) & NUMBER;
        match number {
            _ if !ethernet::is_tag(ethertype) => return None,
            0 => {}
            number => return (ethertype == ethernet::VLAN).then_some(number),
        }
    }
    None
}

/// Takes off a frame the tag that it has.
pub(super) fn strip<F: Frame>(frame: &mut F) {
    frame.head_mut().copy_within(..ADDRESSES, TAG);
    frame.trim_front(TAG); // which are there
}

/// Puts a tag on a frame, in front of those that it has. False: there is no room in front of it, or it is no frame.
pub(super) fn push<F: Frame>(frame: &mut F, vlan: u16) -> bool {
    if frame.head().len() < ADDRESSES || frame.prepend::<TAG>().is_none() {
        return false;
    }
    let head = frame.head_mut();
    head.copy_within(TAG..TAG + ADDRESSES, 0);
    head[ADDRESSES..][..TAG].copy_from_slice(&ethernet::vlan_tag(vlan));
    true
}
