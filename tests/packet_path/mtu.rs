// SPDX-License-Identifier: MIT
//! Packets that are too long for their way: what their senders are told. What is expected is built by etherparse, or
//! stands here byte by byte.

use std::net::Ipv4Addr;
use std::sync::Arc;

use etherparse::{IpFragOffset, IpNumber, Ipv4Header};
use vswitch::counters::DropReason;
use vswitch::io::memory::MemoryFrame;
use vswitch::tables::{Attachment, Role, TenantPort};
use vswitch::wire::Mac;

use crate::edge::lab as edge_lab;
use crate::icmp::{told_with, whole};
use crate::lab::*;
use crate::{A, B};

/// The underlay's MTU, and what VXLAN leaves of it.
const UNDERLAY: u16 = 1500;
pub(crate) const PATH: u16 = UNDERLAY - 50;

/// MTU of the port of guest 2.
pub(crate) const LOCAL: u16 = 1400;

/// As in `edge`, with these MTUs.
pub(crate) fn lab() -> (Lab, Subnet, Subnet) {
    with_underlay(UNDERLAY)
}

pub(crate) fn with_underlay(mtu: u16) -> (Lab, Subnet, Subnet) {
    let (mut lab, here, there) = edge_lab();
    lab.mtu = mtu;
    lab.remote(9, &here);
    lab.remote(7, &there);
    lab.worker.limits_mut().set_mtu(B, LOCAL);
    lab.worker.limits_mut().set_mtu(UPLINK, mtu);
    lab.commit();
    (lab, here, there)
}

/// Who a packet of guest 1 is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum To {
    /// Guest 9 of the subnet, on the peer host.
    Switched,
    /// Guest 7 of the other subnet, on the peer host.
    Routed,
    /// Guest 2 of the subnet, here.
    Local,
    /// The same, by its gateway.
    LocalRouted,
}

pub(crate) const ALL: [To; 4] = [To::Switched, To::Routed, To::Local, To::LocalRouted];

impl To {
    pub(crate) fn address(self, here: &Subnet, there: &Subnet) -> Ipv4Addr {
        match self {
            Self::Switched => here.ip(9),
            Self::Routed => there.ip(7),
            Self::Local | Self::LocalRouted => here.ip(2),
        }
    }

    pub(crate) fn mac(self) -> [u8; 6] {
        match self {
            Self::Switched => guest_mac(7, 9),
            Self::Local => guest_mac(7, 2),
            Self::Routed | Self::LocalRouted => gateway_mac(7, 0),
        }
    }

    pub(crate) fn mtu(self) -> u16 {
        match self {
            Self::Switched | Self::Routed => PATH,
            Self::Local | Self::LocalRouted => LOCAL,
        }
    }

    pub(crate) fn port(self) -> vswitch::tables::PortId {
        match self {
            Self::Switched | Self::Routed => UPLINK,
            Self::Local | Self::LocalRouted => B,
        }
    }

    /// What leaves where a frame of guest 1 with this packet was to go. `outer` has the outer source port.
    pub(crate) fn delivered(self, mut frame: Vec<u8>, outer: &[u8]) -> Vec<u8> {
        let macs = match self {
            Self::Routed => Some([guest_mac(8, 7), DVR]),
            Self::LocalRouted => Some([guest_mac(7, 2), gateway_mac(7, 0)]),
            Self::Switched | Self::Local => None,
        };
        if let Some(macs) = macs {
            frame[..12].copy_from_slice(&macs.concat());
            let (mut ip, rest) = Ipv4Header::from_slice(&frame[14..]).unwrap();
            ip.time_to_live -= 1;
            ip.header_checksum = ip.calc_header_checksum();
            frame = [&frame[..14], &ip.to_bytes(), rest].concat();
        }
        match self {
            Self::Switched => to_peer(source_port(outer), 7, 0, &frame),
            Self::Routed => to_peer(source_port(outer), 8, 0, &frame),
            Self::Local | Self::LocalRouted => frame,
        }
    }
}

/// The header of a UDP packet of guest 1 with so many bytes behind it; fragments of anything look like that too.
pub(crate) fn header(to: To, here: &Subnet, there: &Subnet, payload: usize) -> Ipv4Header {
    let (src, dst) = (here.ip(1).octets(), to.address(here, there).octets());
    let mut ip = Ipv4Header::new(payload as u16, 64, IpNumber::UDP, src, dst).unwrap();
    ip.identification = 0x1234;
    ip
}

pub(crate) fn frame(to: To, ip: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = whole(ip, payload);
    bytes[..6].copy_from_slice(&to.mac());
    bytes
}

/// Bytes that tell where they are.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8) as u8).collect()
}

/// A packet of so many bytes.
pub(crate) fn packet(
    to: To,
    here: &Subnet,
    there: &Subnet,
    len: u16,
    dont_fragment: bool,
) -> Vec<u8> {
    let payload = pattern(usize::from(len) - 20);
    let mut ip = header(to, here, there, payload.len());
    ip.dont_fragment = dont_fragment;
    frame(to, ip, &payload)
}

#[test]
fn what_just_fits_passes_and_one_byte_more_is_reported_with_what_fits() {
    let (mut lab, here, there) = lab();
    for (to, dont_fragment) in ALL.into_iter().flat_map(|to| [(to, true), (to, false)]) {
        let fits = packet(to, &here, &there, to.mtu(), dont_fragment);
        lab.inject(A, &fits);
        let out = lab.out(to.port());
        assert_eq!(out, [to.delivered(fits, &out[0])], "{to:?}");
        if to.port() == UPLINK {
            assert_eq!(out[0].len(), 14 + usize::from(UNDERLAY));
        }
        let too_big = packet(to, &here, &there, to.mtu() + 1, dont_fragment);
        let before = lab.totals(A).drops_for(DropReason::TooBig);
        lab.inject(A, &too_big);
        let mut told = told_with(
            [3, 4],
            to.mtu(),
            here.gateway(),
            here.ip(1),
            &too_big[..14 + 548],
        );
        told[6..12].copy_from_slice(&to.mac());
        assert_eq!(lab.out(A), [told], "{to:?}");
        assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), before + 1);
        lab.silent();
    }
}

#[test]
fn nobody_is_told_of_what_icmp_is_not_for() {
    let (mut lab, here, there) = lab();
    let long = packet(To::Switched, &here, &there, PATH + 1, true);
    let with = |offset: usize, bytes: &[u8]| {
        let mut frame = long.clone();
        frame[offset..offset + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let mut later = header(To::Switched, &here, &there, 1500);
    (later.dont_fragment, later.fragment_offset) = (true, IpFragOffset::try_new(3).unwrap());
    let mut error = header(To::Switched, &here, &there, 1500);
    error.protocol = IpNumber::ICMP;
    let mut unreachable = pattern(1500);
    unreachable[..2].copy_from_slice(&[3, 1]);
    for (what, frame) in [
        (
            "a later fragment",
            frame(To::Switched, later, &pattern(1500)),
        ),
        ("an error", frame(To::Switched, error, &unreachable)),
        ("a damaged header", with(24, &[0, 0])),
        ("neither IPv4 nor IPv6", with(12, &[0x88, 0xb5])),
    ] {
        let before = lab.totals(A).drops_for(DropReason::TooBig);
        lab.inject(A, &frame);
        assert_eq!(lab.out(A), Vec::<Vec<u8>>::new(), "{what}");
        assert_eq!(
            lab.totals(A).drops_for(DropReason::TooBig),
            before + 1,
            "{what}"
        );
        lab.silent();
    }
    for len in [1450, 1451] {
        let mut tagged = packet(To::Switched, &here, &there, len, true);
        tagged.splice(12..12, [0x81, 0x00, 0, 5]);
        lab.expect_drop(A, &tagged, DropReason::VlanTagged);
    }
}

#[test]
fn bytes_behind_a_packet_that_fits_are_cut_off() {
    let (mut lab, here, there) = lab();
    for (to, fragment) in ALL.into_iter().flat_map(|to| [(to, true), (to, false)]) {
        lab.worker.limits_mut().fragment = fragment;
        let fits = packet(to, &here, &there, to.mtu(), !fragment);
        let padded = [&fits[..], &[0; 9]].concat();
        lab.inject(A, &padded);
        let out = lab.out(to.port());
        assert_eq!(out, [to.delivered(fits, &out[0])], "{to:?}");
        lab.silent();
    }
}

#[test]
fn in_a_subnet_without_a_gateway_the_receiver_itself_says_what_fits() {
    let mut lab = Lab::new();
    let subnet = Subnet::new(7, 1, 1, 0);
    let attachment = Attachment {
        gateway_ip: None,
        gateway_mac: None,
        ..subnet.attachment()
    };
    let guest = TenantPort {
        mac: Mac::new(guest_mac(7, 1)),
        admin_up: true,
        takes_tags: false,
        guard: None,
        lease: None,
        lease6: None,
        attachments: [attachment].into_iter().collect(),
    };
    lab.writer.set_role(A, Role::Tenant(Arc::new(guest)));
    lab.mtu = UNDERLAY;
    lab.remote(9, &subnet);
    lab.commit();
    let long = packet(To::Switched, &subnet, &subnet, PATH + 1, true);
    lab.inject(A, &long);
    let (from, to) = (subnet.ip(9), subnet.ip(1));
    let mut told = told_with([3, 4], PATH, from, to, &long[..14 + 548]);
    told[6..12].copy_from_slice(&guest_mac(7, 9));
    assert_eq!(lab.out(A), [told]);
    lab.silent();
}

#[test]
fn what_is_too_long_for_its_receiver_here_is_dropped_also_when_it_comes_from_another_host() {
    let (mut lab, here, _) = lab();
    let from_peer_of = |len: u16| {
        let (macs, ips) = ((guest_mac(7, 9), guest_mac(7, 2)), (here.ip(9), here.ip(2)));
        let inner = udp_with(macs.0, macs.1, ips.0, ips.1, 64, 0);
        let mut inner = [&inner[..], &vec![0; 1500]].concat();
        inner.truncate(14 + usize::from(len));
        inner[16..18].copy_from_slice(&len.to_be_bytes());
        inner[24..26].fill(0);
        let sum = !vswitch::wire::ipv4::sum(&inner[14..34]);
        inner[24..26].copy_from_slice(&sum.to_be_bytes());
        let udp = (len - 20).to_be_bytes();
        inner[38..40].copy_from_slice(&udp);
        inner
    };
    let fits = from_peer_of(LOCAL);
    lab.expect(UPLINK, &from_peer(7, 0, &fits), B, &fits);
    let long = from_peer_of(LOCAL + 1);
    lab.expect_drop(UPLINK, &from_peer(7, 0, &long), DropReason::TooBig);
}

#[test]
fn of_a_frame_in_several_buffers_the_first_ones_bytes_are_quoted() {
    let (mut lab, here, there) = lab();
    let long = packet(To::Switched, &here, &there, 9000, true);
    for (first, quoted) in [(2000, 562), (562, 562), (561, 561), (100, 100), (42, 42)] {
        let frame = MemoryFrame::chained(&long[..first], &long[first..]);
        lab.rx[A.index()].push(frame).unwrap();
        let mut told = told_with([3, 4], PATH, here.gateway(), here.ip(1), &long[..quoted]);
        told[6..12].copy_from_slice(&guest_mac(7, 9));
        assert_eq!(lab.out(A), [told], "{first}");
        lab.silent();
    }
    let frame = MemoryFrame::chained(&long[..41], &long[41..]);
    lab.rx[A.index()].push(frame).unwrap();
    assert_eq!(lab.out(A), Vec::<Vec<u8>>::new(), "not even the ports");
    assert_eq!(lab.totals(A).drops_for(DropReason::TooBig), 6);
    lab.silent();
}
