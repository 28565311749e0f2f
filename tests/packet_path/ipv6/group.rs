// SPDX-License-Identifier: MIT
//! IPv6 packets that lack a neighbor go to a gateway of the VPC, as the guest sent them.

use vswitch::tables::Hop;

use super::*;
use crate::A;
use crate::group::{gateway_of, group};

#[test]
fn what_lacks_a_neighbor_goes_to_a_gateway_as_it_was_sent() {
    let mut lab = Lab::new();
    let (mut here, mut there) = (Net::new(7, 1, 1, 0), Net::new(8, 2, 1, 1));
    here.narrow.group = group(&mut lab, &[50, 51]);
    connect(&mut [&mut here, &mut there], &[]);
    tenant(
        &mut lab,
        A,
        here.mac(1),
        vec![here.narrow.attachment(), here.attachment()],
    );
    neighbor(&mut lab, &here, 1, Hop::Local(A));
    lab.commit();
    let mac = here.mac(1);
    let routed = |to| udp6([mac, here.gateway_mac()], [here.ip(1), to], 2);
    for frame in [
        udp6([mac, here.mac(77)], [here.ip(1), here.ip(77)], 64),
        routed(here.ip(77)),
        routed(there.ip(5)),
        nd::asks(mac, here.ip(1), here.ip(77), &[]),
    ] {
        lab.inject(A, &frame);
        let out = lab.out(UPLINK);
        assert_eq!(out.len(), 1, "{:?}", lab.totals(A));
        gateway_of(&out[0], 7, &frame);
        lab.silent();
    }
    let unspecified = Ipv6Addr::UNSPECIFIED;
    for (what, frame) in [
        ("a probe", nd::asks(mac, unspecified, here.ip(77), &[])),
        ("of no subnet", nd::asks(mac, here.ip(1), there.ip(77), &[])),
        (
            "link-local",
            nd::asks(mac, here.ip(1), link_local([2, 7, 7, 7, 7, 7]), &[]),
        ),
    ] {
        lab.inject(A, &frame);
        assert!(lab.out(UPLINK).is_empty(), "{what}");
        assert_eq!(lab.totals(A).to_gateway, 4, "{what}");
    }
}
