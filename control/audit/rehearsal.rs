// SPDX-License-Identifier: MIT
//! [`Rehearsal`]: a switch without ports or packets that wants what a running one wants, to apply goal states to. The code
//! that decides is the switch's own.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use vswitch::tables::PortId;
use vswitch::tables::snapshot::tables;

use super::canonical::{Entry, Hash, entries, hash_of_all};
use super::conflicts::Conflicts;
use super::part::{Reason, Refused};
use crate::core::{Core, NotDone, Site};
use crate::proto::schema::ResourceType;
use crate::southbound::decode::{Encoded, Malformed};
use crate::state::Revisions;
use crate::state::parts::Position;

/// What names a resource: its kind, and its key among those.
pub(crate) type Name = (ResourceType, String);

/// A copy of what a switch wants.
pub(crate) struct Rehearsal {
    core: Core,
}

/// What there is at one point of a rehearsal.
pub(crate) struct Survey {
    resources: HashMap<Name, (Vec<u8>, Result<(), Reason>)>,
    conflicts: Conflicts,
    hashes: Vec<Hash>,
}

/// What differs from a survey. Resources are by name.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Those that were not there.
    pub(crate) new: Vec<Name>,
    /// Those that are wanted otherwise: canonical configurations before and after.
    pub(crate) changed: BTreeMap<Name, (Vec<u8>, Vec<u8>)>,
    /// Those that are not wanted any more.
    pub(crate) deleted: Vec<Name>,
    /// How many stay as they are.
    pub(crate) unchanged: usize,
    /// Those that would not be programmed, and are new, changed or were so for another reason or not at all.
    pub(crate) unprogrammed: BTreeMap<Name, Reason>,
    /// Contradictions that were not there.
    pub(crate) conflicts: Conflicts,
    /// How many were there, and stay.
    pub(crate) former_conflicts: usize,
}

impl Rehearsal {
    /// Of a switch at this site that wants nothing yet, with room for so many neighbors.
    ///
    /// # Errors
    /// One of its ports cannot be bound as `bindings` say.
    pub(crate) fn new(
        site: Site,
        capacity: usize,
        revisions: Revisions,
        bindings: Vec<(PortId, String)>,
    ) -> Result<Self, NotDone> {
        let (writer, _) = tables(None, capacity); // no worker sends anything anywhere
        let mut core = Core::new(site, writer);
        core.set_revisions(revisions);
        for (port, id) in bindings {
            core.bind(port, &id)?;
        }
        Ok(Self { core })
    }

    /// Applies a goal state. Returns the resources that are refused.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn apply(&mut self, goal: &Encoded) -> Result<Vec<Refused>, Malformed> {
        self.core.rehearse(goal)
    }

    /// What is wanted now, whether it is programmed, and what contradicts itself. Some hundred bytes a resource.
    pub(crate) fn survey(&self) -> Survey {
        let mut survey = Survey {
            resources: HashMap::new(),
            hashes: Vec::new(),
            conflicts: self.core.conflicts(),
        };
        self.each(|entry, state| {
            survey.hashes.push(entry.hash());
            let name = (entry.kind, entry.key);
            survey.resources.insert(name, (entry.bytes, state));
        });
        survey
    }

    /// What is otherwise than it was.
    pub(crate) fn difference(&self, before: Survey) -> Difference {
        let (mut former, mut difference) = (before.resources, Difference::default());
        self.each(|entry, state| {
            let name = (entry.kind, entry.key);
            let (bytes, before) = match former.remove(&name) {
                None => (None, Ok(())),
                Some((bytes, state)) => (Some(bytes), state),
            };
            let same = bytes.as_ref() == Some(&entry.bytes);
            if let Err(reason) = &state
                && !(same && before == state)
            {
                difference.unprogrammed.insert(name.clone(), reason.clone());
            }
            match bytes {
                None => difference.new.push(name),
                Some(_) if same => difference.unchanged += 1,
                Some(bytes) => {
                    difference.changed.insert(name, (bytes, entry.bytes));
                }
            }
        });
        difference.new.sort_unstable();
        difference.deleted = former.into_keys().collect();
        difference.deleted.sort_unstable();
        for (place, between) in self.core.conflicts() {
            let former = before.conflicts.get(&place);
            if former.is_some_and(|former| former.is_superset(&between)) {
                difference.former_conflicts += 1;
            } else {
                difference.conflicts.insert(place, between);
            }
        }
        difference
    }

    /// All that is wanted, and whether it is programmed.
    fn each(&self, mut take: impl FnMut(Entry, Result<(), Reason>)) {
        let mut position = Position::default();
        while let Some(mut part) = self.core.audit(&mut position, true) {
            let entries = entries(&mut part.goal).into_iter();
            entries
                .zip(part.states)
                .for_each(|(entry, state)| take(entry, state));
        }
    }
}

impl Survey {
    /// The hash over all that is wanted.
    pub(crate) fn hash(&self) -> Hash {
        hash_of_all(self.hashes.clone())
    }
}
