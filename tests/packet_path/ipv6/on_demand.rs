// SPDX-License-Identifier: MIT
//! IPv6 packets that lack a neighbor are held while the controller is asked, and go on when they come back.

use vswitch::io::Frame;
use vswitch::io::memory::MemoryFrame;
use vswitch::stage::punt::{Destination, Miss, PuntQueues, Sought};

use super::*;
use crate::A;

type Queues = Arc<PuntQueues<MemoryFrame>>;

/// As [`super::lab`], with a route to 2600::/16 by guest 88 of `there`, and somebody to ask.
fn asking() -> (Lab, Net, Net, Queues) {
    let far = Route {
        prefix: "2600::/16".parse().unwrap(),
        priority: 0,
        target: Target::Via(vpc(1), Net::new(8, 2, 1, 1).ip(88).into()),
    };
    let (mut lab, here, there) = lab_with(&[far]);
    let queues = Queues::default();
    lab.worker.punt_to(Arc::clone(&queues));
    (lab, here, there, queues)
}

fn misses(lab: &mut Lab, queues: &Queues) -> Vec<Miss<MemoryFrame>> {
    while lab.worker.poll() != 0 {}
    std::iter::from_fn(|| queues.next_miss()).collect()
}

#[test]
fn what_lacks_a_neighbor_is_asked_for_by_what_it_lacks_and_forwarded_when_it_is_there() {
    let (mut lab, here, there, queues) = asking();
    let mac = here.mac(1);
    let by_ip = |ip: Ipv6Addr| (ip, Sought::Ip(vpc(1), ip.into()));
    let by_mac = |n: u8| {
        (
            here.ip(n.into()),
            Sought::Mac(domain(1), Mac::new(here.mac(n))),
        )
    };
    let routed = |to| udp6(to_gateway(&here), [here.ip(1), to], 64);
    let asks = |n| nd::asks(mac, here.ip(1), here.ip(n), &[]);
    let switched = udp6([mac, here.mac(5)], [here.ip(1), here.ip(5)], 64);
    for (frame, (ip, sought)) in [
        (routed(there.ip(66)), by_ip(there.ip(66))),
        (routed("2600::1".parse().unwrap()), by_ip(there.ip(88))),
        (asks(77), by_ip(here.ip(77))),
        (switched.clone(), by_mac(5)),
    ] {
        lab.inject(A, &frame);
        let held = misses(&mut lab, &queues);
        let (vni, ip) = (Vni::new(7).unwrap(), ip.into());
        assert_eq!(held[0].destination, Destination { vni, ip, sought });
        assert_eq!((held.len(), held[0].frame.head()), (1, &frame[..]));
        lab.silent();
        assert_eq!(lab.totals(A).held, 1);
        held.into_iter()
            .for_each(|miss| queues.give_back(miss).unwrap());
        let net = if vni.get() == 7 && ip == there.ip(66) {
            &there
        } else {
            &here
        };
        let n = match ip {
            IpAddr::V6(ip) => ip.octets()[15],
            IpAddr::V4(ip) => panic!("{ip}"),
        };
        remote(&mut lab, n, if ip == there.ip(88) { &there } else { net });
        lab.commit();
        let (answers, carried) = (lab.out(A).len(), lab.out(UPLINK).len());
        let asked = frame[20] == 58;
        assert_eq!(
            (answers, carried),
            (usize::from(asked), usize::from(!asked))
        );
        assert_eq!(lab.totals(A).held, 0);
        lab.silent();
    }
}

#[test]
fn nobody_is_asked_for_what_no_controller_knows() {
    let (mut lab, here, there, queues) = asking();
    let mac = here.mac(1);
    for (what, frame) in [
        ("known", nd::asks(mac, here.ip(1), here.ip(9), &[])),
        (
            "the gateway",
            nd::asks(mac, here.ip(1), here.gateway(), &[]),
        ),
        (
            "a probe",
            nd::asks(mac, Ipv6Addr::UNSPECIFIED, here.ip(77), &[]),
        ),
        ("of no subnet", nd::asks(mac, here.ip(1), there.ip(77), &[])),
        (
            "link-local",
            nd::asks(mac, here.ip(1), link_local([2, 7, 7, 7, 7, 7]), &[]),
        ),
        (
            "to a link-local address",
            udp6([mac, here.mac(5)], [mac, here.mac(5)].map(link_local), 64),
        ),
        (
            "no route",
            udp6(
                to_gateway(&here),
                [here.ip(1), "2700::1".parse().unwrap()],
                64,
            ),
        ),
        (
            "to all",
            udp6(
                [mac, [0x33, 0x33, 0, 0, 0, 1]],
                [here.ip(1), "ff02::1".parse().unwrap()],
                64,
            ),
        ),
    ] {
        lab.inject(A, &frame);
        assert!(misses(&mut lab, &queues).is_empty(), "{what}");
        lab.out(A);
        lab.silent();
    }
}
