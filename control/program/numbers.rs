// SPDX-License-Identifier: MIT
//! Dense numbers for things that tables name in 16 bits: VPCs and L2 domains.

use std::hash::Hash;
use std::num::NonZeroU16;

use hashbrown::HashMap;

/// Numbers that can be given: 1 to 65,534. The tables keep 65,535 for themselves.
pub(crate) const MAX_NUMBERS: u16 = u16::MAX - 1;

/// Gives each key a number as long as somebody uses it.
///
/// # Contract
/// A number that nobody uses any more is given to another key only after [`Numbers::recycle`], which the
/// caller calls when no worker can see anything of the old key. Giving and returning take constant time.
#[derive(Debug)]
pub(crate) struct Numbers<K> {
    by_key: HashMap<K, Given>,
    unused: Vec<NonZeroU16>,
    returned: Vec<NonZeroU16>,
    highest: u16,
}

#[derive(Debug)]
struct Given {
    number: NonZeroU16,
    users: u32,
}

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            unused: Vec::new(),
            returned: Vec::new(),
            highest: 0,
        }
    }
}

impl<K: Eq + Hash> Numbers<K> {
    /// The key's number, with one more user. `None` when all numbers are given.
    pub(crate) fn acquire(&mut self, key: K) -> Option<NonZeroU16> {
        if let Some(given) = self.by_key.get_mut(&key) {
            given.users += 1;
            return Some(given.number);
        }
        let number = match self.unused.pop() {
            Some(number) => number,
            None => {
                self.highest = self
                    .highest
                    .checked_add(1)
                    .filter(|number| *number <= MAX_NUMBERS)?;
                NonZeroU16::new(self.highest)?
            }
        };
        self.by_key.insert(key, Given { number, users: 1 });
        Some(number)
    }

    /// One user of the key's number less. True: that was the last.
    pub(crate) fn release(&mut self, key: &K) -> bool {
        let Some(given) = self.by_key.get_mut(key) else {
            return false;
        };
        given.users -= 1;
        let last = given.users == 0;
        if last {
            self.returned.push(given.number);
            self.by_key.remove(key);
        }
        last
    }

    /// Lets numbers that were returned be given again: no worker sees anything of their keys any more.
    pub(crate) fn recycle(&mut self) {
        self.unused.append(&mut self.returned);
    }

    /// How many numbers are given.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_with_its_key_and_is_reused_only_after_recycling() {
        let mut numbers = Numbers::default();
        let a = numbers.acquire("a").unwrap();
        assert_eq!(numbers.acquire("a"), Some(a));
        numbers.release(&"a");
        assert_eq!(numbers.acquire("a"), Some(a), "one user was left");
        numbers.release(&"a");
        numbers.release(&"a");
        assert_ne!(
            numbers.acquire("b"),
            Some(a),
            "workers may still see a's entries"
        );
        numbers.recycle();
        assert_eq!(numbers.acquire("c"), Some(a));
    }

    #[test]
    fn running_out_of_numbers_is_no_panic_and_not_for_ever() {
        let mut numbers = Numbers::default();
        for key in 0..u32::from(MAX_NUMBERS) {
            assert!(numbers.acquire(key).is_some());
        }
        assert_eq!(numbers.acquire(u32::MAX), None);
        assert_eq!(numbers.acquire(u32::MAX), None);
        numbers.release(&7);
        numbers.recycle();
        assert!(numbers.acquire(u32::MAX).is_some());
    }
}
