// SPDX-License-Identifier: MIT
//! Protobuf's wire format, field by field, without copying (protobuf.dev/programming-guides/encoding).
//!
//! For neighbors, of which goal states have a million: to build the whole message first and to free it again takes longer
//! than everything else that is done with them.

/// A field's number and value.
pub(crate) type FieldOf<'a> = (u64, Value<'a>);

/// A field's value, as far as it can be told without a schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value<'a> {
    /// An integer, an enum, a bool.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// Of fixed length, or a group of fields. Nothing of Alcor's has such.
    Other,
}

/// The bytes are no message: a tag, a length or an integer is broken, or there are fewer bytes than it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message is damaged, or cut short")]
pub(crate) struct Damaged;

/// The fields of a message, in the order in which they were sent. Ends with the first error.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// Most groups in each other, as prost's limit.
const MAX_GROUPS: usize = 100;

/// Field numbers begin with 1 and have 29 bits.
const fn valid(tag: u64) -> bool {
    tag >> 3 != 0 && tag <= u32::MAX as u64
}

impl<'a> Fields<'a> {
    /// Of an encoded message.
    pub(crate) const fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// What has not been read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    #[inline]
    fn read(&mut self) -> Result<FieldOf<'a>, Damaged> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if !valid(tag) {
            return Err(Damaged);
        }
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.other(8)?,
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Damaged)?;
                Value::Bytes(self.take(len)?)
            }
            3 => self.group(number)?,
            5 => self.other(4)?,
            _ => return Err(Damaged), // the end of a group that did not begin, and what is none
        };
        Ok((number, value))
    }

    fn other(&mut self, len: usize) -> Result<Value<'a>, Damaged> {
        self.take(len).map(|_| Value::Other)
    }

    /// Skips a group and those in it. proto3 has none, and every reader must be able to skip them.
    #[cold]
    fn group(&mut self, number: u64) -> Result<Value<'a>, Damaged> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let mut ahead = self.clone();
            let tag = ahead.varint()?;
            match tag & 7 {
                3 if open.len() >= MAX_GROUPS => return Err(Damaged),
                3 if valid(tag) => open.push(tag >> 3),
                4 if tag >> 3 == innermost => drop(open.pop()),
                3 | 4 => return Err(Damaged),
                _ => {
                    self.read()?;
                    continue;
                }
            }
            *self = ahead;
        }
        Ok(Value::Other)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    /// An integer in groups of seven bits, the lowest first; at most ten of them.
    #[inline]
    fn varint(&mut self) -> Result<u64, Damaged> {
        match self.0 {
            [byte @ ..0x80, rest @ ..] => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    /// One of more than one group, or none.
    fn long_varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for (n, &byte) in self.0.iter().enumerate().take(10) {
            if n == 9 && byte > 1 {
                return Err(Damaged); // more than 64 bits
            }
            value |= u64::from(byte & 0x7f) << (7 * n);
            if byte < 0x80 {
                self.0 = &self.0[n + 1..];
                return Ok(value);
            }
        }
        Err(Damaged)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<FieldOf<'a>, Damaged>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_come_as_they_were_sent() {
        // 1: 300; 2: "ab"; 3: a double; 4: a float; 1: -1 as int64.
        let bytes = [
            &[0x08, 0xac, 0x02, 0x12, 2, b'a', b'b', 0x19][..],
            &[0; 8],
            &[0x25, 0, 0, 0, 0, 0x08],
            &[0xff; 9],
            &[1],
        ]
        .concat();
        let fields: Result<Vec<_>, _> = Fields::of(&bytes).collect();
        assert_eq!(
            fields.unwrap(),
            [
                (1, Value::Number(300)),
                (2, Value::Bytes(b"ab")),
                (3, Value::Other),
                (4, Value::Other),
                (1, Value::Number(u64::MAX)),
            ]
        );
    }

    #[test]
    fn groups_are_skipped() {
        // Field 1 a group, with a number and a group 2 in it; then field 3.
        let bytes = [0x0b, 0x08, 1, 0x13, 0x14, 0x0c, 0x18, 5];
        let fields: Vec<_> = Fields::of(&bytes).collect();
        assert_eq!(fields, [Ok((1, Value::Other)), Ok((3, Value::Number(5)))]);
        let deep = [0x0b; 200];
        assert_eq!(Fields::of(&deep).next(), Some(Err(Damaged)));
    }

    #[test]
    fn damage_is_an_error_and_the_end() {
        for bytes in [
            &[0x08][..],            // no value
            &[0x80, 0x80],          // a tag without end
            &[0x08, 0x80],          // an integer without end
            &[0x12, 3, b'a', b'b'], // shorter than its length
            &[
                0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ], // a length beyond all
            &[0x00, 0],             // field 0
            &[0x0b],                // a group without end
            &[0x0b, 0x14],          // another group's end
            &[0x0c],                // an end without beginning
            &[0x0f],                // wire type 7
            &[0x25, 0, 0],          // half a float
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
            ], // 65 bits
            &[0xff, 0xff, 0xff, 0xff, 0xff, 1, 0], // a tag of more than 32 bits
        ] {
            let mut fields = Fields::of(bytes);
            assert_eq!(fields.next(), Some(Err(Damaged)), "{bytes:x?}");
            assert_eq!(fields.next(), None);
        }
    }

    proptest! {
        #[test]
        fn noise_ends_and_never_reaches_beyond(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let whole = bytes.len();
            let read: usize = Fields::of(&bytes)
                .map_while(Result::ok)
                .map(|(_, value)| match value {
                    Value::Bytes(bytes) => 2 + bytes.len(),
                    Value::Number(_) | Value::Other => 2,
                })
                .sum();
            prop_assert!(read <= whole);
        }
    }
}
