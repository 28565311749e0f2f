// SPDX-License-Identifier: MIT
//! Named slots: a resource's id is turned into a small number once, and everything refers to it by that.
//!
//! A slot exists as soon as anybody names the id, whether the controller has described the resource or not:
//! that is how a resource finds those that wait for it.

use std::fmt;
use std::marker::PhantomData;

use hashbrown::HashMap;

use super::Refused;

/// Most resources of one kind, neighbors apart: a hundred times what a host has use for, and some hundred
/// megabytes.
const MAX_SLOTS: usize = 1 << 20;

/// The number of a slot of `T`. Once the slot is freed, the number may be given to another.
pub(crate) struct Ix<T> {
    index: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Ix<T> {
    /// The `index`-th slot.
    pub(crate) const fn new(index: u32) -> Self {
        Self {
            index,
            of: PhantomData,
        }
    }

    /// To index with.
    pub(crate) const fn get(self) -> usize {
        self.index as usize
    }

    /// The number.
    pub(crate) const fn number(self) -> u32 {
        self.index
    }
}

// By hand: derived ones would ask the same of `T`.
impl<T> Clone for Ix<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ix<T> {}
impl<T> PartialEq for Ix<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}
impl<T> Eq for Ix<T> {}
impl<T> PartialOrd for Ix<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Ix<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.index.cmp(&other.index)
    }
}
impl<T> std::hash::Hash for Ix<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}
impl<T> fmt::Debug for Ix<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.index)
    }
}

/// A dense store without names: what [`Slots`] and the neighbors are kept in.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    /// Stores `value`. Slots are counted in 32 bits: memory ends long before they do.
    pub(crate) fn insert(&mut self, value: T) -> Ix<T> {
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(index as usize) {
            Some(slot) => *slot = Some(value),
            None => self.slots.push(Some(value)),
        }
        Ix::new(index)
    }

    /// The value, unless it has been removed.
    pub(crate) fn get(&self, ix: Ix<T>) -> Option<&T> {
        self.slots.get(ix.get())?.as_ref()
    }

    /// The value, to change it.
    pub(crate) fn get_mut(&mut self, ix: Ix<T>) -> Option<&mut T> {
        self.slots.get_mut(ix.get())?.as_mut()
    }

    /// Forgets the value. Its number is not used again before [`Arena::recycle`], so that those who know it
    /// can still find out that the value is gone.
    pub(crate) fn remove(&mut self, ix: Ix<T>) -> Option<T> {
        self.slots.get_mut(ix.get())?.take()
    }

    /// Lets the number of a removed value be used again. Once per removal.
    pub(crate) fn recycle(&mut self, ix: Ix<T>) {
        self.free.push(ix.number());
    }

    /// All values with their numbers, in the order of the numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ix<T>, &T)> {
        let numbered = self.slots.iter().enumerate();
        numbered.filter_map(|(i, slot)| Some((Ix::new(i as u32), slot.as_ref()?)))
    }
}

/// Slots by id.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    arena: Arena<T>,
    by_id: HashMap<Box<str>, Ix<T>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            arena: Arena::default(),
            by_id: HashMap::new(),
        }
    }
}

/// What a slot must offer.
pub(crate) trait Slot {
    /// An empty slot of this id.
    fn new(id: Box<str>) -> Self;
    /// Its id.
    fn id(&self) -> &str;
    /// True while the controller has described the resource, or another one refers to it.
    fn in_use(&self) -> bool;
}

impl<T: Slot> Slots<T> {
    /// The slot of `id`, made if there is none.
    pub(crate) fn intern(&mut self, id: &str) -> Ix<T> {
        if let Some(&ix) = self.by_id.get(id) {
            return ix;
        }
        let ix = self.arena.insert(T::new(id.into()));
        self.by_id.insert(id.into(), ix);
        ix
    }

    /// The slot to change for `id`: made when the resource is `wanted`, and none when it is to be deleted and
    /// unknown.
    pub(crate) fn slot_for(&mut self, id: &str, wanted: bool) -> Result<Option<Ix<T>>, Refused> {
        match self.find(id) {
            Some(ix) => Ok(Some(ix)),
            None if !wanted => Ok(None),
            None if self.by_id.len() >= MAX_SLOTS => Err(Refused::TooMany(MAX_SLOTS)),
            None => Ok(Some(self.intern(id))),
        }
    }

    /// The slot of `id`, if there is one.
    pub(crate) fn find(&self, id: &str) -> Option<Ix<T>> {
        self.by_id.get(id).copied()
    }

    /// The slot, unless it has been freed.
    pub(crate) fn get(&self, ix: Ix<T>) -> Option<&T> {
        self.arena.get(ix)
    }

    /// The slot, to change it.
    pub(crate) fn get_mut(&mut self, ix: Ix<T>) -> Option<&mut T> {
        self.arena.get_mut(ix)
    }

    /// All slots, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ix<T>, &T)> {
        self.arena.iter()
    }

    /// Frees the slot if nothing uses it.
    pub(crate) fn free(&mut self, ix: Ix<T>) {
        let Some(slot) = self.arena.get(ix) else {
            return;
        };
        if !slot.in_use() {
            self.by_id.remove(slot.id());
            self.arena.remove(ix);
            self.arena.recycle(ix);
        }
    }
}
