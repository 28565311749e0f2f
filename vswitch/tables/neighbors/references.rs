// SPDX-License-Identifier: MIT
//! [`References`]: which next hops are in use, and when a slot may be written again. The writer's side of
//! [`NextHops`].
//!
//! A next hop that nobody refers to any more keeps its slot and its content until the slot is needed and
//! the commit that let go of it has settled; taken up again before that, it is the same one.
//! Idle ones are in a list, oldest first, linked through their records, so that every step is O(1).

use std::sync::Arc;

use hashbrown::HashMap;

use super::hops::{MAX_NEXT_HOPS, NextHops};
use crate::tables::sync::{Fault, fault};
use crate::tables::{Full, HopId, TableFull, Ways};

/// No record.
const NONE: u32 = u32::MAX;

struct Record {
    ways: Ways,
    count: u32,
    /// Idle: the number of the commit that lets go of it.
    since: u64,
    /// Idle: neighbors in the list.
    older: u32,
    newer: u32,
}

/// Counts references to next hops. Equal next hops are one.
pub(in crate::tables) struct References {
    /// By uplink.
    hops: Vec<Arc<NextHops>>,
    ids: HashMap<Ways, HopId>,
    /// By id.
    records: Vec<Record>,
    oldest: u32,
    newest: u32,
    idle: usize,
    capacity: usize,
}

impl References {
    pub(in crate::tables) fn new(hops: Vec<Arc<NextHops>>, capacity: usize) -> Self {
        let capacity = capacity.min(MAX_NEXT_HOPS);
        let ids = HashMap::default();
        Self {
            hops,
            ids,
            records: Vec::new(),
            oldest: NONE,
            newest: NONE,
            idle: 0,
            capacity,
        }
    }

    /// Adds a reference. All commits up to number `settled` are settled.
    pub(in crate::tables) fn acquire(
        &mut self,
        ways: Ways,
        settled: u64,
    ) -> Result<HopId, TableFull> {
        if let Some(&id) = self.ids.get(&ways) {
            let count = self.records[id.0 as usize].count;
            let count_after = count.checked_add(1).ok_or_else(|| self.full())?;
            if count == 0 {
                self.unlink(id);
            }
            self.records[id.0 as usize].count = count_after;
            return Ok(id);
        }
        let id = self.free_slot(settled).ok_or_else(|| self.full())?;
        let record = Record {
            ways,
            count: 1,
            since: 0,
            older: NONE,
            newer: NONE,
        };
        match self.records.get_mut(id.0 as usize) {
            Some(old) => *old = record,
            None => self.records.push(record),
        }
        for (hops, hop) in self.hops.iter().zip(&ways) {
            hops.write(id, hop);
        }
        self.ids.insert(ways, id);
        Ok(id)
    }

    /// Adds a reference to one that somebody refers to. False: nobody does, or there are too many references.
    pub(in crate::tables) fn hold(&mut self, id: HopId) -> bool {
        let record = self.records.get_mut(id.0 as usize);
        let record = record.filter(|record| record.count > 0 && record.count < u32::MAX);
        record.map(|record| record.count += 1).is_some()
    }

    /// The ways of one that somebody refers to.
    pub(in crate::tables) fn ways(&self, id: HopId) -> Option<Ways> {
        let record = self.records.get(id.0 as usize);
        record.filter(|record| record.count > 0).map(|it| it.ways)
    }

    /// Drops a reference, as part of the commit with this number. Ignores one that is not there.
    pub(in crate::tables) fn release(&mut self, id: HopId, commit: u64) {
        let Some(record) = self
            .records
            .get_mut(id.0 as usize)
            .filter(|record| record.count > 0)
        else {
            debug_assert!(false, "{id:?} is released more often than acquired");
            return;
        };
        record.count -= 1;
        if record.count == 0 {
            (record.since, record.older, record.newer) = (commit, self.newest, NONE);
            match self.records.get_mut(self.newest as usize) {
                Some(newest) => newest.newer = id.0,
                None => self.oldest = id.0,
            }
            self.newest = id.0;
            self.idle += 1;
        }
    }

    /// Templates, by uplink.
    pub(in crate::tables) fn hops(&self) -> &[Arc<NextHops>] {
        &self.hops
    }

    /// True if a next hop that is not there yet finds a slot now. All commits up to number `settled` are settled.
    pub(in crate::tables) fn has_room(&self, settled: u64) -> bool {
        let oldest = self.records.get(self.oldest as usize);
        self.records.len() < self.capacity || oldest.is_some_and(|it| it.since <= settled)
    }

    /// True if fewer than one slot in sixteen is not referred to.
    pub(in crate::tables) fn is_nearly_full(&self) -> bool {
        self.capacity - self.in_use() < self.capacity / 16
    }

    /// Next hops that are referred to.
    pub(in crate::tables) fn in_use(&self) -> usize {
        self.records.len() - self.idle
    }

    /// Slots that were ever written.
    pub(in crate::tables) fn touched(&self) -> usize {
        self.records.len()
    }

    /// The oldest idle slot if readers are done with it, else one that was never used.
    fn free_slot(&mut self, settled: u64) -> Option<HopId> {
        let oldest = HopId(self.oldest);
        if let Some(record) = self
            .records
            .get(oldest.0 as usize)
            .filter(|record| record.since <= settled || fault(Fault::HopReusedAtOnce))
        {
            self.ids.remove(&record.ways);
            self.unlink(oldest);
            return Some(oldest);
        }
        (self.records.len() < self.capacity).then_some(HopId(self.records.len() as u32))
    }

    fn unlink(&mut self, id: HopId) {
        let (older, newer) = (
            self.records[id.0 as usize].older,
            self.records[id.0 as usize].newer,
        );
        match self.records.get_mut(older as usize) {
            Some(record) => record.newer = newer,
            None => self.oldest = newer,
        }
        match self.records.get_mut(newer as usize) {
            Some(record) => record.older = older,
            None => self.newest = older,
        }
        self.idle -= 1;
    }

    fn full(&self) -> TableFull {
        TableFull {
            table: Full::NextHops,
            capacity: self.capacity,
            leaving: self.idle,
        }
    }
}
