// SPDX-License-Identifier: MIT
//! The server's side of RFC 2131. It has no pool, hands out what the goal state says, and so has nothing to remember: the
//! same question always has the same answer.
//!
//! | the guest asks | and says | it gets |
//! |---|---|---|
//! | DISCOVER | | OFFER; ACK if it wants that (RFC 4039) |
//! | REQUEST, selecting | server and address | ACK, NAK, or nothing if it chose another server |
//! | REQUEST, rebooting | address | ACK or NAK |
//! | REQUEST, renewing or rebinding | `ciaddr` | ACK or NAK |
//! | INFORM | `ciaddr` | ACK without a lease |
//! | RELEASE, DECLINE | | nothing |
//!
//! A server without a memory need not tell the kinds of REQUEST apart: each address that the guest names is its own, or
//! the answer is NAK. That goes to everybody on the link, whatever the guest asked for (section 4.1).

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;
use zerocopy::IntoBytes;

use super::question::{Question, datagram};
use super::{Edge, Verdict, replace};
use crate::burst::Meta;
use crate::counters::DropReason;
use crate::io::Frame;
use crate::stage::limits::mtu_in;
use crate::tables::Lease;
use crate::wire::dhcp::{self, code, kind};
use crate::wire::{DhcpHdr, EthernetHdr, Ipv4Hdr, Mac, UdpHdr, ethernet, ipv4};

/// Least bytes of a message: what BOOTP's have (RFC 1542 section 2.1).
const MIN_MESSAGE: usize = 300;

/// Bytes of an IPv4 and UDP header.
const IP_UDP: usize = Ipv4Hdr::LEN + UdpHdr::LEN;

/// Most bytes of an answer's IP packet, whatever guest and network take: every guest's buffers hold Ethernet's.
const MAX_PACKET: u16 = 1500;

/// A message, without its headers.
type Message = ArrayVec<u8, { MAX_PACKET as usize - IP_UDP }>;

/// Answers a guest's DHCP message to everybody, or to its own server. `None`: it is something else.
pub(super) fn answer<F: Frame>(edge: &Edge<'_, F>, frame: &mut F, meta: &Meta) -> Option<Verdict> {
    let to_all = meta.dst_mac & Mac::GROUP != 0;
    let lease = edge.guest.lease.as_deref();
    let to_server = lease.is_some_and(|lease| lease.server.to_bits() == meta.dst_ip);
    if !(to_all || to_server) {
        return None;
    }
    datagram(frame.head())?;
    let Some(lease) = lease else {
        return Some(Verdict::Drop(DropReason::NoLease));
    };
    let port_mtu = mtu_in(edge.limits.longest(edge.from));
    Some(match reply(lease, port_mtu, frame) {
        Ok(()) => Verdict::Answer,
        Err(reason) => Verdict::Drop(reason),
    })
}

/// Makes the frame the answer, for a port that takes IP packets of `port_mtu` bytes.
fn reply<F: Frame>(lease: &Lease, port_mtu: u16, frame: &mut F) -> Result<(), DropReason> {
    let question = Question::read(frame.head(), frame.len(), lease.mac)?;
    let reply = Reply::to(lease, &question)?;
    let message = reply.message(lease, port_mtu, &question);
    let message = message.ok_or(DropReason::BadDhcp)?;
    let (mac, ip) = reply.receiver(lease, &question);
    let addresses = (lease.server.to_bits(), ip.to_bits());
    let udp = UdpHdr::own((dhcp::SERVER, dhcp::CLIENT), addresses, &message);
    let payload = (UdpHdr::LEN + message.len()) as u16;
    let ip = Ipv4Hdr::own(addresses.0, addresses.1, ipv4::UDP, payload);
    let ethernet = EthernetHdr::new(mac, lease.server_mac, ethernet::IPV4);
    let parts = [ethernet.as_bytes(), ip.as_bytes(), udp.as_bytes(), &message];
    replace(frame, &parts)
}

/// What kind of message answers a question, and what depends on it. Addresses are unspecified for none.
#[derive(Clone, Copy)]
struct Reply {
    kind: u8,
    /// What the guest has already.
    has: Ipv4Addr,
    /// What it gets.
    gets: Ipv4Addr,
}

impl Reply {
    /// Decides.
    ///
    /// # Errors
    /// No answer is due: `DhcpQuiet`, `DhcpDeclined`, `BadDhcp`.
    fn to(lease: &Lease, question: &Question) -> Result<Self, DropReason> {
        if question.server.is_some_and(|server| server != lease.server) {
            return Err(DropReason::DhcpQuiet);
        }
        let (none, address) = (Ipv4Addr::UNSPECIFIED, lease.address.addr());
        let client = question.header.client();
        let (kind, has, gets) = match question.kind {
            kind::DISCOVER if question.rapid_commit => (kind::ACK, none, address),
            kind::DISCOVER => (kind::OFFER, none, address),
            kind::REQUEST => match (question.requested, client) {
                (None, Ipv4Addr::UNSPECIFIED) => return Err(DropReason::BadDhcp),
                (requested, client)
                    if requested.unwrap_or(address) == address
                        && (client == address || client.is_unspecified()) =>
                {
                    (kind::ACK, client, address)
                }
                _ => (kind::NAK, none, none),
            },
            kind::INFORM if lease.address.contains(&client) => (kind::ACK, client, none),
            kind::RELEASE => return Err(DropReason::DhcpQuiet),
            kind::DECLINE => return Err(DropReason::DhcpDeclined),
            _ => return Err(DropReason::BadDhcp),
        };
        Ok(Self { kind, has, gets })
    }

    /// Whom it goes to (RFC 2131 section 4.1).
    fn receiver(self, lease: &Lease, question: &Question) -> (Mac, Ipv4Addr) {
        let everybody = (Mac::new([0xff; 6]), Ipv4Addr::BROADCAST);
        if self.kind == kind::NAK {
            everybody
        } else if !self.has.is_unspecified() {
            (lease.mac, self.has)
        } else if question.header.wants_broadcast() {
            everybody
        } else {
            (lease.mac, self.gets)
        }
    }

    /// The UDP payload (RFC 2131 section 4.3.1, table 3). `None`: there is no room for what has to be said.
    fn message(self, lease: &Lease, port_mtu: u16, question: &Question) -> Option<Message> {
        let refuses = self.kind == kind::NAK;
        let mut header: DhcpHdr = question.header.reply();
        header.set_addresses(self.has, self.gets);
        if !refuses {
            let (from, server, file) = &lease.boot;
            header.set_boot(*from, server, file);
        }
        let mut message = Message::new();
        message.try_extend_from_slice(header.as_bytes()).ok()?;
        self.add_own(&mut message, lease, question)?;
        if !refuses {
            let carried = lease.mtu.min(port_mtu).min(MAX_PACKET);
            let limit = usize::from(question.max_size.min(carried)).saturating_sub(IP_UDP);
            let limit = limit.max(MIN_MESSAGE); // it is padded to that anyway
            let mtu = mtu_option(lease, port_mtu);
            add_parameters(&mut message, limit, lease, mtu.as_ref(), question);
        }
        message.try_push(code::END).ok()?;
        while message.len() < MIN_MESSAGE {
            message.try_push(code::PAD).ok()?;
        }
        Some(message)
    }

    /// The options that are there whether the guest asked for them or not. The subnet mask has to come before routers
    /// (RFC 2132 section 3.3).
    fn add_own(self, message: &mut Message, lease: &Lease, question: &Question) -> Option<()> {
        let mut add = |code: u8, value: &[u8]| {
            let len = u8::try_from(value.len()).ok()?;
            message.try_extend_from_slice(&[code, len]).ok()?;
            message.try_extend_from_slice(value).ok()
        };
        add(code::KIND, &[self.kind])?;
        add(code::SERVER, &lease.server.octets())?;
        if !self.gets.is_unspecified() {
            let seconds = lease.seconds;
            add(code::LEASE_TIME, &seconds.to_be_bytes())?;
            add(code::RENEWAL, &(seconds / 2).to_be_bytes())?;
            add(code::REBINDING, &(seconds - seconds / 8).to_be_bytes())?;
        }
        match self.kind {
            kind::NAK => add(code::MESSAGE, b"that is not the address of this port")?,
            _ => add(code::SUBNET_MASK, &lease.address.netmask().octets())?,
        }
        if self.kind == kind::ACK && question.kind == kind::DISCOVER {
            add(code::RAPID_COMMIT, &[])?;
        }
        match question.client_id.as_slice() {
            [] => Some(()),
            id => add(code::CLIENT_ID, id), // RFC 6842
        }
    }
}

/// The lease's MTU, which is what the network carries, or less; but no more than the port takes.
fn mtu_option(lease: &Lease, port_mtu: u16) -> Option<[u8; 4]> {
    let [code, len, value @ ..] = *lease.options.get(code::MTU)?.first_chunk::<4>()?;
    let mtu = u16::from_be_bytes(value).min(port_mtu);
    let [high, low] = mtu.to_be_bytes();
    Some([code, len, high, low])
}

/// Adds the MTU, which who does not know it loses packets by, and what the guest asked for, in its order; or, if it asked for
/// nothing in particular, all there is to say, but for what only those may be told who ask (RFC 8925 section 3.2). What
/// would make the message longer than `limit` bytes is left out.
fn add_parameters(
    message: &mut Message,
    limit: usize,
    lease: &Lease,
    mtu: Option<&[u8; 4]>,
    question: &Question,
) {
    let mut put = |option: Option<&[u8]>| {
        if let Some(option) = option
            && message.len() + option.len() < limit
        {
            // `limit` is no more than there is room for, with the end mark.
            let _ = message.try_extend_from_slice(option);
        }
    };
    put(mtu.map(<[u8; 4]>::as_slice));
    let add = |code| put(lease.options.get(code));
    match &question.parameters {
        Some(asked) => asked
            .iter()
            .copied()
            .filter(|code| *code != code::MTU)
            .for_each(add),
        None => {
            let all = lease.options.codes();
            let unasked = |code: &u8| ![code::MTU, code::IPV6_ONLY].contains(code);
            all.filter(unasked).for_each(add);
        }
    }
}
