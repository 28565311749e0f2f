// SPDX-License-Identifier: MIT
//! Neighbors that came in answer to a question: they age, others do not. [`whole`] is the whole way, with real gRPC.

mod ncm;
mod whole;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vswitch::stage::punt::{Destination, Sought};
use vswitch::wire::{Mac, Vni};

use super::goal::*;
use super::world::World;
use crate::core::Aged;
use crate::core::watchdog::GRACE;
use crate::proto::schema::NeighborType::{L2, L3};
use crate::proto::schema::{OperationStatus, UpdateType};
use crate::southbound::decode::Encoded;

const IDLE: Duration = Duration::from_secs(60);

/// A world with one subnet, and the time.
struct Lab {
    world: World,
    now: Instant,
}

/// The address of guest `n`: of IPv6, if bit 1 of `n` is set.
fn ip(n: u8) -> IpAddr {
    match n & 2 {
        0 => [10, 7, 1, n].into(),
        _ => [0x2001, 0xdb8, 7, 1, 0, 0, 0, n.into()].into(),
    }
}

fn answer(n: u8) -> State {
    let (mac, ip) = (format!("02:00:00:00:00:{n:02x}"), ip(n));
    let subnet = if ip.is_ipv4() { "s" } else { "six" };
    neighbor(&format!("n{n}"), L2, &mac, subnet, &ip.to_string(), 9)
}

impl Lab {
    fn new() -> Self {
        let mut world = World::new();
        let guest = port("port-a", "02:00:00:00:00:0a", &[("s", "10.7.1.10")]);
        let router = router("r", UpdateType::Full, &[("s", &[]), ("six", &[])]);
        world.succeed([
            vpc("v", 7),
            subnet("s", "v", "10.7.1.0/24", 0, 1),
            subnet("six", "v", "2001:db8:7:1::/64", 0, 1),
            router,
            guest,
        ]);
        // Ahead of the clock that goal states are applied by.
        let now = Instant::now() + Duration::from_secs(10);
        Self { world, now }
    }

    /// What asks for guest `n`: by address, and by MAC.
    fn sought(&self, n: u8) -> [Sought; 2] {
        let core = &self.world.core;
        let (subnet, _) = core.wanted.subnets().next().unwrap();
        let (vpc, domain) = core.program.place_of(subnet).unwrap();
        let mac = Mac::new([2, 0, 0, 0, 0, n]);
        [Sought::Ip(vpc, ip(n)), Sought::Mac(domain, mac)]
    }

    fn destination(&self, n: u8, by: usize) -> Destination {
        Destination {
            vni: Vni::new(7).unwrap(),
            ip: ip(n),
            sought: self.sought(n)[by],
        }
    }

    fn ask(&mut self, n: u8, by: usize) {
        let destination = self.destination(n, by);
        self.world.core.on_demand.asking(&[destination], self.now);
    }

    fn answered(&mut self, n: u8) {
        self.ask(n, usize::from(n % 2));
        self.world.succeed([answer(n)]);
    }

    fn wake(&mut self, sought: Sought) {
        let core = &mut self.world.core;
        core.on_demand
            .wake(&core.wanted, &mut core.program, &[sought], self.now);
        assert!(core.make_visible(GRACE));
        self.world.check();
    }

    fn after(&mut self, seconds: u64) -> Aged {
        self.now += Duration::from_secs(seconds);
        let core = &mut self.world.core;
        let (aged, _) = core
            .on_demand
            .age(&mut core.wanted, &mut core.program, IDLE, self.now);
        core.program.update(&mut core.wanted);
        assert!(core.make_visible(GRACE));
        core.wanted.sweep();
        self.world.check();
        aged
    }

    /// Whether workers find it, and whether it is wanted at all.
    fn is(&mut self, n: u8) -> (bool, bool) {
        let found = self.world.find(&ip(n).to_string()).is_some();
        let wanted = self.world.core.wanted.neighbors();
        let wanted = wanted.filter(|(_, slot)| slot.ip == ip(n)).count();
        (found, wanted != 0)
    }
}

const USED: (bool, bool) = (true, true);
const IS_IDLE: (bool, bool) = (false, true);
const GONE: (bool, bool) = (false, false);

#[test]
fn an_answer_is_set_aside_put_back_by_who_misses_it_and_forgotten_when_nobody_does() {
    let mut lab = Lab::new();
    for n in [20, 21] {
        lab.answered(n);
    }
    assert!(lab.after(45).is_empty() && lab.is(20) == USED);
    let mut idle = lab.after(20).idle;
    idle.sort_by_key(|sought| format!("{sought:?}"));
    let mut expected = [lab.sought(20), lab.sought(21)].concat();
    expected.sort_by_key(|sought| format!("{sought:?}"));
    assert_eq!(idle, expected);
    assert_eq!((lab.is(20), lab.is(21)), (IS_IDLE, IS_IDLE));

    lab.wake(lab.sought(20)[1]);
    assert_eq!((lab.is(20), lab.is(21)), (USED, IS_IDLE));
    let mut gone = lab.after(59).gone;
    gone.sort_by_key(|sought| format!("{sought:?}"));
    assert_eq!(gone, lab.sought(20), "it need not be put back");
    let aged = lab.after(1);
    assert_eq!((aged.gone.len(), aged.idle.len()), (2, 2));
    assert_eq!((lab.is(20), lab.is(21)), (IS_IDLE, GONE));
    lab.wake(lab.sought(21)[0]); // too late
    assert_eq!(lab.is(21), GONE);
    lab.after(60);
    assert_eq!(lab.is(20), GONE);
}

#[test]
fn a_next_hop_is_not_set_aside_since_flows_would_pass_it_over() {
    let mut lab = Lab::new();
    let rule = ("rule", "203.0.113.0/24", &*ip(20).to_string(), 1);
    let state = router("r", UpdateType::Full, &[("s", &[rule])]);
    lab.world.put(vec![state]);
    for n in [20, 21] {
        lab.answered(n);
    }
    for _ in 0..3 {
        lab.after(61);
        assert_eq!(lab.is(20), USED);
    }
    assert_eq!(lab.is(21), GONE);
    let without = router("r", UpdateType::Full, &[("s", &[])]);
    lab.world.succeed([without]);
    lab.after(61);
    assert_eq!(lab.is(20), IS_IDLE);
}

#[test]
fn answers_of_ipv6_age_likewise() {
    let mut lab = Lab::new();
    for n in [22, 23] {
        lab.answered(n);
    }
    assert_eq!((lab.is(22), lab.is(23)), (USED, USED));
    let idle = lab.after(60).idle;
    assert!(
        lab.sought(22)
            .iter()
            .chain(&lab.sought(23))
            .all(|it| idle.contains(it))
    );
    assert_eq!((lab.is(22), lab.is(23)), (IS_IDLE, IS_IDLE));
    lab.wake(lab.sought(22)[0]);
    lab.wake(lab.sought(23)[1]);
    assert_eq!((lab.is(22), lab.is(23)), (USED, USED));
    lab.after(60);
    assert_eq!(lab.after(60).gone.len(), 4);
    assert_eq!((lab.is(22), lab.is(23)), (GONE, GONE));
}

#[test]
fn what_the_controller_sends_of_its_own_accord_stays() {
    let mut lab = Lab::new();
    lab.world.succeed([answer(20)]);
    lab.ask(21, 0);
    lab.world.succeed([answer(22)]);
    lab.after(1000);
    assert_eq!((lab.is(20), lab.is(22)), (USED, USED));
    // An answer, then the same again.
    lab.answered(23);
    lab.world.succeed([answer(23)]);
    lab.after(1000);
    assert_eq!(lab.is(23), USED);
    // Also when it is idle.
    lab.answered(24);
    lab.after(60);
    assert_eq!(lab.is(24), IS_IDLE);
    lab.world.succeed([answer(24)]);
    assert_eq!(lab.is(24), USED);
    lab.after(1000);
    assert_eq!(lab.is(24), USED);
}

/// Guests of two subnets asked, and each is answered.
#[test]
fn the_answer_to_another_question_for_the_same_is_one_too() {
    let mut lab = Lab::new();
    lab.ask(20, 0);
    lab.ask(20, 0);
    lab.world.succeed([answer(20)]);
    let closed = [(lab.destination(20, 0), false)];
    lab.world.succeed([answer(20)]);
    // Another was refused, which is not that of whoever asks next.
    lab.ask(21, 0);
    lab.ask(21, 0);
    let refused = [(lab.destination(21, 0), false)];
    lab.world.core.on_demand.closed(&refused, Instant::now());
    lab.world.succeed([answer(21)]);
    lab.world.core.on_demand.closed(&closed, Instant::now());
    lab.after(60);
    assert_eq!((lab.is(20), lab.is(21)), (IS_IDLE, IS_IDLE));
    // All are answered: what comes now is no answer.
    lab.world.succeed([answer(20)]);
    lab.after(1000);
    assert_eq!((lab.is(20), lab.is(21)), (USED, GONE));
}

/// As many answers as questions, in whichever order calls return and goal states come.
#[test]
fn calls_that_return_end_their_own_question_and_no_other() {
    let mut lab = Lab::new();
    let close = |lab: &mut Lab, n| {
        let (closed, ago) = ([(lab.destination(n, 0), true)], Duration::from_secs(5));
        lab.world
            .core
            .on_demand
            .closed(&closed, Instant::now() - ago);
    };
    for n in [20, 21] {
        lab.ask(n, 0);
        lab.ask(n, 0);
    }
    // One returns between two answers.
    lab.world.succeed([answer(20)]);
    close(&mut lab, 20);
    lab.world.succeed([answer(20)]);
    // Both return, and what they promised does not come.
    close(&mut lab, 21);
    close(&mut lab, 21);
    lab.world.succeed([answer(21)]);
    lab.after(60);
    assert_eq!((lab.is(20), lab.is(21)), (IS_IDLE, USED));
}

#[test]
fn what_comes_after_the_controller_said_that_it_does_not_know_is_no_answer() {
    let mut lab = Lab::new();
    let ago = |seconds| Instant::now() - Duration::from_secs(seconds);
    // Refused; promised a moment ago; promised long ago.
    for (n, promised, at) in [(20, false, ago(0)), (21, true, ago(0)), (22, true, ago(5))] {
        lab.ask(n, 0);
        let destination = lab.destination(n, 0);
        lab.world
            .core
            .on_demand
            .closed(&[(destination, promised)], at);
        lab.world.succeed([answer(n)]);
    }
    lab.after(60);
    lab.after(60);
    assert_eq!([20, 21, 22].map(|n| lab.is(n)), [USED, GONE, USED]);
}

#[test]
fn a_question_does_not_make_an_answer_of_what_was_there_or_comes_much_later() {
    let mut lab = Lab::new();
    lab.world.succeed([answer(20)]);
    lab.answered(20);
    lab.after(1000);
    assert_eq!(lab.is(20), USED);
    lab.ask(21, 0);
    lab.world.core.on_demand.asking(&[], lab.now);
    let late = lab.now + Duration::from_secs(91);
    let core = &mut lab.world.core;
    let before = core.wanted.clock();
    let goal = Encoded::from(&v1([answer(21)]));
    let reply = core.apply("test", &goal).unwrap();
    assert_eq!(reply.operation_statuses.len(), 1);
    // Applied now, that is in time; told much later it is not.
    let (ix, _) = core.wanted.neighbors().last().unwrap();
    lab.ask(21, 0);
    let core = &mut lab.world.core;
    let subject = crate::state::Subject::Neighbor([ix].into_iter().collect());
    core.on_demand.told(&subject);
    core.on_demand
        .tell_apart(&core.wanted, &mut core.program, before, late);
    lab.after(1000);
    assert_eq!(lab.is(21), USED);
}

#[test]
fn an_address_that_is_an_l2_and_an_l3_neighbor_ages_as_one() {
    let mut lab = Lab::new();
    lab.ask(20, 0);
    let routed = neighbor("n20", L3, "02:00:00:00:00:14", "s", "10.7.1.20", 9);
    lab.world.succeed([answer(20), routed]);
    lab.after(60);
    assert_eq!(lab.is(20), IS_IDLE);
    lab.wake(lab.sought(20)[0]);
    assert_eq!(lab.is(20), USED);
    lab.after(60);
    lab.after(60);
    assert_eq!(lab.is(20), GONE);
}

#[test]
fn an_answer_is_one_though_another_address_of_the_neighbor_is_refused() {
    let mut lab = Lab::new();
    let (State::Neighbor(mut both), State::Neighbor(known)) = (answer(20), answer(21)) else {
        unreachable!()
    };
    let both_ips = &mut both.configuration.as_mut().unwrap().fixed_ips;
    both_ips.extend(known.configuration.unwrap().fixed_ips);
    let known = neighbor("n20", L2, "02:00:00:00:00:14", "s", "10.7.1.21", 9);
    lab.world.succeed([known.at(9)]);
    lab.ask(20, 0);
    assert_eq!(
        lab.world.put([State::Neighbor(both).at(5)]),
        [OperationStatus::OutOfOrder]
    );
    lab.after(60);
    assert_eq!([lab.is(20), lab.is(21)], [IS_IDLE, USED]);
}

#[test]
fn an_idle_neighbor_that_is_deleted_leaves_nothing_behind() {
    let mut lab = Lab::new();
    lab.answered(20);
    lab.after(60);
    lab.world.succeed([deleted(answer(20))]);
    assert_eq!(lab.is(20), GONE);
    lab.world.succeed([answer(21)]); // may get its number
    assert_eq!(lab.is(21), USED);
    lab.after(60);
    lab.after(60);
    assert_eq!(lab.is(21), USED);
    lab.answered(22);
    lab.after(60);
    lab.world.succeed([deleted(answer(22))]);
    assert_eq!(lab.after(1).gone.len(), 2);
}
