// SPDX-License-Identifier: MIT
//! Ports whose devices come late, or are made for them.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::goal::{State, deleted, port, subnet, vpc};
use super::world::{PORT_A, World};
use crate::core::{DeviceOf, PortNews};
use crate::proto::schema::OperationStatus;

fn network() -> [State; 2] {
    [vpc("vpc", 7), subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]
}

fn guest() -> State {
    port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")])
}

/// What was told last.
fn told(world: &mut World, news: &mut UnboundedReceiver<PortNews>) -> Option<PortNews> {
    world.core.tell();
    std::iter::from_fn(|| news.try_recv().ok()).last()
}

#[test]
fn who_makes_devices_is_told_of_ports_and_says_what_they_wait_for() {
    let mut world = World::unbound(1 << 10);
    let (sender, mut news) = unbounded_channel();
    world.core.devices_by(sender);
    world.succeed(network());
    assert_eq!(told(&mut world, &mut news), None);
    assert_eq!(world.put([guest()]), [OperationStatus::Pending]);
    assert_eq!(world.reasons(), ["waits for its device"]);
    let said = |bound, described: bool| {
        Some(PortNews {
            id: "port-a".into(),
            name: described.then(String::new),
            bound,
        })
    };
    assert_eq!(told(&mut world, &mut news), said(None, true));
    let id = || DeviceOf::Id("port-a".into());
    let why = |why: &str| Some(why.to_owned());
    world.core.wanted.note_device(&id(), why("no room"));
    let nobody = DeviceOf::Id("nobody".into());
    world.core.wanted.note_device(&nobody, why("unknown"));
    assert_eq!(world.reasons(), ["waits for its device: no room"]);
    world.bind(PORT_A, "port-a");
    assert_eq!(told(&mut world, &mut news), said(Some(PORT_A), true));
    assert!(world.reasons().is_empty() && world.guest(PORT_A).is_some());
    world.succeed([guest()]);
    world.succeed([deleted(guest())]);
    assert_eq!(told(&mut world, &mut news), said(Some(PORT_A), false));
    world.unbind(PORT_A);
    assert_eq!(told(&mut world, &mut news), said(None, false));
    // What kept it then is not what keeps it now.
    assert_eq!(world.put([guest()]), [OperationStatus::Pending]);
    assert_eq!(world.reasons(), ["waits for its device"]);
}

#[test]
fn a_port_whose_device_is_not_there_is_pending_and_stays_programmed() {
    let mut world = World::new();
    let absent = |world: &mut World, why: Option<&str>| {
        let (of, why) = (DeviceOf::Port(PORT_A), why.map(str::to_owned));
        world.core.wanted.note_device(&of, why);
    };
    absent(&mut world, Some("there is no network interface `a`"));
    world.succeed(network());
    assert_eq!(world.put([guest()]), [OperationStatus::Pending]);
    let why = "waits for its device: there is no network interface `a`";
    assert_eq!(world.reasons(), [why]);
    assert!(world.guest(PORT_A).is_some());
    let publications = world.publications();
    absent(&mut world, None);
    world.succeed([guest()]);
    assert!(world.reasons().is_empty());
    assert_eq!(
        world.publications(),
        publications,
        "workers see nothing of it"
    );
}
