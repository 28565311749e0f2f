// SPDX-License-Identifier: MIT
//! Several next hops for one prefix: each flow takes one of them (equal-cost multipath, RFC 2992).

use std::hash::Hash;

use hashbrown::{HashMap, HashSet};

use super::flat::Prefix;
use super::{Route, Target};

/// Next hops that are looked at for one packet: how many machines in a row may be missing before their flows are dropped.
const TRIES: usize = 8;

/// Where a prefix leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Lead<Ip> {
    /// Always there.
    To(Target<Ip>),
    /// Each flow to one of these, by their number.
    Among(u32),
}

/// Removes routes that lose. Of each prefix those of the lowest number are left: the first, and if that leads by way of a
/// machine, all that do, each once and in the order in which they were given: numbers of VPCs, which are another after a
/// restart, must not say which next hop a flow takes. `routes` are sorted by prefix, then number.
pub(super) fn keep_winners(routes: &mut Vec<Route>) {
    let mut kept = Vec::with_capacity(routes.len());
    for equal in routes.chunk_by(|one, other| one.prefix == other.prefix) {
        let Some(best) = equal.first() else { continue };
        let is_via = |route: &Route| matches!(route.target, Target::Via(..));
        if !is_via(best) {
            kept.push(*best);
            continue;
        }
        let mut seen = HashSet::new();
        let mut wins = |route: &&Route| {
            route.priority == best.priority && is_via(route) && seen.insert(route.target)
        };
        kept.extend(equal.iter().filter(|route| wins(route)));
    }
    *routes = kept;
}

/// Prefixes, each once, in order.
pub(super) type Prefixes<A, Ip> = Vec<Prefix<A, Lead<Ip>>>;

/// The next hops that flows of one prefix are spread over.
pub(super) type Group<Ip> = Vec<Target<Ip>>;

/// The prefixes of one version of IP, each once, and the groups that some of them lead to. `routes` are those that won, and
/// `read` is `None` for the other version's.
pub(super) fn prefixes<A: Copy, Ip: Copy + Eq + Hash>(
    routes: &[Route],
    read: impl Fn(&Route) -> Option<Prefix<A, Target<Ip>>>,
) -> (Prefixes<A, Ip>, Vec<Group<Ip>>) {
    let (mut prefixes, mut groups, mut numbers) = (Vec::new(), Vec::new(), HashMap::new());
    for equal in routes.chunk_by(|one, other| one.prefix == other.prefix) {
        let equal: Vec<_> = equal.iter().filter_map(&read).collect();
        let Some(&Prefix {
            first,
            last,
            target,
        }) = equal.first()
        else {
            continue;
        };
        let target = match equal.len() {
            1 => Lead::To(target),
            _ => {
                let group: Group<_> = equal.iter().map(|prefix| prefix.target).collect();
                Lead::Among(*numbers.entry(group).or_insert_with_key(|group| {
                    groups.push(group.clone());
                    (groups.len() - 1) as u32
                }))
            }
        };
        prefixes.push(Prefix {
            first,
            last,
            target,
        });
    }
    (prefixes, groups)
}

/// The one of `members` that a flow takes. Those that are not `known` are passed over: a machine that leaves takes no flows
/// with it, and the flows of the others stay where they are. None that was looked at is known: the one that it would be.
pub(super) fn pick<M: Copy>(members: &[M], flow: u32, known: impl Fn(M) -> bool) -> Option<M> {
    // Scales the hash to the number of members without a division.
    let first = ((u64::from(flow) * members.len() as u64) >> 32) as usize;
    let (before, from) = members.split_at_checked(first)?;
    let in_order = from.iter().chain(before).copied();
    let found = in_order.take(TRIES).find(|member| known(*member));
    found.or(from.first().copied())
}

/// Bytes of memory that groups take.
pub(super) fn memory<M>(groups: &[Box<[M]>]) -> usize {
    let members = groups.iter().map(|group| size_of_val(&**group));
    size_of_val(groups) + members.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_spread_evenly_and_only_those_of_a_missing_member_move() {
        let members = [0, 1, 2, 3];
        let flows: Vec<u32> = (0..4000)
            .map(|n: u32| n.wrapping_mul(0x9e37_79b9))
            .collect();
        let all: Vec<_> = flows
            .iter()
            .map(|flow| pick(&members, *flow, |_| true).unwrap())
            .collect();
        for member in members {
            let share = all.iter().filter(|taken| **taken == member).count();
            assert!((900..1100).contains(&share), "{member}: {share}");
        }
        for (flow, before) in flows.iter().zip(&all) {
            let now = pick(&members, *flow, |member| member != 2).unwrap();
            assert_eq!(now, if *before == 2 { 3 } else { *before });
        }
    }

    #[test]
    fn when_none_is_known_it_is_the_first_choice_and_no_more_than_some_are_looked_at() {
        let members: Vec<_> = (0..100).collect();
        let looked = std::cell::Cell::new(0);
        let none = |_| {
            looked.set(looked.get() + 1);
            false
        };
        assert_eq!(pick(&members, u32::MAX, none), Some(99));
        assert_eq!(looked.get(), TRIES);
        assert_eq!(pick::<u32>(&[], 7, |_| true), None);
    }
}
