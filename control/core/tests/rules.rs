// SPDX-License-Identifier: MIT
//! What the operator says of single ports, whatever the controller does meanwhile.

use vswitch::tables::PortId;

use super::goal::{State, port, subnet, vpc};
use super::world::{PORT_A, PORT_B, UPLINK, World};
use crate::core::{NotDone, PortRules};

fn guests() -> [State; 4] {
    [
        vpc("vpc", 7),
        subnet("blue", "vpc", "10.7.1.0/24", 0, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
        port("port-b", "02:00:00:00:00:0b", &[("blue", "10.7.1.11")]),
    ]
}

fn is_guarded(world: &mut World, port: PortId) -> bool {
    world.guest(port).is_some_and(|guest| guest.guard.is_some())
}

fn anti_spoofing(on: impl Into<Option<bool>>) -> PortRules {
    PortRules {
        anti_spoofing: on.into(),
        ..PortRules::default()
    }
}

#[test]
fn anti_spoofing_is_that_of_all_ports_unless_a_port_has_its_own() {
    let mut world = World::new(); // where it is on
    world.succeed(guests());
    assert!(is_guarded(&mut world, PORT_A));
    world.rule(PORT_A, anti_spoofing(false));
    assert!(!is_guarded(&mut world, PORT_A));
    assert!(is_guarded(&mut world, PORT_B), "it is another port");
    let publications = world.publications();
    world.rule(PORT_A, anti_spoofing(false));
    world.rule(PORT_B, anti_spoofing(true));
    assert_eq!(world.publications(), publications, "nothing new");
    world.rule(PORT_A, anti_spoofing(None));
    assert!(is_guarded(&mut world, PORT_A));
}

#[test]
fn a_guest_takes_tags_if_its_port_says_so() {
    let mut world = World::new();
    world.succeed(guests());
    let takes = |world: &mut World, port| world.guest(port).map(|guest| guest.takes_tags);
    let tags = |takes_tags| PortRules {
        takes_tags,
        ..PortRules::default()
    };
    assert_eq!(takes(&mut world, PORT_A), Some(false));
    world.rule(PORT_A, tags(true));
    assert_eq!(takes(&mut world, PORT_A), Some(true));
    assert_eq!(takes(&mut world, PORT_B), Some(false));
    world.rule(PORT_A, tags(false));
    assert_eq!(takes(&mut world, PORT_A), Some(false));
}

#[test]
fn a_rule_is_the_ports_whoever_is_bound_to_it() {
    let mut world = World::unbound(1 << 10);
    world.rule(PORT_A, anti_spoofing(false));
    world.put(guests());
    world.bind(PORT_A, "port-a");
    assert!(!is_guarded(&mut world, PORT_A));
    world.unbind(PORT_A);
    world.bind(PORT_A, "port-b");
    world.bind(PORT_B, "port-a");
    assert!(!is_guarded(&mut world, PORT_A) && is_guarded(&mut world, PORT_B));
}

#[test]
fn the_uplink_has_no_guest_to_rule() {
    let mut world = World::new();
    let ruled = world.core.set_rules(UPLINK, anti_spoofing(true));
    assert_eq!(ruled, Err(NotDone::NotTenant(0)));
}
