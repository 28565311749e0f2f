// SPDX-License-Identifier: MIT
//! What a guest is told by DHCP, and whose word that is.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder};
use etherparse::{SlicedPacket, TransportSlice};
use vswitch::counters::DropReason;
use vswitch::wire::dhcp::SERVER;

use super::Explainer;
use crate::dhcp::lease::Offer;
use crate::explain::{Named, Outcome, Trace};
use crate::proto::schema::ResourceType;
use crate::state::resource::DhcpClient;

impl Explainer<'_> {
    /// What DHCP made of the packet, in words, and the resources that say so. `None`: it was none of DHCP's.
    pub(super) fn dhcp(&self, trace: &Trace) -> Option<(String, Vec<Named>)> {
        let ix = self.port_ix(self.from)?;
        let offer = &self.program.ports.get(&ix)?.offer;
        match (trace.outcome, offer) {
            (Outcome::Answered, Ok(offer)) => {
                let answer = trace.sent.iter().find_map(|(_, frame)| message(frame))?;
                let text = format!("for the switch itself, which answers: {}", words(&answer));
                Some((text, self.said_by(offer)))
            }
            (Outcome::Dropped(DropReason::NoLease), Err(why)) => {
                let text = format!("{} Here: {why}", self.fate(trace));
                Some((text, self.port_at(self.from).into_iter().collect()))
            }
            _ => None,
        }
    }

    /// The DHCP state, if there is one, the port and the subnet that an offer is made of.
    fn said_by(&self, offer: &Offer) -> Vec<Named> {
        let subnet = self.subnet(offer.subnet);
        let client = subnet.as_ref().map(|subnet| DhcpClient {
            subnet: subnet.id.clone(),
            mac: offer.lease.mac,
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

/// A server's message, if the frame is one.
fn message(frame: &[u8]) -> Option<Message> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    match packet.transport? {
        TransportSlice::Udp(udp) if udp.source_port() == SERVER => {
            Message::decode(&mut Decoder::new(udp.payload())).ok()
        }
        _ => None,
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
