// SPDX-License-Identifier: MIT
//! A guest's DHCPv6 message, where it lies in its frame.
//!
//! Checked are the headers' lengths, that the guest speaks for itself, all options that are looked at, and what section 16 of
//! RFC 8415 asks of servers. Not the UDP checksum: guests leave it to the port, which leaves it half done.

use std::net::Ipv6Addr;

use zerocopy::FromBytes;

use crate::counters::DropReason;
use crate::stage::route;
use crate::wire::dhcp6::{self, Options, code, kind};
use crate::wire::{EthernetHdr, Ipv6Hdr, Mac, UdpHdr, ipv4};

/// Most options that a guest may ask for: what it asks for behind them is not looked at. There are fewer than 150.
const MAX_REQUESTED: usize = 128;

/// Most associations of a question: each costs a worker time. Guests have one, or one of each kind.
const MAX_ASSOCIATIONS: usize = 16;

/// What a guest asks.
pub(super) struct Question<'a> {
    /// One that clients send.
    pub kind: u8,
    /// The number that the answer has too.
    pub transaction: [u8; 3],
    /// Where it comes from.
    pub from: Ipv6Addr,
    /// Not to all servers, but to one.
    pub unicast: bool,
    /// The guest's name for itself; empty: none.
    pub client_id: &'a [u8],
    /// Whom it asks; empty: everybody.
    pub server_id: &'a [u8],
    /// It takes a REPLY for an ADVERTISE.
    pub rapid_commit: bool,
    /// It says what its domain name is (RFC 4704).
    pub says_name: bool,
    /// Codes of options, two bytes each; `None`: nothing in particular.
    requested: Option<&'a [u8]>,
    options: &'a [u8],
}

/// What addresses, or prefixes, are given to: as many as there are of a guest's interfaces, or more.
#[derive(Clone, Copy)]
pub(super) struct Association<'a> {
    /// What kind of: [`code::IA_NA`], [`code::IA_TA`] or [`code::IA_PD`].
    pub code: u16,
    /// Its number, the guest's own.
    pub id: [u8; 4],
    options: &'a [u8],
}

/// The UDP datagram to a DHCPv6 server in an IPv6 frame that was parsed, and where it goes, if it is one. What is behind the
/// first buffer is not looked at.
pub(super) fn datagram(head: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let ip = route::ipv6(head).filter(|ip| ip.next_header() == ipv4::UDP)?;
    let end = head.len().min(EthernetHdr::LEN + ip.total_len());
    let datagram = head.get(EthernetHdr::LEN + Ipv6Hdr::LEN..end)?;
    let (udp, _) = UdpHdr::ref_from_prefix(datagram).ok()?;
    (udp.dst_port() == dhcp6::SERVER).then_some((ip.dst(), datagram))
}

impl<'a> Question<'a> {
    /// Reads a frame with such a datagram, of the guest whose MAC this is.
    ///
    /// # Errors
    /// `Truncated`: the frame is in several buffers. `BadDhcp`: it is no client's request, or malformed.
    pub(super) fn read(head: &'a [u8], len: usize, mac: Mac) -> Result<Self, DropReason> {
        if head.len() < len {
            return Err(DropReason::Truncated);
        }
        let question = Self::of(head, mac).filter(Self::is_sound);
        question.ok_or(DropReason::BadDhcp)
    }

    fn of(head: &'a [u8], mac: Mac) -> Option<Self> {
        let (ethernet, _) = EthernetHdr::ref_from_prefix(head).ok()?;
        let from = route::ipv6(head)?.src();
        let (to, datagram) = datagram(head)?;
        let (udp, _) = UdpHdr::ref_from_prefix(datagram).ok()?;
        let message = datagram.get(UdpHdr::LEN..udp.datagram_len())?;
        let ([kind, transaction @ ..], options) = message.split_first_chunk::<4>()?;
        let is_one = !(from.is_unspecified() || from.is_multicast() || from.is_loopback());
        if !is_one || ethernet.src() != mac {
            return None;
        }
        let mut question = Self {
            kind: *kind,
            transaction: *transaction,
            from,
            unicast: to != dhcp6::ALL_SERVERS,
            client_id: &[],
            server_id: &[],
            rapid_commit: false,
            says_name: false,
            requested: None,
            options,
        };
        for option in Options(options) {
            let (code, value) = option.ok()?;
            question.take(code, value)?;
        }
        Some(question)
    }

    /// `None`: it makes no sense, or is there twice.
    fn take(&mut self, code: u16, value: &'a [u8]) -> Option<()> {
        let once = |id: &mut &'a [u8]| {
            let takes = id.is_empty() && dhcp6::DUID_LEN.contains(&value.len());
            takes.then(|| *id = value)
        };
        match code {
            code::CLIENT_ID => once(&mut self.client_id),
            code::SERVER_ID => once(&mut self.server_id),
            code::REQUESTED => {
                let takes = self.requested.is_none() && value.len().is_multiple_of(2);
                takes.then(|| self.requested = Some(value))
            }
            code::RAPID_COMMIT => {
                self.rapid_commit = true;
                Some(())
            }
            code::FQDN => {
                self.says_name = true;
                Some(())
            }
            _ => match Association::read(code, value) {
                Some(association) => association?.is_sound().then_some(()),
                None => Some(()), // nothing that matters here
            },
        }
    }

    /// Whether it says what its kind has to, and nothing that it must not (RFC 8415 sections 16.2 to 16.12 and 16), nor more than
    /// guests have reason to.
    fn is_sound(&self) -> bool {
        if self.associations().nth(MAX_ASSOCIATIONS).is_some() {
            return false;
        }
        let (client, server) = (!self.client_id.is_empty(), !self.server_id.is_empty());
        match self.kind {
            kind::SOLICIT | kind::CONFIRM | kind::REBIND => client && !server && !self.unicast,
            kind::REQUEST | kind::RENEW | kind::RELEASE | kind::DECLINE => client && server,
            kind::INFORMATION_REQUEST => self.associations().next().is_none() && !self.unicast,
            _ => false,
        }
    }

    /// What it wants addresses for, or says of those that it has, in its order.
    pub(super) fn associations(&self) -> impl Iterator<Item = Association<'a>> + use<'a> {
        let options = Options(self.options).flatten();
        options.filter_map(|(code, value)| Association::read(code, value)?)
    }

    /// Whether an option is to be told: if the guest asks for it, or for nothing in particular.
    pub(super) fn asks_for(&self, code: u16) -> bool {
        self.requested.is_none_or(|codes| {
            let (codes, _) = codes.as_chunks::<2>();
            let mut codes = codes.iter().take(MAX_REQUESTED);
            codes.any(|asked| u16::from_be_bytes(*asked) == code)
        })
    }
}

impl<'a> Association<'a> {
    /// `None`: the option is none. `Some(None)`: it is too short for one.
    fn read(code: u16, value: &'a [u8]) -> Option<Option<Self>> {
        let fixed = match code {
            code::IA_NA | code::IA_PD => dhcp6::IA_LEN,
            code::IA_TA => dhcp6::IA_TA_LEN,
            _ => return None,
        };
        let read = || {
            Some(Self {
                code,
                id: *value.first_chunk()?,
                options: value.get(fixed..)?,
            })
        };
        Some(read())
    }

    /// Whether its options can be read.
    fn is_sound(self) -> bool {
        Options(self.options).all(|option| match option {
            Ok((code::IA_ADDRESS, value)) => value.len() >= dhcp6::IA_ADDRESS_LEN,
            option => option.is_ok(),
        })
    }

    /// The addresses that it names, or none if it is one of prefixes.
    pub(super) fn addresses(self) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        let options = Options(self.options).flatten();
        let addresses =
            options.filter(move |(code, _)| *code == code::IA_ADDRESS && self.code != code::IA_PD);
        addresses.filter_map(|(_, value)| Some(Ipv6Addr::from_octets(*value.first_chunk()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 10];

    fn frame(message: &[u8]) -> Vec<u8> {
        let from = crate::wire::nd::link_local(Mac::new(MAC)).octets();
        let builder = etherparse::PacketBuilder::ethernet2(MAC, [0x33, 0x33, 0, 1, 0, 2]);
        let builder = builder.ipv6(from, dhcp6::ALL_SERVERS.octets(), 1);
        let mut frame = Vec::new();
        builder.udp(546, 547).write(&mut frame, message).unwrap();
        frame
    }

    #[test]
    fn a_message_in_several_buffers_is_not_read() {
        let frame = frame(&[11, 1, 2, 3]);
        let read = |len| {
            let question = Question::read(&frame, len, Mac::new(MAC));
            question.map(|question| question.transaction)
        };
        assert_eq!(read(frame.len()), Ok([1, 2, 3]));
        assert_eq!(read(frame.len() + 1), Err(DropReason::Truncated));
    }

    #[test]
    fn what_is_asked_for_is_looked_at_up_to_a_number() {
        let codes = (1000..1200u16).flat_map(u16::to_be_bytes);
        let message: Vec<u8> = [11, 1, 2, 3, 0, 6, 1, 0x90]
            .into_iter()
            .chain(codes)
            .collect();
        let frame = frame(&message);
        let question = Question::read(&frame, frame.len(), Mac::new(MAC)).unwrap();
        assert!(question.asks_for(1000) && question.asks_for(1127));
        assert!(!question.asks_for(1128) && !question.asks_for(999));
    }
}
