// SPDX-License-Identifier: MIT
//! What is in the store makes the same state again, whenever the process ends.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::goal::{State, deleted, dhcp, neighbor, port, subnet, v2, vpc};
use super::order::{for_all, interleave, switch_port, turns};
use super::stories::{
    Step, Story, both_versions, gateways, keeping, networks, once, ports_and_guests, say, tables,
};
use super::world::World;
use crate::core::Goal;
use crate::proto::schema::NeighborType::L2;
use crate::proto::schema::OperationStatus::OutOfOrder;
use crate::proto::schema::neighbor_configuration::FixedIp;
use crate::proto::schema::{GoalStateV2, NeighborType};
use crate::southbound::decode::{self, Encoded};
use crate::state::Revisions;
use crate::state::parts::{Position, Which};
use crate::store::{Entry, Journal};

/// Lets the steps happen, each as a message that is kept, then the process ends. After `compact_after` of them the
/// store begins to be written anew, a part between two steps, which the end of the process may come before.
fn restarted(steps: Vec<Step>, compact_after: usize) -> [World; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut journal = Journal::open(&path).unwrap();
    let mut before = World::unbound(1 << 10);
    let mut after = World::unbound(1 << 10);
    let mut compaction = None;
    let mut bound = [None; 3];
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Say(state) => {
                let goal = Encoded::from(&v2([state]));
                let entry = Entry::said(goal, before.core.wanted.revisions());
                before.core.apply("test", &entry.goal).unwrap();
                journal.append(&[entry]).unwrap();
            }
            Step::Bind(port, id) => {
                before.bind(switch_port(port), id);
                bound[usize::from(port)] = Some(id);
            }
            Step::Unbind(port) => {
                before.unbind(switch_port(port));
                bound[usize::from(port)] = None;
            }
            Step::Revise(revisions) => before.core.set_revisions(revisions),
        }
        if n == compact_after {
            compaction = Some((journal.begin_compaction(), Position::default()));
        }
        if let Some((replaced, mut position)) = compaction.take() {
            match before.core.wanted.part(&mut position, Which::All) {
                Some(part) => {
                    journal.append(&[Entry::part(part)]).unwrap();
                    compaction = Some((replaced, position));
                }
                None => journal.end_compaction(&replaced).unwrap(),
            }
        }
    }
    drop(journal);
    after
        .core
        .restore(&mut Journal::open(&path).unwrap())
        .unwrap();
    for (port, id) in (0..).zip(bound) {
        id.into_iter()
            .for_each(|id| after.bind(switch_port(port), id));
    }
    [before, after]
}

fn resources(goal: &GoalStateV2) -> usize {
    let goal = Encoded::from(&Goal::V2(goal.clone()));
    decode::resources(&goal).unwrap().len()
}

/// Nothing has been said since the restart.
fn assert_all_stale(world: &World) {
    let wanted = &world.core.wanted;
    let mut position = Position::default();
    let mut stale = Position::default();
    while let Some((all, _)) = wanted.part(&mut position, Which::All) {
        let (stale, _) = wanted.part(&mut stale, Which::Stale).unwrap();
        assert_eq!(resources(&stale), resources(&all));
    }
}

fn assert_all_is_as_it_was(steps: Vec<Step>, compact_after: usize) -> TestCaseResult {
    let [mut before, mut after] = restarted(steps, compact_after);
    prop_assert_eq!(after.wanted(), before.wanted());
    prop_assert_eq!(after.see(), before.see());
    after.check();
    assert_all_stale(&after);
    Ok(())
}

fn assert_restarts_as_it_was(stories: &[Story], cases: u32) {
    let steps = stories.concat().len();
    let any_way = (turns(stories), 0..=steps, 0..=steps);
    for_all(cases, &any_way, |(turns, end, compact_after)| {
        let mut steps = interleave(stories.to_vec(), &turns);
        steps.truncate(end);
        assert_all_is_as_it_was(steps, compact_after)
    });
}

#[test]
fn whenever_the_process_ends_everything_is_as_it_was() {
    assert_restarts_as_it_was(&once(), 100);
    assert_restarts_as_it_was(&keeping(), 100);
}

#[test]
fn ports_and_guests_are_as_they_were() {
    assert_restarts_as_it_was(&ports_and_guests(), 200);
}

#[test]
fn networks_of_both_versions_of_ip_are_as_they_were() {
    assert_restarts_as_it_was(&both_versions(), 200);
}

#[test]
fn networks_are_as_they_were() {
    assert_restarts_as_it_was(&networks(), 200);
    assert_restarts_as_it_was(&tables(), 100);
}

#[test]
fn gateways_are_as_they_were() {
    assert_restarts_as_it_was(&gateways(), 200);
}

/// What is refused or not by its revision, as the mode is at the time.
fn revisions() -> Vec<Story> {
    let guest = |host| neighbor("n1", L2, "02:00:00:00:01:01", "blue", "10.7.1.101", host);
    let subnet = |gateway| subnet("blue", "vpc", "10.7.1.0/24", 0, gateway);
    let mut stories: Vec<Story> = [Revisions::Ignore, Revisions::Check, Revisions::Ignore]
        .map(|revisions| vec![Step::Revise(revisions)])
        .into();
    stories.extend([
        say([vpc("vpc", 7).at(9), vpc("vpc", 17).at(3)]),
        say([subnet(1).at(9), subnet(2).at(3), subnet(3).at(0)]),
        say([guest(9).at(9), guest(8).at(3), guest(7).at(5)]),
        say([deleted(guest(9)).at(4)]),
        say([port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]).at(7)]),
        say([port("port-a", "02:00:00:00:00:0b", &[("blue", "10.7.1.10")]).at(5)]),
        vec![Step::Bind(1, "port-a")],
    ]);
    stories
}

#[test]
fn revisions_that_were_ignored_or_refused_are_so_again() {
    assert_restarts_as_it_was(&revisions(), 300);
}

fn sweep_stale(world: &mut World) {
    world.core.swept = Some(Position::default());
    while world.core.swept.is_some() {
        world.core.sweep_stale();
    }
    world.core.wanted.sweep();
}

/// Ports and neighbors that claim one address, and VPCs that name one VNI, in turns.
fn contests() -> Vec<Story> {
    let guest = |id, host| neighbor(id, L2, "02:00:00:00:01:01", "blue", "10.7.1.101", host);
    let port = |id, mac| port(id, mac, &[("blue", "10.7.1.10")]);
    let subnet = |id, vpc, cidr| subnet(id, vpc, cidr, 8, 1);
    let (red, green, grey) = (
        |vpc| subnet("red", vpc, "10.7.2.0/24"),
        |vpc| subnet("green", vpc, "10.8.3.0/24"),
        subnet("grey", "other", "10.7.2.0/24"),
    );
    vec![
        say([vpc("vpc", 7), vpc("vpc", 17), vpc("vpc", 7)]),
        say([vpc("other", 7), vpc("other", 8), vpc("other", 7)]),
        say([super::goal::subnet("blue", "vpc", "10.7.1.0/24", 0, 1)]),
        say([super::goal::subnet("apart", "other", "10.7.1.0/24", 0, 4)]),
        say([red("vpc"), red("other"), deleted(red("vpc")), red("vpc")]),
        say([green("other"), deleted(green("vpc")), green("third")]),
        say([grey.clone(), deleted(grey.clone()), grey]),
        say([guest("n1", 9), guest("n1", 8), guest("n1", 9)]),
        say([guest("n2", 7), guest("n2", 6), guest("n2", 7)]),
        say([guest("n3", 5), deleted(guest("n3", 5)), guest("n3", 5)]),
        say([
            port("port-a", "02:00:00:00:00:0a"),
            port("port-a", "02:00:00:00:00:0b"),
        ]),
        say([
            port("port-b", "02:00:00:00:00:0b"),
            port("port-b", "02:00:00:00:00:0b"),
        ]),
        vec![Step::Bind(1, "port-a")],
        vec![Step::Bind(2, "port-b")],
    ]
}

#[test]
fn who_has_what_several_claim_has_it_again() {
    assert_restarts_as_it_was(&contests(), 200);
}

/// Says these, and then all of them again while the store is written anew, from each step on.
fn assert_saying_again_changes_nothing(states: &[State]) {
    let again = std::iter::repeat_n(states, 8).flatten();
    let again: Vec<_> = again.cloned().map(Step::Say).collect();
    let mut steps = vec![Step::Bind(1, "port-a"), Step::Bind(2, "port-b")];
    steps.extend(again);
    for compact_after in states.len()..4 * states.len() {
        assert_all_is_as_it_was(steps.clone(), compact_after).unwrap();
    }
}

#[test]
fn a_vni_is_still_the_first_s_that_named_it_after_what_came_during_a_compaction() {
    assert_saying_again_changes_nothing(&[
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
        port("port-b", "02:00:00:00:00:0b", &[("apart", "10.7.1.10")]),
        subnet("apart", "other", "10.7.1.0/24", 8, 4),
        subnet("blue", "vpc", "10.7.1.0/24", 8, 1),
    ]);
}

#[test]
fn an_address_is_still_the_latest_s_after_what_came_during_a_compaction() {
    let guest = |id, host| neighbor(id, L2, "02:00:00:00:01:01", "blue", "10.7.1.101", host);
    assert_saying_again_changes_nothing(&[
        subnet("blue", "vpc", "10.7.1.0/24", 8, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
        port("port-b", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
        guest("n1", 9),
        guest("n2", 8),
        guest("n3", 7),
    ]);
}

#[test]
fn what_is_said_again_stays_and_the_rest_goes() {
    let [_, mut world] = restarted(once().concat(), usize::MAX);
    let again = [
        vpc("vpc", 7),
        subnet("blue", "vpc", "10.7.1.0/24", 7, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
    ];
    world.succeed(again.clone());
    let stale = world.core.wanted.stale_names().count();
    sweep_stale(&mut world);
    assert!(stale > 0 && world.core.wanted.stale_names().count() == 0);
    let mut expected = World::new();
    expected.succeed(again);
    assert_eq!(world.see(), expected.see());
    let of_goal_state = |text: String| text.replace("port-b", "");
    assert_eq!(
        of_goal_state(world.wanted()),
        of_goal_state(expected.wanted())
    );
    world.check();
}

#[test]
fn what_is_said_again_in_an_older_revision_stays_and_what_is_deleted_so_goes() {
    let guest = neighbor("n1", L2, "02:00:00:00:01:01", "blue", "10.7.1.101", 9);
    let gone = neighbor("n2", L2, "02:00:00:00:01:02", "blue", "10.7.1.102", 9);
    let again = [
        vpc("vpc", 7),
        subnet("blue", "vpc", "10.7.1.0/24", 7, 1),
        port("port-a", "02:00:00:00:00:0a", &[("blue", "10.7.1.10")]),
        guest,
    ];
    let all = again.clone().into_iter().chain([gone.clone()]);
    let steps = all.map(|state| Step::Say(state.at(9))).collect();
    let [_, mut world] = restarted(steps, usize::MAX);
    let refused = world.put(again.map(|state| state.at(2)));
    assert_eq!(refused, [OutOfOrder; 4]);
    assert_eq!(world.put([deleted(gone).at(2)]), [OutOfOrder]);
    let stale: Vec<_> = world.core.wanted.stale_names().collect();
    assert_eq!(stale, [("NEIGHBOR", "10.7.1.102 (n2)".to_owned())]);
    sweep_stale(&mut world);
    assert_eq!(world.core.wanted.neighbors().count(), 1);
    assert_eq!(world.core.wanted.ports().count(), 1);
}

#[test]
fn addresses_of_a_neighbor_are_said_again_though_another_one_is_refused() {
    let one = |ip| neighbor("n1", L2, "02:00:00:00:01:01", "blue", ip, 9);
    let mut both = one("10.7.1.101");
    let State::Neighbor(state) = &mut both else {
        unreachable!()
    };
    let fixed_ips = &mut state.configuration.as_mut().unwrap().fixed_ips;
    fixed_ips.push(FixedIp {
        neighbor_type: NeighborType::L2.into(),
        subnet_id: "blue".to_owned(),
        ip_address: "10.7.1.102".to_owned(),
        ..FixedIp::default()
    });
    let steps = [one("10.7.1.101").at(3), one("10.7.1.102").at(9)].map(Step::Say);
    let [_, mut world] = restarted(steps.into(), usize::MAX);
    assert_eq!(world.put([both.at(5)]), [OutOfOrder]);
    assert_eq!(world.core.wanted.stale_names().count(), 0);
}

#[test]
fn what_has_another_id_now_is_not_stale_by_its_old_one_and_nothing_is_when_all_is_swept() {
    let of = |id| dhcp(id, "blue", "02:00:00:00:00:0a", "10.7.1.10");
    let steps = vec![Step::Say(of("uuid-1")), Step::Say(vpc("vpc", 7))];
    let [_, mut world] = restarted(steps, usize::MAX);
    world.put([of("uuid-2")]);
    let stale: Vec<_> = world.core.wanted.stale_names().collect();
    assert_eq!(stale, [("VPC", "vpc".to_owned())]);
    sweep_stale(&mut world);
    assert_eq!(world.core.wanted.stale_names().count(), 0);
    assert_eq!(world.core.wanted.dhcp().count(), 1);
}
