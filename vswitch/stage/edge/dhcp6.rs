// SPDX-License-Identifier: MIT
//! The server's side of RFC 8415. As that of DHCPv4 it hands out what the goal state says, and has nothing to remember.
//!
//! | the guest asks | it gets |
//! |---|---|
//! | SOLICIT | ADVERTISE; REPLY if it wants that |
//! | REQUEST, RENEW, REBIND | REPLY with its addresses; to the latter two, lifetimes of zero for others that it names |
//! | CONFIRM | REPLY: whether all addresses that it names are its own; nothing if it names none |
//! | RELEASE | REPLY |
//! | DECLINE | REPLY, and is counted: somebody else seems to have the address |
//! | INFORMATION-REQUEST | REPLY without addresses |
//!
//! All of a guest's addresses are for one association: the first that names one of them, or else the first of all. Others, and
//! those of temporary addresses or of prefixes, are told that there is nothing for them.
//!
//! Nobody is told to speak to the server alone, so who does is told not to (section 18.4).

use std::net::Ipv6Addr;

use arrayvec::ArrayVec;
use zerocopy::IntoBytes;

use super::question6::{Association, Question, datagram};
use super::{Edge, Verdict, replace};
use crate::counters::DropReason;
use crate::io::Frame;
use crate::tables::Lease6;
use crate::wire::dhcp6::{self, code, kind, status};
use crate::wire::{EthernetHdr, Ipv6Hdr, UdpHdr, ethernet, ipv4, ipv6, nd};

/// Most bytes of an answer, without its headers: it fits the least MTU of IPv6.
const MAX_MESSAGE: usize = ipv6::LEAST_MTU as usize - Ipv6Hdr::LEN - UdpHdr::LEN;

/// There is no other server: who gets an ADVERTISE need not wait for a better one (section 18.2.1).
const PREFERENCE: u8 = 255;

/// Answers a guest's DHCPv6 message to all servers, or to its own one. `None`: it is something else.
pub(super) fn answer<F: Frame>(edge: &Edge<'_, F>, frame: &mut F) -> Option<Verdict> {
    let (to, _) = datagram(frame.head())?;
    let lease = edge.guest.lease6.as_deref();
    let to_server = || lease.is_some_and(|lease| to == nd::link_local(lease.server_mac));
    if to != dhcp6::ALL_SERVERS && !to_server() {
        return None;
    }
    let answered = lease.ok_or(DropReason::NoLease);
    Some(match answered.and_then(|lease| reply(lease, frame)) {
        Ok(true) => Verdict::Told(DropReason::DhcpDeclined),
        Ok(false) => Verdict::Answer,
        Err(reason) => Verdict::Drop(reason),
    })
}

/// Makes the frame the answer. True: by it the guest declined an address.
#[inline(never)]
fn reply<F: Frame>(lease: &Lease6, frame: &mut F) -> Result<bool, DropReason> {
    let question = Question::read(frame.head(), frame.len(), lease.mac)?;
    let declines = question.kind == kind::DECLINE && !question.unicast;
    let to = question.from;
    let message = Message::answer(lease, &question)?.0;
    let from = nd::link_local(lease.server_mac);
    let udp = UdpHdr::own_v6((dhcp6::SERVER, dhcp6::CLIENT), (from, to), &message);
    let len = (UdpHdr::LEN + message.len()) as u16;
    let ip = Ipv6Hdr::own(from, to, ipv4::UDP, len, ipv6::OWN_HOPS);
    let ethernet = EthernetHdr::new(lease.mac, lease.server_mac, ethernet::IPV6);
    let parts = [ethernet.as_bytes(), ip.as_bytes(), udp.as_bytes(), &message];
    replace(frame, &parts)?;
    Ok(declines)
}

/// What an answer says of an association besides, or instead of, its addresses: a status, and that in words.
type Status = (u16, &'static str);

const NO_ADDRESSES: Status = (status::NO_ADDRESSES, "the port has no more addresses");
const NO_PREFIX: Status = (status::NO_PREFIX, "no prefixes are handed out");
const NO_BINDING: Status = (status::NO_BINDING, "nothing is handed out for this");
const NOT_ON_LINK: Status = (status::NOT_ON_LINK, "not an address of the port");
const USE_MULTICAST: Status = (status::USE_MULTICAST, "ask all servers");
const SUCCESS: Status = (status::SUCCESS, "");

/// An answer, without its headers.
struct Message(ArrayVec<u8, MAX_MESSAGE>);

impl Message {
    /// Decides, and puts it together.
    ///
    /// # Errors
    /// No answer is due: `DhcpQuiet`.
    fn answer(lease: &Lease6, question: &Question<'_>) -> Result<Self, DropReason> {
        let own = lease.server_id();
        if !question.server_id.is_empty() && question.server_id != own {
            return Err(DropReason::DhcpQuiet);
        }
        let advertises = question.kind == kind::SOLICIT && !question.rapid_commit;
        let kind = if advertises {
            kind::ADVERTISE
        } else {
            kind::REPLY
        };
        let [a, b, c] = question.transaction;
        let mut message = Self(ArrayVec::new());
        let _ = message.0.try_extend_from_slice(&[kind, a, b, c]);
        if !question.client_id.is_empty() {
            message.put(code::CLIENT_ID, question.client_id);
        }
        message.put(code::SERVER_ID, &own);
        if question.unicast {
            message.say(USE_MULTICAST);
            return Ok(message);
        }
        match question.kind {
            kind::CONFIRM => message.say(confirmed(lease, question)?),
            kind::RELEASE | kind::DECLINE => message.take_back(lease, question),
            kind::INFORMATION_REQUEST => message.tell(lease, question),
            asked => {
                match advertises {
                    true => message.put(code::PREFERENCE, &[PREFERENCE]),
                    false if asked == kind::SOLICIT => message.put(code::RAPID_COMMIT, &[]),
                    false => {}
                }
                message.grant_all(lease, question);
                message.tell(lease, question);
            }
        }
        Ok(message)
    }

    /// Addresses for one association, and why the others get none.
    fn grant_all(&mut self, lease: &Lease6, question: &Question<'_>) {
        let known = matches!(question.kind, kind::RENEW | kind::REBIND);
        let granted = granted(lease, question);
        for (i, association) in question.associations().enumerate() {
            match association.code {
                code::IA_PD => self.refuse(association, NO_PREFIX),
                code::IA_NA if granted != Some(i) && known => {
                    self.refuse(association, NO_BINDING);
                }
                code::IA_NA
                    if question.kind == kind::REQUEST && is_elsewhere(lease, association) =>
                {
                    self.refuse(association, NOT_ON_LINK);
                }
                code::IA_NA if granted == Some(i) => self.grant(lease, association, known),
                _ => self.refuse(association, NO_ADDRESSES),
            }
        }
    }

    /// What a client gives back was not its own, unless an association names one of its addresses.
    fn take_back(&mut self, lease: &Lease6, question: &Question<'_>) {
        self.say(SUCCESS);
        for association in question.associations() {
            if !names_own(lease, association) {
                self.refuse(association, NO_BINDING);
            }
        }
    }

    /// Tells all addresses; and, to who has some, which of these are not its own.
    fn grant(&mut self, lease: &Lease6, association: Association<'_>, known: bool) {
        let addresses = lease.addresses.iter().take(Lease6::MAX_ADDRESSES);
        let seconds = lease.seconds;
        self.nest(
            association,
            (seconds / 2, seconds - seconds / 5),
            |message| {
                for address in addresses {
                    message.address(*address, seconds);
                }
                if known {
                    let named = association.addresses();
                    for other in named.filter(|named| !lease.addresses.contains(named)) {
                        message.address(other, 0);
                    }
                }
            },
        );
    }

    /// One that may be used for so long.
    fn address(&mut self, address: Ipv6Addr, seconds: u32) {
        let mut value = [0; dhcp6::IA_ADDRESS_LEN];
        let seconds = seconds.to_be_bytes();
        let bytes = address.octets().into_iter().chain(seconds).chain(seconds);
        value
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
        self.put(code::IA_ADDRESS, &value);
    }

    /// An association with this status alone.
    fn refuse(&mut self, association: Association<'_>, why: Status) {
        self.nest(association, (0, 0), |message| message.say(why));
    }

    /// An association with these times to renew and to rebind it, and what is put into it. Left out if there is no room.
    fn nest(
        &mut self,
        association: Association<'_>,
        times: (u32, u32),
        fill: impl FnOnce(&mut Self),
    ) {
        let mut head = [0; dhcp6::IA_LEN];
        let times = [times.0, times.1].map(u32::to_be_bytes);
        let bytes = association
            .id
            .into_iter()
            .chain(times.into_iter().flatten());
        head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let fixed = match association.code {
            code::IA_TA => &head[..dhcp6::IA_TA_LEN],
            _ => &head[..],
        };
        let start = self.0.len();
        self.put(association.code, fixed);
        fill(self);
        let value = (self.0.len() - start).saturating_sub(dhcp6::OPTION_HEADER_LEN);
        match self.0.get_mut(start + 2..start + 4) {
            Some(len) if value > fixed.len() => len.copy_from_slice(&(value as u16).to_be_bytes()),
            _ => self.0.truncate(start),
        }
    }

    fn say(&mut self, (status, words): Status) {
        let mut value = ArrayVec::<u8, 64>::new();
        let _ = value.try_extend_from_slice(&status.to_be_bytes());
        let _ = value.try_extend_from_slice(words.as_bytes());
        self.put(code::STATUS, &value);
    }

    /// What the guest asks for, or all there is to say if it asks for nothing in particular, the most important first. How
    /// long that is good is for those who have no lease that says so (section 21.23), a name for those who have one (RFC 4704
    /// section 6).
    fn tell(&mut self, lease: &Lease6, question: &Question<'_>) {
        for (code, option) in lease.options.iter().take(Lease6::MAX_OPTIONS) {
            let is_due = match *code {
                code::REFRESH_TIME => question.kind == kind::INFORMATION_REQUEST,
                code::FQDN => question.says_name,
                _ => true,
            };
            if is_due && question.asks_for(*code) {
                let _ = self.0.try_extend_from_slice(option); // what has no room is left out
            }
        }
    }

    /// Adds an option, unless there is no room for it.
    fn put(&mut self, code: u16, value: &[u8]) {
        if dhcp6::OPTION_HEADER_LEN + value.len() <= self.0.remaining_capacity() {
            let [a, b] = code.to_be_bytes();
            let [c, d] = (value.len() as u16).to_be_bytes();
            let _ = self.0.try_extend_from_slice(&[a, b, c, d]);
            let _ = self.0.try_extend_from_slice(value);
        }
    }
}

/// Whether the client may go on with the addresses that it had. They are not only to be good on its link, but its own.
///
/// # Errors
/// `DhcpQuiet`: it names none (section 18.3.3).
fn confirmed(lease: &Lease6, question: &Question<'_>) -> Result<Status, DropReason> {
    let mut named = question
        .associations()
        .flat_map(Association::addresses)
        .peekable();
    named.peek().ok_or(DropReason::DhcpQuiet)?;
    let all = named.all(|address| lease.addresses.contains(&address));
    Ok(if all { SUCCESS } else { NOT_ON_LINK })
}

/// The association that the guest's addresses are for.
fn granted(lease: &Lease6, question: &Question<'_>) -> Option<usize> {
    let mut all = question.associations();
    let of_addresses = |association: &Association<'_>| association.code == code::IA_NA;
    all.position(|it| of_addresses(&it) && names_own(lease, it))
        .or_else(|| question.associations().position(|it| of_addresses(&it)))
}

/// Whether an association names one of the guest's addresses.
fn names_own(lease: &Lease6, association: Association<'_>) -> bool {
    let mut named = association.addresses();
    association.code == code::IA_NA && named.any(|address| lease.addresses.contains(&address))
}

/// Whether it names one that is not good on the guest's link.
fn is_elsewhere(lease: &Lease6, association: Association<'_>) -> bool {
    let mut named = association.addresses();
    named.any(|address| !lease.subnet.contains(&address))
}
