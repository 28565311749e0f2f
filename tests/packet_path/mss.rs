// SPDX-License-Identifier: MIT
//! TCP that agrees on segments that fit. What is expected is built by etherparse.

use std::net::Ipv4Addr;

use etherparse::{IpNumber, Ipv4Header, TcpOptionElement};
use vswitch::io::memory::MemoryFrame;

use crate::lab::*;
use crate::mtu::*;
use crate::{A, B};

/// A TCP packet of a guest with these flags and a maximum segment size at an odd offset, or none.
pub(crate) fn tcp(
    macs: [[u8; 6]; 2],
    ips: [Ipv4Addr; 2],
    ttl: u8,
    flags: u8,
    mss: Option<u16>,
) -> Vec<u8> {
    let mut tcp = etherparse::TcpHeader::new(1234, 80, 1, 100);
    (tcp.syn, tcp.ack) = (flags & 2 != 0, flags & 16 != 0);
    let option = mss.map(TcpOptionElement::MaximumSegmentSize);
    tcp.set_options(&[vec![TcpOptionElement::Noop], Vec::from_iter(option)].concat())
        .unwrap();
    let [from, to] = ips.map(|ip| ip.octets());
    let mut ip = Ipv4Header::new(tcp.header_len_u16(), ttl, IpNumber::TCP, from, to).unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    tcp.checksum = tcp.calc_checksum_ipv4(&ip, &[]).unwrap();
    [
        &macs[0][..],
        &macs[1],
        &[8, 0],
        &ip.to_bytes(),
        &tcp.to_bytes(),
    ]
    .concat()
}

pub(crate) const SYN: u8 = 2;
const ACK: u8 = 16;

#[test]
fn tcp_agrees_on_segments_that_fit_in_both_directions_where_that_is_wanted() {
    let (mut lab, here, there) = lab();
    let path = PATH - 40;
    for on in [false, true] {
        lab.worker.limits_mut().clamp_mss = on;
        for flags in [SYN, SYN | ACK, ACK] {
            for said in [
                None,
                Some(0),
                Some(536),
                Some(path),
                Some(path + 1),
                Some(u16::MAX),
            ] {
                let lowered = |most: u16| match on && flags & SYN != 0 {
                    true => said.map(|mss| mss.min(most)),
                    false => said,
                };
                for to in ALL {
                    let macs = [to.mac(), guest_mac(7, 1)];
                    let ips = [here.ip(1), to.address(&here, &there)];
                    lab.inject(A, &tcp(macs, ips, 64, flags, said));
                    let out = lab.out(to.port());
                    let expected = tcp(macs, ips, 64, flags, lowered(to.mtu() - 40));
                    assert_eq!(out, [to.delivered(expected, &out[0])], "{to:?} {said:?}");
                }
                let back = |mss| {
                    let macs = [guest_mac(7, 1), guest_mac(7, 9)];
                    tcp(macs, [here.ip(9), here.ip(1)], 64, flags, mss)
                };
                let arriving = from_peer(7, 0, &back(said));
                lab.expect(UPLINK, &arriving, A, &back(lowered(path)));
                let routed = |source, mss| {
                    let macs = [guest_mac(7, 1), source];
                    tcp(macs, [there.ip(7), here.ip(1)], 63, flags, mss)
                };
                let arriving = from_peer(7, 0, &routed(DVR, said));
                lab.expect(
                    UPLINK,
                    &arriving,
                    A,
                    &routed(gateway_mac(7, 0), lowered(path)),
                );
            }
        }
    }
}

#[test]
fn between_guests_of_one_host_the_smaller_port_counts() {
    let (mut lab, here, _) = lab();
    lab.worker.limits_mut().clamp_mss = true;
    lab.worker.limits_mut().set_mtu(A, 1300);
    let syn = |mss| {
        let macs = [guest_mac(7, 2), guest_mac(7, 1)];
        tcp(macs, [here.ip(1), here.ip(2)], 64, SYN, Some(mss))
    };
    lab.expect(A, &syn(1460), B, &syn(1260));
    lab.worker.limits_mut().set_mtu(A, 9000);
    lab.expect(A, &syn(1460), B, &syn(LOCAL - 40));
}

#[test]
fn what_only_looks_like_the_beginning_of_a_connection_is_left_alone() {
    let (mut lab, here, _) = lab();
    lab.worker.limits_mut().clamp_mss = true;
    let macs = [guest_mac(7, 9), guest_mac(7, 1)];
    let syn = tcp(macs, [here.ip(1), here.ip(9)], 64, SYN, Some(9000));
    let mut expect_same = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = syn.clone();
        change(&mut frame);
        lab.inject(A, &frame);
        assert_eq!(lab.out(UPLINK)[0][50..], frame);
    };
    expect_same(&|frame| frame[23] = 17);
    expect_same(&|frame| frame[21] = 1); // a later fragment
    expect_same(&|frame| frame[46] = 0xf0); // a longer header than the packet
    expect_same(&|frame| frame[46] = 0x50); // no options
    expect_same(&|frame| frame[17] = 20 + 21); // ends within the option; the rest is padding
    // Its options are in the second buffer.
    lab.rx[A.index()]
        .push(MemoryFrame::chained(&syn[..54], &syn[54..]))
        .unwrap();
    assert_eq!(lab.out(UPLINK)[0][50..], syn);
    let damaged = {
        let mut frame = tcp(macs, [here.ip(1), here.ip(9)], 64, SYN, Some(9000));
        frame[50] ^= 1;
        frame
    };
    lab.inject(A, &damaged);
    let out = &lab.out(UPLINK)[0][50..];
    let right = tcp(macs, [here.ip(1), here.ip(9)], 64, SYN, Some(PATH - 40));
    assert!(
        out != right && out[..50] == right[..50] && out[52..] == right[52..],
        "still wrong"
    );
}
