// SPDX-License-Identifier: MIT
//! Of which subnets the operator has broadcast and multicast copied to all receivers. The controller has no word for it.

use std::collections::BTreeMap;

use super::Core;

/// Frames per second and guest without `rate`.
pub(crate) const DEFAULT_RATE: u32 = 100;

/// Most subnets of which something is said.
pub(crate) const MAX_NAMED: usize = 4096;

/// Frames per second that each worker copies of one guest, by subnet; `None`: none, they are dropped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Replicated {
    /// In subnets that nothing is said of.
    pub(crate) others: Option<u32>,
    /// By the ids of subnets, which may come later.
    pub(crate) subnets: BTreeMap<String, Option<u32>>,
}

/// There are so many already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room for more: of at most {MAX_NAMED} subnets it is said whether they are replicated")]
pub(crate) struct TooManyNamed;

impl Replicated {
    /// What holds in a subnet.
    pub(crate) fn rate(&self, id: &str) -> Option<u32> {
        self.subnets.get(id).copied().unwrap_or(self.others)
    }

    /// Says what holds in a subnet from now on; `None`: in those that nothing is said of.
    pub(crate) fn say(&mut self, id: Option<&str>, rate: Option<u32>) -> Result<(), TooManyNamed> {
        let Some(id) = id else {
            self.others = rate;
            return Ok(());
        };
        if !self.subnets.contains_key(id) && self.subnets.len() >= MAX_NAMED {
            return Err(TooManyNamed);
        }
        self.subnets.insert(id.to_owned(), rate);
        Ok(())
    }
}

impl Core {
    /// Says what holds in a subnet from now on, as [`Replicated::say`] does; visible with the next commit.
    pub(crate) fn set_replicated(
        &mut self,
        id: Option<&str>,
        rate: Option<u32>,
    ) -> Result<(), TooManyNamed> {
        self.program.set_replicated(&self.wanted, id, rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_subnet_counts_before_what_is_said_of_all() {
        let mut replicated = Replicated::default();
        assert_eq!(replicated.rate("blue"), None);
        replicated.say(None, Some(5)).unwrap();
        replicated.say(Some("red"), None).unwrap();
        assert_eq!(
            [replicated.rate("blue"), replicated.rate("red")],
            [Some(5), None]
        );
        replicated.say(Some("blue"), Some(7)).unwrap();
        replicated.say(None, None).unwrap();
        assert_eq!(
            [replicated.rate("blue"), replicated.rate("red")],
            [Some(7), None]
        );
    }

    #[test]
    fn so_many_subnets_are_named_and_those_can_be_changed() {
        let mut replicated = Replicated::default();
        for n in 0..MAX_NAMED {
            replicated.say(Some(&n.to_string()), None).unwrap();
        }
        assert_eq!(replicated.say(Some("more"), Some(1)), Err(TooManyNamed));
        assert_eq!(replicated.say(Some("0"), Some(1)), Ok(()));
        assert_eq!(replicated.say(None, Some(2)), Ok(()));
        assert_eq!(
            (replicated.rate("0"), replicated.rate("more")),
            (Some(1), Some(2))
        );
    }
}
