// SPDX-License-Identifier: MIT
//! Tunnels over IPv6, with UDP checksums and without.

use vswitch::io::memory::MemoryFrame;
use vswitch::tables::{PortId, Tunnel};

use super::Pair;
use super::lab::*;
use super::traffic::{self, Scene, switched};

const GUEST: PortId = port(3);

/// Guest 2 to guest 8, which is reached over IPv6, and what arrives that way: sound, damaged, and in fragments.
pub(crate) fn scene() -> Scene {
    let tunnel = Tunnel {
        udp6_checksum: true,
        ..Tunnel::default()
    };
    let mut lab = Lab::dual(Some(HOST), tunnel);
    let (blue, _) = traffic::populate(&mut lab);
    lab.remote6(8, &blue);
    lab.commit();
    let macs = (guest_mac(7, 2), gateway_mac(7, 0));
    let routed = udp_with(macs.0, macs.1, blue.ip(2), blue.ip(8), 64, 0);
    let sealed = arriving(&switched(&blue, 8, 2));
    let (mut plain, mut damaged, mut fragment) = (sealed.clone(), sealed.clone(), sealed.clone());
    plain[60..62].fill(0);
    damaged[80] ^= 1;
    fragment.splice(54..54, [17, 0, 0, 1, 0, 0, 0, 1]);
    (fragment[19], fragment[20]) = (fragment[19] + 8, 44);
    let frames = [
        (GUEST, switched(&blue, 2, 8)),
        (GUEST, routed),
        (UPLINK, sealed),
        (UPLINK, plain),
        (UPLINK, damaged),
        (UPLINK, fragment),
    ];
    Scene {
        pair: Pair::new(lab),
        arrivals: frames.map(|(at, it)| (at, MemoryFrame::new(&it))).into(),
        sent: 4,
        answered: 0,
    }
}

/// What the peer sends, with a UDP checksum.
fn arriving(inner: &[u8]) -> Vec<u8> {
    let payload = [&[8, 0, 0, 0, 0, 0, 7, 0], inner].concat();
    let mut frame = Vec::new();
    let builder = etherparse::PacketBuilder::ethernet2(PEER_MAC, UPLINK_MAC);
    let builder = builder.ipv6(PEER6, VTEP6, 64).udp(50_000, 4789);
    builder.write(&mut frame, &payload).unwrap();
    frame
}
