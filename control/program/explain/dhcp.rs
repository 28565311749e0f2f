// SPDX-License-Identifier: MIT
//! What a guest is told by DHCP, and whose word that is.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, v6};
use etherparse::{SlicedPacket, TransportSlice};
use vswitch::burst::{Meta, Payload};
use vswitch::counters::DropReason;
use vswitch::wire::dhcp::SERVER;
use vswitch::wire::{Mac, dhcp6};

use super::Explainer;
use crate::explain::{Named, Outcome, Trace};
use crate::proto::schema::ResourceType;
use crate::state::network::SubnetIx;
use crate::state::resource::DhcpClient;

impl Explainer<'_> {
    /// What DHCP made of the packet, of which this was known before, in words, and the resources that say so. `None`: it was
    /// none of DHCP's.
    pub(super) fn dhcp(
        &self,
        before: Option<&Meta>,
        trace: &Trace,
    ) -> Option<(String, Vec<Named>)> {
        let ix = self.port_ix(self.from)?;
        let port = self.program.ports.get(&ix)?;
        if trace.outcome == Outcome::Dropped(DropReason::NoLease) {
            let why = match before?.payload {
                Payload::Ipv6 => port.offer6.as_ref().err()?,
                _ => port.offer.as_ref().err()?,
            };
            let text = format!("{} Here: {why}", self.fate(trace));
            return Some((text, self.port_at(self.from).into_iter().collect()));
        }
        let declined = Outcome::Dropped(DropReason::DhcpDeclined);
        if ![Outcome::Answered, declined].contains(&trace.outcome) {
            return None;
        }
        let (words, subnet, mac) = trace.sent.iter().find_map(|(_, frame)| {
            let packet = SlicedPacket::from_ethernet(frame).ok()?;
            let Some(TransportSlice::Udp(udp)) = packet.transport else {
                return None;
            };
            let mut message = Decoder::new(udp.payload());
            match udp.source_port() {
                SERVER => {
                    let offer = port.offer.as_ref().ok()?;
                    let words = words(&Message::decode(&mut message).ok()?);
                    Some((words, offer.subnet, offer.lease.mac))
                }
                dhcp6::SERVER => {
                    let offer = port.offer6.as_ref().ok()?;
                    let words = words6(&v6::Message::decode(&mut message).ok()?);
                    Some((words, offer.subnet, offer.lease.mac))
                }
                _ => None,
            }
        })?;
        let text = match trace.outcome {
            Outcome::Answered => format!("for the switch itself, which answers: {words}"),
            _ => format!("{} It answers: {words}", self.fate(trace)),
        };
        Some((text, self.said_by(subnet, mac)))
    }

    /// The DHCP state, if there is one, the port and the subnet that an offer is made of.
    fn said_by(&self, subnet: SubnetIx, mac: Mac) -> Vec<Named> {
        let subnet = self.subnet(subnet);
        let client = subnet.as_ref().map(|subnet| DhcpClient {
            subnet: subnet.id.clone(),
            mac,
        });
        let state = client.and_then(|client| self.wanted.dhcp_of(&client));
        let state = state.map(|state| Named {
            kind: ResourceType::Dhcp,
            id: state.said.id.clone(),
            revision: state.said.revision_number,
        });
        [state, self.port_at(self.from), subnet]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Its kind, the address that it is about, and the MTU.
fn words(answer: &Message) -> String {
    let (gets, has) = (answer.yiaddr(), answer.ciaddr());
    let mtu = match answer.opts().get(OptionCode::InterfaceMtu) {
        Some(DhcpOption::InterfaceMtu(mtu)) => format!(", MTU {mtu}"),
        _ => String::new(),
    };
    match answer.opts().msg_type() {
        Some(MessageType::Offer) => format!("DHCP OFFER of {gets}{mtu}"),
        Some(MessageType::Ack) if gets == Ipv4Addr::UNSPECIFIED => {
            format!("DHCP ACK to {has}, without a lease{mtu}")
        }
        Some(MessageType::Ack) => format!("DHCP ACK of {gets}{mtu}"),
        Some(MessageType::Nak) => "DHCP NAK: the address is not the port's".to_owned(),
        _ => "DHCP".to_owned(),
    }
}

/// Its kind, the addresses that it tells, and what it says of the others.
fn words6(answer: &v6::Message) -> String {
    let kind = match answer.msg_type() {
        v6::MessageType::Advertise => "DHCPv6 ADVERTISE",
        _ => "DHCPv6 REPLY",
    };
    let (mut addresses, mut statuses) = (Vec::new(), Vec::new());
    for option in answer.opts().iter() {
        let inner = match option {
            v6::DhcpOption::IANA(ia) => &ia.opts,
            v6::DhcpOption::IATA(ia) => &ia.opts,
            v6::DhcpOption::IAPD(ia) => &ia.opts,
            v6::DhcpOption::StatusCode(said) => {
                statuses.push(format!("{:?}", said.status));
                continue;
            }
            _ => continue,
        };
        for option in inner.iter() {
            match option {
                v6::DhcpOption::IAAddr(told) if told.valid_life != 0 => {
                    addresses.push(told.addr.to_string());
                }
                v6::DhcpOption::IAAddr(told) => addresses.push(format!("no longer {}", told.addr)),
                v6::DhcpOption::StatusCode(said) => statuses.push(format!("{:?}", said.status)),
                _ => {}
            }
        }
    }
    let addresses = match addresses.as_slice() {
        [] => String::new(),
        all => format!(" of {}", all.join(" and ")),
    };
    let statuses = statuses.iter().map(|status| format!(", {status}"));
    format!("{kind}{addresses}{}", statuses.collect::<String>())
}
