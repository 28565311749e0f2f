// SPDX-License-Identifier: MIT
//! The state's own clock, and [`Ages`]: when things were described. Who is older decides between ports or neighbors that
//! claim one address, and between VPCs that name one VNI, so it has to be the same after a restart.
//!
//! The clock ticks for each port, neighbor's address, subnet and VPC that is applied, whatever comes of it: goal states
//! that are applied again tick as they did the first time. A part of the wanted state that replaces goal states says
//! where the clock stood, and the ages of what it has. So at each place of the journal a restart has the clock of then,
//! and in the end the ages of then: what a part has, by that part; what came or changed later, by its own goal state.

use super::Wanted;

/// When the resources of a part were described, and when the part was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ages {
    /// The state's clock when the part was taken.
    pub clock: u64,
    /// Of each resource of the part, in its order, when it was described; nothing for kinds without an age.
    pub of_each: Vec<u64>,
}

/// The state's own clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    now: u64,
    /// Ages of what is applied next, while a part is.
    given: Option<std::vec::IntoIter<u64>>,
}

impl Clock {
    /// The next point in time; or the age that was given for what is applied.
    pub(super) fn tick(&mut self) -> u64 {
        match &mut self.given {
            Some(given) => given.next().unwrap_or(self.now),
            None => {
                self.now += 1;
                self.now
            }
        }
    }

    /// True while ages are given: then they are taken, also by what does not change.
    pub(super) const fn is_given(&self) -> bool {
        self.given.is_some()
    }
}

impl Wanted {
    /// The latest point in time of the state's own clock.
    pub(crate) fn clock(&self) -> u64 {
        self.clock.now
    }

    /// What is applied until [`Wanted::end_part`] is a part with these ages.
    pub(crate) fn begin_part(&mut self, ages: Ages) {
        self.clock.now = ages.clock;
        self.clock.given = Some(ages.of_each.into_iter());
    }

    /// That was the part.
    pub(crate) fn end_part(&mut self) {
        self.clock.given = None;
    }
}
