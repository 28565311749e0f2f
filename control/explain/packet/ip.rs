// SPDX-License-Identifier: MIT
//! IP packets of either version, and what they carry.

use std::net::IpAddr;

use etherparse::err::ValueTooBigError;
use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber};
use etherparse::{Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use vswitch::wire::Vni;

use super::{Layer, PacketError, SOURCE, Sender, Stranger, frame, known, payload, ports};

/// The protocol of what carries none (RFC 3692).
const EXPERIMENT: IpNumber = IpNumber(253);

/// A header of either version, whose payload is not known yet.
enum Versioned {
    V4(Ipv4Header),
    V6(Ipv6Header),
}

/// The packet of the last layers below this one, and where it goes.
pub(super) fn packet(
    mut layer: Layer<'_>,
    layers: &mut Vec<Layer<'_>>,
    sender: &impl Sender,
) -> Result<(IpAddr, Vec<u8>), PacketError> {
    let (from, to): (_, Option<IpAddr>) = (layer.take("src")?, layer.take("dst")?);
    let to = known("ip dst", to)?;
    let from = known("ip src", from.or_else(|| sender.address(to)))?;
    let tos: u8 = layer.take("tos")?.unwrap_or(0);
    let hops = layer.take("ttl")?.unwrap_or(64);
    let protocol = layer.take("proto")?.map(IpNumber);
    let mut ip = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Versioned::V4(Ipv4Header {
            time_to_live: hops,
            dont_fragment: layer.take("df")?.unwrap_or(0_u8) != 0,
            dscp: (tos >> 2).try_into().unwrap_or_default(),
            ecn: (tos & 3).try_into().unwrap_or_default(),
            source: from.octets(),
            destination: to.octets(),
            ..Ipv4Header::default()
        }),
        (IpAddr::V6(from), IpAddr::V6(to)) => Versioned::V6(Ipv6Header {
            traffic_class: tos,
            hop_limit: hops,
            source: from.octets(),
            destination: to.octets(),
            ..Ipv6Header::default()
        }),
        _ => return Err(PacketError::Value(format!("src={from} with dst={to}"))),
    };
    layer.end()?;
    let (carried, packet) = carried(layers, &ip, sender.vxlan_port())?;
    let protocol = protocol.unwrap_or(carried);
    let header = ip.finish(protocol, packet.len())?;
    Ok((to, [&header[..], &packet].concat()))
}

impl Versioned {
    /// The header's bytes, before so many of this protocol.
    fn finish(&mut self, protocol: IpNumber, len: usize) -> Result<Vec<u8>, PacketError> {
        match self {
            Self::V4(header) => {
                header.protocol = protocol;
                header.set_payload_len(len).map_err(too_long)?;
                header.header_checksum = header.calc_header_checksum();
                Ok(header.to_bytes().to_vec())
            }
            Self::V6(header) => {
                header.next_header = protocol;
                header.set_payload_length(len).map_err(too_long)?;
                Ok(header.to_bytes().to_vec())
            }
        }
    }

    fn udp(&self, ports: (u16, u16), data: &[u8]) -> Result<Vec<u8>, PacketError> {
        let (from, to) = ports;
        let header = match self {
            Self::V4(ip) => UdpHeader::with_ipv4_checksum(from, to, ip, data),
            Self::V6(ip) => UdpHeader::with_ipv6_checksum(from, to, ip, data),
        };
        Ok([&header.map_err(too_long)?.to_bytes()[..], data].concat())
    }

    /// The beginning of a connection.
    fn tcp(&self, ports: (u16, u16), data: &[u8]) -> Result<Vec<u8>, PacketError> {
        let mut header = TcpHeader::new(ports.0, ports.1, 1, u16::MAX);
        header.syn = true;
        let checksum = match self {
            Self::V4(ip) => header.calc_checksum_ipv4(ip, data),
            Self::V6(ip) => header.calc_checksum_ipv6(ip, data),
        };
        header.checksum = checksum.map_err(too_long)?;
        Ok([&header.to_bytes()[..], data].concat())
    }

    /// An echo request.
    fn icmp(&self, data: &[u8]) -> Result<(IpNumber, Vec<u8>), PacketError> {
        let echo = IcmpEchoHeader { id: 1, seq: 1 };
        match self {
            Self::V4(_) => {
                let header = Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(echo), data);
                Ok((IpNumber::ICMP, [&header.to_bytes()[..], data].concat()))
            }
            Self::V6(ip) => {
                let request = Icmpv6Type::EchoRequest(echo);
                let header = Icmpv6Header::with_checksum(request, ip.source, ip.destination, data);
                let header = header.map_err(too_long)?;
                Ok((IpNumber::IPV6_ICMP, [&header.to_bytes()[..], data].concat()))
            }
        }
    }
}

fn too_long(error: ValueTooBigError<usize>) -> PacketError {
    PacketError::Value(error.to_string())
}

/// What is in an IP packet, and the protocol of it.
fn carried(
    layers: &mut Vec<Layer<'_>>,
    ip: &Versioned,
    vxlan_port: u16,
) -> Result<(IpNumber, Vec<u8>), PacketError> {
    let transport = layers.pop_if(|layer| !layer.name.is_empty());
    let Some(mut layer) = transport else {
        return Ok((EXPERIMENT, payload(layers)?));
    };
    match layer.name {
        "icmp" => {
            layer.end()?;
            ip.icmp(&payload(layers)?)
        }
        "udp" => {
            let ports = ports(&mut layer)?;
            layer.end()?;
            Ok((IpNumber::UDP, ip.udp(ports, &payload(layers)?)?))
        }
        "tcp" => {
            let ports = ports(&mut layer)?;
            layer.end()?;
            Ok((IpNumber::TCP, ip.tcp(ports, &payload(layers)?)?))
        }
        "vxlan" => {
            let vni: u32 = known("vxlan vni", layer.take("vni")?)?;
            let sport = layer.take("sport")?.unwrap_or(SOURCE);
            layer.end()?;
            let vni = Vni::new(vni).ok_or_else(|| PacketError::Value(format!("vni={vni}")))?;
            let header = [0x0800_0000, vni.get() << 8].map(u32::to_be_bytes).concat();
            let inner = frame(layers, &Stranger(vxlan_port))?;
            let datagram = ip.udp((sport, vxlan_port), &[header, inner].concat())?;
            Ok((IpNumber::UDP, datagram))
        }
        name => Err(PacketError::Layer(name.to_owned())),
    }
}
