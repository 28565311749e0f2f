// SPDX-License-Identifier: MIT
//! The numbers of a seed.
//!
//! ChaCha with eight rounds, as Bernstein published it: the key is the seed, as eight little-endian bytes, and 24 zero
//! bytes; the nonce says what the numbers are for. Any implementation of it gives the same numbers, and so does every
//! version of this one. What is made of them uses integers alone, for floating-point functions differ between machines.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// What numbers are for: the nonce of their stream. Values are part of the dataset's format.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// In which VPC a port is.
    Size = 1,
    /// On which host it is.
    Placement = 2,
    /// Ids of VPCs; the others are ids likewise.
    Vpc = 3,
    Subnet = 4,
    Router = 5,
    Port = 6,
    Dhcp = 7,
    SecurityGroup = 8,
    Project = 9,
}

/// All numbers of a seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(pub(super) u64);

impl Seed {
    /// The numbers for one purpose, from the first on.
    pub(super) fn stream(self, purpose: Purpose) -> Stream {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.0.to_le_bytes());
        let mut numbers = ChaCha8Rng::from_seed(key);
        numbers.set_stream(purpose as u64);
        Stream(numbers)
    }

    /// The id of thing `index`: a random UUID (RFC 9562, version 4) from bytes 16 * `index` to 16 * `index` + 15 of the
    /// stream.
    pub(super) fn uuid(self, purpose: Purpose, index: u64) -> String {
        let Stream(mut numbers) = self.stream(purpose);
        numbers.set_word_pos(u128::from(index) * 4);
        let mut bytes = [0; 16];
        numbers.fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let digits = format!("{:032x}", u128::from_be_bytes(bytes));
        let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
        let (d, e) = (&digits[16..20], &digits[20..]);
        format!("{a}-{b}-{c}-{d}-{e}")
    }
}

/// Numbers one after the other.
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    /// The next number below `limit`: the high half of limit * (the next 64 bits). Its bias is `limit` in 2^64.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(limit);
        (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another implementation makes of a key and a nonce of zeros.
    #[test]
    fn the_numbers_are_those_of_chacha8() {
        let Stream(mut numbers) = Seed(0).stream(Purpose::Size);
        numbers.set_stream(0);
        let mut bytes = [0; 16];
        numbers.fill_bytes(&mut bytes);
        let expected = 0x3e00_ef2f_895f_40d6_7f5b_b8e8_1f09_a5a1_u128;
        assert_eq!(bytes, expected.to_be_bytes());
    }

    /// Likewise.
    #[test]
    fn an_id_is_found_without_those_before_it() {
        let id = Seed(0x0123_4567_89ab_cdef).uuid(Purpose::Vpc, 5);
        assert_eq!(id, "6b7b27f1-05b2-4ffe-9eb7-77e1c7e76106");
    }

    #[test]
    fn ids_are_random_uuids_and_differ_by_purpose_and_index() {
        let ids = [
            Seed(1).uuid(Purpose::Port, 0),
            Seed(1).uuid(Purpose::Port, 1),
            Seed(1).uuid(Purpose::Vpc, 0),
            Seed(2).uuid(Purpose::Port, 0),
        ];
        for (n, id) in ids.iter().enumerate() {
            assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
            assert!(!ids[..n].contains(id));
        }
    }

    #[test]
    fn numbers_are_below_their_limit_and_reach_all_of_it() {
        let mut stream = Seed(7).stream(Purpose::Size);
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[stream.below(5) as usize] = true);
        assert_eq!(seen, [true; 5]);
    }
}
