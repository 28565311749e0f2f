// SPDX-License-Identifier: MIT
//! A guest's DHCP message, read from its frame.
//!
//! Checked are the headers' lengths, the IPv4 header's checksum, and that the guest speaks for itself. Not the UDP
//! checksum: guests leave it to the port, which leaves it half done.

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;
use zerocopy::FromBytes;

use crate::counters::DropReason;
use crate::stage::route;
use crate::wire::dhcp::{self, Options, code};
use crate::wire::{DhcpHdr, EthernetHdr, Mac, UdpHdr, ipv4};

/// What a client takes, in bytes of an IP packet, if it does not say, and at least (RFC 2132 section 9.10).
const MIN_SIZE: u16 = 576;

/// What a guest asks.
pub(super) struct Question {
    /// The message up to its options.
    pub header: DhcpHdr,
    /// Option 53.
    pub kind: u8,
    /// The address that it would like (option 50).
    pub requested: Option<Ipv4Addr>,
    /// Whom it asks (option 54).
    pub server: Option<Ipv4Addr>,
    /// Its name for itself; empty: none (option 61).
    pub client_id: ArrayVec<u8, 255>,
    /// What it wants to know, in its order and each once; `None`: nothing in particular (option 55).
    pub parameters: Option<ArrayVec<u8, 255>>,
    /// Longest answer, in bytes of an IP packet; at least 576 (option 57).
    pub max_size: u16,
    /// It takes an ACK for an OFFER (option 80, RFC 4039).
    pub rapid_commit: bool,
}

/// The UDP datagram to a DHCP server in an IPv4 frame that was parsed, if it is one. What is behind the first buffer is not
/// looked at.
pub(super) fn datagram(head: &[u8]) -> Option<&[u8]> {
    let ip = route::ipv4(head)?;
    if ip.protocol() != ipv4::UDP || ip.is_fragment() {
        return None;
    }
    let end = head.len().min(EthernetHdr::LEN + ip.total_len());
    let datagram = head.get(EthernetHdr::LEN + ip.header_len()..end)?;
    let (udp, _) = UdpHdr::ref_from_prefix(datagram).ok()?;
    (udp.dst_port() == dhcp::SERVER).then_some(datagram)
}

impl Question {
    /// Reads a frame with such a datagram, of the guest whose MAC this is.
    ///
    /// # Errors
    /// `Truncated`: the frame is in several buffers. `BadDhcp`: it is no client's request, or malformed.
    pub(super) fn read(head: &[u8], len: usize, mac: Mac) -> Result<Self, DropReason> {
        if head.len() < len {
            return Err(DropReason::Truncated);
        }
        Self::of(head, mac).ok_or(DropReason::BadDhcp)
    }

    fn of(head: &[u8], mac: Mac) -> Option<Self> {
        let (ethernet, _) = EthernetHdr::ref_from_prefix(head).ok()?;
        let ip = route::ipv4(head)?;
        let sound = ipv4::sum(head.get(EthernetHdr::LEN..)?.get(..ip.header_len())?) == 0xffff;
        let datagram = datagram(head)?;
        let (udp, _) = UdpHdr::ref_from_prefix(datagram).ok()?;
        let message = datagram.get(UdpHdr::LEN..udp.datagram_len())?;
        let (header, options) = DhcpHdr::read_from_prefix(message).ok()?;
        let own = ethernet.src() == mac && header.mac() == mac && header.relay().is_unspecified();
        if !sound || !own || !header.is_request() {
            return None;
        }
        let mut said = Said::default();
        said.read(options)?;
        // The order is that of RFC 3396 section 7.
        let overload = said.overload;
        for (bit, part) in [(1, header.file()), (2, header.server_name())] {
            if overload & bit != 0 {
                said.read(part)?;
            }
        }
        said.question(header)
    }
}

/// Values of options, their parts put together (RFC 3396): no longer than they may be.
#[derive(Default)]
struct Said {
    kind: ArrayVec<u8, 1>,
    requested: ArrayVec<u8, 4>,
    server: ArrayVec<u8, 4>,
    max_size: ArrayVec<u8, 2>,
    client_id: ArrayVec<u8, 255>,
    /// Each once, so there is room for all.
    parameters: Option<ArrayVec<u8, 255>>,
    asked: [u64; 4],
    rapid_commit: bool,
    overload: u8,
}

impl Said {
    /// Reads a part of the message. `None`: it makes no sense, or comes by a relay agent.
    fn read(&mut self, part: &[u8]) -> Option<()> {
        for option in Options(part) {
            let (code, value) = option.ok()?;
            match code {
                code::KIND => self.kind.try_extend_from_slice(value).ok()?,
                code::REQUESTED => self.requested.try_extend_from_slice(value).ok()?,
                code::SERVER => self.server.try_extend_from_slice(value).ok()?,
                code::MAX_SIZE => self.max_size.try_extend_from_slice(value).ok()?,
                code::CLIENT_ID => self.client_id.try_extend_from_slice(value).ok()?,
                code::PARAMETERS => self.ask(value),
                code::RAPID_COMMIT => self.rapid_commit = true,
                code::OVERLOAD => self.overload = *value.first()?,
                code::RELAY => return None,
                _ => {}
            }
        }
        Some(())
    }

    /// Pads and end marks are no parameters.
    fn ask(&mut self, codes: &[u8]) {
        let parameters = self.parameters.get_or_insert_default();
        for code in codes
            .iter()
            .filter(|code| ![code::PAD, code::END].contains(code))
        {
            let (word, bit) = (&mut self.asked[usize::from(code >> 6)], 1 << (code & 63));
            if *word & bit == 0 {
                *word |= bit;
                parameters.push(*code);
            }
        }
    }

    fn question(self, header: DhcpHdr) -> Option<Question> {
        let max_size = match *self.max_size {
            [] => MIN_SIZE,
            [a, b] => u16::from_be_bytes([a, b]).max(MIN_SIZE),
            _ => return None,
        };
        Some(Question {
            header,
            kind: *self.kind.first()?,
            requested: address(&self.requested)?,
            server: address(&self.server)?,
            client_id: self.client_id,
            parameters: self.parameters,
            max_size,
            rapid_commit: self.rapid_commit,
        })
    }
}

/// `Some(None)`: nothing is said; `None`: something else than an address.
fn address(value: &[u8]) -> Option<Option<Ipv4Addr>> {
    match *value {
        [] => Some(None),
        [a, b, c, d] => Some(Some(Ipv4Addr::new(a, b, c, d))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_several_buffers_is_not_read() {
        const MAC: [u8; 6] = [2, 0, 0, 0, 0, 10];
        let mut message = [0; 244];
        message[..3].copy_from_slice(&[1, 1, 6]);
        message[28..34].copy_from_slice(&MAC);
        message[236..].copy_from_slice(&[99, 130, 83, 99, 53, 1, 1, 255]);
        let mut frame = Vec::new();
        let builder = etherparse::PacketBuilder::ethernet2(MAC, [0xff; 6]);
        let builder = builder.ipv4([0; 4], [255; 4], 64).udp(68, 67);
        builder.write(&mut frame, &message).unwrap();
        let read = |len| Question::read(&frame, len, Mac::new(MAC)).map(|question| question.kind);
        assert_eq!(read(frame.len()), Ok(1));
        assert_eq!(read(frame.len() + 1), Err(DropReason::Truncated));
    }
}
