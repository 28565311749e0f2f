// SPDX-License-Identifier: MIT
//! Neighbors: kept one address each, by (id, L2 or L3, subnet, address), a million of them.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use hashbrown::HashMap;
use smallvec::SmallVec;
use vswitch::tables::snapshot::MAX_NEIGHBORS;

use super::id::Id;
use super::network::SubnetIx;
use super::resource::{NeighborAddress, NeighborDetails, NeighborPlace, NeighborUpdate};
use super::slots::{Arena, Ix, Keyed};
use super::{Refused, Subject, Wanted};
use crate::proto::schema::{NeighborConfiguration, NeighborType};

/// Number of a neighbor's slot.
pub(crate) type NeighborIx = Ix<NeighborSlot>;

/// One address of a neighbor.
#[derive(Debug)]
pub(crate) struct NeighborSlot {
    /// As the controller calls it: its port's id, possibly empty.
    pub id: Id,
    /// As [`NeighborAddress::routed`].
    pub routed: bool,
    /// Its subnet.
    pub subnet: SubnetIx,
    /// The address.
    pub ip: IpAddr,
    /// Its MAC and its host.
    pub place: NeighborPlace,
    /// The highest revision seen.
    pub revision: u32,
    /// When it last changed, on the state's own clock: among neighbors that claim one address the latest
    /// has it.
    pub changed: u64,
    /// Where it stands in its subnet's list.
    position: u32,
}

// A million of them.
const _: () = assert!(size_of::<Option<NeighborSlot>>() == 96);

/// All neighbors.
#[derive(Debug, Default)]
pub(crate) struct Neighbors {
    arena: Arena<NeighborSlot>,
    removed: Vec<NeighborIx>,
    /// Of the few that have any.
    details: HashMap<NeighborIx, Box<NeighborDetails>>,
}

/// What identifies one of the controller's neighbors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    id: &'a Id,
    routed: bool,
    subnet: SubnetIx,
    ip: IpAddr,
}

impl Hash for Key<'_> {
    /// As numbers, like [`Id`].
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        state.write_u64(u64::from(self.subnet.number()) << 1 | u64::from(self.routed));
        match self.ip {
            IpAddr::V4(ip) => state.write_u32(ip.to_bits()),
            IpAddr::V6(ip) => state.write_u128(ip.to_bits()),
        }
    }
}

impl Keyed for NeighborSlot {
    type Key<'a> = Key<'a>;

    fn key(&self) -> Key<'_> {
        Key {
            id: &self.id,
            routed: self.routed,
            subnet: self.subnet,
            ip: self.ip,
        }
    }
}

impl Neighbors {
    fn remove(&mut self, ix: NeighborIx) -> Option<NeighborSlot> {
        let slot = self.arena.remove(ix)?;
        self.removed.push(ix);
        self.set_details(ix, None);
        Some(slot)
    }

    fn set_details(&mut self, ix: NeighborIx, details: Option<Box<NeighborDetails>>) {
        match details {
            Some(details) => drop(self.details.insert(ix, details)),
            None if self.details.is_empty() => {}
            None => drop(self.details.remove(&ix)),
        }
    }

    pub(super) fn sweep(&mut self) {
        self.removed.drain(..).for_each(|ix| self.arena.recycle(ix));
    }
}

impl Wanted {
    /// Takes the memory of so many neighbors in all now, instead of when they come.
    pub(crate) fn reserve_neighbors(&mut self, count: usize) {
        self.neighbors.arena.reserve(count);
    }

    /// The neighbor of this number, unless it is gone.
    pub(crate) fn neighbor(&self, ix: NeighborIx) -> Option<&NeighborSlot> {
        self.neighbors.arena.get(ix)
    }

    /// Asks the CPU to fetch what [`Wanted::neighbor`] returns.
    pub(crate) fn prefetch_slot(&self, ix: NeighborIx) {
        self.neighbors.arena.prefetch_value(ix);
    }

    /// The neighbor's address that a configuration of this state's own making is of.
    pub(crate) fn find_neighbor(&self, said: &NeighborConfiguration) -> Option<NeighborIx> {
        let fixed_ip = said.fixed_ips.first()?;
        self.neighbors.arena.find(Key {
            id: &said.id.as_str().into(),
            routed: fixed_ip.neighbor_type() == NeighborType::L3,
            subnet: self.subnets.find(&fixed_ip.subnet_id)?,
            ip: fixed_ip.ip_address.parse().ok()?,
        })
    }

    /// All neighbors.
    pub(crate) fn neighbors(&self) -> impl Iterator<Item = (NeighborIx, &NeighborSlot)> {
        self.neighbors.arena.iter()
    }

    /// What else was said of it, if anything.
    pub(crate) fn neighbor_details(&self, ix: NeighborIx) -> Option<&NeighborDetails> {
        self.neighbors.details.get(&ix).map(|details| &**details)
    }

    /// What [`Wanted::prefetch`] does for a neighbor; what has several addresses is rare.
    pub(super) fn prefetch_neighbor(&mut self, update: &NeighborUpdate) {
        if let Some(address) = update.addresses.first()
            && let Some(subnet) = self.subnets.find(&address.subnet)
        {
            self.neighbors.arena.prefetch(Key {
                id: &update.id,
                routed: address.routed,
                subnet,
                ip: address.ip,
            });
        }
    }

    /// Addresses that cannot be changed are left alone, the others change, and are returned; one that is left alone is
    /// an error.
    pub(super) fn set_neighbor(
        &mut self,
        revision: u32,
        update: NeighborUpdate,
    ) -> (Subject, Result<(), Refused>) {
        let id = &update.id;
        let mut subjects = SmallVec::with_capacity(update.addresses.len());
        let mut all = Ok(());
        for address in update.addresses {
            let subject = match update.place {
                Some(place) => self.place_neighbor(id, revision, address, place).map(Some),
                None => self.remove_neighbor(id, revision, &address).map(|()| None),
            };
            match subject {
                Ok(subject) => subjects.extend(subject),
                Err(error) => all = Err(error),
            }
        }
        let subject = if subjects.is_empty() {
            Subject::Nothing
        } else {
            Subject::Neighbor(subjects)
        };
        (subject, all)
    }

    fn place_neighbor(
        &mut self,
        id: &Id,
        revision: u32,
        address: NeighborAddress,
        place: NeighborPlace,
    ) -> Result<NeighborIx, Refused> {
        let (routed, ip, changed) = (address.routed, address.ip, self.clock.tick());
        let subnet = self.subnets.intern(&address.subnet);
        let key = Key {
            id,
            routed,
            subnet,
            ip,
        };
        let vacant = match self.neighbors.arena.seek(key) {
            Ok(ix) => {
                self.stale.remove_neighbor(ix);
                if let Some(slot) = self.neighbors.arena.get_mut(ix) {
                    slot.revision = self.revisions.following(slot.revision, revision)?;
                    if slot.place != place || self.clock.is_given() {
                        slot.place = place;
                        slot.changed = changed;
                    }
                }
                self.neighbors.set_details(ix, address.details);
                // Also when nothing has changed: the table may have been full the last time.
                self.touched.neighbors.push(ix);
                return Ok(ix);
            }
            Err(vacant) => vacant,
        };
        if self.neighbors.arena.len() >= MAX_NEIGHBORS {
            self.unused.subnets.push(subnet);
            return Err(Refused::TooMany(MAX_NEIGHBORS));
        }
        let position = self
            .subnets
            .get(subnet)
            .map_or(0, |slot| slot.neighbors.len() as u32); // at most MAX_NEIGHBORS
        let slot = NeighborSlot {
            id: id.clone(),
            routed,
            subnet,
            ip,
            place,
            revision,
            changed,
            position,
        };
        let ix = self.neighbors.arena.insert(vacant, slot);
        self.neighbors.set_details(ix, address.details);
        if let Some(slot) = self.subnets.get_mut(subnet) {
            slot.neighbors.push(ix);
        }
        self.touched.neighbors.push(ix);
        Ok(ix)
    }

    fn remove_neighbor(
        &mut self,
        id: &Id,
        revision: u32,
        address: &NeighborAddress,
    ) -> Result<(), Refused> {
        let Some(subnet) = self.subnets.find(&address.subnet) else {
            return Ok(());
        };
        let key = Key {
            id,
            routed: address.routed,
            subnet,
            ip: address.ip,
        };
        let Some(ix) = self.neighbors.arena.find(key) else {
            return Ok(());
        };
        let known = self.neighbors.arena.get(ix).map_or(0, |slot| slot.revision);
        self.revisions.following(known, revision)?;
        self.forget_neighbor(ix);
        Ok(())
    }

    /// Removes one address of a neighbor, whatever its revision.
    pub(crate) fn forget_neighbor(&mut self, ix: NeighborIx) {
        self.stale.remove_neighbor(ix);
        let Some(slot) = self.neighbors.remove(ix) else {
            return;
        };
        self.touched.neighbors.push(ix);
        self.unused.subnets.push(slot.subnet);
        let Some(list) = self
            .subnets
            .get_mut(slot.subnet)
            .map(|subnet| &mut subnet.neighbors)
        else {
            return;
        };
        // The last of the list takes the place of the one that goes.
        let position = slot.position as usize;
        if position < list.len() {
            list.swap_remove(position);
        }
        if let Some(&moved) = list.get(position)
            && let Some(moved) = self.neighbors.arena.get_mut(moved)
        {
            moved.position = slot.position;
        }
    }
}
