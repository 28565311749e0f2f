// SPDX-License-Identifier: MIT
//! What the controller is told of a packet when it is asked where it goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use vswitch::stage::punt::Destination;
use vswitch::wire::{ArpHdr, EthernetHdr, Ipv4Hdr, Vni, ethernet, ipv4};
use zerocopy::FromBytes;

use crate::proto::schema::host_request::ResourceStateRequest;
use crate::proto::schema::{EtherType, Protocol, RequestType};

/// A packet that lacks a neighbor, in the controller's terms (Alcor: HostRequest.ResourceStateRequest).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    /// The VNI of the guest's subnet.
    pub(crate) vni: Vni,
    /// The guest's address.
    pub(crate) source: IpAddr,
    /// The guest's port, 0 if there is none.
    pub(crate) source_port: u16,
    /// The address that is asked for.
    pub(crate) destination: IpAddr,
    /// The port there, 0 if there is none.
    pub(crate) destination_port: u16,
    /// What the packet is; TCP, which is the schema's zero, also for what the schema has no value for.
    pub(crate) protocol: Protocol,
}

impl Question {
    /// Of a frame that starts with `head` and that the packet path has looked at: an IP packet or an ARP request.
    pub(crate) fn of(head: &[u8], destination: &Destination) -> Self {
        let mut question = Self {
            vni: destination.vni,
            source: match destination.ip {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            },
            source_port: 0,
            destination: destination.ip,
            destination_port: 0,
            protocol: Protocol::Tcp,
        };
        let Ok((frame, rest)) = EthernetHdr::ref_from_prefix(head) else {
            return question;
        };
        match frame.ethertype() {
            ethernet::ARP => {
                if let Ok((arp, _)) = ArpHdr::ref_from_prefix(rest) {
                    question.source = arp.sender_ip().into();
                }
                question.protocol = Protocol::Arp;
            }
            ethernet::IPV4 => {
                if let Ok((ip, _)) = Ipv4Hdr::ref_from_prefix(rest) {
                    question.ipv4(ip, rest.get(ip.header_len()..).unwrap_or_default());
                }
            }
            ethernet::IPV6 => question.ipv6(head),
            _ => {}
        }
        question
    }

    fn ipv4(&mut self, ip: &Ipv4Hdr, payload: &[u8]) {
        self.source = Ipv4Addr::from(ip.src()).into();
        self.protocol = match ip.protocol() {
            ipv4::UDP => Protocol::Udp,
            ipv4::ICMP => Protocol::Icmp,
            _ => Protocol::Tcp,
        };
        let has_ports = matches!(ip.protocol(), ipv4::TCP | ipv4::UDP) && !ip.is_later_fragment();
        if let Some([a, b, c, d]) = payload.first_chunk().filter(|_| has_ports) {
            self.source_port = u16::from_be_bytes([*a, *b]);
            self.destination_port = u16::from_be_bytes([*c, *d]);
        }
    }

    /// Also of a neighbor solicitation, which is ICMP: the schema's ARP is IPv4's.
    fn ipv6(&mut self, head: &[u8]) {
        let Ok(packet) = LaxSlicedPacket::from_ethernet(head) else {
            return;
        };
        let Some(LaxNetSlice::Ipv6(ip)) = &packet.net else {
            return;
        };
        self.source = ip.header().source_addr().into();
        match packet.transport {
            Some(TransportSlice::Icmpv6(_)) => self.protocol = Protocol::Icmp,
            Some(TransportSlice::Udp(udp)) => {
                self.protocol = Protocol::Udp;
                (self.source_port, self.destination_port) =
                    (udp.source_port(), udp.destination_port());
            }
            Some(TransportSlice::Tcp(tcp)) => {
                (self.source_port, self.destination_port) =
                    (tcp.source_port(), tcp.destination_port());
            }
            _ => {}
        }
    }

    /// As it is sent.
    pub(crate) fn request(&self, request_id: String) -> ResourceStateRequest {
        ResourceStateRequest {
            request_type: RequestType::OnDemand.into(),
            request_id,
            tunnel_id: self.vni.get(),
            source_ip: self.source.to_string(),
            source_port: self.source_port.into(),
            destination_ip: self.destination.to_string(),
            destination_port: self.destination_port.into(),
            ethertype: match self.destination {
                IpAddr::V4(_) => EtherType::Ipv4,
                IpAddr::V6(_) => EtherType::Ipv6,
            }
            .into(),
            protocol: self.protocol.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, PacketBuilderStep};
    use vswitch::stage::punt::Sought;
    use vswitch::tables::VpcId;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
    const TO: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 9);

    fn destination() -> Destination {
        let one = std::num::NonZeroU16::MIN;
        Destination {
            vni: Vni::new(7).unwrap(),
            ip: TO.into(),
            sought: Sought::Ip(VpcId(one), TO.into()),
        }
    }

    fn ip() -> PacketBuilderStep<etherparse::IpHeaders> {
        PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(SOURCE.octets(), [10, 9, 9, 9], 64)
    }

    fn question(protocol: Protocol, source_port: u16, destination_port: u16) -> Question {
        Question {
            vni: Vni::new(7).unwrap(),
            source: SOURCE.into(),
            source_port,
            destination: TO.into(),
            destination_port,
            protocol,
        }
    }

    #[test]
    fn a_question_says_what_the_packet_says_and_asks_for_the_next_hop() {
        let mut bytes = Vec::new();
        ip().udp(5, 6).write(&mut bytes, b"x").unwrap();
        let asked = Question::of(&bytes, &destination());
        assert_eq!(asked, question(Protocol::Udp, 5, 6));
        bytes[21] = 1; // a later fragment has no ports
        let asked = Question::of(&bytes, &destination());
        assert_eq!(asked, question(Protocol::Udp, 0, 0));

        let mut bytes = Vec::new();
        ip().tcp(7, 8, 0, 9).write(&mut bytes, &[]).unwrap();
        let asked = Question::of(&bytes, &destination());
        assert_eq!(asked, question(Protocol::Tcp, 7, 8));

        let mut bytes = Vec::new();
        ip().icmpv4_echo_request(1, 2)
            .write(&mut bytes, &[])
            .unwrap();
        let asked = Question::of(&bytes, &destination());
        assert_eq!(asked, question(Protocol::Icmp, 0, 0));

        let request = question(Protocol::Icmp, 0, 0).request("id".into());
        assert_eq!(
            (
                request.tunnel_id,
                &*request.source_ip,
                &*request.destination_ip
            ),
            (7, "10.7.0.1", "10.7.0.9")
        );
        assert_eq!((request.request_type, request.protocol), (0, 2));
    }

    #[test]
    fn packets_of_ipv6_ask_likewise() {
        let [from, to] = ["2001:db8::1", "2001:db8::9"].map(|ip| ip.parse::<Ipv6Addr>().unwrap());
        let one = std::num::NonZeroU16::MIN;
        let destination = Destination {
            vni: Vni::new(7).unwrap(),
            ip: to.into(),
            sought: Sought::Ip(VpcId(one), to.into()),
        };
        let ip = || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6(from.octets(), to.octets(), 64);
        let asked = |bytes: &[u8]| {
            let asked = Question::of(bytes, &destination);
            assert_eq!((asked.source, asked.destination), (from.into(), to.into()));
            (asked.protocol, asked.source_port, asked.destination_port)
        };
        let (mut udp, mut tcp, mut icmp) = (Vec::new(), Vec::new(), Vec::new());
        ip().udp(5, 6).write(&mut udp, b"x").unwrap();
        assert_eq!(asked(&udp), (Protocol::Udp, 5, 6));
        ip().tcp(7, 8, 0, 9).write(&mut tcp, &[]).unwrap();
        assert_eq!(asked(&tcp), (Protocol::Tcp, 7, 8));
        ip().icmpv6_echo_request(1, 2)
            .write(&mut icmp, &[])
            .unwrap();
        assert_eq!(asked(&icmp), (Protocol::Icmp, 0, 0));
        let request = Question::of(&udp, &destination).request("id".into());
        assert_eq!(request.ethertype(), EtherType::Ipv6);
        assert_eq!(
            (&*request.source_ip, &*request.destination_ip),
            ("2001:db8::1", "2001:db8::9")
        );
        for len in 0..udp.len() {
            let cut = Question::of(&udp[..len], &destination);
            assert_eq!(cut.destination, IpAddr::from(to));
        }
    }

    #[test]
    fn an_arp_request_asks_as_arp() {
        let packet = etherparse::ArpPacket::new(
            etherparse::ArpHardwareId::ETHERNET,
            etherparse::EtherType::IPV4,
            etherparse::ArpOperation::REQUEST,
            &[2; 6],
            &SOURCE.octets(),
            &[0; 6],
            &TO.octets(),
        );
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2; 6], [0xff; 6])
            .arp(packet.unwrap())
            .write(&mut bytes)
            .unwrap();
        let asked = Question::of(&bytes, &destination());
        assert_eq!(asked, question(Protocol::Arp, 0, 0));
    }

    #[test]
    fn bytes_that_end_early_are_asked_about_with_what_is_there() {
        let mut bytes = Vec::new();
        ip().udp(5, 6).write(&mut bytes, b"x").unwrap();
        for len in 0..bytes.len() {
            assert_eq!(Question::of(&bytes[..len], &destination()).destination, TO);
        }
    }
}
