// SPDX-License-Identifier: MIT
//! Packets from words, as in `ip dst=10.0.1.3 ttl=64 / udp dport=53 / len=100`. What is left out is what the machine at the
//! port would fill in itself.

use std::net::Ipv4Addr;
use std::str::FromStr;

use etherparse::{ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header, IcmpEchoHeader};
use etherparse::{Icmpv4Header, Icmpv4Type, IpNumber, Ipv4Header, TcpHeader, UdpHeader};
use vswitch::wire::{Mac, Vni};

/// Most bytes of payload.
const MAX_LEN: u16 = 9000;

/// A port that senders take.
const SOURCE: u16 = 50_000;

/// The port of a service that answers nothing (RFC 863).
const DISCARD: u16 = 9;

/// The protocol of what carries none (RFC 3692).
const EXPERIMENT: IpNumber = IpNumber(253);

/// The machine that sends.
pub(crate) trait Sender {
    /// Its MAC.
    fn mac(&self) -> Option<Mac>;
    /// Its address.
    fn address(&self) -> Option<Ipv4Addr>;
    /// The MAC that it sends to when it sends to this address: a neighbor's, or its gateway's.
    fn resolve(&self, to: Ipv4Addr) -> Option<Mac>;
    /// The UDP port that it sends VXLAN to.
    fn vxlan_port(&self) -> u16;
}

/// Why words make no packet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PacketError {
    /// There is no such layer, or it cannot stand there.
    #[error(
        "`{0}` cannot stand there: a packet is [eth /] arp, or [eth /] ip [/ icmp, udp or tcp] [/ len=BYTES], or \
         [eth /] ip / vxlan / and a packet again, once"
    )]
    Layer(String),
    /// A layer has no such field.
    #[error("{layer} has no field `{field}`")]
    Field {
        /// The layer.
        layer: String,
        /// What was said.
        field: String,
    },
    /// A field's value makes no sense.
    #[error("`{0}` is no value for it")]
    Value(String),
    /// Nobody says it, and the port does not tell.
    #[error("{0} is not known here: say it in the packet")]
    Unknown(&'static str),
}

/// One layer in words: its name, and its fields as they were not used yet.
struct Layer<'a> {
    name: &'a str,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Layer<'a> {
    fn read(text: &'a str) -> Self {
        let mut words = text.split_whitespace().peekable();
        let name = words.next_if(|word| !word.contains('='));
        let fields = words.map(|word| word.split_once('=').unwrap_or((word, "")));
        Self {
            name: name.unwrap_or_default(),
            fields: fields.collect(),
        }
    }

    /// The value of a field, if it is said.
    fn take<T: FromStr>(&mut self, field: &str) -> Result<Option<T>, PacketError> {
        let Some(at) = self.fields.iter().position(|(name, _)| *name == field) else {
            return Ok(None);
        };
        let (name, value) = self.fields.swap_remove(at);
        let wrong = |_| PacketError::Value(format!("{name}={value}"));
        value.parse().map_err(wrong).map(Some)
    }

    /// All fields must have been used.
    fn end(self) -> Result<(), PacketError> {
        match self.fields.first() {
            None => Ok(()),
            Some((field, _)) => Err(PacketError::Field {
                layer: match self.name {
                    "" => "a payload".to_owned(),
                    name => name.to_owned(),
                },
                field: (*field).to_owned(),
            }),
        }
    }
}

/// The bytes of the packet that `text` describes, sent by `sender`.
pub(crate) fn packet(text: &str, sender: &impl Sender) -> Result<Vec<u8>, PacketError> {
    let mut layers: Vec<Layer<'_>> = text.split('/').map(Layer::read).collect();
    // A tunnel in a tunnel is more than anybody unpacks here.
    let mut tunnels = layers.iter().filter(|layer| layer.name == "vxlan");
    if let Some(second) = tunnels.nth(1) {
        return Err(PacketError::Layer(second.name.to_owned()));
    }
    layers.reverse();
    frame(&mut layers, sender)
}

/// The frame of the last layers.
fn frame(layers: &mut Vec<Layer<'_>>, sender: &impl Sender) -> Result<Vec<u8>, PacketError> {
    let ethernet = layers.pop_if(|layer| layer.name == "eth");
    let mut ethernet = ethernet.unwrap_or_else(|| Layer::read("eth"));
    let (src, dst) = (ethernet.take("src")?, ethernet.take("dst")?);
    ethernet.end()?;
    let src: Mac = known("eth src", src.or_else(|| sender.mac()))?;
    let network = layers.pop().unwrap_or_else(|| Layer::read(""));
    let (ether_type, dst, packet) = match network.name {
        "arp" => {
            let dst = dst.unwrap_or(Mac::new([0xff; 6]));
            (EtherType::ARP, dst, arp(network, src, sender)?)
        }
        "ip" => {
            let (to, packet) = ip(network, layers, sender)?;
            let dst = known("eth dst", dst.or_else(|| sender.resolve(to)))?;
            (EtherType::IPV4, dst, packet)
        }
        name => return Err(PacketError::Layer(name.to_owned())),
    };
    if let Some(more) = layers.last() {
        return Err(PacketError::Layer(more.name.to_owned()));
    }
    let header = Ethernet2Header {
        source: src.bytes(),
        destination: dst.bytes(),
        ether_type,
    };
    Ok([&header.to_bytes()[..], &packet].concat())
}

fn known<T>(what: &'static str, value: Option<T>) -> Result<T, PacketError> {
    value.ok_or(PacketError::Unknown(what))
}

/// A request for who has an address.
fn arp(mut layer: Layer<'_>, mac: Mac, sender: &impl Sender) -> Result<Vec<u8>, PacketError> {
    let (from, to) = (layer.take("src")?, layer.take("dst")?);
    layer.end()?;
    let from: Ipv4Addr = known("arp src", from.or_else(|| sender.address()))?;
    let to: Ipv4Addr = known("arp dst", to)?;
    let request = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: mac.bytes(),
        sender_ipv4: from.octets(),
        target_mac: [0; 6],
        target_ipv4: to.octets(),
    };
    Ok(request.to_bytes().to_vec())
}

/// An IPv4 packet, and where it goes.
fn ip(
    mut layer: Layer<'_>,
    layers: &mut Vec<Layer<'_>>,
    sender: &impl Sender,
) -> Result<(Ipv4Addr, Vec<u8>), PacketError> {
    let (from, to) = (layer.take("src")?, layer.take("dst")?);
    let from: Ipv4Addr = known("ip src", from.or_else(|| sender.address()))?;
    let to: Ipv4Addr = known("ip dst", to)?;
    let tos: u8 = layer.take("tos")?.unwrap_or(0);
    let mut header = Ipv4Header {
        time_to_live: layer.take("ttl")?.unwrap_or(64),
        dont_fragment: layer.take("df")?.unwrap_or(0_u8) != 0,
        dscp: (tos >> 2).try_into().unwrap_or_default(),
        ecn: (tos & 3).try_into().unwrap_or_default(),
        source: from.octets(),
        destination: to.octets(),
        ..Ipv4Header::default()
    };
    let protocol = layer.take("proto")?.map(IpNumber);
    layer.end()?;
    let (carried, packet) = carried(layers, &header, sender.vxlan_port())?;
    header.protocol = protocol.unwrap_or(carried);
    let too_long =
        |error: etherparse::err::ValueTooBigError<usize>| PacketError::Value(error.to_string());
    header.set_payload_len(packet.len()).map_err(too_long)?;
    header.header_checksum = header.calc_header_checksum();
    Ok((to, [&header.to_bytes()[..], &packet].concat()))
}

/// What is in an IPv4 packet, and the protocol of it.
fn carried(
    layers: &mut Vec<Layer<'_>>,
    ip: &Ipv4Header,
    vxlan_port: u16,
) -> Result<(IpNumber, Vec<u8>), PacketError> {
    let transport = layers.pop_if(|layer| !layer.name.is_empty());
    let Some(mut layer) = transport else {
        return Ok((EXPERIMENT, payload(layers)?));
    };
    let too_long =
        |error: etherparse::err::ValueTooBigError<usize>| PacketError::Value(error.to_string());
    let udp = |sport, dport, data: Vec<u8>| {
        let header = UdpHeader::with_ipv4_checksum(sport, dport, ip, &data).map_err(too_long)?;
        Ok((IpNumber::UDP, [&header.to_bytes()[..], &data].concat()))
    };
    match layer.name {
        "icmp" => {
            layer.end()?;
            let (kind, data) = (IcmpEchoHeader { id: 1, seq: 1 }, payload(layers)?);
            let header = Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(kind), &data);
            Ok((IpNumber::ICMP, [&header.to_bytes()[..], &data].concat()))
        }
        "udp" => {
            let (sport, dport) = ports(&mut layer)?;
            layer.end()?;
            udp(sport, dport, payload(layers)?)
        }
        "tcp" => {
            let (sport, dport) = ports(&mut layer)?;
            layer.end()?;
            let mut header = TcpHeader::new(sport, dport, 1, u16::MAX);
            header.syn = true;
            let data = payload(layers)?;
            header.checksum = header.calc_checksum_ipv4(ip, &data).map_err(too_long)?;
            Ok((IpNumber::TCP, [&header.to_bytes()[..], &data].concat()))
        }
        "vxlan" => {
            let vni: u32 = known("vxlan vni", layer.take("vni")?)?;
            let sport = layer.take("sport")?.unwrap_or(SOURCE);
            layer.end()?;
            let vni = Vni::new(vni).ok_or_else(|| PacketError::Value(format!("vni={vni}")))?;
            let header = [0x0800_0000, vni.get() << 8].map(u32::to_be_bytes).concat();
            let inner = frame(layers, &Stranger(vxlan_port))?;
            udp(sport, vxlan_port, [header, inner].concat())
        }
        name => Err(PacketError::Layer(name.to_owned())),
    }
}

fn ports(layer: &mut Layer<'_>) -> Result<(u16, u16), PacketError> {
    let (sport, dport) = (layer.take("sport")?, layer.take("dport")?);
    Ok((sport.unwrap_or(SOURCE), dport.unwrap_or(DISCARD)))
}

/// The bytes that are carried: so many zeros.
fn payload(layers: &mut Vec<Layer<'_>>) -> Result<Vec<u8>, PacketError> {
    let Some(mut layer) = layers.pop_if(|layer| layer.name.is_empty()) else {
        return Ok(Vec::new());
    };
    let len: u16 = layer.take("len")?.unwrap_or(0);
    layer.end()?;
    match len {
        ..=MAX_LEN => Ok(vec![0; len.into()]),
        _ => Err(PacketError::Value(format!("len={len}"))),
    }
}

/// Somebody on another host, who sends VXLAN to this port.
struct Stranger(u16);

impl Sender for Stranger {
    fn mac(&self) -> Option<Mac> {
        None
    }
    fn address(&self) -> Option<Ipv4Addr> {
        None
    }
    fn resolve(&self, _: Ipv4Addr) -> Option<Mac> {
        None
    }
    fn vxlan_port(&self) -> u16 {
        self.0
    }
}
