// SPDX-License-Identifier: MIT
//! Frames of guests with VLAN tags (IEEE 802.1Q) go to guests that take them. Whether one on another host does is decided
//! there. Runs only where a burst has such a frame.
//!
//! Reads the EtherType, `meta.neighbor`.
//! Drops `VlanTagged`.

use zerocopy::FromBytes;

use crate::burst::Burst;
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::trunk::Subports;
use crate::tables::{Hop, PortId, Role, Tables, TenantPort};
use crate::wire::{EthernetHdr, ethernet};

/// Runs the stage over one burst whose neighbors are known. A VLAN that is a subport is another network's, so nobody reaches it
/// by its parent. Never blocks, allocates or logs.
#[cold]
#[inline(never)]
pub fn run<F: Frame>(burst: &mut Burst<F>, tables: &Tables, subports: &Subports) {
    burst.keep(|frame, meta| {
        let Hop::Local(to) = meta.neighbor.hop() else {
            return Ok(());
        };
        match tables.role(to) {
            Role::Tenant(guest) if !takes(guest, to, frame.head(), subports) => {
                Err(DropReason::VlanTagged)
            }
            _ => Ok(()),
        }
    });
}

/// Whether the guest at a port takes a frame, with a VLAN tag or without.
pub(super) fn takes(guest: &TenantPort, port: PortId, head: &[u8], subports: &Subports) -> bool {
    (guest.takes_tags || !is_tagged(head)) && !subports.pass_for_one(port, head)
}

fn is_tagged(head: &[u8]) -> bool {
    let header = EthernetHdr::ref_from_prefix(head);
    header.is_ok_and(|(header, _)| ethernet::is_tag(header.ethertype()))
}
