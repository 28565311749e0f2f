// SPDX-License-Identifier: MIT
//! What arrives from the underlay, and the host's own traffic.

use crossbeam_queue::ArrayQueue;
use vswitch::counters::DropReason;
use vswitch::stage::link::{Heard, Hearing, Weight};
use vswitch::tables::{PortId, Tunnel, Underlay};
use vswitch::wire::Mac;

use crate::lab::*;
use crate::{A, one_subnet, switched};

#[test]
fn vxlan_from_another_host_reaches_the_guest() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    lab.expect(UPLINK, &from_peer(7, 0, &frame), A, &frame);
}

#[test]
fn outer_ipv4_options_and_ethernet_padding_are_taken_off() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    let mut padded = from_peer(7, 0, &frame);
    padded.extend_from_slice(&[0xee; 6]);
    lab.expect(UPLINK, &padded, A, &frame);

    let mut options = from_peer(7, 0, &frame);
    options.splice(34..34, [1, 1, 1, 1]);
    options[14] = 0x46;
    let total = u16::from_be_bytes([options[16], options[17]]) + 4;
    options[16..18].copy_from_slice(&total.to_be_bytes());
    options[24..26].fill(0);
    let checksum = !vswitch::wire::ipv4::sum(&options[14..38]);
    options[24..26].copy_from_slice(&checksum.to_be_bytes());
    lab.expect(UPLINK, &options, A, &frame);
    options[36] ^= 1;
    lab.expect_drop(UPLINK, &options, DropReason::BadChecksum);
}

#[test]
fn what_is_wrong_with_the_outer_header_is_counted() {
    let (mut lab, subnet) = one_subnet();
    let good = from_peer(7, 0, &switched(&subnet, 9, 1));
    for (change, reason) in [
        ((24, 0xff), DropReason::BadChecksum),
        ((55, 0xfe), DropReason::UnknownMac),
        ((50, 0xff), DropReason::NotFlooded),
        ((14, 0x44), DropReason::Malformed),
    ] {
        let mut bad = good.clone();
        let (offset, value) = change;
        assert_ne!(bad[offset], value);
        bad[offset] = value;
        lab.expect_drop(UPLINK, &bad, reason);
    }
    for len in 0..good.len() {
        lab.expect_drop(UPLINK, &good[..len], DropReason::Truncated);
    }
}

#[test]
fn an_inner_frame_cut_at_any_header_boundary_is_counted() {
    let (mut lab, subnet) = one_subnet();
    let frame = switched(&subnet, 9, 1);
    for len in 0..frame.len() {
        lab.expect_drop(
            UPLINK,
            &from_peer(7, 0, &frame[..len]),
            DropReason::Truncated,
        );
        lab.expect_drop(A, &switched(&subnet, 1, 9)[..len], DropReason::Truncated);
    }
}

#[test]
fn the_hosts_own_traffic_passes_between_host_port_and_uplink() {
    let (mut lab, _) = one_subnet();
    let ssh = udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into());
    lab.expect(UPLINK, &ssh, HOST, &ssh);
    lab.expect(HOST, &ssh, UPLINK, &ssh);
    let mut elsewhere = from_peer(7, 0, &ssh);
    elsewhere[33] = 99;
    lab.expect(UPLINK, &elsewhere, HOST, &elsewhere);
}

#[test]
fn the_hosts_own_traffic_is_no_longer_than_the_port_takes_vlan_tags_apart() {
    let (mut lab, _) = one_subnet();
    lab.worker.limits_mut().set_mtu(HOST, 1400);
    lab.worker.limits_mut().set_mtu(UPLINK, 1500);
    for (from, to, mtu) in [(UPLINK, HOST, 1400), (HOST, UPLINK, 1500)] {
        let plain = udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into());
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
            let mut fits = plain.clone();
            for tag in tags.iter().rev() {
                let [high, low] = u16::to_be_bytes(*tag);
                fits.splice(12..12, [high, low, 0, 5]);
            }
            fits.resize(14 + 4 * tags.len() + mtu, 0);
            lab.expect(from, &fits, to, &fits);
            let longer = [&fits[..], &[0]].concat();
            lab.expect_drop(from, &longer, DropReason::TooBig);
            lab.balanced();
        }
        let mut third = plain.clone();
        third.splice(12..12, [0x81, 0, 0, 5].repeat(3));
        third.resize(14 + 12 + mtu, 0);
        lab.expect_drop(from, &third, DropReason::TooBig);
    }
    // Of a burst only what is too long.
    let fits = udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into());
    let longer = [&fits[..], &[0; 1500]].concat();
    for frame in [&longer, &fits, &longer, &fits] {
        lab.inject(UPLINK, frame);
    }
    assert_eq!(lab.out(HOST), [&fits[..], &fits]);
    lab.silent();
}

#[test]
fn a_flood_to_the_host_is_held_to_its_rate_and_arp_and_tcp_pass() {
    let (mut lab, _) = one_subnet();
    lab.worker.host_gate_mut().set_rate(1);
    let flood = udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into());
    let mut tcp = flood.clone();
    tcp[23] = 6;
    let question = arp(1, (PEER_MAC, PEER), ([0; 6], VTEP));
    // At one frame per second there are 16 at once, half of them for anything.
    (0..200).for_each(|_| lab.inject(UPLINK, &flood));
    assert_eq!(lab.out(HOST), vec![flood.clone(); 8]);
    let expected = [&tcp, &question];
    expected.iter().for_each(|frame| lab.inject(UPLINK, frame));
    lab.inject(UPLINK, &flood);
    assert_eq!(lab.out(HOST), expected.map(Vec::clone));
    let totals = lab.totals(UPLINK);
    assert_eq!(totals.drops_for(DropReason::HostLimited), 193);
    // The other way, and guests, have no limit.
    (0..200).for_each(|_| lab.inject(HOST, &flood));
    assert_eq!(lab.out(UPLINK).len(), 200);
    lab.worker.host_gate_mut().set_rate(0);
    (0..200).for_each(|_| lab.inject(UPLINK, &flood));
    assert_eq!(lab.out(HOST).len(), 200);
    lab.silent();
}

#[test]
fn without_a_host_port_the_hosts_traffic_is_counted() {
    let underlay = Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: None,
        host_port: None,
        tunnel: Tunnel::default(),
    };
    let mut lab = Lab::with(Some(underlay));
    let ssh = udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into());
    lab.expect_drop(UPLINK, &ssh, DropReason::NotForUs);
}

/// An ARP message in an Ethernet frame (RFC 826).
fn arp(operation: u8, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> Vec<u8> {
    let mut frame = [[0xff; 6], sender.0].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(sender.0);
    frame.extend(sender.1);
    frame.extend(target.0);
    frame.extend(target.1);
    frame.resize(60, 0);
    frame
}

const PEER_ASKS: Heard = Heard {
    uplink: UPLINK,
    ip: std::net::IpAddr::V4(std::net::Ipv4Addr::from_octets(PEER)),
    mac: Mac::new(PEER_MAC),
    asks: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::from_octets(VTEP))),
    weight: Weight::Overrides,
};

/// Frames that arrive at the uplink, and what the control side is told of each; the host gets all of them, if it has a port.
pub(crate) fn expect_heard(
    lab: &mut Lab,
    told: &Hearing,
    host_port: Option<PortId>,
    cases: &[(Vec<u8>, Option<Heard>)],
) {
    lab.worker.tell(Hearing::clone(told));
    for (frame, heard) in cases {
        let before = lab.totals(UPLINK);
        lab.inject(UPLINK, frame);
        let sent = lab.out(HOST);
        assert_eq!(told.pop(), *heard, "{frame:x?}");
        let counted = lab.totals(UPLINK).since(&before);
        assert!(counted.is_balanced());
        let to_host = host_port.map(|_| frame.clone());
        assert_eq!(sent, to_host.into_iter().collect::<Vec<_>>());
        let read = u64::from(heard.is_some() && host_port.is_none());
        assert_eq!((counted.rx, counted.answered), (1, read));
    }
}

#[test]
fn what_is_said_by_arp_of_this_host_is_told_and_nothing_else_is() {
    let told = Hearing::new(ArrayQueue::new(2));
    let says = Heard {
        asks: None,
        ..PEER_ASKS
    };
    let (peer, us) = ((PEER_MAC, PEER), (UPLINK_MAC, VTEP));
    let nobody = ([0; 6], [192, 0, 2, 9]);
    let mut no_ipv4 = arp(1, peer, us);
    no_ipv4[19] = 5;
    let probe = Heard {
        ip: [0; 4].into(),
        ..PEER_ASKS
    };
    let cases = [
        (arp(1, peer, ([0; 6], VTEP)), Some(PEER_ASKS)),
        (arp(2, peer, us), Some(says)),
        (arp(1, (PEER_MAC, [0; 4]), ([0; 6], VTEP)), Some(probe)),
        (arp(1, peer, ([0; 6], PEER)), Some(says)),
        (arp(2, peer, ([0xff; 6], PEER)), Some(says)),
        (arp(1, peer, nobody), None),
        (arp(2, peer, nobody), None),
        (arp(1, peer, us)[..41].to_vec(), None),
        (no_ipv4, None),
        (udp(PEER_MAC, UPLINK_MAC, PEER.into(), VTEP.into()), None),
    ];
    for host_port in [Some(HOST), None] {
        let mut lab = Lab::with(Some(Underlay {
            vtep: Some(VTEP.into()),
            vtep6: None,
            uplink: UPLINK,
            second: None,
            host_port,
            tunnel: Tunnel::default(),
        }));
        expect_heard(&mut lab, &told, host_port, &cases);
    }
}

#[test]
fn what_is_said_while_nobody_listens_is_the_hosts_or_dropped() {
    let mut lab = Lab::with(Some(Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: None,
        host_port: None,
        tunnel: Tunnel::default(),
    }));
    let asks = arp(1, (PEER_MAC, PEER), ([0; 6], VTEP));
    lab.expect_drop(UPLINK, &asks, DropReason::NotForUs);
    let told = Hearing::new(ArrayQueue::new(1));
    lab.worker.tell(Hearing::clone(&told));
    lab.inject(UPLINK, &asks);
    assert_eq!(lab.out(UPLINK), [[0; 0]; 0]);
    lab.expect_drop(UPLINK, &asks, DropReason::NotForUs);
    assert_eq!((told.pop(), told.pop()), (Some(PEER_ASKS), None));
}
