// SPDX-License-Identifier: MIT
//! Who has an address. Several resources may claim one key of a neighbor table: the same port as L2 and as
//! L3 neighbor, a machine that moves, a mistake. One of them has it; the others wait until it lets go.

use std::collections::BTreeMap;
use std::hash::Hash;

use vswitch::tables::Neighbor;

use crate::state::slots::{Arena, Keyed};

/// Who wins a key: the highest rank. Ports of this host come before neighbors, since what is plugged in
/// here is here; among equals the one described latest. No two claimants have the same rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(u64);

impl Rank {
    const PORT: u64 = 1 << 63;
    const LOWEST: Self = Self(0);
    const HIGHEST: Self = Self(u64::MAX);

    /// Of a port of this host that was described at this point of the state's clock.
    pub(crate) fn port(changed: u64) -> Self {
        Self(changed | Self::PORT)
    }

    /// Of a neighbor that was described at this point of the state's clock.
    pub(crate) fn neighbor(changed: u64) -> Self {
        Self(changed & !Self::PORT)
    }
}

/// The claims on the keys of one neighbor table.
///
/// # Contract
/// Claiming and withdrawing return what the table has to say of the key afterwards. They take constant time
/// while nobody contests anything, and time logarithmic in the number of contesting claims otherwise.
#[derive(Debug)]
pub(crate) struct Claims<K> {
    winners: Arena<Winner<K>>,
    others: BTreeMap<(K, Rank), Neighbor>,
}

/// The claim that has a key.
#[derive(Debug)]
struct Winner<K> {
    key: K,
    rank: Rank,
    value: Neighbor,
}

impl<K: Eq + Hash + Copy> Keyed for Winner<K> {
    type Key<'a>
        = K
    where
        K: 'a;

    fn key(&self) -> K {
        self.key
    }
}

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self {
            winners: Arena::default(),
            others: BTreeMap::new(),
        }
    }
}

impl<K: Eq + Hash + Ord + Copy> Claims<K> {
    /// Takes the memory of claims on so many keys in all now, instead of when they come.
    pub(crate) fn reserve(&mut self, keys: usize) {
        self.winners.reserve(keys);
    }

    /// Asks the CPU to fetch what a claim on `key` will look for and write, [`AHEAD`](crate::state::slots::AHEAD) claims ahead.
    pub(crate) fn prefetch(&mut self, key: K) {
        self.winners.prefetch(key);
    }

    /// Claims `key`, or changes what the claimant of this rank says of it.
    pub(crate) fn claim(&mut self, key: K, rank: Rank, value: Neighbor) -> Neighbor {
        let winner = match self.winners.seek(key) {
            Ok(ix) => self.winners.get_mut(ix),
            Err(vacant) => {
                self.winners.insert(vacant, Winner { key, rank, value });
                None
            }
        };
        let Some(winner) = winner else { return value };
        if winner.rank > rank {
            self.others.insert((key, rank), value);
            return winner.value;
        }
        let former = std::mem::replace(winner, Winner { key, rank, value });
        if former.rank != rank {
            self.others.insert((key, former.rank), former.value);
        }
        value
    }

    /// Takes the claim of this rank back. `None`: nobody claims the key any more.
    pub(crate) fn withdraw(&mut self, key: K, rank: Rank) -> Option<Neighbor> {
        let ix = self.winners.find(key)?;
        let winner = self.winners.get_mut(ix)?;
        if winner.rank != rank {
            self.others.remove(&(key, rank));
            return Some(winner.value);
        }
        let next = self
            .others
            .range((key, Rank::LOWEST)..=(key, Rank::HIGHEST))
            .next_back();
        let Some((&(_, rank), &value)) = next else {
            self.winners.remove(ix);
            self.winners.recycle(ix);
            return None;
        };
        *winner = Winner { key, rank, value };
        self.others.remove(&(key, rank));
        Some(value)
    }

    /// What the claimant that has the key says of it.
    pub(crate) fn winner(&self, key: K) -> Option<Neighbor> {
        let winner = self.winners.get(self.winners.find(key)?)?;
        Some(winner.value)
    }
}

#[cfg(test)]
impl<K: Eq + Hash + Ord + Copy> Claims<K> {
    /// All keys, each with what the claimant that has it says.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, Neighbor)> {
        let winners = self.winners.iter();
        winners.map(|(_, winner)| (winner.key, winner.value))
    }

    /// How many keys are claimed, and how many further claims there are on them.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.winners.len(), self.others.len())
    }
}

#[cfg(test)]
mod tests {
    use vswitch::tables::{Hop, PortId};
    use vswitch::wire::{Mac, Vni};

    use super::*;

    fn value(n: u8) -> Neighbor {
        let hop = Hop::Local(PortId::new(0).unwrap());
        Neighbor {
            mac: Mac::new([2, 0, 0, 0, 0, n]),
            vni: Vni::new(1).unwrap(),
            hop,
        }
    }

    #[test]
    fn a_port_of_this_host_wins_then_the_latest_and_who_loses_gets_it_when_the_winner_goes() {
        let mut claims = Claims::default();
        let (old, new, port) = (Rank::neighbor(1), Rank::neighbor(2), Rank::port(0));
        assert_eq!(claims.claim("ip", new, value(2)), value(2));
        assert_eq!(claims.claim("ip", old, value(1)), value(2));
        assert_eq!(claims.claim("ip", port, value(9)), value(9));
        assert_eq!(claims.withdraw("ip", port), Some(value(2)));
        assert_eq!(claims.withdraw("ip", new), Some(value(1)));
        assert_eq!(claims.len(), (1, 0));
        assert_eq!(claims.withdraw("ip", old), None);
        assert_eq!(claims.len(), (0, 0));
    }

    #[test]
    fn a_loser_that_goes_changes_nothing() {
        let mut claims = Claims::default();
        claims.claim("ip", Rank::neighbor(1), value(1));
        claims.claim("ip", Rank::neighbor(2), value(2));
        assert_eq!(claims.withdraw("ip", Rank::neighbor(1)), Some(value(2)));
        assert_eq!(
            claims.withdraw("ip", Rank::neighbor(7)),
            Some(value(2)),
            "never claimed"
        );
        assert_eq!(claims.len(), (1, 0));
    }
}
