// SPDX-License-Identifier: MIT
//! Two uplinks: flows that are spread over both, and what arrives by one for the VTEP of the other.

use vswitch::io::memory::MemoryFrame;
use vswitch::tables::{Endpoints, Hop, NextHop, PortId, Role, Tunnel, Underlay, Uplink};
use vswitch::wire::Mac;

use super::Pair;
use super::lab::*;
use super::traffic::{self, Scene, switched};

const GUEST: PortId = port(3);
const SECOND: PortId = port(6);
const SECOND_VTEP: [u8; 4] = [198, 51, 100, 1];

/// Guest 2 to guest 8, in two flows, switched and routed, and back by each uplink; and what is for neither VTEP.
pub(crate) fn scene() -> Scene {
    let mut lab = Lab::with(Some(Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: Some(Uplink {
            port: SECOND,
            vtep: Some(SECOND_VTEP.into()),
            vtep6: None,
        }),
        host_port: None,
        tunnel: Tunnel::default(),
    }));
    lab.writer.set_role(SECOND, Role::Uplink);
    let (blue, _) = traffic::populate(&mut lab);
    let way = |port, src: [u8; 4]| NextHop {
        port,
        endpoints: Endpoints::V4 {
            src: src.into(),
            dst: PEER.into(),
        },
        src_mac: Mac::new(UPLINK_MAC),
        dst_mac: Mac::new(PEER_MAC),
        mtu: 1600,
    };
    let ways = [way(UPLINK, VTEP), way(SECOND, SECOND_VTEP)];
    let hop = Hop::Remote(lab.writer.acquire_ways(ways).unwrap());
    lab.neighbor(&blue, 8, Mac::new(guest_mac(7, 8)), hop);
    lab.commit();
    let macs = (guest_mac(7, 2), gateway_mac(7, 0));
    let routed = udp_with(macs.0, macs.1, blue.ip(2), blue.ip(8), 64, 0);
    let flow = |n: u8| {
        let mut frame = switched(&blue, 2, 8);
        frame[35] = n;
        (GUEST, frame)
    };
    let back = switched(&blue, 8, 2);
    let (src, dst) = ((PEER_MAC, PEER), (UPLINK_MAC, SECOND_VTEP));
    let for_second = vxlan(src, dst, 50_000, 7, 0, &back);
    let (src, dst) = ((PEER_MAC, PEER), (UPLINK_MAC, [192, 0, 2, 3]));
    let stranger = vxlan(src, dst, 50_000, 7, 0, &back);
    let frames = (0..8).map(flow).chain([
        (GUEST, routed),
        (UPLINK, for_second.clone()),
        (SECOND, for_second),
        (SECOND, from_peer(7, 0, &back)),
        (SECOND, stranger),
    ]);
    let arrivals: Vec<_> = frames.map(|(at, it)| (at, MemoryFrame::new(&it))).collect();
    Scene {
        pair: Pair::new(lab),
        sent: arrivals.len() as u64 - 1,
        arrivals,
        answered: 0,
    }
}
