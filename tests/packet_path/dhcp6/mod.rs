// SPDX-License-Identifier: MIT
//! DHCPv6: a guest's frames in, frames out, each byte by byte. Questions and expected answers are built by other code than the
//! switch's.

mod frames;
mod hostile;
mod table;

use std::net::Ipv6Addr;
use std::sync::Arc;

use vswitch::counters::DropReason;
use vswitch::tables::{Lease6, Role, TenantPort};
use vswitch::wire::Mac;

use crate::A;
use crate::ipv6::net::{Net, link_local};
use crate::lab::*;

const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 10];
const GATEWAY: [u8; 6] = [0, 0, 0x5e, 0, 1, 1];
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 1, 0, 0, 0, 0x10);
/// In the same subnet, and not the guest's.
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 1, 0, 0, 0, 0x11);
/// In another one.
const ELSEWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 2, 0, 0, 0, 0x10);
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const ALL_SERVERS_MAC: [u8; 6] = [0x33, 0x33, 0, 1, 0, 2];

/// DUID-LLT of the guest, and DUID-LL of the gateway.
const CLIENT_ID: &[u8] = &[0, 1, 0, 1, 0x2a, 0x2b, 0x2c, 0x2d, 2, 0, 0, 0, 0, 10];
const SERVER_ID: &[u8] = &[0, 3, 0, 1, 0, 0, 0x5e, 0, 1, 1];

const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const REPLY: u8 = 7;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORM: u8 = 11;

/// An option.
fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let len = value.len() as u16;
    [&code.to_be_bytes()[..], &len.to_be_bytes(), value].concat()
}

/// Codes of options, asked for.
fn asks(codes: &[u16]) -> Vec<u8> {
    let codes: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
    option(6, &codes)
}

fn client() -> Vec<u8> {
    option(1, CLIENT_ID)
}

fn server() -> Vec<u8> {
    option(2, SERVER_ID)
}

/// An address that may be used for so many seconds.
fn address(address: Ipv6Addr, seconds: u32) -> Vec<u8> {
    let seconds = seconds.to_be_bytes();
    option(5, &[&address.octets()[..], &seconds, &seconds].concat())
}

fn status(code: u16, words: &str) -> Vec<u8> {
    option(13, &[&code.to_be_bytes()[..], words.as_bytes()].concat())
}

/// An association of addresses with this number, these times, and what is in it.
fn ia(id: u32, times: [u32; 2], inner: &[Vec<u8>]) -> Vec<u8> {
    let head = [id, times[0], times[1]].map(u32::to_be_bytes).concat();
    option(3, &[head, inner.concat()].concat())
}

/// What a client says of one in which it has these addresses.
fn has(id: u32, addresses: &[Ipv6Addr]) -> Vec<u8> {
    let inner: Vec<_> = addresses.iter().map(|it| address(*it, 100)).collect();
    ia(id, [0; 2], &inner)
}

/// What it is told of one for which it gets the guest's address.
fn gets(id: u32) -> Vec<u8> {
    ia(id, TIMES, &[address(ADDRESS, SECONDS)])
}

const SECONDS: u32 = 86_400;
const TIMES: [u32; 2] = [43_200, 69_120];

fn lease() -> Lease6 {
    let options = [
        (23, option(23, &OTHER.octets())),
        (24, option(24, b"\x07example\x03com\x00")),
        (39, option(39, b"\x04\x05web-1")),
        (32, option(32, &SECONDS.to_be_bytes())),
    ];
    Lease6 {
        mac: Mac::new(GUEST),
        addresses: [ADDRESS].into(),
        subnet: "2001:db8:7:1::/64".parse().unwrap(),
        server_mac: Mac::new(GATEWAY),
        seconds: SECONDS,
        options: options.map(|(code, wire)| (code, wire.into())).into(),
    }
}

fn dns() -> Vec<u8> {
    option(23, &OTHER.octets())
}

fn domains() -> Vec<u8> {
    option(24, b"\x07example\x03com\x00")
}

/// A switch with this guest at A.
fn lab(lease: Option<&Lease6>) -> Lab {
    let mut lab = Lab::new();
    let mut attachment = Net::new(7, 1, 1, 1).attachment();
    attachment.gateway_mac = Some(Mac::new(GATEWAY));
    let guest = TenantPort {
        mac: Mac::new(GUEST),
        admin_up: true,
        lease6: lease.cloned().map(Arc::new),
        attachments: [attachment].into_iter().collect(),
        ..TenantPort::default()
    };
    lab.writer.set_role(A, Role::Tenant(Arc::new(guest)));
    lab.commit();
    lab
}

/// A guest's message.
#[derive(Clone, Debug)]
struct Message {
    kind: u8,
    options: Vec<u8>,
    macs: [[u8; 6]; 2],
    ips: [Ipv6Addr; 2],
    ports: (u16, u16),
}

/// To all servers.
fn message(kind: u8, options: &[Vec<u8>]) -> Message {
    Message {
        kind,
        options: options.concat(),
        macs: [GUEST, ALL_SERVERS_MAC],
        ips: [link_local(GUEST), ALL_SERVERS],
        ports: (546, 547),
    }
}

impl Message {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// To the server alone.
    fn unicast(self) -> Self {
        self.with(|m| (m.macs[1], m.ips[1]) = (GATEWAY, link_local(GATEWAY)))
    }

    fn frame(&self) -> Vec<u8> {
        let [from, to] = self.ips.map(|ip| ip.octets());
        let builder = etherparse::PacketBuilder::ethernet2(self.macs[0], self.macs[1]);
        let builder = builder.ipv6(from, to, 64).udp(self.ports.0, self.ports.1);
        let message = [&[self.kind, 0xab, 0xcd, 0xef][..], &self.options].concat();
        let mut frame = Vec::new();
        builder.write(&mut frame, &message).unwrap();
        frame
    }

    /// It is answered with this message.
    #[track_caller]
    fn is_told(&self, lease: &Lease6, kind: u8, options: &[Vec<u8>]) {
        let expected = said(kind, options, self.ips[0]);
        assert_eq!(lab(Some(lease)).asks(&self.frame()), Ok(expected));
    }

    /// It is dropped for this reason.
    #[track_caller]
    fn is_dropped(&self, reason: DropReason) {
        assert_eq!(lab(Some(&lease())).asks(&self.frame()), Err(reason));
    }
}

/// What the server says, which begins with who the client and who the server is.
fn said(kind: u8, options: &[Vec<u8>], to: Ipv6Addr) -> Vec<u8> {
    let said = Message {
        kind,
        options: [client(), server(), options.concat()].concat(),
        macs: [GATEWAY, GUEST],
        ips: [link_local(GATEWAY), to],
        ports: (547, 546),
    };
    said.frame()
}
