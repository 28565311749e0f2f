// SPDX-License-Identifier: MIT
//! [`PortSet`]: some of the ports; [`SharedPortSet`]: the same for several threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{MAX_PORTS, PortId};

const WORDS: usize = MAX_PORTS / u64::BITS as usize;
const _: () = assert!(WORDS * u64::BITS as usize == MAX_PORTS && WORDS <= u64::BITS as usize);

/// A set of ports: a bit each. To look for the first one takes two words, however many there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortSet {
    words: [u64; WORDS],
    /// Bit per word: it is not zero.
    any: u64,
}

impl PortSet {
    /// All ports.
    pub const ALL: Self = Self {
        words: [u64::MAX; WORDS],
        any: u64::MAX >> (u64::BITS as usize - WORDS),
    };

    /// True if there is none in it.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.any == 0
    }

    /// Whether a port is in it.
    #[inline]
    pub const fn contains(&self, port: PortId) -> bool {
        let (word, bit) = place(port);
        self.words[word] & bit != 0
    }

    /// Adds a port.
    #[inline]
    pub const fn insert(&mut self, port: PortId) {
        let (word, bit) = place(port);
        self.words[word] |= bit;
        self.any |= 1 << word;
    }

    /// Takes a port out.
    #[inline]
    pub const fn remove(&mut self, port: PortId) {
        let (word, bit) = place(port);
        self.words[word] &= !bit;
        if self.words[word] == 0 {
            self.any &= !(1 << word);
        }
    }

    /// Takes out the one with the lowest number.
    #[inline]
    pub fn pop(&mut self) -> Option<PortId> {
        let word = self.any.trailing_zeros() as usize; // no word of it when none is left
        let bits = self.words.get(word)?;
        let port = PortId::new(word as u16 * 64 + bits.trailing_zeros() as u16)?;
        self.remove(port);
        Some(port)
    }
}

impl FromIterator<PortId> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortId>>(ports: I) -> Self {
        let mut set = Self::default();
        ports.into_iter().for_each(|port| set.insert(port));
        set
    }
}

/// A set that others look at while it is replaced; then they may see some of the old and some of the new one.
#[derive(Default, Debug)]
pub struct SharedPortSet([AtomicU64; WORDS]);

impl SharedPortSet {
    /// Replaces it.
    pub fn store(&self, ports: &PortSet) {
        for (word, new) in self.0.iter().zip(ports.words) {
            word.store(new, Relaxed);
        }
    }

    /// Whether a port is in it.
    #[inline]
    pub fn contains(&self, port: PortId) -> bool {
        let (word, bit) = place(port);
        self.0[word].load(Relaxed) & bit != 0
    }
}

#[inline(always)]
const fn place(port: PortId) -> (usize, u64) {
    // Port ids are below the cap; the remainder spares the hot path a panic.
    (port.index() / 64 % WORDS, 1 << (port.index() % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_out_once_each_in_order() {
        let numbers = [1023, 0, 64, 63, 511, 64];
        let ports = numbers.map(|number| PortId::new(number).unwrap());
        let mut set: PortSet = ports.into_iter().collect();
        for port in PortId::all() {
            assert_eq!(set.contains(port), ports.contains(&port), "{port:?}");
        }
        set.remove(ports[4]);
        set.remove(ports[4]);
        let out: Vec<_> = std::iter::from_fn(|| set.pop()).map(PortId::get).collect();
        assert_eq!(out, [0, 63, 64, 1023]);
        assert!(set.is_empty() && set == PortSet::default());
        let (all, shared) = (PortId::all().collect(), SharedPortSet::default());
        assert_eq!(PortSet::ALL, all);
        shared.store(&ports[..2].iter().copied().collect());
        let seen: Vec<_> = PortId::all()
            .filter(|port| shared.contains(*port))
            .collect();
        assert_eq!(seen, [ports[1], ports[0]]);
    }
}
