// SPDX-License-Identifier: MIT
//! [`Located`]: where the headers of an unfinished packet are. A guest may say of any frame that something is left to do.

use zerocopy::FromBytes;

use super::MAX_SEGMENTS;
use crate::counters::DropReason;
use crate::io::{Frame, Headers};
use crate::wire::{Ipv4Hdr, Ipv6Hdr, UdpHdr, ethernet, ipv4, ipv6, tcp};

/// A TCP or UDP packet in a frame: its headers are whole and in the first buffer, and it ends inside of the frame.
#[derive(Clone, Copy)]
pub(super) struct Located {
    pub(super) headers: Headers,
    /// Where in the frame the packet ends.
    pub(super) end: usize,
    /// There are no extension headers, which devices do not look behind.
    pub(super) is_plain: bool,
}

/// What an IP header says.
struct Ip {
    is_ipv6: bool,
    protocol: u8,
    header: usize,
    total: usize,
    is_plain: bool,
}

impl Located {
    /// `None`: it is no such packet, or a fragment of one.
    pub(super) fn of<F: Frame>(frame: &F) -> Option<Self> {
        let head = frame.head();
        let (link, ethertype) = ethernet::payload(head)?;
        let packet = head.get(link..)?;
        let ip = match ethertype {
            ethernet::IPV4 => Ip::v4(packet),
            ethernet::IPV6 => Ip::v6(packet),
            _ => None,
        }?;
        let segment = packet.get(ip.header..)?;
        let transport = match ip.protocol {
            ipv4::TCP => tcp::header_len(segment)?,
            ipv4::UDP => UdpHdr::LEN,
            _ => return None,
        };
        let end = link + ip.total;
        let is_whole =
            transport <= segment.len() && ip.header + transport <= ip.total && end <= frame.len();
        // All are below the length of a packet.
        let headers = Headers {
            link: link as u16,
            ip: ip.header as u16,
            transport: transport as u16,
            is_ipv6: ip.is_ipv6,
            is_udp: ip.protocol == ipv4::UDP,
        };
        is_whole.then_some(Self {
            headers,
            end,
            is_plain: ip.is_plain,
        })
    }

    /// Where in the frame the TCP or UDP header begins.
    pub(super) fn transport_at(&self) -> usize {
        usize::from(self.headers.link) + usize::from(self.headers.ip)
    }

    /// Where in the frame the payload begins.
    pub(super) fn payload_at(&self) -> usize {
        self.transport_at() + usize::from(self.headers.transport)
    }

    /// Bytes of the payload.
    pub(super) fn payload(&self) -> usize {
        self.end - self.payload_at()
    }

    /// Whether it is more than one segment of so many bytes. A UDP datagram never is: if it is too long for its way, it is cut by
    /// IP, as every packet.
    pub(super) fn is_cut_by(&self, size: u16) -> Result<bool, DropReason> {
        let (payload, size) = (self.payload(), usize::from(size));
        if self.headers.is_udp || payload <= size {
            return Ok(false);
        }
        let few = size != 0 && payload.div_ceil(size) <= MAX_SEGMENTS;
        few.then_some(true).ok_or(DropReason::BadOffload)
    }

    /// Writes the checksum. Of UDP, zero means that there is none (RFC 768), and is written as its equal.
    pub(super) fn set_checksum(&self, head: &mut [u8], checksum: u16) {
        let (at, checksum) = match (self.headers.is_udp, checksum) {
            (true, 0) => (UdpHdr::CHECKSUM, u16::MAX),
            (true, checksum) => (UdpHdr::CHECKSUM, checksum),
            (false, checksum) => (tcp::CHECKSUM, checksum),
        };
        if let Some(field) = head
            .get_mut(self.transport_at() + at..)
            .and_then(<[u8]>::first_chunk_mut)
        {
            *field = checksum.to_be_bytes();
        }
    }
}

impl Ip {
    fn v4(packet: &[u8]) -> Option<Self> {
        let (ip, _) = Ipv4Hdr::ref_from_prefix(packet).ok()?;
        let sound = ip.is_v4() && ip.header_len() >= Ipv4Hdr::LEN && !ip.is_fragment();
        sound.then(|| Self {
            is_ipv6: false,
            protocol: ip.protocol(),
            header: ip.header_len(),
            total: ip.total_len(),
            is_plain: true,
        })
    }

    fn v6(packet: &[u8]) -> Option<Self> {
        let (ip, _) = Ipv6Hdr::ref_from_prefix(packet).ok()?;
        let (protocol, behind) = ipv6::upper_layer(ip, packet)?;
        let sound = ip.is_v6() && !ipv6::has_fragment_header(ip, packet);
        sound.then(|| Self {
            is_ipv6: true,
            protocol,
            header: packet.len() - behind.len(),
            total: ip.total_len(),
            is_plain: ip.next_header() == protocol,
        })
    }
}
