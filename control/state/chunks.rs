// SPDX-License-Identifier: MIT
//! [`Chunks`]: a list of a million things.

use vswitch::tables::prefetch_whole;

/// Elements of a piece.
const PIECE: usize = 4096;

/// A list that grows piece by piece: what is in it stays where it is, and no memory is touched but what is
/// filled. A `Vec` that doubles would copy all, and have the kernel clear as much again.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    /// All full but the last.
    pieces: Vec<Vec<T>>,
    /// Empty ones, for later.
    reserved: Vec<Vec<T>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            reserved: Vec::new(),
        }
    }
}

impl<T> Chunks<T> {
    /// Elements in the list.
    pub(crate) fn len(&self) -> usize {
        let last = self.pieces.last().map_or(PIECE, Vec::len);
        self.pieces.len() * PIECE + last - PIECE
    }

    /// Appends an element.
    pub(crate) fn push(&mut self, value: T) {
        match self.pieces.last_mut().filter(|last| last.len() < PIECE) {
            Some(last) => last.push(value),
            None => {
                // The first piece grows like any list: most lists are short.
                let room = if self.pieces.is_empty() { 0 } else { PIECE };
                let reserved = self.reserved.pop();
                let mut piece = reserved.unwrap_or_else(|| Vec::with_capacity(room));
                piece.push(value);
                self.pieces.push(piece);
            }
        }
    }

    /// Takes the memory of so many elements in all now, instead of when they come.
    pub(crate) fn reserve(&mut self, elements: usize)
    where
        T: Default,
    {
        let pieces = elements.div_ceil(PIECE).saturating_sub(self.pieces.len());
        self.reserved.resize_with(pieces, || {
            let mut piece = Vec::with_capacity(PIECE);
            // Written to once: until then the kernel has promised the memory and not found it.
            piece.resize_with(PIECE, T::default);
            piece.clear();
            piece
        });
    }

    /// Asks the CPU to fetch the memory of the element that will be appended after so many others.
    pub(crate) fn prefetch_vacant(&mut self, others: usize) {
        let last = self.pieces.last_mut();
        if let Some(vacant) = last.and_then(|last| last.spare_capacity_mut().get(others)) {
            prefetch_whole(vacant);
        }
    }

    /// The `index`-th element.
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    /// All elements, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_used_before_anything_else_is_taken() {
        let mut chunks = Chunks::default();
        chunks.reserve(PIECE + 1);
        let reserved: Vec<*const usize> = chunks.reserved.iter().map(Vec::as_ptr).collect();
        (0..2 * PIECE + 1).for_each(|n| chunks.push(n));
        let used = chunks.pieces.iter().rev().skip(1).map(Vec::as_ptr);
        assert!(used.eq(reserved));
        assert!(chunks.iter().copied().eq(0..2 * PIECE + 1));
        chunks.reserve(PIECE);
        assert!(chunks.reserved.is_empty(), "there is more than that");
    }

    #[test]
    fn elements_stay_where_they_are_and_in_order_over_the_end_of_a_piece() {
        let mut chunks = Chunks::default();
        assert_eq!((chunks.len(), chunks.get(0)), (0, None));
        for n in 0..2 * PIECE + 1 {
            assert_eq!(chunks.len(), n);
            chunks.push(n);
        }
        let second_piece: *const usize = chunks.get(PIECE).unwrap();
        assert!(chunks.iter().copied().eq(0..2 * PIECE + 1));
        *chunks.get_mut(PIECE).unwrap() = 7;
        chunks.push(0);
        assert_eq!(
            (chunks.get(PIECE), chunks.get(2 * PIECE + 2)),
            (Some(&7), None)
        );
        assert!(std::ptr::eq(second_piece, chunks.get(PIECE).unwrap()));
    }
}
