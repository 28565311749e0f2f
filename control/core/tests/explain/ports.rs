// SPDX-License-Identifier: MIT
//! Ports that are stopped, or are VLANs of others.

use vswitch::counters::DropReason;
use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;

use super::super::world::{PORT_A, PORT_B};
use super::{NOBODY, links, world};
use crate::explain::{Links, Outcome, Packet};

#[test]
fn nothing_arrives_at_a_stopped_port_and_nothing_leaves_by_it() {
    let world = world(false);
    let mut some = links();
    some.started.retain(|port| *port != PORT_B);
    let packet = Packet::Words("ip dst=10.7.2.12 / icmp".to_owned());
    let explained = world.core.explain(PORT_A, &packet, some.clone()).unwrap();
    assert_eq!(explained.outcome, Outcome::Dropped(DropReason::TxFull));
    let explained = world.core.explain(PORT_B, &packet, some);
    let error = explained.unwrap_err().to_string();
    assert_eq!(error, "port 2 is not started: nothing arrives there");
}

#[test]
fn a_subports_packet_is_explained_wherever_it_is_said_to_arrive() {
    let world = world(false);
    let with = |at: PortId| Links {
        subports: vec![(
            at,
            Subport {
                parent: NOBODY,
                vlan: 101,
            },
        )],
        ..links()
    };
    let words = Packet::Words("arp dst=10.7.1.1".to_owned());
    let explanation = world.core.explain(PORT_A, &words, with(PORT_A)).unwrap();
    assert_eq!(explanation.outcome, Outcome::Answered);
    let arrival = &explanation.steps[0].text;
    assert!(
        arrival.contains("at port 1 (VLAN 101 of port 3)"),
        "{arrival}"
    );
    let [(port, frame)] = explanation.sent.try_into().unwrap();
    assert_eq!((port, &frame[12..16]), (NOBODY, &[0x81, 0, 0, 101][..]));
    // Without the tag it is its parent's, and too short for one too.
    let bytes = Packet::Bytes([&frame[..12], &frame[16..]].concat());
    let of_parent = world.core.explain(NOBODY, &bytes, with(PORT_A)).unwrap();
    assert_eq!(of_parent.outcome, Outcome::Dropped(DropReason::PortUnbound));
    let short = Packet::Bytes(vec![2; 7]);
    let short = world.core.explain(PORT_A, &short, with(PORT_A)).unwrap();
    assert_eq!(short.outcome, Outcome::Dropped(DropReason::PortUnbound));
    let mut stopped = with(PORT_A);
    stopped.started.retain(|port| *port != NOBODY);
    let refused = world.core.explain(PORT_A, &words, stopped).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "port 3 is not started: nothing arrives there"
    );
}
