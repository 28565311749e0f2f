// SPDX-License-Identifier: MIT
//! Hosts whose MAC nobody names: what is needed is said, and what is learned is programmed.

use std::net::Ipv4Addr;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vswitch::wire::Mac;

use super::goal::*;
use super::world::World;
use crate::core::Request;
use crate::core::watchdog::GRACE;
use crate::proto::schema::NeighborType::L2;
use crate::proto::schema::OperationStatus::{Pending, Success};

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 9, n])
}

/// A subnet with a port here; who is told what is needed.
fn lab() -> (World, UnboundedReceiver<Ipv4Addr>) {
    let mut world = World::new();
    world.succeed([
        vpc("v", 7),
        subnet("s", "v", "10.7.1.0/24", 0, 1),
        port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]),
    ]);
    let (needs, needed) = unbounded_channel();
    world.core.resolve_by(needs);
    (world, needed)
}

/// Guest `n` at host 9, as the controller says that knows no host's MAC.
fn unnamed(n: u8) -> State {
    let (mac, ip) = (format!("02:00:00:00:00:{n:02x}"), format!("10.7.1.{n}"));
    let mut state = neighbor(&format!("n{n}"), L2, &mac, "s", &ip, 9);
    if let State::Neighbor(state) = &mut state {
        let configuration = state.configuration.as_mut().unwrap();
        configuration.host_mac_address.clear();
    }
    state
}

impl World {
    fn learned(&mut self, learned: &[(Ipv4Addr, Mac)]) {
        assert!(
            self.core
                .begin(Request::Learned(learned.to_vec()))
                .is_none()
        );
        self.core.settle(GRACE);
        self.check();
    }
}

#[test]
fn a_host_without_a_mac_is_needed_once_and_its_neighbors_are_there_when_it_is_learned() {
    let (mut world, mut needed) = lab();
    assert_eq!(world.put([unnamed(1), unnamed(2)]), [Pending, Pending]);
    world.core.settle(GRACE);
    assert_eq!(needed.try_recv(), Ok(HOST));
    assert!(needed.try_recv().is_err());
    let before = world.see();
    world.learned(&[(Ipv4Addr::new(192, 0, 2, 8), mac(8))]);
    assert_eq!(world.see(), before, "nobody is there");
    world.learned(&[(HOST, mac(9))]);
    assert_eq!(world.reasons(), [""; 0]);
    for ip in ["10.7.1.1", "10.7.1.2"] {
        let found = world.find(ip).unwrap();
        assert!(found.ends_with("host 192.0.2.9 mac ..:09"), "{found}");
    }
    assert_eq!(world.put([unnamed(3)]), [Success], "it is known now");
    let known = world.see();
    world.learned(&[(HOST, mac(9))]);
    assert_eq!(world.see(), known);
    world.learned(&[(HOST, mac(1))]);
    let moved = world.find("10.7.1.3").unwrap();
    assert!(moved.ends_with("host 192.0.2.9 mac ..:01"), "{moved}");
    assert!(needed.try_recv().is_err());
    assert_eq!(world.core.program.needed(&world.core.wanted), [HOST].into());
    world.succeed([1, 2, 3].map(|n| deleted(unnamed(n))));
    assert!(world.core.program.needed(&world.core.wanted).is_empty());
    assert_eq!(
        world.put([unnamed(1)]),
        [Pending],
        "forgotten, and asked for anew"
    );
    world.core.settle(GRACE);
    assert_eq!(needed.try_recv(), Ok(HOST));
}
