// SPDX-License-Identifier: MIT
//! A worker that does not let go delays replies, and nothing else.

use std::thread;
use std::time::{Duration, Instant};

use vswitch::tables::rcu::Reader;
use vswitch::tables::{Hop, PortId, Role, Tables};

use super::goal::*;
use super::world::{PORT_A, PORT_B, World, statuses};
use crate::core::watchdog::GRACE;
use crate::core::{CoreHandle, Show, channel};
use crate::proto::schema::OperationStatus::{self, Pending, Success};
use crate::southbound::decode::Encoded;

/// A round of the control thread, far above what it takes on any machine and far below [`GRACE`].
const SOON: Duration = Duration::from_secs(1);

/// A control thread, and the readers of two workers.
fn start() -> (CoreHandle, [Reader<Tables>; 2]) {
    let mut world = World::new();
    let readers = ["one", "other"].map(|name| world.registrar.reader(name).unwrap());
    let (handle, requests) = channel();
    world.core.set_out();
    thread::spawn(move || world.core.run(requests));
    (handle, readers)
}

async fn put(core: &CoreHandle, states: impl IntoIterator<Item = State>) -> Vec<OperationStatus> {
    let reply = core
        .apply("test".to_owned(), Encoded::from(&v1(states)))
        .await;
    statuses(&reply.unwrap())
}

fn guest(up: bool) -> State {
    let mut port = port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]);
    if let State::Port(state) = &mut port {
        state.configuration.as_mut().unwrap().admin_state_up = up;
    }
    port
}

fn is_up(reader: &mut Reader<Tables>, port: PortId) -> Option<bool> {
    match reader.pin().role(port) {
        Role::Tenant(tenant) => Some(tenant.admin_up),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_delays_replies_until_it_is_known_to_be_stuck_and_never_other_workers()
 {
    let (core, [mut stuck, mut other]) = start();
    let network = [vpc("v", 7), subnet("s", "v", "10.7.1.0/24", 0, 1)];
    assert_eq!(put(&core, network).await, [Success; 2]);
    let guard = stuck.pin();
    let begun = Instant::now();
    let late = {
        let core = core.clone();
        tokio::spawn(async move { put(&core, [guest(true)]).await })
    };
    // Other requests are served, and the other worker sees what was asked for, while the reply waits.
    while is_up(&mut other, PORT_A).is_none() {
        assert!(begun.elapsed() < SOON);
    }
    let rows = core.show(Show::Ports).await.unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let unbind = tokio::spawn({
        let core = core.clone();
        async move { core.unbind(PORT_B).await }
    });
    assert!(begun.elapsed() < SOON && !late.is_finished());
    assert_eq!(late.await.unwrap(), [Pending]);
    assert!((GRACE..GRACE + SOON).contains(&begun.elapsed()));
    assert!(unbind.await.unwrap().unwrap().is_err(), "not seen");
    // From now on nobody waits for it.
    let begun = Instant::now();
    for n in 0..100 {
        assert_eq!(put(&core, [guest(n % 2 == 1)]).await, [Pending]);
        assert_eq!(is_up(&mut other, PORT_A), Some(n % 2 == 1));
    }
    // Also a guest that is plugged in now is reached by the other workers.
    core.bind(PORT_B, "port-b".to_owned()).await.unwrap().ok();
    let late = port("port-b", "02:00:00:00:00:0b", &[("s", "10.7.1.11")]);
    assert_eq!(put(&core, [late]).await, [Pending]);
    let tables = other.pin();
    let Role::Tenant(late) = tables.role(PORT_B) else {
        panic!("no role")
    };
    let vpc = late.attachments[0].vpc;
    let found = tables.neighbors.find_ip(vpc, [10, 7, 1, 11].into());
    assert_eq!(found.map(|found| found.hop), Some(Hop::Local(PORT_B)));
    drop(tables);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    drop(guard);
    stuck.offline();
    other.offline();
    while put(&core, [guest(true)]).await != [Success] {
        assert!(begun.elapsed() < 2 * SOON);
    }
    assert_eq!(is_up(&mut stuck, PORT_A), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_late_says_success_when_the_worker_goes_on() {
    let (core, [mut slow, _]) = start();
    let guard = slow.pin();
    let reply = tokio::spawn({
        let core = core.clone();
        async move {
            put(
                &core,
                [
                    vpc("v", 7),
                    subnet("s", "v", "10.7.1.0/24", 0, 1),
                    guest(true),
                ],
            )
            .await
        }
    });
    thread::sleep(Duration::from_millis(200));
    assert!(!reply.is_finished());
    drop(guard);
    slow.offline();
    assert_eq!(reply.await.unwrap(), [Success; 3]);
}
