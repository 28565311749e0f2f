// SPDX-License-Identifier: MIT
//! Packets from words, as in `ip dst=10.0.1.3 ttl=64 / udp dport=53 / len=100`. What is left out is what the machine at the
//! port would fill in itself. The version of IP is that of the addresses.
//!
//! * [`ip`](mod@ip) what is in an IP packet; [`nd`] what IPv6 has in the place of ARP.

mod ip;
mod nd;

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use etherparse::{ArpEthIpv4Packet, ArpOperation, EtherType, Ethernet2Header};
use vswitch::wire::Mac;

/// Most bytes of payload.
const MAX_LEN: u16 = 9000;

/// A port that senders take.
const SOURCE: u16 = 50_000;

/// The port of a service that answers nothing (RFC 863).
const DISCARD: u16 = 9;

/// The machine that sends.
pub(crate) trait Sender {
    /// Its MAC.
    fn mac(&self) -> Option<Mac>;
    /// The address of its own that it sends from when it sends to this one.
    fn address(&self, to: IpAddr) -> Option<IpAddr>;
    /// The MAC that it sends to when it sends to this address: a neighbor's, or its gateway's.
    fn resolve(&self, to: IpAddr) -> Option<Mac>;
    /// The UDP port that it sends VXLAN to.
    fn vxlan_port(&self) -> u16;
}

/// Why words make no packet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PacketError {
    /// There is no such layer, or it cannot stand there.
    #[error(
        "`{0}` cannot stand there: a packet is [eth /] arp or nd, or [eth /] ip [/ icmp, udp or tcp] [/ len=BYTES], or \
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
        "nd" => {
            let (to, packet) = nd::solicitation(network, src, sender)?;
            (EtherType::IPV6, dst.unwrap_or(to), packet)
        }
        "ip" => {
            let (to, packet) = ip::packet(network, layers, sender)?;
            let dst = known("eth dst", dst.or_else(|| sender.resolve(to)))?;
            let ether_type = match to {
                IpAddr::V4(_) => EtherType::IPV4,
                IpAddr::V6(_) => EtherType::IPV6,
            };
            (ether_type, dst, packet)
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
    let (from, to): (_, Option<Ipv4Addr>) = (layer.take("src")?, layer.take("dst")?);
    layer.end()?;
    let to = known("arp dst", to)?;
    let own = || match sender.address(to.into())? {
        IpAddr::V4(own) => Some(own),
        IpAddr::V6(_) => None,
    };
    let from: Ipv4Addr = known("arp src", from.or_else(own))?;
    let request = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: mac.bytes(),
        sender_ipv4: from.octets(),
        target_mac: [0; 6],
        target_ipv4: to.octets(),
    };
    Ok(request.to_bytes().to_vec())
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
    fn address(&self, _: IpAddr) -> Option<IpAddr> {
        None
    }
    fn resolve(&self, _: IpAddr) -> Option<Mac> {
        None
    }
    fn vxlan_port(&self) -> u16 {
        self.0
    }
}
