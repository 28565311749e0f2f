// SPDX-License-Identifier: MIT
//! What is said of DHCP: the answer, and whose word it is. Questions are put together here, not by the switch's own code.

use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use vswitch::counters::DropReason;
use vswitch::tables::PortId;

use super::super::goal::{deleted, dhcp as dhcp_state, dual_stack};
use super::super::world::{PORT_A, PORT_B};
use super::{GUEST_A, links, told, world};
use crate::explain::{Outcome, Packet};

/// A guest's message.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Option 53.
    pub kind: u8,
    /// The last byte of the guest's MAC.
    pub mac: u8,
    /// The address that it has.
    pub has: Ipv4Addr,
    /// Option 50.
    pub wants: Option<Ipv4Addr>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Option 55.
    pub asks: Vec<u8>,
    /// To the gateway of subnet "blue" rather than to everybody.
    pub to_gateway: bool,
}

impl Question {
    pub(super) const fn new(kind: u8) -> Self {
        Self {
            kind,
            mac: 0x0a,
            has: Ipv4Addr::UNSPECIFIED,
            wants: None,
            server: None,
            asks: Vec::new(),
            to_gateway: false,
        }
    }

    pub(super) fn frame(&self) -> Vec<u8> {
        let mac = [2, 0, 0, 0, 0, self.mac];
        let mut message = vec![0; 236];
        message[..8].copy_from_slice(&[1, 1, 6, 0, 1, 2, 3, 4]);
        message[12..16].copy_from_slice(&self.has.octets());
        message[28..34].copy_from_slice(&mac);
        message.extend([99, 130, 83, 99, 53, 1, self.kind]);
        for (code, address) in [(50, self.wants), (54, self.server)] {
            let address = address.map(|address| address.octets());
            message.extend(
                address
                    .into_iter()
                    .flat_map(|it| [&[code, 4][..], &it].concat()),
            );
        }
        if !self.asks.is_empty() {
            message.extend([55, self.asks.len() as u8]);
            message.extend(&self.asks);
        }
        message.push(255);
        let (dst, to) = match self.to_gateway {
            true => ([0, 0, 0x5e, 0, 1, 1], [10, 7, 1, 1]),
            false => ([0xff; 6], [255; 4]),
        };
        let builder = PacketBuilder::ethernet2(mac, dst)
            .ipv4(self.has.octets(), to, 64)
            .udp(68, 67);
        let mut frame = Vec::new();
        builder.write(&mut frame, &message).unwrap();
        frame
    }
}

/// What kind of answer a frame is, if it is a DHCP server's: option 53 comes first.
pub(super) fn answer(frame: &[u8]) -> Option<&'static str> {
    let packet = etherparse::PacketHeaders::from_ethernet_slice(frame).ok()?;
    let udp = packet.transport?.udp()?;
    match packet.payload.slice().get(240..243)? {
        _ if udp.source_port != 67 => None,
        [53, 1, 2] => Some("OFFER"),
        [53, 1, 5] => Some("ACK"),
        [53, 1, 6] => Some("NAK"),
        _ => None,
    }
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 10);
const WHOSE: &str = "<DHCP lease 1> <PORT port-a 1> <SUBNET blue 1>";

#[test]
fn an_answer_is_told_with_its_kind_its_address_and_whose_word_it_is() {
    let world = world(false);
    let discover = Question::new(1);
    let (wrong, inform) = (Question::new(3), Question::new(8));
    let wrong = Question {
        wants: Some(Ipv4Addr::new(10, 7, 1, 99)),
        ..wrong
    };
    let renewal = Question {
        has: ADDRESS,
        to_gateway: true,
        ..Question::new(3)
    };
    let inform = Question {
        has: ADDRESS,
        ..inform
    };
    let mut links = links();
    links.limits.set_mtu(PORT_A, 1400);
    for (question, stage, said) in [
        (discover, "route", "DHCP OFFER of 10.7.1.10, MTU 1400"),
        (renewal, "neighbor", "DHCP ACK of 10.7.1.10, MTU 1400"),
        (
            inform,
            "route",
            "DHCP ACK to 10.7.1.10, without a lease, MTU 1400",
        ),
        (wrong, "route", "DHCP NAK: the address is not the port's"),
    ] {
        let explained = world
            .core
            .explain(PORT_A, &Packet::Bytes(question.frame()), links.clone());
        let explained = explained.unwrap();
        assert_eq!(explained.outcome, Outcome::Answered);
        let line = format!("{stage}: for the switch itself, which answers: {said} {WHOSE}\n");
        assert!(
            told(&explained).ends_with(&line),
            "no `{line}` in\n{}",
            told(&explained)
        );
    }
}

#[test]
fn who_is_not_served_is_told_why() {
    let mut world = world(false);
    let ends = |world: &super::World, port: PortId, mac, end: &str| {
        let question = Question {
            mac,
            ..Question::new(1)
        };
        let explained = world
            .core
            .explain(port, &Packet::Bytes(question.frame()), links());
        let explained = explained.unwrap();
        assert_eq!(explained.outcome, Outcome::Dropped(DropReason::NoLease));
        assert!(told(&explained).ends_with(end), "{}", told(&explained));
    };
    let why = |subnet| {
        format!(
            "Here: subnet {subnet}: dhcp_enable is off, and no DHCP state is for the port's MAC"
        )
    };
    ends(
        &world,
        PORT_B,
        0x0b,
        &format!("{} <PORT port-b 1>\n", why("red")),
    );
    world.succeed([deleted(dhcp_state("lease", "blue", GUEST_A, ""))]);
    ends(
        &world,
        PORT_A,
        0x0a,
        &format!("{} <PORT port-a 1>\n", why("blue")),
    );
}

/// A message of the guest at port 1 by DHCPv6, to all servers.
fn question6(kind: u8, server: bool, address: Option<&str>) -> Packet {
    let mut message = vec![kind, 1, 2, 3, 0, 1, 0, 3, 7, 7, 7];
    if server {
        message.extend([0, 2, 0, 10, 0, 3, 0, 1, 0, 0, 0x5e, 0, 1, 1]);
    }
    let address: Option<std::net::Ipv6Addr> = address.map(|address| address.parse().unwrap());
    message.extend([0, 3, 0, if address.is_some() { 40 } else { 12 }]);
    message.extend([0; 12]);
    if let Some(address) = address {
        message.extend([0, 5, 0, 24]);
        message.extend(address.octets());
        message.extend([0; 8]);
    }
    let from: std::net::Ipv6Addr = "fe80::ff:fe00:a".parse().unwrap();
    let to: std::net::Ipv6Addr = "ff02::1:2".parse().unwrap();
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x0a], [0x33, 0x33, 0, 1, 0, 2])
        .ipv6(from.octets(), to.octets(), 1)
        .udp(546, 547);
    let mut frame = Vec::new();
    builder.write(&mut frame, &message).unwrap();
    Packet::Bytes(frame)
}

#[test]
fn dhcpv6_is_told_likewise() {
    let mut world = world(false);
    world.succeed(dual_stack());
    let ends = |world: &super::World, question: &Packet, outcome, end: &str| {
        let explained = world.core.explain(PORT_A, question, links()).unwrap();
        assert_eq!(explained.outcome, outcome);
        assert!(told(&explained).ends_with(end), "{}", told(&explained));
    };
    let solicit = question6(1, false, None);
    let off = "Here: subnet azure: dhcp_enable is off, and no DHCP state is for the port's MAC <PORT port-a 1>\n";
    ends(&world, &solicit, Outcome::Dropped(DropReason::NoLease), off);
    let mut state = dhcp_state("lease6", "azure", GUEST_A, "");
    if let super::super::goal::State::Dhcp(state) = &mut state {
        state.configuration.as_mut().unwrap().ipv6_address = "2001:db8:7:1::10".into();
    }
    world.succeed([state]);
    let whose = "<DHCP lease6 1> <PORT port-a 1> <SUBNET azure 1>\n";
    for (question, said) in [
        (solicit, "DHCPv6 ADVERTISE of 2001:db8:7:1::10"),
        (question6(3, true, None), "DHCPv6 REPLY of 2001:db8:7:1::10"),
        (
            question6(3, true, Some("2001:db8::1")),
            "DHCPv6 REPLY, NotOnLink",
        ),
        (
            question6(5, true, Some("2001:db8::1")),
            "DHCPv6 REPLY of 2001:db8:7:1::10 and no longer 2001:db8::1",
        ),
        (
            question6(8, true, Some("2001:db8::1")),
            "DHCPv6 REPLY, NoBinding, Success",
        ),
    ] {
        let end = format!("route: for the switch itself, which answers: {said} {whose}");
        ends(&world, &question, Outcome::Answered, &end);
    }
    let declined = Outcome::Dropped(DropReason::DhcpDeclined);
    let decline = question6(9, true, Some("2001:db8:7:1::10"));
    ends(
        &world,
        &decline,
        declined,
        &format!("It answers: DHCPv6 REPLY, Success {whose}"),
    );
    let quiet = Outcome::Dropped(DropReason::DhcpQuiet);
    let confirm = question6(4, false, None);
    let explained = world.core.explain(PORT_A, &confirm, links()).unwrap();
    assert_eq!(explained.outcome, quiet);
}
