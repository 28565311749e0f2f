// SPDX-License-Identifier: MIT
//! Named slots: a resource's id is turned into a small number once, and everything refers to it by that.
//!
//! A slot exists as soon as anybody names the id, whether the controller has described the resource or not:
//! that is how a resource finds those that wait for it.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use hashbrown::DefaultHashBuilder;
use vswitch::tables::prefetch_whole;

use super::Refused;
use super::chunks::Chunks;
use super::index::Index;

/// Most resources of one kind, neighbors apart: a hundred times what a host has use for, and some hundred
/// megabytes.
pub(crate) const MAX_SLOTS: usize = 1 << 20;

/// How many neighbors ahead of the one that is taken in or programmed memory is prefetched: enough to hide a cache miss behind
/// the others' work, few enough that nothing is thrown out of the cache again.
pub(crate) const AHEAD: usize = 8;

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

/// What [`Arena`] finds its values by.
pub(crate) trait Keyed {
    /// The key. Values must keep theirs while they are stored.
    type Key<'a>: Eq + Hash
    where
        Self: 'a;
    /// Its key.
    fn key(&self) -> Self::Key<'_>;
}

/// No value has this key: its hash, so that it is not made twice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vacant(u64);

/// A dense store of values that are found by their key or, once known, by their number.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Chunks<Option<T>>,
    free: Vec<u32>,
    index: Index,
    hasher: DefaultHashBuilder,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            slots: Chunks::default(),
            free: Vec::new(),
            index: Index::default(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<T> Arena<T> {
    /// Values in the store.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The value, unless it has been removed.
    pub(crate) fn get(&self, ix: Ix<T>) -> Option<&T> {
        self.slots.get(ix.get())?.as_ref()
    }

    /// Asks the CPU to fetch the value.
    pub(crate) fn prefetch_value(&self, ix: Ix<T>) {
        if let Some(slot) = self.slots.get(ix.get()) {
            prefetch_whole(slot);
        }
    }

    /// The value, to change it.
    pub(crate) fn get_mut(&mut self, ix: Ix<T>) -> Option<&mut T> {
        self.slots.get_mut(ix.get())?.as_mut()
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

impl<T: Keyed> Arena<T> {
    /// The number of the value with this key.
    pub(crate) fn find<'a>(&'a self, key: T::Key<'a>) -> Option<Ix<T>> {
        self.seek(key).ok()
    }

    /// The same, or where to store such a value.
    pub(crate) fn seek<'a>(&'a self, key: T::Key<'a>) -> Result<Ix<T>, Vacant> {
        let hash = self.hasher.hash_one(&key);
        let has_key = |ix: Ix<T>| self.get(ix).is_some_and(|value| value.key() == key);
        let found = self.index.find(hash, |number| has_key(Ix::new(number)));
        found.map(Ix::new).ok_or(Vacant(hash))
    }

    /// Asks the CPU to fetch what [`Arena::seek`] will read first, and what [`Arena::insert`] will write where no number is
    /// free: whoever looks for thousands of keys does well to call this [`AHEAD`] keys ahead.
    pub(crate) fn prefetch(&mut self, key: T::Key<'_>) {
        self.index.prefetch(self.hasher.hash_one(&key));
        self.slots.prefetch_vacant(AHEAD);
    }

    /// Takes the memory of so many values in all now, instead of when they come.
    pub(crate) fn reserve(&mut self, values: usize) {
        self.slots.reserve(values);
        self.index.reserve(values);
    }

    /// Stores `value`, whose key is vacant. Slots are counted in 32 bits: memory ends long before they do.
    pub(crate) fn insert(&mut self, Vacant(hash): Vacant, value: T) -> Ix<T> {
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = Some(value),
            None => self.slots.push(Some(value)),
        }
        self.index.insert(hash, number);
        Ix::new(number)
    }

    /// Forgets the value. Its number is not used again before [`Arena::recycle`], so that those who know it
    /// can still find out that the value is gone.
    pub(crate) fn remove(&mut self, ix: Ix<T>) -> Option<T> {
        let hash = self.hasher.hash_one(self.get(ix)?.key());
        self.index.remove(hash, ix.number());
        self.slots.get_mut(ix.get())?.take()
    }
}

/// Slots by id.
#[derive(Debug)]
pub(crate) struct Slots<T>(Arena<T>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(Arena::default())
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

impl<T: Slot> Keyed for T {
    type Key<'a>
        = &'a str
    where
        T: 'a;

    fn key(&self) -> &str {
        self.id()
    }
}

impl<T: Slot> Slots<T> {
    /// The slot of `id`, made if there is none.
    pub(crate) fn intern(&mut self, id: &str) -> Ix<T> {
        match self.0.seek(id) {
            Ok(ix) => ix,
            Err(vacant) => self.0.insert(vacant, T::new(id.into())),
        }
    }

    /// The slot to change for `id`: made when the resource is `wanted`, and none when it is to be deleted and
    /// unknown.
    pub(crate) fn slot_for(&mut self, id: &str, wanted: bool) -> Result<Option<Ix<T>>, Refused> {
        match self.find(id) {
            Some(ix) => Ok(Some(ix)),
            None if !wanted => Ok(None),
            None if self.0.len() >= MAX_SLOTS => Err(Refused::TooMany(MAX_SLOTS)),
            None => Ok(Some(self.intern(id))),
        }
    }

    /// The slot of `id`, if there is one.
    pub(crate) fn find(&self, id: &str) -> Option<Ix<T>> {
        self.0.find(id)
    }

    /// The numbers of all slots, in order.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.iter().map(|(ix, _)| ix.number()).collect()
    }

    /// The slot, unless it has been freed.
    pub(crate) fn get(&self, ix: Ix<T>) -> Option<&T> {
        self.0.get(ix)
    }

    /// The slot, to change it.
    pub(crate) fn get_mut(&mut self, ix: Ix<T>) -> Option<&mut T> {
        self.0.get_mut(ix)
    }

    /// All slots, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ix<T>, &T)> {
        self.0.iter()
    }

    /// Frees the slot if nothing uses it.
    pub(crate) fn free(&mut self, ix: Ix<T>) {
        if self.get(ix).is_some_and(|slot| !slot.in_use()) {
            self.0.remove(ix);
            self.0.recycle(ix);
        }
    }
}
