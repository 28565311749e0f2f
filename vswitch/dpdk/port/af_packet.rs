// SPDX-License-Identifier: MIT
//! What DPDK's net_af_packet (22.11) does not say of itself: the MTUs that its rings have room for.
//!
//! It shares rings of slots with the kernel (packet(7), PACKET_RX_RING of TPACKET_V2), of one size that is an argument of the
//! device. A received frame that is longer than its slot is cut by the kernel, without a word.

use std::ops::RangeInclusive;

use super::PortError;
use super::device::Device;

/// The driver. Its devices are the kernel's, which has their MTU: they carry longer frames than they say, and DPDK would refuse to
/// tell them.
pub(super) const DRIVER: &str = "net_af_packet";

/// Bytes of a slot unless the argument `framesz` says otherwise.
const SLOT: u16 = 2048;

/// What the kernel takes of a slot, up to where the packet begins behind its Ethernet header (TPACKET2_HDRLEN and 16, aligned).
const HEAD: u16 = 80;

/// Arguments of the largest slots that the driver accepts: it receives into one buffer of the switch's, of 2,048 bytes, and takes
/// blocks for slots without gaps, where the kernel has them in whole pages.
const LARGEST: &str = "framesz=2080,blocksz=266240";

/// # Errors
/// A packet of this MTU finds no room in a slot.
pub(super) fn check_mtu(device: &Device, asked: u16, least: u16) -> Result<(), PortError> {
    let slot = slot(&device.arguments());
    let range = least..=slot.saturating_sub(HEAD);
    if range.contains(&asked) {
        return Ok(());
    }
    Err(PortError::Range {
        device: device.name().to_owned(),
        driver: DRIVER.into(),
        setting: "mtu",
        asked: asked.into(),
        range: in_words(range, slot).into(),
    })
}

fn in_words(range: RangeInclusive<u16>, slot: u16) -> String {
    let (least, most) = range.into_inner();
    format!(
        "{least} to {most}: its ring has slots of {slot} bytes, of which the kernel takes {HEAD} (`{LARGEST}` in `port attach` makes \
         that 2000, which is the most)"
    )
}

/// Bytes of a slot by a device's arguments, such as `iface=veth0,framesz=1024`.
fn slot(arguments: &str) -> u16 {
    let mut values = arguments
        .split(',')
        .filter_map(|it| it.strip_prefix("framesz="));
    values.next().and_then(|it| it.parse().ok()).unwrap_or(SLOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_as_large_as_the_arguments_say() {
        assert_eq!(slot("iface=veth0"), 2048);
        assert_eq!(slot("iface=veth0,framesz=1024,blocksz=4096"), 1024);
        assert_eq!(slot(""), 2048);
        let largest = slot(LARGEST);
        let words = in_words(68..=largest - HEAD, largest);
        assert!(words.starts_with("68 to 2000: ") && words.contains("2080 bytes"));
    }
}
