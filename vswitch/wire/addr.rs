// SPDX-License-Identifier: MIT
//! Addresses and identifiers as values: [`Mac`] and [`Vni`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// An Ethernet (MAC) address, in the order of the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(transparent)]
pub struct Mac([u8; 6]);

/// What a routed frame's inner source MAC starts with: Alcor's `host_dvr_mac_address` of any host
/// (the controller's constant is `fe:16:11:00:00:00`; the last three bytes may differ per host).
pub const DVR_PREFIX: [u8; 3] = [0xfe, 0x16, 0x11];

impl Mac {
    /// The bit of [`Mac::word`] that group addresses have, broadcast included (IEEE 802: the I/G bit).
    pub const GROUP: u64 = 1;
    /// All stations of a link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// The bits of [`Mac::word`].
    pub const WORD: u64 = (1 << 48) - 1;

    /// The address of these six bytes, in the order of the wire.
    #[inline]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The six bytes, in the order of the wire.
    #[inline]
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// The address as a number below 2^48; the first byte on the wire is the most significant.
    #[inline]
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The inverse of [`Mac::to_u64`]; the upper 16 bits are ignored.
    #[inline]
    pub const fn from_u64(bits: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// The address as it lies in memory, in the lower 48 bits: the first byte on the wire is the lowest. What the
    /// packet path compares and hashes.
    #[inline]
    pub const fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        // Four bytes and two, as compilers copy six: to load across the two stores takes until both are in the cache, and those
        // before them, which may be misses.
        let (low, high) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]));
        low as u64 | (high as u64) << 32
    }

    /// The inverse of [`Mac::word`]; the upper 16 bits are ignored.
    #[inline]
    pub const fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, _, _] = word.to_le_bytes();
        Self([a, b, c, d, e, f])
    }

    /// True for group addresses, broadcast included (IEEE 802: the I/G bit).
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// True for the addresses `01:80:c2:00:00:0x`, which no bridge passes on: spanning trees, link aggregation, port authentication,
    /// LLDP (IEEE 802.1Q table 8-1).
    #[inline]
    pub const fn is_for_bridges(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0, 0, 0..16])
    }

    /// True for `00:00:00:00:00:00`, which no station has.
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.to_u64() == 0
    }

    /// True for an address that a station may have.
    #[inline]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !self.is_zero()
    }

    /// Reads the usual form, two digits a byte: goal states have a million of them. `None`: it is another form, or none.
    fn of_pairs(text: &[u8]) -> Option<Self> {
        let text: &[u8; 17] = text.try_into().ok()?;
        let separator = text[2];
        let mut bytes = [0; 6];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = digit(text[3 * i])? << 4 | digit(text[3 * i + 1])?;
        }
        let separated = (0..5).all(|i| text[3 * i + 2] == separator);
        (separated && matches!(separator, b':' | b'-')).then_some(Self(bytes))
    }

    /// True if this is some host's distributed-router address, see [`DVR_PREFIX`].
    #[inline]
    pub fn is_host_dvr(self) -> bool {
        self.0[..3] == DVR_PREFIX
    }
}

impl Hash for Mac {
    /// As a number: hashers take bytes with how many they are, and byte by byte.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word());
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of a hexadecimal digit.
const fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        b'A'..=b'F' => Some(text - b'A' + 10),
        _ => None,
    }
}

/// Why a text is no MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: six hexadecimal bytes, separated by ':' or '-', are expected")]
pub struct BadMac;

impl FromStr for Mac {
    type Err = BadMac;

    /// Reads `aa:bb:cc:dd:ee:ff`; `-` separates too, either case, and one digit is enough for a byte,
    /// since Alcor's services write all of these.
    fn from_str(text: &str) -> Result<Self, BadMac> {
        if let Some(mac) = Self::of_pairs(text.as_bytes()) {
            return Ok(mac);
        }
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut parts = text.split(separator);
        let mut bytes = [0u8; 6];
        for byte in &mut bytes {
            let part = parts.next().ok_or(BadMac)?;
            let digits = part.bytes().all(|b| b.is_ascii_hexdigit());
            if part.is_empty() || part.len() > 2 || !digits {
                return Err(BadMac);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| BadMac)?;
        }
        parts.next().is_none().then_some(Self(bytes)).ok_or(BadMac)
    }
}

/// A VXLAN network identifier (RFC 7348 section 5): 1 to 16,777,215. Zero is never a tenant's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct Vni(u32);

impl Vni {
    /// The largest identifier, 2^24 - 1.
    pub const MAX: u32 = 0x00ff_ffff;

    /// `None` for zero and for what does not fit in 24 bits.
    #[inline]
    pub const fn new(value: u32) -> Option<Self> {
        if value == 0 || value > Self::MAX {
            None
        } else {
            Some(Self(value))
        }
    }

    /// The number, 1 to [`Vni::MAX`].
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_text_forms_of_alcor_are_read() {
        let mac = Mac::new([0xaa, 0x0b, 0xcc, 0xdd, 0xee, 0x0f]);
        assert_eq!("aa:0b:cc:dd:ee:0f".parse(), Ok(mac));
        assert_eq!("AA-0B-cc-DD-ee-0F".parse(), Ok(mac));
        assert_eq!("AA-B-CC-DD-EE-F".parse(), Ok(mac));
        for bad in [
            "",
            "aa:bb:cc:dd:ee",
            "aa:bb:cc:dd:ee:ff:00",
            "aa:bb:cc:dd:ee:fff",
            "aa:bb-cc:dd:ee:ff",
            "aa.bb.cc.dd.ee.ff",
            "aa:bb:cc:dd:ee:fg",
            "+a:1:1:1:1:1",
            "g:1:1:1:1:1",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(BadMac), "{bad}");
        }
        assert_eq!(mac.to_string(), "aa:0b:cc:dd:ee:0f");
        assert_eq!(Mac::from_u64(mac.to_u64()), mac);
    }

    #[test]
    fn vni_holds_24_bits_and_never_zero() {
        assert_eq!(Vni::new(0), None);
        assert_eq!(Vni::new(1 << 24), None);
        assert_eq!(Vni::new(Vni::MAX).map(Vni::get), Some(Vni::MAX));
    }
}
