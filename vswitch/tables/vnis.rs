// SPDX-License-Identifier: MIT
//! [`VniTable`]: which VNIs this host is in.

use super::{DomainId, MAX_ATTACHMENTS, MAX_PORTS};
use crate::wire::Vni;
use std::num::NonZeroU16;

/// Most VNIs of one table.
pub const MAX_VNIS: usize = MAX_PORTS * MAX_ATTACHMENTS;

/// The L2 domains of VNIs that have a port on this host.
///
/// # Contract
///
/// * Immutable; part of a snapshot. A lookup is wait-free and mostly reads one cache line.
/// * 8 bytes a slot, filled to a quarter at most: up to 64 bytes per VNI.
/// * Cap: [`MAX_VNIS`], which is what [`MAX_PORTS`] ports of [`MAX_ATTACHMENTS`] subnets can have.
#[derive(Clone, Debug)]
pub struct VniTable {
    /// `vni << 16 | domain`, 0: free. Linear probing; a power of two of slots.
    slots: Box<[u64]>,
    /// Brings a hash down to an index.
    shift: u32,
    len: usize,
}

impl Default for VniTable {
    fn default() -> Self {
        Self::build([])
    }
}

impl VniTable {
    /// The table of these. Of two that name the same VNI the first counts; those above [`MAX_VNIS`] are left out.
    pub fn build(domains: impl IntoIterator<Item = (Vni, DomainId)>) -> Self {
        let mut sorted: Vec<_> = domains.into_iter().collect();
        sorted.sort_by_key(|(vni, _)| *vni);
        sorted.dedup_by_key(|(vni, _)| *vni);
        sorted.truncate(MAX_VNIS);
        let size = (sorted.len() * 4).next_power_of_two().max(8);
        let mut table = Self {
            slots: vec![0; size].into_boxed_slice(),
            shift: u64::BITS - size.ilog2(),
            len: sorted.len(),
        };
        for (vni, domain) in sorted {
            let mut index = table.home(vni);
            while table.slots[index] != 0 {
                index = (index + 1) % size;
            }
            table.slots[index] = u64::from(vni.get()) << 16 | u64::from(domain.0.get());
        }
        table
    }

    /// The L2 domain of a VNI. `None`: no port of this host is in it.
    #[inline]
    pub fn get(&self, vni: Vni) -> Option<DomainId> {
        let mut index = self.home(vni);
        loop {
            let slot = *self.slots.get(index)?;
            if slot >> 16 == u64::from(vni.get()) {
                return NonZeroU16::new(slot as u16).map(DomainId);
            }
            // There is a free slot, since at most a quarter is taken.
            if slot == 0 {
                return None;
            }
            index = (index + 1) & (self.slots.len() - 1);
        }
    }

    /// VNIs in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no port of this host is in any VNI.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory behind it.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.slots)
    }

    #[inline]
    fn home(&self, vni: Vni) -> usize {
        (u64::from(vni.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }
}

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_vni_table_finds_what_a_map_finds(
            entries in prop::collection::btree_map(1..=Vni::MAX, 1..u16::MAX, 0..=MAX_VNIS),
            others in prop::collection::vec(1..=Vni::MAX, 0..50),
        ) {
            let domain = |id: u16| DomainId(NonZeroU16::new(id).unwrap());
            let vni = |number: u32| Vni::new(number).unwrap();
            let table = VniTable::build(entries.iter().map(|(number, id)| (vni(*number), domain(*id))));
            prop_assert_eq!(table.len(), entries.len());
            for number in entries.keys().chain(&others) {
                prop_assert_eq!(table.get(vni(*number)), entries.get(number).map(|id| domain(*id)));
            }
        }
    }

    #[test]
    fn the_first_of_two_domains_of_a_vni_counts_and_the_table_has_a_cap() {
        let id = |number: u16| DomainId(NonZeroU16::new(number).unwrap());
        let seven = Vni::new(7).unwrap();
        assert_eq!(
            VniTable::build([(seven, id(1)), (seven, id(2))]).get(seven),
            Some(id(1))
        );
        assert_eq!(VniTable::default().get(seven), None);
        let many: BTreeMap<_, _> = (1..=10_000)
            .map(|n| (Vni::new(n).unwrap(), id(1)))
            .collect();
        assert_eq!(VniTable::build(many).len(), MAX_VNIS);
    }
}
