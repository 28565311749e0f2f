// SPDX-License-Identifier: MIT
//! DHCP: a guest's frames in, frames out. Questions are built and answers read by other code than the switch's.

mod frames;
mod hostile;
mod table;

use std::net::Ipv4Addr;
use std::sync::Arc;

use vswitch::counters::DropReason;
use vswitch::tables::{Lease, LeaseOptions, Role, TenantPort};
use vswitch::wire::Mac;

use crate::A;
use crate::lab::*;

const GUEST: Mac = Mac::new([2, 0, 0, 0, 0, 10]);
const GATEWAY: Mac = Mac::new([0, 0, 0x5e, 0, 1, 1]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 1);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const MTU: u16 = 1450;

/// A lease with these options besides MTU, router and broadcast address.
fn lease_of(mtu: u16, options: &[(u8, &[u8])]) -> Lease {
    let (mtu_value, router) = (mtu.to_be_bytes(), SERVER.octets());
    let usual: [(u8, &[u8]); 3] = [(26, &mtu_value), (3, &router), (28, &[10, 7, 1, 255])];
    let parts = |code: u8, value: &[u8]| {
        let parts = value
            .chunks(255)
            .map(|part| [&[code, part.len() as u8], part].concat());
        parts.collect::<Vec<_>>().concat()
    };
    let all = usual.iter().chain(options);
    let all: Vec<_> = all
        .map(|(code, value)| (*code, parts(*code, value)))
        .collect();
    Lease {
        mac: GUEST,
        address: "10.7.1.10/24".parse().unwrap(),
        server: SERVER,
        server_mac: GATEWAY,
        seconds: 86_400,
        mtu,
        boot: (NOBODY, [].into(), [].into()),
        options: LeaseOptions::new(all.iter().map(|(code, wire)| (*code, &**wire))),
    }
}

fn lease() -> Lease {
    lease_of(MTU, &[])
}

/// A switch with this guest at A.
fn lab(lease: Option<&Lease>) -> Lab {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 1);
    let mut attachment = subnet.attachment();
    (attachment.gateway_mac, attachment.gateway_ip) = (Some(GATEWAY), Some(SERVER.into()));
    attachment.gateways = [SERVER.into()].into();
    let guest = TenantPort {
        mac: GUEST,
        admin_up: true,
        takes_tags: false,
        guard: None,
        lease: lease.cloned().map(Arc::new),
        lease6: None,
        attachments: [attachment].into_iter().collect(),
    };
    lab.writer.set_role(A, Role::Tenant(Arc::new(guest)));
    lab.commit();
    lab
}

impl Lab {
    /// What the guest gets for this frame, or why it is dropped.
    #[track_caller]
    pub(crate) fn asks(&mut self, frame: &[u8]) -> Result<Vec<u8>, DropReason> {
        let before = self.totals(A);
        self.inject(A, frame);
        let mut out = self.out(A);
        let since = self.totals(A).since(&before);
        assert!(since.is_balanced() && since.rx == 1, "{since:?}");
        let dropped = DropReason::ALL
            .iter()
            .find(|reason| since.drops_for(**reason) != 0);
        match dropped {
            Some(reason) => {
                assert!(out.is_empty() && since.own == 0, "{reason:?}");
                Err(*reason)
            }
            None => {
                assert_eq!((out.len(), since.answered, since.own), (1, 1, 1));
                Ok(out.remove(0))
            }
        }
    }
}

#[track_caller]
fn answered(lease: &Lease, frame: &[u8]) -> Result<Vec<u8>, DropReason> {
    lab(Some(lease)).asks(frame)
}

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

/// A guest's message, byte by byte.
#[derive(Clone, Debug)]
struct Message {
    op: u8,
    hardware: [u8; 2],
    flags: u16,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    chaddr: Mac,
    cookie: [u8; 4],
    options: Vec<u8>,
}

/// A message of this type.
fn message(kind: u8) -> Message {
    Message {
        op: 1,
        hardware: [1, 6],
        flags: 0,
        ciaddr: NOBODY,
        giaddr: NOBODY,
        chaddr: GUEST,
        cookie: [99, 130, 83, 99],
        options: vec![53, 1, kind],
    }
}

impl Message {
    fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.options.extend([code, value.len() as u8]);
        self.options.extend(value);
        self
    }

    fn server(self, server: Ipv4Addr) -> Self {
        self.option(54, &server.octets())
    }

    fn requested(self, address: Ipv4Addr) -> Self {
        self.option(50, &address.octets())
    }

    fn ciaddr(mut self, address: Ipv4Addr) -> Self {
        self.ciaddr = address;
        self
    }

    fn with(mut self, change: impl Fn(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.op, self.hardware[0], self.hardware[1], 0];
        bytes.extend([0x12, 0x34, 0xab, 0xcd, 0, 3]);
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.ciaddr.octets());
        bytes.extend([0; 8]);
        bytes.extend(self.giaddr.octets());
        bytes.extend(self.chaddr.bytes());
        bytes.extend([0; 10 + 64 + 128]);
        bytes.extend(self.cookie);
        bytes.extend(&self.options);
        bytes.push(255);
        bytes
    }

    /// In a frame of the guest's.
    fn frame(&self) -> Vec<u8> {
        let builder = etherparse::PacketBuilder::ethernet2(GUEST.bytes(), [0xff; 6])
            .ipv4(self.ciaddr.octets(), [255; 4], 64)
            .udp(68, 67);
        let (bytes, mut frame) = (self.bytes(), Vec::new());
        builder.write(&mut frame, &bytes).unwrap();
        frame
    }

    /// What is answered, if something is.
    #[track_caller]
    fn told(&self, lease: &Lease) -> Told {
        Told::read(&answered(lease, &self.frame()).unwrap())
    }

    /// Why nothing is answered.
    #[track_caller]
    fn refused(&self, lease: &Lease) -> DropReason {
        answered(lease, &self.frame()).unwrap_err()
    }
}

/// An answer, read by other code than wrote it.
#[derive(Debug)]
struct Told {
    kind: u8,
    /// To which MAC and address the frame goes.
    to: (Mac, Ipv4Addr),
    flags: u16,
    ciaddr: Ipv4Addr,
    yiaddr: Ipv4Addr,
    siaddr: Ipv4Addr,
    sname: Vec<u8>,
    file: Vec<u8>,
    /// In their order, parts of one put together.
    options: Vec<(u8, Vec<u8>)>,
    /// Bytes of the IP packet.
    len: usize,
}

impl Told {
    #[track_caller]
    fn read(frame: &[u8]) -> Self {
        let headers = etherparse::PacketHeaders::from_ethernet_slice(frame).unwrap();
        let (Some(etherparse::LinkHeader::Ethernet2(link)), payload) =
            (headers.link, headers.payload.slice())
        else {
            panic!("no Ethernet II");
        };
        let (Some(etherparse::NetHeaders::Ipv4(ip, _)), Some(udp)) = (
            headers.net,
            headers.transport.and_then(|header| header.udp()),
        ) else {
            panic!("no IPv4 and UDP");
        };
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        let checksum = udp.calc_checksum_ipv4(&ip, payload).unwrap();
        assert_eq!(udp.checksum, checksum);
        assert_eq!((link.source, udp.source_port), (GATEWAY.bytes(), 67));
        assert_eq!((udp.destination_port, ip.time_to_live), (68, 64));
        assert_eq!(usize::from(udp.length), 8 + payload.len());
        assert_eq!(usize::from(ip.total_len), 28 + payload.len());
        assert_eq!(frame.len(), 14 + 28 + payload.len());
        assert!(payload.len() >= 300);
        assert_eq!(payload[..4], [2, 1, 6, 0]);
        assert_eq!(payload[4..10], [0x12, 0x34, 0xab, 0xcd, 0, 0]);
        assert_eq!(
            payload[28..44],
            [2, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(payload[236..240], [99, 130, 83, 99]);
        let address = |at: usize| Ipv4Addr::from(*payload[at..].first_chunk::<4>().unwrap());
        let text = |at: usize, len: usize| {
            let text = payload[at..at + len].split(|byte| *byte == 0);
            text.map(<[u8]>::to_vec).next().unwrap()
        };
        let options = options(&payload[240..]);
        assert_eq!(options[0].0, 53, "the kind comes first");
        Self {
            kind: options[0].1[0],
            to: (Mac::new(link.destination), ip.destination.into()),
            flags: u16::from_be_bytes([payload[10], payload[11]]),
            ciaddr: address(12),
            yiaddr: address(16),
            siaddr: address(20),
            sname: text(44, 64),
            file: text(108, 128),
            options,
            len: 28 + payload.len(),
        }
    }

    fn codes(&self) -> Vec<u8> {
        self.options.iter().map(|(code, _)| *code).collect()
    }

    #[track_caller]
    fn value(&self, code: u8) -> &[u8] {
        let option = self.options.iter().find(|option| option.0 == code);
        &option.unwrap_or_else(|| panic!("no option {code}")).1
    }
}

/// Options up to their end mark.
#[track_caller]
fn options(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
    while bytes[0] != 255 {
        let (code, end) = (bytes[0], 2 + usize::from(bytes[1]));
        match options.last_mut().filter(|last| last.0 == code) {
            Some(last) => last.1.extend(&bytes[2..end]),
            None => options.push((code, bytes[2..end].to_vec())),
        }
        bytes = &bytes[end..];
    }
    assert!(bytes[1..].iter().all(|byte| *byte == 0), "padding");
    options
}
